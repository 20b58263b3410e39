//! What goes wrong in a run: nodes that crash or are hostile, messages that are lost, a network that falls apart for a
//! while.

use std::{str::FromStr, time::Duration};

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::hostile::Hostile;

/// `FRACTION@TIME`: so many of the nodes stop at that time, without a word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Crash {
    /// Of all nodes, 0 to 1.
    pub(crate) fraction: f64,
    /// From the start of the load.
    pub(crate) at: Duration,
}

impl FromStr for Crash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (fraction, at) = text.split_once('@').ok_or("a crash is FRACTION@TIME, for example 0.2@40s")?;
        let fraction: f64 = fraction.trim().parse().map_err(|_| format!("`{fraction}` is no number"))?;
        if !(0.0..=1.0).contains(&fraction) {
            return Err("the fraction is from 0 to 1".to_owned());
        }
        Ok(Self { fraction, at: time(at)? })
    }
}

/// `FROM..TO`: the two halves of the network cannot reach each other in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    /// From the start of the load.
    pub(crate) from: Duration,
    /// From the start of the load.
    pub(crate) to: Duration,
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").ok_or("a partition is FROM..TO, for example 40s..60s")?;
        let partition = Self { from: time(from)?, to: time(to)? };
        if partition.from >= partition.to {
            return Err("a partition ends after it begins".to_owned());
        }
        Ok(partition)
    }
}

/// A time such as `40s`; `0` is fine.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; write, for example, 40s"))
}

/// All that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Faults {
    /// Share of the messages that vanish, from the start of the load on.
    pub(crate) loss: f64,
    /// The kinds of messages that do, by their names; all without any.
    pub(crate) loss_of: Vec<String>,
    /// Nodes that stop.
    pub(crate) crash: Option<Crash>,
    /// When neighbours of a node that stopped, or is cut off, take notice.
    pub(crate) detect: Duration,
    /// Halves that are cut off from each other.
    pub(crate) partition: Option<Partition>,
    /// Nodes that mislead their neighbours.
    pub(crate) hostile: Option<Hostile>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            loss: 0.0,
            loss_of: Vec::new(),
            crash: None,
            detect: Duration::from_secs(3),
            partition: None,
            hostile: None,
        }
    }
}

/// Which nodes it hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Victims {
    /// Nodes that stop.
    pub(crate) dead: Vec<bool>,
    /// Nodes on the other side of the partition.
    pub(crate) far: Vec<bool>,
    /// Nodes that mislead their neighbours. They submit nothing, so that the figures are about honest traffic.
    pub(crate) hostile: Vec<bool>,
    /// Nodes that the figures are about: those that neither stop nor are hostile.
    pub(crate) counted: Vec<bool>,
}

impl Faults {
    /// Whether messages of a kind may vanish.
    pub(crate) fn loses(&self, kind: &str) -> bool {
        self.loss > 0.0 && (self.loss_of.is_empty() || self.loss_of.iter().any(|name| name == kind))
    }

    /// Draws the nodes.
    pub(crate) fn victims(&self, nodes: usize, seed: u64) -> Victims {
        let share = |share: f64| (share * nodes as f64).round() as usize;
        let mut rng = stream(seed, 2);
        let dead = draw(nodes, self.crash.map_or(0, |crash| share(crash.fraction)), &mut rng);
        let far = draw(nodes, nodes / 2, &mut rng);
        let hostile = draw(nodes, self.hostile.map_or(0, |hostile| share(hostile.share)), &mut stream(seed, 6));
        let counted = dead.iter().zip(&hostile).map(|(dead, hostile)| !dead && !hostile).collect();
        Victims { dead, far, hostile, counted }
    }
}

fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// So many of the nodes.
fn draw(nodes: usize, count: usize, rng: &mut impl Rng) -> Vec<bool> {
    let mut all: Vec<usize> = (0..nodes).collect();
    all.shuffle(rng);
    let mut hit = vec![false; nodes];
    all.into_iter().take(count).for_each(|node| hit[node] = true);
    hit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_what_makes_no_sense_is_refused() {
        let crash: Crash = "0.2@40s".parse().unwrap();
        assert_eq!(crash, Crash { fraction: 0.2, at: Duration::from_secs(40) });
        let partition: Partition = "0..1m".parse().unwrap();
        assert_eq!(partition, Partition { from: Duration::ZERO, to: Duration::from_secs(60) });
        for bad in ["0.2", "2@1s", "x@1s", "0.2@x", "-1@1s"] {
            assert!(bad.parse::<Crash>().is_err(), "{bad}");
        }
        for bad in ["1s", "2s..1s", "1s..1s", "1s.2s"] {
            assert!(bad.parse::<Partition>().is_err(), "{bad}");
        }
    }

    #[test]
    fn victims_are_as_many_as_asked_for() {
        let (crash, hostile) = (Some("0.2@1s".parse().unwrap()), Some("late@0.1".parse().unwrap()));
        let faults = Faults { crash, hostile, ..Faults::default() };
        let victims = faults.victims(50, 1);
        let count = |hit: &[bool]| hit.iter().filter(|hit| **hit).count();
        assert_eq!((count(&victims.dead), count(&victims.far), count(&victims.hostile)), (10, 25, 5));
        assert!((0..50).all(|node| victims.counted[node] != (victims.dead[node] || victims.hostile[node])));
        let without = Faults { hostile: None, ..faults.clone() }.victims(50, 1);
        assert_eq!((&without.dead, &without.far), (&victims.dead, &victims.far), "each is drawn by itself");
        assert_eq!(victims, faults.victims(50, 1));
        assert_ne!(victims, faults.victims(50, 2));
    }
}
