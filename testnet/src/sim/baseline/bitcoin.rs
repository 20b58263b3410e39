//! Bitcoin's transaction relay: ids trickle out to hide who was first, and are asked for.
//!
//! Source: Bitcoin Core, `src/net_processing.cpp` and `src/node/txdownloadman.h` (27 to 29). Left out: the limit of 14
//! announcements per second and link, as the load here is often above it, and package and compact block relay.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{
    super::relay::{Cx, NEVER, Relay},
    Content, Model, Packet, Start,
    store::Store,
};

/// Mean time between announcements to a peer this node connected to, in microseconds, drawn for each link:
/// `OUTBOUND_INVENTORY_BROADCAST_INTERVAL`.
const OUTBOUND: f64 = 2_000_000.0;

/// The same for all others, drawn once for all of them: `INBOUND_INVENTORY_BROADCAST_INTERVAL`.
const INBOUND: f64 = 5_000_000.0;

/// How much longer a peer that connected to this node is waited with before it is asked: `NONPREF_PEER_TX_DELAY`.
const NONPREFERRED: u64 = 2_000_000;

/// How long an answer is waited for: `GETDATA_TX_INTERVAL`.
const GETDATA: u64 = 60_000_000;

/// Bytes around a transaction: message header 24.
const OVERHEAD: usize = 24;

/// Bytes of INV and GETDATA: header 24 and count 3; each entry type 4 and hash 32.
const IDS_OVERHEAD: usize = 27;
const ID: usize = 36;

const TX: u8 = 0;
const INV: u8 = 1;
const GET: u8 = 2;

/// A transaction that was announced and has not come.
#[derive(Default)]
struct Waiting {
    /// Who announced it, and from when on each may be asked.
    announcers: Vec<(u64, usize)>,
    /// Until when an answer is waited for: one at a time is asked.
    asked_until: u64,
}

/// One node.
pub(crate) struct Bitcoin {
    store: Store,
    /// Ids to announce, by link.
    queues: Vec<Vec<u32>>,
    /// When they are announced: by link, and for all incoming links.
    outbound_at: Vec<u64>,
    inbound_at: u64,
    waiting: BTreeMap<u32, Waiting>,
    timers: BTreeSet<(u64, u32)>,
    rng: ChaCha8Rng,
}

impl Model for Bitcoin {
    fn new(mut start: Start) -> Self {
        Self {
            store: Store::new(start.txs, start.degree),
            queues: vec![Vec::new(); start.degree],
            outbound_at: vec![NEVER; start.degree],
            inbound_at: wait(&mut start.rng, INBOUND),
            waiting: BTreeMap::new(),
            timers: BTreeSet::new(),
            rng: start.rng,
        }
    }
}

/// An exponentially distributed time.
fn wait(rng: &mut ChaCha8Rng, mean: f64) -> u64 {
    (-mean * (1.0 - rng.random::<f64>()).ln()) as u64 + 1
}

impl Bitcoin {
    fn announce(&mut self, cx: &mut Cx<'_, Packet>, slot: usize) {
        let ids: Vec<u32> = self.queues[slot].drain(..).filter(|tx| !self.store.is_known_to(*tx, slot)).collect();
        if !ids.is_empty() {
            ids.iter().for_each(|tx| self.store.note(*tx, slot));
            cx.send(slot, Packet::ids(INV, IDS_OVERHEAD + ID * ids.len(), ids));
        }
    }
}

impl Relay for Bitcoin {
    type Message = Packet;

    fn kinds() -> Vec<&'static str> {
        vec!["tx", "inv", "getdata"]
    }

    fn connected(&mut self, cx: &mut Cx<'_, Packet>, slot: usize, outgoing: bool, _: u32) {
        self.store.connected(slot, outgoing);
        if outgoing {
            self.outbound_at[slot] = cx.now + wait(&mut self.rng, OUTBOUND);
        }
    }

    fn disconnected(&mut self, _: &mut Cx<'_, Packet>, slot: usize) {
        self.store.disconnected(slot);
        self.outbound_at[slot] = NEVER;
        self.queues[slot].clear();
    }

    fn message(&mut self, cx: &mut Cx<'_, Packet>, slot: usize, message: Packet) {
        match (message.kind, message.content) {
            (_, Content::Tx(tx, _)) => {
                self.store.receive(cx, tx, Some(slot));
                self.waiting.remove(&tx);
            }
            (INV, Content::Ids(ids)) => {
                for (tx, _) in ids.iter().copied() {
                    self.store.note(tx, slot);
                    if self.store.has_seen(tx) {
                        continue;
                    }
                    let at = cx.now + if self.store.is_outgoing(slot) { 0 } else { NONPREFERRED };
                    let waiting = self.waiting.entry(tx).or_default();
                    let at = at.max(waiting.asked_until);
                    waiting.announcers.push((at, slot));
                    self.timers.insert((at, tx));
                }
            }
            (GET, Content::Ids(ids)) => {
                for (tx, _) in ids.iter().copied().filter(|(tx, _)| self.store.has(*tx)) {
                    cx.send(slot, Packet::tx(TX, cx.catalog.tx_size + OVERHEAD, tx, 0));
                }
            }
            _ => {}
        }
    }

    fn submit(&mut self, cx: &mut Cx<'_, Packet>, tx: u32) {
        self.store.receive(cx, tx, None);
    }

    fn verified(&mut self, cx: &mut Cx<'_, Packet>) {
        let Some((tx, _)) = self.store.verified(cx) else { return };
        for slot in self.store.lacking(tx) {
            self.queues[slot].push(tx);
        }
    }

    fn deadline(&self) -> u64 {
        let request = self.timers.first().map_or(NEVER, |(time, _)| *time);
        self.outbound_at.iter().copied().min().unwrap_or(NEVER).min(self.inbound_at).min(request)
    }

    fn timeout(&mut self, cx: &mut Cx<'_, Packet>) {
        for slot in 0..self.queues.len() {
            if self.outbound_at[slot] <= cx.now {
                self.outbound_at[slot] = cx.now + wait(&mut self.rng, OUTBOUND);
                self.announce(cx, slot);
            }
        }
        if self.inbound_at <= cx.now {
            self.inbound_at = cx.now + wait(&mut self.rng, INBOUND);
            for slot in 0..self.queues.len() {
                if !self.store.is_outgoing(slot) {
                    self.announce(cx, slot);
                }
            }
        }
        let mut requests: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        while let Some((time, tx)) = self.timers.first().copied().filter(|(time, _)| *time <= cx.now) {
            self.timers.remove(&(time, tx));
            let Some(Waiting { announcers, asked_until }) = self.waiting.get_mut(&tx) else { continue };
            announcers.sort_unstable();
            let Some(at) = announcers.iter().position(|(at, slot)| *at <= cx.now && self.store.is_up(*slot)) else {
                continue;
            };
            let (_, slot) = announcers.remove(at);
            // The others' turns come after this one's time is up.
            *asked_until = cx.now + GETDATA;
            announcers.iter_mut().for_each(|(at, _)| *at = (*at).max(*asked_until));
            if !announcers.is_empty() {
                self.timers.insert((*asked_until, tx));
            }
            requests.entry(slot).or_default().push(tx);
        }
        for (slot, ids) in requests {
            cx.send(slot, Packet::ids(GET, IDS_OVERHEAD + ID * ids.len(), ids));
        }
    }
}
