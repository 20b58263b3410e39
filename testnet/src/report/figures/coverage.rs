//! How many of the nodes have a transaction how long after it was submitted.

use super::{ALONE, Maybe};
use crate::report::{
    axis::Axis,
    chart::Chart,
    data::Data,
    html::{Figure, table},
};

/// Times at which nodes are counted.
const POINTS: usize = 200;

/// The shares of transactions that have reached fewer nodes: of the lower edge, the line and the upper edge.
const QUANTILES: [f64; 3] = [0.05, 0.5, 0.95];

/// Shares of the nodes that have a transaction at some times after it was submitted, in milliseconds, for each of
/// [`QUANTILES`] of the transactions.
fn shares(data: &Data<'_>, end_ms: f64) -> Vec<(f64, [f64; QUANTILES.len()])> {
    let nodes = data.nodes.len();
    let time = |point: usize| end_ms * point as f64 / POINTS as f64;
    let of = |point: usize| {
        let us = (time(point) * 1000.0) as u64;
        let mut transactions_with = vec![0_u64; nodes + 1];
        for journey in &data.journeys {
            transactions_with[journey.arrivals.partition_point(|arrival| arrival.wait_us <= us)] += 1;
        }
        let quantile = |share: f64| {
            let wanted = (data.journeys.len() as f64 * share).ceil().max(1.0) as u64;
            let mut so_far = 0;
            let reached = transactions_with.iter().position(|transactions| {
                so_far += transactions;
                so_far >= wanted
            });
            reached.unwrap_or_default() as f64 / nodes as f64
        };
        (time(point), QUANTILES.map(quantile))
    };
    (0..=POINTS).map(of).collect()
}

/// The share of the nodes over time.
pub(super) fn over_time(data: &Data<'_>) -> Maybe {
    let latency = &data.spread.latency;
    if latency.is_empty() {
        return Err(ALONE);
    }
    let title = "Coverage over time";
    let coverage = data.document.coverage_ms;
    let far = [coverage.p99, coverage.p100].into_iter().flatten().map(|times| times.p95);
    let end = far.fold(latency.value_at_quantile(0.95) as f64 / 1000.0, f64::max) * 1.1;
    let shares = shares(data, end);
    let x = Axis::between("time since submission / ms", 0.0, end);
    let mut chart = Chart::new("coverage", title, x, Axis::to("share of nodes", 1.0));
    let band: Vec<_> = shares.iter().map(|(time, [low, _, high])| (*time, *low, *high)).collect();
    let median: Vec<_> = shares.iter().map(|(time, [_, median, _])| (*time, *median)).collect();
    chart.band(0, &band, "5th to 95th percentile");
    chart.line(0, &median, "median transaction");
    let half = median.iter().find(|(_, share)| *share >= 0.5).map_or(end, |(time, _)| *time);
    let rows = [("50 %", coverage.p50), ("90 %", coverage.p90), ("99 %", coverage.p99), ("100 %", coverage.p100)];
    let cell = |value: Option<f64>| value.map_or_else(|| "never".to_owned(), |value| format!("{value:.1}"));
    let rows = rows.map(|(share, times)| {
        let of = |value: fn(&crate::measure::CoverageTimes) -> f64| cell(times.as_ref().map(value));
        [share.to_owned(), of(|times| times.p50), of(|times| times.p95), of(|times| times.max)]
    });
    let exact = table(
        "Time until a share of the nodes has a transaction, ms",
        ["share of nodes", "median", "p95", "max"],
        rows,
    );
    Ok(Figure {
        picture: chart.svg(&format!("The median transaction is at half of the nodes after {half:.0} ms.")),
        title: title.to_owned(),
        caption: format!(
            "Share of the {} nodes, the first included, that have a transaction, over {} transactions: at each time half \
             of them have got farther than the line, and 90 % are within the band.{exact}",
            data.nodes.len(),
            data.journeys.len()
        ),
        wide: false,
    })
}
