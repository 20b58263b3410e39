//! Links from their beginning to their end: hello, signs of life, exchanges of peers, bans and goodbyes.
//!
//! Whom to connect to and whom to give up is the overlay's decision, and who is dead the pulse's; this carries it out.

use std::time::Duration;

use starling_wire::{Goodbye, Hello, Message, NodeId, PROTOCOL_VERSION};

use super::{
    Change, Engine, Event, Output, Time,
    io::{Address, Direction, PeerRecord},
    overlay::{self, Room},
    pulse,
    score::{self, Blame},
};

/// A neighbour that has not said hello by then is dropped.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Least time between two requests for peers by one neighbour, and between two times that it tells of some unasked.
const PEERS_GAP: Duration = Duration::from_millis(250);

impl Engine {
    pub(super) fn keep_links(&mut self, now: Time) {
        let plan = self.overlay.timeout(now, &self.peers, |peer| self.scores.is_banned(peer), &mut self.rng);
        for candidate in plan.dial {
            self.outputs.push_back(Output::Dial { peer: candidate.peer, addresses: candidate.addresses });
        }
        if let Some(peer) = plan.exchange {
            self.tell_peers(peer);
            self.ask_peers(peer);
        }
        if let Some(peer) = plan.rotate {
            self.stats.rotated += 1;
            self.overlay.turned_away(now, &peer);
            self.close(peer, Some(Goodbye::TooManyPeers));
        }
        if let Some(node) = plan.sample {
            self.event(Event::Sampled { node });
        }
        // In this order the anchors are those that were stored last.
        plan.anchors.iter().rev().for_each(|peer| self.reached(peer));
    }

    fn tell_peers(&mut self, peer: NodeId) {
        let records = self.overlay.choice(&mut self.rng);
        self.send(peer, Message::Peers(records));
    }

    fn ask_peers(&mut self, peer: NodeId) {
        if let Some(link) = self.peers.get_mut(&peer) {
            link.peers_asked += 1;
        }
        self.send(peer, Message::GetPeers);
    }

    pub(super) fn connected(&mut self, now: Time, peer: NodeId, direction: Direction, address: Option<&Address>) {
        let probe = self.overlay.connected(&peer, direction);
        let place = address.map(overlay::Place::of).unwrap_or_default();
        if self.stopping {
            return self.outputs.push_back(Output::Disconnect { peer });
        }
        if direction == Direction::Incoming && self.peers.incoming() >= self.overlay.max_connected() {
            match self.peers.oldest_mute(now) {
                Some(mute) => self.close(mute, None),
                None => return self.turn_away(peer),
            }
        }
        let first = self.peers.iter().next().is_none();
        let Some(link) = self.peers.insert(now, peer, direction, place) else {
            return self.outputs.push_back(Output::Disconnect { peer });
        };
        link.probe = probe;
        if first {
            self.next_round = now + pulse::ROUND;
        }
        self.hellos.push_back((now + HELLO_TIMEOUT, peer));
        let hello = self.own_hello();
        if probe {
            self.send(peer, Message::Probe(hello));
            self.tell_peers(peer);
        } else {
            self.send(peer, Message::Hello(hello));
        }
        if self.scores.is_banned(&peer) {
            self.close(peer, Some(Goodbye::Misbehaviour));
        }
    }

    fn own_hello(&self) -> Hello {
        Hello {
            version: PROTOCOL_VERSION,
            network: self.genesis.network,
            genesis: self.genesis_id,
            height: self.chain.height(),
        }
    }

    /// Nothing can be kept about one more peer: it is told of others, as in a crowd of newcomers most know of nobody else.
    fn turn_away(&mut self, peer: NodeId) {
        self.stats.turned_away += 1;
        let (hello, peers) = (self.own_hello(), self.overlay.choice(&mut self.rng));
        for message in [Message::Hello(hello), Message::Peers(peers), Message::Goodbye(Goodbye::TooManyPeers)] {
            self.outputs.push_back(Output::Send { peer, message });
        }
        self.outputs.push_back(Output::Disconnect { peer });
    }

    /// Drops who has not said hello in time.
    pub(super) fn close_mute(&mut self, now: Time) {
        while let Some((_, peer)) = self.hellos.pop_front_if(|(at, _)| *at <= now) {
            // It may have left and come back meanwhile.
            if self.peers.get(&peer).is_some_and(|link| !link.ready && link.since + HELLO_TIMEOUT <= now) {
                self.close(peer, None);
            }
        }
    }

    pub(super) fn disconnected(&mut self, now: Time, peer: NodeId) {
        let Some(link) = self.peers.remove(&peer) else { return };
        if !link.ready {
            self.gossip.forget_voice(link.slot);
        } else if link.suspected.is_none() {
            // Of a suspect everything is forgotten already but how far its chain goes.
            self.forget_link(now, &peer, link.slot);
        }
        self.chain.link_lost(now, &peer);
        if !link.probe {
            self.overlay.link_lost(now, &self.peers);
            if link.ready && link.suspected.is_none() {
                self.neighbour_lost(now, link.first_deliveries);
            }
        }
        if self.scores.is_banned(&peer) {
            self.outputs.push_back(Output::Block { peer, blocked: true });
        }
        if link.ready {
            self.event(Event::LinkDown { peer });
        } else if link.direction == Direction::Outgoing {
            // It hung up without a word, as one does that has banned this node.
            self.overlay.turned_away(now, &peer);
        }
    }

