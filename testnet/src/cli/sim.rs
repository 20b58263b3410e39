//! `sim`: one relay, or several, on a simulated network.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Args, ValueEnum};
use starling_mempool::PoolConfig;
use starling_node::{cli::Failure, engine::GossipConfig};
use starling_wire::{Kind, limits::MAX_TX};

use super::{options::read_regions, output, say};
use crate::{
    load::{LoadSpec, MIN_TX_SIZE},
    map::{Distances, Rate, link},
    sim::{self, Crash, Faults, Hostile, Origins, Partition, Plan, RelayKind, Scenario, Set},
};

/// Most nodes of a simulation: beyond it a run takes more memory than machines have.
const MAX_NODES: u64 = 100_000;

/// `starling-testnet sim`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet sim
  starling-testnet sim --relay all --duration 40s
  starling-testnet sim --crash 0.2@40s --detect 3s --settle 40s --duration 80s --timeline
  starling-testnet sim --hostile withhold@0.05 --duration 40s
  starling-testnet sim --nodes 10000 --origins 20 --rate 20 --duration 10s --json

Nodes run the engine that ships, each message is encoded and decoded, and everything is drawn from the seed: a run can be \
repeated exactly, and then has the same digest. Stretch is the time a transaction takes to a node by the delay of the \
shortest path there through the overlay. All times are counted from the start of the load. Hostile nodes submit nothing, \
and the figures are about the others.")]
pub(super) struct Options {
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(2..=MAX_NODES))]
    nodes: u64,
    /// Links each node opens, 1 to 24
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=24))]
    dials: u8,
    /// Transactions per second over the whole network
    #[arg(long, value_name = "N", default_value_t = 50.0, value_parser = positive)]
    rate: f64,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "160s", value_parser = sim::time)]
    duration: Duration,
    /// Decides everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Bytes of each transaction, signature included
    #[arg(long, value_name = "BYTES", default_value_t = 250, value_parser = tx_size)]
    tx_size: usize,
    /// Where transactions enter: `uniform`, `zipf` or at a number of nodes
    #[arg(long, value_name = "uniform|zipf|N", default_value = "uniform")]
    origins: Origins,
    /// Where nodes are: `earth` or a region file
    #[arg(long, value_name = "earth|FILE", default_value = "earth")]
    regions: String,
    /// What spreads them: `all` or one or several of starling, flood, gossipsub, plumtree, ethereum, bitcoin, push,
    /// push-pull
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "starling", value_parser = relay)]
    relay: Vec<Relays>,
    /// Transactions from then on count [default: the second half]
    #[arg(long, value_name = "TIME", value_parser = sim::time)]
    settle: Option<Duration>,
    /// What each link carries in each direction, in Mbit/s
    #[arg(long, value_name = "MBIT", default_value_t = link::MBIT, value_parser = positive)]
    bandwidth: f64,
    /// Pushed copies of a transaction that Starling's nodes welcome: 2 has a backup for each, 1 costs fewer bytes
    #[arg(long, value_name = "N", default_value_t = GossipConfig::default().redundancy,
          value_parser = clap::value_parser!(u8).range(1..=8))]
    redundancy: u8,
    /// Share of the messages that vanish, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    loss: f64,
    /// Kinds of messages that --loss is about, such as push,ihave [default: all]
    #[arg(long, value_name = "KIND", value_delimiter = ',', requires = "loss", value_parser = message_kind)]
    loss_of: Vec<String>,
    /// Let a share of the nodes stop at a time, such as 0.2@40s
    #[arg(long, value_name = "SHARE@TIME")]
    crash: Option<Crash>,
    /// When neighbours notice that a node has stopped or is cut off
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = sim::time)]
    detect: Duration,
    /// Let two halves of the network be cut off from each other for a time, such as 40s..60s
    #[arg(long, value_name = "FROM..TO")]
    partition: Option<Partition>,
    /// Let a share of the nodes mislead their neighbours, such as withhold@0.05: false-labels, prune-all, never-prune,
    /// withhold or late
    #[arg(long, value_name = "KIND@SHARE")]
    hostile: Option<Hostile>,
    /// Print the figures of every ten seconds too
    #[arg(long)]
    timeline: bool,
    /// Write a picture of them
    #[arg(long, value_name = "FILE")]
    timeline_html: Option<PathBuf>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

/// A value of `--relay`.
#[derive(Debug, Clone, Copy)]
enum Relays {
    All,
    One(RelayKind),
}

