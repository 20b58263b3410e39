//! What the bytes were that nodes received.

use std::collections::BTreeMap;

use super::Maybe;
use crate::{
    launch::Relay,
    report::{chart::lying_bars, data::Data, html::Figure},
};

/// Most kinds that have a bar.
const MAX_KINDS: usize = 24;

/// Bytes by kind.
pub(super) fn by_kind(data: &Data<'_>) -> Maybe {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, bytes) in data.run.nodes.iter().flat_map(|node| &node.bytes_in) {
        let sum = kinds.entry(kind).or_default();
        *sum = sum.saturating_add(*bytes);
    }
    let frames = kinds.values().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    let socket = data.run.nodes.iter().fold(0_u64, |sum, node| sum.saturating_add(node.socket_bytes_in));
    // Over QUIC the socket counts nothing.
    let around = socket.saturating_sub(frames);
    let mut bars: Vec<(&str, u64)> = kinds.into_iter().take(MAX_KINDS).collect();
    bars.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    if around > 0 {
        // What gossipsub says beside transactions it does not count by kind.
        let what = if data.document.relay == Relay::Gossipsub.name() { "all else" } else { "encryption, muxing" };
        bars.push((what, around));
    }
    let whole = frames.saturating_add(around);
    if whole == 0 {
        return Err("bytes by kind: no node received any");
    }
    let payload = (data.nodes.len() as f64 * data.document.counted as f64 * data.document.tx_size as f64).max(1.0);
    let bars: Vec<(String, f64, String)> = bars
        .into_iter()
        .map(|(kind, bytes)| {
            let (each, share) = (bytes as f64 / payload, 100.0 * bytes as f64 / whole as f64);
            (kind.to_owned(), each, format!("{each:.3} ({share:.1} %)"))
        })
        .collect();
    let title = "Bytes received, by kind";
    let most = bars.first().map_or("", |bar| bar.0.as_str());
    Ok(Figure {
        picture: lying_bars("bytes", title, &bars, &format!("Most bytes are of the kind {most}.")),
        title: title.to_owned(),
        caption: format!(
            "Bytes that nodes received per byte of transactions and node, by the kind of message, and the share of each in \
             all: 1 is what every node must receive. In all {:.3}; {} full copies of each transaction for each node.",
            whole as f64 / payload,
            data.document.copies_per_node
        ),
        wide: true,
    })
}
