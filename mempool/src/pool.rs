//! The pool: what goes in and what comes out.

use std::{collections::BTreeSet, time::Duration};

use lru::LruCache;
use starling_wire::{AccountId, SignedTx, TxId, VerifiedTx, limits::MAX_TX};

use crate::{
    admission,
    budget::{Allowance, Budget},
    config::PoolConfig,
    error::Rejection,
    eviction::{Chosen, Room},
    floor::{Fill, Floor},
    ledger::AccountView,
    ordering::{FeeRate, Rank},
    sender::Sender,
    store::{Slot, Store, cost},
};

mod reading;
#[cfg(test)]
mod tests;
mod types;

pub use self::types::{Admissible, Inserted, Origin, Place, PoolStatus, SenderStatus};

/// What a sender may have relayed by the whole network for nothing: transactions that it replaces, as only the last of a chain
/// of replacements is ever paid for, and those that are not in a block by the height up to which they are valid, as behind
/// a gap none can be. An honest sender raises the fee of a few hundred bytes a few times; with this, one account costs every
/// node 512 B/s at most in the long run. The burst must take the longest transaction.
/// (Bitcoin Core's means against the same is BIP 125's rule 4, a fee for the replacement's own bytes on top. A percentage alone
/// lets cheap ones be replaced cheaply, for each of a sender's nonces.)
pub(crate) const IN_VAIN: Allowance = Allowance { burst: 128 * 1024, per_second: 512 };

const _: () = assert!(IN_VAIN.burst >= MAX_TX as u64, "the longest could not be replaced");

/// Refusals remembered, so that the same bytes are not checked twice; some 150 bytes each. Whoever makes others be
/// forgotten has had as many signatures checked.
const MAX_REFUSED: usize = 16 * 1024;

/// Senders of which it is kept what they have used up of [`IN_VAIN`], whether they have transactions in the pool or not. Whoever
/// makes others be forgotten needs as many funded accounts.
const MAX_SPENDERS: usize = 4096;

/// What an insertion would do, in detail.
struct Plan {
    place: Place,
    /// The account's nonce.
    base: u64,
    replaced: Option<Slot>,
    /// Who goes besides the replaced one.
    removed: Vec<Slot>,
    /// What the dearest of those paid per byte that go for their price.
    dearest: Option<FeeRate>,
}

/// The transactions a node keeps and relays.
///
/// Calls with an [`AccountView`] expect the state after the block last passed to [`Self::apply_block`]. A state that
/// is ahead or behind does no lasting harm: the sender's transactions are put in their places when it next inserts, is
/// in a block, or is named to [`Self::accounts_changed`].
#[derive(Debug)]
pub struct Mempool {
    config: PoolConfig,
    /// The network's minimum fee per byte.
    least_fee: u64,
    store: Store,
    floor: Floor,
    /// Refused for good.
    refused: LruCache<TxId, Rejection>,
    /// What senders have used up of [`IN_VAIN`].
    in_vain: LruCache<AccountId, Budget>,
    /// Transactions ever admitted.
    arrivals: u64,
}

impl Mempool {
    /// An empty pool. `least_fee` is the network's minimum per byte ([`crate::Limits::min_fee_per_byte`]): the step by
    /// which the floor rises, and the least it is told as. What is below it, [`AccountView::check_tx`] refuses.
    pub fn new(config: PoolConfig, least_fee: u64) -> Self {
        Self {
            config,
            least_fee,
            store: Store::default(),
            floor: Floor::default(),
            // Room is taken as it is needed.
            refused: LruCache::unbounded(),
            in_vain: LruCache::unbounded(),
            arrivals: 0,
        }
    }

