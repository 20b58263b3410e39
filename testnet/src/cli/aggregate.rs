//! `aggregate`: a simulated network measures itself.

use std::time::Duration;

use clap::Args;
use starling_node::cli::Failure;

use super::{options::read_regions, output};
use crate::sim::{self, aggregate};

/// `starling-testnet aggregate`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet aggregate
  starling-testnet aggregate --nodes 50 --churn 0 --liars 0
  starling-testnet aggregate --nodes 10000 --epochs 10 --json

Every node reports about itself in each epoch of 30 seconds, and estimates what the network is like from a sample of the \
reports. Nodes run the engine that ships, and come and go; liars claim the most that a report can say. There is no load, so \
that of the figures in a report only the number of links differs between nodes.

`within` is the share of the epochs in which the truth was within the error bar that nodes state; `allowed` is how far a share \
of liars can move a figure whatever it does.")]
pub(super) struct Options {
    /// Places for nodes; with churn, some are empty at a time
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(4..=100_000))]
    nodes: u64,
    /// Links each node opens, 1 to 24
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=24))]
    dials: u8,
    /// Epochs to look at, after a first one
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    epochs: u32,
    /// Decides everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where nodes are: `earth` or a region file
    #[arg(long, value_name = "earth|FILE", default_value = "earth")]
    regions: String,
    /// Share of the messages about reports that vanish, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = super::sim::share)]
    loss: f64,
    /// Share of the nodes that leave in each epoch, and are replaced by others, 0 to 0.5
    #[arg(long, value_name = "SHARE", default_value_t = 0.02, value_parser = half)]
    churn: f64,
    /// Share of the nodes that lie, 0 to 0.5
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = half)]
    liars: f64,
    /// How far clocks are from the right time at most, up to 10s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = sim::time)]
    skew: Duration,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    if options.skew > Duration::from_secs(10) {
        return Err(Failure::usage("--skew is at most 10s: with more, nodes are in different epochs most of the time"));
    }
    let plan = aggregate::Plan {
        nodes: options.nodes as usize,
        dials: options.dials.into(),
        seed: options.seed,
        epochs: options.epochs,
        loss: options.loss,
        churn: options.churn,
        liars: options.liars,
        skew: options.skew,
    };
    let report = aggregate::run(&plan, &read_regions(&options.regions)?);
    output::result(options.json, &report, || report.table())
}

fn half(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=0.5).contains(&value) => Ok(value),
        _ => Err("the share is from 0 to 0.5".to_owned()),
    }
}