/// Does it.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let load =
        LoadSpec { seed: options.seed, rate: options.rate, duration: options.duration, tx_size: options.tx_size };
    check(options, &load)?;
    let scenario = Scenario::new(Plan {
        nodes: options.nodes as usize,
        dials: options.dials.into(),
        regions: read_regions(&options.regions)?,
        load,
        origins: options.origins,
        settle: options.settle.unwrap_or(options.duration / 2),
        rate: Rate::mbit(options.bandwidth),
        gossip: GossipConfig { redundancy: options.redundancy },
        faults: Faults {
            loss: options.loss,
            loss_of: options.loss_of.clone(),
            crash: options.crash,
            detect: options.detect,
            partition: options.partition,
            hostile: options.hostile,
        },
    })?;
    let mut relays: Vec<RelayKind> = Vec::new();
    for relay in &options.relay {
        match relay {
            Relays::All => relays.extend(RelayKind::value_variants()),
            Relays::One(relay) => relays.push(*relay),
        }
    }
    let mut distances = Distances::default();
    let runs = relays
        .into_iter()
        .map(|relay| sim::run(&scenario, relay, &mut distances))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(file) = &options.timeline_html {
        fs::write(file, sim::page(&runs))
            .with_context(|| format!("the picture cannot be written to {}", file.display()))?;
        say(format_args!("the picture is in {}", file.display()));
    }
    let set = Set::new(runs);
    let timeline = || if options.timeline { format!("\n{}", sim::timelines(set.runs())) } else { String::new() };
    match set.runs() {
        [one] => output::result(options.json, one, || one.table() + &timeline()),
        _ => output::result(options.json, &set, || set.table() + &timeline()),
    }
}

fn check(options: &Options, load: &LoadSpec) -> Result<(), Failure> {
    if options.duration.is_zero() || options.duration > Duration::from_secs(3600) {
        return Err(Failure::usage("--duration must be above 0 and at most 1h"));
    }
    let is_starling = options.relay.iter().all(|relay| matches!(relay, Relays::One(RelayKind::Starling)));
    if !options.loss_of.is_empty() && !is_starling {
        return Err(Failure::usage("--loss-of is for the relay starling only: models of others have other messages"));
    }
    if options.hostile.is_some() && !is_starling {
        return Err(Failure::usage("--hostile is for the relay starling only: models of others have no hostile nodes"));
    }
    if options.settle.is_some_and(|settle| settle >= options.duration) {
        return Err(Failure::usage("--settle must be before the end of the load (--duration)"));
    }
    // A run ends when all is delivered: what comes after the load might never come.
    if options.crash.is_some_and(|crash| crash.at >= options.duration) {
        return Err(Failure::usage("--crash must be before the end of the load (--duration)"));
    }
    if options.partition.is_some_and(|partition| partition.to > options.duration) {
        return Err(Failure::usage("--partition must end before the load does (--duration)"));
    }
    let (total, limits) = (load.total(), PoolConfig::default());
    if total > limits.max_count || total.saturating_mul(load.tx_size) > limits.max_bytes {
        return Err(Failure::usage(format!(
            "{total} transactions of {} bytes do not fit into a node's pool ({} transactions, {} bytes). Choose a lower \
             --rate or a shorter --duration",
            load.tx_size, limits.max_count, limits.max_bytes
        )));
    }
    Ok(())
}

fn relay(text: &str) -> Result<Relays, String> {
    if text == "all" {
        return Ok(Relays::All);
    }
    RelayKind::from_str(text, false).map(Relays::One).map_err(|_| {
        let names: Vec<&str> = RelayKind::value_variants().iter().map(|relay| relay.name()).collect();
        format!("there is no relay `{text}`; there are all, {}", names.join(", "))
    })
}

fn message_kind(text: &str) -> Result<String, String> {
    let names = Kind::ALL.map(Kind::name);
    if names.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("there is no kind of message `{text}`; there are {}", names.join(", ")))
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 100_000.0 => Ok(value),
        _ => Err("it must be above 0 and at most 100000".to_owned()),
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a share is from 0 to 1".to_owned()),
    }
}

fn tx_size(text: &str) -> Result<usize, String> {
    let max = MAX_TX - 8;
    match text.parse::<usize>() {
        Ok(size) if (MIN_TX_SIZE..=max).contains(&size) => Ok(size),
        _ => Err(format!("a transaction has {MIN_TX_SIZE} to {max} bytes")),
    }
}
