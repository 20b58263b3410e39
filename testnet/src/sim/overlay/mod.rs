//! Nodes that find each other by themselves, from one bootstrap address.
//!
//! Unlike the rest of the simulator, which gives relays an overlay, this lets the shipping engine make one: nodes dial,
//! fail to, are turned away, fall silent and come anew, and some may be an attacker's. What comes of it is told: whether
//! the nodes hang together, how evenly they are linked, how random their samples are, and how much of what honest nodes
//! know is the attacker's.
//!
//! What it leaves out: bandwidth and jitter. A node that is no more answers nobody, and a dial to it fails after three
//! seconds.

mod attack;
mod report;
mod world;

use std::time::Duration;

use starling_mempool::PoolConfig;

use self::world::World;
pub(crate) use self::{
    attack::Attack,
    report::{Report, Reports},
};
use crate::{
    load::LoadSpec,
    map::Regions,
    progress,
    sim::traffic::{Catalog, Origins},
};

/// When churn and transactions begin, and when figures about samples, traffic and views do.
pub(crate) const SETTLE: Duration = Duration::from_secs(30);

/// What nodes send when they have settled is told of the end of a run.
const MINUTE: Duration = Duration::from_secs(60);

/// Nodes come up over so much time, so that they do not all act at once.
const ARRIVE_WITHIN: Duration = Duration::from_secs(5);

/// Bytes of a transaction.
const TX_SIZE: usize = 250;

/// What is simulated.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Nodes at the start, the attacker's included.
    pub(crate) nodes: usize,
    /// For how long.
    pub(crate) duration: Duration,
    /// Decides everything that is drawn.
    pub(crate) seed: u64,
    /// Share of the nodes that leave, and of others that come, in every minute after [`SETTLE`].
    pub(crate) churn: f64,
    /// Who attacks.
    pub(crate) attack: Option<Attack>,
    /// Transactions per second after [`SETTLE`], but for the last twenty seconds.
    pub(crate) rate: f64,
    /// Where the nodes are.
    pub(crate) regions: Regions,
}

/// How long before the end the last transaction enters.
const TAIL: Duration = Duration::from_secs(20);

impl Plan {
    fn load(&self) -> Option<LoadSpec> {
        let duration = self.duration.checked_sub(SETTLE + TAIL)?;
        let load = LoadSpec { seed: self.seed, rate: self.rate, duration, tx_size: TX_SIZE };
        let fits = load.total() <= PoolConfig::default().max_count;
        (self.rate > 0.0 && !duration.is_zero() && fits).then_some(load)
    }
}

/// Simulates it.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Report> {
    // As many origins as transactions: each has an account, and most send one.
    let load = plan.load();
    let none = LoadSpec { seed: plan.seed, rate: 1.0, duration: Duration::from_secs(1), tx_size: TX_SIZE };
    let catalog = Catalog::new(&load.unwrap_or(none), Origins::Uniform, load.map_or(1, |load| load.total()))?;
    let bar = progress::bar(plan.duration.as_secs(), "overlay");
    let mut world = World::new(plan, &catalog, load.is_some());
    for second in 1..=plan.duration.as_secs() {
        world.run_until(Duration::from_secs(second));
        bar.set_position(second);
    }
    bar.finish_and_clear();
    Ok(Report::new(plan, &world))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(nodes: usize, seconds: u64) -> Plan {
        Plan {
            nodes,
            duration: Duration::from_secs(seconds),
            seed: 1,
            churn: 0.0,
            attack: None,
            rate: 0.0,
            regions: Regions::earth().unwrap(),
        }
    }

    #[test]
    fn one_bootstrap_address_becomes_one_random_graph() {
        let report = run(&plan(100, 120)).unwrap();
        assert!(report.connected_after_s.unwrap() <= 30.0, "{report:?}");
        assert!(report.in_degree_spread <= 1.5, "{report:?}");
        assert!(report.samples_p.unwrap() > 0.001, "{report:?}");
        assert!(report.bytes_last_minute_per_s.unwrap() < 2000.0, "a view that has settled costs little: {report:?}");
        assert_eq!(report.digest, run(&plan(100, 120)).unwrap().digest);
    }

    #[test]
    fn who_stays_gets_everything_while_others_come_and_go() {
        let report = run(&Plan { churn: 0.3, rate: 1.0, ..plan(100, 120) }).unwrap();
        assert!(report.left > 20 && report.delivery.unwrap() >= 0.999, "{report:?}");
        assert_eq!(report.parted_s, 0, "{report:?}");
    }

    /// Were whoever is named put into a slot, rather than who ranks first, he would have two thirds of the views and isolate
    /// nodes; were ranks not by network first, his /16 would have a fifth of them.
    #[test]
    fn an_attacker_gets_no_more_of_the_views_than_of_the_network() {
        let attack = Attack { share: 0.2, one_network: false };
        let report = run(&Plan { attack: Some(attack), ..plan(100, 90) }).unwrap();
        let attacked = report.attacked.unwrap();
        assert!(attacked.view_share > 0.05 && attacked.view_share < 0.3 && attacked.isolated == 0, "{attacked:?}");
        let attack = Attack { share: 0.2, one_network: true };
        let report = run(&Plan { attack: Some(attack), ..plan(100, 90) }).unwrap();
        assert!(report.attacked.unwrap().view_share < 0.05);
    }
}
