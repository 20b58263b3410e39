//! When a node exchanges peers, probes, draws samples and replaces links: eagerly at first, then seldom.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::super::time::Time;

/// How long a node is eager to learn after its start, and after it has lost all its links. A thousand nodes that start
/// together know each other evenly by then (`overlay --nodes 1000 --duration 150s`: numbers of incoming links spread 1.26
/// times as much as in a random graph, and samples are as uneven as 12 in 100 fair ones); after 30 s, with [`EARLY`] at 15 s
/// and a third of the probes, those that came first were better known (1.59, and none in a million).
const EAGER_FOR: Duration = Duration::from_secs(60);

/// Exchanges since a node heard of somebody new, after which it is eager no longer: it knows nearly all. In a network of 50
/// this comes after some seconds; to go on costs as much processor time as relaying several transactions a second.
const BARREN: u32 = 16;

/// Time between two exchanges of peers with a random neighbour, on average: while the node is eager, and afterwards. An
/// exchange takes about 6 KiB, and the checking of those of its 32 records that are new.
const EAGER_EXCHANGE: Duration = Duration::from_millis(250);
const EXCHANGE: Duration = Duration::from_secs(10);

/// Time between two probes, on average, while the node is eager and afterwards: a connection is made to somebody in the
/// view who is no neighbour, peers are exchanged, and it is closed again. Tests addresses, and mixes views across the
/// network.
const EAGER_PROBE: Duration = Duration::from_secs(1);
const PROBE: Duration = Duration::from_secs(30);

/// How often a slot of the view is given a new seed: once round takes 21 minutes. Faster draws more samples out of a view
/// that has had less time to hear of everybody.
const RENEW: Duration = Duration::from_secs(10);

/// Time between two replacements of an outgoing link, on average. Keeps links as random as samples are, and gives an
/// attacker no rest; each costs the relay some learning.
const ROTATE: Duration = Duration::from_secs(240);

/// In its first moments a node knows few, and so do others: all dial the same. Links of the first [`EARLY`] are replaced
/// one by one, so often, before the first minute is over. With 30 s the spread is 1.10, but of 180 nodes among 20 attackers
/// some had no honest neighbour for seconds; with 15 s it is 1.43.
pub(super) const EARLY: Duration = Duration::from_secs(20);
const ROTATE_EARLY: Duration = Duration::from_millis(1200);

/// Which link is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rotation {
    /// One of the first [`EARLY`].
    Early,
    /// The least useful.
    Regular,
}

/// When what is due.
#[derive(Debug)]
pub(super) struct Rhythm {
    eager_until: Time,
    /// Exchanges since somebody unknown was heard of.
    barren: u32,
    exchange: Time,
    probe: Time,
    renewal: Time,
    rotation: Time,
}

