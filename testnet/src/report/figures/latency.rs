//! How long transactions take to nodes.

use super::{ALONE, Maybe};
use crate::{
    measure::Times,
    report::{axis::Axis, chart::Chart, data::Data, html::Figure},
};

/// Quantiles that a line is drawn through.
const POINTS: u32 = 250;

/// What of the values the distribution shows; the tail is the other figure's.
const SHOWN: f64 = 0.995;

fn ms(times: &Times, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1000.0
}

/// The cumulative distribution.
pub(super) fn distribution(data: &Data<'_>) -> Maybe {
    let times = &data.spread.latency;
    let (Some(figures), false) = (&data.document.latency_ms, times.is_empty()) else { return Err(ALONE) };
    let title = "Distribution of latency";
    let x = Axis::between("time since submission / ms", 0.0, ms(times, SHOWN) * 1.04);
    let mut chart = Chart::new("latency", title, x, Axis::to("share of deliveries", 1.0));
    let shares = (0..=POINTS).map(|point| f64::from(point) / f64::from(POINTS) * SHOWN);
    let points: Vec<_> = [(0.0, 0.0), (times.min() as f64 / 1000.0, 0.0)]
        .into_iter()
        .chain(shares.map(|share| (ms(times, share), share)))
        .collect();
    chart.line(0, &points, "");
    for (name, share, at) in [("p50", 0.5, figures.p50), ("p90", 0.9, figures.p90), ("p99", 0.99, figures.p99)] {
        chart.pin(at, share, &format!("{name} {at:.1} ms"));
    }
    let described =
        format!("Half of the deliveries took {:.1} ms at most, 95 % took {:.1} ms.", figures.p50, figures.p95);
    Ok(Figure {
        picture: chart.svg(&described),
        title: title.to_owned(),
        caption: format!(
            "Share of {} deliveries (one for each transaction and each node but the one it entered at) that took no longer \
             than the time below, from the first node’s pool to the other’s. The slowest {:.1} % are beyond the right \
             edge.",
            times.len(),
            (1.0 - SHOWN) * 100.0
        ),
        wide: false,
    })
}

/// Percentiles, the last ones at length.
pub(super) fn tail(data: &Data<'_>) -> Maybe {
    let times = &data.spread.latency;
    let (Some(figures), false) = (&data.document.latency_ms, times.is_empty()) else { return Err(ALONE) };
    let title = "Tail of latency";
    let y = Axis::to("time since submission / ms", figures.max);
    let mut chart = Chart::new("tail", title, Axis::percentiles("percentile of deliveries", times.len()), y);
    let nines = (times.len().max(10) as f64).log10().ceil();
    let share = |point: u32| 1.0 - 10_f64.powf(-nines * f64::from(point) / f64::from(POINTS));
    let points: Vec<_> = (0..=POINTS).map(|point| (share(point), ms(times, share(point)))).collect();
    chart.line(0, &points, "");
    for (name, share, at) in [("p50", 0.5, figures.p50), ("p90", 0.9, figures.p90), ("p99", 0.99, figures.p99)] {
        chart.dot(0, share, at, &format!("{name} {at:.1} ms"));
    }
    let described =
        format!("99 % of the deliveries took {:.1} ms at most, the last one {:.1} ms.", figures.p99, figures.max);
    Ok(Figure {
        picture: chart.svg(&described),
        title: title.to_owned(),
        caption: format!(
            "The same deliveries by percentile. Each step to the right leaves a tenth of those before; the dots are the \
             50th, 90th and 99th percentile, the slowest delivery took {:.1} ms.",
            figures.max
        ),
        wide: false,
    })
}