    /// A neighbour is gone, or silent, that brought so many transactions first. What others brought does not lack now; and who
    /// comes and goes must not make an outage of it.
    fn neighbour_lost(&mut self, now: Time, first_deliveries: u64) {
        if first_deliveries > 0 {
            self.gossip.neighbour_lost(now);
            self.reconcile.lost(now);
        }
    }

    /// A link is gone, or carries nothing: what was asked of it is asked of others, and its routes are forgotten.
    fn forget_link(&mut self, now: Time, peer: &NodeId, slot: u8) {
        let out = &mut |output| self.outputs.push_back(output);
        self.gossip.link_lost(now, peer, slot, &self.peers, &mut self.rng, out);
        self.reconcile.link_lost(peer);
        self.chain.suspected(peer);
    }

    pub(super) fn hello(&mut self, now: Time, peer: NodeId, hello: Hello) {
        let Some(link) = self.peers.get(&peer) else { return };
        if link.ready {
            return self.blame(now, peer, Blame::Violation("a second hello"));
        }
        let (direction, probe) = (link.direction, link.probe);
        if !self.is_our_network(now, peer, &hello) {
            return;
        }
        self.overlay.greeted(&peer);
        if probe {
            if direction == Direction::Incoming {
                self.blame(now, peer, Blame::Violation("a hello after a probe"));
            }
            return;
        }
        if direction == Direction::Incoming {
            match self.overlay.room(now, &self.peers) {
                Room::Free => {}
                Room::InPlaceOf(other) => {
                    self.stats.evicted += 1;
                    self.close(other, Some(Goodbye::TooManyPeers));
                }
                Room::None => {
                    self.stats.turned_away += 1;
                    self.tell_peers(peer);
                    return self.close(peer, Some(Goodbye::TooManyPeers));
                }
            }
        }
        if let Some(link) = self.peers.get_mut(&peer) {
            link.ready = true;
        }
        self.chain.claimed(now, peer, hello.height);
        self.tell_peers(peer);
        if direction == Direction::Outgoing {
            self.ask_peers(peer);
            self.compare_pools(now, peer);
        }
        self.aggregates.link_up(now);
        self.reached(&peer);
        self.event(Event::LinkUp { peer });
    }

