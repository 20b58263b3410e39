//! Finding neighbours and keeping enough of the right ones.
//!
//! A node keeps a [`view`] of the network, a random sample that nobody can fill, and exchanges parts of it with others that
//! it finds by random walks: over the link if they are neighbours, else it probes them. It dials samples out of the view until it has
//! opened as many links as it should, replaces one of little use now and then ([`links`]), and those drawn when the view was
//! another, remembers who could not be reached ([`book`]), and tries those again that were neighbours ([`lost`]). [`seek`]
//! says whom to dial, [`rhythm`] when the rest is done.
//! Bootstrap addresses are used only while it has no outgoing link and knows nobody else to dial, and twice more soon after:
//! had it been told of an attacker's nodes only, nobody else would ever hear of it. A node that should open
//! none keeps its view for others, and dials, probes and asks nobody.

mod book;
mod links;
mod lost;
mod place;
mod rhythm;
mod seek;
#[cfg(test)]
mod tests;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use rand::{
    Rng, RngExt,
    seq::{IndexedRandom, IteratorRandom},
};
use starling_wire::{BoundedVec, NodeId, Record, limits::MAX_RECORDS};

pub(super) use self::place::Place;
use self::{
    book::{Book, Taken, backoff, fit},
    lost::Lost,
    rhythm::Rhythm,
    seek::SEEK_EVERY,
    view::View,
};
use super::{
    config::OverlayConfig,
    io::{Address, Direction, PeerRecord},
    peers::{Link, MAX_LINKS, Peers},
    time::Time,
};

/// Samples that wait to be dialled; older ones are dropped.
const MAX_STREAM: usize = 16;

/// Of those who rank first nowhere and for whom another has to give way, one in so many gets into the book.
const NOTED: u32 = 8;

/// In a network of so few nodes one link is as good as another.
const FEW: usize = 32;

/// Draws until one is found with whom peers can be exchanged now.
const DRAWS: usize = 16;

/// Nodes last told of that are kept to be asked next.
const MAX_TOLD: usize = 32;

/// How often one of those is, and not a member of the view. With half, samples of 10,000 nodes are more uneven than 99 in
/// 100 fair ones.
const WALK: f64 = 0.75;

/// Probes under way at once. More are not made while the dead do not answer.
const MAX_PROBES: usize = 8;

/// Records told in an exchange of those that are the newest in the view, at most; the rest are of random members. So those
/// who have just come are heard of by all sooner.
const NEWEST: usize = MAX_RECORDS / 2;

/// After the bootstrap node was needed it is asked again, this long and twice as long after the start.
const SECOND_THOUGHT: Duration = Duration::from_secs(10);

/// Links that are dialled first after a restart, and are never rotated: an attacker who makes a node restart gains
/// nothing. Two, as in Bitcoin Core.
const ANCHORS: usize = 2;

/// Somebody to connect to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) peer: Option<NodeId>,
    pub(super) addresses: Vec<Address>,
}

/// What to do now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whom to dial.
    pub(super) dial: Vec<Candidate>,
    /// The neighbour to exchange peers with.
    pub(super) exchange: Option<NodeId>,
    /// The neighbour to give up.
    pub(super) rotate: Option<NodeId>,
    /// Whom to begin with after a restart.
    pub(super) anchors: Vec<NodeId>,
    /// Who was drawn out of the view.
    pub(super) sample: Option<NodeId>,
}

/// Whether there is room for one more incoming link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// If this one goes.
    InPlaceOf(NodeId),
    None,
}

/// The overlay's state.
#[derive(Debug)]
pub(super) struct Overlay {
    config: OverlayConfig,
    identity: NodeId,
    own: Option<PeerRecord>,
    book: Book,
    view: View,
    /// Samples to dial next, the oldest first.
    stream: VecDeque<NodeId>,
    /// Whom those who were asked last told of, if there is a record, the latest last.
    told: VecDeque<NodeId>,
    /// Samples drawn since the start.
    samples: u64,
    /// Dials under way, with when they were made.
    dialling: BTreeMap<NodeId, Time>,
    /// Those of them that are probes.
    probing: BTreeSet<NodeId>,
    lost: Lost,
    bootstrap_failures: u32,
    bootstrap_not_before: Time,
    rhythm: Rhythm,
    /// The node knew others from before its start.
    restored: bool,
    /// When the bootstrap node is asked once more.
    second_thought: Option<Time>,
    /// When to look for more links; `None` while there are enough.
    next_look: Option<Time>,
    look_wait: Duration,
}

