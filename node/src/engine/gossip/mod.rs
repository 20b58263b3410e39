//! The relay: push to a few neighbours, announce to the others, pull what was announced.
//!
//! A transaction that was admitted is pushed at once to [`GossipConfig::eager`] neighbours drawn at random among those
//! not known to have it; the others are told its short id within [`BATCH_DELAY`] and ask for it if nobody else brings
//! it. A neighbour whose queue is full is told ids only, and those wait until it drains.

mod fetch;
mod seen;

use std::{collections::VecDeque, time::Duration};

use rand::{Rng, seq::IndexedRandom};
use starling_wire::{BoundedVec, Message, NodeId, ShortId, VerifiedTx};

pub(super) use self::{fetch::Failover, seen::Receipt};
use self::{fetch::Fetch, seen::Seen};
use super::{config::GossipConfig, io::Output, peers::Peers, time::Time};

/// How long announcements are collected before they are sent together. Longer saves messages and delays those that a
/// push did not reach.
const BATCH_DELAY: Duration = Duration::from_millis(1);

/// Announcements kept for a neighbour that is not draining its queue; the oldest give way.
const MAX_LAZY: usize = 16 * 1024;

/// The relay's state.
#[derive(Debug)]
pub(super) struct Gossip {
    config: GossipConfig,
    seen: Seen,
    fetch: Fetch,
    /// When the collected announcements go out.
    announce_at: Option<Time>,
}

impl Gossip {
    pub(super) fn new(config: GossipConfig) -> Self {
        Self { config, seen: Seen::new(), fetch: Fetch::default(), announce_at: None }
    }

    /// A copy came in, from the neighbour at `slot` or from this node's user.
    pub(super) fn receive(&mut self, now: Time, id: ShortId, slot: Option<u8>) -> Receipt {
        self.fetch.arrived(id);
        self.seen.receive(now, id, slot)
    }

    /// A transaction was refused, for good (`invalid`) or for now.
    pub(super) fn refused(&mut self, now: Time, id: ShortId, invalid: bool) {
        self.seen.refused(now, id, invalid);
    }

    /// A transaction could not be looked at: as though it had never come.
    pub(super) fn forget(&mut self, id: ShortId) {
        self.seen.forget(id);
    }

    /// Passes an admitted transaction on.
    pub(super) fn relay(
        &mut self,
        now: Time,
        tx: &VerifiedTx,
        peers: &mut Peers,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) {
        let id = tx.short_id();
        let holders = self.seen.holders(id);
        let open: Vec<NodeId> = peers
            .ready()
            .filter(|(_, link)| !link.congested && !holders.contains(link.slot))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in open.sample(rng, self.config.eager) {
            if let Some(link) = peers.get(peer) {
                holders.insert(link.slot);
                out(Output::Send { peer: *peer, message: Message::Push((**tx).clone()) });
            }
        }
        let mut announced = false;
        for (_, link) in peers.iter_mut().filter(|(_, link)| link.is_ready() && !holders.contains(link.slot)) {
            if link.lazy.len() >= MAX_LAZY {
                link.lazy.pop_front();
            }
            link.lazy.push_back(id);
            announced = true;
        }
        if announced {
            self.announce_at.get_or_insert(now + BATCH_DELAY);
        }
    }

    /// Offers a new neighbour what the pool holds, so that whoever comes late gets it too.
    pub(super) fn link_up(&self, peer: NodeId, pool: &[ShortId], out: &mut impl FnMut(Output)) {
        for ids in BoundedVec::chunks(pool) {
            out(Output::Send { peer, message: Message::IHave(ids) });
        }
    }

    /// A link is gone. Gives the requests that were with it.
    pub(super) fn link_lost(
        &mut self,
        now: Time,
        peer: &NodeId,
        slot: u8,
        peers: &Peers,
        out: &mut impl FnMut(Output),
    ) {
        self.seen.link_lost(slot);
        let failovers = self.fetch.link_lost(now, peer, peers);
        ask_next(&failovers, out);
    }

    /// A neighbour announced transactions: asks for those that are missing.
    pub(super) fn announced(
        &mut self,
        now: Time,
        peer: NodeId,
        ids: &[ShortId],
        peers: &Peers,
        out: &mut impl FnMut(Output),
    ) {
        let Some(link) = peers.get(&peer) else { return };
        let wanted: Vec<ShortId> = ids
            .iter()
            .filter(|id| self.seen.announced(now, **id, link.slot) && self.fetch.announced(now, **id, peer, peers))
            .copied()
            .collect();
        for ids in BoundedVec::chunks(&wanted) {
            out(Output::Send { peer, message: Message::IWant(ids) });
        }
    }

    /// A neighbour asks for a transaction: notes that it gets it, and says whether it already had.
    pub(super) fn asked(&mut self, id: ShortId, slot: u8) -> bool {
        let holders = self.seen.holders(id);
        let had = holders.contains(slot);
        holders.insert(slot);
        had
    }

    /// Sends what was collected and moves unanswered requests on. Gives those for the broken promises in them.
    pub(super) fn timeout(&mut self, now: Time, peers: &mut Peers, out: &mut impl FnMut(Output)) -> Vec<Failover> {
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_at = None;
            for (peer, link) in peers.iter_mut().filter(|(_, link)| link.is_ready() && !link.congested) {
                self.flush(*peer, link.slot, &mut link.lazy, out);
            }
        }
        let failovers = self.fetch.expire(now, peers);
        ask_next(&failovers, out);
        failovers
    }

    /// A neighbour's queue drained: tells it what was held back.
    pub(super) fn decongested(&mut self, peer: NodeId, peers: &mut Peers, out: &mut impl FnMut(Output)) {
        if let Some(link) = peers.get_mut(&peer) {
            self.flush(peer, link.slot, &mut link.lazy, out);
        }
    }

    /// When [`Self::timeout`] next has work.
    pub(super) fn deadline(&self) -> Option<Time> {
        [self.announce_at, self.fetch.deadline()].into_iter().flatten().min()
    }

    fn flush(&mut self, peer: NodeId, slot: u8, lazy: &mut VecDeque<ShortId>, out: &mut impl FnMut(Output)) {
        // Some may have come from that very neighbour meanwhile.
        lazy.retain(|id| !self.seen.holders(*id).contains(slot));
        for ids in BoundedVec::chunks(lazy.make_contiguous()) {
            out(Output::Send { peer, message: Message::IHave(ids) });
        }
        lazy.clear();
    }
}

fn ask_next(failovers: &[Failover], out: &mut impl FnMut(Output)) {
    for failover in failovers {
        if let Some(peer) = failover.next {
            for ids in BoundedVec::chunks(&[failover.id]) {
                out(Output::Send { peer, message: Message::IWant(ids) });
            }
        }
    }
}
