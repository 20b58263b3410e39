//! The nodes that are known of: their signed records, and how trying to reach them went.

use std::{collections::HashMap, time::Duration};

use rand::{Rng, RngExt};
use starling_wire::NodeId;

use super::{
    super::{
        io::{Address, PeerRecord},
        time::Time,
    },
    place::{Place, Reach},
};

/// Nodes remembered. Eight times the view: what slots are filled anew from. Who is in no slot gives way at random.
const MAX_BOOK: usize = 1024;

/// Addresses kept for a node.
const MAX_ADDRESSES: usize = 8;

/// Tries at finding somebody who may give way. With seven eighths in no slot one is enough nearly always.
const TRIES: usize = 16;

/// How old a record may be, and how far ahead of this node's clock. Nodes renew theirs every hour.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
const MAX_AHEAD: Duration = Duration::from_secs(3600);

/// How long a node that is not known to be dead stays where it said it was. Addresses are what nodes say of themselves, and
/// one may get many slots of a view by a false one: when it names another it keeps only those that are its due, for which all
/// that are known are compared. Whoever moved is found at the new place once it is not found at the old one.
const STAYS_FOR: Duration = Duration::from_secs(600);

/// Wait before a node that could not be reached, or turned us away, is dialled again; doubles each time.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_secs(2);

/// Longest wait between two dials of a node.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// What is known of a node that is not necessarily a neighbour.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) record: PeerRecord,
    pub(super) place: Place,
    /// Since when it has been said to be there.
    placed: Time,
    failures: u32,
    not_before: Time,
    /// Could not be reached when it was last tried: it is not to be in the view.
    dead: bool,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It says nothing new, or nothing of use.
    No,
    /// A newer record of a node that is known.
    Newer,
    /// The same, and the node is elsewhere now.
    Moved,
    /// A node that was not known, or may be tried again.
    Node,
}

/// The book.
#[derive(Debug, Default)]
pub(super) struct Book {
    known: Vec<Known>,
    /// Where each node stands among those. Only ever asked for one node, as its order is not that of another run.
    positions: HashMap<NodeId, usize>,
}

impl Book {
    pub(super) fn get(&self, node: &NodeId) -> Option<&Known> {
        self.positions.get(node).map(|at| &self.known[*at])
    }

    fn get_mut(&mut self, node: &NodeId) -> Option<&mut Known> {
        self.positions.get(node).map(|at| &mut self.known[*at])
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// All that may be in the view.
    pub(super) fn alive(&self) -> impl Iterator<Item = (&NodeId, &Place)> + Clone {
        self.known.iter().filter(|known| !known.dead).map(|known| (&known.record.node, &known.place))
    }

    /// Takes a record of a node that is in the book, of which [`fit`] has left something. `None` if it is not.
    pub(super) fn update(&mut self, now: Time, record: &PeerRecord) -> Option<Taken> {
        let known = self.get_mut(&record.node)?;
        let (newer, place) = (record.seq > known.record.seq, place(record));
        let moved = newer && place != known.place;
        if moved && !known.dead && now - known.placed < STAYS_FOR {
            return Some(Taken::No);
        }
        if moved {
            (known.place, known.placed) = (place, now);
        }
        if newer {
            // It may have come back, too.
            known.record = record.clone();
        }
        if known.dead && (newer || known.not_before <= now) {
            known.dead = false;
            return Some(Taken::Node);
        }
        Some(match (moved, newer) {
            (true, _) => Taken::Moved,
            (_, true) => Taken::Newer,
            _ => Taken::No,
        })
    }

    /// Whether all places are taken.
    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= MAX_BOOK
    }