impl Overlay {
    /// Knows nobody.
    pub(super) fn new(config: OverlayConfig, identity: NodeId, rng: &mut impl Rng) -> Self {
        Self {
            config,
            identity,
            own: None,
            book: Book::default(),
            stream: VecDeque::new(),
            told: VecDeque::new(),
            samples: 0,
            dialling: BTreeMap::new(),
            probing: BTreeSet::new(),
            lost: Lost::default(),
            bootstrap_failures: 0,
            bootstrap_not_before: Time::ZERO,
            rhythm: Rhythm::new(rng),
            restored: false,
            second_thought: None,
            next_look: Some(Time::ZERO),
            look_wait: SEEK_EVERY,
            view: View::new(rng.random()),
        }
    }

    /// This node's own record, for those who ask.
    pub(super) fn set_own(&mut self, record: PeerRecord) {
        self.own = Some(record);
    }

    /// Who is in the slots of the view; one node may be in several.
    pub(super) fn view(&self) -> impl Iterator<Item = &NodeId> {
        self.view.nodes()
    }

    /// Most connections that may have come in: there is always room for those that this node opens.
    pub(super) fn max_connected(&self) -> usize {
        MAX_LINKS.saturating_sub(self.config.dials + MAX_PROBES)
    }

    /// How many nodes are remembered.
    pub(super) fn known(&self) -> usize {
        self.book.len()
    }

    /// Samples drawn since the start.
    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    /// Takes records that a peer told of, `asked` or not. `unix` is the Unix time now, in seconds; where a node is that is
    /// `linked` is always noted. Gives the nodes of which something new is known.
    pub(super) fn learn(
        &mut self,
        now: Time,
        unix: u64,
        records: Vec<PeerRecord>,
        asked: bool,
        linked: impl Fn(&NodeId) -> bool,
        rng: &mut impl Rng,
    ) -> Vec<NodeId> {
        let told: Vec<NodeId> = records.iter().filter(|_| asked).map(|record| record.node).collect();
        let learned = self.take(now, records, Some(unix), linked, rng);
        for node in told.into_iter().filter(|node| self.book.get(node).is_some()) {
            if self.told.len() >= MAX_TOLD {
                self.told.pop_front();
            }
            self.told.push_back(node);
        }
        learned
    }

    /// Takes records that this node has kept, however old, those to begin with first.
    pub(super) fn restore(&mut self, records: Vec<PeerRecord>, rng: &mut impl Rng) {
        self.restored = !records.is_empty();
        self.stream.extend(records.iter().take(ANCHORS).map(|record| record.node));
        self.take(Time::ZERO, records, None, |_| false, rng);
    }

    fn take(
        &mut self,
        now: Time,
        records: Vec<PeerRecord>,
        unix: Option<u64>,
        linked: impl Fn(&NodeId) -> bool,
        rng: &mut impl Rng,
    ) -> Vec<NodeId> {
        // What is within reach of the farthest that this node can be reached from.
        let reach = self.own.iter().flat_map(|own| &own.addresses).map(|address| Place::of(address).reach()).max();
        let (mut learned, mut found) = (Vec::new(), false);
        let (mut told, mut members) = (0, 0);
        for record in records {
            let node = record.node;
            if node == self.identity {
                continue;
            }
            let Some(record) = fit(record, reach, unix) else { continue };
            told += 1;
            let place = book::place(&record);
            let taken = match self.book.update(now, &record) {
                Some(taken) => {
                    members += u32::from(self.view.holds(&node));
                    if taken == Taken::Moved {
                        self.view.forget(now, &node, self.book.alive(), !self.book.is_full());
                    }
                    if matches!(taken, Taken::Node | Taken::Moved) {
                        self.view.offer(now, &node, &place);
                    }
                    taken
                }
                None => {
                    let first = self.view.offer(now, &node, &place);
                    // Most that rank first nowhere are soon forgotten in a large network: it is cheaper not to note them.
                    if first || linked(&node) || !self.book.is_full() || rng.random_range(0..NOTED) == 0 {
                        let Self { view, stream, lost, .. } = self;
                        let spare = |node: &NodeId| {
                            view.holds(node) || stream.contains(node) || linked(node) || lost.contains(node)
                        };
                        self.book.insert(now, record, spare, rng)
                    } else {
                        Taken::No
                    }
                }
            };
            found |= taken == Taken::Node;
            if taken != Taken::No {
                learned.push(node);
            }
        }
        self.rhythm.heard(told, members);
        if self.view.changed_at() == Some(now) {
            self.rhythm.be_eager(now);
        }
        if found && self.next_look.is_some() {
            self.look_soon(now);
        }
        learned
    }

