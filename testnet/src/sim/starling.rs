//! The shipping engine as a relay in the simulated world.
//!
//! Nothing of the protocol is modelled here: every message is the engine's own, encoded into a frame when it is sent and
//! decoded by the wire crate where it arrives.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use starling_mempool::{PoolConfig, TxRules};
use starling_node::engine::{
    Direction, Engine, EngineConfig, Event, GossipConfig, Input, Output, OverlayConfig, Source, Ticket, Time,
};
use starling_wire::{FrameDecoder, Kind, Message, NodeId, SignedTx, Unverified, Verified, verify};

use super::{
    relay::{Action, Cx, NEVER, Relay, Wire},
    traffic::Catalog,
};
use crate::map::{MAX_DEGREE, Topology};

/// One encoded message.
#[derive(Debug, Clone)]
pub(crate) struct Frame(Bytes);

impl Frame {
    /// Encodes a message.
    pub(super) fn new(message: &Message) -> Self {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        Self(bytes.freeze())
    }

    /// The message again; `None` if the bytes are none.
    pub(super) fn message(&self) -> Option<Message> {
        let mut decoder = FrameDecoder::default();
        decoder.extend(&self.0);
        decoder.next_message().ok().flatten().map(|(message, _)| message)
    }
}

impl Wire for Frame {
    fn kind(&self) -> usize {
        // A frame of this world is always of a kind there is.
        self.0.get(4).and_then(|number| Kind::try_from(*number).ok()).map_or(0, Kind::index)
    }

    fn bytes(&self) -> usize {
        self.0.len()
    }

    fn fingerprint(&self) -> u64 {
        // The end differs most: ids, labels and signatures stand there.
        self.0.last_chunk().map_or(0, |end| u64::from_le_bytes(*end))
    }
}

/// The transactions that a message carries in full.
fn payloads(message: &Message) -> Option<&SignedTx> {
    match message {
        Message::Push { tx, .. } | Message::BlockTx(tx) => Some(tx),
        _ => None,
    }
}

/// One node with its engine.
pub(crate) struct Starling {
    engine: Engine,
    /// Neighbours by slot.
    peers: Vec<NodeId>,
    /// The slots again, by id.
    slots: Vec<(NodeId, u16)>,
    /// Round trips by slot.
    rtts: Vec<Duration>,
    /// Signatures being checked, oldest first.
    checking: VecDeque<(Source, Unverified)>,
}

impl Starling {
    /// The nodes of an overlay.
    pub(crate) fn nodes(topology: &Topology, catalog: &Catalog, gossip: &GossipConfig, seed: u64) -> Vec<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(3);
        let ids: Vec<NodeId> = (0..topology.nodes()).map(|_| NodeId(bytes32(&mut rng))).collect();
        (0..topology.nodes())
            .map(|node| {
                let peers: Vec<NodeId> = topology.arcs_of(node).iter().map(|arc| ids[arc.to as usize]).collect();
                let mut slots: Vec<_> = peers.iter().enumerate().map(|(slot, id)| (*id, slot as u16)).collect();
                slots.sort_unstable();
                Self {
                    engine: Engine::new(config(catalog, gossip.clone()), ids[node], bytes32(&mut rng)),
                    rtts: vec![Duration::ZERO; peers.len()],
                    peers,
                    slots,
                    checking: VecDeque::new(),
                }
            })
            .collect()
    }

    fn handle(&mut self, cx: &mut Cx<'_, Frame>, input: Input) {
        let now = Time::after(Duration::from_micros(cx.now));
        self.engine.handle(now, input);
        // A link's round trip is measured once it is up; that leads to nothing that leads here again.
        while let Some(slot) = self.drain(cx) {
            self.engine.handle(now, Input::RoundTrip { peer: self.peers[slot], rtt: self.rtts[slot] });
        }
    }

    /// Carries out what the engine wants; gives the slot of the link that came up, if one did.
    fn drain(&mut self, cx: &mut Cx<'_, Frame>) -> Option<usize> {
        // A message to several neighbours is encoded once.
        let mut last: Option<(Message, Frame)> = None;
        let mut up = None;
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send { peer, message } => {
                    let Some(slot) = self.slot(&peer) else { continue };
                    let frame = match &last {
                        Some((sent, frame)) if *sent == message => frame.clone(),
                        _ => Frame::new(&message),
                    };
                    cx.send(slot, frame.clone());
                    last = Some((message, frame));
                }
                Output::Disconnect { peer } => {
                    if let Some(slot) = self.slot(&peer) {
                        cx.act(Action::Disconnect { slot });
                    }
                }
                Output::Verify { source, item } => {
                    self.checking.push_back((source, item));
                    cx.act(Action::Verify);
                }
                Output::Event(Event::LinkUp { peer }) => up = up.or(self.slot(&peer)),
                Output::Event(event) => Self::event(cx, event),
                // The overlay is given: there is nobody to dial. And nothing restarts.
                Output::Dial { .. }
                | Output::Block { .. }
                | Output::Store(_)
                | Output::ReadBlocks { .. }
                | Output::ReadBlockTxs { .. } => {}
            }
        }
        up
    }

    fn event(cx: &mut Cx<'_, Frame>, event: Event) {
        match event {
            Event::Admitted { tx, .. } => {
                if let Some(tx) = cx.catalog.number(&tx.id()) {
                    cx.act(Action::Delivered { tx });
                }
            }
            Event::Submitted { result: Err(rejection), .. } => {
                cx.act(Action::Rejected { reason: rejection.reason() });
            }
            Event::Refused { .. } => cx.act(Action::Refused),
            Event::Banned { .. } => cx.act(Action::Banned),
            _ => {}
        }
    }

    fn slot(&self, peer: &NodeId) -> Option<usize> {
        let at = self.slots.binary_search_by(|(id, _)| id.cmp(peer)).ok()?;
        Some(self.slots[at].1.into())
    }
}

