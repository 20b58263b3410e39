//! `starling status`: a node at a glance.

use std::time::Duration;

use serde::Serialize;

use super::{
    failure::Failure,
    mempool::pool_facts,
    output::{Output, facts},
    target::Target,
};
use crate::rpc::{ApiClient, ChainView, NetworkView, NodeView, PoolView, SpreadView};

#[derive(Debug, Serialize)]
struct Status {
    node: NodeView,
    peers: u32,
    pool: PoolView,
    chain: ChainView,
    network: NetworkView,
}

pub(super) async fn run(target: Target, output: Output) -> Result<(), Failure> {
    let client = target.client()?;
    let http = client.http();
    let status = tokio::try_join!(
        http.node_info(),
        http.net_peer_count(),
        http.txpool_status(),
        http.block_latest(),
        http.net_aggregates()
    );
    let (node, peers, pool, chain, network) = status.map_err(|error| client.failure(error))?;
    let status = Status { node, peers, pool, chain, network };
    output.result("starling.status/1", &status, || table(&status))
}

fn table(status: &Status) -> String {
    let Status { node, peers, pool, chain, network } = status;
    let uptime = Duration::from_secs(node.uptime_s as u64);
    let mut rows = vec![
        ("node", node.id.to_string()),
        ("peer id", node.peer_id.clone()),
        ("version", format!("{} (protocol {})", node.version, node.protocol)),
        ("up for", humantime::format_duration(uptime).to_string()),
    ];
    rows.extend(node.addresses.iter().map(|address| ("listens at", address.clone())));
    rows.extend([
        ("network", node.network.to_string()),
        ("genesis", node.genesis.to_string()),
        ("peers", peers.to_string()),
    ]);
    rows.extend(pool_facts(pool));
    rows.extend([("height", chain.height.to_string()), ("last block", chain.id.to_string())]);
    rows.extend(network_facts(network));
    facts(rows)
}

/// What is said of a figure.
type Told = fn(&SpreadView) -> String;

/// The whole network as names and values.
fn network_facts(network: &NetworkView) -> Vec<(&'static str, String)> {
    let NetworkView { nodes, figures, versions, .. } = network;
    let how = match (network.exact, network.settled) {
        (true, true) => "every node counted".to_owned(),
        (true, false) => "still counting".to_owned(),
        (false, settled) => {
            let counting = if settled { "" } else { ", still counting" };
            format!("{:.0} to {:.0}, from a sample of {}{counting}", nodes.low, nodes.high, network.reports)
        }
    };
    let mut facts = vec![("nodes", format!("{:.0} ({how})", nodes.value))];
    let rows: [(&str, &str, Told); 5] = [
        ("admitted_per_s", "transactions/s", |of| format!("{:.1} at the median node", of.p50)),
        ("pool_fill", "pools filled", |of| {
            let [low, middle, high] = [of.p10, of.p50, of.p90].map(|share| share * 100.0);
            format!("{middle:.1} % at the median node ({low:.1} % to {high:.1} % at most others)")
        }),
        ("fee_p10", "low fees", |of| format!("{:.3} per byte: a tenth of the median node's pool pays less", of.p50)),
        ("fee_p50", "median fees", |of| format!("{:.3} per byte", of.p50)),
        ("fee_p90", "high fees", |of| format!("{:.3} per byte: a tenth pays more", of.p50)),
    ];
    facts.extend(rows.iter().filter_map(|(figure, name, text)| Some((*name, text(figures.get(*figure)?)))));
    let versions = versions.iter().map(|(version, share)| format!("{version} at {:.0} %", share * 100.0));
    facts.push(("versions", versions.collect::<Vec<_>>().join(", ")));
    if !network.liars.is_empty() {
        facts.push(("contradict themselves", network.liars.len().to_string()));
    }
    facts
}
