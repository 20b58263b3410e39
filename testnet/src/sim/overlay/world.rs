//! The world that nodes find each other in: one queue of events, one thread.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use starling_mempool::{PoolConfig, TxRules};
use starling_node::engine::{
    Address, Direction, Engine, EngineConfig, Event, GossipConfig, Input, Output, OverlayConfig, PeerRecord, Ticket,
    Time,
};
use starling_wire::{GenesisId, Hello, Message, NodeId, PROTOCOL_VERSION, Unverified, Verified, verify};

use super::{ARRIVE_WITHIN, MINUTE, Plan, SETTLE, attack};
use crate::{
    map::{Place, Shape},
    sim::{event::mix, traffic::Catalog},
};

/// After so long a dial to a node that is no more fails, in microseconds.
const DIAL_TIMEOUT: u64 = 3_000_000;

/// Length of a signed record, with one address.
const RECORD_LEN: usize = 176;

/// Unix time at the start, in seconds.
const UNIX: u64 = 1_700_000_000;

/// /8 networks that nodes are spread over, at most; in each are equally many nodes, each in a /16 of its own, as samples
/// are drawn network by network.
const WIDE_NETWORKS: usize = 200;

/// The /8 networks in which no address is private or means something to its own machine only.
fn public_networks() -> impl Iterator<Item = u8> {
    (1..224).filter(|first| ![10, 100, 127, 169, 172, 192].contains(first))
}

/// One node.
pub(super) struct Node {
    pub(super) id: NodeId,
    record: PeerRecord,
    place: Place,
    /// `None` before it comes, when it is gone, and for the attacker's.
    pub(super) engine: Option<Engine>,
    pub(super) hostile: bool,
    /// In microseconds; at [`u64::MAX`] it has not yet come, or left.
    pub(super) came: u64,
    pub(super) left: u64,
    /// Its connections by the other end's number, with a number for each.
    connections: BTreeMap<u32, u64>,
    /// Those of an attacker's node that are probes of its own.
    probed: BTreeSet<u32>,
    armed: u64,
    /// Bytes sent since figures count, and in the last minute of the run.
    pub(super) sent: u64,
    pub(super) sent_last: u64,
    /// Times it was drawn since figures count.
    pub(super) drawn: u64,
}

impl Node {
    fn is_up(&self) -> bool {
        self.came != u64::MAX && self.left == u64::MAX
    }
}

enum Happening {
    Come { node: u32 },
    Leave,
    Join,
    Dialled { from: u32, to: u32 },
    DialFailed { from: u32, to: u32 },
    Message { from: u32, to: u32, connection: u64, message: Message },
    Down { at: u32, other: u32, connection: u64 },
    Timer { node: u32 },
    Attack { node: u32 },
    Submit { tx: u32 },
}

