//! What each node received and used.

use super::Maybe;
use crate::report::{
    axis::Axis,
    chart::Chart,
    data::Data,
    html::{Figure, table},
    kept::Usage,
};

/// One value of each node.
struct Panel {
    name: &'static str,
    /// What it is, with its unit.
    title: &'static str,
    of: fn(&Usage) -> f64,
    /// Whether it is told for each transaction.
    each: bool,
}

const PANELS: [Panel; 4] = [
    Panel { name: "copies", title: "copies per transaction", of: |node| node.copies as f64, each: true },
    Panel { name: "received", title: "bytes received per transaction", of: received, each: true },
    Panel { name: "cpu", title: "CPU time per transaction / µs", of: |node| node.cpu_us as f64, each: true },
    Panel { name: "memory", title: "memory in RAM / MiB", of: |node| node.resident as f64 / 1_048_576.0, each: false },
];

/// On sockets, or as messages where sockets do not count.
fn received(node: &Usage) -> f64 {
    let frames = node.bytes_in.values().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    node.socket_bytes_in.max(frames) as f64
}

/// Four panels, and a table of the least, middle and most.
pub(super) fn used(data: &Data<'_>) -> Maybe {
    let transactions = data.document.counted.max(1) as f64;
    let mut picture = String::from("<div class=\"panels\">\n");
    let mut rows = Vec::new();
    for panel in PANELS {
        let by = if panel.each { transactions } else { 1.0 };
        let values: Vec<f64> = data.run.nodes.iter().map(|node| (panel.of)(node) / by).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (sorted.first().copied().unwrap_or_default(), sorted.last().copied().unwrap_or_default());
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        let x = Axis::numbers("node", values.len());
        let mut chart = Chart::new(panel.name, panel.title, x, Axis::to(panel.title, most)).sized(460.0, 240.0);
        for (number, value) in values.iter().enumerate() {
            chart.bar(0, number as f64, *value, &format!("{}: {value:.2}", data.nodes[number].name));
        }
        chart.level(median, &format!("median {median:.1}"));
        picture.push_str(&chart.svg(&format!("From {least:.1} to {most:.1}, the median is {median:.1}.")));
        rows.push([panel.title.to_owned(), format!("{least:.2}"), format!("{median:.2}"), format!("{most:.2}")]);
    }
    picture.push_str("</div>\n");
    let exact = table("Per node", ["", "least", "median", "most"], rows);
    Ok(Figure {
        picture,
        title: "What each node received and used".to_owned(),
        caption: format!(
            "Copies are full transactions received, first ones included; bytes are those on TCP sockets, or of messages \
             over QUIC; CPU time is that of the whole process, RPC and idle work included; memory is that in RAM at the \
             end.{exact}"
        ),
        wide: true,
    })
}
