//! Options that several commands share, and the values they take.

use std::{fs, path::PathBuf, time::Duration};

use clap::Args;
use starling_node::cli::Failure;
use starling_wire::limits::MAX_TX;

use crate::{
    launch::{Manifest, Relay, Transport},
    load::{LoadSpec, MIN_TX_SIZE},
    map::Regions,
};

/// Most nodes of a testnet. Each is a process; a machine that runs more of them is rare.
const MAX_NODES: u64 = 1000;

/// Most transactions per second.
pub(super) const MAX_RATE: f64 = 100_000.0;

/// Most transactions of a load, and most bytes in all. Each takes some 600 bytes or more while they are sent.
const MAX_TOTAL: usize = 1_000_000;
const MAX_TOTAL_BYTES: usize = 1 << 30;

/// Which testnet.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The testnet's name
    #[arg(long, default_value = "default", value_parser = name)]
    pub(super) name: String,
    /// Where testnets are kept, each in a directory of its name
    #[arg(long, value_name = "DIR", default_value = "testnet-data", env = "STARLING_TESTNET_DIR")]
    pub(super) dir: PathBuf,
}

impl Which {
    /// What the testnet says about itself.
    pub(super) fn manifest(&self) -> Result<Manifest, Failure> {
        Manifest::read(&self.dir, &self.name)
    }
}

/// How a testnet is made up.
#[derive(Debug, Args)]
pub(super) struct Shape {
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=MAX_NODES))]
    pub(super) nodes: u64,
    /// Links each node opens by itself, 1 to 32
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(super) dials: u8,
    /// Decides keys and everything else that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// What nodes talk over
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    pub(super) transport: Transport,
    /// Delays between nodes, as between places of the world: `none`, `earth` or a region file [default: none for `up`,
    /// earth for `measure` and `compare`]
    #[arg(long, value_name = "none|earth|FILE")]
    wan: Option<String>,
}

impl Shape {
    /// The regions that nodes are placed in, if there are to be delays.
    pub(super) fn wan(&self, default: &str) -> Result<Option<Regions>, Failure> {
        match self.wan.as_deref().unwrap_or(default) {
            "none" => Ok(None),
            name => read_regions(name).map(Some),
        }
    }
}

/// How nodes pass transactions on.
#[derive(Debug, Args)]
pub(super) struct ByRelay {
    /// How nodes pass transactions on
    #[arg(long, value_enum, default_value_t = Relay::Starling)]
    pub(super) relay: Relay,
}

impl ByRelay {
    /// Fails if there are to be blocks that the relay knows nothing of.
    pub(super) fn allows_blocks(&self, interval: Option<Duration>) -> Result<(), Failure> {
        match (self.relay, interval) {
            (Relay::Gossipsub, Some(_)) => Err(Failure::usage(
                "gossipsub relays transactions only and makes no blocks; leave out --block-interval, or choose --relay \
                 starling",
            )),
            _ => Ok(()),
        }
    }
}

/// What is sent.
#[derive(Debug, Args)]
pub(super) struct Traffic {
    /// Transactions per second over the whole testnet
    #[arg(long, value_name = "N", default_value_t = 20.0, value_parser = rate)]
    pub(super) rate: f64,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub(super) duration: Duration,
    /// Bytes of each transaction, signature included
    #[arg(long, value_name = "BYTES", default_value_t = 250, value_parser = tx_size)]
    pub(super) tx_size: usize,
}

impl Traffic {
    /// As a load with a seed. Fails if it is more than is signed beforehand.
    pub(super) fn spec(&self, seed: u64) -> Result<LoadSpec, Failure> {
        let load = LoadSpec { seed, rate: self.rate, duration: self.duration, tx_size: self.tx_size };
        let (total, bytes) = (load.total(), load.total().saturating_mul(self.tx_size));
        if total > MAX_TOTAL || bytes > MAX_TOTAL_BYTES {
            return Err(Failure::usage(format!(
                "{total} transactions of {} bytes are more than one load has ({MAX_TOTAL} transactions, {MAX_TOTAL_BYTES} \
                 bytes), as all are signed beforehand. Choose a lower --rate or a shorter --duration",
                self.tx_size
            )));
        }
        Ok(load)
    }
}

/// The regions of a name: `earth`, or a file.
pub(super) fn read_regions(name: &str) -> Result<Regions, Failure> {
    if name == "earth" {
        return Ok(Regions::earth()?);
    }
    let text = fs::read_to_string(name)
        .map_err(|error| Failure::usage(format!("the region file {name} cannot be read: {error}")))?;
    Regions::from_toml(&text).map_err(|error| Failure::usage(format!("the region file {name}: {error:#}")))
}

fn name(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=64).contains(&text.len()) && text.chars().all(fine) {
        return Ok(text.to_owned());
    }
    Err("a name has 1 to 64 letters, digits, `-` and `_`".to_owned())
}

/// Transactions per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= MAX_RATE => Ok(rate),
        _ => Err(format!("a rate is above 0 and at most {MAX_RATE} per second")),
    }
}

/// A positive time such as `20s`, of an hour at most.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}; write, for example, 20s"))?;
    if duration.is_zero() || duration > Duration::from_secs(3600) {
        return Err("it must be above 0 and at most 1h".to_owned());
    }
    Ok(duration)
}

/// Time between blocks.
pub(super) fn block_interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_millis(50) { Err("50ms is the least".to_owned()) } else { Ok(interval) }
}

fn tx_size(text: &str) -> Result<usize, String> {
    let max = MAX_TX - 8;
    match text.parse::<usize>() {
        Ok(size) if (MIN_TX_SIZE..=max).contains(&size) => Ok(size),
        _ => Err(format!("a transaction has {MIN_TX_SIZE} to {max} bytes")),
    }
}
