//! The protocol as one pure state machine.
//!
//! [`Engine`] knows no sockets, no clock and no randomness but its seed: a driver feeds it [`Input`]s with the time and
//! carries out its [`Output`]s. The same engine runs under libp2p ([`crate::net`]) and under a simulator.
//!
//! The contract, for drivers: call [`Engine::handle`] once, then [`Engine::poll_output`] until it gives nothing, then
//! set the one timer to [`Engine::poll_timeout`]; when it fires, hand in [`Input::Timeout`]. Time must not go back.
//!
//! This module routes between the parts, `transactions` and each part's `routing` with it; the parts never call each other:
//! `gossip` decides who is sent which transaction, `reconcile` finds what that missed, `overlay` whom to connect to,
//! `blocks` what the chain is, `aggregate` what the network is like, and `score` who has to go. Signatures are not checked
//! here: what needs it leaves as [`Output::Verify`] and comes back as [`Input::Verified`].

mod aggregate;
mod blocks;
mod config;
mod gossip;
mod io;
mod links;
mod locals;
mod overlay;
mod peers;
mod persist;
mod pulse;
mod reconcile;
mod score;
mod stats;
mod time;
mod transactions;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use starling_mempool::{Admissible, Genesis, Ledger, Mempool, Rejection};
use starling_wire::{GenesisId, Message, NodeId, SignedTx};

use self::{
    aggregate::Aggregates,
    gossip::Gossip,
    locals::Locals,
    overlay::Overlay,
    peers::Peers,
    reconcile::Reconcile,
    score::{Blame, Scores},
};
pub use self::{
    aggregate::{Estimate, Figure, Network, Proof, Spread},
    blocks::{AppliedBlock, Chain, Included},
    config::{EngineConfig, GossipConfig, OverlayConfig, ProducerConfig},
    io::{Address, Direction, Event, Input, Output, PeerRecord, Source, Ticket},
    peers::Link,
    persist::{Change, Dropped, Removal, Saved},
    stats::Stats,
    time::Time,
};

/// How long work in no hurry waits for something else to happen first: while transactions pass, that saves a timer's
/// wake-up for each.
const LEISURE: Duration = Duration::from_millis(100);

/// Bytes of transactions sent in answer to one request; the rest has to be asked for again, here or elsewhere. Keeps
/// one small message from filling a link's queue.
const MAX_ANSWER: usize = 1 << 20;

/// One node's protocol state.
pub struct Engine {
    genesis: Genesis,
    genesis_id: GenesisId,
    producer: Option<ProducerConfig>,
    next_production: Option<Time>,
    unix_ms_at_start: u64,
    rng: ChaCha8Rng,
    peers: Peers,
    /// By when neighbours must have said hello, in order of time.
    hellos: VecDeque<(Time, NodeId)>,
    gossip: Gossip,
    reconcile: Reconcile,
    overlay: Overlay,
    scores: Scores,
    aggregates: Aggregates,
    chain: Chain,
    ledger: Ledger,
    pool: Mempool,
    locals: Locals,
    /// Signatures being checked.
    checking: usize,
    /// Goodbye was said to everybody: no new links.
    stopping: bool,
    stats: Stats,
    outputs: VecDeque<Output>,
    /// When something is to be done, at the first opportunity from then on.
    due: Option<Time>,
    /// When it is to be done without one.
    timer: Option<Time>,
    /// How late it was, the last time.
    lag: Duration,
    /// When links are next looked at.
    next_round: Time,
    /// The time of the last input.
    now: Time,
}

impl Engine {
    /// A node that knows nobody yet. The seed must differ between nodes and be unpredictable to others.
    pub fn new(config: EngineConfig, identity: NodeId, seed: [u8; 32]) -> Self {
        let EngineConfig { genesis, rules, pool, overlay, gossip, producer, unix_ms_at_start } = config;
        let mut rng = ChaCha8Rng::from_seed(seed);
        let gossip = Gossip::new(gossip, &mut rng);
        Self {
            genesis_id: genesis.id(),
            next_production: producer.as_ref().map(|producer| Time::ZERO + producer.interval),
            producer,
            unix_ms_at_start,
            peers: Peers::default(),
            hellos: VecDeque::new(),
            gossip,
            reconcile: Reconcile::new(),
            overlay: Overlay::new(overlay, identity, &mut rng),
            rng,
            scores: Scores::new(),
            aggregates: Aggregates::new(genesis.id(), unix_ms_at_start),
            chain: Chain::new(),
            ledger: Ledger::new(&genesis).with_rules(rules),
            pool: Mempool::new(pool, genesis.limits.min_fee_per_byte),
            locals: Locals::default(),
            checking: 0,
            stopping: false,
            stats: Stats::default(),
            outputs: VecDeque::new(),
            due: Some(Time::ZERO),
            timer: Some(Time::ZERO),
            lag: Duration::ZERO,
            next_round: Time::ZERO + pulse::ROUND,
            now: Time::ZERO,
            genesis,
        }
    }