    /// Checks everything but the signature, cheapest first: run it before paying for the signature check. `height`
    /// is that of the last applied block, 0 for none; the transaction must be valid in the next.
    pub fn check(
        &self,
        now: Duration,
        tx: &SignedTx,
        height: u64,
        accounts: &impl AccountView,
    ) -> Result<Admissible, Rejection> {
        let plan = self.plan(now, tx, height, accounts)?;
        Ok(Admissible {
            place: plan.place,
            replaced_bytes: plan.replaced.map_or(0, |slot| self.store.slots.get(slot).len()),
            displaced: plan.removed.len() + usize::from(plan.replaced.is_some()),
        })
    }

    /// Checks as [`Self::check`] does and admits. A transaction with the sender and nonce of another replaces it, if
    /// it pays enough more. Neither that one nor one with a `valid_until` is admitted if too much of the sender's was relayed in
    /// vain lately. In a full pool others are evicted, if it pays more than they do. A sender at its limits who fills a gap
    /// loses those with the highest nonces. `now` is counted from any fixed start.
    pub fn insert(
        &mut self,
        now: Duration,
        tx: VerifiedTx,
        origin: Origin,
        height: u64,
        accounts: &impl AccountView,
    ) -> Result<Inserted, Rejection> {
        self.floor = self.floor_at(now);
        let Plan { place, base, replaced, removed, dearest } = match self.plan(now, &tx, height, accounts) {
            Ok(plan) => plan,
            Err(rejection) => {
                self.remember(tx.id(), &rejection);
                return Err(rejection);
            }
        };
        if let Some(dearest) = dearest {
            self.floor.raise(now, dearest, self.least_fee);
        }
        let mut removed = self.remove_all(removed);
        if let Some(bytes) = replaced.map(|slot| self.store.slots.get(slot).len()) {
            self.was_in_vain(now, tx.sender(), bytes);
        }
        let rank = Rank::new(&tx, self.arrivals);
        self.arrivals += 1;
        let expires = now.saturating_add(self.config.lifetime_of(origin));
        let old = self.store.insert(tx, rank, expires, origin, base);
        removed.extend(old.map(|old| old.tx.id()));
        Ok(Inserted { place, removed })
    }

    /// Notes that a user of this node submits what a peer brought: from now on it is kept like what was submitted here. Gives
    /// it, unless it is that already or is not in the pool.
    pub fn vouch(&mut self, now: Duration, id: &TxId) -> Option<&VerifiedTx> {
        let slot = self.store.find(id).filter(|slot| self.store.slots.get(*slot).origin == Origin::Peer)?;
        self.store.vouch(slot, now.saturating_add(self.config.lifetime_of(Origin::Local)));
        Some(&self.store.slots.get(slot).tx)
    }

    /// Notes why a transaction was refused, so that the same bytes are refused again without looking at them. Only what
    /// is dear to find out and can never change is kept: bad signatures, and what [`AccountView::check_tx`] refuses for
    /// good. An id covers the signature, so a forged copy spoils nothing for the transaction it was made from.
    pub fn remember(&mut self, id: TxId, rejection: &Rejection) {
        if !rejection.is_worth_remembering() {
            return;
        }
        if self.refused.len() >= MAX_REFUSED && !self.refused.contains(&id) {
            self.refused.pop_lru();
        }
        self.refused.put(id, rejection.clone());
    }

    /// So many bytes of a sender were relayed for nothing.
    fn was_in_vain(&mut self, now: Duration, sender: AccountId, bytes: usize) {
        if self.in_vain.len() >= MAX_SPENDERS && !self.in_vain.contains(&sender) {
            self.in_vain.pop_lru();
        }
        self.in_vain.get_or_insert_mut(sender, Budget::default).spend(now, bytes, IN_VAIN);
    }

