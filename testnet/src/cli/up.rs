//! `up`: brings a testnet up, in the foreground or detached.

use std::{collections::BTreeSet, time::Duration};

use anyhow::anyhow;
use clap::Args;
use starling_node::cli::{Failure, Kind};
use starling_wire::NodeId;

use super::{
    interrupt::Interrupt,
    options::{ByRelay, Shape, Which, block_interval},
    output, say,
};
use crate::launch::{Manifest, Relay, Spec, Testnet};

/// Time between blocks unless something else is asked for.
const BLOCK_INTERVAL: Duration = Duration::from_secs(2);

/// How often a testnet in the foreground is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// `starling-testnet up`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet up
  starling-testnet up --nodes 8 --detach
  starling-testnet up --name quick --transport quic --block-interval 500ms
  starling-testnet up --name far --wan earth

The keys in NAME/keys are derived from the seed and not secret: they are for tests only.")]
pub(super) struct Options {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    by: ByRelay,
    /// Make a block this often, by up to three of the nodes; `none` for a network that only relays [default: 2s, and
    /// none with --relay gossipsub]
    #[arg(long, value_name = "TIME", value_parser = blocks)]
    block_interval: Option<Blocks>,
    /// Accounts that own something at the start
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    accounts: u64,
    /// Return once it is up and let it run until `down`
    #[arg(long)]
    detach: bool,
    /// Print the manifest as JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Whether and how often blocks are made.
#[derive(Debug, Clone, Copy)]
struct Blocks(Option<Duration>);

fn blocks(text: &str) -> Result<Blocks, String> {
    if text == "none" { Ok(Blocks(None)) } else { block_interval(text).map(|interval| Blocks(Some(interval))) }
}

/// Does it.
pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let block_interval = match (options.block_interval, options.by.relay) {
        (Some(Blocks(interval)), _) => interval,
        (None, Relay::Starling) => Some(BLOCK_INTERVAL),
        (None, Relay::Gossipsub) => None,
    };
    options.by.allows_blocks(block_interval)?;
    let spec = Spec {
        name: options.which.name.clone(),
        relay: options.by.relay,
        nodes: options.shape.nodes as usize,
        dials: options.shape.dials,
        seed: options.shape.seed,
        transport: options.shape.transport,
        wan: options.shape.wan("none")?,
        planned: false,
        severable: true,
        block_interval,
        store: options.by.relay == Relay::Starling,
        accounts: options.accounts as usize,
    };
    let mut testnet = Testnet::create(&options.which.dir, spec, options.detach)?;
    let started = interrupt.unless(start(&mut testnet, options.json)).await;
    if started.is_ok() && options.detach {
        say(format_args!(
            "`{name}` runs in {root}; end it with `starling-testnet down --name {name} --dir {dir}`",
            name = options.which.name,
            root = testnet.root().display(),
            dir = options.which.dir.display()
        ));
        testnet.detach();
        return Ok(());
    }
    let ran = match started {
        Ok(()) => match interrupt.unless(watch(&mut testnet)).await {
            // From here on it is the way to end it.
            Err(failure) if failure.kind() == Kind::Interrupted => Ok(()),
            ended => ended,
        },
        failed => failed,
    };
    interrupt.down(&mut testnet).await?;
    testnet.remove()?;
    ran
}

async fn start(testnet: &mut Testnet, json: bool) -> Result<(), Failure> {
    testnet.start().await?;
    let links = testnet.settle().await?;
    output::result(json, testnet.manifest(), || table(testnet.manifest(), &links))
}

fn table(manifest: &Manifest, links: &[Vec<NodeId>]) -> String {
    let rows = manifest.nodes.iter().zip(links).map(|(node, links)| {
        [
            node.name.clone(),
            node.pid.to_string(),
            links.len().to_string(),
            node.region.clone().unwrap_or_else(|| "-".to_owned()),
            node.rpc.clone(),
            node.peer_id.clone(),
        ]
    });
    let table = output::table(["node", "pid", "links", "region", "RPC", "peer id"], rows);
    format!(
        "{table}\ngenesis {}\nkeys    {} (insecure test keys)",
        manifest.genesis.display(),
        manifest.accounts.keys.display()
    )
}

/// Stays until no node is left.
async fn watch(testnet: &mut Testnet) -> Result<(), Failure> {
    say("the testnet runs; Ctrl-C ends it and removes its files");
    let mut ended = BTreeSet::new();
    loop {
        for message in testnet.newly_ended(&mut ended) {
            say(message);
        }
        if ended.len() == testnet.manifest().nodes.len() {
            return Err(Failure::new(Kind::Failed, anyhow!("all nodes have ended")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
