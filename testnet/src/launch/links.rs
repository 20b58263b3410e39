//! The links between nodes: waits for those that nodes find by themselves, or makes those that are planned.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use futures::{StreamExt, future::join_all, stream};
use jsonrpsee::http_client::HttpClient;
use starling_node::{
    cli::{Failure, Kind},
    rpc::ApiClient,
};
use starling_wire::NodeId;

use super::{manifest::NodeEntry, process};
use crate::{map::Topology, progress};

/// How long the overlay may take to settle.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

/// With no change in the number of links for this long, an overlay that nodes find by themselves counts as settled.
/// Longer than a node waits before it looks for neighbours again.
const QUIET: Duration = Duration::from_secs(2);

/// How often nodes are asked for their links meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a link may take to come up before its node is told to make it once more.
const RETRY: Duration = Duration::from_secs(5);

/// Nodes told to make a link at a time.
const AT_ONCE: usize = 32;

/// Links named in a message.
const MAX_NAMED: usize = 5;

/// The ready links of a node; `None` if it does not answer.
pub(crate) async fn links_of(client: &HttpClient) -> Option<Vec<NodeId>> {
    let peers = client.net_peers().await.ok()?;
    Some(peers.into_iter().filter(|peer| peer.ready).map(|peer| peer.id).collect())
}

/// The ready links of all nodes.
pub(super) async fn of_all(clients: &[HttpClient]) -> Vec<Option<Vec<NodeId>>> {
    join_all(clients.iter().map(links_of)).await
}

