//! The simulated world: a clock, links, processors, and whatever goes wrong.
//!
//! Everything that happens is an event in one queue. Randomness comes from the scenario's seed alone, so a run can be
//! repeated exactly; the digest over all events shows that it was.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Scenario,
    link::{self, Lane},
    queue::{Queue, Slab},
    recorder::Recorder,
    relay::{Action, Cx, NEVER, Relay, Wire},
};

/// When the load starts, in microseconds. Until then links come up, and meshes form in relays that have one.
pub(crate) const LOAD_START: u64 = 5_000_000;

/// What checking a signature takes on the one core a node has for it, in microseconds: ed25519-zebra, singly, on the
/// machine where this was written (38 µs), rounded.
const VERIFY_US: u64 = 40;

/// Jitter of each message, up to this share of its link's delay.
const JITTER: f64 = 0.05;

/// How often, after the load, it is looked whether every node has everything.
const LOOK_EVERY: u64 = 250_000;

/// How long after that the run goes on, so that late copies are counted too.
const AFTERMATH: u64 = 2_000_000;

/// How long after the load a run ends at the latest.
const MAX_DRAIN: u64 = 60_000_000;

/// Events between two moves of the progress bar.
const BAR_EVERY: u64 = 1 << 16;

/// Bytes of events hashed at once.
const HASH_CHUNK: usize = 1 << 16;

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A message arrives.
    Arrive { flight: u32 },
    /// A node's deadline may have come.
    Timer { node: u32 },
    /// A node has checked a signature.
    Verified { node: u32 },
    /// A lane that was congested may be so no longer.
    Relief { arc: u32, generation: u32 },
    /// A transaction enters.
    Submit { tx: u32 },
    /// A link comes up, by the opener's direction.
    Connect { arc: u32 },
    /// A link that was up in this generation goes down.
    Cut { arc: u32, generation: u32 },
    /// The nodes that are to crash do.
    Crash,
    /// The halves lose each other, or find each other again.
    Partition { apart: bool },
    /// Is everything everywhere?
    Look,
}

/// A message under way.
struct Flight<M> {
    arc: u32,
    generation: u32,
    message: M,
}

/// One direction of a link, and whether it is up.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    lane: Lane,
    up: bool,
    /// Grows each time the link goes down: what was under way then does not arrive.
    generation: u32,
}

/// What a node's processor and timer do.
#[derive(Debug, Clone, Copy)]
struct Body {
    alive: bool,
    /// When the last signature check ends.
    busy_until: u64,
    /// The earliest timer event that is in the queue.
    armed: u64,
}

/// A run.
pub(crate) struct World<'a, R: Relay> {
    scenario: &'a Scenario,
    now: u64,
    queue: Queue<Event>,
    flights: Slab<Flight<R::Message>>,
    nodes: Vec<R>,
    bodies: Vec<Body>,
    states: Vec<State>,
    apart: bool,
    rng: ChaCha8Rng,
    record: Recorder,
    hasher: blake3::Hasher,
    hashed: Vec<u8>,
    events: u64,
    end: u64,
    /// The transactions before this one are where they should be.
    complete: usize,
    // Kept for their memory.
    actions: Vec<Action<R::Message>>,
    payloads: Vec<u32>,
    congested: Vec<usize>,
}

impl<'a, R: Relay> World<'a, R> {
    /// A world in which nothing has happened yet.
    pub(crate) fn new(scenario: &'a Scenario, nodes: Vec<R>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
        rng.set_stream(4);
        let mut world = Self {
            now: 0,
            queue: Queue::new(),
            flights: Slab::new(),
            bodies: vec![Body { alive: true, busy_until: 0, armed: NEVER }; nodes.len()],
            nodes,
            states: vec![State::default(); scenario.topology.arcs.len()],
            apart: false,
            rng,
            record: Recorder::new(scenario, R::kinds()),
            hasher: blake3::Hasher::new(),
            hashed: Vec::with_capacity(2 * HASH_CHUNK),
            events: 0,
            end: scenario.load_end() + MAX_DRAIN,
            complete: 0,
            actions: Vec::new(),
            payloads: Vec::new(),
            congested: Vec::new(),
            scenario,
        };
        world.plan();
        world
    }

