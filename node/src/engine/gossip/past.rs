//! Ids of transactions that blocks took out of the pool lately: no copy of them is looked at again.

use std::{collections::BTreeSet, time::Duration};

use starling_wire::ShortId;

use super::super::time::Time;

/// Most ids of a generation, about 13 bytes each.
const GENERATION: usize = 128 * 1024;

/// How long a generation lasts, unless it is full before. Whoever offers one after that lacks a block that is older; it
/// sends it in vain.
const LASTS: Duration = Duration::from_secs(120);

/// The last one to two generations of ids. Room is taken as it is needed.
#[derive(Debug, Default)]
pub(super) struct Past {
    young: BTreeSet<ShortId>,
    old: BTreeSet<ShortId>,
    /// When the young generation began.
    since: Time,
}

impl Past {
    pub(super) fn insert(&mut self, now: Time, id: ShortId) {
        if self.young.len() >= GENERATION || now - self.since >= LASTS {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        self.young.insert(id);
    }

    pub(super) fn contains(&self, id: &ShortId) -> bool {
        self.young.contains(id) || self.old.contains(id)
    }

    pub(super) fn remove(&mut self, id: &ShortId) {
        self.young.remove(id);
        self.old.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ids_are_known_and_memory_is_bounded() {
        let id = |number: usize| ShortId((number as u64).to_be_bytes());
        let mut past = Past::default();
        let last = 3 * GENERATION + GENERATION / 2;
        for number in 0..last {
            past.insert(Time::ZERO, id(number));
            assert!(past.young.len() + past.old.len() <= 2 * GENERATION);
        }
        assert!((last - GENERATION..last).all(|number| past.contains(&id(number))));
        assert!(!past.contains(&id(0)));
        past.remove(&id(last - 1));
        past.remove(&id(last - GENERATION));
        assert!(!past.contains(&id(last - 1)) && !past.contains(&id(last - GENERATION)));
    }

    #[test]
    fn few_ids_are_not_kept_for_ever() {
        let id = |number: u64| ShortId(number.to_be_bytes());
        let mut past = Past::default();
        for second in 0..1000 {
            past.insert(Time::after(Duration::from_secs(second)), id(second));
            assert!((second.saturating_sub(120)..=second).all(|recent| past.contains(&id(recent))));
            assert!(past.young.len() + past.old.len() <= 240);
        }
    }
}
