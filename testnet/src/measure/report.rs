//! The figures of one measurement: one JSON document for programs, a table for people.

use std::{collections::BTreeMap, time::Duration};

use comfy_table::{Table, presets};
use serde::{Deserialize, Serialize};

use super::{
    collect::Sample,
    saturation::Saturation,
    spread::{Spread, Times},
};
use crate::{
    figures::Quantiles,
    launch::{Relay, Transport},
};

/// What was done, for [`Report::new`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load<'a> {
    /// How the nodes passed transactions on.
    pub(crate) relay: Relay,
    /// Nodes.
    pub(crate) nodes: usize,
    /// Links each opens by itself.
    pub(crate) dials: u8,
    /// The seed.
    pub(crate) seed: u64,
    /// What the nodes talked over.
    pub(crate) transport: Transport,
    /// Which delays were between them.
    pub(crate) wan: &'a str,
    /// Bytes of each transaction.
    pub(crate) tx_size: usize,
    /// How long transactions were sent.
    pub(crate) duration: Duration,
    /// From when on figures count, from the start of the load.
    pub(crate) settle: Duration,
    /// Transactions per second.
    pub(crate) rate: f64,
    /// Transactions sent.
    pub(crate) submitted: u64,
    /// Those that were taken, and sent late enough for figures to be about them.
    pub(crate) counted: u64,
}

/// The figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    /// How the nodes passed transactions on.
    pub(super) relay: &'static str,
    nodes: usize,
    dials: u8,
    seed: u64,
    transport: &'static str,
    wan: String,
    tx_size: usize,
    duration_s: f64,
    offered_tps: f64,
    /// From when on figures count, in seconds from the start of the load.
    settle_s: f64,
    submitted: u64,
    pub(super) rejected: u64,
    /// Transactions the figures are about.
    counted: u64,
    rejected_by_reason: BTreeMap<String, u64>,
    /// Pairs of transaction and node that came about, of all there should be.
    pub(crate) delivery_ratio: f64,
    /// Per transaction and other node; `null` for a lone node.
    pub(crate) latency_ms: Option<Latency>,
    /// Per transaction, until a share of the nodes had it.
    pub(crate) coverage_ms: Coverage,
    /// Per transaction and other node 10 ms away or more: time by the delay of the shortest path through the overlay;
    /// `null` without delays.
    stretch: Option<Quantiles>,
    /// The same of the last node; `null` without delays, and if none reached all nodes.
    full_stretch: Option<Quantiles>,
    /// Full copies of a transaction a node received.
    pub(crate) copies_per_node: f64,
    /// Bytes a node received for each byte of transactions.
    pub(crate) wire_bytes_per_payload_byte: f64,
    /// Where those bytes were counted: on the `socket`, encryption and multiplexing included, as `frames` before, or
    /// only the bytes of `transactions` in those.
    pub(super) wire_bytes_counted: &'static str,
    /// Times that a node had too much to do to check what came or to send what was to go.
    dropped: u64,
    /// CPU time a node used for each transaction, in microseconds.
    pub(crate) cpu_us_per_node_per_tx: f64,
    /// Memory at the end.
    pub(crate) rss_mib_per_node: Memory,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<Chain>,
    /// The highest rate held; absent if nobody looked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) saturation: Option<Saturation>,
}

/// Quantiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// Quantiles over transactions in milliseconds; `null` where none got so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Coverage {
    pub(crate) p50: Option<CoverageTimes>,
    pub(crate) p90: Option<CoverageTimes>,
    pub(crate) p99: Option<CoverageTimes>,
    pub(crate) p100: Option<CoverageTimes>,
}

/// See [`Coverage`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct CoverageTimes {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) max: f64,
}

/// MiB per node.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) p50: f64,
    pub(crate) max: f64,
}

/// The chain at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chain {
    /// The first node's height.
    pub(crate) height: u64,
    /// The first node's digest of all accounts.
    pub(crate) account_digest: String,
    /// Whether all nodes are there, with empty pools, and all accepted transactions are in blocks.
    pub(crate) agreed: bool,
    /// Transactions of the load that are in blocks.
    pub(crate) included: u64,
    /// Pairs of transaction and node where the transaction came with a block before it came by itself.
    pub(crate) first_seen_in_block: u64,
}

impl Report {
    /// The name and version of the document.
    pub(crate) const SCHEMA: &str = "starling.measure/1";

