//! Figures from what was noted in a run: latency, coverage, stretch.

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    Scenario,
    distance::{Distances, UNREACHABLE},
    faults::Victims,
    recorder::{BIN_US, NOT, Recorder},
};

/// Shares of the nodes, in percent, for which the time to reach them is told; the same as in `measure`.
pub(crate) const COVERAGES: [usize; 4] = [50, 90, 99, 100];

/// Longest time that is told apart, in microseconds: ten minutes.
const MAX_US: u64 = 600_000_000;

/// Stretch is kept in these parts of one.
const STRETCH_UNIT: f64 = 10_000.0;

/// Largest stretch that is told apart.
const MAX_STRETCH: f64 = 10_000.0;

/// Significant digits kept.
const DIGITS: u8 = 4;

/// Values of which quantiles are wanted.
#[derive(Debug)]
pub(crate) struct Values {
    histogram: Histogram<u64>,
    unit: f64,
}

impl Values {
    /// Times in microseconds, told in milliseconds.
    pub(crate) fn times() -> anyhow::Result<Self> {
        Self::new(MAX_US, 1000.0)
    }

    /// Ratios.
    pub(crate) fn stretches() -> anyhow::Result<Self> {
        Self::new((MAX_STRETCH * STRETCH_UNIT) as u64, STRETCH_UNIT)
    }

    fn new(max: u64, unit: f64) -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_bounds(1, max, DIGITS).context("no histogram can be made")?;
        Ok(Self { histogram, unit })
    }

    fn time(&mut self, us: u32) {
        self.histogram.saturating_record(u64::from(us).max(1));
    }

    fn stretch(&mut self, time: u32, shortest: u32) {
        let ratio = f64::from(time) / f64::from(shortest);
        self.histogram.saturating_record(((ratio * STRETCH_UNIT).round() as u64).max(1));
    }

    /// A quantile; `None` if there are no values.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        (!self.histogram.is_empty())
            .then(|| super::report::rounded(self.histogram.value_at_quantile(quantile) as f64 / self.unit))
    }

    /// Half of the values are below, and 95 % and 99 % of them.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        let of = |quantile| self.quantile(quantile);
        Some(Quantiles { p50: of(0.50)?, p95: of(0.95)?, p99: of(0.99)?, max: of(1.0)? })
    }
}

/// Quantiles of something.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// Ten seconds of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Bin {
    /// Seconds from the start of the load.
    pub(crate) from_s: f64,
    /// Transactions that entered.
    pub(crate) transactions: u64,
    /// Full copies of one of them that a node received.
    pub(crate) copies_per_node: f64,
    /// Bytes received for each byte of them.
    pub(crate) wire_bytes_per_payload_byte: f64,
    /// `null` if they reached nobody.
    pub(crate) stretch: Option<Quantiles>,
    /// Of the last node; `null` if none reached all nodes.
    pub(crate) full_stretch: Option<Quantiles>,
}

struct Gathering {
    transactions: u64,
    copies: u64,
    stretch: Values,
    full_stretch: Values,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Transactions that count: they entered late enough, and at least one node that counts has them.
    pub(crate) counted: u64,
    /// Nodes that count: they live at the end and are honest.
    pub(crate) nodes: usize,
    /// Pairs of such transactions and nodes that came about.
    pub(crate) pairs: u64,
    /// Full copies of them that nodes received.
    pub(crate) copies: u64,
    /// From submission to each node but the origin.
    pub(crate) latency: Values,
    /// From submission until a share of the nodes had it, for each of [`COVERAGES`].
    pub(crate) coverage: [Values; COVERAGES.len()],
    /// For each node but the origin: time since submission by the delay of the shortest path.
    pub(crate) stretch: Values,
    /// For each transaction that got to all nodes: time of the last one by the longest of the shortest paths.
    pub(crate) full_stretch: Values,
    /// All transactions by the time they entered.
    pub(crate) timeline: Vec<Bin>,
}

