//! What came of a simulated overlay, as a table and as JSON.

use std::{fmt::Write, time::Duration};

use serde::Serialize;
use starling_node::engine::Direction;

use super::{MINUTE, Plan, SETTLE, world::World};
use crate::{figures::rounded, map::Shape};

/// How long a node must have stayed after a transaction entered for the pair to count, in microseconds.
const STAYED: u64 = 10_000_000;

/// Figures of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) duration_s: u64,
    /// Changes if anything in the run does.
    pub(crate) digest: String,
    /// Honest nodes at the end.
    pub(crate) honest: usize,
    /// Nodes that left during the run, and that came during it.
    pub(crate) left: usize,
    pub(crate) came: usize,
    /// From when on, in seconds, all honest nodes hung together until the end; `null` if they do not at the end.
    pub(crate) connected_after_s: Option<f64>,
    /// Seconds in which they did not after the first thirty; nodes count from three seconds after they came.
    pub(crate) parted_s: u64,
    /// The overlay of honest nodes at the end.
    pub(crate) shape: Shape,
    /// Standard deviation of the number of incoming links, by that of a random graph in which each node dials as many.
    pub(crate) in_degree_spread: f64,
    /// Samples drawn after the first thirty seconds.
    pub(crate) samples: u64,
    /// How often samples of a network in which all are equally likely would be as uneven as these or more so; `null`
    /// where nodes come and go, or with fewer than five samples for each node.
    pub(crate) samples_p: Option<f64>,
    /// Bytes that a node sends in a second, after the first thirty.
    pub(crate) bytes_per_node_per_s: f64,
    /// The same in the last minute; `null` if the run ends within a minute of the first thirty seconds.
    pub(crate) bytes_last_minute_per_s: Option<f64>,
    /// Living nodes that were taken for dead.
    pub(crate) falsely_suspected: u64,
    /// Of the pairs of a transaction and a node that was there and stayed for ten seconds: those that came about;
    /// `null` without transactions.
    pub(crate) delivery: Option<f64>,
    /// `null` without an attacker.
    pub(crate) attacked: Option<Attacked>,
}

/// What an attacker got.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Attacked {
    /// His share of the nodes.
    pub(crate) share: f64,
    /// Whether his nodes are in one /16.
    pub(crate) one_network: bool,
    /// His share of the slots in honest nodes' views, on average, and at worst of one node's.
    pub(crate) view_share: f64,
    pub(crate) view_share_max: f64,
    /// His share of honest nodes' outgoing links, and of all.
    pub(crate) outgoing_share: f64,
    pub(crate) link_share: f64,
    /// Seconds that honest nodes spent without an honest neighbour, after the first thirty.
    pub(crate) isolated: u64,
}

impl Report {
    pub(super) fn new(plan: &Plan, world: &World<'_>) -> Self {
        let shape = world.shape();
        let honest = world.honest().count();
        let (sent, sent_last) =
            world.nodes.iter().fold((0, 0), |(all, last), node| (all + node.sent, last + node.sent_last));
        let drawn: Vec<u64> = world.honest().map(|(_, node)| node.drawn).collect();
        let steady = plan.churn == 0.0 && drawn.iter().sum::<u64>() >= 5 * honest as u64;
        Self {
            schema: "starling.overlay/1",
            nodes: plan.nodes,
            seed: plan.seed,
            duration_s: plan.duration.as_secs(),
            digest: format!("{:016x}", world.digest),
            honest,
            left: world.nodes.iter().filter(|node| node.left != u64::MAX).count(),
            came: world.nodes.len() - plan.nodes,
            connected_after_s: world.connected_since.map(|second| second as f64),
            parted_s: world.parted_s,
            in_degree_spread: rounded(in_degree_spread(world)),
            shape,
            samples: drawn.iter().sum(),
            samples_p: steady.then(|| rounded(uniformity(&drawn))),
            bytes_per_node_per_s: rounded(sent as f64 / node_seconds(plan, world, SETTLE).max(1.0)),
            bytes_last_minute_per_s: (plan.duration >= SETTLE + MINUTE)
                .then(|| rounded(sent_last as f64 / node_seconds(plan, world, plan.duration - MINUTE).max(1.0))),
            falsely_suspected: world.suspected_alive,
            delivery: delivery(world),
            attacked: attacked(plan, world),
        }
    }

