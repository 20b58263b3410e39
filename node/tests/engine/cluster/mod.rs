//! Engines joined by imagined links: messages take a fixed time, nothing else is between them. Runs are deterministic.

mod puppet;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use starling_mempool::{AccountView, Genesis, GenesisAccount, Limits, PoolConfig, TxRules};
use starling_node::engine::{
    Address, Change, Direction, Dropped, Engine, EngineConfig, Event, GossipConfig, Input, Output, OverlayConfig,
    PeerRecord, ProducerConfig, Saved, Ticket, Time,
};
use starling_wire::{
    AccountId, BoundedVec, Message, NetworkId, NodeId, SecretKey, ShortId, SignedBlock, SignedTx, Transaction, TxId,
    Unverified, VerifiedTx,
    limits::{MAX_IDS, MAX_PAYLOAD},
    verify,
};

pub(crate) const LATENCY: Duration = Duration::from_millis(20);

/// Whether a message from one node to another gets there.
type Filter = Box<dyn Fn(usize, usize, &Message) -> bool>;

pub(crate) struct Cluster {
    pub(crate) now: Time,
    pub(crate) genesis: Genesis,
    /// Limits of the pools of nodes that are added.
    pub(crate) pool: PoolConfig,
    /// Whether nodes that are added report about themselves.
    pub(crate) reporting: bool,
    /// Unix time at the beginning, in milliseconds, by the clocks of nodes that are added.
    pub(crate) unix_ms: u64,
    engines: Vec<Engine>,
    configs: Vec<EngineConfig>,
    ids: Vec<NodeId>,
    /// Nodes that do not answer any more.
    dead: BTreeSet<usize>,
    links: BTreeSet<(usize, usize)>,
    queue: BTreeMap<(Time, u64), (usize, Input)>,
    sequence: u64,
    /// Puppets that give signs of life.
    beating: BTreeSet<NodeId>,
    pub(crate) filter: Filter,
    /// Everything that happened, in order.
    pub(crate) events: Vec<(Time, usize, Event)>,
    /// What each node should keep, in order.
    pub(crate) changes: Vec<(usize, Change)>,
    /// Times that a node had a block read of those.
    pub(crate) reads: usize,
    /// How long a read takes.
    pub(crate) read_time: Duration,
    /// Messages sent: from, to, what.
    pub(crate) sent: Vec<(usize, usize, Message)>,
}

pub(crate) fn account_key(i: u64) -> SecretKey {
    SecretKey::insecure_from_name(i, "account")
}

/// The key of a node.
pub(crate) fn node_key(i: usize) -> SecretKey {
    SecretKey::insecure_from_name(i as u64, "node")
}

/// Rich accounts.
pub(crate) const ACCOUNTS: u64 = 60;

/// Rich accounts, two producers.
pub(crate) fn genesis() -> Genesis {
    Genesis {
        network: NetworkId(7),
        producers: (0..2).map(|i| producer_key(i).account()).collect(),
        limits: Limits::default(),
        accounts: (0..ACCOUNTS)
            .map(|i| GenesisAccount { id: account_key(i).account(), balance: 1_000_000_000 })
            .collect(),
    }
}

pub(crate) fn producer_key(i: u64) -> SecretKey {
    SecretKey::insecure_from_name(i, "producer")
}

/// A transaction that any neighbour may push.
pub(crate) fn push(tx: SignedTx) -> Message {
    Message::Push { labels: [1, 2, 3], tx }
}

pub(crate) fn ids(txs: &[&SignedTx]) -> BoundedVec<ShortId, MAX_IDS> {
    BoundedVec::new(txs.iter().map(|tx| tx.short_id()).collect()).unwrap()
}

/// A transaction of a rich account that any node of the network admits.
pub(crate) fn transfer(account: u64, nonce: u64) -> SignedTx {
    let key = account_key(account);
    let tx = Transaction {
        network: NetworkId(7),
        sender: key.account(),
        nonce,
        fee: 1000,
        recipient: AccountId([9; 32]),
        amount: 5,
        valid_until: None,
        payload: Bytes::from_static(b"payload"),
    };
    tx.sign(&key).unwrap()
}

