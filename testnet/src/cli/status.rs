//! `status`: how the nodes of a testnet are.

use std::time::Duration;

use clap::Args;
use futures::future::join_all;
use serde::Serialize;
use starling_node::{
    cli::Failure,
    rpc::{self, ApiClient},
};
use starling_wire::NodeId;
use tokio::time::timeout;

use super::{options::Which, output};
use crate::{
    launch::{NodeEntry, Processes, links_of},
    map::Shape,
};

/// Digits of an account digest that are shown in the table; enough to see that two differ.
const DIGEST_DIGITS: usize = 10;

/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

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
    /// The graph of those that answer.
    overlay: Shape,
    /// How many of them have so many neighbours, from none upwards.
    degrees: Vec<usize>,
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
    let looks = join_all(manifest.nodes.iter().map(|node| look(node, processes.is_alive(node)))).await;
    let (nodes, links): (Vec<NodeStatus>, Vec<Option<Vec<NodeId>>>) = looks.into_iter().unzip();
    let answering: Vec<(NodeId, Vec<NodeId>)> =
        manifest.nodes.iter().zip(links).filter_map(|(node, links)| Some((node.id, links?))).collect();
    let number = |id: &NodeId| answering.iter().position(|(other, _)| other == id);
    let graph: Vec<Vec<usize>> = answering.iter().map(|(_, links)| links.iter().filter_map(number).collect()).collect();
    let mut degrees = vec![0; graph.iter().map(Vec::len).max().unwrap_or(0) + 1];
    graph.iter().for_each(|links| degrees[links.len()] += 1);
    let status =
        Status { schema: "starling.status/1", name: manifest.name, nodes, overlay: Shape::new(&graph), degrees };
    output::result(options.json, &status, || format!("{}\n{}", table(&status.nodes), summary(&status)))
}

fn summary(status: &Status) -> String {
    let Shape { components, degree_mean, diameter, clustering, clustering_random, .. } = &status.overlay;
    let counts = status.degrees.iter().enumerate().filter(|(_, nodes)| **nodes > 0);
    let degrees: Vec<String> = counts.map(|(degree, nodes)| format!("{nodes} with {degree}")).collect();
    format!(
        "components {}; links {degree_mean:.1} on average, diameter {diameter}, clustering {clustering:.3} (random graph: \
         {clustering_random:.3})\nnodes by links: {}",
        components.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + "),
        degrees.join(", ")
    )
}

async fn look(node: &NodeEntry, alive: bool) -> (NodeStatus, Option<Vec<NodeId>>) {
    let mut links = None;
    let mut status = NodeStatus {
        name: node.name.clone(),
        pid: node.pid,
        alive,
        links: None,
        height: None,
        pool: None,
        account_digest: None,
    };
    if alive {
        let ask = async {
            let Ok(client) = rpc::connect(&node.rpc, None) else { return };
            links = links_of(&client).await;
            status.links = links.as_ref().map(Vec::len);
            status.pool = client.txpool_status().await.ok().map(|pool| pool.count);
            if let Ok(chain) = client.block_latest().await {
                (status.height, status.account_digest) = (Some(chain.height), Some(chain.account_digest));
            }
        };
        // A halted process takes connections and never answers; what came until then is told.
        let _in_time = timeout(ANSWER_WITHIN, ask).await;
    }
    (status, links)
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
