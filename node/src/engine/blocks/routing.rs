//! What the engine does with blocks: checks, asks for what they include, applies and makes them.

use std::collections::BTreeSet;

use starling_wire::{
    Block, BoundedVec, GetBlockTxs, GetBlocks, Message, NodeId, SignedBlock, SignedTx, TxId, Unverified, VerifiedBlock,
};

use super::{
    super::{Engine, Event, MAX_ANSWER, Output, Removal, Source, score::Blame, time::Time},
    AppliedBlock, Receipt,
};

impl Engine {
    pub(in super::super) fn block(&mut self, now: Time, from: Option<NodeId>, block: SignedBlock) {
        match (self.chain.receive(now, from, &block, &self.genesis), from) {
            (Receipt::Verify, from) => {
                let source = from.map_or(Source::Own, Source::Peer);
                self.verify(source, Unverified::Block(block));
            }
            (Receipt::Invalid, Some(peer)) => self.blame(now, peer, Blame::InvalidItem),
            (Receipt::Invalid, None) | (Receipt::Nothing, _) => {}
        }
    }

    pub(in super::super) fn verified_block(&mut self, now: Time, source: Source, block: VerifiedBlock) {
        let from = if let Source::Peer(peer) = source { Some(peer) } else { None };
        if !self.chain.verified(now, from, block.clone(), |id| self.pool.get(id).cloned()) {
            return;
        }
        let height = block.header().height;
        let lacking: Vec<NodeId> = self
            .peers
            .ready()
            .filter(|(peer, _)| from != Some(**peer) && !self.chain.peer_has(peer, height))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in lacking {
            self.send(peer, Message::Block((*block).clone()));
        }
        self.advance(now);
    }

    /// Applies what can be applied and goes on to what follows.
    pub(in super::super) fn advance(&mut self, now: Time) {
        while let Some(result) = self.chain.advance(&mut self.ledger) {
            match result {
                Ok(height) => {
                    let Some(AppliedBlock { block, txs }) = self.chain.block(height) else { continue };
                    let event = Event::BlockApplied { id: block.id(), height, txs: txs.len() };
                    let included: BTreeSet<TxId> = block.tx_ids().iter().copied().collect();
                    let removed = self.pool.apply_block(now.since_start(), height, txs, &self.ledger);
                    self.stats.blocks += 1;
                    self.stats.invalidated += removed.len().saturating_sub(txs.len()) as u64;
                    self.store_block(height);
                    included.iter().for_each(|id| self.gossip.included(now, id.short()));
                    let invalidated: Vec<TxId> = removed.into_iter().filter(|id| !included.contains(id)).collect();
                    // The next block may give its sender what it lacks.
                    invalidated.iter().for_each(|id| self.gossip.refused(now, id.short(), false));
                    self.store_removed(invalidated, Removal::Invalidated);
                    self.event(event);
                }
                Err((block, why)) => {
                    let (height, id) = (block.header().height, block.id());
                    self.event(Event::BlockRefused { id, height, why });
                }
            }
        }
        if let Some((peer, block)) = self.chain.next_ahead() {
            self.block(now, Some(peer), block);
        }
    }

    pub(in super::super) fn sync(&mut self, now: Time) {
        let out = &mut |output| self.outputs.push_back(output);
        if let Some(peer) = self.chain.request(now, &self.peers, out)
            && !self.is_late()
        {
            self.blame(now, peer, Blame::BrokenPromise);
        }
    }

    /// Makes a block if it is this node's turn and there is something to include.
    pub(in super::super) fn produce(&mut self, now: Time) {
        let Some(producer) = &self.producer else { return };
        self.next_production = Some(now + producer.interval);
        let height = self.chain.height() + 1;
        if self.genesis.producer_at(height) != Some(producer.key.account()) || !self.chain.is_current(now) {
            return;
        }
        let most = self.genesis.limits.max_block_txs as usize;
        let ids: Vec<_> = self.pool.best().take(most).map(|tx| tx.id()).collect();
        if ids.is_empty() {
            return;
        }
        let Ok(tx_ids) = BoundedVec::new(ids) else { return };
        let block = Block {
            network: self.genesis.network,
            height,
            parent: self.chain.head(),
            timestamp_ms: self.unix_ms(now),
            tx_ids,
        };
        let block = block.sign(&producer.key);
        self.block(now, None, block);
    }

