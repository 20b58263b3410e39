//! The blocks that are kept: for nodes that lag behind, and for whoever asks what became of a transaction.

use std::collections::VecDeque;

use starling_wire::{ShortId, TxId, VerifiedBlock, VerifiedTx};

/// Blocks kept, for nodes that lag behind; one that is further behind cannot catch up from this one. Bounds memory, or the
/// disk, together with [`MAX_KEPT_BYTES`].
const MAX_KEPT: usize = 1024;

/// Bytes of transactions kept for those blocks.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// Of a chain that is stored as well, the blocks that are in memory: neighbours ask for the newest, and for others only
/// when they come back, or come anew.
const MAX_IN_MEMORY: usize = 64;

/// Bytes of transactions of those.
const MAX_IN_MEMORY_BYTES: usize = 4 << 20;

/// A block that is part of the chain.
#[derive(Debug)]
pub struct AppliedBlock {
    /// The block.
    pub block: VerifiedBlock,
    /// Its transactions, in order.
    pub txs: Vec<VerifiedTx>,
}

/// Where a transaction is that a block includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Included<'a> {
    /// In the block at a height, which is in memory.
    InMemory(u64, &'a VerifiedTx),
    /// In the stored block at a height, unless that has another one with the same short id.
    Stored(u64),
}

/// What is always in memory of a block that is kept.
#[derive(Debug)]
struct Kept {
    /// Of its transactions.
    short_ids: Box<[ShortId]>,
    /// Of its transactions.
    bytes: usize,
}

/// The last blocks of a chain: all that are kept in short, the newest of them in full. If nobody else stores them, that
/// is all of them.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Height of the newest, 0 for none.
    newest: u64,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    in_memory: VecDeque<AppliedBlock>,
    in_memory_bytes: usize,
    is_stored: bool,
}

impl Recent {
    /// Older blocks are stored: they do not stay in memory.
    pub(super) fn set_stored(&mut self) {
        self.is_stored = true;
    }

    /// Adds the next block of the chain; the oldest make room.
    pub(super) fn push(&mut self, applied: AppliedBlock) {
        let (short_ids, bytes) = (applied.block.tx_ids().iter().map(TxId::short).collect(), bytes(&applied));
        self.newest = applied.block.header().height;
        self.kept_bytes += bytes;
        self.kept.push_back(Kept { short_ids, bytes });
        self.in_memory_bytes += bytes;
        self.in_memory.push_back(applied);
        while self.kept.len() > MAX_KEPT || (self.kept_bytes > MAX_KEPT_BYTES && self.kept.len() > 1) {
            let Some(old) = self.kept.pop_front() else { break };
            self.kept_bytes -= old.bytes;
        }
        while self.in_memory.len() > self.kept.len() || self.is_stored && self.is_too_much() {
            let Some(old) = self.in_memory.pop_front() else { break };
            self.in_memory_bytes -= self::bytes(&old);
        }
    }

    fn is_too_much(&self) -> bool {
        self.in_memory.len() > MAX_IN_MEMORY || (self.in_memory_bytes > MAX_IN_MEMORY_BYTES && self.in_memory.len() > 1)
    }

    /// Height of the lowest block that is kept; one above the last if there is none.
    pub(super) fn oldest(&self) -> u64 {
        self.newest + 1 - self.kept.len() as u64
    }

    /// Height of the lowest block that is in memory; one above the last if there is none.
    pub(super) fn oldest_in_memory(&self) -> u64 {
        self.newest + 1 - self.in_memory.len() as u64
    }

    /// A block, if it is in memory.
    pub(super) fn get(&self, height: u64) -> Option<&AppliedBlock> {
        let at = usize::try_from(height.checked_sub(self.oldest_in_memory())?).ok()?;
        self.in_memory.get(at)
    }

