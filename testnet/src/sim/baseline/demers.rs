//! Two textbook epidemics.
//!
//! Source: A. Demers et al., "Epidemic Algorithms for Replicated Database Maintenance", PODC 1987. [`Push`] is rumour
//! mongering by push with feedback and counter (section 1.4): it leaves a small residue that never hears the rumour.
//! [`PushPull`] is anti-entropy in both directions over lists of recent updates (section 1.3). The paper has rounds and
//! any node may call any other; here each node has rounds of its own and calls neighbours on the overlay.

use std::collections::VecDeque;

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    super::relay::{Cx, Relay},
    Content, Model, Packet, Start,
    store::Store,
};

/// Time between two rounds of a node, in microseconds: about a message's way across the world, as a round of the paper is
/// the time for a message and its answer. The paper gives no time.
const ROUND: u64 = 100_000;

/// Neighbours to whom a rumour is told in a round.
const FANOUT: usize = 2;

/// A rumour is dropped after so many neighbours knew it already (`k` of the counter variant). The residue is
/// e^-((k+1)(1-residue)), 1.8 % for 3 and 0.25 % for 5, where calls go to anybody.
const K: u16 = 5;

/// For how long an update is in the list of recent ones, in microseconds (the paper's tau): well above the time it needs
/// to get everywhere.
const RECENT: u64 = 3_000_000;

/// Bytes of frames: those of Starling's frames and short ids.
const OVERHEAD: usize = 5;
const IDS_OVERHEAD: usize = 9;
const ID: usize = 8;

const RUMOUR: u8 = 0;
const KNOWN: u8 = 1;
const DIGEST: u8 = 1;
const WANT: u8 = 2;

/// One node that pushes rumours.
pub(crate) struct Push {
    store: Store,
    /// Rumours it tells, and how often that was for nothing.
    hot: Vec<(u32, u16)>,
    next_round: u64,
    rng: ChaCha8Rng,
}

impl Model for Push {
    fn new(mut start: Start) -> Self {
        Self {
            store: Store::new(start.txs, start.degree),
            hot: Vec::new(),
            next_round: start.rng.random_range(0..ROUND),
            rng: start.rng,
        }
    }
}

impl Relay for Push {
    type Message = Packet;

    fn kinds() -> Vec<&'static str> {
        vec!["rumour", "known"]
    }

    fn connected(&mut self, _: &mut Cx<'_, Packet>, slot: usize, outgoing: bool, _: u32) {
        self.store.connected(slot, outgoing);
    }

    fn disconnected(&mut self, _: &mut Cx<'_, Packet>, slot: usize) {
        self.store.disconnected(slot);
    }

    fn message(&mut self, cx: &mut Cx<'_, Packet>, slot: usize, message: Packet) {
        match (message.kind, message.content) {
            (RUMOUR, Content::Tx(tx, _)) => {
                let is_new = self.store.receive(cx, tx, Some(slot));
                if !is_new {
                    cx.send(slot, Packet::ids(KNOWN, IDS_OVERHEAD + ID, [tx]));
                }
            }
            (KNOWN, Content::Ids(ids)) => {
                for (tx, count) in self.hot.iter_mut().filter(|(tx, _)| ids.iter().any(|(id, _)| id == tx)) {
                    self.store.note(*tx, slot);
                    *count += 1;
                }
                self.hot.retain(|(_, count)| *count < K);
            }
            _ => {}
        }
    }

    fn submit(&mut self, cx: &mut Cx<'_, Packet>, tx: u32) {
        self.store.receive(cx, tx, None);
    }

    fn verified(&mut self, cx: &mut Cx<'_, Packet>) {
        if let Some((tx, _)) = self.store.verified(cx) {
            self.hot.push((tx, 0));
        }
    }

    fn deadline(&self) -> u64 {
        self.next_round
    }

    fn timeout(&mut self, cx: &mut Cx<'_, Packet>) {
        self.next_round += ROUND;
        // As in the paper, whether the neighbour knows it is learned by telling it.
        let links: Vec<usize> = self.store.links().collect();
        for slot in links.sample(&mut self.rng, FANOUT) {
            for (tx, _) in &self.hot {
                cx.send(*slot, Packet::tx(RUMOUR, cx.catalog.tx_size + OVERHEAD, *tx, 0));
            }
        }
    }
}

/// One node that compares lists.
pub(crate) struct PushPull {
    store: Store,
    /// What it got lately, and when.
    recent: VecDeque<(u64, u32)>,
    next_round: u64,
    rng: ChaCha8Rng,
}

impl Model for PushPull {
    fn new(mut start: Start) -> Self {
        Self {
            store: Store::new(start.txs, start.degree),
            recent: VecDeque::new(),
            next_round: start.rng.random_range(0..ROUND),
            rng: start.rng,
        }
    }
}

impl PushPull {
    fn send_tx(&self, cx: &mut Cx<'_, Packet>, slot: usize, tx: u32) {
        cx.send(slot, Packet::tx(RUMOUR, cx.catalog.tx_size + OVERHEAD, tx, 0));
    }
}

impl Relay for PushPull {
    type Message = Packet;

    fn kinds() -> Vec<&'static str> {
        vec!["update", "digest", "want"]
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
            }
            (DIGEST, Content::Ids(ids)) => {
                // What the caller lacks goes to it, what this node lacks is asked for.
                let mut theirs: Vec<u32> = ids.iter().map(|id| id.0).collect();
                theirs.sort_unstable();
                let lacking: Vec<u32> =
                    self.recent.iter().map(|(_, tx)| *tx).filter(|tx| theirs.binary_search(tx).is_err()).collect();
                for tx in lacking {
                    self.send_tx(cx, slot, tx);
                }
                let wanted: Vec<u32> = theirs.into_iter().filter(|tx| !self.store.has_seen(*tx)).collect();
                if !wanted.is_empty() {
                    cx.send(slot, Packet::ids(WANT, IDS_OVERHEAD + ID * wanted.len(), wanted));
                }
            }
            (WANT, Content::Ids(ids)) => {
                for (tx, _) in ids.iter().copied().filter(|(tx, _)| self.store.has(*tx)) {
                    self.send_tx(cx, slot, tx);
                }
            }
            _ => {}
        }
    }

    fn submit(&mut self, cx: &mut Cx<'_, Packet>, tx: u32) {
        self.store.receive(cx, tx, None);
    }

    fn verified(&mut self, cx: &mut Cx<'_, Packet>) {
        if let Some((tx, _)) = self.store.verified(cx) {
            self.recent.push_back((cx.now, tx));
        }
    }

    fn deadline(&self) -> u64 {
        self.next_round
    }

    fn timeout(&mut self, cx: &mut Cx<'_, Packet>) {
        self.next_round += ROUND;
        while self.recent.front().is_some_and(|(time, _)| time + RECENT < cx.now) {
            self.recent.pop_front();
        }
        let links: Vec<usize> = self.store.links().collect();
        if let Some(slot) = links.choose(&mut self.rng) {
            let ids: Vec<u32> = self.recent.iter().map(|(_, tx)| *tx).collect();
            cx.send(*slot, Packet::ids(DIGEST, IDS_OVERHEAD + ID * ids.len(), ids));
        }
    }
}