    /// Has a driver that keeps what [`Output::Store`] tells and answers [`Output::ReadBlocks`] and
    /// [`Output::ReadBlockTxs`]: older blocks do not stay in memory.
    pub fn storing(mut self) -> Self {
        self.chain.set_stored();
        self
    }

    /// The network this node belongs to.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The transaction pool.
    pub fn pool(&self) -> &Mempool {
        &self.pool
    }

    /// Balances and nonces after the last applied block.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The announced blocks.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The neighbours, in the order of their ids.
    pub fn links(&self) -> impl Iterator<Item = (&NodeId, &Link)> {
        self.peers.iter()
    }

    /// Who is in the slots of the view of the network, slot by slot; one node may be in several.
    pub fn view(&self) -> impl Iterator<Item = &NodeId> {
        self.overlay.view()
    }

    /// How many nodes are remembered, neighbours or not.
    pub fn known_nodes(&self) -> usize {
        self.overlay.known()
    }

    /// Samples drawn from the view since the start.
    pub fn samples(&self) -> u64 {
        self.overlay.samples()
    }

    /// A peer's score at a time: 0 at best, banned at -100.
    pub fn score(&self, now: Time, peer: &NodeId) -> f64 {
        self.scores.score(now, peer)
    }

    /// What was counted since the start.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Whether a transaction would be admitted to the pool now, were its signature good, and what that would do.
    pub fn check(&self, now: Time, tx: &SignedTx) -> Result<Admissible, Rejection> {
        self.pool.check(now.since_start(), tx, self.chain.height(), &self.ledger)
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = now;
        if let Some(at) = self.timer.filter(|at| *at <= now) {
            self.lag = now - at;
        }
        match input {
            Input::Connected { peer, direction, address } => self.connected(now, peer, direction, address.as_ref()),
            Input::Disconnected { peer } => self.disconnected(now, peer),
            Input::DialFailed { peer } => self.overlay.failed(now, peer.as_ref()),
            Input::Message { peer, message } => self.message(now, peer, message),
            Input::PeerRecords { peer, records, bad } => self.peer_records(now, peer, records, bad),
            Input::Malformed { peer, error } => {
                self.stats.malformed += 1;
                self.ban(now, peer, format!("sent bytes that are no message: {error}"));
            }
            Input::RoundTrip { peer, rtt } => {
                if let Some(link) = self.peers.get_mut(&peer) {
                    link.measured(rtt);
                    self.heard(now, peer, 0);
                }
            }
            Input::Congestion { peer, congested } => self.congestion(now, peer, congested),
            Input::BlockRead { peer, messages } => self.block_read(now, peer, messages),
            Input::Verified { source, verdict } => self.verified(now, source, verdict),
            Input::LocalRecord(record) => self.overlay.set_own(record),
            Input::WallClock { unix_ms } => {
                let unix_ms_at_start = unix_ms.saturating_sub(now.since_start().as_millis() as u64);
                let by = unix_ms_at_start.abs_diff(std::mem::replace(&mut self.unix_ms_at_start, unix_ms_at_start));
                self.clock_set(Duration::from_millis(by));
                self.aggregates.turn(now, unix_ms, self.stats.admitted);
            }
            Input::Submit { ticket, tx } => self.submit(now, ticket, tx),
            Input::AddPeer(address) => self.outputs.push_back(Output::Dial { peer: None, addresses: vec![address] }),
            Input::BanPeer(peer) => self.ban(now, peer, "banned by the user".into()),
            Input::Timeout => {}
            Input::Shutdown => self.shutdown(),
        }
        // Whatever happened, what is due is done: a driver that is behind with its timer delays nothing.
        if self.due.is_some_and(|at| at <= now) {
            self.timeout(now);
        }
        self.sync(now);
        self.reconcile.observe(now, &self.pool);
        let (urgent, leisurely) = (self.deadline(), self.leisurely_deadline());
        self.due = [urgent, leisurely].into_iter().flatten().min();
        self.timer = [urgent, leisurely.map(|at| at + LEISURE)].into_iter().flatten().min();
    }

