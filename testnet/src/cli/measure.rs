//! `measure`: a testnet, a load, the figures, and nothing left behind.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::anyhow;
use clap::Args;
use starling_node::cli::{Failure, Kind};

use super::{
    experiment::{NAME, Trial},
    interrupt::Interrupt,
    load::tell_if_late,
    options::{ByRelay, block_interval},
    output,
    saturate::Saturate,
    say,
};
use crate::measure::Threshold;

/// `starling-testnet measure`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet measure
  starling-testnet measure --nodes 50 --rate 100 --duration 30s
  starling-testnet measure --nodes 50 --duration 60s --settle 30s --wan earth
  starling-testnet measure --wan none
  starling-testnet measure --relay gossipsub
  starling-testnet measure --saturate
  starling-testnet measure --report report.html
  starling-testnet measure --block-interval 1s --threshold 'p99<500ms' --threshold 'delivery>=1' --json

Nodes have the places, delays and links that `sim` gives those of the same --nodes, --dials and --seed. With delays, \
stretch is the time a transaction takes to a node by the delay of the shortest path there through the overlay, of \
nodes 10 ms apart or more; the machine's own time is in it, too.

Figures that --threshold bounds: p50 p90 p95 p99 max (latency: from the node a transaction enters at to another node, \
unless it came there with a block first; us, ms or s), coverage (time until all nodes have a transaction, met by 95 % \
of the transactions), delivery (ratio or %), copies (full copies of a transaction that a node receives), wire_bytes \
(bytes received per byte of transactions), cpu (per node and transaction; us or ms), rss (of the largest node; MiB or \
GiB) and, with --saturate, saturation (the highest rate held, in transactions per second).")]
pub(super) struct Options {
    #[command(flatten)]
    trial: Trial,
    #[command(flatten)]
    by: ByRelay,
    /// Make a block this often, by up to three of the nodes [default: no blocks]
    #[arg(long, value_name = "TIME", value_parser = block_interval, conflicts_with = "saturate")]
    block_interval: Option<Duration>,
    #[command(flatten)]
    saturate: Saturate,
    /// Fail with exit code 99 if a figure is not within a bound, such as p99<500ms; may be repeated
    #[arg(long, value_name = "NAME<VALUE", value_parser = Threshold::of_figure)]
    threshold: Vec<Threshold>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Write the figures as pictures, but not those of --saturate: one HTML file that needs nothing else
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Keep logs, traces, the manifest and what `report` needs in DIR/measure, but not those of --saturate
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Does it.
pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    options.by.allows_blocks(options.block_interval)?;
    let mut experiment = options.trial.experiment(options.by.relay, options.block_interval)?;
    experiment.keep.clone_from(&options.keep);
    experiment.page.clone_from(&options.report);
    if let Some(file) = &options.report
        && !file.parent().is_some_and(|dir| dir == Path::new("") || dir.is_dir())
    {
        return Err(Failure::usage(format!("--report {}: there is no such directory", file.display())));
    }
    let kept = options.keep.map(|dir| dir.join(NAME));
    if let Some(kept) = kept.as_ref().filter(|kept| kept.exists()) {
        return Err(Failure::usage(format!(
            "--keep: {} is there already, mostly from an earlier run. Remove it, or choose another directory",
            kept.display()
        )));
    }
    options.saturate.check(&experiment, &options.threshold)?;
    let measured = options.saturate.measure(&experiment, &mut interrupt).await;
    if let Some(kept) = kept.filter(|kept| kept.is_dir()) {
        say(format_args!("logs and traces are in {}", kept.display()));
    }
    let measured = measured?;
    tell_if_late(measured.late);
    let report = &measured.report;
    output::result(options.json, report, || report.table())?;
    measured.is_complete()?;
    measured.rest?;
    Threshold::all_met(&options.threshold, |figure| figure.of(report))
        .map_err(|missed| Failure::new(Kind::Threshold, anyhow!("{missed}")))
}