fn bytes32(rng: &mut impl Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// The shipping defaults, but for the links, which the world makes.
fn config(catalog: &Catalog, gossip: GossipConfig) -> EngineConfig {
    EngineConfig {
        genesis: catalog.genesis.clone(),
        rules: TxRules::default(),
        // Of the simulation's few accounts, each sends what many would.
        pool: PoolConfig { max_bytes_per_sender: usize::MAX, ..PoolConfig::default() },
        overlay: OverlayConfig { dials: 0, max_incoming: MAX_DEGREE, ..OverlayConfig::default() },
        gossip,
        producer: None,
        unix_ms_at_start: 0,
    }
}

impl Relay for Starling {
    type Message = Frame;

    fn kinds() -> Vec<&'static str> {
        Kind::ALL.map(Kind::name).to_vec()
    }

    fn connected(&mut self, cx: &mut Cx<'_, Frame>, slot: usize, outgoing: bool, rtt_us: u32) {
        self.rtts[slot] = Duration::from_micros(rtt_us.into());
        let direction = if outgoing { Direction::Outgoing } else { Direction::Incoming };
        self.handle(cx, Input::Connected { peer: self.peers[slot], direction, address: None });
    }

    fn disconnected(&mut self, cx: &mut Cx<'_, Frame>, slot: usize) {
        self.handle(cx, Input::Disconnected { peer: self.peers[slot] });
    }

    fn congested(&mut self, cx: &mut Cx<'_, Frame>, slot: usize, congested: bool) {
        self.handle(cx, Input::Congestion { peer: self.peers[slot], congested });
    }

    fn message(&mut self, cx: &mut Cx<'_, Frame>, slot: usize, message: Frame) {
        let peer = self.peers[slot];
        let mut decoder = FrameDecoder::default();
        decoder.extend(&message.0);
        loop {
            let input = match decoder.next_message() {
                Ok(None) => return,
                Ok(Some((message, _))) => {
                    payloads(&message).into_iter().filter_map(|tx| cx.catalog.number(&tx.id())).for_each(|tx| {
                        cx.payloads.push(tx);
                    });
                    match message {
                        // Nobody has a record here; those there are carry none.
                        Message::Peers(_) => Input::PeerRecords { peer, records: Vec::new(), bad: 0 },
                        message => Input::Message { peer, message },
                    }
                }
                Err(error) => return self.handle(cx, Input::Malformed { peer, error }),
            };
            self.handle(cx, input);
        }
    }

    fn submit(&mut self, cx: &mut Cx<'_, Frame>, tx: u32) {
        // From its bytes, as it comes to a real node.
        let bytes = cx.catalog.entries[tx as usize].tx.bytes();
        match SignedTx::decode(bytes) {
            Ok(signed) => self.handle(cx, Input::Submit { ticket: Ticket(tx.into()), tx: signed }),
            Err(_) => cx.act(Action::Rejected { reason: "malformed" }),
        }
    }

    fn verified(&mut self, cx: &mut Cx<'_, Frame>) {
        let Some((source, item)) = self.checking.pop_front() else { return };
        // An id names one string of bytes, so one check is enough for all nodes; and they share one copy in memory.
        let known = match &item {
            Unverified::Tx(tx) => cx.catalog.number(&tx.id()),
            Unverified::Block(_) | Unverified::Report(..) => None,
        };
        let verdict = match known {
            Some(number) => Ok(Verified::Tx(cx.catalog.entries[number as usize].tx.clone())),
            None => verify(item.clone()).map_err(|error| (item, error)),
        };
        self.handle(cx, Input::Verified { source, verdict });
    }

    fn deadline(&self) -> u64 {
        self.engine.poll_timeout().map_or(NEVER, |time| time.since_start().as_micros() as u64)
    }

    fn timeout(&mut self, cx: &mut Cx<'_, Frame>) {
        self.handle(cx, Input::Timeout);
    }
}
