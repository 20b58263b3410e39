//! `down`: ends a testnet that runs by itself, and removes its files.

use clap::Args;
use starling_node::cli::Failure;

use super::{options::Which, say};
use crate::launch::{end_processes, remove_dir};

/// `starling-testnet down`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet down
  starling-testnet down --name quick")]
pub(super) struct Options {
    #[command(flatten)]
    which: Which,
}

/// Does it.
pub(super) async fn run(options: Options) -> Result<(), Failure> {
    // Only what has a manifest is a testnet: nothing else is ever removed.
    let manifest = options.which.manifest()?;
    let killed = end_processes(&manifest.nodes, || {}).await?;
    if killed > 0 {
        say(format_args!("{killed} nodes did not end within five seconds and were killed"));
    }
    remove_dir(&options.which.dir.join(&options.which.name))?;
    say(format_args!("`{}` is down and its files are removed", options.which.name));
    Ok(())
}