impl Figures {
    /// Computes them, about nodes that live and are honest only. Where nodes crash, transactions that entered before
    /// count as if all links were there, later ones as if the dead nodes were not. Shortest paths do lead through
    /// hostile nodes, as if they were honest. Transactions that enter while the network is parted have no stretch.
    pub(crate) fn new(scenario: &Scenario, record: &Recorder, distances: &mut Distances) -> anyhow::Result<Self> {
        let Victims { dead, counted, .. } = &scenario.victims;
        let nodes = counted.iter().filter(|counted| **counted).count();
        let mut figures = Self {
            counted: 0,
            nodes,
            pairs: 0,
            copies: 0,
            latency: Values::times()?,
            coverage: [Values::times()?, Values::times()?, Values::times()?, Values::times()?],
            stretch: Values::stretches()?,
            full_stretch: Values::stretches()?,
            timeline: Vec::new(),
        };
        let bins = (scenario.load.duration.as_micros() as u64).div_ceil(BIN_US).max(1);
        let mut gatherings = (0..bins)
            .map(|_| {
                Ok(Gathering {
                    transactions: 0,
                    copies: 0,
                    stretch: Values::stretches()?,
                    full_stretch: Values::stretches()?,
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut waits = Vec::with_capacity(nodes);
        for (tx, entry) in scenario.catalog.entries.iter().enumerate() {
            let times = record.times_of(tx);
            waits.clear();
            let here = times.iter().zip(counted).filter(|(time, counted)| **counted && **time != NOT);
            waits.extend(here.map(|(time, _)| *time));
            if waits.is_empty() {
                continue;
            }
            waits.sort_unstable();
            let counts = record.counts(tx);
            let at = (entry.at / BIN_US).min(bins - 1) as usize;
            let bin = &mut gatherings[at];
            bin.transactions += 1;
            bin.copies += u64::from(record.copies[tx]);
            if counts {
                figures.counted += 1;
                figures.pairs += waits.len() as u64;
                figures.copies += u64::from(record.copies[tx]);
                for (share, values) in COVERAGES.into_iter().zip(&mut figures.coverage) {
                    let needed = (share * nodes).div_ceil(100).max(1);
                    if let Some(wait) = waits.get(needed - 1) {
                        values.time(*wait);
                    }
                }
            }
            let after_crash =
                scenario.faults.crash.is_some_and(|crash| entry.at >= crash.at.as_micros() as u64).then_some(&dead[..]);
            let parted = scenario.faults.partition.is_some_and(|partition| {
                (partition.from.as_micros()..partition.to.as_micros()).contains(&u128::from(entry.at))
            });
            let shortest = distances.from(&scenario.topology, entry.origin, after_crash);
            let mut longest = 0;
            for (node, time) in times.iter().enumerate().filter(|(node, _)| counted[*node] && *node != entry.origin) {
                if shortest[node] != UNREACHABLE {
                    longest = longest.max(shortest[node]);
                }
                if *time == NOT {
                    continue;
                }
                if counts {
                    figures.latency.time(*time);
                }
                if shortest[node] == UNREACHABLE || shortest[node] == 0 || parted {
                    continue;
                }
                bin.stretch.stretch(*time, shortest[node]);
                if counts {
                    figures.stretch.stretch(*time, shortest[node]);
                }
            }
            if let Some(last) = waits.last().filter(|_| waits.len() == nodes && longest > 0 && !parted) {
                bin.full_stretch.stretch(*last, longest);
                if counts {
                    figures.full_stretch.stretch(*last, longest);
                }
            }
        }
        figures.timeline = gatherings
            .iter()
            .enumerate()
            .map(|(number, bin)| {
                let pairs = (bin.transactions * nodes as u64).max(1) as f64;
                let bytes = record.bin_bytes.get(number).copied().unwrap_or_default() as f64;
                Bin {
                    from_s: (number as u64 * BIN_US / 1_000_000) as f64,
                    transactions: bin.transactions,
                    copies_per_node: super::report::rounded(bin.copies as f64 / pairs),
                    wire_bytes_per_payload_byte: super::report::rounded(bytes / pairs / scenario.load.tx_size as f64),
                    stretch: bin.stretch.quantiles(),
                    full_stretch: bin.full_stretch.quantiles(),
                }
            })
            .collect();
        Ok(figures)
    }
}
