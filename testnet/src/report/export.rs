//! A run's deliveries and latencies in forms that other programs read.

use std::io::{self, Write};

use hdrhistogram::Histogram;

use super::data::Data;
use crate::map::{Distances, UNREACHABLE};

/// Lines for each halving of what is left, as HdrHistogram's own tools have it.
const TICKS: u32 = 5;

/// One line for each delivery, that to the first node included: the transaction's short id, the node, microseconds since
/// submission, the node that brought it (empty for the first one, and for a stranger), and the delay of the shortest path
/// from the first node in microseconds (empty without delays).
pub(crate) fn csv(data: &Data<'_>, mut out: impl Write) -> io::Result<()> {
    writeln!(out, "transaction,node,latency_us,from,shortest_path_us")?;
    let mut distances = Distances::default();
    for journey in &data.journeys {
        let ways = if data.wan { distances.from(&data.topology, journey.origin, None) } else { &[] };
        for arrival in &journey.arrivals {
            let from = arrival.line.from.and_then(|id| data.number(&id));
            let from = from.map(|from| field(&data.nodes[from].name)).unwrap_or_default();
            let way = ways.get(arrival.node).filter(|way| **way != UNREACHABLE).map(u32::to_string).unwrap_or_default();
            let node = field(&data.nodes[arrival.node].name);
            writeln!(out, "{},{node},{},{from},{way}", journey.id, arrival.wait_us)?;
        }
    }
    out.flush()
}

/// A name as a field of CSV (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Latency in milliseconds as a percentile distribution, in the text format of HdrHistogram (`outputPercentileDistribution`).
pub(crate) fn hgrm(data: &Data<'_>, mut out: impl Write) -> io::Result<()> {
    let times: &Histogram<u64> = &data.spread.latency;
    let ms = |us: u64| us as f64 / 1000.0;
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    for step in times.iter_quantiles(TICKS) {
        let (value, share) = (ms(step.value_iterated_to()), step.quantile_iterated_to());
        let count = times.count_between(0, step.value_iterated_to());
        if share < 1.0 {
            writeln!(out, "{value:12.3} {share:2.12} {count:10} {:14.2}", 1.0 / (1.0 - share))?;
        } else {
            writeln!(out, "{value:12.3} {share:2.12} {count:10}")?;
        }
    }
    writeln!(out, "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]", times.mean() / 1000.0, times.stdev() / 1000.0)?;
    writeln!(out, "#[Max     = {:12.3}, Total count    = {:12}]", ms(times.max()), times.len())?;
    let halves = 1_u64 << (2.0 * 10_f64.powi(times.sigfig().into())).log2().ceil() as u32;
    writeln!(out, "#[Buckets = {:12}, SubBuckets     = {halves:12}]", times.buckets())?;
    out.flush()
}
