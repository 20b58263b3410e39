//! Baseline nodes on loopback, and a stranger who publishes whatever it likes to one of them.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use libp2p::{Multiaddr, swarm::SwarmEvent};
use starling_mempool::{GenesisAccount, Limits, PoolConfig, Rejection, TxRules};
use starling_node::{engine::Stats, net::Flow, rpc::State, store::StoreConfig};
use starling_wire::{AccountId, Kind, NetworkId, SecretKey, SignedTx, Transaction};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
const NETWORK: NetworkId = NetworkId(3);

fn rich() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn transfer(nonce: u64) -> Transaction {
    Transaction {
        network: NETWORK,
        sender: rich().account(),
        nonce,
        fee: 1000,
        recipient: AccountId([9; 32]),
        amount: 1,
        valid_until: None,
        payload: Bytes::new(),
    }
}

/// With the signature of another transaction.
fn forged(nonce: u64) -> SignedTx {
    let other = transfer(nonce + 1).sign(&rich()).unwrap();
    transfer(nonce).with_signature(*other.signature()).unwrap()
}

fn config(seed: u8, bootstrap: &[Multiaddr]) -> NodeConfig {
    let accounts = vec![GenesisAccount { id: rich().account(), balance: 1 << 40 }];
    NodeConfig {
        genesis: starling_mempool::Genesis { network: NETWORK, producers: vec![], limits: Limits::default(), accounts },
        key: SecretKey::from_seed(&[seed; 32]),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        external: vec![],
        bootstrap: bootstrap.to_vec(),
        dials: 8,
        max_incoming: 24,
        rules: TxRules::default(),
        pool: PoolConfig::default(),
        producer: None,
        trace: None,
        store: None,
    }
}

async fn node(seed: u8, bootstrap: &[Multiaddr]) -> (NodeHandle<Node>, JoinHandle<()>) {
    start(config(seed, bootstrap), net::transport).await.unwrap()
}

async fn until(what: &str, node: &NodeHandle<Node>, question: impl Fn(&Node) -> bool + Clone + Send + 'static) {
    let ask = async {
        loop {
            let question = question.clone();
            if node.query(move |node, _| question(node)).await.unwrap() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ask).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn links(node: &Node) -> usize {
    node.neighbours(starling_node::engine::Time::ZERO).iter().filter(|link| link.ready).count()
}

async fn stats(node: &NodeHandle<Node>) -> Stats {
    node.query(|node, _| node.stats().clone()).await.unwrap()
}

fn copies(node: &NodeHandle<Node>) -> u64 {
    let pushes = node.counters().frames().find(|count| (count.kind, count.flow) == (Kind::Push, Flow::In));
    pushes.unwrap().frames
}

/// Publishes to one neighbour, without looking at what it publishes.
struct Stranger {
    swarm: Swarm<gossipsub::Behaviour>,
}

impl Stranger {
    async fn connect(node: &NodeHandle<Node>) -> Self {
        let keypair = net::keypair(&SecretKey::from_seed(&[99; 32]));
        let config = super::config::gossipsub().unwrap();
        let mut gossipsub = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
        gossipsub.subscribe(&super::config::topic()).unwrap();
        let transport = net::transport(&keypair, &Arc::default()).unwrap();
        let peer = keypair.public().to_peer_id();
        let mut swarm = Swarm::new(transport, gossipsub, peer, swarm::Config::with_tokio_executor());
        swarm.dial(node.listeners()[0].clone()).unwrap();
        let mut stranger = Self { swarm };
        let subscribed = async {
            loop {
                if let SwarmEvent::Behaviour(gossipsub::Event::Subscribed { .. }) = stranger.swarm.next().await.unwrap()
                {
                    break;
                }
            }
        };
        tokio::time::timeout(DEADLINE, subscribed).await.unwrap();
        stranger
    }

    fn publish(&mut self, bytes: &[u8]) {
        self.swarm.behaviour_mut().publish(super::config::topic(), bytes).unwrap();
    }

    /// Lets the stranger's connection do its work until something else has happened.
    async fn meanwhile(&mut self, what: impl Future<Output = ()>) {
        tokio::select! {
            () = what => {}
            () = async { loop { self.swarm.next().await; } } => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_checked_is_passed_on() {
    let (first, first_task) = node(10, &[]).await;
    let (second, second_task) = node(11, first.listeners()).await;
    until("a mesh of the two", &second, |node| links(node) == 1).await;
    let mut stranger = Stranger::connect(&first).await;
    stranger.publish(forged(0).bytes());
    stranger.publish(b"no transaction");
    let mut poor = transfer(0);
    poor.amount = 1 << 50;
    stranger.publish(poor.sign(&rich()).unwrap().bytes());
    let refused = until("three refusals", &first, |node| {
        node.stats().malformed == 1 && node.stats().refused.values().sum::<u64>() == 2
    });
    stranger.meanwhile(refused).await;
    let reasons: Vec<&str> = stats(&first).await.refused.into_keys().collect();
    assert_eq!(reasons, ["bad-signature", "insufficient-balance"]);
    // Whatever was passed on would arrive before this one.
    let good = transfer(0).sign(&rich()).unwrap();
    stranger.publish(good.bytes());
    stranger.meanwhile(until("the good one", &second, |node| node.pool().len() == 1)).await;
    assert_eq!((copies(&first), copies(&second)), (4, 1));
    assert_eq!(second.query(|node, _| node.pool().iter().next().unwrap().id()).await.unwrap(), good.id());
    for (node, task) in [(first, first_task), (second, second_task)] {
        node.shutdown().await;
        tokio::time::timeout(DEADLINE, task).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_are_answered_and_spread_over_added_links() {
    let mut nodes = Vec::new();
    for seed in 10..13 {
        nodes.push(node(seed, &[]).await);
    }
    // A line: what enters at one end has to be passed on in the middle.
    for pair in nodes.windows(2) {
        pair[1].0.add_peer(pair[0].0.listeners()[0].clone()).unwrap();
    }
    until("both neighbours of the middle", &nodes[1].0, |node| links(node) == 2).await;
    let tx = transfer(0).sign(&rich()).unwrap();
    assert!(nodes[0].0.submit(tx.clone()).await.unwrap().is_ok());
    assert!(nodes[0].0.submit(tx).await.unwrap().is_ok(), "known already is a success");
    assert!(matches!(nodes[0].0.submit(forged(1)).await.unwrap(), Err(Rejection::BadSignature(_))));
    until("the transaction at the other end", &nodes[2].0, |node| node.pool().len() == 1).await;
    assert_eq!(stats(&nodes[2].0).await.admitted, 1);
    for (node, task) in nodes {
        node.shutdown().await;
        tokio::time::timeout(DEADLINE, task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_it_does_not_do_is_refused() {
    let producer = starling_node::engine::ProducerConfig { key: rich(), interval: Duration::from_secs(1) };
    let config = NodeConfig { producer: Some(producer), ..self::config(10, &[]) };
    let error = start(config, net::transport).await.err().unwrap().to_string();
    assert!(error.contains("makes no blocks"), "{error}");
    let store = StoreConfig { dir: "nowhere".into(), repair: false };
    let error = start(NodeConfig { store: Some(store), ..self::config(10, &[]) }, net::transport).await.err().unwrap();
    assert!(error.to_string().contains("--store=false"), "{error}");
}
