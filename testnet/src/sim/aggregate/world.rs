//! The world of [`super`]: one queue of events, one thread.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    time::Duration,
};

use rand::{Rng, RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use starling_mempool::{Genesis, Limits, PoolConfig, TxRules};
use starling_node::engine::{
    Direction, Engine, EngineConfig, GossipConfig, Input, Network, Output, OverlayConfig, Source, Time,
};
use starling_wire::{
    EPOCH_MS, Figures, Kind, Message, NetworkId, NodeId, Report, SecretKey, SignatureError, SignedReport, Unverified,
    Verified, VerifiedReport, verify,
};

use super::Plan;
use crate::map::{MAX_DEGREE, Topology};

/// Unix time at the beginning of the world, in milliseconds; an epoch begins then.
const BEGINNING_MS: u64 = 58_907_520 * EPOCH_MS;

/// How long an epoch is, in microseconds.
const EPOCH_US: u64 = EPOCH_MS * 1000;

/// How long after an epoch's end nodes are asked for what they know of it, by the right time.
const LOOK_US: u64 = 3_000_000;

/// When neighbours of a node that left take notice.
const DETECT_US: u64 = 1_000_000;

/// How long into an epoch liars report.
const LIE_US: u64 = 1_000_000;

/// What a liar says of itself.
const LIES: Figures = Figures {
    links: u8::MAX,
    pool_txs: u32::MAX,
    pool_bytes: u32::MAX,
    pool_fill: starling_wire::limits::MAX_FILL,
    admitted: starling_wire::limits::MAX_RATE,
    floor: u32::MAX,
    fees: [u32::MAX; 3],
};

/// What was seen of one epoch.
#[derive(Debug)]
pub(super) struct Epoch {
    /// Nodes that were up all the time, and those that were at some time.
    pub(super) throughout: usize,
    pub(super) ever: usize,
    /// Nodes that were up, on average over the time that the bytes below were sent in.
    pub(super) mean: f64,
    /// What honest nodes that were up all the time know, and how many there are of those that do not know yet.
    pub(super) seen: Vec<Network>,
    pub(super) unseen: usize,
    /// Links of the honest nodes, sorted.
    pub(super) links: Vec<f64>,
    /// Bytes sent about reports, with the frames, by kind, and in all.
    pub(super) bytes: BTreeMap<&'static str, (u64, u64)>,
    /// Reports sent.
    pub(super) reports: u64,
    /// Nodes that were banned by others since the beginning.
    pub(super) banned: u64,
}

#[derive(Debug)]
enum Event {
    /// A node gets something, if both are the same as when it was sent.
    Arrive {
        to: (usize, u32),
        input: Box<Input>,
    },
    Timer {
        node: usize,
    },
    Lie {
        node: usize,
    },
    Leave,
    Join,
    Look,
}

/// What is to happen at a place, in the order of time.
struct Planned {
    at: (u64, u64),
    event: Event,
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Planned {}

/// A place for a node, and the node that is there.
struct Node {
    engine: Option<Engine>,
    key: SecretKey,
    liar: bool,
    /// Grows with each that comes.
    incarnation: u32,
    /// When it came.
    start: u64,
    /// How far its clock is ahead of the earliest, in milliseconds.
    ahead: u64,
    armed: u64,
}

pub(super) struct World<'a> {
    plan: &'a Plan,
    topology: &'a Topology,
    genesis: Genesis,
    rng: ChaCha8Rng,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<Planned>>,
    nodes: Vec<Node>,
    /// The places of nodes that are up.
    by_id: HashMap<NodeId, usize>,
    /// One check of a signature is enough for all nodes; and they share one copy.
    checked: HashMap<[u8; 64], (SignedReport, VerifiedReport)>,
    bytes: BTreeMap<&'static str, (u64, u64)>,
    reports: u64,
    banned: u64,
    ever: usize,
    /// For how long nodes were up since the last look, one after the other, and until when that is counted.
    up_us: u64,
    counted_until: u64,
    epochs: Vec<Epoch>,
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan, topology: &'a Topology) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        rng.set_stream(8);
        let genesis =
            Genesis { network: NetworkId(1), producers: Vec::new(), limits: Limits::default(), accounts: Vec::new() };
        let mut liars: Vec<bool> =
            (0..plan.nodes).map(|node| node < (plan.liars * plan.nodes as f64).round() as usize).collect();
        liars.shuffle(&mut rng);
        let nodes = liars.into_iter().map(|liar| Node {
            engine: None,
            key: SecretKey::from_seed(&[0; 32]),
            liar,
            incarnation: 0,
            start: 0,
            ahead: 0,
            armed: u64::MAX,
        });
        let mut world = Self {
            plan,
            topology,
            genesis,
            rng,
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            nodes: nodes.collect(),
            by_id: HashMap::new(),
            checked: HashMap::new(),
            bytes: BTreeMap::new(),
            reports: 0,
            banned: 0,
            ever: 0,
            up_us: 0,
            counted_until: 0,
            epochs: Vec::new(),
        };
        world.schedule();
        world
    }

    /// What happens whatever the nodes do.
    fn schedule(&mut self) {
        let (plan, nodes) = (self.plan, self.plan.nodes);
        let changes = (plan.churn * nodes as f64).round() as usize;
        // So many places are empty at a time.
        let empty = changes.min(nodes.div_ceil(2));
        (0..nodes - empty).for_each(|node| self.join(node));
        for epoch in 0..=u64::from(plan.epochs) {
            for node in 0..nodes {
                self.plan_at(epoch * EPOCH_US + LIE_US, Event::Lie { node });
            }
            for _ in 0..changes {
                let at = epoch * EPOCH_US + self.rng.random_range(0..EPOCH_US);
                self.plan_at(at, Event::Leave);
                let at = epoch * EPOCH_US + self.rng.random_range(0..EPOCH_US);
                self.plan_at(at, Event::Join);
            }
            self.plan_at((epoch + 1) * EPOCH_US + LOOK_US, Event::Look);
        }
    }

    fn plan_at(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse(Planned { at: (at, self.sequence), event }));
    }

    /// Lets everything happen; gives what was seen of each epoch but the first.
    pub(super) fn run(mut self, progress: impl Fn(u32)) -> Vec<Epoch> {
        while self.epochs.len() <= self.plan.epochs as usize
            && let Some(Reverse(Planned { at, event })) = self.queue.pop()
        {
            self.now = at.0;
            match event {
                Event::Arrive { to: (node, incarnation), input } => {
                    if self.nodes[node].incarnation == incarnation {
                        self.handle(node, *input);
                    }
                }
                Event::Timer { node } => {
                    if self.nodes[node].armed == self.now {
                        self.nodes[node].armed = u64::MAX;
                        self.handle(node, Input::Timeout);
                    }
                }
                Event::Lie { node } => self.lie(node),
                Event::Leave => self.leave(),
                Event::Join => {
                    let empty: Vec<usize> =
                        (0..self.nodes.len()).filter(|node| self.nodes[*node].engine.is_none()).collect();
                    if !empty.is_empty() {
                        let node = empty[self.rng.random_range(0..empty.len())];
                        self.join(node);
                    }
                }
                Event::Look => {
                    self.look();
                    progress(self.epochs.len() as u32);
                }
            }
        }
        self.epochs.split_off(1.min(self.epochs.len()))
    }

    // Nodes.

    fn handle(&mut self, node: usize, input: Input) {
        let since = Time::after(Duration::from_micros(self.now - self.nodes[node].start));
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let Some(engine) = &mut self.nodes[node].engine else { return };
            engine.handle(since, input);
            while let Some(engine) = &mut self.nodes[node].engine
                && let Some(output) = engine.poll_output()
            {
                match output {
                    Output::Send { peer, message } => self.send(node, peer, message),
                    Output::Verify { source, item } => {
                        let verdict = self.check(&item).map_err(|error| (item, error));
                        inputs.push(Input::Verified { source, verdict });
                    }
                    Output::Disconnect { peer } => {
                        // The other end hears of it as of one that left.
                        let id = self.nodes[node].key.node();
                        self.later(DETECT_US, node, Input::Disconnected { peer });
                        if let Some(other) = self.by_id.get(&peer).copied() {
                            self.later(DETECT_US, other, Input::Disconnected { peer: id });
                        }
                    }
                    Output::Event(starling_node::engine::Event::Banned { .. }) => self.banned += 1,
                    _ => {}
                }
            }
        }
        self.arm(node);
    }

    fn arm(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        let Some(at) = place.engine.as_ref().and_then(Engine::poll_timeout) else { return };
        let at = (place.start + at.since_start().as_micros() as u64).max(self.now + 1);
        if at < place.armed {
            place.armed = at;
            self.plan_at(at, Event::Timer { node });
        }
    }

    fn later(&mut self, after: u64, node: usize, input: Input) {
        let to = (node, self.nodes[node].incarnation);
        self.plan_at(self.now + after, Event::Arrive { to, input: Box::new(input) });
    }

    fn send(&mut self, from: usize, peer: NodeId, message: Message) {
        let Some(to) = self.by_id.get(&peer).copied() else { return };
        let Some(arc) = self.topology.arcs_of(from).iter().find(|arc| arc.to as usize == to) else { return };
        let about_reports =
            matches!(message.kind(), Kind::ReportDigest | Kind::ReportList | Kind::GetReports | Kind::Reports);
        if about_reports {
            let bytes = message.frame_len() as u64;
            let count = self.bytes.entry(message.kind().name()).or_default();
            *count = (count.0 + bytes, count.1 + 1);
            if let Message::Reports(reports) = &message {
                self.reports += reports.len() as u64;
            }
            if self.rng.random_bool(self.plan.loss) {
                return;
            }
        }
        let peer = self.nodes[from].key.node();
        let input = match message {
            Message::Peers(_) => Input::PeerRecords { peer, records: Vec::new(), bad: 0 },
            message => Input::Message { peer, message },
        };
        self.later(arc.delay_us.into(), to, input);
    }

    fn check(&mut self, item: &Unverified) -> Result<Verified, SignatureError> {
        if let Unverified::Report(signed, _) = item
            && let Some((same, verified)) = self.checked.get(&signed.signature.0)
            && same == signed
        {
            return Ok(Verified::Report(verified.clone()));
        }
        let verdict = verify(item.clone());
        if let Ok(Verified::Report(report)) = &verdict {
            self.checked.insert(report.signed().signature.0, (*report.signed(), report.clone()));
        }
        verdict
    }

    fn lie(&mut self, node: usize) {
        let Node { engine: Some(_), liar: true, ahead, ref key, .. } = self.nodes[node] else { return };
        let wall = BEGINNING_MS + self.now / 1000 + ahead;
        let report = Report::sign((wall / EPOCH_MS) as u32, [u8::MAX; 3], LIES, key, &self.genesis.id());
        self.handle(node, Input::Verified { source: Source::Own, verdict: Ok(Verified::Report(report)) });
    }

    // Coming and going.

    /// To be called before the number of those that are up changes, and before it is looked at for how long they were.
    fn count_up(&mut self) {
        self.up_us += self.by_id.len() as u64 * (self.now - self.counted_until);
        self.counted_until = self.now;
    }

    fn join(&mut self, node: usize) {
        self.count_up();
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let key = SecretKey::from_seed(&seed);
        let skew = self.plan.skew.as_millis() as u64;
        let place = &mut self.nodes[node];
        place.ahead = self.rng.random_range(0..=2 * skew);
        place.incarnation += 1;
        (place.start, place.armed) = (self.now, u64::MAX);
        let config = EngineConfig {
            genesis: self.genesis.clone(),
            rules: TxRules::default(),
            pool: PoolConfig::default(),
            overlay: OverlayConfig { dials: 0, max_incoming: MAX_DEGREE, ..OverlayConfig::default() },
            gossip: GossipConfig::default(),
            producer: None,
            unix_ms_at_start: BEGINNING_MS + self.now / 1000 + place.ahead,
        };
        self.rng.fill_bytes(&mut seed);
        let engine = Engine::new(config, key.node(), seed);
        place.engine = Some(if place.liar { engine } else { engine.reporting(key.clone()) });
        self.by_id.insert(key.node(), node);
        place.key = key.clone();
        self.ever += 1;
        for arc in self.topology.arcs_of(node) {
            let other = arc.to as usize;
            if self.nodes[other].engine.is_none() {
                continue;
            }
            let direction = |outgoing| if outgoing { Direction::Outgoing } else { Direction::Incoming };
            let peer = self.nodes[other].key.node();
            self.later(0, node, Input::Connected { peer, direction: direction(arc.outgoing), address: None });
            self.later(
                0,
                other,
                Input::Connected { peer: key.node(), direction: direction(!arc.outgoing), address: None },
            );
        }
        self.arm(node);
    }

    fn leave(&mut self) {
        self.count_up();
        let up: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].engine.is_some()).collect();
        if up.is_empty() {
            return;
        }
        let node = up[self.rng.random_range(0..up.len())];
        self.nodes[node].engine = None;
        self.nodes[node].incarnation += 1;
        let peer = self.nodes[node].key.node();
        self.by_id.remove(&peer);
        for arc in self.topology.arcs_of(node) {
            self.later(DETECT_US, arc.to as usize, Input::Disconnected { peer });
        }
    }

    // Looking.

    /// An epoch has ended, by the right time: what do nodes know of it?
    fn look(&mut self) {
        self.count_up();
        let ended = self.now - LOOK_US;
        let skew = self.plan.skew.as_millis() as u64;
        let epoch = ((BEGINNING_MS + skew + ended / 1000) / EPOCH_MS - 1) as u32;
        let begun = ended - EPOCH_US;
        let up: Vec<&Node> = self.nodes.iter().filter(|node| node.engine.is_some()).collect();
        let whole = |node: &&&Node| node.start <= begun;
        let (mut seen, mut unseen, mut links) = (Vec::new(), 0, Vec::new());
        for node in up.iter().filter(whole).filter(|node| !node.liar) {
            let Some(engine) = &node.engine else { continue };
            links.push(engine.links().filter(|(_, link)| link.is_ready()).count() as f64);
            let network = engine.network(Time::after(Duration::from_micros(self.now - node.start)));
            if network.epoch == epoch {
                seen.push(network);
            } else {
                unseen += 1;
            }
        }
        links.sort_by(f64::total_cmp);
        let throughout = up.iter().filter(whole).count();
        let ever = std::mem::replace(&mut self.ever, up.len());
        let (bytes, reports) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.reports));
        let (banned, up_us) = (self.banned, std::mem::take(&mut self.up_us));
        // The first one began at zero.
        let looked_for = if self.epochs.is_empty() { self.now } else { EPOCH_US };
        let mean = up_us as f64 / looked_for as f64;
        self.epochs.push(Epoch { throughout, ever, mean, seen, unseen, links, bytes, reports, banned });
        self.checked.retain(|_, (signed, _)| signed.report.epoch >= epoch);
    }
}
