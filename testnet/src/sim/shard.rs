//! Some of the nodes of the simulated world, with their processors and their ends of links.
//!
//! Everything that happens to them is an event in one queue. What they send to nodes of other shards is handed over
//! between two windows of time (see `world`). Draws belong to a direction of a link and the number of the message on it,
//! so that nothing depends on how the nodes are divided.

use super::{
    Scenario,
    event::{Event, mix, share},
    queue::{Queue, Slab},
    recorder::{Part, Recorder},
    relay::{Action, Cx, NEVER, Relay, Wire},
};
use crate::map::{
    Arc, Lane,
    link::{self, jittered},
};

/// When the load starts, in microseconds. Until then links come up, and meshes form in relays that have one.
pub(crate) const LOAD_START: u64 = 5_000_000;

/// What checking a signature takes on the one core a node has for it, in microseconds: ed25519-zebra, singly, on the
/// machine where this was written (38 µs), rounded.
const VERIFY_US: u64 = 40;

/// A message under way.
pub(super) struct Flight<M> {
    arc: u32,
    /// Of the link, when it was sent.
    generation: u32,
    /// Its number in its direction.
    sequence: u32,
    arrival: u64,
    message: M,
}

/// What goes to another shard.
pub(super) enum Parcel<M> {
    Flight(Flight<M>),
    /// A link goes down at the end that this direction leads away from.
    Cut {
        at: u64,
        arc: u32,
        generation: u32,
    },
}

/// One end of a link, with the direction that leads away from it.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    lane: Lane,
    up: bool,
    /// Grows each time the link goes down: what was under way then does not arrive. Equal at both ends.
    generation: u32,
    /// Messages sent.
    sent: u32,
}

/// What a node's processor and timer do.
#[derive(Debug, Clone, Copy)]
struct Body {
    /// When the last signature check ends.
    busy_until: u64,
    /// The earliest timer event that is in the queue.
    armed: u64,
}

/// Some nodes.
pub(super) struct Shard<'a, R: Relay> {
    scenario: &'a Scenario,
    part: Part,
    now: u64,
    queue: Queue<Event>,
    flights: Slab<Flight<R::Message>>,
    /// By their places, as bodies are.
    nodes: Vec<R>,
    bodies: Vec<Body>,
    /// By direction; only those that lead away from this shard's nodes are in use.
    ends: Vec<End>,
    /// By kind, whether messages may vanish.
    lossy: Vec<bool>,
    /// Whether the nodes that are to crash have.
    crashed: bool,
    apart: bool,
    pub(super) record: Recorder,
    /// What is for other shards, by their numbers.
    pub(super) outboxes: Vec<Vec<Parcel<R::Message>>>,
    /// What came from others.
    pub(super) inbox: Vec<Vec<Parcel<R::Message>>>,
    // Kept for their memory.
    actions: Vec<Action<R::Message>>,
    payloads: Vec<u32>,
    congested: Vec<usize>,
}

impl<'a, R: Relay> Shard<'a, R> {
    /// The nodes of a part, to which nothing has happened yet.
    pub(super) fn new(scenario: &'a Scenario, nodes: Vec<R>, part: Part) -> Self {
        let mut shard = Self {
            now: 0,
            queue: Queue::new(),
            flights: Slab::new(),
            bodies: vec![Body { busy_until: 0, armed: NEVER }; nodes.len()],
            nodes,
            ends: vec![End::default(); scenario.topology.arcs.len()],
            lossy: R::kinds().into_iter().map(|kind| scenario.faults.loses(kind)).collect(),
            crashed: false,
            apart: false,
            record: Recorder::new(scenario, R::kinds(), part),
            outboxes: (0..part.of).map(|_| Vec::new()).collect(),
            inbox: Vec::new(),
            actions: Vec::new(),
            payloads: Vec::new(),
            congested: Vec::new(),
            scenario,
            part,
        };
        shard.plan();
        shard
    }