    /// What is known of a node.
    pub(super) fn record(&self, peer: &NodeId) -> Option<&PeerRecord> {
        self.book.get(peer).map(|known| &known.record)
    }

    /// Records for others: this node's own, and those of the newest and of random members of its view.
    pub(super) fn choice(&self, rng: &mut impl Rng) -> BoundedVec<Record, MAX_RECORDS> {
        let mut members = self.view.newest();
        let older = members.split_off(members.len().min(NEWEST));
        let own = self.own.as_ref().map(|own| own.envelope.clone());
        members.extend(older.into_iter().sample(rng, MAX_RECORDS - 1 - NEWEST));
        let others = members.iter().filter_map(|node| self.record(node)).map(|record| record.envelope.clone());
        let records: Vec<Record> = own.into_iter().chain(others).filter_map(Record::new).collect();
        BoundedVec::new(records).unwrap_or_else(|_| unreachable!("one and at most MAX_RECORDS - 1"))
    }

    /// Whether one more incoming link is welcome.
    pub(super) fn room(&self, now: Time, peers: &Peers) -> Room {
        if peers.count(Direction::Incoming) < self.config.max_incoming {
            return Room::Free;
        }
        links::to_evict(now, peers, &self.view).map_or(Room::None, Room::InPlaceOf)
    }

    /// A connection came up. Says whether it was made to probe.
    pub(super) fn connected(&mut self, peer: &NodeId, direction: Direction) -> bool {
        self.lost.remove(peer);
        if direction == Direction::Incoming {
            return false;
        }
        self.dialling.remove(peer);
        self.bootstrap_failures = 0;
        self.probing.remove(peer)
    }

    /// A node said hello: it is where it should be, and speaks with this one.
    pub(super) fn greeted(&mut self, peer: &NodeId) {
        self.book.reached(peer);
    }

    /// A node could not be reached, or is of another network: it leaves the view, and is left alone for a while.
    pub(super) fn failed(&mut self, now: Time, peer: Option<&NodeId>) {
        match peer {
            None => {
                self.bootstrap_not_before = now + backoff(self.bootstrap_failures);
                self.bootstrap_failures += 1;
            }
            Some(peer) => {
                self.dialling.remove(peer);
                self.probing.remove(peer);
                self.book.back_off(now, peer, true);
                self.view.forget(now, peer, self.book.alive(), !self.book.is_full());
                if self.next_look.is_some() {
                    self.look_soon(now);
                }
            }
        }
    }

    /// A neighbour has been silent for too long: it counts as one that could not be reached, and is tried again.
    pub(super) fn given_up(&mut self, now: Time, peer: &NodeId, rng: &mut impl Rng) {
        self.failed(now, Some(peer));
        self.lost.add(now, *peer, rng);
    }

    /// A node does not want a link with this one now: it is left alone for a while.
    pub(super) fn turned_away(&mut self, now: Time, peer: &NodeId) {
        self.book.back_off(now, peer, false);
    }

    /// A link is gone, or as good as gone: looks for another at once.
    pub(super) fn link_lost(&mut self, now: Time, peers: &Peers) {
        if peers.ready().next().is_none() {
            self.rhythm.be_eager(now);
        }
        self.look_soon(now);
    }

