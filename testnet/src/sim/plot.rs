//! Timelines as a picture: one HTML file that needs nothing else.

use std::fmt::Write;

use super::{figures::Bin, report::Report};

/// Colours of the relays, in their order; told apart by most eyes (Okabe and Ito 2008).
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933"];

/// Size of a panel and the room for its labels, in pixels.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 40.0;

/// What is drawn of a bin.
type Value = fn(&Bin) -> Option<f64>;

/// The page: copies, bytes and stretch by time.
pub(crate) fn page(runs: &[Report]) -> String {
    let panels: [(&str, Value); 5] = [
        ("copies per node", |bin| Some(bin.copies_per_node)),
        ("bytes per payload byte", |bin| Some(bin.wire_bytes_per_payload_byte)),
        ("stretch p50", |bin| bin.stretch.map(|q| q.p50)),
        ("stretch p95", |bin| bin.stretch.map(|q| q.p95)),
        ("stretch of the last node p95", |bin| bin.full_stretch.map(|q| q.p95)),
    ];
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Simulated relays over time</title>\n<style>body{font:14px \
         system-ui,sans-serif;margin:2em;max-width:62em}svg{display:block}h2{font-size:1em;margin:1.5em 0 0}\n\
         text{font:12px system-ui,sans-serif;fill:#444}.key{margin-right:1.5em}</style>\n<h1>Simulated relays over \
         time</h1>\n<p>",
    );
    // Writing to a String does not fail.
    for (run, colour) in runs.iter().zip(COLOURS.iter().cycle()) {
        let _ = write!(html, "<span class=\"key\"><b style=\"color:{colour}\">&#9632;</b> {}</span>", run.relay);
    }
    html.push_str("</p>\n");
    for (title, value) in panels {
        let _ = write!(html, "<h2>{title}</h2>\n{}\n", panel(runs, value));
    }
    html.push_str("<p>By the time at which transactions entered, in seconds from the start of the load.</p></html>\n");
    html
}

fn panel(runs: &[Report], value: Value) -> String {
    let lines: Vec<Vec<(f64, f64)>> = runs
        .iter()
        .map(|run| run.timeline.iter().filter_map(|bin| Some((bin.from_s + 5.0, value(bin)?))).collect())
        .collect();
    let points = || lines.iter().flatten();
    let end = points().map(|point| point.0 + 5.0).fold(10.0, f64::max);
    let top = nice(points().map(|point| point.1).fold(1.0, f64::max));
    let x = |time: f64| LEFT + time / end * (WIDTH - LEFT - 10.0);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - 10.0);
    let mut svg = format!("<svg width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">");
    for tick in 0..=4 {
        let at = top * f64::from(tick) / 4.0;
        let (height, right, label) = (y(at), WIDTH - 10.0, LEFT - 6.0);
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{height:.1}\" y2=\"{height:.1}\" stroke=\"#ddd\"/><text \
             x=\"{label}\" y=\"{:.1}\" text-anchor=\"end\">{at:.2}</text>",
            height + 4.0
        );
    }
    let step = nice(end / 8.0);
    let mut time = 0.0;
    while time <= end {
        let (at, below) = (x(time), HEIGHT - BOTTOM + 18.0);
        let _ = write!(svg, "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{time:.0} s</text>");
        time += step;
    }
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let path: Vec<String> = line.iter().map(|(time, value)| format!("{:.1},{:.1}", x(*time), y(*value))).collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (time, value) in line {
            let (x, y) = (x(*time), y(*value));
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"><title>{value:.3}</title></circle>"
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.7, 1.0, 1.3, 2.2, 3.0, 12.0, 260.0].map(nice), [1.0, 1.0, 2.0, 2.5, 5.0, 20.0, 500.0]);
    }
}
