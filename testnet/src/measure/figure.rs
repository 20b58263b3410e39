//! The figures of a report by their names: those that can be bounded, and those that two relays are compared by.

use super::report::Report;

/// One number of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Latency that half of all pairs of transaction and node stay below, in milliseconds.
    P50,
    /// That of 90 %.
    P90,
    /// That of 95 %.
    P95,
    /// That of 99 %.
    P99,
    /// That of all.
    Max,
    /// Time until all nodes have a transaction, met by 95 % of the transactions, in milliseconds.
    Coverage,
    /// Pairs of transaction and node that came about, of all.
    Delivery,
    /// Full copies of a transaction that a node receives.
    Copies,
    /// Bytes received per byte of transactions.
    WireBytes,
    /// CPU time per node and transaction, in microseconds.
    Cpu,
    /// Memory of the largest node, in MiB.
    Rss,
    /// The highest rate held, in transactions per second.
    Saturation,
}

/// The names by which figures are bounded, and the unit of a bound that names none.
pub(super) const FIGURES: [(&str, Figure, &str); 12] = [
    ("p50", Figure::P50, "ms"),
    ("p90", Figure::P90, "ms"),
    ("p95", Figure::P95, "ms"),
    ("p99", Figure::P99, "ms"),
    ("max", Figure::Max, "ms"),
    ("coverage", Figure::Coverage, "ms"),
    ("delivery", Figure::Delivery, ""),
    ("copies", Figure::Copies, ""),
    ("wire_bytes", Figure::WireBytes, ""),
    ("cpu", Figure::Cpu, "us"),
    ("rss", Figure::Rss, "MiB"),
    ("saturation", Figure::Saturation, ""),
];

/// The figures that relays are compared by: the name of the ratio, whether less is better, and what people read.
pub(super) const COMPARED: [(&str, Figure, bool, &str); 9] = [
    ("wire_bytes", Figure::WireBytes, true, "bytes per byte"),
    ("copies", Figure::Copies, true, "copies per node"),
    ("cpu", Figure::Cpu, true, "CPU per node and tx, µs"),
    ("rss", Figure::Rss, true, "memory of the largest, MiB"),
    ("latency_p50", Figure::P50, true, "latency p50, ms"),
    ("latency_p95", Figure::P95, true, "latency p95, ms"),
    ("latency_p99", Figure::P99, true, "latency p99, ms"),
    ("coverage_p95", Figure::Coverage, true, "at all nodes p95, ms"),
    ("saturation", Figure::Saturation, false, "highest rate held, tx/s"),
];

impl Figure {
    /// Its value; `None` where there is none, as there is no latency of a lone node.
    pub(crate) fn of(self, report: &Report) -> Option<f64> {
        let latency = report.latency_ms.as_ref();
        match self {
            Self::P50 => latency.map(|latency| latency.p50),
            Self::P90 => latency.map(|latency| latency.p90),
            Self::P95 => latency.map(|latency| latency.p95),
            Self::P99 => latency.map(|latency| latency.p99),
            Self::Max => latency.map(|latency| latency.max),
            Self::Coverage => report.coverage_ms.p100.map(|times| times.p95),
            Self::Delivery => Some(report.delivery_ratio),
            Self::Copies => Some(report.copies_per_node),
            Self::WireBytes => Some(report.wire_bytes_per_payload_byte),
            Self::Cpu => Some(report.cpu_us_per_node_per_tx),
            Self::Rss => Some(report.rss_mib_per_node.max),
            Self::Saturation => report.saturation.as_ref().map(|saturation| saturation.held_tps),
        }
    }
}