    /// Takes the record of a node that is not in the book. `spare` says who must not give way.
    pub(super) fn insert(
        &mut self,
        now: Time,
        record: PeerRecord,
        spare: impl Fn(&NodeId) -> bool,
        rng: &mut impl Rng,
    ) -> Taken {
        if self.is_full() {
            let mut victims = (0..TRIES).map(|_| rng.random_range(0..self.known.len()));
            let Some(victim) = victims.find(|at| !spare(&self.known[*at].record.node)) else { return Taken::No };
            self.remove(victim);
        }
        self.positions.insert(record.node, self.known.len());
        let place = place(&record);
        self.known.push(Known { record, place, placed: now, failures: 0, not_before: now, dead: false });
        Taken::Node
    }

    fn remove(&mut self, at: usize) {
        let gone = self.known.swap_remove(at);
        self.positions.remove(&gone.record.node);
        if let Some(moved) = self.known.get(at) {
            self.positions.insert(moved.record.node, at);
        }
    }

    /// Whether a node may be dialled now.
    pub(super) fn may_dial(&self, now: Time, node: &NodeId) -> bool {
        self.get(node).is_some_and(|known| known.not_before <= now)
    }

    /// A connection to a node came up.
    pub(super) fn reached(&mut self, node: &NodeId) {
        if let Some(known) = self.get_mut(node) {
            (known.failures, known.dead) = (0, false);
        }
    }

    /// A node is left alone for a while; `dead` says that it could not be reached at all.
    pub(super) fn back_off(&mut self, now: Time, node: &NodeId, dead: bool) {
        if let Some(known) = self.get_mut(node) {
            known.not_before = now + backoff(known.failures);
            known.failures += 1;
            known.dead |= dead;
        }
    }
}

/// Leaves of a record what may be of use to a node that is itself within `reach`; nothing if it is too old. Unix time is
/// in seconds.
///
/// What is out of reach from here is left out, and of the rest all that is not at the first one's place: a record stands
/// for one place, so that nobody is in many networks at once.
pub(super) fn fit(mut record: PeerRecord, reach: Option<Reach>, unix: Option<u64>) -> Option<PeerRecord> {
    if let Some(unix) = unix {
        let (oldest, newest) = (unix.saturating_sub(MAX_AGE.as_secs()), unix + MAX_AHEAD.as_secs());
        if !(oldest..=newest).contains(&record.seq) {
            return None;
        }
    }
    record.addresses.retain(|address| address.0.len() <= Address::MAX_LEN);
    record.addresses.retain(|address| reach.is_none_or(|reach| Place::of(address).reach() >= reach));
    let place = Place::of(record.addresses.first()?);
    record.addresses.retain(|address| Place::of(address) == place);
    record.addresses.truncate(MAX_ADDRESSES);
    Some(record)
}

/// Where a record says its node is.
pub(super) fn place(record: &PeerRecord) -> Place {
    record.addresses.first().map(Place::of).unwrap_or_default()
}