/// Waits until all nodes hang together and each has the links it wants, or the links no longer change. Gives the links
/// of each node.
pub(super) async fn settle(
    nodes: &[NodeEntry],
    clients: &[HttpClient],
    wanted: usize,
) -> Result<Vec<Vec<NodeId>>, Failure> {
    let bar = progress::spinner("waiting until the overlay is settled");
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let links = of_all(clients).await;
        let all: Option<Vec<Vec<NodeId>>> = links.iter().cloned().collect();
        let total = links.iter().flatten().map(Vec::len).sum();
        if total != before {
            (before, since) = (total, Instant::now());
        }
        if let Some(all) = all
            && is_connected(nodes, &all)
            && (all.iter().all(|links| links.len() >= wanted) || since.elapsed() >= QUIET)
        {
            bar.finish_and_clear();
            return Ok(all);
        }
        if Instant::now() >= deadline {
            let counts: Vec<String> =
                links.iter().map(|links| links.as_ref().map_or("-".into(), |l| l.len().to_string())).collect();
            let loneliest = nodes.iter().zip(&links).min_by_key(|(_, links)| links.as_ref().map(Vec::len));
            let error = anyhow!(
                "the nodes did not find together within {} s; links of each (- does not answer): {}. {}",
                SETTLE_TIMEOUT.as_secs(),
                counts.join(" "),
                log_of(loneliest.map(|(node, _)| node))
            );
            return Err(Failure::new(Kind::Timeout, error));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Makes the links of a planned overlay: tells those who open them, and waits until both ends say that a link is ready.
/// One that does not come up is made once more. Gives the links of each node.
pub(super) async fn make(
    nodes: &[NodeEntry],
    clients: &[HttpClient],
    topology: &Topology,
) -> Result<Vec<Vec<NodeId>>, Failure> {
    let bar = progress::bar(topology.links().count() as u64, "making links");
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let mut tell_at = Instant::now();
    loop {
        let links = of_all(clients).await;
        let missing = missing(nodes, &links, topology);
        bar.set_position((topology.links().count() - missing.len()) as u64);
        if missing.is_empty() {
            bar.finish_and_clear();
            return Ok(links.into_iter().flatten().collect());
        }
        if Instant::now() >= deadline {
            let error = anyhow!(
                "{} of {} planned links did not come up within {} s: {}. {}",
                missing.len(),
                topology.links().count(),
                SETTLE_TIMEOUT.as_secs(),
                name(nodes, &missing),
                log_of(missing.first().map(|(from, _)| &nodes[*from]))
            );
            return Err(Failure::new(Kind::Timeout, error));
        }
        if Instant::now() >= tell_at {
            // One that cannot be told now is told again.
            let tell = missing.into_iter().map(async |(from, to)| {
                let Some(address) = nodes[to].addresses.first() else { return };
                let _told = clients[from].admin_add_peer(address.clone()).await;
            });
            stream::iter(tell).buffer_unordered(AT_ONCE).collect::<()>().await;
            tell_at = Instant::now() + RETRY;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Planned links that one of their nodes does not have, by the numbers of who is to open them and the other end.
pub(super) fn missing(nodes: &[NodeEntry], links: &[Option<Vec<NodeId>>], topology: &Topology) -> Vec<(usize, usize)> {
    let has = |at: usize, other: usize| {
        links[at].as_ref().is_some_and(|links| links.iter().any(|peer| *peer == nodes[other].id))
    };
    topology.links().filter(|(from, to)| !has(*from, *to) || !has(*to, *from)).collect()
}

/// Some links for a message.
pub(super) fn name(nodes: &[NodeEntry], links: &[(usize, usize)]) -> String {
    let named = links.iter().take(MAX_NAMED).map(|(from, to)| format!("{} to {}", nodes[*from].name, nodes[*to].name));
    let more = if links.len() > MAX_NAMED { ", …" } else { "" };
    named.collect::<Vec<_>>().join(", ") + more
}

/// What the log of a node ends with, for a message: the testnet's directory is gone when it is read.
fn log_of(node: Option<&NodeEntry>) -> String {
    node.map(|node| format!("Of {}, {}", node.name, process::log_tail(&node.log))).unwrap_or_default()
}

/// Whether every node can be reached from the first over links.
fn is_connected(nodes: &[NodeEntry], links: &[Vec<NodeId>]) -> bool {
    let (mut reached, mut open) = (BTreeSet::from([0]), vec![0]);
    while let Some(at) = open.pop() {
        for peer in &links[at] {
            if let Some(next) = nodes.iter().position(|node| node.id == *peer)
                && reached.insert(next)
            {
                open.push(next);
            }
        }
    }
    reached.len() == nodes.len()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::map::Place;

    fn node(number: u8) -> NodeEntry {
        NodeEntry {
            name: format!("node-{number:02}"),
            id: NodeId([number; 32]),
            peer_id: String::new(),
            addresses: Vec::new(),
            region: None,
            rpc: String::new(),
            pid: 0,
            data_dir: PathBuf::new(),
            log: PathBuf::new(),
            trace: PathBuf::new(),
        }
    }

    #[test]
    fn a_link_counts_when_both_ends_have_it() {
        let nodes: Vec<_> = (0..3).map(node).collect();
        let topology = Topology::new(3, &[(0, 1, 1, 1), (2, 0, 1, 1)], vec![Place { region: 0, access_us: 0 }; 3]);
        let id = |number: usize| nodes[number].id;
        let missing = |links: [Option<Vec<NodeId>>; 3]| missing(&nodes, &links, &topology);
        assert_eq!(missing([Some(vec![id(1), id(2)]), Some(vec![id(0)]), Some(vec![id(0)])]), []);
        assert_eq!(missing([Some(vec![id(1), id(2)]), Some(vec![id(2)]), Some(vec![id(0)])]), [(0, 1)]);
        let none = missing([None, Some(vec![id(0)]), Some(vec![id(0)])]);
        assert_eq!(none, [(0, 1), (2, 0)], "one that does not answer has none");
        assert_eq!(name(&nodes, &none), "node-00 to node-01, node-02 to node-00");
        assert!(name(&nodes, &none.repeat(3)).ends_with(", …"));
    }
}
