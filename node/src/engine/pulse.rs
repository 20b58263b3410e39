//! Whether a neighbour lives: phi accrual (Hayashibara, Défago, Yared, Katayama: The φ accrual failure detector, 2004) over
//! everything that comes by its link.
//!
//! A link in use is its own heartbeat; one that has carried nothing for a while carries a [`starling_wire::Message::Alive`].
//! So the gaps that count are the long ones. The longest of each round goes into a running mean and deviation, and φ
//! says how unlikely the present silence is: 1 for one in ten, 8 for one in a hundred million.

use std::time::Duration;

use super::time::Time;

/// How often links are looked at. It is in no hurry: where signs of life come in, it waits for one rather than wake the
/// node up, at most [`super::LEISURE`] long.
pub(super) const ROUND: Duration = Duration::from_millis(250);

/// A link that has carried nothing for so long at the end of a round gets a sign of life: with [`ROUND`] and
/// [`super::LEISURE`] there is at most 1.5 s between two. Each costs both ends a packet, and the other a wake-up.
const QUIET: Duration = Duration::from_millis(1150);

/// φ from which on a neighbour counts as dead. With regular signs of life that is after 2.6 s of silence,
/// and noticed 0.35 s later at most.
const SUSPECT: f64 = 8.0;

/// How long a suspect may take to be heard again before its link is closed.
pub(super) const GIVE_UP: Duration = Duration::from_secs(10);

/// Least mean, in seconds: the longest time between two signs of life that is in order.
const LEAST_MEAN: f64 = 1.5;
/// Least deviation, in seconds: what the network and busy machines may add.
const LEAST_DEVIATION: f64 = 0.19;
/// Longest gap taken into account, in seconds: bounds how long the dead can go unnoticed, to about 9 s.
const LONGEST: f64 = 4.0;
/// Most deviation, in seconds; see [`LONGEST`].
const MOST_DEVIATION: f64 = 1.0;
/// Weight of a round in the running values: a minute is remembered.
const WEIGHT: f64 = 1.0 / 64.0;

/// What is known of the life on one link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pulse {
    heard: Time,
    sent: Time,
    /// The longest gap that ended in this round.
    gap: Duration,
    mean: f64,
    variance: f64,
}

impl Pulse {
    /// A connection has just come up.
    pub(super) fn new(now: Time) -> Self {
        Self { heard: now, sent: now, gap: Duration::ZERO, mean: LEAST_MEAN, variance: 0.0 }
    }

    /// Something came, of whatever kind.
    pub(super) fn heard(&mut self, now: Time) {
        self.gap = self.gap.max(now - self.heard);
        self.heard = now;
    }

    /// Something was sent.
    pub(super) fn sent(&mut self, now: Time) {
        self.sent = now;
    }

    /// When something was last sent.
    pub(super) fn last_sent(&self) -> Time {
        self.sent
    }

    /// Whether the neighbour is due a sign of life.
    pub(super) fn is_quiet(&self, now: Time) -> bool {
        now - self.sent >= QUIET
    }

    /// A round is over.
    pub(super) fn end_round(&mut self) {
        let gap = std::mem::take(&mut self.gap).as_secs_f64();
        if gap > 0.0 {
            // What is in order is no deviation.
            let off = gap.clamp(LEAST_MEAN, LONGEST) - self.mean;
            self.mean += WEIGHT * off;
            self.variance += WEIGHT * (off * off - self.variance);
        }
    }

    /// This node itself was held up for so long: nothing could be heard meanwhile.
    pub(super) fn excuse(&mut self, now: Time, held_up: Duration) {
        self.heard = (self.heard + held_up).min(now);
    }

    /// How unlikely the present silence is, as a negative power of ten; at most 100.
    pub(super) fn phi(&self, now: Time) -> f64 {
        let deviation = self.variance.sqrt().clamp(LEAST_DEVIATION, MOST_DEVIATION);
        let y = ((now - self.heard).as_secs_f64() - self.mean) / deviation;
        // The logistic approximation of the normal distribution's tail (Bowling et al. 2009), exact enough for this.
        let x = y * (1.5976 + 0.070_566 * y * y);
        // log10(1 + e^x), without its overflow.
        if x > 230.0 { 100.0 } else { x.exp().ln_1p() / std::f64::consts::LN_10 }
    }

    /// Whether the neighbour is to be taken for dead.
    pub(super) fn is_suspect(&self, now: Time) -> bool {
        self.phi(now) >= SUSPECT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::after(Duration::from_millis(ms))
    }

    /// A pulse that is heard every so many milliseconds for a minute; the last time at the returned one.
    fn regular(every: u64) -> (Pulse, u64) {
        let mut pulse = Pulse::new(at(0));
        let mut round = 250;
        let mut now = 0;
        while now < 60_000 {
            now += every;
            while round < now {
                pulse.end_round();
                round += 250;
            }
            pulse.heard(at(now));
        }
        (pulse, now)
    }

    #[test]
    fn silence_is_noticed_within_three_seconds_whatever_the_traffic() {
        for every in [1, 100, 900, 1500] {
            let (pulse, last) = regular(every);
            assert!(!pulse.is_suspect(at(last + 2_250)), "every {every} ms");
            assert!(pulse.is_suspect(at(last + 2_650)), "every {every} ms: {}", pulse.phi(at(last + 2_650)));
        }
    }

    #[test]
    fn a_slow_neighbour_is_given_more_time_but_not_for_ever() {
        let (pulse, last) = regular(3_000);
        assert!(!pulse.is_suspect(at(last + 4_000)));
        assert!(pulse.is_suspect(at(last + 10_000)));
        assert_eq!(pulse.phi(at(last + 1_000_000)), 100.0);
    }

    #[test]
    fn being_held_up_oneself_is_no_silence_of_others() {
        let (mut pulse, last) = regular(700);
        pulse.excuse(at(last + 15_100), Duration::from_secs(15));
        assert!(!pulse.is_suspect(at(last + 16_000)));
        assert!(pulse.is_suspect(at(last + 18_000)));
        pulse.heard(at(last + 16_000));
        pulse.excuse(at(last + 16_000), Duration::from_secs(15));
        assert!(pulse.is_suspect(at(last + 19_000)), "what was heard after all is not put off");
    }

    #[test]
    fn signs_of_life_are_due_on_quiet_links_only() {
        let mut pulse = Pulse::new(at(0));
        assert!(!pulse.is_quiet(at(1100)) && pulse.is_quiet(at(1150)));
        pulse.sent(at(1100));
        assert!(!pulse.is_quiet(at(1150)));
    }
}
