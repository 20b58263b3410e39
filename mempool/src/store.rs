//! What a pool holds, and the indexes over it. Policy is elsewhere: this does what it is told and keeps the indexes in
//! agreement.
//!
//! Transactions lie in one slab; indexes hold their 4-byte slots. All indexes are trees, as whoever can grind ids or
//! keys could make a hash table without secrets degenerate.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use slab::Slab;
use starling_wire::{AccountId, ShortId, SignedTx, TxId, VerifiedTx};

use crate::{
    ordering::{FeeRate, Rank},
    pool::{Origin, Place},
    sender::Sender,
};

/// Where a transaction lies in the slab.
pub(crate) type Slot = u32;

/// A transaction as the pool keeps it.
#[derive(Debug)]
pub(crate) struct Pooled {
    pub(crate) tx: VerifiedTx,
    pub(crate) rank: Rank,
    /// When it is too old.
    pub(crate) expires: Duration,
    pub(crate) origin: Origin,
}

impl Pooled {
    pub(crate) fn nonce(&self) -> u64 {
        self.tx.transaction().nonce
    }

    /// Bytes of the encoding.
    pub(crate) fn len(&self) -> usize {
        self.tx.bytes().len()
    }

    /// What it takes from its sender. It was admitted, so a balance of 64 bits covers it.
    pub(crate) fn cost64(&self) -> u64 {
        self.tx.transaction().amount.saturating_add(self.tx.transaction().fee)
    }

    #[cfg(test)]
    pub(crate) fn for_tests(tx: VerifiedTx, arrival: u64) -> Self {
        Self { rank: Rank::new(&tx, arrival), tx, expires: Duration::ZERO, origin: Origin::Peer }
    }
}

/// What a transaction takes from its sender. Two u64 do not overflow.
pub(crate) fn cost(tx: &SignedTx) -> u128 {
    u128::from(tx.transaction().amount) + u128::from(tx.transaction().fee)
}

/// The transactions themselves.
#[derive(Debug, Default)]
pub(crate) struct Slots(Slab<Pooled>);

impl Slots {
    /// The transaction in a slot that an index names.
    pub(crate) fn get(&self, slot: Slot) -> &Pooled {
        &self.0[slot as usize]
    }
}

/// The transactions of a pool and the indexes over them.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) slots: Slots,
    ids: BTreeSet<(ShortId, Slot)>,
    /// Nobody in it is without transactions.
    senders: BTreeMap<AccountId, Sender>,
    pub(crate) by_rank: BTreeMap<Rank, Slot>,
    /// The part of `by_rank` that is queued.
    pub(crate) queued: BTreeMap<Rank, Slot>,
    /// By when they are too old.
    pub(crate) by_time: BTreeSet<(Duration, Slot)>,
    /// Those with a last height, by it.
    pub(crate) by_height: BTreeSet<(u64, Slot)>,
    bytes: usize,
}

