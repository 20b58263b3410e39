//! `starling status`: a node at a glance.

use std::time::Duration;

use serde::Serialize;

use super::{
    failure::Failure,
    mempool::pool_facts,
    output::{Output, facts},
    target::Target,
};
use crate::rpc::{ApiClient, ChainView, NodeView, PoolView};

#[derive(Debug, Serialize)]
struct Status {
    node: NodeView,
    peers: u32,
    pool: PoolView,
    chain: ChainView,
}

pub(super) async fn run(target: Target, output: Output) -> Result<(), Failure> {
    let client = target.client()?;
    let http = client.http();
    let status = tokio::try_join!(http.node_info(), http.net_peer_count(), http.txpool_status(), http.block_latest());
    let (node, peers, pool, chain) = status.map_err(|error| client.failure(error))?;
    let status = Status { node, peers, pool, chain };
    output.result("starling.status/1", &status, || table(&status))
}

fn table(status: &Status) -> String {
    let Status { node, peers, pool, chain } = status;
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
    facts(rows)
}