/// One of 32 KiB and some more.
pub(crate) fn long(account: u64, nonce: u64, fee: u64) -> SignedTx {
    let mut tx = transfer(account, nonce).transaction().clone();
    (tx.fee, tx.payload) = (fee, vec![0; MAX_PAYLOAD].into());
    tx.sign(&account_key(account)).unwrap()
}

impl Cluster {
    /// `count` nodes that know nothing but the address of node 0; `produce` of them make blocks.
    pub(crate) fn new(count: usize, dials: usize, produce: usize, seed: u64) -> Self {
        let mut cluster = Self::empty();
        for i in 0..count {
            let producer = (i < produce)
                .then(|| ProducerConfig { key: producer_key(i as u64), interval: Duration::from_millis(500) });
            cluster.add(dials, producer, seed);
        }
        cluster
    }

    /// Nobody yet.
    pub(crate) fn empty() -> Self {
        Self {
            now: Time::ZERO,
            genesis: genesis(),
            pool: PoolConfig::default(),
            reporting: false,
            unix_ms: 0,
            engines: Vec::new(),
            configs: Vec::new(),
            ids: Vec::new(),
            dead: BTreeSet::new(),
            links: BTreeSet::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            beating: BTreeSet::new(),
            filter: Box::new(|_, _, _| true),
            events: Vec::new(),
            changes: Vec::new(),
            reads: 0,
            read_time: Duration::from_millis(1),
            sent: Vec::new(),
        }
    }

    /// One more node that knows the address of node 0.
    pub(crate) fn add(&mut self, dials: usize, producer: Option<ProducerConfig>, seed: u64) -> usize {
        let i = self.engines.len();
        let bootstrap = if i == 0 { vec![] } else { vec![address(0)] };
        let config = EngineConfig {
            genesis: self.genesis.clone(),
            rules: TxRules::default(),
            pool: self.pool.clone(),
            overlay: OverlayConfig { dials, bootstrap, ..OverlayConfig::default() },
            gossip: GossipConfig::default(),
            producer,
            unix_ms_at_start: self.unix_ms,
        };
        let id = node_key(i).node();
        let mut engine_seed = [i as u8; 32];
        engine_seed[..8].copy_from_slice(&seed.to_le_bytes());
        self.ids.push(id);
        self.configs.push(config.clone());
        self.engines.push(self.engine_of(i, config, engine_seed));
        self.input(i, Input::LocalRecord(record(i, id)));
        i
    }

    fn engine_of(&self, i: usize, config: EngineConfig, seed: [u8; 32]) -> Engine {
        let engine = Engine::new(config, node_key(i).node(), seed).storing();
        if self.reporting { engine.reporting(node_key(i)) } else { engine }
    }

    pub(crate) fn len(&self) -> usize {
        self.engines.len()
    }

    pub(crate) fn engine(&self, i: usize) -> &Engine {
        &self.engines[i]
    }

    pub(crate) fn index(&self, id: &NodeId) -> usize {
        self.ids.iter().position(|other| other == id).unwrap()
    }

    /// Hands an input to a node now and carries out what follows.
    pub(crate) fn input(&mut self, i: usize, input: Input) {
        if self.dead.contains(&i) {
            return;
        }
        self.engines[i].handle(self.now, input);
        while let Some(output) = self.engines[i].poll_output() {
            self.output(i, output);
        }
    }

    pub(crate) fn submit(&mut self, i: usize, tx: &SignedTx) {
        self.input(i, Input::Submit { ticket: Ticket(0), tx: tx.clone() });
    }

