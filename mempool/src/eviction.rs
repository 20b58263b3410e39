//! Whom a newcomer displaces in a full pool.
//!
//! Queued transactions go first, as nobody can include them. Then the one with the lowest fee per byte goes, but not
//! by itself: without it the later ones of its sender could not be included either, so these go before it, from the
//! highest nonce down, and no more than needed. A sender's tail is in this order worth what the cheapest before it
//! pays; an expensive last transaction does not shelter cheap ones.

use std::collections::BTreeMap;

use starling_wire::{AccountId, TxId, VerifiedTx};

use crate::{
    error::Rejection,
    ordering::{FeeRate, Rank},
    pool::Place,
    sender::{Pooled, Sender},
};

/// The parts of a pool that are looked at to make room in it.
pub(crate) struct Room<'a> {
    pub(crate) senders: &'a BTreeMap<AccountId, Sender>,
    pub(crate) by_rank: &'a BTreeMap<Rank, VerifiedTx>,
    pub(crate) queued: &'a BTreeMap<Rank, VerifiedTx>,
    /// A transaction of the newcomer's sender that goes in any case.
    pub(crate) leaver: Option<&'a Pooled>,
    /// Transactions that are too many, with the newcomer counted and the leaver not.
    pub(crate) excess_count: usize,
    /// Bytes that are too many, likewise.
    pub(crate) excess_bytes: usize,
}

impl Room<'_> {
    fn is_enough(&self) -> bool {
        self.excess_count == 0 && self.excess_bytes == 0
    }

    /// Chooses who goes for a pending newcomer that is worth `rate` per byte, its sender's earlier ones considered.
    /// The leaver is not among them. The newcomer's own predecessors are never chosen: they pay no less than `rate`,
    /// so where they would have to go the newcomer is refused.
    pub(crate) fn make(mut self, rate: FeeRate) -> Result<Vec<TxId>, Rejection> {
        let mut chosen = Vec::new();
        // Each sender's lowest nonce that goes; all above it go too.
        let mut lowest: BTreeMap<AccountId, u64> = BTreeMap::new();
        let mut dearest: Option<FeeRate> = None;
        let queued = self.queued.iter().map(|entry| (Place::Queued, entry));
        // The second pass meets queued transactions too, but by then all of them are chosen.
        let all = self.by_rank.iter().map(|entry| (Place::Pending, entry));
        for (place, (rank, tx)) in queued.chain(all) {
            if self.is_enough() {
                break;
            }
            let Some(sender) = self.senders.get(&tx.sender()) else { continue };
            let nonce = tx.transaction().nonce;
            // No transaction in a pool has the nonce u64::MAX.
            let above = lowest.get(&tx.sender()).copied().unwrap_or(u64::MAX);
            if nonce >= above || self.leaver.is_some_and(|leaver| leaver.tx.id() == tx.id()) {
                continue;
            }
            if place == Place::Pending {
                dearest = dearest.max(Some(rank.rate));
            }
            for pooled in sender.range(nonce..above).rev() {
                if self.is_enough() {
                    break;
                }
                lowest.insert(tx.sender(), pooled.nonce());
                if self.leaver.is_some_and(|leaver| leaver.tx.id() == pooled.tx.id()) {
                    continue;
                }
                chosen.push(pooled.tx.id());
                self.excess_count = self.excess_count.saturating_sub(1);
                self.excess_bytes = self.excess_bytes.saturating_sub(pooled.tx.bytes().len());
            }
        }
        if !self.is_enough() {
            return Err(Rejection::PoolFull { required: u64::MAX });
        }
        match dearest {
            Some(dearest) if dearest >= rate => Err(Rejection::PoolFull { required: dearest.just_above() }),
            _ => Ok(chosen),
        }
    }
}
