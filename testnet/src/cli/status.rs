//! `status`: how the nodes of a testnet are.

use clap::Args;
use futures::future::join_all;
use serde::Serialize;
use starling_node::{
    cli::Failure,
    rpc::{self, ApiClient},
};

use super::{options::Which, output};
use crate::launch::{NodeEntry, Processes, links_of};

/// Digits of an account digest that are shown in the table; enough to see that two differ.
const DIGEST_DIGITS: usize = 10;

/// `starling-testnet status`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet status
  starling-testnet status --json | jq '.nodes[] | select(.alive | not)'")]
pub(super) struct Options {
    #[command(flatten)]
    which: Which,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Status {
    schema: &'static str,
    name: String,
    nodes: Vec<NodeStatus>,
}

/// What a node does not tell is absent.
#[derive(Serialize)]
struct NodeStatus {
    name: String,
    pid: u32,
    alive: bool,
    links: Option<usize>,
    height: Option<u64>,
    pool: Option<u64>,
    account_digest: Option<String>,
}

/// Does it.
pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let manifest = options.which.manifest()?;
    let processes = Processes::look(&manifest.nodes)?;
    let nodes = join_all(manifest.nodes.iter().map(|node| look(node, processes.is_alive(node)))).await;
    let status = Status { schema: "starling.status/1", name: manifest.name, nodes };
    output::result(options.json, &status, || table(&status.nodes))
}

async fn look(node: &NodeEntry, alive: bool) -> NodeStatus {
    let mut status = NodeStatus {
        name: node.name.clone(),
        pid: node.pid,
        alive,
        links: None,
        height: None,
        pool: None,
        account_digest: None,
    };
    if alive && let Ok(client) = rpc::connect(&node.rpc, None) {
        status.links = links_of(&client).await.map(|links| links.len());
        status.pool = client.txpool_status().await.ok().map(|pool| pool.count);
        if let Ok(chain) = client.block_latest().await {
            (status.height, status.account_digest) = (Some(chain.height), Some(chain.account_digest));
        }
    }
    status
}

fn table(nodes: &[NodeStatus]) -> String {
    let shown = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let rows = nodes.iter().map(|node| {
        let digest =
            node.account_digest.as_ref().map_or("-".to_owned(), |digest| digest.chars().take(DIGEST_DIGITS).collect());
        [
            node.name.clone(),
            node.pid.to_string(),
            if node.alive { "yes" } else { "NO" }.to_owned(),
            shown(node.links.map(|links| links as u64)),
            shown(node.height),
            shown(node.pool),
            digest,
        ]
    });
    output::table(["node", "pid", "alive", "links", "height", "pool", "accounts"], rows)
}
