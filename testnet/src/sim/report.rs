//! The figures of a run: one JSON document for programs, a table for people.

use std::{collections::BTreeMap, time::Instant};

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{
    RelayKind, Scenario,
    faults::Victims,
    figures::{Bin, COVERAGES, Figures},
    recorder::{Count, Recorder},
};
use crate::{
    figures::{Quantiles, Values, rounded},
    map::Distances,
};

/// The figures of one relay: the fields of `starling.measure/1` that make sense here, and more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    /// The relay.
    pub(crate) relay: &'static str,
    nodes: usize,
    dials: usize,
    seed: u64,
    transport: &'static str,
    wan: String,
    tx_size: usize,
    duration_s: f64,
    offered_tps: f64,
    origins: String,
    loss: f64,
    crashed: usize,
    /// Nodes that mislead their neighbours.
    hostile: usize,
    /// What they do.
    attack: Option<&'static str>,
    /// From when on figures count, in seconds from the start of the load.
    settle_s: f64,
    submitted: u64,
    rejected: u64,
    rejected_by_reason: BTreeMap<&'static str, u64>,
    /// Transactions that honest living nodes refused of neighbours.
    refused: u64,
    /// Neighbours that they banned.
    banned: u64,
    /// Transactions the figures are about.
    counted: u64,
    /// Pairs of transaction and honest living node that came about, of all there should be. A transaction that no such
    /// node has does not count.
    pub(crate) delivery_ratio: f64,
    latency_ms: Option<Latency>,
    coverage_ms: BTreeMap<String, Option<CoverageTimes>>,
    copies_per_node: f64,
    wire_bytes_per_payload_byte: f64,
    wire_bytes_counted: &'static str,
    bytes_by_kind: BTreeMap<&'static str, u64>,
    frames_by_kind: BTreeMap<&'static str, u64>,
    /// Bytes a node sent and received.
    load_bytes_per_node: Load,
    stretch: Option<Quantiles>,
    full_stretch: Option<Quantiles>,
    /// Every ten seconds of the load, the first included.
    pub(crate) timeline: Vec<Bin>,
    events: u64,
    digest: String,
    wall_s: f64,
}

/// Quantiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

/// Quantiles over transactions in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct CoverageTimes {
    p50: f64,
    p95: f64,
    max: f64,
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Load {
    p50: u64,
    p99: u64,
    max: u64,
}

/// The reports of several relays over one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Set {
    schema: &'static str,
    runs: Vec<Report>,
}

impl Report {
    /// The name and version of the document.
    pub(crate) const SCHEMA: &str = "starling.sim/1";