    /// As a table of its own.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _written = writeln!(text, "{name:<28} {value}");
        };
        let whole = |value: Option<f64>| value.map_or("never".to_owned(), |value| format!("{value} s"));
        let shape = &self.shape;
        line("honest nodes", format!("{} ({} left, {} came)", self.honest, self.left, self.came));
        line("one component from", whole(self.connected_after_s));
        line("parted for", format!("{} s", self.parted_s));
        line("links", format!("{:.1} ({} to {})", shape.degree_mean, shape.degree_min, shape.degree_max));
        line("spread of incoming links", format!("{} of a random graph's", self.in_degree_spread));
        line("diameter", shape.diameter.to_string());
        line("clustering", format!("{:.4} (random {:.4})", shape.clustering, shape.clustering_random));
        line("samples", format!("{} (p = {})", self.samples, self.samples_p.map_or("-".into(), |p| p.to_string())));
        let last = self.bytes_last_minute_per_s.map(|bytes| format!(" ({bytes:.0}/s in the last minute)"));
        line("bytes sent per node", format!("{:.0}/s{}", self.bytes_per_node_per_s, last.unwrap_or_default()));
        line("living taken for dead", self.falsely_suspected.to_string());
        if let Some(delivery) = self.delivery {
            line("delivered", format!("{:.4} %", delivery * 100.0));
        }
        if let Some(attacked) = &self.attacked {
            let percent = |share: f64| format!("{:.1} %", share * 100.0);
            line("attacker's nodes", percent(attacked.share));
            line(
                "of views",
                format!("{} ({} at worst)", percent(attacked.view_share), percent(attacked.view_share_max)),
            );
            line("of outgoing links", percent(attacked.outgoing_share));
            line("of all links", percent(attacked.link_share));
            line("isolated honest nodes", format!("{} node-seconds", attacked.isolated));
        }
        line("digest", self.digest.clone());
        text.trim_end().to_owned()
    }
}

/// Several runs.
#[derive(Debug, Serialize)]
pub(crate) struct Reports {
    schema: &'static str,
    pub(crate) runs: Vec<Report>,
}

impl Reports {
    pub(crate) fn new(runs: Vec<Report>) -> Self {
        Self { schema: "starling.overlays/1", runs }
    }

    /// A line for what is worst, and the mean of each share.
    pub(crate) fn table(&self) -> String {
        let worst = |of: fn(&Report) -> f64| self.runs.iter().map(of).fold(f64::MIN, f64::max);
        let mut text = format!(
            "{} runs\none component from, at worst   {}\nspread of incoming links       {} at worst",
            self.runs.len(),
            if self.runs.iter().all(|run| run.connected_after_s.is_some()) {
                format!("{} s", worst(|run| run.connected_after_s.unwrap_or(f64::MAX)))
            } else {
                "never".to_owned()
            },
            worst(|run| run.in_degree_spread)
        );
        let attacked: Vec<&Attacked> = self.runs.iter().filter_map(|run| run.attacked.as_ref()).collect();
        if !attacked.is_empty() {
            let mean = |of: fn(&Attacked) -> f64| {
                attacked.iter().map(|attacked| of(attacked)).sum::<f64>() / attacked.len() as f64 * 100.0
            };
            let _written = write!(
                text,
                "\nof views                       {:.1} % on average, {:.1} % in the worst run\nof outgoing links              \
                 {:.1} %\nof all links                   {:.1} %\nruns with isolated nodes       {}",
                mean(|attacked| attacked.view_share),
                attacked.iter().map(|attacked| attacked.view_share).fold(0.0, f64::max) * 100.0,
                mean(|attacked| attacked.outgoing_share),
                mean(|attacked| attacked.link_share),
                attacked.iter().filter(|attacked| attacked.isolated > 0).count()
            );
        }
        text
    }
}

