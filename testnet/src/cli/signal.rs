//! `kill`, `stop` and `cont`: what happens to nodes now and then.

use anyhow::Context;
use clap::Args;
use starling_node::cli::Failure;

use super::{options::Which, say};
use crate::launch::{NodeEntry, Processes, Signal};

/// `starling-testnet kill`, `stop` and `cont`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet kill 0 3 node-07
  starling-testnet kill --half
  starling-testnet stop 5 && sleep 6 && starling-testnet cont 5

kill ends processes at once, without a goodbye; stop halts them (SIGSTOP) and cont lets them go on (SIGCONT).")]
pub(super) struct Options {
    /// Which nodes, such as 3 or node-03
    #[arg(value_name = "NODE", required_unless_present = "half")]
    nodes: Vec<String>,
    /// Every second node, the first one among them
    #[arg(long, conflicts_with = "nodes")]
    half: bool,
    #[command(flatten)]
    which: Which,
}

/// Does it.
pub(super) fn run(options: &Options, signal: Signal) -> Result<(), Failure> {
    let manifest = options.which.manifest()?;
    let nodes: Vec<&NodeEntry> = match options.half {
        true => manifest.nodes.iter().step_by(2).collect(),
        false => options.nodes.iter().map(|node| manifest.node(node)).collect::<Result<_, _>>()?,
    };
    let processes = Processes::look(&manifest.nodes)?;
    if let Some(gone) = nodes.iter().find(|node| !processes.is_alive(node)) {
        return Err(Failure::usage(format!("{} does not run; see `starling-testnet status`", gone.name)));
    }
    for node in &nodes {
        let failed = || format!("{} cannot be sent a signal", node.name);
        processes.signal(node, signal).with_context(failed)?;
    }
    let done = match signal {
        Signal::STOP => "halted",
        Signal::CONT => "going on",
        _ => "killed",
    };
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    say(format_args!("{done}: {}", names.join(", ")));
    Ok(())
}
