//! Plumtree: one spanning tree for all, found by pruning links that brought a copy too many, and mended by ids.
//!
//! Source: J. Leitão, J. Pereira, L. Rodrigues, "Epidemic Broadcast Trees", SRDS 2007, with the optimisation of its
//! section 3.8. The timeouts, which the paper leaves open, are those of `iroh-gossip` (`proto/plumtree.rs`). All links
//! start eager. Payloads are kept for ever, so a GRAFT is always answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    super::relay::{Cx, NEVER, Relay},
    Content, Model, Packet, Start,
    store::Store,
};

/// How long an announced payload is waited for, in microseconds, before it is asked for.
const GRAFT_TIMEOUT_1: u64 = 80_000;

/// The same for each further neighbour that is asked.
const GRAFT_TIMEOUT_2: u64 = 40_000;

/// How long announcements are collected, in microseconds.
const DISPATCH: u64 = 5_000;

/// A lazy link replaces the eager one if it is so many hops shorter.
const OPTIMIZATION: u16 = 7;

/// Bytes around a payload: length 4, tags 2, id 32, hops 2.
const OVERHEAD: usize = 40;

/// Bytes of a list of ids besides them: length 4, tag 1, count 1. An id is 32 bytes and hops 2.
const IDS_OVERHEAD: usize = 6;
const ID: usize = 34;

/// Bytes of a PRUNE: length 4, tag 1.
const PRUNE_BYTES: usize = 5;

const GOSSIP: u8 = 0;
const IHAVE: u8 = 1;
const GRAFT: u8 = 2;
const PRUNE: u8 = 3;

/// One node.
pub(crate) struct Plumtree {
    store: Store,
    eager: Vec<bool>,
    /// Hops over which each transaction came.
    hops: Vec<u16>,
    /// Ids to announce, by link.
    lazy: Vec<Vec<(u32, u16)>>,
    dispatch_at: u64,
    /// Who announced a transaction that has not come, in order.
    missing: BTreeMap<u32, Vec<(usize, u16)>>,
    timers: BTreeSet<(u64, u32)>,
}

impl Model for Plumtree {
    fn new(start: Start) -> Self {
        Self {
            store: Store::new(start.txs, start.degree),
            eager: vec![false; start.degree],
            hops: vec![0; start.txs],
            lazy: vec![Vec::new(); start.degree],
            dispatch_at: NEVER,
            missing: BTreeMap::new(),
            timers: BTreeSet::new(),
        }
    }
}

impl Plumtree {
    fn gossip(&mut self, cx: &mut Cx<'_, Packet>, slot: usize, tx: u32) {
        self.store.note(tx, slot);
        cx.send(slot, Packet::tx(GOSSIP, cx.catalog.tx_size + OVERHEAD, tx, self.hops[tx as usize] + 1));
    }

    fn payload(&mut self, cx: &mut Cx<'_, Packet>, slot: usize, tx: u32, hops: u16) {
        if !self.store.receive(cx, tx, Some(slot)) {
            self.eager[slot] = false;
            cx.send(slot, Packet::signal(PRUNE, PRUNE_BYTES));
            return;
        }
        self.eager[slot] = true;
        self.hops[tx as usize] = hops;
        let announced = self.missing.remove(&tx).unwrap_or_default();
        // Section 3.8: a much shorter way takes the place of this one.
        if let Some((better, _)) = announced.into_iter().find(|(_, other)| other + OPTIMIZATION <= hops) {
            self.eager[better] = true;
            cx.send(better, Packet::ids(GRAFT, IDS_OVERHEAD, []));
            self.eager[slot] = false;
            cx.send(slot, Packet::signal(PRUNE, PRUNE_BYTES));
        }
    }
}

impl Relay for Plumtree {
    type Message = Packet;

    fn kinds() -> Vec<&'static str> {
        vec!["gossip", "ihave", "graft", "prune"]
    }

    fn connected(&mut self, _: &mut Cx<'_, Packet>, slot: usize, outgoing: bool, _: u32) {
        self.store.connected(slot, outgoing);
        self.eager[slot] = true;
    }

    fn disconnected(&mut self, _: &mut Cx<'_, Packet>, slot: usize) {
        self.store.disconnected(slot);
        self.lazy[slot].clear();
        for announcers in self.missing.values_mut() {
            announcers.retain(|(other, _)| *other != slot);
        }
    }

    fn message(&mut self, cx: &mut Cx<'_, Packet>, slot: usize, message: Packet) {
        match (message.kind, message.content) {
            (_, Content::Tx(tx, hops)) => self.payload(cx, slot, tx, hops),
            (IHAVE, Content::Ids(ids)) => {
                for (tx, hops) in ids.iter().copied() {
                    self.store.note(tx, slot);
                    if self.store.has_seen(tx) {
                        continue;
                    }
                    let announcers = self.missing.entry(tx).or_default();
                    if announcers.is_empty() {
                        self.timers.insert((cx.now + GRAFT_TIMEOUT_1, tx));
                    }
                    announcers.push((slot, hops));
                }
            }
            (GRAFT, Content::Ids(ids)) => {
                self.eager[slot] = true;
                let had: Vec<u32> = ids.iter().map(|id| id.0).filter(|tx| self.store.has(*tx)).collect();
                for tx in had {
                    self.gossip(cx, slot, tx);
                }
            }
            (PRUNE, _) => self.eager[slot] = false,
            _ => {}
        }
    }

    fn submit(&mut self, cx: &mut Cx<'_, Packet>, tx: u32) {
        self.store.receive(cx, tx, None);
    }

    fn verified(&mut self, cx: &mut Cx<'_, Packet>) {
        let Some((tx, _)) = self.store.verified(cx) else { return };
        for slot in self.store.lacking(tx) {
            if self.eager[slot] {
                self.gossip(cx, slot, tx);
            } else {
                self.lazy[slot].push((tx, self.hops[tx as usize] + 1));
                self.dispatch_at = self.dispatch_at.min(cx.now + DISPATCH);
            }
        }
    }

    fn deadline(&self) -> u64 {
        self.timers.first().map_or(NEVER, |(time, _)| *time).min(self.dispatch_at)
    }

    fn timeout(&mut self, cx: &mut Cx<'_, Packet>) {
        if self.dispatch_at <= cx.now {
            self.dispatch_at = NEVER;
            for (slot, ids) in self.lazy.iter_mut().enumerate().filter(|(_, ids)| !ids.is_empty()) {
                let bytes = (IDS_OVERHEAD + ID * ids.len()) as u32;
                let content = Content::Ids(Arc::from(std::mem::take(ids)));
                cx.send(slot, Packet { kind: IHAVE, bytes, content });
            }
        }
        while let Some((_, tx)) = self.timers.pop_first_if(cx.now) {
            let Some(announcers) = self.missing.get_mut(&tx) else { continue };
            if announcers.is_empty() {
                self.missing.remove(&tx);
                continue;
            }
            let (slot, _) = announcers.remove(0);
            self.timers.insert((cx.now + GRAFT_TIMEOUT_2, tx));
            self.eager[slot] = true;
            cx.send(slot, Packet::ids(GRAFT, IDS_OVERHEAD + ID, [tx]));
        }
    }
}

trait PopDue {
    fn pop_first_if(&mut self, now: u64) -> Option<(u64, u32)>;
}

impl PopDue for BTreeSet<(u64, u32)> {
    fn pop_first_if(&mut self, now: u64) -> Option<(u64, u32)> {
        if self.first().is_some_and(|(time, _)| *time <= now) { self.pop_first() } else { None }
    }
}