impl Rhythm {
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        let mut soon = |gap: Duration| Time::ZERO + about(gap, rng);
        Self {
            eager_until: Time::ZERO + EAGER_FOR,
            barren: 0,
            exchange: soon(EAGER_EXCHANGE),
            probe: soon(EAGER_PROBE),
            renewal: soon(RENEW) + EAGER_FOR,
            rotation: Time::ZERO + EARLY,
        }
    }

    fn is_eager(&self, now: Time) -> bool {
        now < self.eager_until && self.barren < BARREN
    }

    /// Somebody unknown was heard of: where one comes from there may be more.
    pub(super) fn heard_news(&mut self, now: Time) {
        self.barren = 0;
        if self.is_eager(now) {
            self.exchange = self.exchange.min(now + EAGER_EXCHANGE);
            self.probe = self.probe.min(now + EAGER_PROBE);
        }
    }

    /// The last link is lost: all begins anew.
    pub(super) fn left_alone(&mut self, now: Time) {
        (self.eager_until, self.barren) = (now + EAGER_FOR, 0);
        self.exchange = now + EAGER_EXCHANGE;
    }

    pub(super) fn is_exchange_due(&self, now: Time) -> bool {
        now >= self.exchange
    }

    /// An exchange was begun, or there was nobody to exchange with.
    pub(super) fn exchanged(&mut self, now: Time, begun: bool, rng: &mut impl Rng) {
        self.barren = self.barren.saturating_add(begun.into());
        self.exchange = now + about(if self.is_eager(now) { EAGER_EXCHANGE } else { EXCHANGE }, rng);
    }

    /// Whether to probe now; the next one is later.
    pub(super) fn probes(&mut self, now: Time, rng: &mut impl Rng) -> bool {
        let due = now >= self.probe;
        if due {
            self.probe = now + about(if self.is_eager(now) { EAGER_PROBE } else { PROBE }, rng);
        }
        due
    }

    /// Whether to draw a sample now; the next one is later.
    pub(super) fn renews(&mut self, now: Time, rng: &mut impl Rng) -> bool {
        let due = now >= self.renewal;
        if due {
            self.renewal = now + about(RENEW, rng);
        }
        due
    }

    /// Whether to replace a link now; the next one is later. A node that knew others before its start has no early links.
    pub(super) fn rotates(&mut self, now: Time, restored: bool, rng: &mut impl Rng) -> Option<Rotation> {
        if now < self.rotation {
            return None;
        }
        let early = now < Time::ZERO + EAGER_FOR && !restored;
        self.rotation = now + about(if early { ROTATE_EARLY } else { ROTATE }, rng);
        Some(if early { Rotation::Early } else { Rotation::Regular })
    }

    /// When something is next due.
    pub(super) fn deadline(&self) -> Time {
        self.exchange.min(self.probe).min(self.renewal).min(self.rotation)
    }
}

/// From half of a time to one and a half, so that nodes that started together do not act together.
pub(super) fn about(gap: Duration, rng: &mut impl Rng) -> Duration {
    gap.mul_f64(rng.random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_new_node_is_eager_while_it_hears_of_others() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut rhythm = Rhythm::new(&mut rng);
        // Exchanges in the ten seconds from one on.
        let mut exchanges = |from: u64, mut news: bool, go_on: bool| {
            (0..200).fold(0, |count, tick| {
                let now = Time::ZERO + Duration::from_millis(from * 1000 + tick * 50);
                if news {
                    rhythm.heard_news(now);
                }
                let due = rhythm.is_exchange_due(now);
                if due {
                    rhythm.exchanged(now, true, &mut rng);
                }
                news = go_on && due;
                count + u32::from(due)
            })
        };
        let counts = [
            exchanges(0, true, true),
            exchanges(10, false, false),
            exchanges(20, false, false),
            exchanges(30, true, true),
            exchanges(70, true, true),
        ];
        let expected = [30..60, BARREN - 1..BARREN + 3, 0..4, 30..60, 0..4];
        assert!(expected.iter().zip(counts).all(|(range, count)| range.contains(&count)), "{counts:?}");
        rhythm.left_alone(Time::ZERO + Duration::from_secs(100));
        assert!(rhythm.is_eager(Time::ZERO + Duration::from_secs(159)));
    }

    #[test]
    fn early_links_are_replaced_in_the_first_minute() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut rhythm, mut counts) = (Rhythm::new(&mut rng), [0, 0]);
        for second in 0..3600 {
            match rhythm.rotates(Time::ZERO + Duration::from_secs(second), false, &mut rng) {
                Some(Rotation::Early) => {
                    assert!((20..60).contains(&second));
                    counts[0] += 1;
                }
                Some(Rotation::Regular) => counts[1] += 1,
                None => {}
            }
        }
        assert!((20..40).contains(&counts[0]) && (10..20).contains(&counts[1]), "{counts:?}");
        let restored = Rhythm::new(&mut rng).rotates(Time::ZERO + EARLY, true, &mut rng);
        assert_eq!(restored, Some(Rotation::Regular));
    }
}