    /// From what was noted.
    pub(crate) fn new(
        scenario: &Scenario,
        relay: RelayKind,
        record: &Recorder,
        distances: &mut Distances,
        start: Instant,
    ) -> anyhow::Result<Self> {
        let figures = Figures::new(scenario, record, distances)?;
        let pairs = (figures.counted * figures.nodes as u64).max(1) as f64;
        let bytes: u64 = record.counts.iter().map(|count| count.bytes).sum();
        let Victims { dead, hostile, counted, .. } = &scenario.victims;
        let loads = record.loads.iter().zip(counted).filter(|(_, counted)| **counted);
        let mut loads: Vec<u64> = loads.map(|(load, _)| *load).collect();
        loads.sort_unstable();
        let load =
            |quantile: usize| loads.get((loads.len() * quantile / 100).min(loads.len().saturating_sub(1))).copied();
        let by_kind = |value: fn(&Count) -> u64| {
            let all = record.kinds.iter().zip(&record.counts).filter(|(_, count)| count.frames > 0);
            all.map(|(kind, count)| (*kind, value(count))).collect()
        };
        let coverage = |values: &Values| {
            let of = |quantile| values.quantile(quantile);
            Some(CoverageTimes { p50: of(0.50)?, p95: of(0.95)?, max: of(1.0)? })
        };
        let latency = || {
            let of = |quantile| figures.latency.quantile(quantile);
            Some(Latency { p50: of(0.50)?, p90: of(0.90)?, p95: of(0.95)?, p99: of(0.99)?, max: of(1.0)? })
        };
        Ok(Self {
            schema: Self::SCHEMA,
            relay: relay.name(),
            nodes: scenario.topology.nodes(),
            dials: scenario.dials,
            seed: scenario.seed,
            transport: "simulated",
            wan: scenario.regions.clone(),
            tx_size: scenario.load.tx_size,
            duration_s: rounded(scenario.load.duration.as_secs_f64()),
            offered_tps: rounded(scenario.load.rate),
            origins: scenario.origins.to_string(),
            loss: scenario.faults.loss,
            crashed: count(dead),
            hostile: count(hostile),
            attack: scenario.faults.hostile.map(|hostile| hostile.attack.name()),
            settle_s: rounded(scenario.settle.as_secs_f64()),
            submitted: record.submitted.iter().filter(|submitted| **submitted).count() as u64,
            rejected: record.rejected.values().sum(),
            rejected_by_reason: record.rejected.clone(),
            refused: record.refused,
            banned: record.banned,
            counted: figures.counted,
            // Not rounded: one pair missing of a million is one too many.
            delivery_ratio: figures.pairs as f64 / pairs,
            latency_ms: latency(),
            coverage_ms: COVERAGES
                .iter()
                .zip(&figures.coverage)
                .map(|(share, values)| (format!("p{share}"), coverage(values)))
                .collect(),
            copies_per_node: rounded(figures.copies as f64 / pairs),
            wire_bytes_per_payload_byte: rounded(bytes as f64 / pairs / scenario.load.tx_size as f64),
            wire_bytes_counted: "frames",
            bytes_by_kind: by_kind(|count| count.bytes),
            frames_by_kind: by_kind(|count| count.frames),
            load_bytes_per_node: Load {
                p50: load(50).unwrap_or_default(),
                p99: load(99).unwrap_or_default(),
                max: loads.last().copied().unwrap_or_default(),
            },
            stretch: figures.stretch.quantiles(),
            full_stretch: figures.full_stretch.quantiles(),
            timeline: figures.timeline,
            events: record.events,
            digest: record.digest(),
            wall_s: rounded(start.elapsed().as_secs_f64()),
        })
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        row("relay", self.relay.to_owned());
        row("load", self.load());
        let reasons: Vec<String> =
            self.rejected_by_reason.iter().map(|(reason, count)| format!(" ({reason} {count})")).collect();
        let transactions = format!(
            "{} submitted, {} rejected{}, {} counted",
            self.submitted,
            self.rejected,
            reasons.concat(),
            self.counted
        );
        row("transactions", transactions);
        row("delivered", format!("{:.4} %", self.delivery_ratio * 100.0));
        if let Some(Latency { p50, p90, p95, p99, max }) = self.latency_ms {
            row("latency", format!("p50 {p50:.1}  p90 {p90:.1}  p95 {p95:.1}  p99 {p99:.1}  max {max:.1} ms"));
        }
        for share in COVERAGES {
            let times = match self.coverage_ms.get(&format!("p{share}")).copied().flatten() {
                Some(CoverageTimes { p50, p95, max }) => format!("p50 {p50:.1}  p95 {p95:.1}  max {max:.1} ms"),
                None => "never".to_owned(),
            };
            row(&format!("at {share} % of nodes"), times);
        }
        row("stretch", quantiles(self.stretch));
        row("stretch of the last", quantiles(self.full_stretch));
        row("copies per node", format!("{:.2}", self.copies_per_node));
        row("bytes per byte", format!("{:.2} (as frames, before encryption)", self.wire_bytes_per_payload_byte));
        let total = self.bytes_by_kind.values().sum::<u64>().max(1) as f64;
        let kinds: Vec<String> = self
            .bytes_by_kind
            .iter()
            .map(|(kind, bytes)| format!("{kind} {:.2} %", 100.0 * *bytes as f64 / total))
            .collect();
        row("bytes by kind", kinds.join("  "));
        let Load { p50, p99, max } = self.load_bytes_per_node;
        let kib = |bytes: u64| bytes as f64 / 1024.0;
        row("traffic per node", format!("p50 {:.0}  p99 {:.0}  max {:.0} KiB", kib(p50), kib(p99), kib(max)));
        if self.refused + self.banned > 0 {
            row("refused, banned", format!("{} transactions, {} neighbours", self.refused, self.banned));
        }
        row("run", format!("{} events in {:.1} s, digest {}", self.events, self.wall_s, short(&self.digest)));
        table.trim_fmt()
    }

