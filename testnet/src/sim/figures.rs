//! Figures from what was noted in a run: latency, coverage, stretch.

use serde::Serialize;

use super::{
    Scenario,
    faults::Victims,
    recorder::{BIN_US, NOT, Recorder},
};
use crate::{
    figures::{Quantiles, Values, rounded},
    map::{Distances, UNREACHABLE},
};

/// Shares of the nodes, in percent, for which the time to reach them is told; the same as in `measure`.
pub(crate) const COVERAGES: [usize; 4] = [50, 90, 99, 100];

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
                    copies_per_node: rounded(bin.copies as f64 / pairs),
                    wire_bytes_per_payload_byte: rounded(bytes / pairs / scenario.load.tx_size as f64),
                    stretch: bin.stretch.quantiles(),
                    full_stretch: bin.full_stretch.quantiles(),
                }
            })
            .collect();
        Ok(figures)
    }
}
