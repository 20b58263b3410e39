//! What passed by lately: what became of it, which way it came, and which neighbours are known to have it.

use std::time::Duration;

use lru::LruCache;
use starling_wire::ShortId;

use super::{
    super::{peers::Mask, time::Time},
    routes::Path,
};

/// Transactions remembered. At 1,000 per second this is two minutes, many times what a transaction takes to cross a
/// network; about 100 bytes each. A set that forgets sooner than copies stop coming would relay twice.
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

/// What is remembered of one transaction.
#[derive(Debug)]
pub(super) struct Entry {
    fate: Fate,
    /// Neighbours known to have it.
    pub(super) holders: Mask,
    /// Neighbours it was announced to.
    pub(super) told: Mask,
    /// Neighbours it was pushed to unasked, while it is open whether they needed it.
    pub(super) pushed: Mask,
    /// Neighbours that asked for it although they were known to have it, or to be sent it.
    pub(super) again: Mask,
    /// The way of the first copy.
    pub(super) path: Path,
    /// When the first copy came.
    pub(super) since: Time,
    /// Copies that came, the first included.
    pub(super) copies: u8,
}

impl Entry {
    /// Whether a neighbour has it or was told of it.
    pub(super) fn is_informed(&self, slot: u8) -> bool {
        self.holders.contains(slot) || self.told.contains(slot)
    }

    /// Notes that a neighbour lacks it, whatever was believed, and is told of it now.
    pub(super) fn lacks(&mut self, slot: u8) {
        self.holders.remove(slot);
        self.pushed.remove(slot);
        self.told.insert(slot);
    }

    /// Notes that a neighbour is told of it. Whether that is news to it.
    pub(super) fn inform(&mut self, slot: u8) -> bool {
        let news = !self.is_informed(slot);
        if news {
            self.told.insert(slot);
        }
        news
    }
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

/// The set of transactions seen lately; the one whose last copy came longest ago is the first to go.
#[derive(Debug)]
pub(super) struct Seen(LruCache<ShortId, Entry>);

impl Seen {
    pub(super) fn new() -> Self {
        // Room is taken as it is needed: most nodes never remember so many.
        Self(LruCache::unbounded())
    }

    /// Notes that a copy came in; from a neighbour unless the path's ingress is local.
    pub(super) fn receive(&mut self, now: Time, id: ShortId, path: Path) -> (Receipt, &mut Entry) {
        if self.0.len() >= CAPACITY && !self.0.contains(&id) {
            self.0.pop_lru();
        }
        let entry = self.0.get_or_insert_mut(id, || Entry {
            fate: Fate::RefusedUntil(now),
            holders: Mask::default(),
            told: Mask::default(),
            pushed: Mask::default(),
            again: Mask::default(),
            path,
            since: now,
            copies: 0,
        });
        if path.is_from_neighbour() {
            entry.holders.insert(path.ingress);
        }
        entry.copies = entry.copies.saturating_add(1);
        let receipt = match entry.fate {
            Fate::Taken => Receipt::Duplicate,
            Fate::Invalid => Receipt::Invalid,
            Fate::RefusedUntil(time) if now < time => Receipt::Duplicate,
            Fate::RefusedUntil(_) => {
                (entry.fate, entry.path, entry.since, entry.copies) = (Fate::Taken, path, now, 1);
                Receipt::New
            }
        };
        (receipt, entry)
    }

    /// Notes that a neighbour announced it; says whether it is worth asking for.
    pub(super) fn announced(&mut self, now: Time, id: ShortId, slot: u8) -> bool {
        match self.get(id) {
            None => true,
            Some(entry) => {
                entry.holders.insert(slot);
                matches!(entry.fate, Fate::RefusedUntil(time) if now >= time)
            }
        }
    }

    /// Notes a refusal, for good (`invalid`) or for a while.
    pub(super) fn refused(&mut self, now: Time, id: ShortId, invalid: bool) {
        if let Some(entry) = self.get(id) {
            entry.fate = if invalid { Fate::Invalid } else { Fate::RefusedUntil(now + RETRY_AFTER) };
        }
    }

    /// Makes as though it had never come.
    pub(super) fn forget(&mut self, id: ShortId) {
        self.0.pop(&id);
    }

    /// What is remembered of a transaction. Only copies keep it from being forgotten: talk about it does not.
    pub(super) fn get(&mut self, id: ShortId) -> Option<&mut Entry> {
        self.0.peek_mut(&id)
    }

    /// A link is gone: its bit will name another neighbour.
    pub(super) fn link_lost(&mut self, slot: u8) {
        for (_, entry) in self.0.iter_mut() {
            entry.holders.remove(slot);
            entry.told.remove(slot);
            entry.pushed.remove(slot);
            entry.again.remove(slot);
            if entry.path.ingress == slot {
                entry.path.ingress = super::routes::LOST;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ShortId = ShortId([1; 8]);

    fn from(slot: u8) -> Path {
        Path { ingress: slot, labels: [0; 3] }
    }

    #[test]
    fn a_transaction_is_new_once() {
        let mut seen = Seen::new();
        assert!(seen.announced(Time::ZERO, ID, 0));
        assert_eq!(seen.receive(Time::ZERO, ID, from(1)).0, Receipt::New);
        let (receipt, entry) = seen.receive(Time::ZERO, ID, from(2));
        assert_eq!((receipt, entry.path, entry.copies), (Receipt::Duplicate, from(1), 2));
        assert!(!seen.announced(Time::ZERO, ID, 3));
        assert!([1, 2, 3].iter().all(|slot| seen.get(ID).unwrap().holders.contains(*slot)));
        seen.link_lost(2);
        assert!(!seen.get(ID).unwrap().holders.contains(2));
    }

    #[test]
    fn refusals_pass_unless_final() {
        let mut seen = Seen::new();
        let receive = |seen: &mut Seen, now| seen.receive(now, ID, from(0)).0;
        receive(&mut seen, Time::ZERO);
        seen.refused(Time::ZERO, ID, false);
        assert_eq!(receive(&mut seen, Time::ZERO), Receipt::Duplicate);
        assert!(!seen.announced(Time::ZERO, ID, 0));
        let later = Time::ZERO + RETRY_AFTER;
        assert!(seen.announced(later, ID, 0));
        assert_eq!(receive(&mut seen, later), Receipt::New);
        seen.refused(later, ID, true);
        assert_eq!(receive(&mut seen, later + RETRY_AFTER), Receipt::Invalid);
    }
}
