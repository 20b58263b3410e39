//! What can be asked of a pool.

use std::{
    collections::{BinaryHeap, binary_heap::PeekMut},
    ops::RangeInclusive,
    time::Duration,
};

use starling_wire::{AccountId, Fingerprint, ShortId, Slice, TxId, VerifiedTx, limits::TX_OVERHEAD};

use super::{Mempool, Origin, Place, PoolStatus, SenderStatus};
use crate::{
    config::PoolConfig,
    fingerprints,
    ledger::AccountView,
    ordering::Rank,
    sender::Sender,
    store::{Pooled, Slot},
};

impl Mempool {
    /// Its limits.
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    fn pooled(&self, id: &TxId) -> Option<&Pooled> {
        self.store.find(id).map(|slot| self.store.slots.get(slot))
    }

    /// A transaction by its id.
    pub fn get(&self, id: &TxId) -> Option<&VerifiedTx> {
        self.pooled(id).map(|pooled| &pooled.tx)
    }

    /// A transaction by its id as used in announcements; the one with the lowest id if there are several.
    pub fn get_short(&self, id: &ShortId) -> Option<&VerifiedTx> {
        self.store.find_short(id).map(|slot| &self.store.slots.get(slot).tx)
    }

    /// The ids used in announcements that are in a range, in order, each once.
    pub fn short_ids(&self, range: RangeInclusive<ShortId>) -> impl Iterator<Item = ShortId> + '_ {
        self.store.short_ids(range)
    }

    /// Slices of more bits than this have to be looked through to know what the pool holds of them.
    pub const SUMMED_BITS: u8 = fingerprints::BITS;

    /// What the pool holds of a slice of ids, in short. Takes the same time however much that is, up to
    /// [`Self::SUMMED_BITS`].
    pub fn fingerprint(&self, slice: Slice) -> Fingerprint {
        self.store.fingerprint(slice)
    }

    /// Whether the pool has a transaction.
    pub fn contains(&self, id: &TxId) -> bool {
        self.store.find(id).is_some()
    }

    /// Where a transaction is.
    pub fn place(&self, id: &TxId) -> Option<Place> {
        self.store.find(id).map(|slot| self.store.place(slot))
    }

    /// Who handed a transaction in.
    pub fn origin(&self, id: &TxId) -> Option<Origin> {
        self.pooled(id).map(|pooled| pooled.origin)
    }

    /// Transactions held.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all encoded transactions.
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// The pool in numbers.
    pub fn status(&self, now: Duration) -> PoolStatus {
        let (count, queued) = (self.len(), self.store.queued.len());
        PoolStatus {
            count,
            pending: count - queued,
            queued,
            bytes: self.bytes(),
            senders: self.store.sender_count(),
            floor: self.least_admitted(now),
        }
    }

    /// One sender's transactions in numbers.
    pub fn sender_status(&self, id: &AccountId) -> SenderStatus {
        let status = |sender: &Sender| SenderStatus {
            pending: sender.len() - sender.queued(),
            queued: sender.queued(),
            bytes: sender.bytes(),
            cost: sender.cost(),
        };
        self.store.sender(id).map(status).unwrap_or_default()
    }

    /// When [`Self::expire`] next has work.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.store.by_time.first().map(|(at, _)| *at)
    }

    /// Pending transactions for building a block: at each step, of every sender's next one the one with the highest
    /// fee per byte, the earlier arrival among equals. Lazy: the first few cost little however many there are.
    pub fn best(&self) -> impl Iterator<Item = &VerifiedTx> {
        let store = &self.store;
        let mut heads = store.heads.iter().rev().map(|(rank, slot)| (*rank, *slot)).peekable();
        // Those next in line after one that was given out.
        let mut followers: BinaryHeap<(Rank, Slot)> = BinaryHeap::new();
        std::iter::from_fn(move || {
            let (_, slot) = match (heads.peek(), followers.peek_mut()) {
                (Some(head), Some(follower)) if *head < *follower => PeekMut::pop(follower),
                (Some(_), _) => heads.next()?,
                (None, Some(follower)) => PeekMut::pop(follower),
                (None, None) => return None,
            };
            let pooled = store.slots.get(slot);
            followers.extend(store.follower(pooled).map(|slot| (store.slots.get(slot).rank, slot)));
            Some(&pooled.tx)
        })
    }

    /// All transactions, pending and queued, the highest fee per byte first, the earlier arrival among equals.
    pub fn iter(&self) -> impl Iterator<Item = &VerifiedTx> {
        self.store.by_rank.values().rev().map(|slot| &self.store.slots.get(*slot).tx)
    }

    /// One sender's transactions by nonce, pending and queued.
    pub fn by_sender(&self, id: &AccountId) -> impl Iterator<Item = &VerifiedTx> + use<'_> {
        let own = self.store.sender(id).map_or(&[][..], Sender::all);
        own.iter().map(|(_, slot)| &self.store.slots.get(*slot).tx)
    }

    /// The nonce a sender should use next: the account's, or the first after it that no transaction here uses.
    pub fn next_nonce(&self, id: &AccountId, accounts: &impl AccountView) -> u64 {
        let nonce = accounts.account(id).nonce;
        self.store.sender(id).map_or(nonce, |sender| sender.end_from(nonce))
    }

    /// See [`PoolStatus::floor`].
    pub(super) fn least_admitted(&self, now: Duration) -> u64 {
        // The shortest transaction is the first to find room, and needs the room of one other at most.
        let is_full =
            self.len() >= self.config.max_count || self.bytes().saturating_add(TX_OVERHEAD) > self.config.max_bytes;
        let cheapest = self.store.by_rank.keys().next().filter(|_| is_full && self.store.queued.is_empty());
        let cheapest = cheapest.map_or(0, |rank| rank.rate.just_above());
        cheapest.max(self.floor_at(now).per_byte()).max(self.least_fee)
    }
}
