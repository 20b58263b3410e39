//! What the page says in words and numbers: the head with the main figures, and what was run where.

use super::{
    data::Data,
    html::{escape, list},
    kept::Host,
};

/// The page's name.
pub(super) fn title(data: &Data<'_>) -> String {
    format!("{} on {} nodes", data.document.relay, data.document.nodes)
}

fn plural(count: usize, one: &str) -> String {
    if count == 1 { format!("{count} {one}") } else { format!("{count} {one}s") }
}

/// Title, what was done in a sentence, the main figures, and what went wrong.
pub(super) fn head(data: &Data<'_>) -> String {
    let of = &data.document;
    let place = if data.wan {
        format!("in {} with the delays of “{}”", plural(data.regions().len(), "region"), of.wan)
    } else {
        "without delays".to_owned()
    };
    let lead = format!(
        "{} over {} as processes on one machine, {place}; {} transactions of {} bytes at {} per second, {} of them measured. \
         {}.",
        plural(of.nodes, "node"),
        of.transport.to_uppercase(),
        of.submitted,
        of.tx_size,
        of.offered_tps,
        of.counted,
        data.run.ended
    );
    let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1} ms"));
    let latency = of.latency_ms;
    let mut tiles = vec![
        ("delivered", percent(of.delivery_ratio)),
        ("latency, median", ms(latency.map(|latency| latency.p50))),
        ("latency, p99", ms(latency.map(|latency| latency.p99))),
        ("at all nodes, p95", ms(of.coverage_ms.p100.map(|times| times.p95))),
    ];
    if let Some(stretch) = of.stretch {
        tiles.push(("stretch, p95", format!("{:.2}", stretch.p95)));
    }
    tiles.push(("copies per node", format!("{:.2}", of.copies_per_node)));
    tiles.push(("bytes per byte", format!("{:.2}", of.wire_bytes_per_payload_byte)));
    let tiles: String = tiles
        .into_iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(&value)))
        .collect();
    let mut warnings = Vec::new();
    if of.delivery_ratio < 1.0 {
        warnings.push("Not every node got every transaction.".to_owned());
    }
    if of.rejected > 0 {
        let reasons: Vec<String> =
            of.rejected_by_reason.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        warnings.push(format!("{} transactions were rejected ({}).", of.rejected, reasons.join(", ")));
    }
    if of.dropped > 0 {
        warnings.push(format!("{} times a node was too busy to check or send something.", of.dropped));
    }
    if of.chain.as_ref().is_some_and(|chain| !chain.agreed) {
        warnings.push("The nodes do not agree on the chain.".to_owned());
    }
    if (data.run.transactions.len() as u64) < of.counted {
        let named = data.run.transactions.len();
        warnings.push(format!("Curves are of a sample of {named} of the {} transactions.", of.counted));
    }
    let warnings: String =
        warnings.into_iter().map(|warning| format!("<p class=\"warning\">{}</p>\n", escape(&warning))).collect();
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n<dl class=\"tiles\">\n{tiles}</dl>\n{warnings}</header>\n",
        escape(&title(data)),
        escape(&lead)
    )
}

/// A share without a digit too few: what is not everything must not look like it.
fn percent(share: f64) -> String {
    let whole = format!("{:.2} %", share * 100.0);
    match whole.as_str() {
        "100.00 %" if share < 1.0 => "< 100 %".to_owned(),
        "100.00 %" => "100 %".to_owned(),
        _ => whole,
    }
}

/// Everything that is needed to do it again, and where it was done.
pub(super) fn run(data: &Data<'_>) -> String {
    let (of, run) = (&data.document, &data.run);
    let Host { os, kernel, arch, cpu, cores, memory_mib, load } = &run.host;
    let mut entries = vec![
        ("Program", run.program.clone()),
        ("Ended", run.ended.clone()),
        ("Processor", format!("{cpu}, {} ({arch})", plural(*cores, "core"))),
        ("Memory", format!("{memory_mib} MiB")),
        ("System", format!("{os}, kernel {kernel}")),
        ("Load of the machine", format!("{load:.1} processes on average over the last minute")),
        ("Relay", of.relay.clone()),
        ("Seed", of.seed.to_string()),
        ("Nodes", format!("{}, each opens {} links; {} links in all", of.nodes, of.dials, run.links.len())),
        ("Transport", format!("{}, delays: {}", of.transport, of.wan)),
        (
            "Load",
            format!(
                "{} tx/s of {} bytes for {} s, measured from {} s on",
                of.offered_tps, of.tx_size, of.duration_s, of.settle_s
            ),
        ),
        ("Transactions", format!("{} submitted, {} rejected, {} measured", of.submitted, of.rejected, of.counted)),
        ("Bytes counted", of.wire_bytes_counted.clone()),
        ("CPU time", format!("{:.0} µs per node and transaction", of.cpu_us_per_node_per_tx)),
        (
            "Memory of nodes",
            format!("median {:.1} MiB, most {:.1} MiB", of.rss_mib_per_node.p50, of.rss_mib_per_node.max),
        ),
    ];
    if let Some(latency) = of.latency_ms {
        let text = format!(
            "p50 {:.1}, p90 {:.1}, p95 {:.1}, p99 {:.1}, max {:.1} ms",
            latency.p50, latency.p90, latency.p95, latency.p99, latency.max
        );
        entries.push(("Latency", text));
    }
    if let Some(chain) = &of.chain {
        let agreed = if chain.agreed { "all nodes agree" } else { "nodes do not agree" };
        entries.push((
            "Chain",
            format!(
                "height {}, {} transactions included, {agreed}; {} times a block brought one first",
                chain.height, chain.included, chain.first_seen_in_block
            ),
        ));
        entries.push(("Account digest", chain.account_digest.clone()));
    }
    format!("<p class=\"command\">{}</p>\n<div class=\"facts\">\n{}</div>\n", escape(&run.command), list(&entries))
}
