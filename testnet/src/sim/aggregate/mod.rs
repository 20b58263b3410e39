//! The network measures itself, in a simulated world: nodes run the shipping engine, come and go, lose messages about
//! reports, have wrong clocks, and some of them lie. What they estimate is held against the truth.
//!
//! There is no load: nothing but links, reports and what keeps links up is exchanged.

mod report;
mod world;

use std::time::{Duration, Instant};

pub(crate) use self::report::Report;
use self::world::World;
use crate::{
    map::{Regions, Topology},
    progress,
};

/// What a run is made from.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Places for nodes.
    pub(crate) nodes: usize,
    /// Links each opens.
    pub(crate) dials: usize,
    /// Decides everything that is drawn.
    pub(crate) seed: u64,
    /// Epochs that are looked at; one before them is not.
    pub(crate) epochs: u32,
    /// Share of the messages about reports that vanish.
    pub(crate) loss: f64,
    /// Share of the nodes that leave in each epoch; as many others come.
    pub(crate) churn: f64,
    /// Share of the nodes that say extreme things of themselves.
    pub(crate) liars: f64,
    /// How far clocks are from the right time at most, either way.
    pub(crate) skew: Duration,
}

/// Lets it happen.
pub(crate) fn run(plan: &Plan, regions: &Regions) -> Report {
    let start = Instant::now();
    let bar = progress::bar(plan.epochs.into(), "aggregate");
    let topology = Topology::random(regions, plan.nodes, plan.dials, plan.seed);
    let epochs = World::new(plan, &topology).run(|epoch| bar.set_position(epoch.into()));
    bar.finish_and_clear();
    Report::new(plan, &regions.name, &epochs, start)
}
