//! gossipsub v1.1 with one topic: a mesh for pushing, gossip of ids beside it, and flood publishing by the origin.
//!
//! Source: libp2p specs, `pubsub/gossipsub/gossipsub-v1.0.md` and `-v1.1.md`, with their default parameters. Left out:
//! peer exchange, scores (all are honest here), opportunistic grafting and v1.2's IDONTWANT, which implementations use
//! for messages over 1 KB only.

use std::collections::VecDeque;

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    super::relay::{Cx, Relay},
    Content, Model, Packet, Start,
    store::Store,
};

/// Mesh links wanted, fewest and most: `D`, `D_lo`, `D_hi`. The specification has 6, 4 (or 5) and 12; these are those
/// of Ethereum's consensus layer, 8/6/12.
const D: usize = 8;
const D_LO: usize = 6;
const D_HI: usize = 12;

/// Mesh links that the node must have opened itself, when there are too many: `D_out`.
const D_OUT: usize = 2;

/// To how many others ids are gossiped, at least and as a share: `D_lazy`, `gossip_factor`.
const D_LAZY: usize = 6;
const GOSSIP_FACTOR: f64 = 0.25;

/// `heartbeat_interval`, in microseconds.
const HEARTBEAT: u64 = 1_000_000;

/// Heartbeats for which messages are kept, and for which they are gossiped: `mcache_len`, `mcache_gossip`.
const MCACHE_LEN: usize = 5;
const MCACHE_GOSSIP: usize = 3;

/// How long a pruned link is not grafted again, in microseconds: `prune_backoff`.
const BACKOFF: u64 = 60_000_000;

/// Bytes of an RPC around one message without author, sequence number and signature (the transaction has its own, as in
/// Ethereum): length prefix 2, message tag 3, data tag 3, topic of 20 bytes and its tag 22.
const OVERHEAD: usize = 30;

/// Bytes of an RPC with ids besides them: length prefix 2, control and IHAVE or IWANT tags 6, topic 22 (IHAVE only; the
/// few bytes less of an IWANT are neglected). An id is a hash of 20 bytes and its tag, as in Ethereum.
const IDS_OVERHEAD: usize = 30;
const ID: usize = 22;

/// Bytes of a GRAFT or PRUNE: length prefix 2, tags 4, topic 22, and room for a PRUNE's backoff 2.
const CONTROL: usize = 30;

const PUBLISH: u8 = 0;
const IHAVE: u8 = 1;
const IWANT: u8 = 2;
const GRAFT: u8 = 3;
const PRUNE: u8 = 4;

/// One node.
pub(crate) struct Gossipsub {
    store: Store,
    mesh: Vec<bool>,
    backoff: Vec<u64>,
    /// Newest first; one window per heartbeat.
    cache: VecDeque<Vec<u32>>,
    next_heartbeat: u64,
    rng: ChaCha8Rng,
}

impl Model for Gossipsub {
    fn new(mut start: Start) -> Self {
        Self {
            store: Store::new(start.txs, start.degree),
            mesh: vec![false; start.degree],
            backoff: vec![0; start.degree],
            cache: VecDeque::from([Vec::new()]),
            next_heartbeat: start.rng.random_range(0..HEARTBEAT),
            rng: start.rng,
        }
    }
}

impl Gossipsub {
    fn mesh(&self) -> Vec<usize> {
        self.store.links().filter(|slot| self.mesh[*slot]).collect()
    }

    fn graft(&mut self, cx: &mut Cx<'_, Packet>, from: &[usize], count: usize) {
        let chosen: Vec<usize> = from.sample(&mut self.rng, count).copied().collect();
        for slot in chosen {
            self.mesh[slot] = true;
            cx.send(slot, Packet::signal(GRAFT, CONTROL));
        }
    }

    fn prune(&mut self, cx: &mut Cx<'_, Packet>, slot: usize) {
        self.mesh[slot] = false;
        self.backoff[slot] = cx.now + BACKOFF;
        cx.send(slot, Packet::signal(PRUNE, CONTROL));
    }