fn in_degree_spread(world: &World<'_>) -> f64 {
    let (mut incoming, mut outgoing) = (Vec::new(), 0);
    for (number, _) in world.honest() {
        let links = world.links(number);
        let came_in = links.iter().filter(|(_, direction)| *direction == Direction::Incoming).count();
        outgoing += links.len() - came_in;
        incoming.push(came_in as f64);
    }
    let nodes = incoming.len().max(2) as f64;
    let mean = incoming.iter().sum::<f64>() / nodes;
    let variance = incoming.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / nodes;
    // Each node dials so many of the others.
    let dials = outgoing as f64 / nodes;
    (variance / (dials * (1.0 - dials / (nodes - 1.0))).max(f64::MIN_POSITIVE)).sqrt()
}

/// The probability of counts at least as uneven as these if all are equally likely: Pearson's chi-square test, with the
/// Wilson-Hilferty approximation.
fn uniformity(counts: &[u64]) -> f64 {
    let total: u64 = counts.iter().sum();
    let (expected, freedom) = (total as f64 / counts.len() as f64, counts.len() as f64 - 1.0);
    let chi: f64 = counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
    let part = 2.0 / (9.0 * freedom);
    let z = ((chi / freedom).cbrt() - (1.0 - part)) / part.sqrt();
    // The logistic approximation of the normal distribution's tail (Bowling et al. 2009).
    1.0 / (1.0 + (z * (1.5976 + 0.070_566 * z * z)).exp())
}

/// For how long honest nodes were up since then, one after the other, in seconds.
fn node_seconds(plan: &Plan, world: &World<'_>, since: Duration) -> f64 {
    let (since, end) = (since.as_micros() as u64, plan.duration.as_micros() as u64);
    let honest = world.nodes.iter().filter(|node| !node.hostile);
    honest.map(|node| node.left.min(end).saturating_sub(node.came.max(since))).sum::<u64>() as f64 / 1e6
}

fn delivery(world: &World<'_>) -> Option<f64> {
    let (mut pairs, mut came) = (0_u64, 0_u64);
    for (entered, holders) in world.delivered.iter().filter(|(entered, _)| *entered != u64::MAX) {
        for (number, node) in world.nodes.iter().enumerate().filter(|(_, node)| !node.hostile) {
            if node.came <= *entered && node.left.saturating_sub(STAYED) >= *entered {
                pairs += 1;
                came += u64::from(holders.contains_key(&(number as u32)));
            }
        }
    }
    (pairs > 0).then(|| came as f64 / pairs as f64)
}

fn attacked(plan: &Plan, world: &World<'_>) -> Option<Attacked> {
    let attack = plan.attack?;
    let hostile: std::collections::BTreeSet<_> =
        world.nodes.iter().filter(|node| node.hostile).map(|node| node.id).collect();
    let shares: Vec<f64> = world
        .honest()
        .filter_map(|(_, node)| node.engine.as_ref())
        .map(|engine| {
            let (his, all) =
                engine.view().fold((0, 0), |(his, all), id| (his + u32::from(hostile.contains(id)), all + 1));
            f64::from(his) / f64::from(all.max(1))
        })
        .collect();
    let links: Vec<(usize, Direction)> = world.honest().flat_map(|(number, _)| world.links(number)).collect();
    let share = |outgoing: bool| {
        let some = links.iter().filter(|(_, direction)| !outgoing || *direction == Direction::Outgoing);
        let (his, all) =
            some.fold((0, 0), |(his, all), (other, _)| (his + u32::from(world.nodes[*other].hostile), all + 1));
        rounded(f64::from(his) / f64::from(all.max(1)))
    };
    Some(Attacked {
        share: attack.share,
        one_network: attack.one_network,
        view_share: rounded(shares.iter().sum::<f64>() / shares.len().max(1) as f64),
        view_share_max: rounded(shares.iter().copied().fold(0.0, f64::max)),
        outgoing_share: share(true),
        link_share: share(false),
        isolated: world.isolated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uneven_samples_are_told_from_even_ones() {
        assert!(uniformity(&[10; 100]) > 0.99);
        assert!(uniformity(&(0..100).map(|i| if i % 2 == 0 { 5 } else { 15 }).collect::<Vec<_>>()) < 0.001);
        // Draws from a generator that is known to be even.
        let mut counts = vec![0; 100];
        (0..2000).for_each(|i| counts[(crate::sim::event::mix(i) % 100) as usize] += 1);
        assert!((0.01..0.99).contains(&uniformity(&counts)), "{}", uniformity(&counts));
    }
}
