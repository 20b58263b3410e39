//! What this node's own users submitted and nobody has shown to have yet: when to announce it again.
//!
//! A transaction that comes back from a neighbour, pushed or announced, that is pruned there, or that a comparison of pools
//! finds there, is out in the network. One that does not may have been lost with a link or a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use starling_wire::ShortId;

use super::time::Time;

/// How long to wait for a sign before the first try. Relaying and comparing pools are long done by then; shorter would tell
/// most transactions twice in networks where all neighbours hear of them here first.
const FIRST_WAIT: Duration = Duration::from_secs(30);

/// Tries, each after twice the wait of the one before: the last is 31.5 minutes after the submission. Where there is one
/// neighbour only, a sign never comes, and this is what all it costs: eight bytes to each neighbour each time.
const TRIES: u32 = 6;

/// Transactions watched at one time; of more, those submitted first are not told again. About 100 bytes each.
const CAPACITY: usize = 8 * 1024;

#[derive(Debug, Clone, Copy)]
struct Wait {
    next: Time,
    tries: u32,
}

/// The transactions that are watched.
#[derive(Debug, Default)]
pub(super) struct Locals {
    waits: BTreeMap<ShortId, Wait>,
    due: BTreeSet<(Time, ShortId)>,
}

impl Locals {
    /// One was submitted here and admitted.
    pub(super) fn submitted(&mut self, now: Time, id: ShortId) {
        self.seen(&id);
        if self.waits.len() >= CAPACITY
            && let Some((_, oldest)) = self.due.first().copied()
        {
            self.seen(&oldest);
        }
        self.watch(now, id, 0);
    }

    /// A neighbour has it, or it is of no interest any more.
    pub(super) fn seen(&mut self, id: &ShortId) {
        if let Some(wait) = self.waits.remove(id) {
            self.due.remove(&(wait.next, *id));
        }
    }

    /// A neighbour has all of which this holds.
    pub(super) fn seen_all(&mut self, has: impl Fn(&ShortId) -> bool) {
        let there: Vec<ShortId> = self.waits.keys().filter(|id| has(id)).copied().collect();
        there.iter().for_each(|id| self.seen(id));
    }

    /// Names those that are to be announced again.
    pub(super) fn timeout(&mut self, now: Time) -> Vec<ShortId> {
        let mut again = Vec::new();
        while let Some((_, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            let tries = self.waits.get(&id).map_or(TRIES, |wait| wait.tries + 1);
            self.seen(&id);
            if tries < TRIES {
                self.watch(now, id, tries);
            }
            again.push(id);
        }
        again
    }

    /// When [`Self::timeout`] next has work.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    fn watch(&mut self, now: Time, id: ShortId, tries: u32) {
        // At the turn of a second, so that those of one second are told in one message.
        let at = (now + FIRST_WAIT * 2_u32.pow(tries)).since_start();
        let next = Time::after(Duration::from_secs(at.as_secs() + 1));
        self.waits.insert(id, Wait { next, tries });
        self.due.insert((next, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> ShortId {
        ShortId(number.to_be_bytes())
    }

    #[test]
    fn tries_are_spaced_out_and_end() {
        let mut locals = Locals::default();
        let mut now = Time::ZERO;
        locals.submitted(now, id(1));
        let mut waits = Vec::new();
        while let Some(next) = locals.deadline() {
            assert!(locals.timeout(Time::after(next.since_start() - Duration::from_micros(1))).is_empty());
            assert_eq!(locals.timeout(next), [id(1)]);
            waits.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(waits, [31, 61, 121, 241, 481, 961]);
        assert!(locals.waits.is_empty());
    }

    #[test]
    fn what_came_back_is_left_alone_and_the_oldest_gives_way() {
        let mut locals = Locals::default();
        for number in 0..CAPACITY as u64 + 1 {
            locals.submitted(Time::after(Duration::from_secs(number)), id(number));
        }
        assert_eq!((locals.waits.len(), locals.due.len()), (CAPACITY, CAPACITY));
        assert!(!locals.waits.contains_key(&id(0)));
        for number in 2..CAPACITY as u64 + 1 {
            locals.seen(&id(number));
        }
        assert_eq!(locals.timeout(Time::after(Duration::from_secs(1_000_000))), [id(1)]);
    }
}