    /// Blocks are asked for: those that are kept. After those that must be read the others wait for the next request, so
    /// that blocks go out in order.
    pub(in super::super) fn blocks_wanted(&mut self, now: Time, peer: NodeId, request: GetBlocks) {
        if !self.may_be_given(now, &peer) {
            return;
        }
        let heights = request.from..request.from.saturating_add(request.count.into());
        let stored = self.chain.stored(heights.clone(), MAX_ANSWER);
        if !stored.is_empty() {
            if self.chain.may_read(now, peer) {
                self.outputs.push_back(Output::ReadBlocks { peer, heights: stored });
            }
            return;
        }
        let blocks = heights.map_while(|height| self.chain.block(height));
        let messages = answer(blocks.map(|applied| Message::Block((*applied.block).clone())));
        self.give(now, peer, messages);
    }

    /// Whether a neighbour may be given more of what is kept.
    fn may_be_given(&self, now: Time, peer: &NodeId) -> bool {
        self.peers.get(peer).is_some_and(|link| link.may_be_given(now))
    }

    /// Gives a neighbour what it asked for.
    fn give(&mut self, now: Time, peer: NodeId, messages: Vec<Message>) {
        if let Some(link) = self.peers.get_mut(&peer) {
            link.was_given(now, messages.iter().map(Message::frame_len).sum());
        }
        self.outputs.extend(messages.into_iter().map(|message| Output::Send { peer, message }));
    }

    /// Transactions of a block are asked for.
    pub(in super::super) fn block_txs_wanted(&mut self, now: Time, peer: NodeId, request: &GetBlockTxs) {
        if !self.may_be_given(now, &peer) {
            return;
        }
        let GetBlockTxs { height, ids } = request;
        let wanted: BTreeSet<TxId> = ids.iter().copied().collect();
        if self.chain.is_stored(*height) {
            if self.chain.may_read(now, peer) {
                self.outputs.push_back(Output::ReadBlockTxs { peer, height: *height, wanted, max_bytes: MAX_ANSWER });
            }
            return;
        }
        let applied = self.chain.block(*height).map_or(&[][..], |applied| &applied.txs);
        let included = applied.iter().filter(|tx| wanted.contains(&tx.id()));
        // A block is passed on before it can be applied.
        let pooled = wanted.iter().filter_map(|id| self.pool.get(id));
        let messages = answer(included.chain(pooled).map(|tx| Message::BlockTx((**tx).clone())));
        self.give(now, peer, messages);
    }

    /// Something was read for a neighbour. A block is never too late.
    pub(in super::super) fn block_read(&mut self, now: Time, peer: NodeId, messages: Vec<Message>) {
        let in_time = self.chain.was_read_in_time(now, &peer);
        let of_use = messages.into_iter().filter(|message| in_time || matches!(message, Message::Block(_)));
        self.give(now, peer, of_use.collect());
    }

    /// A transaction of a block came. One that was asked for may have come from others meanwhile.
    pub(in super::super) fn block_tx(&mut self, now: Time, peer: NodeId, tx: SignedTx) {
        let owed = self.chain.was_owed(&peer);
        if self.chain.wants(&tx.id()) {
            if let Some(link) = self.peers.get(&peer) {
                self.chain.is_sending(now, &peer, link);
            }
            self.verify(Source::Fetched(peer), Unverified::Tx(tx));
        } else if !owed {
            self.blame(now, peer, Blame::Waste);
        }
    }
}

/// As many messages as fit into one answer.
fn answer(messages: impl Iterator<Item = Message>) -> Vec<Message> {
    let mut left = MAX_ANSWER;
    messages.take_while(|message| left.checked_sub(message.frame_len()).map(|rest| left = rest).is_some()).collect()
}
