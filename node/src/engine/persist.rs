//! What survives a restart: the changes a node should keep, and the state it goes on from.
//!
//! The engine reports each change as [`super::Output::Store`] in the order in which it happened, and before the
//! [`super::Event::Submitted`] that depends on it. A driver that keeps nothing passes over them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use starling_mempool::{Account, AccountView as _, Origin, Rejection};
use starling_wire::{AccountId, SignedBlock, TxId, VerifiedTx};

use super::{
    Engine,
    blocks::AppliedBlock,
    io::{Output, PeerRecord},
    time::Time,
};

/// From how much on it counts that the world's clock was set: a small part of what a transaction may stay in the pool.
const CLOCK_ERROR: Duration = Duration::from_secs(600);

/// Something that should survive a restart.
#[derive(Debug, Clone)]
pub enum Change {
    /// A transaction entered the pool, or one that a peer had brought was submitted here as well, or the world's clock was set.
    Added {
        /// The transaction.
        tx: VerifiedTx,
        /// Who handed it in.
        origin: Origin,
    },
    /// Transactions left the pool otherwise than by a block that has them.
    Removed {
        /// Which.
        ids: Vec<TxId>,
        /// Why.
        why: Removal,
    },
    /// A block was applied, and its transactions left the pool.
    Block {
        /// The block.
        block: SignedBlock,
        /// Its transactions, in order.
        txs: Vec<VerifiedTx>,
        /// What it made of the accounts it touched.
        accounts: Vec<(AccountId, Account)>,
        /// The lowest block still of use; those below are not kept any more.
        oldest: u64,
    },
    /// A node that this one reached by itself, and where.
    Peer(PeerRecord),
}

/// Why a transaction left the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// A block has left it no nonce, no funds or no time.
    Invalidated,
    /// Another replaced it, or pays more in a full pool.
    Displaced,
    /// It was in the pool for the lifetime.
    Expired,
    /// It was kept over a restart and could not be admitted again.
    Refused,
}

impl Removal {
    /// A stable name for logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Invalidated => "invalidated",
            Self::Displaced => "displaced",
            Self::Expired => "expired",
            Self::Refused => "refused",
        }
    }
}

/// The state of a node before it stopped.
#[derive(Debug, Default)]
pub struct Saved {
    /// Transactions of the pool, with whoever handed them in, in the order in which they came.
    pub txs: Vec<(VerifiedTx, Origin)>,
    /// The last blocks without a gap, each built on the one before. The first need not be the chain's first.
    pub blocks: Vec<AppliedBlock>,
    /// Accounts that blocks have changed.
    pub accounts: Vec<(AccountId, Account)>,
    /// Nodes that could be reached, those reached last first.
    pub peers: Vec<PeerRecord>,
}

impl Saved {
    /// Whether there is nothing, as before the first start.
    pub fn is_empty(&self) -> bool {
        self.txs.is_empty() && self.blocks.is_empty() && self.accounts.is_empty() && self.peers.is_empty()
    }
}

/// A kept transaction that is not in the pool after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Which.
    pub id: TxId,
    /// Who had handed it in.
    pub origin: Origin,
    /// Why: one of [`Rejection::REASONS`] or [`Removal::reason`].
    pub reason: &'static str,
}

impl Engine {
    /// Goes on from a state that was kept, which must be of the same genesis. For a new engine, before its first input.
    /// Gives the transactions that are not admitted any more; all others are in the pool, and neighbours are offered
    /// them.
    pub fn restore(&mut self, saved: Saved) -> Vec<Dropped> {
        let now = Time::ZERO;
        if !saved.is_empty() {
            self.aggregates.skip_epoch();
        }
        self.ledger.restore(saved.accounts);
        for block in saved.blocks {
            self.chain.append(block);
        }
        self.overlay.restore(saved.peers, &mut self.rng);
        let origins: BTreeMap<TxId, Origin> = saved.txs.iter().map(|(tx, origin)| (tx.id(), *origin)).collect();
        let mut dropped = Vec::new();
        for (tx, origin) in self.in_order(saved.txs) {
            let inserted = self.pool.insert(now.since_start(), tx.clone(), origin, self.chain.height(), &self.ledger);
            match inserted {
                Ok(inserted) => {
                    self.gossip.submitted(now, tx.short_id());
                    let displaced = inserted.removed.into_iter().filter_map(|id| Some((id, *origins.get(&id)?)));
                    let reason = Removal::Displaced.reason();
                    dropped.extend(displaced.map(|(id, origin)| Dropped { id, origin, reason }));
                }
                Err(Rejection::AlreadyKnown) => {}
                Err(rejection) => dropped.push(Dropped { id: tx.id(), origin, reason: rejection.reason() }),
            }
        }
        if !dropped.is_empty() {
            let ids = dropped.iter().map(|dropped| dropped.id).collect();
            self.outputs.push_back(Output::Store(Change::Removed { ids, why: Removal::Refused }));
        }
        dropped
    }

    /// The order in which a pool takes back all it held: first those that wait behind a gap, which a pool that is
    /// nearly full does not take; then sender by sender, in the order in which their first came, each by nonce.
    fn in_order(&self, txs: Vec<(VerifiedTx, Origin)>) -> Vec<(VerifiedTx, Origin)> {
        let mut senders: BTreeMap<AccountId, (usize, BTreeSet<u64>)> = BTreeMap::new();
        for (position, (tx, _)) in txs.iter().enumerate() {
            let (_, nonces) = senders.entry(tx.sender()).or_insert_with(|| (position, BTreeSet::new()));
            nonces.insert(tx.transaction().nonce);
        }
        let mut keyed: Vec<_> = txs
            .into_iter()
            .map(|entry| {
                let (sender, nonce) = (entry.0.sender(), entry.0.transaction().nonce);
                let (first, nonces) = &senders[&sender];
                // Nonces are distinct: there is no gap if there are as many as the distance.
                let base = self.ledger.account(&sender).nonce;
                let gapped = nonce >= base && (nonces.range(base..nonce).count() as u64) < nonce - base;
                ((!gapped, *first, nonce), entry)
            })
            .collect();
        keyed.sort_by_key(|(key, _)| *key);
        keyed.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Reports what became of the accounts that a block touched, and the block itself.
    pub(super) fn store_block(&mut self, height: u64) {
        let Some(AppliedBlock { block, txs }) = self.chain.block(height) else { return };
        let parties = txs.iter().flat_map(|tx| [tx.sender(), tx.transaction().recipient]);
        let touched: BTreeSet<AccountId> = parties.chain([block.header().producer]).collect();
        let accounts = touched.into_iter().map(|id| (id, self.ledger.account(&id))).collect();
        let change =
            Change::Block { block: (**block).clone(), txs: txs.clone(), accounts, oldest: self.chain.oldest() };
        self.outputs.push_back(Output::Store(change));
    }

    /// The world's clock was set by so much. What is in the pool is stored anew: a restart would take it to be as old as the clock
    /// was wrong, and drop it.
    pub(super) fn clock_set(&mut self, by: Duration) {
        if by >= CLOCK_ERROR {
            let all = self.pool.iter().filter_map(|tx| Some((tx.clone(), self.pool.origin(&tx.id())?)));
            self.outputs.extend(all.map(|(tx, origin)| Output::Store(Change::Added { tx, origin })));
        }
    }

    pub(super) fn store_removed(&mut self, ids: Vec<TxId>, why: Removal) {
        if !ids.is_empty() {
            self.outputs.push_back(Output::Store(Change::Removed { ids, why }));
        }
    }
}