impl Store {
    pub(crate) fn len(&self) -> usize {
        self.by_rank.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many senders have transactions.
    pub(crate) fn sender_count(&self) -> usize {
        self.senders.len()
    }

    pub(crate) fn sender(&self, id: &AccountId) -> Option<&Sender> {
        self.senders.get(id)
    }

    pub(crate) fn sender_mut(&mut self, id: &AccountId) -> Option<&mut Sender> {
        self.senders.get_mut(id)
    }

    fn with_short(&self, id: ShortId) -> impl Iterator<Item = Slot> {
        self.ids.range((id, 0)..=(id, Slot::MAX)).map(|(_, slot)| *slot)
    }

    pub(crate) fn find(&self, id: &TxId) -> Option<Slot> {
        self.with_short(id.short()).find(|slot| self.slots.get(*slot).tx.id() == *id)
    }

    pub(crate) fn find_short(&self, id: &ShortId) -> Option<Slot> {
        self.with_short(*id).min_by_key(|slot| self.slots.get(*slot).tx.id())
    }

    pub(crate) fn place(&self, slot: Slot) -> Place {
        let pooled = self.slots.get(slot);
        self.sender(&pooled.tx.sender()).map_or(Place::Queued, |sender| sender.place(pooled.nonce()))
    }

    /// The lowest fee per byte up to and including a transaction of `sender` that would stand at `nonce`. It cannot be
    /// included before those below it, so a block producer gains no more by waiting for it than the worst of them
    /// pays.
    pub(crate) fn rate_through(&self, sender: &Sender, nonce: u64, rate: FeeRate) -> FeeRate {
        sender.before(nonce).iter().map(|(_, slot)| self.slots.get(*slot).rank.rate).fold(rate, FeeRate::min)
    }

    /// Puts a transaction into all indexes, for an account whose nonce is `base`. Returns the one it replaced.
    pub(crate) fn insert(&mut self, pooled: Pooled, base: u64) -> Option<Pooled> {
        let (sender, rank, nonce) = (pooled.tx.sender(), pooled.rank, pooled.nonce());
        self.bytes += pooled.len();
        let entry = self.slots.0.vacant_entry();
        let slot = entry.key() as Slot;
        let pooled = entry.insert(pooled);
        self.ids.insert((pooled.tx.short_id(), slot));
        self.by_rank.insert(rank, slot);
        self.by_time.insert((pooled.expires, slot));
        self.by_height.extend(pooled.tx.transaction().valid_until.map(|height| (height, slot)));
        let queue = self.senders.entry(sender).or_default();
        if queue.place(nonce) == Place::Queued {
            self.queued.insert(rank, slot);
        }
        let replaced = queue.insert(slot, pooled);
        let old = replaced.map(|slot| self.take(slot));
        if let (Some(old), Some(queue)) = (&old, self.senders.get_mut(&sender)) {
            queue.forget(old);
        }
        self.settle(&sender, base);
        old
    }

    /// Takes a transaction out of everything.
    pub(crate) fn remove(&mut self, slot: Slot) -> Pooled {
        let pooled = self.take(slot);
        let id = pooled.tx.sender();
        if let Some(sender) = self.senders.get_mut(&id) {
            sender.remove(&pooled);
            let base = sender.base();
            if sender.is_empty() {
                self.senders.remove(&id);
            } else {
                self.settle(&id, base);
            }
        }
        pooled
    }

    /// Follows an account's nonce: finds anew which of the sender's are pending.
    pub(crate) fn settle(&mut self, id: &AccountId, base: u64) {
        let Self { slots, senders, queued, .. } = self;
        if let Some(sender) = senders.get_mut(id) {
            sender.settle(base, |slot, place| {
                let rank = slots.get(slot).rank;
                match place {
                    Place::Pending => drop(queued.remove(&rank)),
                    Place::Queued => drop(queued.insert(rank, slot)),
                }
            });
        }
    }

    /// Takes a transaction out of everything but its sender's queue.
    fn take(&mut self, slot: Slot) -> Pooled {
        let pooled = self.slots.0.remove(slot as usize);
        self.bytes -= pooled.len();
        self.ids.remove(&(pooled.tx.short_id(), slot));
        self.by_time.remove(&(pooled.expires, slot));
        if let Some(height) = pooled.tx.transaction().valid_until {
            self.by_height.remove(&(height, slot));
        }
        self.by_rank.remove(&pooled.rank);
        self.queued.remove(&pooled.rank);
        pooled
    }

    /// Holds the indexes against each other.
    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) {
        let all: Vec<_> = self.slots.0.iter().map(|(slot, pooled)| (slot as Slot, pooled)).collect();
        let len = all.len();
        assert_eq!((self.ids.len(), self.by_rank.len(), self.by_time.len()), (len, len, len));
        let (mut queued, mut with_height, mut bytes) = (0, 0, 0);
        for (slot, pooled) in &all {
            assert!(self.ids.contains(&(pooled.tx.short_id(), *slot)));
            assert!(self.by_time.contains(&(pooled.expires, *slot)));
            assert_eq!(self.by_rank.get(&pooled.rank), Some(slot));
            let is_queued = self.place(*slot) == Place::Queued;
            assert_eq!(self.queued.get(&pooled.rank), is_queued.then_some(slot));
            assert_eq!(self.senders[&pooled.tx.sender()].get(pooled.nonce()), Some(*slot));
            queued += usize::from(is_queued);
            bytes += pooled.len();
            if let Some(height) = pooled.tx.transaction().valid_until {
                assert!(self.by_height.contains(&(height, *slot)));
                with_height += 1;
            }
        }
        assert_eq!((self.queued.len(), self.by_height.len(), self.bytes), (queued, with_height, bytes));
        let mut counted = 0;
        for (id, sender) in &self.senders {
            let own = sender.all();
            assert!(!own.is_empty() && own.is_sorted_by(|(a, _), (b, _)| a < b));
            counted += own.len();
            let (mut cost, mut bytes, mut next) = (0, 0, sender.base());
            for (nonce, slot) in own {
                let pooled = self.slots.get(*slot);
                assert_eq!((pooled.tx.sender(), pooled.nonce()), (*id, *nonce));
                (cost, bytes) = (cost + u128::from(pooled.cost64()), bytes + pooled.len());
                assert_eq!(sender.place(*nonce) == Place::Pending, *nonce <= next);
                next = if *nonce == next { next + 1 } else { next };
            }
            assert_eq!((sender.cost(), sender.bytes()), (cost, bytes));
        }
        assert_eq!(counted, len);
    }
}
