//! Flooding: whoever gets a transaction for the first time sends it to everybody not known to have it. No relay is
//! faster on an overlay whose links are not full, and it costs a copy on nearly every link.
//!
//! Source: folklore; for instance the LAN flooding of OSPF (RFC 2328, section 13.3) works so.

use super::{
    super::relay::{Cx, NEVER, Relay},
    Content, Model, Packet, Start,
    store::Store,
};

/// Bytes around a transaction: the frame header that Starling's PUSH has.
const OVERHEAD: usize = 5;

/// One node.
pub(crate) struct Flood {
    store: Store,
}

impl Model for Flood {
    fn new(start: Start) -> Self {
        Self { store: Store::new(start.txs, start.degree) }
    }
}

impl Relay for Flood {
    type Message = Packet;

    fn kinds() -> Vec<&'static str> {
        vec!["push"]
    }

    fn connected(&mut self, _: &mut Cx<'_, Packet>, slot: usize, outgoing: bool, _: u32) {
        self.store.connected(slot, outgoing);
    }

    fn disconnected(&mut self, _: &mut Cx<'_, Packet>, slot: usize) {
        self.store.disconnected(slot);
    }

    fn message(&mut self, cx: &mut Cx<'_, Packet>, slot: usize, message: Packet) {
        if let Content::Tx(tx, _) = message.content {
            self.store.receive(cx, tx, Some(slot));
        }
    }

    fn submit(&mut self, cx: &mut Cx<'_, Packet>, tx: u32) {
        self.store.receive(cx, tx, None);
    }

    fn verified(&mut self, cx: &mut Cx<'_, Packet>) {
        let Some((tx, _)) = self.store.verified(cx) else { return };
        for slot in self.store.lacking(tx) {
            self.store.note(tx, slot);
            cx.send(slot, Packet::tx(0, cx.catalog.tx_size + OVERHEAD, tx, 0));
        }
    }

    fn deadline(&self) -> u64 {
        NEVER
    }

    fn timeout(&mut self, _: &mut Cx<'_, Packet>) {}
}
