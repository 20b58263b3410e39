//! Latency by what no relay can beat.

use super::Maybe;
use crate::report::{
    axis::Axis,
    chart::Chart,
    data::Data,
    html::{Figure, table},
};

/// Quantiles that a line is drawn through.
const POINTS: u32 = 250;

/// What of the values is shown.
const SHOWN: f64 = 0.99;

/// The cumulative distribution, of all nodes and of the last.
pub(super) fn distribution(data: &Data<'_>) -> Maybe {
    if !data.wan {
        return Err("stretch: there were no delays between the nodes (--wan none)");
    }
    let (all, last) = (&data.spread.stretch, &data.spread.full_stretch);
    let (Some(figures), Some(end)) = (data.document.stretch, all.quantile(SHOWN)) else {
        return Err("stretch: no transaction got to another node that is 10 ms away or more");
    };
    let title = "Distribution of stretch";
    let end = last.quantile(SHOWN).map_or(end, |last| last.max(end));
    let from = all.quantile(0.0).unwrap_or(1.0).min(1.0);
    let x = Axis::between("stretch (time ÷ shortest path’s delay)", from, end);
    let mut chart = Chart::new("stretch", title, x, Axis::to("cumulative share", 1.0));
    for (series, values, label) in [(0, all, "each node"), (1, last, "last node of each transaction")] {
        let shares = (0..=POINTS).map(|point| f64::from(point) / f64::from(POINTS) * SHOWN);
        let points: Vec<_> = shares.filter_map(|share| Some((values.quantile(share)?, share))).collect();
        if !points.is_empty() {
            chart.line(series, &points, label);
        }
    }
    let rows = [("each node", data.document.stretch), ("last node", data.document.full_stretch)];
    let rows = rows.into_iter().filter_map(|(name, values)| {
        let values = values?;
        let of = |value: f64| format!("{value:.3}");
        Some([name.to_owned(), of(values.p50), of(values.p95), of(values.p99), of(values.max)])
    });
    let exact = table("Stretch", ["", "median", "p95", "p99", "max"], rows);
    Ok(Figure {
        picture: chart.svg(&format!(
            "Half of the deliveries have a stretch of {:.3} at most, 95 % of {:.3}.",
            figures.p50, figures.p95
        )),
        title: title.to_owned(),
        caption: format!(
            "Latency divided by the delay of the shortest path through the overlay, jitter and processing not included, \
             for nodes 10 ms apart or more: 1 is the optimum. For the last node the time until all nodes have the \
             transaction is divided by the longest of the shortest paths. The largest {:.0} % are not drawn.{exact}",
            (1.0 - SHOWN) * 100.0
        ),
        wide: false,
    })
}
