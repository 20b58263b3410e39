//! The transactions of one sender by nonce, and where among them the first gap is.

use std::ops::Range;

use crate::{
    pool::Place,
    store::{Pooled, Slot, Slots},
};

/// One sender's queue. A sorted vector and not a tree: most senders have few transactions and all have at most
/// [`crate::PoolConfig::max_per_sender`], and a tree would take more memory than what it holds.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// The account's nonce, as last told.
    base: u64,
    /// The first nonce from `base` up that is missing: what is below is pending, what is above is queued.
    end: u64,
    /// Amounts and fees of all. Admission holds the sum against a balance of 64 bits, so it fits; while one is being
    /// replaced and both count it may wrap, and wraps back.
    cost: u64,
    bytes: usize,
    /// By nonce. No nonce is u64::MAX.
    txs: Vec<(u64, Slot)>,
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
        self.cost.into()
    }

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn get(&self, nonce: u64) -> Option<Slot> {
        let at = self.txs.binary_search_by_key(&nonce, |(nonce, _)| *nonce).ok()?;
        Some(self.txs[at].1)
    }

    pub(crate) fn place(&self, nonce: u64) -> Place {
        if nonce < self.end { Place::Pending } else { Place::Queued }
    }

    /// How many are [`Place::Queued`].
    pub(crate) fn queued(&self) -> usize {
        self.from(self.end).len()
    }

    /// All, with their nonces and in the order of these.
    pub(crate) fn all(&self) -> &[(u64, Slot)] {
        &self.txs
    }

    /// Those whose nonce is `nonce` or higher.
    pub(crate) fn from(&self, nonce: u64) -> &[(u64, Slot)] {
        &self.txs[self.position(nonce)..]
    }

    /// Those whose nonce is lower.
    pub(crate) fn before(&self, nonce: u64) -> &[(u64, Slot)] {
        &self.txs[..self.position(nonce)]
    }

    fn position(&self, nonce: u64) -> usize {
        self.txs.partition_point(|(of, _)| *of < nonce)
    }

    /// The first nonce from `base` up that is missing.
    pub(crate) fn end_from(&self, base: u64) -> u64 {
        // As far as there is no gap, nonces rise in step with positions.
        let txs = self.from(base);
        let (mut gap_free, mut gapped) = (0, txs.len());
        while gap_free < gapped {
            let middle = gap_free.midpoint(gapped);
            if txs[middle].0 - base == middle as u64 {
                gap_free = middle + 1;
            } else {
                gapped = middle;
            }
        }
        base.saturating_add(gap_free as u64)
    }

    /// Puts one in and returns the slot of the one it replaces. [`Self::settle`] must follow.
    pub(crate) fn insert(&mut self, slot: Slot, pooled: &Pooled) -> Option<Slot> {
        self.cost = self.cost.wrapping_add(pooled.cost64());
        self.bytes += pooled.len();
        match self.txs.binary_search_by_key(&pooled.nonce(), |(nonce, _)| *nonce) {
            Ok(at) => Some(std::mem::replace(&mut self.txs[at].1, slot)),
            Err(at) => {
                if self.txs.is_empty() {
                    // Most senders never have a second one; a vector would reserve for four.
                    self.txs.reserve_exact(1);
                }
                self.txs.insert(at, (pooled.nonce(), slot));
                None
            }
        }
    }

    /// Counts one no more that was replaced.
    pub(crate) fn forget(&mut self, old: &Pooled) {
        self.cost = self.cost.wrapping_sub(old.cost64());
        self.bytes -= old.len();
    }

    /// Takes one out. [`Self::settle`] must follow.
    pub(crate) fn remove(&mut self, pooled: &Pooled) {
        if let Ok(at) = self.txs.binary_search_by_key(&pooled.nonce(), |(nonce, _)| *nonce) {
            self.txs.remove(at);
            self.forget(pooled);
        }
    }

    /// Finds the first gap anew, for an account whose nonce is `base`, and tells which changed sides, and to which.
    pub(crate) fn settle(&mut self, base: u64, mut moved: impl FnMut(Slot, Place)) {
        let (old, new) = (self.end, self.end_from(base));
        (self.base, self.end) = (base, new);
        let (between, place) = if new >= old { (old..new, Place::Pending) } else { (new..old, Place::Queued) };
        for &(_, slot) in self.range(between) {
            moved(slot, place);
        }
    }

    /// Those within a range of nonces, which must not end before it starts.
    pub(crate) fn range(&self, nonces: Range<u64>) -> &[(u64, Slot)] {
        &self.txs[self.position(nonces.start)..self.position(nonces.end)]
    }

    /// The transactions an account in this state leaves no room for: those whose nonce is used, and from the first
    /// that the balance does not cover all up.
    pub(crate) fn unpayable(&self, nonce: u64, balance: u64, slots: &Slots) -> Vec<Slot> {
        let mut total = 0_u128;
        let overdrawn = self.from(nonce).iter().skip_while(|(_, slot)| {
            total += u128::from(slots.get(*slot).cost64());
            total <= u128::from(balance)
        });
        self.before(nonce).iter().chain(overdrawn).map(|(_, slot)| *slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ordering::Rank, pool::Origin, store::Store, testing::Wallet};

    fn store(nonces: &[u64], base: u64) -> (Store, starling_wire::AccountId) {
        let wallet = Wallet::new(1);
        let mut store = Store::default();
        for (arrival, &nonce) in nonces.iter().enumerate() {
            let tx = wallet.tx(nonce, 1000 + nonce);
            let rank = Rank::new(&tx, arrival as u64);
            store.insert(tx, rank, Duration::ZERO, Origin::Peer, base);
        }
        (store, wallet.id())
    }

    fn nonces(store: &Store, slots: impl IntoIterator<Item = Slot>) -> Vec<u64> {
        let mut nonces: Vec<_> = slots.into_iter().map(|slot| store.slots.get(slot).nonce()).collect();
        nonces.sort_unstable();
        nonces
    }

    #[test]
    fn the_first_gap_divides_pending_from_queued() {
        let (mut store, id) = store(&[5, 8, 6, 9], 5);
        let sender = store.sender(&id).unwrap();
        assert_eq!(sender.end_from(5), 7);
        assert_eq!((sender.place(6), sender.place(8)), (Place::Pending, Place::Queued));
        let queued = |store: &Store| nonces(store, store.queued.values().copied());
        assert_eq!(queued(&store), [8, 9]);
        // The account moves over the gap, then back.
        store.follow(&id, 8);
        assert_eq!((store.sender(&id).unwrap().end_from(8), queued(&store)), (10, vec![]));
        store.follow(&id, 4);
        assert_eq!(queued(&store), [5, 6, 8, 9]);
    }

    #[test]
    fn what_the_account_cannot_pay_is_found_from_the_tail() {
        let (store, id) = store(&[5, 6, 7], 5);
        let sender = store.sender(&id).unwrap();
        let cost = |nonce| store.slots.get(sender.get(nonce).unwrap()).cost64();
        let unpayable = |nonce, balance| nonces(&store, sender.unpayable(nonce, balance, &store.slots));
        assert_eq!(sender.cost(), u128::from(cost(5) + cost(6) + cost(7)));
        assert!(unpayable(5, cost(5) + cost(6) + cost(7)).is_empty());
        assert_eq!(unpayable(5, cost(5) + cost(6) + cost(7) - 1), [7]);
        assert_eq!(unpayable(5, cost(5) - 1), [5, 6, 7]);
        assert_eq!(unpayable(6, cost(6)), [5, 7]);
        assert_eq!(unpayable(9, u64::MAX), [5, 6, 7]);
    }
}
