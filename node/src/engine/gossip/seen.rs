//! What passed by lately, and which neighbours are known to have it.

use std::time::Duration;

use lru::LruCache;
use starling_wire::ShortId;

use super::super::{peers::Mask, time::Time};

/// Transactions remembered. At 1,000 per second this is two minutes, many times what a transaction takes to cross a
/// network; about 64 bytes each. A set that forgets sooner than copies stop coming would relay twice.
const CAPACITY: usize = 128 * 1024;

/// How long a transaction that was refused for a reason that may pass (a full pool, a nonce too high) is not looked at
/// again. Shorter repeats useless checks, longer delays a second chance.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its signature is being checked, or it was admitted.
    Taken,
    /// It was refused and may be looked at again from then on.
    RefusedUntil(Time),
    /// It can never be valid.
    Invalid,
}

#[derive(Debug)]
struct Entry {
    fate: Fate,
    holders: Mask,
}

/// What to do with a copy that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Receipt {
    /// Nobody brought it before (or it deserves another look).
    New,
    /// It is known and needs nothing.
    Duplicate,
    /// It is known to be invalid.
    Invalid,
}

/// The set of transactions seen lately, least recently used first to go.
#[derive(Debug)]
pub(super) struct Seen(LruCache<ShortId, Entry>);

impl Seen {
    pub(super) fn new() -> Self {
        // Room is taken as it is needed: most nodes never remember so many.
        Self(LruCache::unbounded())
    }

    fn entry(&mut self, id: ShortId, fate: Fate) -> &mut Entry {
        if self.0.len() >= CAPACITY && !self.0.contains(&id) {
            self.0.pop_lru();
        }
        self.0.get_or_insert_mut(id, || Entry { fate, holders: Mask::default() })
    }

    /// Notes that a copy came in, by `slot` if a neighbour sent it.
    pub(super) fn receive(&mut self, now: Time, id: ShortId, slot: Option<u8>) -> Receipt {
        let entry = self.entry(id, Fate::RefusedUntil(now));
        if let Some(slot) = slot {
            entry.holders.insert(slot);
        }
        match entry.fate {
            Fate::Taken => Receipt::Duplicate,
            Fate::Invalid => Receipt::Invalid,
            Fate::RefusedUntil(time) if now < time => Receipt::Duplicate,
            Fate::RefusedUntil(_) => {
                entry.fate = Fate::Taken;
                Receipt::New
            }
        }
    }

    /// Notes that a neighbour announced it; says whether it is worth asking for.
    pub(super) fn announced(&mut self, now: Time, id: ShortId, slot: u8) -> bool {
        match self.0.get_mut(&id) {
            None => true,
            Some(entry) => {
                entry.holders.insert(slot);
                matches!(entry.fate, Fate::RefusedUntil(time) if now >= time)
            }
        }
    }

    /// Notes a refusal, for good (`invalid`) or for a while.
    pub(super) fn refused(&mut self, now: Time, id: ShortId, invalid: bool) {
        if let Some(entry) = self.0.get_mut(&id) {
            entry.fate = if invalid { Fate::Invalid } else { Fate::RefusedUntil(now + RETRY_AFTER) };
        }
    }

    /// Makes as though it had never come.
    pub(super) fn forget(&mut self, id: ShortId) {
        self.0.pop(&id);
    }

    /// The neighbours known to have it.
    pub(super) fn holders(&mut self, id: ShortId) -> &mut Mask {
        &mut self.entry(id, Fate::Taken).holders
    }

    /// A link is gone: its bit will name another neighbour.
    pub(super) fn link_lost(&mut self, slot: u8) {
        for (_, entry) in self.0.iter_mut() {
            entry.holders.remove(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ShortId = ShortId([1; 8]);

    #[test]
    fn a_transaction_is_new_once() {
        let mut seen = Seen::new();
        assert!(seen.announced(Time::ZERO, ID, 0));
        assert_eq!(seen.receive(Time::ZERO, ID, Some(1)), Receipt::New);
        assert_eq!(seen.receive(Time::ZERO, ID, Some(2)), Receipt::Duplicate);
        assert!(!seen.announced(Time::ZERO, ID, 3));
        assert!([1, 2, 3].iter().all(|slot| seen.holders(ID).contains(*slot)));
        seen.link_lost(2);
        assert!(!seen.holders(ID).contains(2));
    }

    #[test]
    fn refusals_pass_unless_final() {
        let mut seen = Seen::new();
        seen.receive(Time::ZERO, ID, None);
        seen.refused(Time::ZERO, ID, false);
        assert_eq!(seen.receive(Time::ZERO, ID, None), Receipt::Duplicate);
        assert!(!seen.announced(Time::ZERO, ID, 0));
        let later = Time::ZERO + RETRY_AFTER;
        assert!(seen.announced(later, ID, 0));
        assert_eq!(seen.receive(later, ID, None), Receipt::New);
        seen.refused(later, ID, true);
        assert_eq!(seen.receive(later + RETRY_AFTER, ID, None), Receipt::Invalid);
    }
}
