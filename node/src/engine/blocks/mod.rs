//! The chain of announced blocks: checking whose turn it is, collecting what a block includes, applying it.
//!
//! Producers named by the genesis file take turns, one height each. A node takes the first valid block it sees at a
//! height; there is no fork choice, since this is not a consensus protocol.

mod claims;
mod recent;
mod routing;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    ops::Range,
    time::Duration,
};

use lru::LruCache;
use starling_mempool::{Genesis, Ledger};
use starling_wire::{
    BlockId, BoundedVec, GetBlockTxs, GetBlocks, Message, NodeId, SignedBlock, TxId, VerifiedBlock, VerifiedTx,
    limits::{MAX_BLOCK_TXS, MAX_IDS},
};

pub use self::recent::{AppliedBlock, Included};
use self::{claims::Claims, recent::Recent};
use super::{
    io::Output,
    peers::{Link, Peers},
    time::Time,
};

/// How far ahead of the chain's head a block is kept until its predecessors come.
const MAX_AHEAD: u64 = 32;

/// Reads of stored blocks under way for one neighbour. It asks for the longest block's transactions in as many parts.
const MAX_READS: usize = MAX_BLOCK_TXS.div_ceil(MAX_IDS);

/// After that a read that has not been answered does not count any more: nobody must be refused for ever for one that the
/// store had no time for.
const READ_LOST: Duration = Duration::from_secs(10);

/// Refused blocks remembered, so that copies of them are not looked at again.
const MAX_REFUSED: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Added to two round trips before a request for blocks or their transactions is given to another neighbour.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a neighbour that is sending transactions of a block is waited for: what it may send in answer to one message
/// takes four seconds at 2 Mbit/s.
const LONGEST: Duration = Duration::from_secs(10);

/// Transactions of blocks that a neighbour may owe. It may be asked again while it sends what it was asked for before.
const MAX_OWED: usize = 4 * MAX_BLOCK_TXS;

/// The next block of the chain, while some of its transactions are missing.
#[derive(Debug)]
struct Pending {
    block: VerifiedBlock,
    found: BTreeMap<TxId, VerifiedTx>,
    missing: BTreeSet<TxId>,
    /// Whom the missing were asked of.
    asked: Option<Asked>,
    /// Whom they were asked of before, and still are.
    tried: BTreeSet<NodeId>,
}

/// A question for transactions of a block.
#[derive(Debug)]
struct Asked {
    peer: NodeId,
    since: Time,
    /// Until then it may answer.
    deadline: Time,
}

/// What to do with a block that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receipt {
    /// Check its signature.
    Verify,
    /// It is known, too old, or kept for later.
    Nothing,
    /// No honest node passes on such a block.
    Invalid,
}

/// The chain's state.
#[derive(Debug)]
pub struct Chain {
    head: (u64, BlockId),
    recent: Recent,
    /// Neighbours for whom blocks are being read, and since when, the longest first.
    reads: Vec<(NodeId, Time)>,
    /// The block at the next height whose signature is being checked.
    checking: Option<BlockId>,
    pending: Option<Pending>,
    /// Blocks above the next height, unchecked, with whoever sent them.
    ahead: BTreeMap<u64, (NodeId, SignedBlock)>,
    refused: LruCache<BlockId, ()>,
    claims: Claims,
    /// Whom blocks were asked of, and until when it may answer.
    syncing: Option<(NodeId, Time)>,
    /// Whom blocks were last asked of: of those that it sends none gives way to what others sent for its height.
    followed: Option<NodeId>,
    /// Transactions of blocks that neighbours were asked for and have not sent. They may be late: others were asked
    /// meanwhile, or a neighbour pushed them.
    owed: BTreeMap<NodeId, usize>,
}

impl Chain {
    pub(super) fn new() -> Self {
        Self {
            head: (0, BlockId::ZERO),
            recent: Recent::default(),
            reads: Vec::new(),
            checking: None,
            pending: None,
            ahead: BTreeMap::new(),
            refused: LruCache::new(MAX_REFUSED),
            claims: Claims::default(),
            syncing: None,
            followed: None,
            owed: BTreeMap::new(),
        }
    }

    /// Older blocks are stored: they do not stay in memory.
    pub(super) fn set_stored(&mut self) {
        self.recent.set_stored();
    }

    /// Height of the last applied block, 0 for none.
    pub fn height(&self) -> u64 {
        self.head.0
    }

    /// Id of the last applied block, [`BlockId::ZERO`] for none.
    pub fn head(&self) -> BlockId {
        self.head.1
    }

