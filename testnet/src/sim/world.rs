//! The simulated world: nodes on all cores, in step.
//!
//! The nodes are divided among shards, one for each thread. No message is under way for less than the shortest link's
//! delay, so shards may run on for so long without hearing of each other; then they exchange what they sent (conservative
//! parallel simulation in windows: Lubachevsky, CACM 32(1), 1989). The order of events is decided by what they are, and
//! randomness by the scenario's seed: a run can be repeated exactly, on any number of threads, and the digest over all
//! events shows that it was.

use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use super::{
    Scenario,
    recorder::{Part, Recorder},
    relay::Relay,
    shard::Shard,
};

/// How often, after the load, it is looked whether every node has everything, in microseconds.
const LOOK_EVERY: u64 = 250_000;

/// How long after that the run goes on, so that late copies are counted too.
const AFTERMATH: u64 = 2_000_000;

/// How long after the load a run ends at the latest.
const MAX_DRAIN: u64 = 60_000_000;

/// Windows between two moves of the progress bar.
const BAR_EVERY: u64 = 64;

/// A run.
pub(crate) struct World<'a, R: Relay> {
    scenario: &'a Scenario,
    shards: Vec<Shard<'a, R>>,
    /// How long a message is under way at least.
    window: u64,
    /// The transactions before this one are where they should be.
    complete: usize,
}

impl<'a, R: Relay> World<'a, R> {
    /// A world in which nothing has happened yet, in so many shards.
    pub(crate) fn new(scenario: &'a Scenario, nodes: Vec<R>, shards: usize) -> Self {
        let of = shards.clamp(1, nodes.len().max(1));
        let mut divided: Vec<Vec<R>> = (0..of).map(|_| Vec::new()).collect();
        nodes.into_iter().enumerate().for_each(|(number, node)| divided[number % of].push(node));
        let shards = divided.into_iter().enumerate();
        let window = scenario.topology.arcs.iter().map(|arc| u64::from(arc.delay_us)).min();
        Self {
            scenario,
            shards: shards.map(|(number, nodes)| Shard::new(scenario, nodes, Part { number, of })).collect(),
            window: window.unwrap_or(LOOK_EVERY).max(1),
            complete: 0,
        }
    }

    /// Lets everything happen. `progress` is told the time now and then. `None` only for a world without shards.
    pub(crate) fn run(mut self, progress: impl Fn(u64)) -> Option<Recorder> {
        let mut end = self.scenario.load_end() + MAX_DRAIN;
        let mut next_look = self.scenario.load_end();
        for window in 0_u64.. {
            self.exchange();
            let Some(now) = self.shards.par_iter_mut().filter_map(Shard::receive).min() else { break };
            // Everything before has happened, and nothing later.
            while next_look <= now && next_look <= end {
                if self.is_complete() {
                    end = end.min(next_look + AFTERMATH);
                }
                next_look += LOOK_EVERY;
            }
            if now > end {
                break;
            }
            let until = (now + self.window).min(next_look).min(end + 1);
            self.shards.par_iter_mut().for_each(|shard| shard.run_until(until));
            if window.is_multiple_of(BAR_EVERY) {
                progress(now);
            }
        }
        Recorder::whole(self.shards.into_iter().map(|shard| shard.record).collect())
    }

    /// Hands over what the shards have for each other.
    fn exchange(&mut self) {
        for to in 0..self.shards.len() {
            for from in 0..self.shards.len() {
                let parcels = std::mem::take(&mut self.shards[from].outboxes[to]);
                if !parcels.is_empty() {
                    self.shards[to].inbox.push(parcels);
                }
            }
        }
    }

    /// Whether each transaction is at all living honest nodes, or at none.
    fn is_complete(&mut self) -> bool {
        let hostile = &self.scenario.victims.hostile;
        while self.complete < self.scenario.catalog.len() {
            let parts = self
                .shards
                .iter()
                .map(|shard| shard.record.has_and_lacks(self.complete, |node| shard.is_alive(node) && !hostile[node]));
            let (has, lacks) = parts.fold((false, false), |all, part| (all.0 || part.0, all.1 || part.1));
            if has && lacks {
                return false;
            }
            self.complete += 1;
        }
        true
    }
}