    fn plan(&self, now: Duration, tx: &SignedTx, height: u64, accounts: &impl AccountView) -> Result<Plan, Rejection> {
        let id = tx.id();
        if self.contains(&id) {
            return Err(Rejection::AlreadyKnown);
        }
        if let Some(rejection) = self.refused.peek(&id) {
            return Err(rejection.clone());
        }
        accounts.check_tx(tx)?;
        admission::not_expired(tx, height)?;
        let account = accounts.account(&tx.sender());
        admission::nonce(tx, &account, self.config.max_nonce_gap)?;

        let (nonce, len) = (tx.transaction().nonce, tx.bytes().len());
        let nothing = Sender::default();
        let sender = self.store.sender(&tx.sender()).unwrap_or(&nothing);
        let end = sender.end_from(account.nonce);
        let place = if nonce <= end { Place::Pending } else { Place::Queued };
        let replaced = sender.get(nonce);
        let in_vain = self.in_vain.peek(&tx.sender()).copied().unwrap_or_default();
        if let Some(slot) = replaced {
            let old = self.store.slots.get(slot);
            admission::replacement(tx, old.rank.rate, self.config.replacement_percent)?;
            admission::budget(in_vain.wait(now, old.len(), IN_VAIN))?;
        }
        if tx.transaction().valid_until.is_some() {
            admission::budget(in_vain.wait(now, len, IN_VAIN))?;
        }
        let rate = FeeRate::of(tx);
        if !self.floor_at(now).admits(rate) {
            return Err(Rejection::PoolFull { required: self.least_admitted(now) });
        }

        // Those of the sender that go in any case: the replaced one and, where the sender is at a limit, the last of
        // those above a gap. Were it not so, it could not fill the gap until they expire.
        let mut leavers: Vec<Slot> = replaced.into_iter().collect();
        let size = |slots: &[Slot]| slots.iter().map(|slot| self.store.slots.get(*slot).len()).sum::<usize>();
        let mut above = if place == Place::Pending { sender.from(end.max(nonce.saturating_add(1))) } else { &[] };
        while let Err(rejection) =
            self.within_sender_limits(sender.len() + 1 - leavers.len(), sender.bytes() + len - size(&leavers))
        {
            let Some(((_, tail), rest)) = above.split_last() else { return Err(rejection) };
            leavers.push(*tail);
            above = rest;
        }

        let saved: u128 = leavers.iter().map(|slot| u128::from(self.store.slots.get(*slot).cost64())).sum();
        let required = sender.cost() + cost(tx) - saved;
        if required > u128::from(account.balance) {
            return Err(Rejection::InsufficientBalance { balance: account.balance, required });
        }

        let count = self.len() + 1 - leavers.len();
        let bytes = self.bytes() + len - size(&leavers);
        let room = Room {
            store: &self.store,
            leavers: &leavers,
            excess_count: count.saturating_sub(self.config.max_count),
            excess_bytes: bytes.saturating_sub(self.config.max_bytes),
        };
        let Chosen { slots: mut removed, dearest } = match place {
            Place::Pending if room.is_enough() => Chosen::default(),
            Place::Pending => room.make(self.store.rate_through(sender, nonce, rate))?,
            // One with a gap never evicts: nobody may ever be able to include it.
            Place::Queued if self.is_busy() || !room.is_enough() => return Err(Rejection::GappedPoolBusy),
            Place::Queued => Chosen::default(),
        };
        // What is replaced goes as the new one is put in its place.
        removed.extend(leavers.into_iter().filter(|slot| replaced != Some(*slot)));
        // Used nonces are left only if the view is ahead of the blocks this pool has seen.
        for (_, slot) in sender.before(account.nonce) {
            if !removed.contains(slot) {
                removed.push(*slot);
            }
        }
        Ok(Plan { place, base: account.nonce, replaced, removed, dearest })
    }

    fn within_sender_limits(&self, count: usize, bytes: usize) -> Result<(), Rejection> {
        let PoolConfig { max_per_sender, max_bytes_per_sender, .. } = self.config;
        if count > max_per_sender {
            return Err(Rejection::SenderLimit { max: max_per_sender });
        }
        if bytes > max_bytes_per_sender {
            return Err(Rejection::SenderBytes { max: max_bytes_per_sender });
        }
        Ok(())
    }