    /// Stops a node without a word; its neighbours notice after a while.
    pub(crate) fn crash(&mut self, i: usize, detection: Duration) {
        self.dead.insert(i);
        let lost: Vec<_> = self.links.iter().copied().filter(|(a, b)| *a == i || *b == i).collect();
        for (a, b) in lost {
            self.links.remove(&(a, b));
            let (other, peer) = if a == i { (b, self.ids[a]) } else { (a, self.ids[b]) };
            self.schedule(detection, other, Input::Disconnected { peer });
        }
    }

    /// Starts a node that crashed anew, from what it kept, and without the address of node 0.
    pub(crate) fn restart(&mut self, i: usize, saved: Saved) -> Vec<Dropped> {
        let mut config = self.configs[i].clone();
        config.overlay.bootstrap.clear();
        self.dead.remove(&i);
        self.engines[i] = self.engine_of(i, config, [i as u8 + 100; 32]);
        // Its time begins anew in a real node; here it is that of the others.
        let dropped = self.engines[i].restore(saved);
        self.input(i, Input::LocalRecord(record(i, self.ids[i])));
        dropped
    }

    fn schedule(&mut self, after: Duration, to: usize, input: Input) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), (to, input));
    }

    fn output(&mut self, i: usize, output: Output) {
        match output {
            Output::Send { peer, message } => {
                let to = self.index(&peer);
                self.sent.push((i, to, message.clone()));
                let linked = self.links.contains(&(i.min(to), i.max(to)));
                if !linked || !(self.filter)(i, to, &message) {
                    return;
                }
                let peer = self.ids[i];
                let input = match message {
                    Message::Peers(records) => Input::PeerRecords {
                        peer,
                        records: records.iter().map(|sent| self.check_record(sent.envelope())).collect(),
                        bad: 0,
                    },
                    message => Input::Message { peer, message },
                };
                self.schedule(LATENCY, to, input);
            }
            Output::Dial { addresses, .. } => {
                let to = usize::from(u16::from_le_bytes(addresses[0].0[..].try_into().unwrap()));
                let link = (i.min(to), i.max(to));
                if to == i || self.dead.contains(&to) {
                    self.schedule(LATENCY, i, Input::DialFailed { peer: Some(self.ids[to]) });
                } else if self.links.insert(link) {
                    let (a, b) = (self.ids[i], self.ids[to]);
                    self.schedule(
                        LATENCY * 2,
                        i,
                        Input::Connected { peer: b, direction: Direction::Outgoing, address: None },
                    );
                    self.schedule(
                        LATENCY,
                        to,
                        Input::Connected { peer: a, direction: Direction::Incoming, address: None },
                    );
                }
            }
            Output::Disconnect { peer } => {
                let other = self.index(&peer);
                if self.links.remove(&(i.min(other), i.max(other))) {
                    self.schedule(LATENCY, i, Input::Disconnected { peer });
                    self.schedule(LATENCY, other, Input::Disconnected { peer: self.ids[i] });
                }
            }
            Output::Block { .. } => {}
            Output::ReadBlocks { peer, heights } => {
                let blocks = heights.map_while(|height| self.stored(i, height));
                let messages = blocks.map(|(block, _)| Message::Block(block)).collect();
                self.was_read(i, peer, messages);
            }
            Output::ReadBlockTxs { peer, height, wanted, .. } => {
                let txs = self.stored(i, height).map(|(_, txs)| txs).unwrap_or_default();
                let txs = txs.into_iter().filter(|tx| wanted.contains(&tx.id()));
                let messages = txs.map(|tx| Message::BlockTx((*tx).clone())).collect();
                self.was_read(i, peer, messages);
            }
            Output::Store(change) => self.changes.push((i, change)),
            Output::Verify { source, item } => {
                let verdict = verify(item.clone()).map_err(|error| (item, error));
                self.schedule(Duration::from_micros(50), i, Input::Verified { source, verdict });
            }
            Output::Event(event) => self.events.push((self.now, i, event)),
        }
    }

    /// A block that a node has told to be stored.
    fn stored(&self, i: usize, height: u64) -> Option<(SignedBlock, Vec<VerifiedTx>)> {
        self.changes.iter().find_map(|(node, change)| match change {
            Change::Block { block, txs, .. } if *node == i && block.header().height == height => {
                Some((block.clone(), txs.clone()))
            }
            _ => None,
        })
    }

    fn was_read(&mut self, i: usize, peer: NodeId, messages: Vec<Message>) {
        self.reads += 1;
        self.schedule(self.read_time, i, Input::BlockRead { peer, messages });
    }

    fn check_record(&self, envelope: &Bytes) -> PeerRecord {
        let i = usize::from(u16::from_le_bytes(envelope[..2].try_into().unwrap()));
        record(i, self.ids[i])
    }

    /// Lets the next thing happen, if it does by `end`; otherwise it is `end`.
    fn step(&mut self, end: Time) {
        let timer = (0..self.engines.len())
            .filter(|i| !self.dead.contains(i))
            .filter_map(|i| Some((self.engines[i].poll_timeout()?, i)))
            .min();
        let message = self.queue.first_key_value().map(|((time, _), _)| *time);
        match (timer, message) {
            (Some((time, i)), message) if time <= end && message.is_none_or(|message| time < message) => {
                self.now = self.now.max(time);
                self.input(i, Input::Timeout);
                assert!(
                    self.engines[i].poll_timeout() > Some(self.now),
                    "node {i} wants a timeout that changes nothing"
                );
            }
            (_, Some(time)) if time <= end => {
                self.now = self.now.max(time);
                if let Some((_, (to, input))) = self.queue.pop_first() {
                    if let Input::Message { peer, message: Message::Alive } = &input
                        && self.beating.contains(peer)
                    {
                        self.beat(*peer);
                    }
                    self.input(to, input);
                }
            }
            _ => self.now = end,
        }
    }

    /// Runs for a while.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.step(end);
        }
    }

    /// Lets time pass that no node gets to use.
    pub(crate) fn stall(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// Runs until a condition holds; fails if it does not within a minute.
    #[track_caller]
    pub(crate) fn run_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_secs(60);
        while !condition(self) {
            assert!(self.now < end, "not within a minute: {what}");
            self.step(end);
        }
    }

    pub(crate) fn living(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.engines.len()).filter(|i| !self.dead.contains(i))
    }

    /// Whether every living node has the transaction in its pool.
    pub(crate) fn everywhere(&self, id: &TxId) -> bool {
        self.living().all(|i| self.engines[i].pool().contains(id))
    }

    /// Links of a node that are ready.
    pub(crate) fn degree(&self, i: usize) -> usize {
        self.engines[i].links().filter(|(_, link)| link.is_ready()).count()
    }

    /// Runs until every node has at least so many links.
    #[track_caller]
    pub(crate) fn settle(&mut self, degree: usize) {
        self.run_until("enough links everywhere", |cluster| cluster.living().all(|i| cluster.degree(i) >= degree));
    }

    /// A summary of the whole run: equal for equal runs.
    pub(crate) fn digest(&self) -> String {
        format!("{:?}{:?}", self.events, self.sent)
    }

    pub(crate) fn balance(&self, i: usize, account: &AccountId) -> u64 {
        self.engines[i].ledger().account(account).balance
    }
}

pub(crate) fn address(i: usize) -> Address {
    Address(Bytes::copy_from_slice(&(i as u16).to_le_bytes()))
}

fn record(i: usize, node: NodeId) -> PeerRecord {
    PeerRecord {
        node,
        seq: 1,
        addresses: vec![address(i)],
        envelope: Bytes::copy_from_slice(&(i as u16).to_le_bytes()),
    }
}

/// A transaction that looks right but whose signature is not the sender's.
pub(crate) fn forged(account: u64, nonce: u64) -> SignedTx {
    let good = transfer(account, nonce);
    let mut signature = *good.signature();
    signature.0[40] ^= 1;
    let tx = good.transaction().clone().with_signature(signature).unwrap();
    assert!(verify(Unverified::Tx(tx.clone())).is_err());
    tx
}