    /// Height of the lowest block that is kept; one above the last if there is none.
    pub(super) fn oldest(&self) -> u64 {
        self.recent.oldest()
    }

    /// Whether a block is kept (the last 1,024, at most 64 MiB), if only by whoever stores it.
    pub fn keeps(&self, height: u64) -> bool {
        (self.oldest()..=self.height()).contains(&height)
    }

    /// A block of the chain that is in memory: all that are kept, or the newest of them if they are stored as well.
    pub fn block(&self, height: u64) -> Option<&AppliedBlock> {
        self.recent.get(height)
    }

    /// Whether a block is kept, but not in memory.
    pub(super) fn is_stored(&self, height: u64) -> bool {
        (self.oldest()..self.recent.oldest_in_memory()).contains(&height)
    }

    /// The first of some blocks, if they are kept, but not in memory: as many as have so many bytes of transactions, and at
    /// least one.
    pub(super) fn stored(&self, heights: Range<u64>, max_bytes: usize) -> Range<u64> {
        let mut bytes = 0;
        let start = heights.start;
        let stored = heights.take_while(|height| {
            bytes += self.recent.bytes(*height);
            self.is_stored(*height) && (bytes <= max_bytes || *height == start)
        });
        start..start + stored.count() as u64
    }

    /// Where a transaction is, if a block that is kept includes it. Takes some hundred microseconds if blocks are long.
    pub fn find(&self, id: &TxId) -> Option<Included<'_>> {
        self.recent.find(id)
    }

    /// Whether the chain is complete as far as any neighbour tells that keeps its word, so that a next block may be made.
    pub(super) fn is_current(&mut self, now: Time) -> bool {
        self.pending.is_none() && self.checking.is_none() && !self.claims.hold_back(now, self.head.0 + 1)
    }

    /// A neighbour told how far its chain goes.
    pub(super) fn claimed(&mut self, now: Time, peer: NodeId, height: u64) {
        self.claims.claimed(now, peer, height);
    }

    /// Whether a neighbour is known to have the block at a height.
    pub(super) fn peer_has(&self, peer: &NodeId, height: u64) -> bool {
        self.claims.has(peer, height)
    }

    /// Whether something may be read for a neighbour, and if so, notes that it is.
    pub(super) fn may_read(&mut self, now: Time, peer: NodeId) -> bool {
        self.reads.retain(|(_, since)| now - *since < READ_LOST);
        let may = self.reads.iter().filter(|(other, _)| *other == peer).count() < MAX_READS;
        if may {
            self.reads.push((peer, now));
        }
        may
    }

    /// Something was read. Says whether the neighbour still waits for it: one that has asked others meanwhile has no use for
    /// a late answer.
    pub(super) fn was_read_in_time(&mut self, now: Time, peer: &NodeId) -> bool {
        let Some(at) = self.reads.iter().position(|(other, _)| other == peer) else { return false };
        now - self.reads.remove(at).1 <= PATIENCE
    }

    /// A neighbour is taken for dead: others are asked for what it was asked for. What it has it has all the same, should it
    /// speak again.
    pub(super) fn suspected(&mut self, peer: &NodeId) {
        self.reads.retain(|(other, _)| other != peer);
        self.syncing.take_if(|(asked, _)| asked == peer);
        if let Some(pending) = &mut self.pending {
            pending.asked.take_if(|asked| asked.peer == *peer);
        }
    }

    /// A neighbour is gone, and nobody answers for what it said.
    pub(super) fn link_lost(&mut self, now: Time, peer: &NodeId) {
        self.suspected(peer);
        self.claims.link_lost(now, peer);
        self.owed.remove(peer);
        self.ahead.retain(|_, (from, _)| from != peer);
        if let Some(pending) = &mut self.pending {
            pending.tried.remove(peer);
        }
    }

    /// A block came in from a neighbour, or was made here.
    pub(super) fn receive(
        &mut self,
        now: Time,
        from: Option<NodeId>,
        block: &SignedBlock,
        genesis: &Genesis,
    ) -> Receipt {
        let header = block.header();
        if header.network != genesis.network
            || genesis.producer_at(header.height) != Some(header.producer)
            || block.tx_ids().len() > genesis.limits.max_block_txs as usize
        {
            return Receipt::Invalid;
        }
        if let Some(peer) = from {
            self.claims.claimed(now, peer, header.height);
        }
        let next = self.head.0 + 1;
        if header.height < next || header.height > next + MAX_AHEAD || self.refused.contains(&block.id()) {
            return Receipt::Nothing;
        }
        if header.height > next {
            if let Some(peer) = from
                && (from == self.followed || !self.ahead.contains_key(&header.height))
            {
                self.ahead.insert(header.height, (peer, block.clone()));
            }
            return Receipt::Nothing;
        }
        if self.checking.is_some() || self.pending.is_some() {
            self.syncing = None;
            return Receipt::Nothing;
        }
        if header.parent != self.head.1 {
            // Built on a block this node did not take: its producers signed two blocks for one height, or it is made up.
            self.refused.put(block.id(), ());
            if let Some((peer, _)) = self.syncing.take_if(|(asked, _)| Some(*asked) == from) {
                self.claims.broken(now, &peer);
            }
            return Receipt::Nothing;
        }
        self.syncing = None;
        self.checking = Some(block.id());
        Receipt::Verify
    }

    /// The signature of a block was no good.
    pub(super) fn bad_signature(&mut self, id: BlockId) {
        self.checking.take_if(|checking| *checking == id);
    }

    /// The signature of a block was good, which a neighbour sent, or this node made. Says whether it is to be passed on; it
    /// is then waiting to be applied.
    pub(super) fn verified(
        &mut self,
        now: Time,
        from: Option<NodeId>,
        block: VerifiedBlock,
        find: impl Fn(&TxId) -> Option<VerifiedTx>,
    ) -> bool {
        if self.checking.take() != Some(block.id()) || block.header().height != self.head.0 + 1 {
            return false;
        }
        if let Some(peer) = from {
            self.claims.kept(now, &peer);
        }
        let mut pending =
            Pending { found: BTreeMap::new(), missing: BTreeSet::new(), asked: None, tried: BTreeSet::new(), block };
        for id in pending.block.tx_ids() {
            match find(id) {
                Some(tx) => drop(pending.found.insert(*id, tx)),
                None => drop(pending.missing.insert(*id)),
            }
        }
        self.pending = Some(pending);
        true
    }

    /// Whether a transaction is what the next block waits for.
    pub(super) fn wants(&self, id: &TxId) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.missing.contains(id))
    }

    /// A neighbour sends a transaction of a block: if it was asked for them it is waited for, up to [`LONGEST`]. On a slow line a
    /// long answer takes longer than [`PATIENCE`], and to ask again would make it slower.
    pub(super) fn is_sending(&mut self, now: Time, peer: &NodeId, link: &Link) {
        let asked = self.pending.as_mut().and_then(|pending| pending.asked.as_mut());
        if let Some(asked) = asked.filter(|asked| asked.peer == *peer) {
            asked.deadline = deadline(now, link).min(asked.since + LONGEST).max(asked.deadline);
        }
    }

    /// A neighbour sent a transaction of a block. Says whether it was asked for some that it has not sent.
    pub(super) fn was_owed(&mut self, peer: &NodeId) -> bool {
        let Some(owed) = self.owed.get_mut(peer) else { return false };
        *owed -= 1;
        if *owed == 0 {
            self.owed.remove(peer);
        }
        true
    }

    /// A transaction became known.
    pub(super) fn offer(&mut self, tx: &VerifiedTx) {
        if let Some(pending) = &mut self.pending
            && pending.missing.remove(&tx.id())
        {
            pending.found.insert(tx.id(), tx.clone());
        }
    }

    /// Applies the next block if all of it is here, and gives its height.
    pub(super) fn advance(&mut self, ledger: &mut Ledger) -> Option<Result<u64, (VerifiedBlock, String)>> {
        let mut pending = self.pending.take_if(|pending| pending.missing.is_empty())?;
        let block = pending.block;
        let txs: Vec<VerifiedTx> = block.tx_ids().iter().filter_map(|id| pending.found.remove(id)).collect();
        let applied = if txs.len() == block.tx_ids().len() {
            ledger.apply(block.header().height, &block.header().producer, &txs).map_err(|error| error.to_string())
        } else {
            Err("it includes a transaction twice".into())
        };
        if let Err(why) = applied {
            self.refused.put(block.id(), ());
            return Some(Err((block, why)));
        }
        self.append(AppliedBlock { block, txs });
        Some(Ok(self.head.0))
    }

    /// Goes on from a block that is applied.
    pub(super) fn append(&mut self, applied: AppliedBlock) {
        self.head = (applied.block.header().height, applied.block.id());
        self.claims.grown();
        self.recent.push(applied);
    }

    /// The next block, if it was kept until its predecessor came.
    pub(super) fn next_ahead(&mut self) -> Option<(NodeId, SignedBlock)> {
        self.ahead = self.ahead.split_off(&(self.head.0 + 1));
        (self.checking.is_none() && self.pending.is_none()).then(|| self.ahead.remove(&(self.head.0 + 1)))?
    }

    /// Asks for what is missing: blocks up to what neighbours are known to have, transactions of the next block. Names
    /// a neighbour that claimed to have more blocks and did not send them.
    pub(super) fn request(&mut self, now: Time, peers: &Peers, out: &mut impl FnMut(Output)) -> Option<NodeId> {
        let next = self.head.0 + 1;
        self.claims.timeout(now);
        if self.pending.is_none() && self.syncing.is_none() && !self.claims.reach(next) {
            return None; // By far the most frequent case, after every input.
        }
        let late = self.syncing.take_if(|(_, deadline)| *deadline <= now).map(|(peer, _)| peer);
        if let Some(peer) = &late {
            self.claims.broken(now, peer);
        }
        self.request_txs(now, peers, out);
        let busy = self.pending.is_some() || self.checking.is_some() || self.ahead.contains_key(&next);
        let able = peers.ready().filter(|(peer, _)| self.claims.is_worth_asking(now, peer, next));
        if !busy
            && self.syncing.is_none()
            && let Some((peer, link)) = able.min_by_key(|(_, link)| link.expected_rtt())
        {
            (self.syncing, self.followed) = (Some((*peer, deadline(now, link))), Some(*peer));
            let request = GetBlocks { from: next, count: starling_wire::limits::MAX_BLOCKS_PER_REQUEST };
            out(Output::Send { peer: *peer, message: Message::GetBlocks(request) });
        }
        late
    }

    /// Asks for transactions of the next block: another neighbour if the last one asked has not sent them in time.
    fn request_txs(&mut self, now: Time, peers: &Peers, out: &mut impl FnMut(Output)) {
        let Some(Pending { block, missing, asked, tried, .. }) = &mut self.pending else { return };
        if missing.is_empty() || asked.as_ref().is_some_and(|asked| asked.deadline > now) {
            return;
        }
        let height = block.header().height;
        let able = || peers.ready().filter(|(peer, _)| self.claims.has(peer, height));
        if able().all(|(peer, _)| tried.contains(peer)) {
            tried.clear();
        }
        // The nearest first: whoever does not answer takes longer the farther it seems to be.
        let untried = able().filter(|(peer, _)| !tried.contains(peer));
        let next = untried.min_by_key(|(_, link)| link.expected_rtt());
        *asked = next.map(|(peer, link)| Asked { peer: *peer, since: now, deadline: deadline(now, link) });
        let Some((peer, _)) = next else { return };
        tried.insert(*peer);
        let owed = self.owed.entry(*peer).or_default();
        *owed = (*owed + missing.len()).min(MAX_OWED);
        let missing: Vec<TxId> = missing.iter().copied().collect();
        for ids in BoundedVec::chunks(&missing) {
            out(Output::Send { peer: *peer, message: Message::GetBlockTxs(GetBlockTxs { height, ids }) });
        }
    }

    /// When [`Self::request`] next has work.
    pub(super) fn deadline(&self) -> Option<Time> {
        let asked = self.pending.as_ref().and_then(|pending| pending.asked.as_ref()).map(|asked| asked.deadline);
        let syncing = self.syncing.map(|(_, deadline)| deadline);
        [asked, syncing, self.claims.deadline()].into_iter().flatten().min()
    }
}

fn deadline(now: Time, link: &Link) -> Time {
    now + link.expected_rtt() * 2 + PATIENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_has_so_many_blocks_read_at_once_and_none_late() {
        let (mut chain, now) = (Chain::new(), Time::ZERO);
        let [one, other] = [NodeId([1; 32]), NodeId([2; 32])];
        assert_eq!((0..9).filter(|_| chain.may_read(now, one)).count(), 4, "parts of the longest block");
        assert!(chain.may_read(now + PATIENCE, other), "others are not held up");
        assert!(chain.was_read_in_time(now + PATIENCE, &one));
        let late = now + PATIENCE + Duration::from_millis(1);
        assert!(!chain.was_read_in_time(late, &one) && chain.was_read_in_time(late, &other));
        assert!(chain.may_read(late, one));
        chain.link_lost(late, &one);
        assert!(!chain.was_read_in_time(late, &one), "it is not there any more");
        assert_eq!((0..9).filter(|_| chain.may_read(late, one)).count(), 4);
        assert!(chain.may_read(late + READ_LOST, one), "none was answered");
    }
}