    fn load(&self) -> String {
        let mut text = format!(
            "{} nodes, {} dials, {}, {} tx/s of {} bytes for {} s from {} origins, counted from {} s on, seed {}",
            self.nodes,
            self.dials,
            self.wan,
            self.offered_tps,
            self.tx_size,
            self.duration_s,
            self.origins,
            self.settle_s,
            self.seed
        );
        if self.loss > 0.0 {
            text += &format!(", {} % lost", self.loss * 100.0);
        }
        if self.crashed > 0 {
            text += &format!(", {} nodes crash", self.crashed);
        }
        if let Some(attack) = self.attack {
            text += &format!(", {} nodes are hostile ({attack})", self.hostile);
        }
        text
    }
}

impl Set {
    /// The name and version of the document.
    pub(crate) const SCHEMA: &str = "starling.sim.set/1";

    /// At least one.
    pub(crate) fn new(runs: Vec<Report>) -> Self {
        Self { schema: Self::SCHEMA, runs }
    }

    /// One line for each relay.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header([
            "relay",
            "delivered",
            "copies",
            "bytes/byte",
            "stretch p50 / p95 / p99",
            "last node p50 / p95",
            "ms p50 / p95 / p99",
            "events",
            "wall",
        ]);
        for run in &self.runs {
            table.add_row([
                run.relay.to_owned(),
                format!("{:.4} %", run.delivery_ratio * 100.0),
                format!("{:.2}", run.copies_per_node),
                format!("{:.2}", run.wire_bytes_per_payload_byte),
                run.stretch.map_or("-".to_owned(), |q| format!("{:.2} / {:.2} / {:.2}", q.p50, q.p95, q.p99)),
                run.full_stretch.map_or("-".to_owned(), |q| format!("{:.2} / {:.2}", q.p50, q.p95)),
                run.latency_ms.map_or("-".to_owned(), |q| format!("{:.0} / {:.0} / {:.0}", q.p50, q.p95, q.p99)),
                run.events.to_string(),
                format!("{:.1} s", run.wall_s),
            ]);
        }
        let load = self.runs.first().map(Report::load).unwrap_or_default();
        format!("{load}\n{}", table.trim_fmt())
    }

    /// The reports.
    pub(crate) fn runs(&self) -> &[Report] {
        &self.runs
    }
}

/// The timelines as one table.
pub(crate) fn timelines(runs: &[Report]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["relay", "from", "copies", "bytes/byte", "stretch p50", "p95", "p99", "last node p50", "p95"]);
    let cell = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    for run in runs {
        for bin in &run.timeline {
            table.add_row([
                run.relay.to_owned(),
                format!("{} s", bin.from_s),
                format!("{:.2}", bin.copies_per_node),
                format!("{:.2}", bin.wire_bytes_per_payload_byte),
                cell(bin.stretch.map(|q| q.p50)),
                cell(bin.stretch.map(|q| q.p95)),
                cell(bin.stretch.map(|q| q.p99)),
                cell(bin.full_stretch.map(|q| q.p50)),
                cell(bin.full_stretch.map(|q| q.p95)),
            ]);
        }
    }
    table.trim_fmt()
}

fn quantiles(values: Option<Quantiles>) -> String {
    match values {
        Some(Quantiles { p50, p95, p99, max }) => format!("p50 {p50:.3}  p95 {p95:.3}  p99 {p99:.3}  max {max:.2}"),
        None => "unknown".to_owned(),
    }
}

fn count(hit: &[bool]) -> usize {
    hit.iter().filter(|hit| **hit).count()
}

fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}
