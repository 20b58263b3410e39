//! `status`: how the nodes of a testnet are.

use std::time::Duration;

use clap::Args;
use futures::future::join_all;
use serde::Serialize;
use starling_node::{
    cli::Failure,
    rpc::{self, ApiClient, NetworkView, SpreadView},
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
    /// The network as it is and as its nodes estimate it; absent if no node does.
    network: Option<Comparison>,
}

/// What nodes estimate, and the truth.
#[derive(Serialize)]
struct Comparison {
    /// Nodes that answer and estimate.
    asked: usize,
    /// Those in whose error bar the truth is.
    within: usize,
    rows: Vec<Row>,
}

/// One figure.
#[derive(Serialize)]
struct Row {
    figure: &'static str,
    truth: f64,
    /// The median of the estimates, the lowest and the highest.
    estimate: f64,
    lowest: f64,
    highest: f64,
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
    #[serde(skip)]
    network: Option<NetworkView>,
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
    let network = compare(&nodes);
    let overlay = Shape::new(&graph);
    let status = Status { schema: "starling.status/1", name: manifest.name, nodes, overlay, degrees, network };
    output::result(options.json, &status, || {
        let estimates = status.network.as_ref().map(|network| format!("\n\n{}", network.table())).unwrap_or_default();
        format!("{}\n{}{estimates}", table(&status.nodes), summary(&status))
    })
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
        network: None,
    };
    if alive {
        let ask = async {
            let Ok(client) = rpc::connect(&node.rpc, None) else { return };
            links = links_of(&client).await;
            status.links = links.as_ref().map(Vec::len);
            status.pool = client.txpool_status().await.ok().map(|pool| pool.count);
            status.network = client.net_aggregates().await.ok();
            if let Ok(chain) = client.block_latest().await {
                (status.height, status.account_digest) = (Some(chain.height), Some(chain.account_digest));
            }
        };
        // A halted process takes connections and never answers; what came until then is told.
        let _in_time = timeout(ANSWER_WITHIN, ask).await;
    }
    (status, links)
}

/// Puts what nodes estimate beside what they are.
fn compare(nodes: &[NodeStatus]) -> Option<Comparison> {
    let networks: Vec<&NetworkView> = nodes.iter().filter_map(|node| node.network.as_ref()).collect();
    if networks.is_empty() {
        return None;
    }
    let alive = nodes.iter().filter(|node| node.alive).count() as f64;
    let own = |figure: &str| -> Vec<f64> {
        networks.iter().filter_map(|network| network.figures.get(figure)).map(|spread| spread.own).collect()
    };
    let figure = |name: &'static str, key: &str, value: fn(&SpreadView) -> f64| {
        let estimates = networks.iter().filter_map(|network| network.figures.get(key)).map(value).collect();
        (name, own(key), estimates)
    };
    let sizes: Vec<f64> = networks.iter().map(|network| network.nodes.value).collect();
    let mut rows = vec![Row::new("nodes", alive, sizes)];
    let medians = [
        figure("links, median", "links", |spread| spread.p50),
        figure("pool, median", "pool_txs", |spread| spread.p50),
        figure("admitted/s, median", "admitted_per_s", |spread| spread.p50),
        figure("fee per byte, median", "fee_p50", |spread| spread.p50),
    ];
    rows.extend(medians.into_iter().map(|(name, own, estimates)| Row::new(name, median(own), estimates)));
    let total: f64 = own("pool_bytes").iter().sum();
    let (_, _, sums) = figure("", "pool_bytes", |spread| spread.sum);
    rows.push(Row::new("pool bytes, sum", total, sums));
    let within = networks.iter().filter(|network| (network.nodes.low..=network.nodes.high).contains(&alive)).count();
    Some(Comparison { asked: networks.len(), within, rows })
}

/// The value that half of them do not exceed.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().div_ceil(2).saturating_sub(1)).copied().unwrap_or_default()
}

impl Row {
    fn new(figure: &'static str, truth: f64, estimates: Vec<f64>) -> Self {
        let lowest = estimates.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = estimates.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { figure, truth, estimate: median(estimates), lowest, highest }
    }
}

impl Comparison {
    fn table(&self) -> String {
        let shown = |value: f64| format!("{value:.1}");
        let rows = self.rows.iter().map(|row| {
            let numbers = [row.truth, row.estimate, row.lowest, row.highest].map(shown);
            let [truth, estimate, lowest, highest] = numbers;
            [row.figure.to_owned(), truth, estimate, lowest, highest]
        });
        let table = output::table(["network", "truth", "estimate", "lowest", "highest"], rows);
        format!("{table}\n{} of {} nodes have the number of nodes within their error bar", self.within, self.asked)
    }
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
