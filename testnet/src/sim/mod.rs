//! A deterministic simulator of thousands of nodes.
//!
//! A [`Scenario`] fixes the overlay, the traffic and what goes wrong, all from one seed. [`run`] lets one relay carry
//! that traffic: [`starling`] is the engine that ships, [`baseline`] holds models of others to compare it with. Every
//! relay meets the same overlay, the same links and the same transactions.
//!
//! [`aggregate`] is a world of its own: of nodes that come and go, and measure the network that they are.
//!
//! What the relays' world leaves out: nodes do not report about themselves, processors are busy with signatures only, there
//! is no encryption and no TCP (a lost message is lost), and clocks agree.

pub(crate) mod aggregate;
mod baseline;
mod event;
mod faults;
mod figures;
mod hostile;
pub(crate) mod overlay;
mod plot;
mod queue;
mod recorder;
mod relay;
mod report;
mod shard;
mod starling;
mod traffic;
mod world;

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use starling_node::engine::GossipConfig;

use self::{
    baseline::{Bitcoin, Ethereum, Flood, Gossipsub, Plumtree, Push, PushPull},
    faults::Victims,
    hostile::Node,
    recorder::Recorder,
    relay::Relay,
    shard::LOAD_START,
    traffic::Catalog,
    world::World,
};
pub(crate) use self::{
    faults::{Crash, Faults, Partition, time},
    hostile::Hostile,
    plot::page,
    report::{Report, Set, timelines},
    traffic::Origins,
};
use crate::{
    load::LoadSpec,
    map::{Distances, Rate, Regions, Topology},
    progress,
};

/// Everything that decides a run but the relay.
#[derive(Debug)]
pub(crate) struct Scenario {
    seed: u64,
    dials: usize,
    regions: String,
    load: LoadSpec,
    origins: Origins,
    /// From when on figures count, from the start of the load.
    settle: Duration,
    rate: Rate,
    /// How the shipping engine relays.
    gossip: GossipConfig,
    faults: Faults,
    victims: Victims,
    topology: Topology,
    catalog: Catalog,
}

/// What a scenario is made from.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Nodes.
    pub(crate) nodes: usize,
    /// Links each opens.
    pub(crate) dials: usize,
    /// Where they are.
    pub(crate) regions: Regions,
    /// What is sent; its seed decides everything else too.
    pub(crate) load: LoadSpec,
    /// From where.
    pub(crate) origins: Origins,
    /// From when on figures count, from the start of the load.
    pub(crate) settle: Duration,
    /// How fast each link is.
    pub(crate) rate: Rate,
    /// How the shipping engine relays.
    pub(crate) gossip: GossipConfig,
    /// What goes wrong.
    pub(crate) faults: Faults,
}

impl Scenario {
    /// Draws what is to be drawn.
    pub(crate) fn new(plan: Plan) -> anyhow::Result<Self> {
        let Plan { nodes, dials, regions, load, origins, settle, rate, gossip, faults } = plan;
        Ok(Self {
            seed: load.seed,
            dials,
            topology: Topology::random(&regions, nodes, dials, load.seed),
            regions: regions.name,
            catalog: Catalog::new(&load, origins, nodes)?,
            victims: faults.victims(nodes, load.seed),
            load,
            origins,
            settle,
            rate,
            gossip,
            faults,
        })
    }

    /// When the last transaction has entered, in microseconds since the start of the world.
    fn load_end(&self) -> u64 {
        LOAD_START + self.load.duration.as_micros() as u64
    }
}

/// A way to spread transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RelayKind {
    /// Starling's engine, as it ships
    Starling,
    /// Everything to everybody: the fastest there can be
    Flood,
    /// libp2p gossipsub v1.1
    Gossipsub,
    /// Epidemic broadcast trees
    Plumtree,
    /// Ethereum's eth/68: push to some, announce to all
    Ethereum,
    /// Bitcoin's inv and getdata with trickling
    Bitcoin,
    /// Textbook rumour mongering
    Push,
    /// Textbook anti-entropy
    PushPull,
}

impl RelayKind {
    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starling => "starling",
            Self::Flood => "flood",
            Self::Gossipsub => "gossipsub",
            Self::Plumtree => "plumtree",
            Self::Ethereum => "ethereum",
            Self::Bitcoin => "bitcoin",
            Self::Push => "push",
            Self::PushPull => "push-pull",
        }
    }
}

/// Lets a relay carry a scenario's traffic.
pub(crate) fn run(scenario: &Scenario, relay: RelayKind, distances: &mut Distances) -> anyhow::Result<Report> {
    let start = Instant::now();
    let record = match relay {
        RelayKind::Starling => simulate(scenario, relay, Node::nodes(scenario)),
        RelayKind::Flood => simulate(scenario, relay, baseline::nodes::<Flood>(scenario)),
        RelayKind::Gossipsub => simulate(scenario, relay, baseline::nodes::<Gossipsub>(scenario)),
        RelayKind::Plumtree => simulate(scenario, relay, baseline::nodes::<Plumtree>(scenario)),
        RelayKind::Ethereum => simulate(scenario, relay, baseline::nodes::<Ethereum>(scenario)),
        RelayKind::Bitcoin => simulate(scenario, relay, baseline::nodes::<Bitcoin>(scenario)),
        RelayKind::Push => simulate(scenario, relay, baseline::nodes::<Push>(scenario)),
        RelayKind::PushPull => simulate(scenario, relay, baseline::nodes::<PushPull>(scenario)),
    }?;
    Report::new(scenario, relay, &record, distances, start)
}

fn simulate<R: Relay>(scenario: &Scenario, relay: RelayKind, nodes: Vec<R>) -> anyhow::Result<Recorder> {
    let bar = progress::bar(scenario.load_end() / 1000, relay.name());
    let record = World::new(scenario, nodes, rayon::current_num_threads()).run(|now| bar.set_position(now / 1000));
    bar.finish_and_clear();
    record.context("a world has at least one part")
}
