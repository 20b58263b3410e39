//! Changes on their way to the file: each thing stands in a batch once, in its last state.

use std::collections::{BTreeMap, BTreeSet};

use starling_mempool::Account;
use starling_wire::{AccountId, NodeId, SignedBlock, VerifiedTx};

use super::record::{StoredPeer, TxRecord};

/// What is to be written in one commit. There are at most as many transactions in it as the pool holds, as many
/// removals as the file holds transactions (and, after a failure, as were tried to be written), as many blocks as the chain
/// keeps, as many accounts as there are, and [`super::MAX_PEERS`] peers.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// By number: transactions are numbered in the order in which they come, so that the file grows at its end.
    pub(super) txs: BTreeMap<u64, TxRecord>,
    /// Numbers of transactions that are in the file and should not be.
    pub(super) gone: BTreeSet<u64>,
    /// Transactions with numbers below this may be in the file although the commit failed.
    tried: u64,
    pub(super) accounts: BTreeMap<AccountId, Account>,
    /// By height.
    pub(super) blocks: BTreeMap<u64, (SignedBlock, Vec<VerifiedTx>)>,
    /// Blocks below this height are of no use any more.
    pub(super) oldest: u64,
    pub(super) peers: BTreeMap<NodeId, StoredPeer>,
    /// Bytes of transactions added, roughly: those replaced or removed again are counted, too.
    pub(super) bytes: usize,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.txs.is_empty() && self.gone.is_empty() && self.blocks.is_empty() && self.peers.is_empty()
    }

    pub(super) fn add(&mut self, number: u64, record: TxRecord) {
        self.bytes += record.tx.bytes().len();
        self.txs.insert(number, record);
    }

    /// In place of one that may be in the file: were it only added, its removal would not be written.
    pub(super) fn replace(&mut self, number: u64, record: TxRecord) {
        self.gone.insert(number);
        self.add(number, record);
    }

    /// One that never reached the file needs no removal, but whether it did is known to this batch only if it began
    /// in it.
    pub(super) fn remove(&mut self, number: u64) {
        if self.txs.remove(&number).is_none() {
            self.gone.insert(number);
        }
    }

    pub(super) fn add_block(&mut self, block: SignedBlock, txs: Vec<VerifiedTx>, oldest: u64) {
        self.blocks.insert(block.header().height, (block, txs));
        self.keep_from(oldest);
    }

    pub(super) fn add_peer(&mut self, node: NodeId, peer: StoredPeer) {
        self.peers.insert(node, peer);
        if self.peers.len() > super::MAX_PEERS
            && let Some(oldest) = self.peers.iter().min_by_key(|(_, peer)| peer.since_ms).map(|(node, _)| *node)
        {
            self.peers.remove(&oldest);
        }
    }

    fn keep_from(&mut self, oldest: u64) {
        self.oldest = oldest.max(self.oldest);
        self.blocks = self.blocks.split_off(&self.oldest);
    }

    /// It is being written: if that fails, it may be in the file all the same.
    pub(super) fn try_now(&mut self) {
        self.tried = self.txs.last_key_value().map_or(0, |(number, _)| number + 1).max(self.tried);
    }

    /// Takes in what came after. If a commit was tried, this batch may be in the file in part or in whole: its removals stay.
    pub(super) fn merge(&mut self, newer: Self) {
        for number in newer.gone {
            let never_reached_the_file = self.txs.remove(&number).is_some() && number >= self.tried;
            if !never_reached_the_file {
                self.gone.insert(number);
            }
        }
        self.txs.extend(newer.txs);
        self.accounts.extend(newer.accounts);
        self.blocks.extend(newer.blocks);
        self.keep_from(newer.oldest);
        for (node, peer) in newer.peers {
            self.add_peer(node, peer);
        }
        self.bytes += newer.bytes;
    }
}

#[cfg(test)]
mod tests {
    use starling_mempool::Origin;

    use super::*;
    use crate::store::testing::{block, tx};

    fn record(i: u64) -> TxRecord {
        TxRecord { origin: Origin::Peer, since_ms: 0, tx: (*tx(i, 0)).clone() }
    }

    #[test]
    fn what_comes_and_goes_is_never_written() {
        let mut batch = Batch::default();
        batch.add(1, record(1));
        batch.remove(1);
        batch.remove(0);
        assert_eq!((batch.txs.len(), batch.gone.iter().copied().collect::<Vec<_>>()), (0, vec![0]));
    }

    #[test]
    fn what_is_in_the_file_is_removed_from_it_whatever_came_in_between() {
        let mut batch = Batch::default();
        batch.replace(1, record(1));
        batch.remove(1);
        assert_eq!((batch.txs.len(), batch.gone.contains(&1)), (0, true));
        batch.replace(1, record(1));
        let mut failed = Batch::default();
        failed.merge(batch);
        assert_eq!((failed.txs.len(), failed.gone.contains(&1)), (1, true), "removed first, then added");
    }

    #[test]
    fn a_failed_batch_and_what_followed_are_one() {
        let mut batch = Batch::default();
        (1..4).for_each(|number| batch.add(number, record(number)));
        batch.add_block((*block(1, None, &[])).clone(), Vec::new(), 1);
        batch.try_now();
        let mut newer = Batch::default();
        newer.remove(2);
        newer.add(4, record(4));
        newer.add(3, TxRecord { origin: Origin::Local, ..record(3) });
        newer.add_block((*block(2, None, &[])).clone(), Vec::new(), 2);
        batch.merge(newer);
        assert_eq!(batch.txs.keys().copied().collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(batch.txs[&3].origin, Origin::Local);
        assert!(batch.gone.contains(&2), "it may have reached the file");
        assert_eq!(batch.blocks.keys().copied().collect::<Vec<_>>(), [2], "the first is of no use any more");
    }

    #[test]
    fn what_comes_and_goes_while_nothing_can_be_written_leaves_nothing_behind() {
        let mut batch = Batch::default();
        batch.replace(1, record(1));
        batch.add(2, record(2));
        batch.try_now();
        for number in 3..100 {
            let mut newer = Batch::default();
            newer.remove(number - 1);
            newer.add(number, record(number));
            batch.merge(newer);
        }
        let mut newer = Batch::default();
        newer.remove(1);
        batch.merge(newer);
        assert_eq!(batch.gone.iter().copied().collect::<Vec<_>>(), [1, 2], "these were tried");
        assert_eq!(batch.txs.keys().copied().collect::<Vec<_>>(), [99]);
    }

    #[test]
    fn peers_are_bounded_and_the_longest_unseen_goes() {
        let mut batch = Batch::default();
        for i in 0..super::super::MAX_PEERS as u64 + 5 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&i.to_le_bytes());
            batch.add_peer(NodeId(id), StoredPeer { since_ms: i, envelope: bytes::Bytes::new() });
        }
        assert_eq!(batch.peers.len(), super::super::MAX_PEERS);
        assert!(batch.peers.values().all(|peer| peer.since_ms >= 5));
    }
}