    /// From what was counted before and after those transactions of the load that count, and how the transactions spread.
    pub(crate) fn new(
        load: &Load<'_>,
        rejected_by_reason: BTreeMap<String, u64>,
        (before, after): (&[Sample], &[Sample]),
        spread: &Spread,
        chain: Option<Chain>,
    ) -> Self {
        let sum = |value: fn(&Sample) -> u64| {
            let of = |samples: &[Sample]| samples.iter().map(value).sum::<u64>();
            of(after).saturating_sub(of(before)) as f64
        };
        let pairs = (load.nodes as u64 * load.counted).max(1) as f64;
        let delivered = spread.pairs + chain.as_ref().map_or(0, |chain| chain.first_seen_in_block);
        let (wire_bytes, wire_bytes_counted) = match (load.transport, load.relay) {
            (Transport::Tcp, _) => (sum(|sample| sample.socket_bytes_in), "socket"),
            (Transport::Quic, Relay::Starling) => (sum(Sample::frame_bytes_in), "frames"),
            // gossipsub tells nothing else of its frames.
            (Transport::Quic, Relay::Gossipsub) => (sum(Sample::frame_bytes_in), "transactions"),
        };
        let mut resident: Vec<f64> = after.iter().map(|sample| sample.resident as f64 / f64::from(1 << 20)).collect();
        resident.sort_by(f64::total_cmp);
        let [p50, p90, p99, p100] = spread.coverage.each_ref().map(coverage_times);
        Self {
            schema: Self::SCHEMA,
            relay: load.relay.name(),
            nodes: load.nodes,
            dials: load.dials,
            seed: load.seed,
            transport: load.transport.name(),
            wan: load.wan.to_owned(),
            tx_size: load.tx_size,
            duration_s: rounded(load.duration.as_secs_f64()),
            offered_tps: rounded(load.rate),
            settle_s: rounded(load.settle.as_secs_f64()),
            submitted: load.submitted,
            counted: load.counted,
            rejected: rejected_by_reason.values().sum(),
            rejected_by_reason,
            // Not rounded: one pair missing of a million is one too many.
            delivery_ratio: delivered as f64 / pairs,
            latency_ms: latency(&spread.latency),
            coverage_ms: Coverage { p50, p90, p99, p100 },
            stretch: spread.stretch.quantiles(),
            full_stretch: spread.full_stretch.quantiles(),
            copies_per_node: rounded(sum(|sample| sample.pushes_in) / pairs),
            wire_bytes_per_payload_byte: rounded(wire_bytes / pairs / load.tx_size as f64),
            wire_bytes_counted,
            dropped: sum(|sample| sample.dropped) as u64,
            cpu_us_per_node_per_tx: rounded(sum(|sample| sample.cpu.as_micros() as u64) / pairs),
            rss_mib_per_node: Memory {
                p50: rounded(resident.get(resident.len() / 2).copied().unwrap_or_default()),
                max: rounded(resident.last().copied().unwrap_or_default()),
            },
            chain,
            saturation: None,
        }
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        row("relay", self.relay.to_owned());
        let of_load = format!(
            "{} nodes, {} dials, {}, wan {}, {} tx/s of {} bytes for {} s, seed {}",
            self.nodes,
            self.dials,
            self.transport,
            self.wan,
            self.offered_tps,
            self.tx_size,
            self.duration_s,
            self.seed
        );
        row("load", of_load);
        let reasons: Vec<String> =
            self.rejected_by_reason.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let why = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        let settle = if self.settle_s > 0.0 { format!(", from {} s on", self.settle_s) } else { String::new() };
        let counts =
            format!("{} submitted, {} rejected{why}, {} counted{settle}", self.submitted, self.rejected, self.counted);
        row("transactions", counts);
        row("delivered", format!("{:.4} %", self.delivery_ratio * 100.0));
        if let Some(Latency { p50, p90, p95, p99, max }) = self.latency_ms {
            row("latency", format!("p50 {p50:.1}  p90 {p90:.1}  p95 {p95:.1}  p99 {p99:.1}  max {max:.1} ms"));
        }
        let Coverage { p50, p90, p99, p100 } = self.coverage_ms;
        for (share, times) in [("50 %", p50), ("90 %", p90), ("99 %", p99), ("100 %", p100)] {
            let times = match times {
                Some(CoverageTimes { p50, p95, max }) => format!("p50 {p50:.1}  p95 {p95:.1}  max {max:.1} ms"),
                None => "never".to_owned(),
            };
            row(&format!("at {share} of nodes"), times);
        }
        for (name, values) in [("stretch", self.stretch), ("stretch, last node", self.full_stretch)] {
            if let Some(Quantiles { p50, p95, p99, max }) = values {
                row(name, format!("p50 {p50:.3}  p95 {p95:.3}  p99 {p99:.3}  max {max:.2}"));
            }
        }
        row("copies per node", format!("{:.2}", self.copies_per_node));
        let counted = match self.wire_bytes_counted {
            "socket" => "on sockets",
            "frames" => "as frames, before encryption",
            _ => "transactions only, nothing around them",
        };
        row("bytes per byte", format!("{:.2} (counted {counted})", self.wire_bytes_per_payload_byte));
        if self.dropped > 0 {
            row("DROPPED", format!("{} times a node was too busy to check or send something", self.dropped));
        }
        row("CPU per node and tx", format!("{:.0} µs", self.cpu_us_per_node_per_tx));
        let Memory { p50, max } = self.rss_mib_per_node;
        row("memory per node", format!("p50 {p50:.1}  max {max:.1} MiB"));
        if let Some(chain) = &self.chain {
            let agreed = if chain.agreed { "all nodes agree" } else { "NODES DO NOT AGREE" };
            row("chain", format!("height {}, {} transactions included, {agreed}", chain.height, chain.included));
            row("account digest", chain.account_digest.clone());
            let share = 100.0 * chain.first_seen_in_block as f64 / (self.nodes as u64 * self.counted).max(1) as f64;
            let came = format!("{} ({share:.3} %), with no latency and in no coverage", chain.first_seen_in_block);
            row("came with a block first", came);
        }
        if let Some(saturation) = &self.saturation {
            row("highest rate held", saturation.to_string());
        }
        table.trim_fmt()
    }
}