    fn balance(&mut self, cx: &mut Cx<'_, Packet>) {
        let mesh = self.mesh();
        let free = |gossipsub: &Self| -> Vec<usize> {
            let able = |slot: &usize| !gossipsub.mesh[*slot] && gossipsub.backoff[*slot] <= cx.now;
            gossipsub.store.links().filter(able).collect()
        };
        if mesh.len() < D_LO {
            let able = free(self);
            self.graft(cx, &able, D - mesh.len());
        } else if mesh.len() > D_HI {
            let outgoing: Vec<usize> = mesh.iter().copied().filter(|slot| self.store.is_outgoing(*slot)).collect();
            let mut keep: Vec<usize> = outgoing.sample(&mut self.rng, D_OUT).copied().collect();
            let others: Vec<usize> = mesh.iter().copied().filter(|slot| !keep.contains(slot)).collect();
            let more: Vec<usize> = others.sample(&mut self.rng, D - keep.len()).copied().collect();
            keep.extend(more);
            for slot in mesh.into_iter().filter(|slot| !keep.contains(slot)) {
                self.prune(cx, slot);
            }
        } else {
            let outgoing = mesh.iter().filter(|slot| self.store.is_outgoing(**slot)).count();
            if outgoing < D_OUT {
                let able: Vec<usize> = free(self).into_iter().filter(|slot| self.store.is_outgoing(*slot)).collect();
                self.graft(cx, &able, D_OUT - outgoing);
            }
        }
    }

    fn gossip(&mut self, cx: &mut Cx<'_, Packet>) {
        let ids: Vec<u32> = self.cache.iter().take(MCACHE_GOSSIP).flatten().copied().collect();
        if ids.is_empty() {
            return;
        }
        let others: Vec<usize> = self.store.links().filter(|slot| !self.mesh[*slot]).collect();
        let count = D_LAZY.max((GOSSIP_FACTOR * others.len() as f64) as usize);
        let packet = Packet::ids(IHAVE, IDS_OVERHEAD + ID * ids.len(), ids);
        for slot in others.sample(&mut self.rng, count) {
            cx.send(*slot, packet.clone());
        }
    }
}

impl Relay for Gossipsub {
    type Message = Packet;

    fn kinds() -> Vec<&'static str> {
        vec!["publish", "ihave", "iwant", "graft", "prune"]
    }

    fn connected(&mut self, _: &mut Cx<'_, Packet>, slot: usize, outgoing: bool, _: u32) {
        self.store.connected(slot, outgoing);
    }

    fn disconnected(&mut self, _: &mut Cx<'_, Packet>, slot: usize) {
        self.store.disconnected(slot);
        self.mesh[slot] = false;
    }

    fn message(&mut self, cx: &mut Cx<'_, Packet>, slot: usize, message: Packet) {
        match (message.kind, message.content) {
            (_, Content::Tx(tx, _)) => {
                self.store.receive(cx, tx, Some(slot));
            }
            (IHAVE, Content::Ids(ids)) => {
                let wanted: Vec<u32> = ids.iter().map(|id| id.0).filter(|id| !self.store.has_seen(*id)).collect();
                if !wanted.is_empty() {
                    cx.send(slot, Packet::ids(IWANT, IDS_OVERHEAD + ID * wanted.len(), wanted));
                }
            }
            (IWANT, Content::Ids(ids)) => {
                for (id, _) in ids.iter().filter(|(id, _)| self.cache.iter().flatten().any(|kept| kept == id)) {
                    cx.send(slot, Packet::tx(PUBLISH, cx.catalog.tx_size + OVERHEAD, *id, 0));
                }
            }
            (GRAFT, _) => {
                let full = self.mesh().len() >= D_HI && !self.store.is_outgoing(slot);
                if self.backoff[slot] > cx.now || full {
                    self.prune(cx, slot);
                } else {
                    self.mesh[slot] = true;
                }
            }
            (PRUNE, _) => {
                self.mesh[slot] = false;
                self.backoff[slot] = cx.now + BACKOFF;
            }
            _ => {}
        }
    }

    fn submit(&mut self, cx: &mut Cx<'_, Packet>, tx: u32) {
        self.store.receive(cx, tx, None);
    }

    fn verified(&mut self, cx: &mut Cx<'_, Packet>) {
        let Some((tx, from)) = self.store.verified(cx) else { return };
        self.cache[0].push(tx);
        // Flood publishing: the origin sends to all, not only on its mesh.
        let to: Vec<usize> =
            self.store.lacking(tx).into_iter().filter(|slot| from.is_none() || self.mesh[*slot]).collect();
        for slot in to {
            self.store.note(tx, slot);
            cx.send(slot, Packet::tx(PUBLISH, cx.catalog.tx_size + OVERHEAD, tx, 0));
        }
    }

    fn deadline(&self) -> u64 {
        self.next_heartbeat
    }

    fn timeout(&mut self, cx: &mut Cx<'_, Packet>) {
        self.next_heartbeat += HEARTBEAT;
        self.balance(cx);
        self.gossip(cx);
        self.cache.push_front(Vec::new());
        self.cache.truncate(MCACHE_LEN);
    }
}