/// The wait after so many failures.
pub(super) fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << failures.min(16)).min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn node(i: u16) -> NodeId {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&i.to_be_bytes());
        NodeId(id)
    }

    fn ip(ip: [u8; 4], port: u8) -> Address {
        Address([&[4][..], &ip, &[6, 0, port]].concat().into())
    }

    fn record(i: u16, seq: u64) -> PeerRecord {
        PeerRecord { node: node(i), seq, addresses: vec![ip([i as u8; 4], 1)], envelope: vec![i as u8; 9].into() }
    }

    #[test]
    fn the_book_is_bounded_and_newer_records_win() {
        let (mut book, mut rng) = (Book::default(), ChaCha8Rng::seed_from_u64(1));
        let mut take = |book: &mut Book, record| match book.update(Time::ZERO, &record) {
            None => book.insert(Time::ZERO, record, |id| *id == node(1), &mut rng),
            Some(taken) => taken,
        };
        assert_eq!(take(&mut book, record(1, 5)), Taken::Node);
        assert_eq!(take(&mut book, record(1, 4)), Taken::No);
        assert_eq!(take(&mut book, record(1, 6)), Taken::Newer);
        for i in 2..3000 {
            assert_eq!(take(&mut book, record(i, 1)), Taken::Node);
        }
        assert_eq!((book.len(), book.positions.len()), (MAX_BOOK, MAX_BOOK));
        assert_eq!(book.get(&node(1)).unwrap().record.seq, 6, "spared");
        assert!(book.known.iter().enumerate().all(|(at, known)| book.positions[&known.record.node] == at));
    }

    #[test]
    fn the_dead_come_back_after_a_while_or_with_a_new_record() {
        let (mut book, mut rng) = (Book::default(), ChaCha8Rng::seed_from_u64(1));
        assert_eq!(book.update(Time::ZERO, &record(1, 5)), None);
        book.insert(Time::ZERO, record(1, 5), |_| false, &mut rng);
        book.back_off(Time::ZERO, &node(1), true);
        assert_eq!(book.alive().count(), 0);
        assert!(!book.may_dial(Time::ZERO, &node(1)));
        assert_eq!(book.update(Time::ZERO, &record(1, 5)), Some(Taken::No));
        let later = Time::ZERO + FIRST_BACKOFF;
        assert_eq!(book.update(later, &record(1, 5)), Some(Taken::Node));
        book.back_off(later, &node(1), true);
        assert_eq!(book.update(later, &record(1, 6)), Some(Taken::Node));
        assert_eq!(book.alive().count(), 1);
    }

    #[test]
    fn a_node_stays_where_it_said_it_was_for_a_while() {
        let (mut book, mut rng) = (Book::default(), ChaCha8Rng::seed_from_u64(1));
        let elsewhere = |seq| PeerRecord { addresses: record(2, 1).addresses, ..record(1, seq) };
        book.insert(Time::ZERO, record(1, 5), |_| false, &mut rng);
        assert_eq!(book.update(Time::ZERO, &elsewhere(6)), Some(Taken::No));
        assert_eq!(book.get(&node(1)).unwrap().record, record(1, 5));
        let later = Time::ZERO + STAYS_FOR;
        assert_eq!(book.update(later, &elsewhere(6)), Some(Taken::Moved));
        assert_eq!(book.get(&node(1)).unwrap().place, place(&elsewhere(6)));
        assert_eq!(book.update(later, &record(1, 7)), Some(Taken::No));
        // Who is not found there may be anywhere.
        book.back_off(later, &node(1), true);
        assert_eq!(book.update(later, &record(1, 7)), Some(Taken::Node));
        assert_eq!(book.get(&node(1)).unwrap().place, place(&record(1, 7)));
    }

    #[test]
    fn records_are_cut_to_what_is_of_use() {
        let mixed = || PeerRecord {
            addresses: vec![
                ip([127, 0, 0, 1], 1),
                ip([10, 0, 0, 1], 1),
                ip([8, 8, 8, 8], 1),
                ip([8, 8, 8, 8], 2),
                ip([9, 9, 9, 9], 1),
                Address(vec![4; Address::MAX_LEN + 1].into()),
            ],
            ..record(1, 100_000)
        };
        let left = |reach| fit(mixed(), reach, None).map(|record| record.addresses);
        assert_eq!(left(Some(Reach::Public)).unwrap(), [ip([8, 8, 8, 8], 1), ip([8, 8, 8, 8], 2)]);
        assert_eq!(left(Some(Reach::Private)).unwrap(), [ip([10, 0, 0, 1], 1)]);
        assert_eq!(left(None).unwrap(), [ip([127, 0, 0, 1], 1)]);
        let local = PeerRecord { addresses: vec![ip([127, 0, 0, 1], 1)], ..record(1, 1) };
        assert_eq!(fit(local, Some(Reach::Private), None), None);
        let at = |unix| fit(mixed(), None, Some(unix)).is_some();
        assert!(at(100_000) && at(100_000 + 24 * 3600) && at(100_000 - 3600));
        assert!(!at(100_001 + 24 * 3600) && !at(100_000 - 3601));
    }

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        assert_eq!(backoff(0), FIRST_BACKOFF);
        assert_eq!(backoff(1), FIRST_BACKOFF * 2);
        assert_eq!(backoff(u32::MAX), MAX_BACKOFF);
    }
}