    fn plan(&mut self) {
        let (part, Scenario { topology, catalog, faults, .. }) = (self.part, self.scenario);
        for arc in (0..topology.arcs.len()).filter(|arc| part.holds(topology.arcs[*arc].from as usize)) {
            self.push(0, Event::Connect { arc: arc as u32 });
        }
        for node in (0..topology.nodes()).filter(|node| part.holds(*node)) {
            self.arm(node);
        }
        for (tx, entry) in catalog.entries.iter().enumerate().filter(|(_, entry)| part.holds(entry.origin)) {
            self.push(LOAD_START + entry.at, Event::Submit { tx: tx as u32 });
        }
        let at = |time: std::time::Duration| LOAD_START + time.as_micros() as u64;
        if let Some(crash) = faults.crash {
            self.push(at(crash.at), Event::Crash);
        }
        if let Some(partition) = faults.partition {
            self.push(at(partition.from), Event::Partition { apart: true });
            self.push(at(partition.to), Event::Partition { apart: false });
        }
    }

    fn push(&mut self, at: u64, event: Event) {
        self.queue.push(at, event.order(), event);
    }

    /// Takes in what came from other shards. Gives the time of the next event.
    pub(super) fn receive(&mut self) -> Option<u64> {
        for parcel in std::mem::take(&mut self.inbox).into_iter().flatten() {
            match parcel {
                Parcel::Flight(flight) => self.fly(flight),
                Parcel::Cut { at, arc, generation } => self.push(at, Event::Cut { arc, generation }),
            }
        }
        self.queue.next_time()
    }

    /// Lets everything happen that does before `end`.
    pub(super) fn run_until(&mut self, end: u64) {
        while let Some((time, event)) = self.queue.pop_before(end) {
            self.now = time;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { flight, .. } => self.arrive(flight),
            Event::Timer { node } => self.timer(node as usize),
            Event::Verified { node } => {
                self.note(node as usize, 2, 0, 0);
                self.act(node as usize, |relay, cx| relay.verified(cx));
            }
            Event::Relief { arc, generation } => self.relief(arc as usize, generation),
            Event::Submit { tx } => self.submit(tx),
            Event::Connect { arc } => self.connect(arc as usize),
            Event::Cut { arc, generation } => self.cut(arc as usize, generation),
            Event::Crash => self.crash(),
            Event::Partition { apart } => self.partition(apart),
        }
    }

    fn note(&mut self, node: usize, tag: u8, what: u64, more: u64) {
        self.record.happened(self.now, node, tag, what, more);
    }

    /// Whether a node has not crashed.
    pub(super) fn is_alive(&self, node: usize) -> bool {
        !(self.crashed && self.scenario.victims.dead[node])
    }

    fn arrive(&mut self, flight: u32) {
        let Some(Flight { arc, generation, message, .. }) = self.flights.take(flight) else { return };
        let topology = &self.scenario.topology;
        let there = topology.arcs[arc as usize];
        let (node, end) = (there.to as usize, self.ends[there.reverse as usize]);
        if !end.up || end.generation != generation || !self.is_alive(node) {
            return;
        }
        let (kind, bytes) = (message.kind(), message.bytes());
        let slot = topology.slot(there.reverse as usize);
        self.note(node, 1, u64::from(arc) << 32 | (kind as u64) << 24 | bytes as u64, message.fingerprint());
        self.payloads.clear();
        self.act(node, |relay, cx| relay.message(cx, slot, message));
        self.record.received(self.now, node, kind, bytes, &self.payloads);
    }

    fn timer(&mut self, node: usize) {
        let (now, place) = (self.now, self.part.place(node));
        if self.bodies[place].armed != now {
            return;
        }
        self.bodies[place].armed = NEVER;
        if self.nodes[place].deadline() <= now {
            self.note(node, 3, 0, 0);
            self.act(node, |relay, cx| relay.timeout(cx));
            // A relay that wants to be called again at once would be, for ever.
            if self.bodies[place].armed == now {
                self.bodies[place].armed = now + 1;
                self.push(now + 1, Event::Timer { node: node as u32 });
            }
        } else {
            self.arm(node);
        }
    }

