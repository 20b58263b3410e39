//! Notices when several neighbours fall silent or go at once: what was learned of routes then leads to the dead.
//!
//! Silence is reckoned in messages: a neighbour that brings a tenth of all messages is silent if none of the next eighty is
//! from it. So a quiet network is no outage, and nothing needs to be tuned to the traffic. (Detectors by time, such as
//! Hayashibara's phi accrual of 2004, reckon with the gaps between a neighbour's messages alone; here what the other
//! neighbours bring says that there was something to be heard.) Where a thousand messages come in a second, a neighbour that
//! has to wait for a core is behind by more than that at every moment, so silence has a least length as well.

use std::{collections::VecDeque, time::Duration};

use super::super::{
    peers::{MAX_LINKS, Mask},
    time::Time,
};

/// Messages between two looks at who was heard: a quarter of a second at 50 transactions per second.
const ROUND: u16 = 64;

/// Messages that a silent neighbour should have sent meanwhile. Fewer notice sooner: with 8, a crash of a fifth of the
/// nodes is noticed within a second at 50 transactions per second; and take a change of traffic for an outage.
const MISSED: f32 = 8.0;

/// How long a silent neighbour must have said nothing: longer than a process waits for a core of a busy machine.
const QUIET: Duration = Duration::from_millis(500);

/// Weight of a round in a neighbour's share of the messages.
const SHARE_WEIGHT: f32 = 1.0 / 8.0;

/// It is an outage if so many neighbours are silent or gone, and this share of all. One alone leaves or fails every now
/// and then, and whom it served is served by others.
const LEAST: usize = 2;
const LEAST_SHARE: f32 = 0.1;

/// How long a neighbour that is gone counts, and how long an outage goes on after it was last noticed. About as long as
/// routes need to be learned anew; longer costs copies.
const HOLD: Duration = Duration::from_secs(3);

/// What is heard of one neighbour.
#[derive(Debug, Clone, Copy, Default)]
struct Voice {
    /// Messages in this round.
    heard: u16,
    /// Its running share of all messages, from 0 to 1, while it is heard.
    share: f32,
    /// Messages that it should have sent since it was last heard.
    missed: f32,
    /// When it was last heard.
    last: Time,
}

impl Voice {
    fn is_silent(&self, now: Time) -> bool {
        self.missed >= MISSED && now - self.last >= QUIET
    }
}

/// The detector.
#[derive(Debug)]
pub(super) struct Outage {
    /// By the slot of the link.
    voices: [Voice; MAX_LINKS],
    /// Links that were heard at all.
    known: Mask,
    /// Messages in this round.
    heard: u16,
    /// When the last links were lost, up to [`MAX_LINKS`].
    lost: VecDeque<Time>,
    until: Time,
}

impl Outage {
    pub(super) fn new() -> Self {
        Self {
            voices: [Voice::default(); MAX_LINKS],
            known: Mask::default(),
            heard: 0,
            lost: VecDeque::new(),
            until: Time::ZERO,
        }
    }

    /// Whether there is one.
    pub(super) fn is_on(&self, now: Time) -> bool {
        now < self.until
    }

    /// A message came, of whatever kind.
    pub(super) fn heard(&mut self, now: Time, slot: u8) {
        self.known.insert(slot);
        let voice = &mut self.voices[usize::from(slot)];
        voice.heard += 1;
        voice.last = now;
        self.heard += 1;
        if self.heard == ROUND {
            self.heard = 0;
            self.end_round();
            self.look(now);
        }
    }

    /// A link is gone, whatever it was for.
    pub(super) fn forget(&mut self, slot: u8) {
        self.known.remove(slot);
        self.voices[usize::from(slot)] = Voice::default();
    }

    /// A neighbour is gone.
    pub(super) fn neighbour_lost(&mut self, now: Time) {
        if self.lost.len() == MAX_LINKS {
            self.lost.pop_front();
        }
        self.lost.push_back(now);
        self.look(now);
    }

    fn end_round(&mut self) {
        for slot in self.known.slots() {
            let voice = &mut self.voices[usize::from(slot)];
            if voice.heard == 0 {
                voice.missed += f32::from(ROUND) * voice.share;
            } else {
                voice.share += SHARE_WEIGHT * (f32::from(voice.heard) / f32::from(ROUND) - voice.share);
                (voice.heard, voice.missed) = (0, 0.0);
            }
        }
    }

    fn look(&mut self, now: Time) {
        while self.lost.front().is_some_and(|at| now - *at >= HOLD) {
            self.lost.pop_front();
        }
        let silent = self.known.slots().filter(|slot| self.voices[usize::from(*slot)].is_silent(now)).count();
        let (missing, all) = (silent + self.lost.len(), self.known.slots().count() + self.lost.len());
        if missing >= LEAST && missing as f32 >= LEAST_SHARE * all as f32 {
            self.until = now + HOLD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages from the links in turn, a millisecond apart.
    fn hear(outage: &mut Outage, from: &mut u64, count: u64, slots: &[u8]) {
        for number in 0..count {
            *from += 1;
            outage.heard(at(*from), slots[number as usize % slots.len()]);
        }
    }

    fn at(ms: u64) -> Time {
        Time::after(Duration::from_millis(ms))
    }

    fn lose(outage: &mut Outage, slot: u8, now: Time) {
        outage.forget(slot);
        outage.neighbour_lost(now);
    }

    const ALL: [u8; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn silence_of_two_while_others_speak_is_an_outage_until_they_speak_again() {
        let (mut outage, mut now) = (Outage::new(), 0);
        hear(&mut outage, &mut now, 3000, &ALL);
        assert!(!outage.is_on(at(now)));
        hear(&mut outage, &mut now, 640, &ALL[1..]);
        assert!(!outage.is_on(at(now)), "one may go");
        hear(&mut outage, &mut now, 192, &ALL[2..]);
        assert!(!outage.is_on(at(now)), "the second may wait for a core");
        hear(&mut outage, &mut now, 384, &ALL[2..]);
        assert!(outage.is_on(at(now)), "two tenths of the voices are missing");
        hear(&mut outage, &mut now, 128, &ALL);
        let until = now + HOLD.as_millis() as u64;
        assert!(outage.is_on(at(now)) && !outage.is_on(at(until)));
        hear(&mut outage, &mut now, 10_000, &ALL);
        assert!(!outage.is_on(at(now)));
    }

    #[test]
    fn silence_of_all_is_none() {
        let (mut outage, mut now) = (Outage::new(), 0);
        hear(&mut outage, &mut now, 3000, &ALL);
        now += 1_000_000;
        hear(&mut outage, &mut now, 128, &ALL);
        assert!(!outage.is_on(at(now)));
    }

    #[test]
    fn links_lost_together_are_an_outage_and_those_lost_apart_are_not() {
        let (mut outage, mut now) = (Outage::new(), 0);
        hear(&mut outage, &mut now, 640, &ALL);
        lose(&mut outage, 3, at(now));
        assert!(!outage.is_on(at(now)));
        now += HOLD.as_millis() as u64;
        lose(&mut outage, 4, at(now));
        assert!(!outage.is_on(at(now)));
        lose(&mut outage, 5, at(now + 1));
        assert!(outage.is_on(at(now + 1)));
        for number in 0..1000 {
            lose(&mut outage, 5, at(now + number));
        }
        assert_eq!(outage.lost.len(), MAX_LINKS);
    }
}
