//! `overlay`: simulated nodes that find each other by themselves.

use std::time::Duration;

use clap::Args;
use starling_node::cli::Failure;

use super::{options::read_regions, output};
use crate::sim::{
    self,
    overlay::{self, Attack, Plan, Reports},
};

/// `starling-testnet overlay`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet overlay
  starling-testnet overlay --nodes 10000 --duration 60s
  starling-testnet overlay --churn 0.3 --duration 10m --rate 1
  starling-testnet overlay --attackers 0.2 --seeds 100 --nodes 200
  starling-testnet overlay --attackers 0.2 --one-network

Nodes run the engine that ships and know one bootstrap address. From 30 s on figures count, nodes come and go, and \
transactions enter. An attacker's nodes tell of each other only, ten times as often as honest nodes exchange peers. Everything \
is drawn from the seed: equal runs have equal digests.")]
pub(super) struct Options {
    /// Nodes, the attacker's included
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(2..=50_000))]
    nodes: u64,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = sim::time)]
    duration: Duration,
    /// Decides everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Runs, with the seeds that follow
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Share of the nodes that leave in a minute without a word, and of others that come
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    churn: f64,
    /// Share of the nodes that are an attacker's
    #[arg(long, value_name = "SHARE", value_parser = share)]
    attackers: Option<f64>,
    /// The attacker's nodes are all in one /16
    #[arg(long, requires = "attackers")]
    one_network: bool,
    /// Transactions per second over the whole network, up to 20 s before the end
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = rate)]
    rate: f64,
    /// Where nodes are: `earth` or a region file
    #[arg(long, value_name = "earth|FILE", default_value = "earth")]
    regions: String,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    if options.duration < Duration::from_secs(1) || options.duration > Duration::from_secs(3600) {
        return Err(Failure::usage("--duration must be from 1s to 1h"));
    }
    let mut plan = Plan {
        nodes: options.nodes as usize,
        duration: options.duration,
        seed: options.seed,
        churn: options.churn,
        attack: options.attackers.map(|share| Attack { share, one_network: options.one_network }),
        rate: options.rate,
        regions: read_regions(&options.regions)?,
    };
    let mut runs = Vec::new();
    for seed in (options.seed..).take(options.seeds as usize) {
        plan.seed = seed;
        runs.push(overlay::run(&plan)?);
    }
    let reports = Reports::new(runs);
    match reports.runs.as_slice() {
        [one] => output::result(options.json, one, || one.table()),
        _ => output::result(options.json, &reports, || reports.table()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=0.9).contains(&value) => Ok(value),
        _ => Err("a share is from 0 to 0.9".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1000.0).contains(&value) => Ok(value),
        _ => Err("it must be from 0 to 1000".to_owned()),
    }
}