    /// What is due.
    pub(super) fn timeout(
        &mut self,
        now: Time,
        peers: &Peers,
        banned: impl Fn(&NodeId) -> bool,
        rng: &mut impl Rng,
    ) -> Plan {
        let mut plan = Plan::default();
        if self.config.dials == 0 {
            return plan;
        }
        let mut open = |peer: &NodeId, overlay: &Self| {
            overlay.book.may_dial(now, peer)
                && peers.get(peer).is_none()
                && !overlay.dialling.contains_key(peer)
                && !banned(peer)
        };
        if self.rhythm.is_exchange_due(now) {
            let linked = |peer: &NodeId| peers.get(peer).is_some_and(Link::is_ready);
            let probing = self.probing.len() < MAX_PROBES;
            let mut draws = (0..DRAWS).filter_map(|_| self.draw(rng));
            let partner = draws.find(|peer| linked(peer) || probing && open(peer, self));
            match partner {
                Some(peer) if !linked(&peer) => {
                    self.probing.insert(peer);
                    self.dial(now, peer, &mut plan);
                }
                partner => plan.exchange = partner.or_else(|| peers.ready().map(|(peer, _)| *peer).choose(rng)),
            }
            self.rhythm.exchanged(now, partner.or(plan.exchange).is_some(), rng);
        }
        if self.rhythm.is_redraw_due(now) {
            let outdated = self.outdated(peers);
            self.rhythm.redrew(now, outdated.is_some(), rng);
            plan.rotate = outdated.filter(|_| self.has_enough(peers));
        }
        if self.rhythm.renews(now, rng) {
            plan.sample = self.renew(now);
        }
        let absent = |peer: &NodeId| peers.get(peer).is_none() && !self.dialling.contains_key(peer) && !banned(peer);
        if let Some(peer) = self.lost.draw(now, absent, rng) {
            self.dial(now, peer, &mut plan);
        }
        if self.rhythm.rotates(now, rng) {
            plan.anchors = links::oldest(peers, ANCHORS);
            if self.has_enough(peers) {
                plan.rotate = links::to_rotate(now, peers, &plan.anchors, rng);
            }
        }
        if self.second_thought.take_if(|at| *at <= now).is_some() {
            let again = Time::ZERO + 2 * SECOND_THOUGHT;
            self.second_thought = (again > now).then_some(again);
            let address = self.config.bootstrap.choose(rng);
            plan.dial.extend(address.map(|address| Candidate { peer: None, addresses: vec![address.clone()] }));
        }
        if self.next_look.is_some_and(|at| at <= now) {
            self.look(now, peers, &mut open, &mut plan, rng);
        }
        plan
    }

    /// Somebody to exchange peers with: mostly one that whoever was asked before told of, which makes a random walk, else a
    /// random member of the view. Settled views change little: were only members asked, a node would be told of the members
    /// of the same views again and again, and never of some of 10,000 nodes. Were none asked, attackers, who tell of each
    /// other only, could keep a node among themselves.
    fn draw(&self, rng: &mut impl Rng) -> Option<NodeId> {
        let told = if rng.random_bool(WALK) { self.told.iter().choose(rng) } else { None };
        told.or_else(|| self.view.draw(rng)).copied()
    }

    /// The oldest outgoing link, if it was drawn when the view was another. A node that knew others before its start has no
    /// such links.
    fn outdated(&self, peers: &Peers) -> Option<NodeId> {
        if self.restored || self.book.len() < FEW {
            return None;
        }
        let outdated = self.view.outdated_at()?;
        let oldest = links::oldest(peers, 1).first().copied()?;
        peers.get(&oldest).is_some_and(|link| link.since < outdated).then_some(oldest)
    }

    fn has_enough(&self, peers: &Peers) -> bool {
        peers.count(Direction::Outgoing) >= self.config.dials
    }

    fn renew(&mut self, now: Time) -> Option<NodeId> {
        let sample = self.view.renew(now, self.book.alive(), !self.book.is_full())?;
        self.samples += 1;
        if self.stream.len() >= MAX_STREAM {
            self.stream.pop_front();
        }
        self.stream.push_back(sample);
        Some(sample)
    }

    /// When [`Self::timeout`] next has work.
    pub(super) fn deadline(&self) -> Option<Time> {
        let others = self.next_look.into_iter().chain(self.second_thought).chain(self.lost.deadline());
        (self.config.dials > 0).then(|| others.fold(self.rhythm.deadline(), Time::min))
    }
}