    fn submit(&mut self, tx: u32) {
        let origin = self.scenario.catalog.entries[tx as usize].origin;
        if self.is_alive(origin) && !self.scenario.victims.hostile[origin] {
            self.note(origin, 4, tx.into(), 0);
            self.record.submitted(tx);
            self.act(origin, |relay, cx| relay.submit(cx, tx));
        }
    }

    // Nodes.

    /// Lets a node do something, carries out what it wants, and sets its timer.
    fn act(&mut self, node: usize, what: impl FnOnce(&mut R, &mut Cx<'_, R::Message>)) {
        if !self.is_alive(node) {
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
        what(&mut self.nodes[self.part.place(node)], &mut cx);
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { slot, message } => self.send(node, slot, message),
                Action::Verify => {
                    let body = &mut self.bodies[self.part.place(node)];
                    body.busy_until = body.busy_until.max(self.now) + VERIFY_US;
                    let at = body.busy_until;
                    self.push(at, Event::Verified { node: node as u32 });
                }
                Action::Delivered { tx } => self.record.delivered(self.now, tx, node),
                Action::Rejected { reason } => self.record.rejected(reason),
                Action::Refused => self.record.refused(node),
                Action::Banned => self.record.banned(node),
                Action::Disconnect { slot } => self.cut_both(self.scenario.topology.arc(node, slot)),
            }
        }
        self.actions = actions;
    }

    fn arm(&mut self, node: usize) {
        let place = self.part.place(node);
        let deadline = self.nodes[place].deadline();
        let body = &mut self.bodies[place];
        if deadline < body.armed {
            body.armed = deadline.max(self.now);
            let at = body.armed;
            self.push(at, Event::Timer { node: node as u32 });
        }
    }

    // Links.

    fn send(&mut self, node: usize, slot: usize, message: R::Message) {
        let Scenario { topology, faults, victims, rate, seed, .. } = self.scenario;
        let number = topology.arc(node, slot);
        let arc = topology.arcs[number];
        let end = &mut self.ends[number];
        if !end.up {
            return;
        }
        let bytes = message.bytes();
        let draw = mix(mix(*seed) ^ ((number as u64) << 32 | u64::from(end.sent)));
        let sequence = end.sent;
        end.sent = end.sent.wrapping_add(1);
        let arrival = end.lane.send(self.now, bytes as u64, jittered(arc.delay_us, share(draw)), *rate);
        let (generation, queued) = (end.generation, end.lane.queued(self.now, *rate));
        if queued > link::MAX {
            self.cut_both(number);
        } else if queued > link::HIGH && !end.lane.congested {
            end.lane.congested = true;
            let at = end.lane.relieved_at(*rate);
            self.push(at, Event::Relief { arc: number as u32, generation });
            self.congested.push(slot);
        }
        self.record.sent(self.now, node, bytes);
        let lost = self.lossy[message.kind()] && self.now >= LOAD_START && share(!draw) < faults.loss;
        let cut = self.apart && victims.far[arc.from as usize] != victims.far[arc.to as usize];
        if lost || cut {
            return;
        }
        let flight = Flight { arc: number as u32, generation, sequence, arrival, message };
        let to = arc.to as usize;
        if self.part.holds(to) {
            self.fly(flight);
        } else {
            self.outboxes[to % self.part.of].push(Parcel::Flight(flight));
        }
    }

    fn fly(&mut self, flight: Flight<R::Message>) {
        let (arrival, arc, sequence) = (flight.arrival, flight.arc, flight.sequence);
        let flight = self.flights.insert(flight);
        self.push(arrival, Event::Arrive { arc, sequence, flight });
    }

