//! What passed by lately: what became of it, which way it came, and which neighbours are known to have it. What came before
//! that is in the pool, or in a block.

use std::time::Duration;

use lru::LruCache;
use starling_wire::ShortId;

use super::{
    super::{peers::Mask, time::Time},
    past::Past,
    routes::{LOCAL, LOST, Path},
};

/// Most transactions of which all is remembered, about 140 bytes each. At 2,000 per second this is a minute, many times
/// what a transaction takes to cross a network.
const CAPACITY: usize = 128 * 1024;

/// For how long after its first copy all is remembered of a transaction, unless copies still come. Long enough for all that
/// is learned and said of it; longer takes memory.
const FRESH: Duration = Duration::from_secs(60);

/// How long a transaction that was refused for a reason that may pass (a full pool, a nonce too high) is not looked at
/// again. Shorter repeats useless checks, longer delays a second chance. Each time that it is refused again it is twice as long,
/// up to [`MAX_DOUBLINGS`] times: pools that differ for good would exchange what they do not want without end.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// See [`RETRY_AFTER`]. It is forgotten after [`FRESH`] at the earliest.
const MAX_DOUBLINGS: u32 = 3;

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
    /// Neighbours it was pushed to unasked, that have not said that they did not need it.
    pub(super) pushed: Mask,
    /// Whether their silence was taken for need.
    pub(super) credited: bool,
    /// Neighbours that asked for it although they were known to have it, or to be sent it.
    pub(super) again: Mask,
    /// The way of the first copy.
    pub(super) path: Path,
    /// When the first copy came.
    pub(super) since: Time,
    /// Copies that came, the first included.
    pub(super) copies: u8,
    /// How often it was refused for a while.
    refusals: u8,
}

impl Entry {
    fn new(now: Time, path: Path) -> Self {
        Self {
            fate: Fate::RefusedUntil(now),
            holders: Mask::default(),
            told: Mask::default(),
            pushed: Mask::default(),
            credited: false,
            again: Mask::default(),
            path,
            since: now,
            copies: 0,
            refusals: 0,
        }
    }

    /// One of which nobody knows any more how it came: every further copy is one too many.
    fn of_the_past(now: Time) -> Self {
        Self { fate: Fate::Taken, copies: u8::MAX, ..Self::new(now, Path::UNKNOWN) }
    }

    /// Whether a neighbour has it or was told of it.
    pub(super) fn is_informed(&self, slot: u8) -> bool {
        self.holders.contains(slot) || self.told.contains(slot)
    }

    /// Notes that a neighbour lacks it, whatever was believed, and is told of it now.
    pub(super) fn lacks(&mut self, slot: u8) {
        self.holders.remove(slot);
        self.pushed.remove(slot);
        self.again.remove(slot);
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

/// What an announcement is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// Nothing: it is known.
    Nothing,
    /// To ask for it.
    Asking,
    /// To ask for it once more: it was refused, some time ago.
    SecondLook,
}

/// The set of transactions seen; of the one whose last copy came longest ago the details are the first to go.
#[derive(Debug)]
pub(super) struct Seen {
    fresh: LruCache<ShortId, Entry>,
    past: Past,
}

impl Seen {
    pub(super) fn new() -> Self {
        // Room is taken as it is needed: most nodes never remember so many.
        Self { fresh: LruCache::unbounded(), past: Past::default() }
    }

    /// Notes that a copy came in, of something that is in the pool or not; from a neighbour unless the path's ingress is
    /// local.
    pub(super) fn receive(
        &mut self,
        now: Time,
        id: ShortId,
        path: Path,
        is_pooled: impl FnOnce() -> bool,
    ) -> (Receipt, &mut Entry) {
        if !self.fresh.contains(&id) {
            self.make_room(now);
        }
        let past = &self.past;
        let entry = self.fresh.get_or_insert_mut(id, || {
            let passed_by = past.contains(&id) || is_pooled();
            if passed_by { Entry::of_the_past(now) } else { Entry::new(now, path) }
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
                // What was pushed before came another way.
                entry.pushed = Mask::default();
                Receipt::New
            }
        };
        (receipt, entry)
    }

