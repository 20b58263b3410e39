//! The transactions of one sender by nonce, and where among them the first gap is.

use std::{collections::BTreeMap, ops::RangeBounds, time::Duration};

use starling_wire::{SignedTx, VerifiedTx};

use crate::{
    ordering::{FeeRate, Rank},
    pool::{Origin, Place},
};

/// A transaction as the pool keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Pooled {
    pub(crate) tx: VerifiedTx,
    pub(crate) rank: Rank,
    /// When it came.
    pub(crate) since: Duration,
    pub(crate) origin: Origin,
}

impl Pooled {
    pub(crate) fn nonce(&self) -> u64 {
        self.tx.transaction().nonce
    }
}

/// What a transaction takes from its sender. Two u64 do not overflow.
pub(crate) fn cost(tx: &SignedTx) -> u128 {
    u128::from(tx.transaction().amount) + u128::from(tx.transaction().fee)
}

/// One sender's queue.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// The account's nonce, as last told.
    base: u64,
    /// The first nonce from `base` up that is missing: what is below is pending, what is above is queued.
    end: u64,
    cost: u128,
    txs: BTreeMap<u64, Pooled>,
}

impl Sender {
    pub(crate) fn len(&self) -> usize {
        self.txs.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.txs.is_empty()
    }

    /// Amounts and fees of all.
    pub(crate) fn cost(&self) -> u128 {
        self.cost
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn get(&self, nonce: u64) -> Option<&Pooled> {
        self.txs.get(&nonce)
    }

    /// The one with the highest nonce.
    pub(crate) fn tail(&self) -> Option<&Pooled> {
        self.txs.last_key_value().map(|(_, pooled)| pooled)
    }

    pub(crate) fn place(&self, nonce: u64) -> Place {
        if nonce < self.end { Place::Pending } else { Place::Queued }
    }

    /// Those within a range of nonces, in their order. The range must not end before it starts.
    pub(crate) fn range(&self, nonces: impl RangeBounds<u64>) -> impl DoubleEndedIterator<Item = &Pooled> {
        self.txs.range(nonces).map(|(_, pooled)| pooled)
    }

    /// The first nonce from `base` up that is missing.
    pub(crate) fn end_from(&self, base: u64) -> u64 {
        let mut end = base;
        for (&nonce, _) in self.txs.range(base..) {
            if nonce != end {
                break;
            }
            end = end.saturating_add(1);
        }
        end
    }

    /// The lowest fee per byte up to and including a transaction that would stand at `nonce`. It cannot be included
    /// before those below it, so a block producer gains no more by waiting for it than the worst of them pays.
    pub(crate) fn rate_through(&self, nonce: u64, rate: FeeRate) -> FeeRate {
        self.range(..nonce).map(|pooled| pooled.rank.rate).fold(rate, FeeRate::min)
    }

    /// Puts one in and returns the one it replaces. [`Self::settle`] must follow.
    pub(crate) fn insert(&mut self, pooled: Pooled) -> Option<Pooled> {
        self.cost += cost(&pooled.tx);
        let old = self.txs.insert(pooled.nonce(), pooled)?;
        self.cost -= cost(&old.tx);
        Some(old)
    }

    /// Takes one out. [`Self::settle`] must follow.
    pub(crate) fn remove(&mut self, nonce: u64) -> Option<Pooled> {
        let pooled = self.txs.remove(&nonce)?;
        self.cost -= cost(&pooled.tx);
        Some(pooled)
    }

    /// Finds the first gap anew, for an account whose nonce is `base`, and corrects the index of queued transactions
    /// for those that changed sides.
    pub(crate) fn settle(&mut self, base: u64, queued: &mut BTreeMap<Rank, VerifiedTx>) {
        let (old, new) = (self.end, self.end_from(base));
        (self.base, self.end) = (base, new);
        if new >= old {
            for pooled in self.range(old..new) {
                queued.remove(&pooled.rank);
            }
        } else {
            for pooled in self.range(new..old) {
                queued.insert(pooled.rank, pooled.tx.clone());
            }
        }
    }

    /// The transactions an account in this state leaves no room for: those whose nonce is used, and from the first
    /// that the balance does not cover all up.
    pub(crate) fn unpayable(&self, nonce: u64, balance: u64) -> Vec<VerifiedTx> {
        let mut total = 0;
        let overdrawn = self.range(nonce..).skip_while(|pooled| {
            total += cost(&pooled.tx);
            total <= u128::from(balance)
        });
        self.range(..nonce).chain(overdrawn).map(|pooled| pooled.tx.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Wallet;

    fn sender(nonces: &[u64], base: u64) -> (Sender, BTreeMap<Rank, VerifiedTx>) {
        let wallet = Wallet::new(1);
        let (mut sender, mut queued) = (Sender::default(), BTreeMap::new());
        for (arrival, &nonce) in nonces.iter().enumerate() {
            let tx = wallet.tx(nonce, 1000 + nonce);
            let rank = Rank::new(&tx, arrival as u64);
            queued.insert(rank, tx.clone());
            sender.insert(Pooled { tx, rank, since: Duration::ZERO, origin: Origin::Peer });
        }
        sender.settle(base, &mut queued);
        (sender, queued)
    }

    fn nonces<'a>(txs: impl IntoIterator<Item = &'a VerifiedTx>) -> Vec<u64> {
        txs.into_iter().map(|tx| tx.transaction().nonce).collect()
    }

    #[test]
    fn the_first_gap_divides_pending_from_queued() {
        let (mut sender, mut queued) = sender(&[5, 6, 8, 9], 5);
        assert_eq!(sender.end_from(5), 7);
        assert_eq!((sender.place(6), sender.place(8)), (Place::Pending, Place::Queued));
        assert_eq!(nonces(queued.values()), [8, 9]);
        // The account moves over the gap, then back.
        sender.settle(8, &mut queued);
        assert_eq!((sender.end_from(8), queued.len()), (10, 0));
        sender.settle(4, &mut queued);
        assert_eq!(queued.len(), 4);
    }

    #[test]
    fn what_the_account_cannot_pay_is_found_from_the_tail() {
        let (sender, _) = sender(&[5, 6, 7], 5);
        let cost = |nonce| cost(&sender.get(nonce).unwrap().tx) as u64;
        assert_eq!(sender.cost(), u128::from(cost(5) + cost(6) + cost(7)));
        assert!(sender.unpayable(5, cost(5) + cost(6) + cost(7)).is_empty());
        assert_eq!(nonces(&sender.unpayable(5, cost(5) + cost(6) + cost(7) - 1)), [7]);
        assert_eq!(nonces(&sender.unpayable(5, cost(5) - 1)), [5, 6, 7]);
        assert_eq!(nonces(&sender.unpayable(6, cost(6))), [5, 7]);
        assert_eq!(nonces(&sender.unpayable(9, u64::MAX)), [5, 6, 7]);
    }

    #[test]
    fn a_rate_is_the_worst_of_those_before() {
        let (sender, _) = sender(&[5, 6], 5);
        let rate = |nonce| sender.get(nonce).unwrap().rank.rate;
        assert!(rate(5) < rate(6));
        assert_eq!(sender.rate_through(6, rate(6)), rate(5));
        assert_eq!(sender.rate_through(5, rate(6)), rate(6));
    }
}