    /// Bytes of a block's transactions; 0 if it is not kept.
    pub(super) fn bytes(&self, height: u64) -> usize {
        let at = height.checked_sub(self.oldest()).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.kept.get(at)).map_or(0, |kept| kept.bytes)
    }

    /// Where a transaction is. Looks through all that is kept, newest first: a few microseconds, or some hundred if blocks
    /// are long. Whoever makes two transactions with the same short id has only the later one found.
    pub(super) fn find(&self, id: &TxId) -> Option<Included<'_>> {
        let short = id.short();
        (self.oldest()..=self.newest).rev().zip(self.kept.iter().rev()).find_map(|(height, kept)| {
            match self.get(height) {
                Some(applied) => applied.txs.iter().find(|tx| tx.id() == *id).map(|tx| Included::InMemory(height, tx)),
                None => kept.short_ids.contains(&short).then_some(Included::Stored(height)),
            }
        })
    }
}

fn bytes(applied: &AppliedBlock) -> usize {
    applied.txs.iter().map(|tx| tx.bytes().len()).sum()
}

#[cfg(test)]
mod tests {
    use starling_wire::{
        AccountId, Block, BlockId, BoundedVec, NetworkId, SecretKey, Transaction, Unverified, Verified, verify,
    };

    use super::*;

    /// A block of one transaction with so long a payload.
    fn applied(height: u64, payload: usize) -> AppliedBlock {
        let key = SecretKey::from_seed(&[1; 32]);
        let tx = Transaction {
            network: NetworkId(1),
            sender: key.account(),
            nonce: height,
            fee: 1,
            recipient: AccountId([9; 32]),
            amount: 1,
            valid_until: None,
            payload: vec![0; payload].into(),
        };
        let tx = tx.sign(&key).unwrap().verify().unwrap();
        let tx_ids = BoundedVec::new(vec![tx.id()]).unwrap();
        let (network, parent) = (NetworkId(1), BlockId::ZERO);
        let block = Block { network, height, parent, timestamp_ms: 0, tx_ids }.sign(&key);
        match verify(Unverified::Block(block)) {
            Ok(Verified::Block(block)) => AppliedBlock { block, txs: vec![tx] },
            other => panic!("{other:?}"),
        }
    }

    fn filled(is_stored: bool, heights: u64, payload: usize) -> Recent {
        let mut recent = Recent { is_stored, ..Recent::default() };
        (1..=heights).for_each(|height| recent.push(applied(height, payload)));
        recent
    }

    #[test]
    fn of_a_stored_chain_the_newest_are_in_memory() {
        let id = |height| applied(height, 0).txs[0].id();
        let stored = filled(true, 100, 0);
        assert_eq!((stored.oldest(), stored.oldest_in_memory()), (1, 37));
        assert_eq!(stored.find(&id(36)), Some(Included::Stored(36)));
        assert!(matches!(stored.find(&id(37)), Some(Included::InMemory(37, tx)) if tx.id() == id(37)));
        assert_eq!((stored.find(&id(101)), stored.bytes(0), stored.bytes(101)), (None, 0, 0));
        let alone = filled(false, 100, 0);
        assert_eq!((alone.oldest(), alone.oldest_in_memory()), (1, 1));
        assert!(matches!(alone.find(&id(1)), Some(Included::InMemory(1, _))));
        assert_eq!((Recent::default().oldest(), Recent::default().find(&id(1))), (1, None));
    }

    #[test]
    fn memory_and_disk_are_bounded() {
        let recent = filled(true, 1100, 0);
        assert_eq!((recent.oldest(), recent.kept.len(), recent.in_memory.len()), (77, MAX_KEPT, MAX_IN_MEMORY));
        assert_eq!(recent.find(&applied(76, 0).txs[0].id()), None);
        let long = filled(true, 150, 32 * 1024);
        assert!(long.in_memory_bytes <= MAX_IN_MEMORY_BYTES || long.in_memory.len() == 1);
        let bytes: usize = (long.oldest_in_memory()..=150).map(|height| long.bytes(height)).sum();
        assert_eq!(bytes, long.in_memory_bytes);
        assert_eq!((1..=150).map(|height| long.bytes(height)).sum::<usize>(), long.kept_bytes);
    }
}