    /// Notes that it was submitted here and taken in, whatever became of it before.
    pub(super) fn submitted(&mut self, now: Time, id: ShortId) {
        let path = Path { ingress: LOCAL, labels: [0; 3] };
        let (_, entry) = self.receive(now, id, path, || false);
        (entry.fate, entry.path) = (Fate::Taken, path);
    }

    /// What is remembered of a transaction that is in the pool; if it came long ago, no more than that.
    pub(super) fn recall(&mut self, now: Time, id: ShortId) -> &mut Entry {
        if !self.fresh.contains(&id) {
            self.make_room(now);
        }
        self.fresh.get_or_insert_mut(id, || Entry::of_the_past(now))
    }

    /// Makes room for one more. Two go for one that comes: of a busy time, what is remembered goes little by little.
    fn make_room(&mut self, now: Time) {
        for _ in 0..2 {
            let is_due = |(_, entry): (_, &Entry)| now - entry.since >= FRESH;
            if self.fresh.len() < CAPACITY && !self.fresh.peek_lru().is_some_and(is_due) {
                return;
            }
            self.fresh.pop_lru();
        }
    }

    /// Notes that a neighbour announced it.
    pub(super) fn announced(&mut self, now: Time, id: ShortId, slot: u8, is_pooled: impl FnOnce() -> bool) -> Worth {
        match self.fresh.peek_mut(&id) {
            None if self.past.contains(&id) || is_pooled() => Worth::Nothing,
            None => Worth::Asking,
            Some(entry) => {
                entry.holders.insert(slot);
                match entry.fate {
                    Fate::RefusedUntil(time) if now >= time => Worth::SecondLook,
                    _ => Worth::Nothing,
                }
            }
        }
    }

    /// Notes a refusal, for good (`invalid`) or for a while.
    pub(super) fn refused(&mut self, now: Time, id: ShortId, invalid: bool) {
        self.past.remove(&id);
        if let Some(entry) = self.get(id) {
            let wait = RETRY_AFTER * (1 << u32::from(entry.refusals).min(MAX_DOUBLINGS));
            entry.refusals = entry.refusals.saturating_add(1);
            entry.fate = if invalid { Fate::Invalid } else { Fate::RefusedUntil(now + wait) };
        }
    }

    /// Notes that a transaction was in the pool for as long as it may. Until neighbours have let go of it, too, it is not
    /// looked at; if somebody has it after that, it is as good as a new one.
    pub(super) fn expired(&mut self, now: Time, id: ShortId) {
        self.forget(id);
        self.make_room(now);
        let fate = Fate::RefusedUntil(now + FRESH);
        self.fresh.put(id, Entry { fate, ..Entry::of_the_past(now) });
    }

    /// Notes that a block took it out of the pool, or came before it.
    pub(super) fn included(&mut self, now: Time, id: ShortId) {
        self.past.insert(now, id);
    }

    /// Makes as though it had never come.
    pub(super) fn forget(&mut self, id: ShortId) {
        self.fresh.pop(&id);
        self.past.remove(&id);
    }

    /// What is remembered of a transaction, unless it is that it came long ago. Only copies keep it from being forgotten:
    /// talk about it does not.
    pub(super) fn get(&mut self, id: ShortId) -> Option<&mut Entry> {
        self.fresh.peek_mut(&id)
    }

