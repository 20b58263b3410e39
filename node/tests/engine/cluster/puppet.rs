//! Neighbours of node 0 whose words are put into their mouths by the test; their engines never run.

use std::time::Duration;

use starling_node::engine::{Direction, Event, Input};
use starling_wire::{Hello, Message, NodeId, PROTOCOL_VERSION, SignedTx};

use super::Cluster;

impl Cluster {
    /// A neighbour of node 0 whose words are put into its mouth by the test; its engine never runs.
    pub(crate) fn puppet(&mut self) -> NodeId {
        let i = self.engines.len();
        self.dead.insert(i);
        self.add(0, None, 0);
        self.links.insert((0, i));
        let peer = self.ids[i];
        self.input(0, Input::Connected { peer, direction: Direction::Incoming, address: None });
        peer
    }

    /// Lets a puppet give a sign of life every second from now on, as a neighbour must.
    pub(crate) fn beat(&mut self, peer: NodeId) {
        self.beating.insert(peer);
        self.schedule(Duration::from_secs(1), 0, Input::Message { peer, message: Message::Alive });
    }

    /// One that has said hello and gives signs of life.
    pub(crate) fn hostile(&mut self) -> NodeId {
        let peer = self.puppet();
        self.say(peer, Message::Hello(self.hello()));
        self.beat(peer);
        peer
    }

    pub(crate) fn hello(&self) -> Hello {
        let network = self.genesis.network;
        Hello { version: PROTOCOL_VERSION, network, genesis: self.genesis.id(), height: 0 }
    }

    pub(crate) fn say(&mut self, peer: NodeId, message: Message) {
        self.input(0, Input::Message { peer, message });
    }

    /// What node 0 sent to it.
    pub(crate) fn sent_to(&self, peer: NodeId) -> Vec<Message> {
        let to = self.index(&peer);
        self.sent.iter().filter(|(from, other, _)| *from == 0 && *other == to).map(|(_, _, m)| m.clone()).collect()
    }

    /// Whether node 0 pushed a transaction to it, and did so once.
    pub(crate) fn was_pushed(&self, peer: NodeId, tx: &SignedTx) -> bool {
        let pushed = |message: &Message| matches!(message, Message::Push { tx: sent, .. } if sent == tx);
        self.sent_to(peer).iter().filter(|message| pushed(message)).count() == 1
    }

    pub(crate) fn is_banned(&self, peer: NodeId) -> bool {
        self.events.iter().any(|(_, i, event)| *i == 0 && matches!(event, Event::Banned { peer: p, .. } if *p == peer))
    }

    /// What node 0 thinks of it now.
    pub(crate) fn score(&self, peer: NodeId) -> f64 {
        self.engine(0).score(self.now, &peer)
    }
}
