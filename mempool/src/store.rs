//! What a pool holds, and the indexes over it. Policy is elsewhere: this does what it is told and keeps the indexes in
//! agreement.
//!
//! Transactions lie in one slab; indexes hold their 4-byte slots. All indexes are trees, as whoever can grind ids or
//! keys could make a hash table without secrets degenerate.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

use slab::Slab;
use starling_wire::{AccountId, Fingerprint, ShortId, SignedTx, Slice, TxId, VerifiedTx};

use crate::{
    fingerprints::Fingerprints,
    ordering::{FeeRate, Rank},
    pool::{Origin, Place},
    sender::Sender,
};

/// Where a transaction lies.
pub(crate) type Slot = u32;

/// Where a sender's queue lies, while it has one.
pub(crate) type SenderSlot = u32;

/// A transaction as the pool keeps it.
#[derive(Debug)]
pub(crate) struct Pooled {
    pub(crate) tx: VerifiedTx,
    pub(crate) rank: Rank,
    /// When it is too old.
    pub(crate) expires: Duration,
    pub(crate) origin: Origin,
    sender: SenderSlot,
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

    /// Where its sender's queue lies.
    pub(crate) fn sender_slot(&self) -> SenderSlot {
        self.sender
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
    /// By the first eight bytes of the id, as a number.
    ids: BTreeSet<(u64, Slot)>,
    /// Nobody in it is without transactions.
    senders: Slab<Sender>,
    by_account: BTreeMap<AccountId, SenderSlot>,
    pub(crate) by_rank: BTreeMap<Rank, Slot>,
    /// The part of `by_rank` that is queued.
    pub(crate) queued: BTreeMap<Rank, Slot>,
    /// The part of `by_rank` that has its account's next nonce.
    pub(crate) heads: BTreeMap<Rank, Slot>,
    /// By when they are too old.
    pub(crate) by_time: BTreeSet<(Duration, Slot)>,
    /// Those with a last height, by it.
    pub(crate) by_height: BTreeSet<(u64, Slot)>,
    bytes: usize,
    fingerprints: Fingerprints,
}

fn number(id: &ShortId) -> u64 {
    u64::from_be_bytes(id.0)
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
        self.by_account.len()
    }

    pub(crate) fn sender(&self, id: &AccountId) -> Option<&Sender> {
        self.by_account.get(id).map(|slot| &self.senders[*slot as usize])
    }

    /// The queue that a transaction of this store is in.
    pub(crate) fn sender_of(&self, pooled: &Pooled) -> &Sender {
        &self.senders[pooled.sender as usize]
    }

    fn with_short(&self, id: &ShortId) -> impl Iterator<Item = Slot> {
        self.ids.range((number(id), 0)..=(number(id), Slot::MAX)).map(|(_, slot)| *slot)
    }

    pub(crate) fn find(&self, id: &TxId) -> Option<Slot> {
        self.with_short(&id.short()).find(|slot| self.slots.get(*slot).tx.id() == *id)
    }

    pub(crate) fn find_short(&self, id: &ShortId) -> Option<Slot> {
        self.with_short(id).min_by_key(|slot| self.slots.get(*slot).tx.id())
    }