    /// A link is gone: its bit will name another neighbour.
    pub(super) fn link_lost(&mut self, slot: u8) {
        for (_, entry) in self.fresh.iter_mut() {
            entry.holders.remove(slot);
            entry.told.remove(slot);
            entry.pushed.remove(slot);
            entry.again.remove(slot);
            if entry.path.ingress == slot {
                entry.path.ingress = LOST;
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

    /// What is not in the pool.
    fn receive(seen: &mut Seen, now: Time, id: ShortId, path: Path) -> (Receipt, &mut Entry) {
        seen.receive(now, id, path, || false)
    }

    fn announced(seen: &mut Seen, now: Time, id: ShortId, slot: u8) -> bool {
        seen.announced(now, id, slot, || false) != Worth::Nothing
    }

    #[test]
    fn a_transaction_is_new_once() {
        let mut seen = Seen::new();
        assert!(announced(&mut seen, Time::ZERO, ID, 0));
        assert_eq!(receive(&mut seen, Time::ZERO, ID, from(1)).0, Receipt::New);
        let (receipt, entry) = receive(&mut seen, Time::ZERO, ID, from(2));
        assert_eq!((receipt, entry.path, entry.copies), (Receipt::Duplicate, from(1), 2));
        assert!(!announced(&mut seen, Time::ZERO, ID, 3));
        assert!([1, 2, 3].iter().all(|slot| seen.get(ID).unwrap().holders.contains(*slot)));
        seen.link_lost(2);
        assert!(!seen.get(ID).unwrap().holders.contains(2));
    }

    #[test]
    fn of_what_came_long_ago_only_that_is_known() {
        let id = |number: u64| ShortId(number.to_be_bytes());
        let mut seen = Seen::new();
        for number in 0..100 {
            receive(&mut seen, Time::ZERO, id(number), from(0));
        }
        (2..100).for_each(|number| seen.included(Time::ZERO, id(number)));
        seen.refused(Time::ZERO, id(1), false);
        receive(&mut seen, Time::after(Duration::from_secs(1)), id(0), from(1));
        let later = Time::ZERO + FRESH;
        for number in 100..149 {
            receive(&mut seen, later, id(number), from(0));
        }
        assert_eq!(seen.fresh.len(), 51, "two went for each that came, the one of which another copy came last");
        assert!(seen.get(id(0)).is_some() && seen.get(id(99)).is_some() && seen.get(id(98)).is_none());
        assert!(!announced(&mut seen, later, id(98), 3));
        let (receipt, entry) = receive(&mut seen, later, id(98), from(3));
        assert_eq!((receipt, entry.path.ingress, entry.copies), (Receipt::Duplicate, LOST, u8::MAX));
        assert!(entry.holders.contains(3), "this neighbour has it, now that it came back");
        assert!(announced(&mut seen, later, id(1), 3), "what was refused may come again");
        seen.refused(later, id(97), false);
        assert_eq!(receive(&mut seen, later, id(97), from(3)).0, Receipt::New, "and so may what the pool made room of");
        seen.expired(later, id(96));
        assert!(!announced(&mut seen, later, id(96), 3));
        assert_eq!(receive(&mut seen, later, id(96), from(3)).0, Receipt::Duplicate);
        assert!(announced(&mut seen, later + FRESH, id(96), 3), "what expired is as good as new in the end");
        seen.submitted(later, id(96));
        assert!(!announced(&mut seen, later + FRESH, id(96), 3), "unless it was submitted here meanwhile");
    }

    #[test]
    fn what_is_in_the_pool_came_whether_that_is_remembered_or_not() {
        let mut seen = Seen::new();
        assert_eq!(seen.announced(Time::ZERO, ID, 0, || true), Worth::Nothing);
        let (receipt, entry) = seen.receive(Time::ZERO, ID, from(1), || true);
        assert_eq!((receipt, entry.path, entry.copies), (Receipt::Duplicate, Path::UNKNOWN, u8::MAX));
        let asked = ShortId([2; 8]);
        seen.recall(Time::ZERO, asked).holders.insert(3);
        assert!(seen.get(asked).unwrap().holders.contains(3));
        assert_eq!(receive(&mut seen, Time::ZERO, asked, from(4)).0, Receipt::Duplicate);
    }

    #[test]
    fn refusals_pass_unless_final() {
        let mut seen = Seen::new();
        let receive = |seen: &mut Seen, now| receive(seen, now, ID, from(0)).0;
        receive(&mut seen, Time::ZERO);
        seen.refused(Time::ZERO, ID, false);
        assert_eq!(receive(&mut seen, Time::ZERO), Receipt::Duplicate);
        assert!(!announced(&mut seen, Time::ZERO, ID, 0));
        let later = Time::ZERO + RETRY_AFTER;
        assert!(announced(&mut seen, later, ID, 0));
        assert_eq!(receive(&mut seen, later), Receipt::New);
        seen.refused(later, ID, true);
        assert_eq!(receive(&mut seen, later + RETRY_AFTER), Receipt::Invalid);
    }
}