struct Due {
    at: u64,
    sequence: u64,
    what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// The world.
pub(super) struct World<'a> {
    plan: &'a Plan,
    catalog: &'a Catalog,
    genesis_id: GenesisId,
    pub(super) nodes: Vec<Node>,
    numbers: BTreeMap<NodeId, u32>,
    hostile: Vec<u32>,
    rng: ChaCha8Rng,
    now: u64,
    queue: BinaryHeap<Reverse<Due>>,
    sequence: u64,
    /// For each transaction: when it entered, and the nodes that have it.
    pub(super) delivered: Vec<(u64, BTreeMap<u32, u64>)>,
    /// From when on the living hang together without a break until now, in seconds.
    pub(super) connected_since: Option<u64>,
    /// Seconds after [`SETTLE`] in which they did not.
    pub(super) parted_s: u64,
    /// Honest nodes that had no honest neighbour in some second after [`SETTLE`].
    pub(super) isolated: u64,
    pub(super) suspected_alive: u64,
    pub(super) digest: u64,
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan, catalog: &'a Catalog, load: bool) -> Self {
        let mut world = Self {
            plan,
            catalog,
            genesis_id: catalog.genesis.id(),
            nodes: Vec::new(),
            numbers: BTreeMap::new(),
            hostile: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(plan.seed),
            now: 0,
            queue: BinaryHeap::new(),
            sequence: 0,
            delivered: catalog.entries.iter().map(|_| (u64::MAX, BTreeMap::new())).collect(),
            connected_since: None,
            parted_s: 0,
            isolated: 0,
            suspected_alive: 0,
            digest: 0,
        };
        let hostile = plan.attack.map_or(0, |attack| (attack.share * plan.nodes as f64).round() as usize);
        for number in 0..plan.nodes {
            // The first is the bootstrap node; the attacker's come after it, and with the others.
            let hostile = number > 0 && number <= hostile;
            let node = world.add(hostile);
            let at = if number == 0 { 0 } else { world.rng.random_range(0..ARRIVE_WITHIN.as_micros() as u64) };
            world.push(at, Happening::Come { node });
        }
        let start = SETTLE.as_micros() as u64;
        if plan.churn > 0.0 {
            world.push(start, Happening::Leave);
            world.push(start, Happening::Join);
        }
        if load {
            for (tx, entry) in catalog.entries.iter().enumerate() {
                world.push(start + entry.at, Happening::Submit { tx: tx as u32 });
            }
        }
        world
    }

    fn add(&mut self, hostile: bool) -> u32 {
        let number = self.nodes.len();
        let mut id = [0; 32];
        self.rng.fill_bytes(&mut id);
        let id = NodeId(id);
        let mut envelope = vec![0; RECORD_LEN];
        envelope[..4].copy_from_slice(&(number as u32).to_le_bytes());
        let crowded = hostile && self.plan.attack.is_some_and(|attack| attack.one_network);
        let networks = (1..=WIDE_NETWORKS).rev().find(|count| self.plan.nodes.is_multiple_of(*count)).unwrap_or(1);
        let (wide, narrow) = (number % networks, number / networks);
        let ip = match crowded {
            true => [250, 1, (number >> 8) as u8, number as u8],
            false => {
                let first = public_networks().nth(wide).unwrap_or_else(|| unreachable!("there are more than 200"));
                [first, narrow as u8, (narrow >> 8) as u8, 1]
            }
        };
        let address = Address([&[4][..], &ip, &[6, 0x0f, 0xa1]].concat().into());
        let seq = UNIX + self.now / 1_000_000;
        let record = PeerRecord { node: id, seq, addresses: vec![address], envelope: envelope.into() };
        let place = self.plan.regions.places(1, &mut self.rng)[0];
        self.numbers.insert(id, number as u32);
        self.nodes.push(Node {
            id,
            record,
            place,
            engine: None,
            hostile,
            came: u64::MAX,
            left: u64::MAX,
            connections: BTreeMap::new(),
            probed: BTreeSet::new(),
            armed: u64::MAX,
            sent: 0,
            sent_last: 0,
            drawn: 0,
        });
        if hostile {
            self.hostile.push(number as u32);
        }
        number as u32
    }

    fn push(&mut self, at: u64, what: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse(Due { at, sequence: self.sequence, what }));
    }

    /// Lets everything happen until a time, and looks at what came of it.
    pub(super) fn run_until(&mut self, end: Duration) {
        let end = end.as_micros() as u64;
        while self.queue.peek().is_some_and(|due| due.0.at < end) {
            let Some(Reverse(due)) = self.queue.pop() else { break };
            self.now = due.at;
            self.happen(due.what);
        }
        self.now = end;
        self.look();
    }

    pub(super) fn counts(&self) -> bool {
        self.now >= SETTLE.as_micros() as u64
    }

    /// Honest nodes that are up, by number.
    pub(super) fn honest(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.engine.is_some())
    }

    /// Neighbours of a node that can be used, with who opened the link.
    pub(super) fn links(&self, node: usize) -> Vec<(usize, Direction)> {
        let Some(engine) = &self.nodes[node].engine else { return Vec::new() };
        let ready = engine.links().filter(|(_, link)| link.is_ready());
        ready.map(|(id, link)| (self.numbers[id] as usize, link.direction())).collect()
    }

    /// The graph of the honest nodes that are up.
    pub(super) fn shape(&self) -> Shape {
        let mut place = vec![usize::MAX; self.nodes.len()];
        let up: Vec<usize> = self.honest().map(|(number, _)| number).collect();
        up.iter().enumerate().for_each(|(at, number)| place[*number] = at);
        let links = up.iter().map(|number| {
            self.links(*number).into_iter().map(|(other, _)| place[other]).filter(|at| *at != usize::MAX).collect()
        });
        Shape::new(&links.collect::<Vec<_>>())
    }

    fn look(&mut self) {
        let second = self.now / 1_000_000;
        // Everybody has come.
        let complete = self.now >= ARRIVE_WITHIN.as_micros() as u64;
        // Who has just come has had no time to find anybody.
        let (mut reached, mut open) = (vec![false; self.nodes.len()], vec![0_usize]);
        if let Some((first, _)) = self.honest().min_by_key(|(_, node)| node.came) {
            open = vec![first];
        }
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut reached[at], true) {
                open.extend(self.links(at).into_iter().map(|(to, _)| to).filter(|to| self.nodes[*to].engine.is_some()));
            }
        }
        let fresh = |node: &Node| self.now - node.came < 3_000_000 && node.came > 0 && self.counts();
        let connected = complete && self.honest().all(|(number, node)| reached[number] || fresh(node));
        if !connected {
            self.connected_since = None;
            self.parted_s += u64::from(self.counts());
        } else if self.connected_since.is_none() {
            self.connected_since = Some(second);
        }
        if self.plan.attack.is_some() && self.counts() {
            let alone = |number: usize| self.links(number).iter().all(|(other, _)| self.nodes[*other].hostile);
            self.isolated += self.honest().filter(|(number, _)| alone(*number)).count() as u64;
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Come { node } => self.come(node),
            Happening::Leave => {
                self.next_of_churn(Happening::Leave);
                // The bootstrap node stays: whoever comes needs it.
                let up: Vec<usize> = self.honest().map(|(number, _)| number).filter(|number| *number > 0).collect();
                if let Some(node) = up.choose(&mut self.rng) {
                    let node = &mut self.nodes[*node];
                    (node.left, node.engine) = (self.now, None);
                    node.connections.clear();
                }
            }
            Happening::Join => {
                self.next_of_churn(Happening::Join);
                let node = self.add(false);
                self.come(node);
            }
            Happening::Dialled { from, to } => self.dialled(from, to),
            Happening::DialFailed { from, to } => {
                let peer = Some(self.nodes[to as usize].id);
                self.input(from, Input::DialFailed { peer });
            }
            Happening::Message { from, to, connection, message } => {
                if self.nodes[to as usize].connections.get(&from) == Some(&connection) {
                    self.arrived(from, to, message);
                }
            }
            Happening::Down { at, other, connection } => {
                let peer = self.nodes[other as usize].id;
                let connections = &mut self.nodes[at as usize].connections;
                if connections.get(&other) == Some(&connection) {
                    connections.remove(&other);
                    self.nodes[at as usize].probed.remove(&other);
                    self.input(at, Input::Disconnected { peer });
                }
            }
            Happening::Timer { node } => {
                let state = &mut self.nodes[node as usize];
                if state.armed != self.now {
                    return;
                }
                state.armed = u64::MAX;
                if state.engine.as_ref().and_then(Engine::poll_timeout).is_some_and(|at| at <= self.clock(node)) {
                    self.input(node, Input::Timeout);
                }
                self.arm(node);
            }
            Happening::Attack { node } => {
                let gap = attack::gap(Duration::from_micros(self.now));
                self.push(self.now + gap.as_micros() as u64, Happening::Attack { node });
                let to = self.rng.random_range(0..self.nodes.len());
                if self.nodes[to].engine.is_some() {
                    self.push(self.now + self.way(node, to as u32), Happening::Dialled { from: node, to: to as u32 });
                }
            }
            Happening::Submit { tx } => {
                let up: Vec<usize> = self.honest().map(|(number, _)| number).collect();
                let Some(node) = up.choose(&mut self.rng).copied() else { return };
                self.delivered[tx as usize].0 = self.now;
                let signed = (*self.catalog.entries[tx as usize].tx).clone();
                self.input(node as u32, Input::Submit { ticket: Ticket(tx.into()), tx: signed });
            }
        }
    }

    fn next_of_churn(&mut self, what: Happening) {
        let per_second = self.plan.churn * self.plan.nodes as f64 / 60.0;
        let gap = 1e6 / per_second * self.rng.random_range(0.5..1.5);
        self.push(self.now + gap as u64, what);
    }

    fn come(&mut self, number: u32) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let bootstrap = if number == 0 { Vec::new() } else { self.nodes[0].record.addresses.clone() };
        let node = &mut self.nodes[number as usize];
        node.came = self.now;
        if node.hostile {
            return self.push(self.now, Happening::Attack { node: number });
        }
        let config = EngineConfig {
            genesis: self.catalog.genesis.clone(),
            rules: TxRules::default(),
            pool: PoolConfig { max_bytes_per_sender: usize::MAX, ..PoolConfig::default() },
            overlay: OverlayConfig { bootstrap, ..OverlayConfig::default() },
            gossip: GossipConfig::default(),
            producer: None,
            unix_ms_at_start: UNIX * 1000 + self.now / 1000,
        };
        node.engine = Some(Engine::new(config, node.id, seed));
        let record = node.record.clone();
        self.input(number, Input::LocalRecord(record));
    }

    /// A connection comes up, if there is somebody.
    fn dialled(&mut self, from: u32, to: u32) {
        let way = self.way(from, to);
        if !self.nodes[from as usize].is_up() {
            return;
        }
        if !self.nodes[to as usize].is_up() {
            return self.push(self.now + DIAL_TIMEOUT, Happening::DialFailed { from, to });
        }
        if self.nodes[from as usize].connections.contains_key(&to) {
            return;
        }
        self.sequence += 1;
        let connection = self.sequence;
        for (at, other, direction) in [(to, from, Direction::Incoming), (from, to, Direction::Outgoing)] {
            self.nodes[at as usize].connections.insert(other, connection);
            let (peer, address) = (self.nodes[other as usize].id, self.nodes[other as usize].record.addresses.first());
            let address = address.cloned();
            self.input(at, Input::Connected { peer, direction, address });
        }
        if self.nodes[from as usize].hostile {
            self.nodes[from as usize].probed.insert(to);
            let say = [Message::Probe(self.hello()), self.lies()];
            for message in say {
                self.push(self.now + way, Happening::Message { from, to, connection, message });
            }
            self.push(self.now + 4 * way + 1, Happening::Down { at: to, other: from, connection });
            self.push(self.now + 4 * way + 1, Happening::Down { at: from, other: to, connection });
        }
    }

    fn hello(&self) -> Hello {
        let genesis = &self.catalog.genesis;
        Hello { version: PROTOCOL_VERSION, network: genesis.network, genesis: self.genesis_id, height: 0 }
    }

    fn lies(&mut self) -> Message {
        let chosen: Vec<u32> = self.hostile.sample(&mut self.rng, 16).copied().collect();
        attack::peers(chosen.iter().map(|number| &self.nodes[*number as usize].record))
    }

    fn arrived(&mut self, from: u32, to: u32, message: Message) {
        let peer = self.nodes[from as usize].id;
        if self.nodes[to as usize].hostile {
            if self.nodes[to as usize].probed.contains(&from) {
                // More than it has said would be a violation.
                return;
            }
            let hello = self.hello();
            let lies = self.lies();
            for answer in attack::answer(&message, hello, || lies) {
                self.send(to, from, answer);
            }
            return;
        }
        let input = match message {
            Message::Peers(records) => {
                let number = |envelope: &[u8]| envelope.first_chunk().map(|number| u32::from_le_bytes(*number));
                let records = records.iter().filter_map(|record| number(record.envelope()));
                let records = records.map(|number| self.nodes[number as usize].record.clone()).collect();
                Input::PeerRecords { peer, records, bad: 0 }
            }
            message => Input::Message { peer, message },
        };
        self.input(to, input);
    }

    fn send(&mut self, from: u32, to: u32, message: Message) {
        let Some(connection) = self.nodes[from as usize].connections.get(&to).copied() else { return };
        let at = self.now + self.way(from, to);
        if self.counts() {
            let is_last = self.now >= self.plan.duration.saturating_sub(MINUTE).as_micros() as u64;
            let (node, bytes) = (&mut self.nodes[from as usize], message.frame_len() as u64);
            node.sent += bytes;
            node.sent_last += if is_last { bytes } else { 0 };
        }
        self.push(at, Happening::Message { from, to, connection, message });
    }

    fn input(&mut self, number: u32, input: Input) {
        let now = self.clock(number);
        let Some(engine) = &mut self.nodes[number as usize].engine else { return };
        engine.handle(now, input);
        self.digest = mix(self.digest ^ mix(self.now ^ u64::from(number) << 40));
        // The engine stays where it is: outputs are carried out one by one.
        while let Some(output) = self.nodes[number as usize].engine.as_mut().and_then(Engine::poll_output) {
            self.output(number, output);
        }
        self.arm(number);
    }

    fn output(&mut self, from: u32, output: Output) {
        match output {
            Output::Send { peer, message } => {
                let to = self.numbers[&peer];
                self.send(from, to, message);
            }
            Output::Dial { peer, .. } => {
                // The only address that is dialled without knowing whose it is belongs to the bootstrap node.
                let to = peer.map_or(0, |peer| self.numbers[&peer]);
                self.push(self.now + 3 * self.way(from, to), Happening::Dialled { from, to });
            }
            Output::Disconnect { peer } => {
                let to = self.numbers[&peer];
                let Some(connection) = self.nodes[from as usize].connections.get(&to).copied() else { return };
                let at = self.now + self.way(from, to);
                self.push(at, Happening::Down { at: from, other: to, connection });
                self.push(at, Happening::Down { at: to, other: from, connection });
            }
            Output::Verify { source, item } => {
                let known = match &item {
                    Unverified::Tx(tx) => self.catalog.number(&tx.id()),
                    Unverified::Block(_) | Unverified::Report(..) => None,
                };
                let verdict = match known {
                    Some(number) => Ok(Verified::Tx(self.catalog.entries[number as usize].tx.clone())),
                    None => verify(item.clone()).map_err(|error| (item, error)),
                };
                self.input(from, Input::Verified { source, verdict });
            }
            Output::Event(Event::Admitted { tx, .. }) => {
                if let Some(tx) = self.catalog.number(&tx.id()) {
                    self.delivered[tx as usize].1.insert(from, self.now);
                }
            }
            Output::Event(Event::Sampled { node }) if self.counts() => {
                let drawn = self.numbers[&node] as usize;
                self.nodes[drawn].drawn += 1;
            }
            Output::Event(Event::Suspected { peer }) => {
                self.suspected_alive += u64::from(self.nodes[self.numbers[&peer] as usize].is_up());
            }
            Output::Event(Event::LinkUp { peer }) => {
                let rtt = Duration::from_micros(2 * self.way(from, self.numbers[&peer]));
                self.input(from, Input::RoundTrip { peer, rtt });
            }
            Output::Block { .. }
            | Output::Store(_)
            | Output::ReadBlocks { .. }
            | Output::ReadBlockTxs { .. }
            | Output::Event(_) => {}
        }
    }

    fn arm(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        let Some(deadline) = node.engine.as_ref().and_then(Engine::poll_timeout) else { return };
        let at = (node.came + deadline.since_start().as_micros() as u64).max(self.now + 1);
        if at < node.armed {
            node.armed = at;
            self.push(at, Happening::Timer { node: number });
        }
    }

    /// A node's own time, which began when it came.
    fn clock(&self, number: u32) -> Time {
        Time::after(Duration::from_micros(self.now.saturating_sub(self.nodes[number as usize].came)))
    }

    fn way(&self, from: u32, to: u32) -> u64 {
        let place = |number: u32| self.nodes[number as usize].place;
        self.plan.regions.way_us(place(from), place(to)).into()
    }
}