    fn plan(&mut self) {
        let Scenario { topology, catalog, faults, .. } = self.scenario;
        for (arc, _) in topology.arcs.iter().enumerate().filter(|(_, arc)| arc.outgoing) {
            self.queue.push(0, Event::Connect { arc: arc as u32 });
        }
        for node in 0..self.nodes.len() {
            self.arm(node);
        }
        for (tx, entry) in catalog.entries.iter().enumerate() {
            self.queue.push(LOAD_START + entry.at, Event::Submit { tx: tx as u32 });
        }
        let at = |time: std::time::Duration| LOAD_START + time.as_micros() as u64;
        if let Some(crash) = faults.crash {
            self.queue.push(at(crash.at), Event::Crash);
        }
        if let Some(partition) = faults.partition {
            self.queue.push(at(partition.from), Event::Partition { apart: true });
            self.queue.push(at(partition.to), Event::Partition { apart: false });
        }
        self.queue.push(self.scenario.load_end(), Event::Look);
    }

    /// Lets everything happen. `progress` is told the time now and then.
    pub(crate) fn run(mut self, progress: impl Fn(u64)) -> Recorder {
        while let Some((time, event)) = self.queue.pop() {
            if time > self.end {
                break;
            }
            self.now = time;
            self.events += 1;
            if self.events.is_multiple_of(BAR_EVERY) {
                progress(time);
            }
            self.happen(event);
        }
        self.hasher.update(&self.hashed);
        self.record.finish(self.events, self.hasher.finalize().to_hex().to_string());
        self.record
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { flight } => self.arrive(flight),
            Event::Timer { node } => self.timer(node as usize),
            Event::Verified { node } => {
                self.hash(2, u64::from(node), 0);
                self.act(node as usize, |relay, cx| relay.verified(cx));
            }
            Event::Relief { arc, generation } => self.relief(arc as usize, generation),
            Event::Submit { tx } => self.submit(tx),
            Event::Connect { arc } => self.connect(arc as usize),
            Event::Cut { arc, generation } => self.cut(arc as usize, generation),
            Event::Crash => self.crash(),
            Event::Partition { apart } => self.partition(apart),
            Event::Look => self.look(),
        }
    }

    fn hash(&mut self, tag: u8, what: u64, more: u64) {
        self.hashed.extend_from_slice(&self.now.to_le_bytes());
        self.hashed.push(tag);
        self.hashed.extend_from_slice(&what.to_le_bytes());
        self.hashed.extend_from_slice(&more.to_le_bytes());
        if self.hashed.len() >= HASH_CHUNK {
            self.hasher.update(&self.hashed);
            self.hashed.clear();
        }
    }

    fn arrive(&mut self, flight: u32) {
        let Some(Flight { arc, generation, message }) = self.flights.take(flight) else { return };
        let to = self.scenario.topology.arcs[arc as usize];
        let state = self.states[arc as usize];
        if !state.up || state.generation != generation || !self.bodies[to.to as usize].alive {
            return;
        }
        let (kind, bytes) = (message.kind(), message.bytes());
        self.hash(1, u64::from(arc) << 32 | (kind as u64) << 24 | bytes as u64, message.fingerprint());
        let (node, slot) = (to.to as usize, self.scenario.topology.slot(to.reverse as usize));
        self.payloads.clear();
        self.act(node, |relay, cx| relay.message(cx, slot, message));
        self.record.received(self.now, node, kind, bytes, &self.payloads);
    }

    fn timer(&mut self, node: usize) {
        let body = &mut self.bodies[node];
        if body.armed != self.now {
            return;
        }
        body.armed = NEVER;
        if self.nodes[node].deadline() <= self.now {
            self.hash(3, node as u64, 0);
            self.act(node, |relay, cx| relay.timeout(cx));
            // A relay that wants to be called again at once would be, for ever.
            if self.bodies[node].armed == self.now {
                self.bodies[node].armed = NEVER;
                self.queue.push(self.now + 1, Event::Timer { node: node as u32 });
                self.bodies[node].armed = self.now + 1;
            }
        } else {
            self.arm(node);
        }
    }

    fn submit(&mut self, tx: u32) {
        let origin = self.scenario.catalog.entries[tx as usize].origin;
        if self.bodies[origin].alive && !self.scenario.victims.hostile[origin] {
            self.hash(4, tx.into(), 0);
            self.record.submitted(tx);
            self.act(origin, |relay, cx| relay.submit(cx, tx));
        }
    }

    // Nodes.

    /// Lets a node do something, carries out what it wants, and sets its timer.
    fn act(&mut self, node: usize, what: impl FnOnce(&mut R, &mut Cx<'_, R::Message>)) {
        if !self.bodies[node].alive {
            return;
        }
        self.call(node, what);
        while let Some(slot) = self.congested.pop() {
            self.call(node, |relay, cx| relay.congested(cx, slot, true));
        }
        self.arm(node);
    }

    fn call(&mut self, node: usize, what: impl FnOnce(&mut R, &mut Cx<'_, R::Message>)) {
        let mut cx = Cx {
            now: self.now,
            catalog: &self.scenario.catalog,
            actions: &mut self.actions,
            payloads: &mut self.payloads,
        };
        what(&mut self.nodes[node], &mut cx);
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { slot, message } => self.send(node, slot, message),
                Action::Verify => {
                    let body = &mut self.bodies[node];
                    body.busy_until = body.busy_until.max(self.now) + VERIFY_US;
                    self.queue.push(body.busy_until, Event::Verified { node: node as u32 });
                }
                Action::Delivered { tx } => self.record.delivered(self.now, tx, node),
                Action::Rejected { reason } => self.record.rejected(reason),
                Action::Refused => self.record.refused(node),
                Action::Banned => self.record.banned(node),
                Action::Disconnect { slot } => {
                    // After what was queued is sent.
                    let arc = self.scenario.topology.arc(node, slot);
                    let State { lane, generation, .. } = self.states[arc];
                    let at = lane.drained_at().max(self.now) + 1;
                    self.queue.push(at, Event::Cut { arc: arc as u32, generation });
                }
            }
        }
        self.actions = actions;
    }

    fn arm(&mut self, node: usize) {
        let deadline = self.nodes[node].deadline();
        let body = &mut self.bodies[node];
        if deadline < body.armed {
            body.armed = deadline.max(self.now);
            self.queue.push(body.armed, Event::Timer { node: node as u32 });
        }
    }

    // Links.

    fn send(&mut self, node: usize, slot: usize, message: R::Message) {
        let Scenario { topology, faults, victims, rate, .. } = self.scenario;
        let number = topology.arc(node, slot);
        let arc = topology.arcs[number];
        let state = &mut self.states[number];
        if !state.up {
            return;
        }
        let bytes = message.bytes();
        let delay = f64::from(arc.delay_us) * (1.0 + JITTER * self.rng.random::<f64>());
        let arrival = state.lane.send(self.now, bytes as u64, delay as u64, *rate);
        let (generation, queued) = (state.generation, state.lane.queued(self.now, *rate));
        if queued > link::MAX {
            self.queue.push(self.now, Event::Cut { arc: number as u32, generation });
        } else if queued > link::HIGH && !state.lane.congested {
            state.lane.congested = true;
            let relief = Event::Relief { arc: number as u32, generation };
            self.queue.push(state.lane.relieved_at(*rate), relief);
            self.congested.push(slot);
        }
        self.record.sent(self.now, node, bytes);
        let lost = faults.loss > 0.0 && self.now >= LOAD_START && self.rng.random_bool(faults.loss);
        let cut = self.apart && victims.far[arc.from as usize] != victims.far[arc.to as usize];
        if lost || cut {
            return;
        }
        let flight = self.flights.insert(Flight { arc: number as u32, generation, message });
        self.queue.push(arrival, Event::Arrive { flight });
    }

    fn relief(&mut self, arc: usize, generation: u32) {
        let rate = self.scenario.rate;
        let state = &mut self.states[arc];
        if !state.up || state.generation != generation || !state.lane.congested {
            return;
        }
        if state.lane.queued(self.now, rate) > link::LOW {
            let at = state.lane.relieved_at(rate).max(self.now + 1);
            self.queue.push(at, Event::Relief { arc: arc as u32, generation });
            return;
        }
        state.lane.congested = false;
        let (node, slot) = (self.scenario.topology.arcs[arc].from as usize, self.scenario.topology.slot(arc));
        self.hash(5, arc as u64, 0);
        self.act(node, |relay, cx| relay.congested(cx, slot, false));
    }

    /// The two ends of a link, each with its slot and whether it opened it.
    fn ends(&self, arc: usize) -> [(usize, usize, bool); 2] {
        let topology = &self.scenario.topology;
        let there = topology.arcs[arc];
        let back = there.reverse as usize;
        [
            (there.from as usize, topology.slot(arc), there.outgoing),
            (there.to as usize, topology.slot(back), !there.outgoing),
        ]
    }

    fn connect(&mut self, arc: usize) {
        let topology = &self.scenario.topology;
        let (there, back) = (topology.arcs[arc], topology.arcs[arc].reverse as usize);
        let alive = |node: u32| self.bodies[node as usize].alive;
        if self.states[arc].up || !alive(there.from) || !alive(there.to) {
            return;
        }
        let rtt = there.delay_us + topology.arcs[back].delay_us;
        for lane in [arc, back] {
            self.states[lane].up = true;
            self.states[lane].lane = Lane::default();
        }
        self.hash(6, arc as u64, 0);
        for (node, slot, outgoing) in self.ends(arc) {
            self.act(node, |relay, cx| relay.connected(cx, slot, outgoing, rtt));
        }
    }

    fn cut(&mut self, arc: usize, generation: u32) {
        if !self.states[arc].up || self.states[arc].generation != generation {
            return;
        }
        for lane in [arc, self.scenario.topology.arcs[arc].reverse as usize] {
            self.states[lane].up = false;
            self.states[lane].generation += 1;
        }
        self.hash(7, arc as u64, 0);
        for (node, slot, _) in self.ends(arc) {
            self.act(node, |relay, cx| relay.disconnected(cx, slot));
        }
    }

    // Faults.

    fn crash(&mut self) {
        self.hash(8, 0, 0);
        let victims = &self.scenario.victims;
        for (body, dead) in self.bodies.iter_mut().zip(&victims.dead) {
            body.alive &= !dead;
        }
        self.cut_after_detection(|arc| victims.dead[arc.from as usize] || victims.dead[arc.to as usize]);
    }

    fn partition(&mut self, apart: bool) {
        self.hash(9, apart.into(), 0);
        self.apart = apart;
        let Scenario { topology, victims, faults, .. } = self.scenario;
        if apart {
            // One that heals before anybody notices leaves the links as they are.
            if faults.partition.is_some_and(|partition| partition.to - partition.from > faults.detect) {
                self.cut_after_detection(|arc| victims.far[arc.from as usize] != victims.far[arc.to as usize]);
            }
            return;
        }
        for (number, arc) in topology.arcs.iter().enumerate().filter(|(_, arc)| arc.outgoing) {
            if victims.far[arc.from as usize] != victims.far[arc.to as usize] {
                self.queue.push(self.now, Event::Connect { arc: number as u32 });
            }
        }
    }

    fn cut_after_detection(&mut self, hit: impl Fn(&super::topology::Arc) -> bool) {
        let at = self.now + self.scenario.faults.detect.as_micros() as u64;
        for (arc, it) in self.scenario.topology.arcs.iter().enumerate() {
            if it.outgoing && hit(it) {
                let generation = self.states[arc].generation;
                self.queue.push(at, Event::Cut { arc: arc as u32, generation });
            }
        }
    }

    // The end.

    fn look(&mut self) {
        let hostile = &self.scenario.victims.hostile;
        while self.complete < self.scenario.catalog.len()
            && self.record.is_everywhere(self.complete as u32, |node| self.bodies[node].alive && !hostile[node])
        {
            self.complete += 1;
        }
        if self.complete == self.scenario.catalog.len() {
            self.end = self.end.min(self.now + AFTERMATH);
        } else {
            self.queue.push(self.now + LOOK_EVERY, Event::Look);
        }
    }
}
