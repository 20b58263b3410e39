//! When a node exchanges peers, probes, draws samples and replaces links: eagerly at first, then seldom.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::super::time::Time;

/// Time between two exchanges of peers that a node begins, on average: at first, whenever its view has changed, and at
/// most. An exchange takes about 13 KB both ways together, the checking of those of its 64 records that are new, and with
/// somebody who is no neighbour a connection.
const EAGER: Duration = Duration::from_millis(250);
const CALM: Duration = Duration::from_secs(15);

/// By how much the wait grows with an exchange in which all were named that are in the view already, and none that ranks
/// before them; in proportion less if not all are, until the view has settled. In a network of n nodes 1 in n / 128 is, so a
/// node is eager until it has been told of some n nodes in vain, however large n is. (Trickle, RFC 6206, is alike, but for
/// one n.)
const CALMING: f64 = 0.25;

/// Waits from which on a view is taken for settled, and samples are drawn from it. Of a network of 10,000 nodes that start
/// together each has then heard of 99 %. With two fifths of it, samples of 3,000 nodes are more uneven than 199 in 200 fair
/// ones.
const SETTLED: Duration = EAGER.saturating_mul(5);

/// How often a slot of the view is given a new seed: once round takes 21 minutes. Faster draws more samples out of a view
/// that has had less time to hear of everybody.
const RENEW: Duration = Duration::from_secs(10);

/// Time between two replacements of an outgoing link by a better one, on average. Keeps links as random as samples are, and
/// gives an attacker no rest; each costs the relay some learning.
const ROTATE: Duration = Duration::from_secs(240);

/// In its first moments a node knows few, and so do others: all dial the same. Links drawn out of a view that is no more
/// are therefore replaced, one by one, so often, and not before. With 20 s nodes that were told of attackers only have no
/// honest neighbour for up to 31 s, where a fifth of the nodes are attackers; with 5 s some do later, where it is two fifths.
const REDRAW_FROM: Duration = Duration::from_secs(10);
const REDRAW: Duration = Duration::from_millis(1200);

/// When what is due.
#[derive(Debug)]
pub(super) struct Rhythm {
    /// Time between two exchanges, on average.
    gap: Duration,
    /// Records that others told of since the last exchange was begun, and how many of them of members of the view.
    told: u32,
    members: u32,
    exchange: Time,
    /// When a sample is drawn; `None` until the view has settled.
    renewal: Option<Time>,
    rotation: Time,
    /// When to look for a link that should be drawn anew.
    redraw: Time,
}

impl Rhythm {
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        Self {
            gap: EAGER,
            told: 0,
            members: 0,
            exchange: Time::ZERO + about(EAGER, rng),
            renewal: None,
            rotation: Time::ZERO + about(ROTATE, rng),
            redraw: Time::ZERO + REDRAW_FROM,
        }
    }

    /// The view has changed by news, or the last link is lost: there is more to hear of.
    pub(super) fn be_eager(&mut self, now: Time) {
        self.gap = EAGER;
        self.exchange = self.exchange.min(now + EAGER);
        self.redraw = self.redraw.min((now + REDRAW).max(Time::ZERO + REDRAW_FROM));
    }

    /// Others told of so many, of whom so many are in the view already.
    pub(super) fn heard(&mut self, told: u32, members: u32) {
        self.told = self.told.saturating_add(told);
        self.members = self.members.saturating_add(members);
    }

    pub(super) fn is_exchange_due(&self, now: Time) -> bool {
        now >= self.exchange
    }

    /// An exchange was begun, or there was nobody to exchange with.
    pub(super) fn exchanged(&mut self, now: Time, begun: bool, rng: &mut impl Rng) {
        self.exchange = now + about(self.gap, rng);
        if begun {
            let (told, members) = (std::mem::take(&mut self.told), std::mem::take(&mut self.members));
            // Whoever is told of nobody, or of nobody new for so long, has nothing to be eager for.
            let quiet = told == 0 || self.gap >= SETTLED;
            let known = if quiet { 1.0 } else { f64::from(members) / f64::from(told) };
            self.gap = self.gap.mul_f64(1.0 + CALMING * known).min(CALM);
        }
        if self.gap >= SETTLED && self.renewal.is_none() {
            self.renewal = Some(now + about(RENEW, rng));
        }
    }

    /// Whether to draw a sample now; the next one is later.
    pub(super) fn renews(&mut self, now: Time, rng: &mut impl Rng) -> bool {
        let due = self.renewal.is_some_and(|at| now >= at);
        if due {
            self.renewal = Some(now + about(RENEW, rng));
        }
        due
    }

    pub(super) fn is_redraw_due(&self, now: Time) -> bool {
        now >= self.redraw
    }

    /// It was looked for outdated links. If there are no more, there are none until the view changes.
    pub(super) fn redrew(&mut self, now: Time, more: bool, rng: &mut impl Rng) {
        self.redraw = now + about(if more { REDRAW } else { ROTATE }, rng);
    }

    /// Whether to replace the link of least use now; the next one is later.
    pub(super) fn rotates(&mut self, now: Time, rng: &mut impl Rng) -> bool {
        let due = now >= self.rotation;
        if due {
            self.rotation = now + about(ROTATE, rng);
        }
        due
    }

    /// When something is next due.
    pub(super) fn deadline(&self) -> Time {
        self.renewal.into_iter().fold(self.exchange.min(self.rotation).min(self.redraw), Time::min)
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
    fn a_node_is_eager_while_there_is_somebody_to_hear_of() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut rhythm = Rhythm::new(&mut rng);
        let at = |ms| Time::after(Duration::from_millis(ms));
        // Exchanges in so many seconds; one in so many brings news, and so many of a hundred are known.
        let mut exchanges = |from: u64, seconds: u64, news_every: u32, known: u32| {
            (from * 1000..(from + seconds) * 1000).step_by(50).fold(0, |count, ms| {
                if !rhythm.is_exchange_due(at(ms)) {
                    return count;
                }
                rhythm.exchanged(at(ms), true, &mut rng);
                rhythm.heard(100, known);
                if count % news_every == news_every - 1 {
                    rhythm.be_eager(at(ms));
                }
                count + 1
            })
        };
        let never = u32::MAX;
        let counts = [
            exchanges(0, 10, 1, 100),
            exchanges(10, 10, 5, 100),
            exchanges(20, 20, never, 1),
            exchanges(40, 20, never, 100),
            exchanges(600, 600, never, 1),
        ];
        let expected = [30..45, 20..32, 25..40, 8..20, 30..62];
        assert!(expected.iter().zip(counts).all(|(range, count)| range.contains(&count)), "{counts:?}");
        rhythm.be_eager(at(1_200_000));
        assert!(rhythm.is_exchange_due(at(1_200_250)));
    }

    #[test]
    fn samples_are_drawn_of_what_has_settled() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut rhythm = Rhythm::new(&mut rng);
        let samples = |rhythm: &mut Rhythm, rng: &mut ChaCha8Rng, seconds: std::ops::Range<u64>| {
            seconds.filter(|second| rhythm.renews(Time::after(Duration::from_secs(*second)), rng)).count()
        };
        for _ in 0..100 {
            rhythm.exchanged(Time::ZERO, false, &mut rng);
        }
        assert_eq!(samples(&mut rhythm, &mut rng, 0..1000), 0, "nobody was heard");
        for _ in 0..10 {
            rhythm.exchanged(Time::ZERO, true, &mut rng);
        }
        assert!((85..115).contains(&samples(&mut rhythm, &mut rng, 0..1000)));
    }
}
