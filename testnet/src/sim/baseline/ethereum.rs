//! Ethereum's transaction relay: the full transaction to the square root of the peers, its hash to the others, who ask
//! for it if it does not come by itself.
//!
//! Source: the `eth/68` specification (ethereum/devp2p, `caps/eth.md`) and go-ethereum's `eth/handler.go`
//! (`BroadcastTransactions`) and `eth/fetcher/tx_fetcher.go` for the times. The peers to push to are drawn at random.
//! Answers to requests carry one transaction per message here; the bytes between is neglected.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{
    super::relay::{Cx, NEVER, Relay},
    Content, Model, Packet, Start,
    store::Store,
};

/// How long an announced transaction may come by itself, in microseconds: `txArriveTimeout`.
const ARRIVE: u64 = 500_000;

/// How long an answer is waited for: `txFetchTimeout`.
const FETCH: u64 = 5_000_000;

/// Bytes around a transaction: RLPx frame header 16, message code 1, list headers 6.
const OVERHEAD: usize = 23;

/// Bytes of an announcement or request besides its ids: RLPx frame header 16, code 1, list headers 9.
const IDS_OVERHEAD: usize = 26;

/// Bytes of an announced transaction: hash 33, type 1, size 3; of a requested one: hash 33.
const ANNOUNCED: usize = 37;
const REQUESTED: usize = 33;

const TRANSACTIONS: u8 = 0;
const HASHES: u8 = 1;
const GET: u8 = 2;
const POOLED: u8 = 3;

/// One node.
pub(crate) struct Ethereum {
    store: Store,
    /// Who announced a transaction that has not come, and when the next is asked.
    waiting: BTreeMap<u32, (Vec<usize>, u64)>,
    timers: BTreeSet<(u64, u32)>,
    rng: ChaCha8Rng,
}

impl Model for Ethereum {
    fn new(start: Start) -> Self {
        Self {
            store: Store::new(start.txs, start.degree),
            waiting: BTreeMap::new(),
            timers: BTreeSet::new(),
            rng: start.rng,
        }
    }
}

impl Relay for Ethereum {
    type Message = Packet;

    fn kinds() -> Vec<&'static str> {
        vec!["transactions", "new_hashes", "get_pooled", "pooled"]
    }

    fn connected(&mut self, _: &mut Cx<'_, Packet>, slot: usize, outgoing: bool, _: u32) {
        self.store.connected(slot, outgoing);
    }

    fn disconnected(&mut self, _: &mut Cx<'_, Packet>, slot: usize) {
        self.store.disconnected(slot);
    }

    fn message(&mut self, cx: &mut Cx<'_, Packet>, slot: usize, message: Packet) {
        match (message.kind, message.content) {
            (_, Content::Tx(tx, _)) => {
                self.store.receive(cx, tx, Some(slot));
                if let Some((_, at)) = self.waiting.remove(&tx) {
                    self.timers.remove(&(at, tx));
                }
            }
            (HASHES, Content::Ids(ids)) => {
                for (tx, _) in ids.iter().copied() {
                    self.store.note(tx, slot);
                    if !self.store.has_seen(tx) {
                        let (announcers, at) = self.waiting.entry(tx).or_insert_with(|| (Vec::new(), cx.now + ARRIVE));
                        announcers.push(slot);
                        self.timers.insert((*at, tx));
                    }
                }
            }
            (GET, Content::Ids(ids)) => {
                let had: Vec<u32> = ids.iter().map(|id| id.0).filter(|tx| self.store.has(*tx)).collect();
                for tx in had {
                    self.store.note(tx, slot);
                    cx.send(slot, Packet::tx(POOLED, cx.catalog.tx_size + OVERHEAD, tx, 0));
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
        let lacking = self.store.lacking(tx);
        let direct = (self.store.links().count() as f64).sqrt() as usize;
        let pushed: Vec<usize> = lacking.sample(&mut self.rng, direct).copied().collect();
        for slot in lacking {
            self.store.note(tx, slot);
            let packet = if pushed.contains(&slot) {
                Packet::tx(TRANSACTIONS, cx.catalog.tx_size + OVERHEAD, tx, 0)
            } else {
                Packet::ids(HASHES, IDS_OVERHEAD + ANNOUNCED, [tx])
            };
            cx.send(slot, packet);
        }
    }

    fn deadline(&self) -> u64 {
        self.timers.first().map_or(NEVER, |(time, _)| *time)
    }

    fn timeout(&mut self, cx: &mut Cx<'_, Packet>) {
        while let Some((time, tx)) = self.timers.first().copied().filter(|(time, _)| *time <= cx.now) {
            self.timers.remove(&(time, tx));
            let Some((announcers, at)) = self.waiting.get_mut(&tx) else { continue };
            announcers.retain(|slot| self.store.is_up(*slot));
            // Any of those who announced it.
            let Some(slot) = announcers.choose(&mut self.rng).copied() else {
                self.waiting.remove(&tx);
                continue;
            };
            announcers.retain(|other| *other != slot);
            *at = cx.now + FETCH;
            self.timers.insert((*at, tx));
            cx.send(slot, Packet::ids(GET, IDS_OVERHEAD + REQUESTED, [tx]));
        }
    }
}