    fn relief(&mut self, arc: usize, generation: u32) {
        let rate = self.scenario.rate;
        let end = &mut self.ends[arc];
        if !end.up || end.generation != generation || !end.lane.congested {
            return;
        }
        if end.lane.queued(self.now, rate) > link::LOW {
            let at = end.lane.relieved_at(rate).max(self.now + 1);
            return self.push(at, Event::Relief { arc: arc as u32, generation });
        }
        end.lane.congested = false;
        let topology = &self.scenario.topology;
        let (node, slot) = (topology.arcs[arc].from as usize, topology.slot(arc));
        self.note(node, 5, slot as u64, 0);
        self.act(node, |relay, cx| relay.congested(cx, slot, false));
    }

    /// A link comes up at this shard's end of it.
    fn connect(&mut self, arc: usize) {
        let topology = &self.scenario.topology;
        let there = topology.arcs[arc];
        if self.ends[arc].up || !self.is_alive(there.from as usize) || !self.is_alive(there.to as usize) {
            return;
        }
        let rtt = there.delay_us + topology.arcs[there.reverse as usize].delay_us;
        self.ends[arc].up = true;
        self.ends[arc].lane = Lane::default();
        let (node, slot) = (there.from as usize, topology.slot(arc));
        self.note(node, 6, slot as u64, 0);
        self.act(node, |relay, cx| relay.connected(cx, slot, there.outgoing, rtt));
    }

    /// A node closes a link: at both ends at once, when what was sent has arrived.
    fn cut_both(&mut self, arc: usize) {
        let there = self.scenario.topology.arcs[arc];
        let End { lane, generation, .. } = self.ends[arc];
        let at = lane.drained_at().max(self.now + u64::from(there.delay_us)) + 1;
        self.push(at, Event::Cut { arc: arc as u32, generation });
        let far = there.to as usize;
        if self.part.holds(far) {
            self.push(at, Event::Cut { arc: there.reverse, generation });
        } else {
            self.outboxes[far % self.part.of].push(Parcel::Cut { at, arc: there.reverse, generation });
        }
    }

    /// A link goes down at this shard's end of it.
    fn cut(&mut self, arc: usize, generation: u32) {
        let end = &mut self.ends[arc];
        if !end.up || end.generation != generation {
            return;
        }
        end.up = false;
        end.generation += 1;
        let topology = &self.scenario.topology;
        let (node, slot) = (topology.arcs[arc].from as usize, topology.slot(arc));
        self.note(node, 7, slot as u64, 0);
        self.act(node, |relay, cx| relay.disconnected(cx, slot));
    }

    // Faults.

    fn crash(&mut self) {
        self.crashed = true;
        let dead = &self.scenario.victims.dead;
        self.cut_after_detection(|arc| dead[arc.from as usize] || dead[arc.to as usize]);
    }

    fn partition(&mut self, apart: bool) {
        self.apart = apart;
        let Scenario { topology, victims, faults, .. } = self.scenario;
        let parted = |arc: &Arc| victims.far[arc.from as usize] != victims.far[arc.to as usize];
        if apart {
            // One that heals before anybody notices leaves the links as they are.
            if faults.partition.is_some_and(|partition| partition.to - partition.from > faults.detect) {
                self.cut_after_detection(parted);
            }
            return;
        }
        for (number, arc) in topology.arcs.iter().enumerate() {
            if self.part.holds(arc.from as usize) && parted(arc) {
                self.push(self.now, Event::Connect { arc: number as u32 });
            }
        }
    }

    fn cut_after_detection(&mut self, hit: impl Fn(&Arc) -> bool) {
        let at = self.now + self.scenario.faults.detect.as_micros() as u64;
        for (arc, it) in self.scenario.topology.arcs.iter().enumerate() {
            if self.part.holds(it.from as usize) && hit(it) {
                let generation = self.ends[arc].generation;
                self.push(at, Event::Cut { arc: arc as u32, generation });
            }
        }
    }
}