    /// Somebody connects to exchange peers only.
    pub(super) fn probed(&mut self, now: Time, peer: NodeId, hello: Hello) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        if link.ready || link.direction == Direction::Outgoing {
            return self.blame(now, peer, Blame::Violation("a probe on a link"));
        }
        if link.probe {
            // Each is answered with a hundred times its bytes.
            return self.blame(now, peer, Blame::Violation("a second probe"));
        }
        link.probe = true;
        if self.is_our_network(now, peer, &hello) {
            self.tell_peers(peer);
        }
    }

    /// Whether a peer speaks for this network; otherwise its connection is closed.
    fn is_our_network(&mut self, now: Time, peer: NodeId, hello: &Hello) -> bool {
        let ours = (PROTOCOL_VERSION, self.genesis.network, self.genesis_id);
        let same = (hello.version, hello.network, hello.genesis) == ours;
        if !same {
            self.stats.wrong_network += 1;
            self.overlay.failed(now, Some(&peer));
            self.close(peer, Some(Goodbye::WrongNetwork));
        }
        same
    }

    /// Compares pools with a neighbour at once.
    fn compare_pools(&mut self, now: Time, peer: NodeId) {
        let out = &mut |output| self.outputs.push_back(output);
        self.reconcile.link_up(now, peer, &self.pool, &mut self.rng, out);
    }

    // Life and death of neighbours.

    /// Something came from a neighbour.
    pub(super) fn heard(&mut self, now: Time, peer: NodeId, bytes: usize) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        link.pulse.heard(now);
        link.bytes_in += bytes as u64;
        if !link.closing && link.suspected.take().is_some() {
            // It missed what was sent meanwhile.
            self.stats.revived += 1;
            self.compare_pools(now, peer);
            if let Some(last) = self.chain.block(self.chain.height()) {
                let message = Message::Block((*last.block).clone());
                self.send(peer, message);
            }
        }
    }

    /// Gives signs of life where nothing else was said, and looks for neighbours that give none.
    pub(super) fn end_round(&mut self, now: Time) {
        if now < self.next_round {
            return;
        }
        let late = now - self.next_round;
        self.next_round = now + pulse::ROUND;
        let (mut quiet, mut silent, mut given_up) = (Vec::new(), Vec::new(), Vec::new());
        for (peer, link) in self.peers.iter_mut().filter(|(_, link)| link.ready && !link.closing) {
            if late > pulse::ROUND {
                link.pulse.excuse(now, late);
            }
            link.pulse.end_round();
            if link.pulse.is_quiet(now) {
                quiet.push(*peer);
            }
            match link.suspected {
                None if link.pulse.is_suspect(now) => {
                    link.suspected = Some(now);
                    silent.push((*peer, link.slot, link.first_deliveries));
                }
                Some(since) if now - since >= pulse::GIVE_UP => given_up.push(*peer),
                _ => {}
            }
        }
        for peer in quiet {
            self.send(peer, Message::Alive);
        }
        for (peer, slot, first_deliveries) in silent {
            self.stats.suspected += 1;
            self.forget_link(now, &peer, slot);
            self.neighbour_lost(now, first_deliveries);
            self.overlay.link_lost(now, &self.peers);
            self.event(Event::Suspected { peer });
        }
        for peer in given_up {
            self.overlay.given_up(now, &peer, &mut self.rng);
            self.close(peer, None);
        }
    }

    /// Keeps where a node is, if this one found it there by itself: what others say of themselves may be wrong.
    fn reached(&mut self, peer: &NodeId) {
        if self.peers.get(peer).is_some_and(|link| link.ready && link.direction == Direction::Outgoing)
            && let Some(record) = self.overlay.record(peer)
        {
            self.outputs.push_back(Output::Store(Change::Peer(record.clone())));
        }
    }

    pub(super) fn congestion(&mut self, now: Time, peer: NodeId, congested: bool) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        link.congested = congested;
        if !congested {
            self.gossip.decongested(now, peer, &mut self.peers, &mut |output| self.outputs.push_back(output));
        }
    }

    /// Ends a link; the driver sends what is queued first and then reports the disconnection.
    pub(super) fn close(&mut self, peer: NodeId, goodbye: Option<Goodbye>) {
        if let Some(reason) = goodbye {
            self.send(peer, Message::Goodbye(reason));
        }
        if let Some(link) = self.peers.get_mut(&peer)
            && !link.closing
        {
            link.closing = true;
            self.outputs.push_back(Output::Disconnect { peer });
        }
    }

    pub(super) fn shutdown(&mut self) {
        self.stopping = true;
        let all: Vec<NodeId> = self.peers.iter().map(|(peer, _)| *peer).collect();
        for peer in all {
            self.close(peer, Some(Goodbye::Shutdown));
        }
    }

    pub(super) fn blame(&mut self, now: Time, peer: NodeId, blame: Blame) {
        if self.scores.blame(now, peer, blame) {
            self.banned(peer, blame.describe());
        }
    }

    pub(super) fn ban(&mut self, now: Time, peer: NodeId, why: String) {
        if self.scores.ban(now, peer) {
            self.banned(peer, why);
        }
    }

    fn banned(&mut self, peer: NodeId, why: String) {
        self.stats.banned += 1;
        if self.peers.get(&peer).is_some() {
            // Blocked once it is gone, so that it is still told why.
            self.close(peer, Some(Goodbye::Misbehaviour));
        } else {
            self.outputs.push_back(Output::Block { peer, blocked: true });
        }
        self.event(Event::Banned { peer, duration: score::BAN, why });
    }

    // What neighbours say about neighbours.

    /// Whatever the reason, the neighbour does not want this link now: it is left alone for a while.
    pub(super) fn goodbye(&mut self, now: Time, peer: NodeId) {
        self.overlay.turned_away(now, &peer);
        self.close(peer, None);
    }

    pub(super) fn get_peers(&mut self, now: Time, peer: NodeId) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        if now < link.next_get_peers {
            return self.blame(now, peer, Blame::Waste);
        }
        link.next_get_peers = now + PEERS_GAP;
        self.tell_peers(peer);
    }

    pub(super) fn peer_records(&mut self, now: Time, peer: NodeId, records: Vec<PeerRecord>, bad: usize) {
        let banned = self.scores.is_banned(&peer);
        let Some(link) = self.peers.get_mut(&peer).filter(|_| !banned) else { return };
        // Whoever is turned away has told of itself meanwhile.
        if !link.ready && !link.probe && !link.closing {
            return self.blame(now, peer, Blame::Violation("peer records before hello"));
        }
        let asked = link.peers_asked > 0;
        link.peers_asked = link.peers_asked.saturating_sub(1);
        if !asked && now < link.next_peers {
            return self.blame(now, peer, Blame::Waste);
        }
        if !asked {
            link.next_peers = now + PEERS_GAP;
        }
        let probes = link.probe && link.direction == Direction::Outgoing;
        self.heard(now, peer, records.iter().map(|record| 4 + record.envelope.len()).sum());
        for _ in 0..bad {
            self.blame(now, peer, Blame::InvalidItem);
        }
        let unix = self.unix_ms(now) / 1000;
        let linked = |node: &NodeId| self.peers.get(node).is_some();
        for node in self.overlay.learn(now, unix, records, asked || probes, linked, &mut self.rng) {
            self.reached(&node);
        }
        if probes {
            self.close(peer, Some(Goodbye::TooManyPeers));
        }
    }
}