/// Three digits behind the point are more than any figure here deserves.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn ms(times: &Times, quantile: f64) -> f64 {
    rounded(times.value_at_quantile(quantile) as f64 / 1000.0)
}

fn latency(times: &Times) -> Option<Latency> {
    (!times.is_empty()).then(|| Latency {
        p50: ms(times, 0.50),
        p90: ms(times, 0.90),
        p95: ms(times, 0.95),
        p99: ms(times, 0.99),
        max: ms(times, 1.0),
    })
}

fn coverage_times(times: &Times) -> Option<CoverageTimes> {
    (!times.is_empty()).then(|| CoverageTimes { p50: ms(times, 0.50), p95: ms(times, 0.95), max: ms(times, 1.0) })
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use starling_node::net::Delivery;
    use starling_wire::{NodeId, ShortId};

    use super::*;

    fn sampled(factor: u64) -> Sample {
        Sample {
            admitted: 10 * factor,
            pushes_in: 30 * factor,
            frame_bytes_in: BTreeMap::from([("ihave".into(), 1_000 * factor), ("push".into(), 4_000 * factor)]),
            socket_bytes_in: 6_000 * factor,
            dropped: factor - 1,
            cpu: Duration::from_micros(1_000 * factor),
            resident: factor << 20,
        }
    }

    pub(in crate::measure) fn report(transport: Transport) -> Report {
        report_of(Relay::Starling, transport)
    }

    pub(in crate::measure) fn report_of(relay: Relay, transport: Transport) -> Report {
        let line = |us: u64, id: u8, local: bool| Delivery {
            unix_us: us,
            id: ShortId([id; 8]),
            from: (!local).then_some(NodeId([9; 32])),
        };
        // Two transactions, two nodes; the second never reaches the other node.
        let traces = [vec![line(0, 1, true), line(0, 2, true)], vec![line(2_000, 1, false)]];
        let spread = Spread::new(&traces, &BTreeSet::from([ShortId([1; 8]), ShortId([2; 8])]), None).unwrap();
        let load = Load {
            relay,
            nodes: 2,
            dials: 8,
            seed: 1,
            transport,
            wan: "none",
            tx_size: 250,
            duration: Duration::from_secs(1),
            settle: Duration::ZERO,
            rate: 3.0,
            submitted: 3,
            counted: 2,
        };
        let rejected = BTreeMap::from([("pool-full".to_owned(), 1)]);
        Report::new(&load, rejected, (&[sampled(1), sampled(1)], &[sampled(2), sampled(3)]), &spread, None)
    }

    #[test]
    fn figures_are_per_node_and_transaction() {
        let of_tcp = report(Transport::Tcp);
        assert_eq!(of_tcp.delivery_ratio, 0.75);
        // Three times the sample in all, over two nodes and two transactions.
        assert_eq!(of_tcp.copies_per_node, 22.5);
        assert_eq!((of_tcp.wire_bytes_per_payload_byte, of_tcp.wire_bytes_counted), (18.0, "socket"));
        assert_eq!(of_tcp.cpu_us_per_node_per_tx, 750.0);
        assert_eq!(of_tcp.rss_mib_per_node, Memory { p50: 3.0, max: 3.0 });
        assert_eq!(of_tcp.latency_ms.unwrap().max, 2.0);
        let of_quic = report(Transport::Quic);
        assert_eq!((of_quic.wire_bytes_per_payload_byte, of_quic.wire_bytes_counted), (15.0, "frames"));
        let of_other = report_of(Relay::Gossipsub, Transport::Quic);
        assert_eq!((of_other.relay, of_other.wire_bytes_counted), ("gossipsub", "transactions"));
        assert!(of_other.dropped == 3 && of_other.table().contains("DROPPED"));
    }

    #[test]
    fn the_document_has_its_fields_and_the_table_its_rows() {
        let report = report(Transport::Tcp);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["schema"], "starling.measure/1");
        assert_eq!((&json["submitted"], &json["rejected"]), (&3.into(), &1.into()));
        assert_eq!(json["coverage_ms"]["p100"]["max"], 2.0);
        assert_eq!(json["wan"], "none");
        assert!(json.get("chain").is_none());
        let table = report.table();
        for part in ["75.0000 %", "pool-full 1", "p99 2.0", "copies per node"] {
            assert!(table.contains(part), "{part} in {table}");
        }
    }
}
