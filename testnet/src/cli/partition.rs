//! `partition` and `heal`: cut a running testnet into two parts, and join them again.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use starling_node::cli::Failure;

use super::{
    interrupt::Interrupt,
    options::{Which, duration},
    say,
};
use crate::{
    launch::{Manifest, NodeEntry},
    partition::Partition,
};

/// `starling-testnet partition`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet partition && sleep 60 && starling-testnet heal
  starling-testnet partition 0 1 node-07 --duration 60s

Nothing comes through between the parts, and nobody is told: links fall silent, as behind a firewall that drops
everything, and new ones between the parts are refused. Nodes follow within a quarter of a second.")]
pub(super) struct Options {
    /// The nodes of one part, such as 3 or node-03 [default: the first half]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// Heal it after this time, or when interrupted; otherwise it stays until `heal`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    which: Which,
}

/// `starling-testnet heal`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet heal
  starling-testnet heal --name quick")]
pub(super) struct HealOptions {
    #[command(flatten)]
    which: Which,
}

/// Cuts.
pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let manifest = options.which.manifest()?;
    let side = match options.nodes.as_slice() {
        [] => manifest.nodes[..manifest.nodes.len() / 2].iter().collect(),
        nodes => nodes.iter().map(|node| manifest.node(node)).collect::<Result<Vec<&NodeEntry>, _>>()?,
    };
    let count = side.iter().map(|node| &node.name).collect::<BTreeSet<_>>().len();
    if count == 0 || count == manifest.nodes.len() {
        return Err(Failure::usage(format!("all {} nodes would be in one part: nothing is cut", manifest.nodes.len())));
    }
    let file = partition_file(&manifest)?;
    Partition::new(side.iter().map(|node| node.peer_id.clone())).write(&file)?;
    let names: Vec<&str> = side.iter().map(|node| node.name.as_str()).collect();
    say(format_args!("cut off from all others: {}", names.join(", ")));
    let Some(duration) = options.duration else { return Ok(()) };
    let over = async {
        tokio::time::sleep(duration).await;
        Ok(())
    };
    let waited = interrupt.unless(over).await;
    join(&file)?;
    waited
}

/// Joins.
pub(super) fn heal(options: &HealOptions) -> Result<(), Failure> {
    join(&partition_file(&options.which.manifest()?)?)
}

fn join(file: &Path) -> Result<(), Failure> {
    say(if Partition::remove(file)? { "joined again" } else { "there was nothing to heal: all nodes are in one part" });
    Ok(())
}

fn partition_file(manifest: &Manifest) -> Result<PathBuf, Failure> {
    manifest.partition.clone().ok_or_else(|| {
        Failure::usage(format!("`{}` was not brought up by `starling-testnet up` and cannot be cut", manifest.name))
    })
}