    /// Whether the pool is 90 % full or more, by count or by bytes.
    fn is_busy(&self) -> bool {
        let busy = |used: usize, max: usize| used as u128 * 10 >= max as u128 * 9;
        busy(self.len(), self.config.max_count) || busy(self.bytes(), self.config.max_bytes)
    }

    fn floor_at(&self, now: Duration) -> Floor {
        let fuller = |a: Fill, b: Fill| if a == Fill::Half || b == Fill::Little { a } else { b };
        let fill = fuller(Fill::of(self.len(), self.config.max_count), Fill::of(self.bytes(), self.config.max_bytes));
        self.floor.after(now, fill, self.least_fee)
    }

    fn remove_all(&mut self, slots: Vec<Slot>) -> Vec<TxId> {
        slots.into_iter().map(|slot| self.store.remove(slot).tx.id()).collect()
    }

    /// Follows a block that was applied to `accounts`: removes its transactions, those whose nonce is used, those the
    /// next block can no longer include, and those of its senders the balance no longer covers, from the highest nonce
    /// down. Finds anew what is pending. Returns the ids of all that were removed.
    ///
    /// Only accounts that sent something in the block are looked at, as by a block of transactions others lose neither
    /// nonces nor funds. An embedder whose blocks do more names the others to [`Self::accounts_changed`].
    pub fn apply_block(
        &mut self,
        now: Duration,
        height: u64,
        txs: &[VerifiedTx],
        accounts: &impl AccountView,
    ) -> Vec<TxId> {
        let mut removed = Vec::new();
        for tx in txs {
            removed.extend(self.store.find(&tx.id()).map(|slot| self.store.remove(slot).tx.id()));
        }
        while let Some(&(_, slot)) = self.store.by_height.first().filter(|(last, _)| *last <= height) {
            let outlived = self.store.remove(slot).tx;
            self.was_in_vain(now, outlived.sender(), outlived.bytes().len());
            removed.push(outlived.id());
        }
        let senders: BTreeSet<_> = txs.iter().map(|tx| tx.sender()).collect();
        removed.extend(self.accounts_changed(senders, accounts));
        removed
    }

    /// Follows a change of accounts, by whatever: removes their transactions whose nonce is used, those that the balance
    /// no longer covers, from the highest nonce down, and those that [`AccountView::check_tx`] now refuses. Finds anew
    /// what is pending. Returns the ids of all that were removed. It costs nothing to name an account too many.
    pub fn accounts_changed(
        &mut self,
        ids: impl IntoIterator<Item = AccountId>,
        accounts: &impl AccountView,
    ) -> Vec<TxId> {
        let mut removed = Vec::new();
        for id in ids {
            let Some(sender) = self.store.sender(&id) else { continue };
            let account = accounts.account(&id);
            let refused = |(_, slot): &&(u64, Slot)| accounts.check_tx(&self.store.slots.get(*slot).tx).is_err();
            let refused = sender.all().iter().filter(refused).map(|(_, slot)| *slot).collect();
            removed.extend(self.remove_all(refused));
            let Some(sender) = self.store.sender(&id) else { continue };
            let unpayable = sender.unpayable(account.nonce, account.balance, &self.store.slots);
            removed.extend(self.remove_all(unpayable));
            self.store.follow(&id, account.nonce);
        }
        removed
    }

    /// Drops what has been in the pool for its lifetime, and returns its ids. What came after it from the same sender
    /// stays, queued.
    pub fn expire(&mut self, now: Duration) -> Vec<TxId> {
        let mut removed = Vec::new();
        while let Some(&(_, slot)) = self.store.by_time.first().filter(|(at, _)| *at <= now) {
            removed.extend(self.remove_all(vec![slot]));
        }
        removed
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.refused.len()
    }

    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) {
        self.store.assert_consistent();
    }
}
