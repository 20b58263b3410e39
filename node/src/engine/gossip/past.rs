//! Ids of transactions that were taken in longer ago, and nothing else about them: no copy of them is looked at again.

use std::collections::BTreeSet;

use starling_wire::ShortId;

/// Ids of a generation, about 13 bytes each. At 20 per second one lasts for nearly two hours, at 1,000 for two minutes:
/// many times what a copy takes to cross a network. What is in the pool for longer is found there.
const GENERATION: usize = 128 * 1024;

/// The last one to two generations of ids. Room is taken as it is needed.
#[derive(Debug, Default)]
pub(super) struct Past {
    young: BTreeSet<ShortId>,
    old: BTreeSet<ShortId>,
}

impl Past {
    pub(super) fn insert(&mut self, id: ShortId) {
        self.young.insert(id);
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
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
            past.insert(id(number));
            assert!(past.young.len() + past.old.len() < 2 * GENERATION);
        }
        assert!((last - GENERATION..last).all(|number| past.contains(&id(number))));
        assert!(!past.contains(&id(0)));
        past.remove(&id(last - 1));
        past.remove(&id(last - GENERATION));
        assert!(!past.contains(&id(last - 1)) && !past.contains(&id(last - GENERATION)));
    }
}