    /// The next thing the driver must do.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front()?;
        if let Output::Send { peer, message } = &output
            && let Some(link) = self.peers.get_mut(peer)
        {
            link.pulse.sent(self.now);
            link.bytes_out += message.frame_len() as u64;
        }
        Some(output)
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timer
    }

    fn deadline(&self) -> Option<Time> {
        let hello = self.hellos.front().map(|(at, _)| *at);
        let overlay = (!self.stopping).then(|| self.overlay.deadline()).flatten();
        [
            self.locals.deadline(),
            self.gossip.deadline(),
            self.scores.deadline(),
            self.chain.deadline(),
            self.next_production,
            hello,
        ]
        .into_iter()
        .chain([overlay, self.pool.next_expiry().map(Time::after)])
        .flatten()
        .min()
    }

    /// When there is next something to do that can wait for another input, for [`LEISURE`].
    fn leisurely_deadline(&self) -> Option<Time> {
        let round = self.peers.iter().next().is_some().then_some(self.next_round);
        let regular = [self.reconcile.deadline(), self.aggregates.deadline()].into_iter().filter(|_| !self.stopping);
        [self.gossip.leisurely_deadline(), round].into_iter().flatten().chain(regular).min()
    }

    /// Unix time in milliseconds.
    fn unix_ms(&self, now: Time) -> u64 {
        self.unix_ms_at_start.saturating_add(now.since_start().as_millis() as u64)
    }

    fn timeout(&mut self, now: Time) {
        self.end_round(now);
        self.announce_locals(now);
        let out = &mut |output| self.outputs.push_back(output);
        let failovers = self.gossip.timeout(now, &mut self.peers, &mut self.rng, out);
        // One question unanswered is one promise broken, however many ids were in it: a block may have taken them all.
        let failovers = failovers.iter().filter(|failover| !failover.excused);
        let broken: BTreeSet<_> = failovers.map(|failover| (failover.question, failover.broken)).collect();
        if !self.is_late() {
            broken.into_iter().for_each(|(_, peer)| self.blame(now, peer, Blame::BrokenPromise));
        }
        for peer in self.scores.timeout(now) {
            self.outputs.push_back(Output::Block { peer, blocked: false });
        }
        if !self.stopping {
            self.keep_links(now);
            self.reconcile(now);
            self.aggregate(now);
        }
        self.close_mute(now);
        let expired = self.pool.expire(now.since_start());
        self.stats.expired += expired.len() as u64;
        self.gossip.expired(now, &expired);
        self.store_removed(expired, Removal::Expired);
        if self.next_production.is_some_and(|time| time <= now) {
            self.produce(now);
        }
    }

    // Messages.

    fn message(&mut self, now: Time, peer: NodeId, message: Message) {
        let Some(link) = self.peers.get(&peer) else { return };
        if link.closing {
            return;
        }
        if !link.ready && !matches!(message, Message::Hello(_) | Message::Probe(_) | Message::Goodbye(_)) {
            return self.blame(now, peer, Blame::Violation("a message before hello"));
        }
        let slot = link.slot;
        self.heard(now, peer, message.frame_len());
        self.gossip.heard(now, slot);
        match message {
            Message::Hello(hello) => self.hello(now, peer, hello),
            Message::Goodbye(_) => self.goodbye(now, peer),
            Message::Push { labels, tx } => self.push(now, peer, labels, tx),
            Message::IHave(ids) => {
                ids.iter().for_each(|id| self.locals.seen(id));
                let out = &mut |output| self.outputs.push_back(output);
                self.gossip.announced(now, peer, &ids, &mut self.peers, &self.pool, out);
            }
            Message::IWant(ids) => self.wanted(now, peer, &ids),
            Message::Prune(ids) => {
                ids.iter().for_each(|id| self.locals.seen(id));
                self.gossip.pruned(&ids, slot);
            }
            Message::Digest(digest) => self.digest(now, peer, &digest),
            Message::Sketch(sketch) => self.sketch(now, peer, &sketch),
            Message::GetSymbols(request) => self.get_symbols(now, peer, &request),
            Message::GetPeers => self.get_peers(now, peer),
            Message::Alive => {}
            Message::Probe(hello) => self.probed(now, peer, hello),
            Message::Peers(_) => debug_assert!(false, "the driver hands these over as PeerRecords"),
            Message::Block(block) => self.block(now, Some(peer), block),
            Message::GetBlocks(request) => self.blocks_wanted(now, peer, request),
            Message::GetBlockTxs(request) => self.block_txs_wanted(now, peer, &request),
            Message::BlockTx(tx) => self.block_tx(now, peer, tx),
            Message::ReportDigest(_) | Message::ReportList(_) | Message::GetReports(_) | Message::Reports(_) => {
                self.report_message(now, peer, &message);
            }
        }
    }

    fn send(&mut self, peer: NodeId, message: Message) {
        if self.peers.get(&peer).is_some_and(|link| !link.closing) {
            self.outputs.push_back(Output::Send { peer, message });
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
