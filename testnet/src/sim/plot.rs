//! Timelines as a picture: one HTML file that needs nothing else.

use super::{figures::Bin, report::Report};
use crate::report::{Axis, Chart, SERIES, escape, html_page};

/// Half the length of a [`Bin`], in seconds: points stand in its middle.
const HALF: f64 = 5.0;

/// What is drawn of a bin.
type Value = fn(&Bin) -> Option<f64>;

/// What is drawn: its name within the page, its title, and where it comes from.
const PANELS: [(&str, &str, Value); 5] = [
    ("copies", "copies per node", |bin| Some(bin.copies_per_node)),
    ("bytes", "bytes per payload byte", |bin| Some(bin.wire_bytes_per_payload_byte)),
    ("stretch-p50", "stretch, median", |bin| bin.stretch.map(|q| q.p50)),
    ("stretch-p95", "stretch, p95", |bin| bin.stretch.map(|q| q.p95)),
    ("last-p95", "stretch of the last node, p95", |bin| bin.full_stretch.map(|q| q.p95)),
];

/// The page: copies, bytes and stretch by time.
pub(crate) fn page(runs: &[Report]) -> String {
    let keys: String = runs
        .iter()
        .enumerate()
        .map(|(number, run)| {
            format!("<span><i style=\"background:var(--s{})\"></i>{}</span>", number % SERIES, escape(run.relay))
        })
        .collect();
    let panels: String = PANELS
        .iter()
        .map(|(name, title, value)| format!("<figure>\n{}</figure>\n", panel(runs, name, title, *value)))
        .collect();
    let body = format!(
        "<h1>Simulated relays over time</h1>\n<p class=\"lead\">Ten seconds a point, by when transactions \
         entered.</p>\n<p class=\"legend-list\">{keys}</p>\n<div class=\"figures\">\n{panels}</div>\n"
    );
    html_page("Simulated relays over time", &body)
}

fn panel(runs: &[Report], name: &str, title: &str, value: Value) -> String {
    let lines: Vec<Vec<(f64, f64)>> = runs
        .iter()
        .map(|run| run.timeline.iter().filter_map(|bin| Some((bin.from_s + HALF, value(bin)?))).collect())
        .collect();
    let points = || lines.iter().flatten();
    let end = points().map(|point| point.0 + HALF).fold(2.0 * HALF, f64::max);
    let most = points().map(|point| point.1).fold(1.0, f64::max);
    let x = Axis::between("time since the start of the load / s", 0.0, end);
    let mut chart = Chart::new(name, title, x, Axis::to(title, most));
    for (series, line) in lines.iter().enumerate() {
        chart.line(series, line, "");
        for (time, value) in line {
            chart.dot(series, *time, *value, &format!("{} at {time} s: {value:.3}", runs[series].relay));
        }
    }
    chart.svg(&format!("{title}, of {} relays over {end} seconds", runs.len()))
}
