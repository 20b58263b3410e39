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
    /// Of its transactions, in order.
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

    /// Where a transaction is. Looks through all that is kept, newest first: a few microseconds, or some hundred if blocks
    /// are long.
    pub(super) fn find(&self, id: &TxId) -> Option<Included<'_>> {
        let short = id.short();
        (self.oldest()..=self.newest).rev().zip(self.kept.iter().rev()).find_map(|(height, kept)| {
            let at = kept.short_ids.iter().position(|known| *known == short)?;
            match self.get(height) {
                Some(applied) => {
                    applied.txs.get(at).filter(|tx| tx.id() == *id).map(|tx| Included::InMemory(height, tx))
                }
                None => Some(Included::Stored(height)),
            }
        })
    }
}

fn bytes(applied: &AppliedBlock) -> usize {
    applied.txs.iter().map(|tx| tx.bytes().len()).sum()
}
