//! What the engine takes for a message, signatures and network apart: `cargo bench -p starling-node`.

#![expect(clippy::expect_used, reason = "a benchmark of wrong input is worth nothing")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use starling_mempool::{Genesis, GenesisAccount, Limits, PoolConfig, TxRules};
use starling_node::engine::{
    Direction, Engine, EngineConfig, GossipConfig, Input, Output, OverlayConfig, Source, Time,
};
use starling_wire::{
    AccountId, BoundedVec, Hello, Message, NetworkId, NodeId, PROTOCOL_VERSION, SecretKey, Transaction, Unverified,
    Verified, VerifiedTx, limits::TX_OVERHEAD, verify_batch,
};

const NETWORK: NetworkId = NetworkId(1);

/// Neighbours, as many as a node has that dials eight.
const LINKS: usize = 16;

/// Transactions before the next engine takes over: the pool and what was learned are as large as in a node of some
/// minutes at 20 per second.
const TXS: usize = 8_192;

/// Time between two of them.
const GAP: Duration = Duration::from_millis(50);

fn key(account: usize) -> SecretKey {
    SecretKey::insecure_from_name(account as u64, "bench")
}

/// Transactions of 250 bytes from as many senders, their signatures checked.
fn transactions() -> Vec<VerifiedTx> {
    let tx = |account| {
        let key = key(account);
        let fields = Transaction {
            network: NETWORK,
            sender: key.account(),
            nonce: 0,
            fee: 1000,
            recipient: AccountId([9; 32]),
            amount: 1,
            valid_until: None,
            payload: vec![7; 250 - TX_OVERHEAD].into(),
        };
        Unverified::Tx(fields.sign(&key).expect("the key is the sender's"))
    };
    let verdicts = verify_batch((0..TXS).map(tx).collect(), ChaCha20Rng::from_seed([1; 32]));
    let checked = |verdict: Result<Verified, _>| match verdict {
        Ok(Verified::Tx(tx)) => Some(tx),
        _ => None,
    };
    verdicts.into_iter().map(checked).collect::<Option<_>>().expect("good signatures of transactions")
}

/// An engine with neighbours.
struct Node {
    engine: Engine,
    neighbours: Vec<NodeId>,
    now: Time,
}

impl Node {
    fn new() -> Self {
        let accounts = (0..TXS).map(|i| GenesisAccount { id: key(i).account(), balance: 1_000_000 }).collect();
        let genesis = Genesis { network: NETWORK, limits: Limits::default(), producers: vec![], accounts };
        let hello = Hello { version: PROTOCOL_VERSION, network: NETWORK, genesis: genesis.id(), height: 0 };
        let config = EngineConfig {
            genesis,
            rules: TxRules::default(),
            pool: PoolConfig::default(),
            overlay: OverlayConfig { dials: 0, ..OverlayConfig::default() },
            gossip: GossipConfig::default(),
            producer: None,
            unix_ms_at_start: 0,
        };
        let engine = Engine::new(config, key(TXS).node(), [1; 32]);
        let neighbours: Vec<_> = (1..=LINKS).map(|i| key(TXS + i).node()).collect();
        let mut node = Self { engine, neighbours, now: Time::ZERO };
        for peer in node.neighbours.clone() {
            node.handle(Input::Connected { peer, direction: Direction::Incoming, address: None });
            node.handle(Input::Message { peer, message: Message::Hello(hello) });
        }
        node
    }

    /// Hands an input over and takes out what follows; counts the messages to be sent.
    fn handle(&mut self, input: Input) -> usize {
        self.engine.handle(self.now, input);
        let mut sent = 0;
        while let Some(output) = self.engine.poll_output() {
            sent += usize::from(matches!(black_box(output), Output::Send { .. }));
        }
        sent
    }

    fn neighbour(&self, i: usize) -> NodeId {
        self.neighbours[i % LINKS]
    }

    /// A transaction comes from a neighbour, on the same way as all that come from there.
    fn push(&self, from: usize, tx: &VerifiedTx) -> Input {
        let message = Message::Push { labels: [1, 2, 3], tx: (**tx).clone() };
        Input::Message { peer: self.neighbour(from), message }
    }

    /// A transaction comes for the first time, its signature is good, and it is passed on.
    fn first_copy(&mut self, i: usize, tx: &VerifiedTx) -> usize {
        self.now = Time::ZERO + GAP * i as u32;
        let (push, verdict) = (self.push(i, tx), Ok(Verified::Tx(tx.clone())));
        let source = Source::Peer(self.neighbour(i));
        self.handle(push) + self.handle(Input::Verified { source, verdict })
    }
}

/// One transaction after the other, on as many engines as they need.
struct Run<'a> {
    txs: &'a [VerifiedTx],
    node: Node,
    next: usize,
}

impl<'a> Run<'a> {
    fn new(txs: &'a [VerifiedTx]) -> Self {
        Self { txs, node: Node::new(), next: 0 }
    }

    /// The time that calls with the next so many transactions say they took.
    fn time(&mut self, count: u64, mut call: impl FnMut(&mut Node, &[VerifiedTx], usize) -> Duration) -> Duration {
        (0..count)
            .map(|_| {
                if self.next == self.txs.len() {
                    (self.node, self.next) = (Node::new(), 0);
                }
                self.next += 1;
                call(&mut self.node, self.txs, self.next - 1)
            })
            .sum()
    }
}

fn timed(call: impl FnOnce() -> usize) -> Duration {
    let start = Instant::now();
    black_box(call());
    start.elapsed()
}

fn engine(criterion: &mut Criterion) {
    let txs = transactions();
    let mut group = criterion.benchmark_group("engine with 16 neighbours");
    group.bench_function("first copy: taken in, admitted, passed on", |bencher| {
        let mut run = Run::new(&txs);
        bencher.iter_custom(|count| run.time(count, |node, txs, i| timed(|| node.first_copy(i, &txs[i]))));
    });
    group.bench_function("second copy", |bencher| {
        let mut run = Run::new(&txs);
        bencher.iter_custom(|count| {
            run.time(count, |node, txs, i| {
                node.first_copy(i, &txs[i]);
                let copy = node.push(i + 1, &txs[i]);
                timed(|| node.handle(copy))
            })
        });
    });
    group.bench_function("announcement of five known transactions", |bencher| {
        let mut run = Run::new(&txs);
        bencher.iter_custom(|count| {
            run.time(count, |node, txs, i| {
                node.first_copy(i, &txs[i]);
                let known = txs[i.saturating_sub(4)..=i].iter().map(|tx| tx.short_id()).collect();
                let message = Message::IHave(BoundedVec::new(known).expect("five"));
                let peer = node.neighbour(i + 1);
                timed(|| node.handle(Input::Message { peer, message }))
            })
        });
    });
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