    pub(crate) fn short_ids(&self, range: RangeInclusive<ShortId>) -> impl Iterator<Item = ShortId> + '_ {
        let mut last = None;
        let all = self.ids.range((number(range.start()), 0)..=(number(range.end()), Slot::MAX));
        all.map(|(id, _)| *id).filter(move |id| last.replace(*id) != Some(*id)).map(|id| ShortId(id.to_be_bytes()))
    }

    /// What is held of a slice, in short.
    pub(crate) fn fingerprint(&self, slice: Slice) -> Fingerprint {
        self.fingerprints.of(slice).unwrap_or_else(|| {
            let (first, last) = slice.range().into_inner();
            let ids = self.ids.range((number(&first), 0)..=(number(&last), Slot::MAX));
            ids.map(|(_, slot)| Fingerprint::of(&self.slots.get(*slot).tx.id()))
                .fold(Fingerprint::default(), Fingerprint::and)
        })
    }

    pub(crate) fn place(&self, slot: Slot) -> Place {
        let pooled = self.slots.get(slot);
        self.sender_of(pooled).place(pooled.nonce())
    }

    /// The lowest fee per byte up to and including a transaction of `sender` that would stand at `nonce`. It cannot be
    /// included before those below it, so a block producer gains no more by waiting for it than the worst of them
    /// pays.
    pub(crate) fn rate_through(&self, sender: &Sender, nonce: u64, rate: FeeRate) -> FeeRate {
        sender.before(nonce).iter().map(|(_, slot)| self.slots.get(*slot).rank.rate).fold(rate, FeeRate::min)
    }

    /// The transaction that comes after one of the same sender.
    pub(crate) fn follower(&self, pooled: &Pooled) -> Option<Slot> {
        // A pool never has the nonce u64::MAX.
        self.sender_of(pooled).get(pooled.nonce().saturating_add(1))
    }

    /// Puts a transaction into all indexes, for an account whose nonce is `base`. Returns the one it replaced.
    pub(crate) fn insert(
        &mut self,
        tx: VerifiedTx,
        rank: Rank,
        expires: Duration,
        origin: Origin,
        base: u64,
    ) -> Option<Pooled> {
        let sender = *self.by_account.entry(tx.sender()).or_insert_with(|| {
            // There are no more senders than transactions, and of these fewer than fill a slot's 32 bits.
            self.senders.insert(Sender::default()) as SenderSlot
        });
        let slot = self.slots.0.insert(Pooled { tx, rank, expires, origin, sender }) as Slot;
        let pooled = self.slots.get(slot);
        self.bytes += pooled.len();
        self.fingerprints.add(&pooled.tx.id());
        self.ids.insert((number(&pooled.tx.short_id()), slot));
        self.by_rank.insert(rank, slot);
        self.by_time.insert((expires, slot));
        self.by_height.extend(pooled.tx.transaction().valid_until.map(|height| (height, slot)));
        let nonce = pooled.nonce();
        let old = self.senders[sender as usize].insert(slot, pooled).map(|old| self.take(old));
        let queue = &mut self.senders[sender as usize];
        if let Some(old) = &old {
            queue.forget(old);
        }
        self.settle(sender, base);
        let queue = &self.senders[sender as usize];
        if queue.place(nonce) == Place::Queued {
            self.queued.insert(rank, slot);
        }
        if nonce == queue.base() {
            self.heads.insert(rank, slot);
        }
        old
    }

    /// Makes a transaction one of a user's, to be kept until a time.
    pub(crate) fn vouch(&mut self, slot: Slot, expires: Duration) {
        let pooled = &mut self.slots.0[slot as usize];
        self.by_time.remove(&(pooled.expires, slot));
        (pooled.origin, pooled.expires) = (Origin::Local, expires);
        self.by_time.insert((expires, slot));
    }

    /// Takes a transaction out of everything.
    pub(crate) fn remove(&mut self, slot: Slot) -> Pooled {
        let pooled = self.take(slot);
        let sender = &mut self.senders[pooled.sender as usize];
        sender.remove(&pooled);
        let base = sender.base();
        if sender.is_empty() {
            self.senders.remove(pooled.sender as usize);
            self.by_account.remove(&pooled.tx.sender());
        } else {
            self.settle(pooled.sender, base);
        }
        pooled
    }

    /// Follows an account's nonce: finds anew which of the sender's are pending.
    pub(crate) fn follow(&mut self, id: &AccountId, base: u64) {
        if let Some(sender) = self.by_account.get(id) {
            self.settle(*sender, base);
        }
    }

    fn settle(&mut self, sender: SenderSlot, base: u64) {
        let Self { slots, senders, queued, heads, .. } = self;
        let sender = &mut senders[sender as usize];
        let old_base = sender.base();
        sender.settle(base, |slot, place| {
            let rank = slots.get(slot).rank;
            match place {
                Place::Pending => drop(queued.remove(&rank)),
                Place::Queued => drop(queued.insert(rank, slot)),
            }
        });
        if base != old_base {
            if let Some(slot) = sender.get(old_base) {
                heads.remove(&slots.get(slot).rank);
            }
            if let Some(slot) = sender.get(base) {
                heads.insert(slots.get(slot).rank, slot);
            }
        }
    }

    /// Takes a transaction out of everything but its sender's queue.
    fn take(&mut self, slot: Slot) -> Pooled {
        let pooled = self.slots.0.remove(slot as usize);
        self.bytes -= pooled.len();
        self.fingerprints.remove(&pooled.tx.id());
        self.ids.remove(&(number(&pooled.tx.short_id()), slot));
        self.by_time.remove(&(pooled.expires, slot));
        if let Some(height) = pooled.tx.transaction().valid_until {
            self.by_height.remove(&(height, slot));
        }
        self.by_rank.remove(&pooled.rank);
        self.queued.remove(&pooled.rank);
        if pooled.nonce() == self.senders[pooled.sender as usize].base() {
            self.heads.remove(&pooled.rank);
        }
        pooled
    }

    /// Holds the indexes against each other.
    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) {
        let all: Vec<_> = self.slots.0.iter().map(|(slot, pooled)| (slot as Slot, pooled)).collect();
        let len = all.len();
        assert_eq!((self.ids.len(), self.by_rank.len(), self.by_time.len()), (len, len, len));
        for slice in Slice::ALL.parts(0).chain(Slice::ALL.parts(3)).chain(Slice::ALL.parts(9)) {
            let ids = all.iter().map(|(_, pooled)| pooled.tx.id()).filter(|id| slice.contains(&id.short()));
            let expected = ids.map(|id| Fingerprint::of(&id)).fold(Fingerprint::default(), Fingerprint::and);
            assert_eq!(self.fingerprint(slice), expected);
        }
        let (mut queued, mut heads, mut with_height, mut bytes) = (0, 0, 0, 0);
        for (slot, pooled) in &all {
            assert!(self.ids.contains(&(number(&pooled.tx.short_id()), *slot)));
            assert!(self.by_time.contains(&(pooled.expires, *slot)));
            assert_eq!(self.by_rank.get(&pooled.rank), Some(slot));
            let is_queued = self.place(*slot) == Place::Queued;
            assert_eq!(self.queued.get(&pooled.rank), is_queued.then_some(slot));
            assert_eq!(self.by_account[&pooled.tx.sender()], pooled.sender);
            assert_eq!(self.sender_of(pooled).get(pooled.nonce()), Some(*slot));
            let is_head = self.sender_of(pooled).base() == pooled.nonce();
            assert_eq!(self.heads.get(&pooled.rank), is_head.then_some(slot));
            heads += usize::from(is_head);
            queued += usize::from(is_queued);
            bytes += pooled.len();
            if let Some(height) = pooled.tx.transaction().valid_until {
                assert!(self.by_height.contains(&(height, *slot)));
                with_height += 1;
            }
        }
        assert_eq!((self.queued.len(), self.heads.len()), (queued, heads));
        assert_eq!((self.by_height.len(), self.bytes), (with_height, bytes));
        let mut counted = 0;
        assert_eq!(self.senders.len(), self.by_account.len());
        for (id, sender) in &self.by_account {
            let sender = &self.senders[*sender as usize];
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
