//! Whom a newcomer displaces in a full pool.
//!
//! Queued transactions go first, as nobody can include them. Then the one with the lowest fee per byte goes, but not
//! by itself: without it the later ones of its sender could not be included either, so these go before it, from the
//! highest nonce down, and no more than needed. A sender's tail is in this order worth what the cheapest before it
//! pays; an expensive last transaction does not shelter cheap ones.

//!
//! The cheapest transaction of the pool is the first of an index, and its sender's tail the last of the sender's queue, so
//! each that goes costs a few look-ups in trees, whatever the pool holds.

use crate::{
    error::Rejection,
    ordering::FeeRate,
    pool::Place,
    store::{SenderSlot, Slot, Store},
};

/// Who goes.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) slots: Vec<Slot>,
    /// The highest of the fees per byte for which pending ones were chosen.
    pub(crate) dearest: Option<FeeRate>,
}

/// What makes room in a pool.
pub(crate) struct Room<'a> {
    pub(crate) store: &'a Store,
    /// Transactions of the newcomer's sender that go in any case.
    pub(crate) leavers: &'a [Slot],
    /// Transactions that are too many, with the newcomer counted and the leavers not.
    pub(crate) excess_count: usize,
    /// Bytes that are too many, likewise.
    pub(crate) excess_bytes: usize,
}

impl Room<'_> {
    pub(crate) fn is_enough(&self) -> bool {
        self.excess_count == 0 && self.excess_bytes == 0
    }

    /// Chooses who goes for a pending newcomer that is worth `rate` per byte, its sender's earlier ones considered.
    /// The leavers are not among them. The newcomer's own predecessors are never chosen: they pay no less than `rate`,
    /// so where they would have to go the newcomer is refused.
    pub(crate) fn make(mut self, rate: FeeRate) -> Result<Chosen, Rejection> {
        let mut chosen = Chosen::default();
        // Each sender's lowest nonce that goes; all above it go too. The longest transaction displaces some 200 of the
        // shortest, so there are no more senders than that to look through.
        let mut lowest: Vec<(SenderSlot, u64)> = Vec::new();
        let queued = self.store.queued.iter().map(|entry| (Place::Queued, entry));
        // The second pass meets queued transactions too, but by then all of them are chosen.
        let all = self.store.by_rank.iter().map(|entry| (Place::Pending, entry));
        for (place, (rank, slot)) in queued.chain(all) {
            if self.is_enough() {
                break;
            }
            let pooled = self.store.slots.get(*slot);
            let (id, nonce) = (pooled.sender_slot(), pooled.nonce());
            let sender = self.store.sender_of(pooled);
            // No transaction in a pool has the nonce u64::MAX.
            let known = lowest.iter().position(|(of, _)| *of == id);
            let above = known.map_or(u64::MAX, |at| lowest[at].1);
            if nonce >= above || self.leavers.contains(slot) {
                continue;
            }
            if place == Place::Pending {
                chosen.dearest = chosen.dearest.max(Some(rank.rate));
            }
            let at = known.unwrap_or(lowest.len());
            if known.is_none() {
                lowest.push((id, above));
            }
            for (nonce, slot) in sender.range(nonce..above).iter().rev() {
                if self.is_enough() {
                    break;
                }
                lowest[at].1 = *nonce;
                if self.leavers.contains(slot) {
                    continue;
                }
                chosen.slots.push(*slot);
                self.excess_count = self.excess_count.saturating_sub(1);
                self.excess_bytes = self.excess_bytes.saturating_sub(self.store.slots.get(*slot).len());
            }
        }
        if !self.is_enough() {
            return Err(Rejection::PoolFull { required: u64::MAX });
        }
        match chosen.dearest {
            Some(dearest) if dearest >= rate => Err(Rejection::PoolFull { required: dearest.just_above() }),
            _ => Ok(chosen),
        }
    }
}
