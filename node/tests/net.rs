//! Real nodes on loopback sockets, and a stranger who speaks raw bytes to one of them.

#![cfg(feature = "net")]
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use std::{path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, swarm::SwarmEvent};
use libp2p_stream::Control;
use starling_mempool::{Genesis, GenesisAccount, Limits, PoolConfig, TxRules};
use starling_node::{
    engine::Stats,
    net::{self, Delivery, NodeConfig, NodeHandle},
    store::StoreConfig,
};
use starling_wire::{
    AccountId, BoundedVec, FrameDecoder, Goodbye, Hello, Message, NetworkId, PROTOCOL_VERSION, SecretKey, ShortId,
    SignedTx, Transaction,
};
use tokio::task::JoinHandle;

const DEADLINE: Duration = Duration::from_secs(20);
const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

fn rich() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn genesis() -> Genesis {
    let accounts = vec![GenesisAccount { id: rich().account(), balance: 1 << 40 }];
    Genesis { network: NetworkId(3), producers: vec![], limits: Limits::default(), accounts }
}

fn transfer(nonce: u64) -> SignedTx {
    let tx = Transaction {
        network: NetworkId(3),
        sender: rich().account(),
        nonce,
        fee: 1000,
        recipient: AccountId([9; 32]),
        amount: 1,
        valid_until: None,
        payload: Bytes::new(),
    };
    tx.sign(&rich()).unwrap()
}

fn config(seed: u8, listen: &str, bootstrap: &[Multiaddr]) -> NodeConfig {
    NodeConfig {
        genesis: genesis(),
        key: SecretKey::from_seed(&[seed; 32]),
        listen: vec![listen.parse().unwrap()],
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

async fn start(
    seed: u8,
    listen: &str,
    bootstrap: &[Multiaddr],
    trace: Option<PathBuf>,
) -> (NodeHandle, JoinHandle<()>) {
    net::start(NodeConfig { trace, ..config(seed, listen, bootstrap) }, net::transport).await.unwrap()
}

async fn stop(node: NodeHandle, task: JoinHandle<()>) {
    node.shutdown().await;
    tokio::time::timeout(DEADLINE, task).await.unwrap().unwrap();
}

/// Asks again and again until the answer is the wanted one.
async fn until(
    what: &str,
    node: &NodeHandle,
    question: impl Fn(&starling_node::engine::Engine) -> bool + Clone + Send + 'static,
) {
    let ask = async {
        loop {
            let question = question.clone();
            if node.query(move |engine, _| question(engine)).await.unwrap() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ask).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

async fn stats(node: &NodeHandle) -> Stats {
    node.query(|engine, _| engine.stats().clone()).await.unwrap()
}

async fn crosses(listen: &str) {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let (first, first_task) = start(10, listen, &[], None).await;
    let mut others = Vec::new();
    for i in 1..5 {
        let trace = (i == 1).then(|| trace.clone());
        others.push(start(10 + i, listen, first.listeners(), trace).await);
    }
    for (node, _) in &others {
        until("a link", node, |engine| engine.links().any(|(_, link)| link.is_ready())).await;
    }
    let txs: Vec<_> = (0..20).map(transfer).collect();
    for tx in &txs {
        first.submit(tx.clone()).await.unwrap().unwrap();
    }
    assert!(first.submit(txs[0].clone()).await.unwrap().is_ok(), "known already is a success");
    for (node, _) in &others {
        until("all transactions", node, |engine| engine.pool().len() == 20).await;
    }
    for (node, task) in others {
        stop(node, task).await;
    }
    stop(first, first_task).await;
    let text = std::fs::read_to_string(trace).unwrap();
    let mut traced: Vec<ShortId> = text.lines().map(|line| line.parse::<Delivery>().unwrap().id).collect();
    let mut expected: Vec<ShortId> = txs.iter().map(|tx| tx.short_id()).collect();
    traced.sort();
    expected.sort();
    assert_eq!(traced, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_cross_tcp() {
    crosses(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_cross_quic() {
    crosses(QUIC).await;
}

/// Somebody who has a libp2p connection to a node and opens streams by hand.
struct Stranger {
    control: Control,
    incoming: libp2p_stream::IncomingStreams,
    peer: PeerId,
    swarm: JoinHandle<()>,
}

const PROTOCOL: StreamProtocol = StreamProtocol::new("/starling/1");

impl Stranger {
    async fn connect(node: &NodeHandle) -> Self {
        let mut swarm: Swarm<libp2p_stream::Behaviour> = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(Default::default(), libp2p::noise::Config::new, libp2p::yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
            .build();
        let mut control = swarm.behaviour().new_control();
        let incoming = control.accept(PROTOCOL).unwrap();
        let peer = net::peer_id(&node.id()).unwrap();
        swarm.dial(node.listeners()[0].clone()).unwrap();
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => break,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
        let swarm = tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Self { control, incoming, peer, swarm }
    }

    async fn open(&mut self) -> Stream {
        self.control.open_stream(self.peer, PROTOCOL).await.unwrap()
    }

    /// Sends bytes and gives what the node said until it ended the link.
    async fn say(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut stream = self.open().await;
        // The node may have hung up in the middle of it.
        let _sent = stream.write_all(bytes).await;
        let _sent = stream.flush().await;
        self.listen().await
    }

    async fn listen(&mut self) -> Vec<Message> {
        let heard = async {
            let (_, mut stream) = self.incoming.next().await.unwrap();
            let (mut decoder, mut chunk, mut messages) = (FrameDecoder::default(), [0; 1024], Vec::new());
            while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                decoder.extend(&chunk[..count]);
                while let Some((message, _)) = decoder.next_message().unwrap() {
                    messages.push(message);
                }
            }
            messages
        };
        tokio::time::timeout(DEADLINE, heard).await.unwrap_or_else(|_| panic!("the node keeps the link"))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.swarm.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_all_dial_each_other_at_once_end_with_one_link_for_each_pair() {
    let mut nodes = Vec::new();
    for seed in 60..68 {
        let config = NodeConfig { dials: 0, ..config(seed, TCP, &[]) };
        nodes.push(net::start(config, net::transport).await.unwrap());
    }
    for (i, (node, _)) in nodes.iter().enumerate() {
        for (_, (other, _)) in nodes.iter().enumerate().filter(|(j, _)| *j != i) {
            node.add_peer(other.listeners()[0].clone()).unwrap();
        }
    }
    for (node, _) in &nodes {
        until("links with all others", node, |engine| engine.links().filter(|(_, link)| link.is_ready()).count() == 7)
            .await;
        let stats = stats(node).await;
        assert_eq!((stats.banned, stats.malformed), (0, 0), "{stats:?}");
    }
    for (node, task) in nodes {
        stop(node, task).await;
    }
}

fn frames(messages: &[Message]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for message in messages {
        message.encode(&mut bytes);
    }
    bytes
}

fn hello() -> Message {
    let (network, genesis) = (NetworkId(3), genesis().id());
    Message::Hello(Hello { version: PROTOCOL_VERSION, network, genesis, height: 0 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_raw_bytes_is_dropped_and_counted() {
    let (node, task) = start(30, TCP, &[], None).await;
    let after_hello = |bytes: &[u8]| [&frames(&[hello()])[..], bytes].concat();
    let bad_tx = {
        let mut bytes = frames(&[Message::Push { labels: [0; 3], tx: transfer(0) }]);
        let at = bytes.len() - 65;
        bytes[at - 4] = 0xff; // the payload's length
        bytes
    };
    let malformed: [Vec<u8>; 6] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        after_hello(&[0xff; 64]),
        after_hello(&[0xff, 0xff, 0xff, 0x7f, 2]),
        after_hello(&[1, 0, 0, 0, 200, 0]),
        after_hello(&bad_tx),
        after_hello(&frames(&[Message::IHave(BoundedVec::new(vec![ShortId([1; 8])]).unwrap())])[..4].repeat(3)),
    ];
    for (i, bytes) in malformed.iter().enumerate() {
        let heard = Stranger::connect(&node).await.say(bytes).await;
        assert!(matches!(heard.first(), Some(Message::Hello(_))), "case {i}: {heard:?}");
        assert_eq!(heard.last(), Some(&Message::Goodbye(Goodbye::Misbehaviour)), "case {i}");
        assert_eq!(stats(&node).await.malformed, i as u64 + 1, "case {i}");
    }
    // Well-formed, but out of place.
    for messages in [vec![Message::GetPeers], vec![hello(), hello()]] {
        let heard = Stranger::connect(&node).await.say(&frames(&messages)).await;
        assert_eq!(heard.last(), Some(&Message::Goodbye(Goodbye::Misbehaviour)));
    }
    // Another network.
    let other =
        Message::Hello(Hello { version: PROTOCOL_VERSION, network: NetworkId(4), genesis: genesis().id(), height: 0 });
    let heard = Stranger::connect(&node).await.say(&frames(&[other])).await;
    assert_eq!(heard.last(), Some(&Message::Goodbye(Goodbye::WrongNetwork)));
    // A second stream on one connection.
    let mut stranger = Stranger::connect(&node).await;
    let mut first = stranger.open().await;
    first.write_all(&frames(&[hello()])).await.unwrap();
    let mut second = stranger.open().await;
    let _sent = second.write_all(&frames(&[Message::GetPeers])).await;
    stranger.listen().await;
    let stats = stats(&node).await;
    assert_eq!((stats.malformed, stats.wrong_network, stats.banned), (7, 1, 9));
    // All the while it works for others.
    let (friend, friend_task) = start(31, TCP, node.listeners(), None).await;
    until("a link", &friend, |engine| engine.links().any(|(_, link)| link.is_ready())).await;
    friend.submit(transfer(0)).await.unwrap().unwrap();
    until("the transaction", &node, |engine| engine.pool().len() == 1).await;
    stop(friend, friend_task).await;
    stop(node, task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_peer_cannot_come_back() {
    let (node, task) = start(40, TCP, &[], None).await;
    let mut stranger = Stranger::connect(&node).await;
    let heard = stranger.say(&[0xff; 16]).await;
    assert_eq!(heard.last(), Some(&Message::Goodbye(Goodbye::Misbehaviour)));
    until("the link is gone", &node, |engine| engine.links().count() == 0).await;
    assert!(stranger.control.open_stream(stranger.peer, PROTOCOL).await.is_err());
    stop(node, task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_back_with_its_pool_and_finds_its_neighbours_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let stored = |bootstrap: &[Multiaddr]| NodeConfig {
        store: Some(StoreConfig { dir: dir.path().to_owned(), repair: false }),
        ..config(61, TCP, bootstrap)
    };
    let linked = |engine: &starling_node::engine::Engine| engine.links().any(|(_, link)| link.is_ready());
    let (friend, friend_task) = start(60, TCP, &[], None).await;
    let (node, task) = net::start(stored(friend.listeners()), net::transport).await.unwrap();
    until("a link", &node, linked).await;
    friend.submit(transfer(0)).await.unwrap().unwrap();
    until("a transaction of a peer", &node, |engine| engine.pool().len() == 1).await;
    node.submit(transfer(1)).await.unwrap().unwrap();
    // Its neighbour's record has come after the link, and before what the neighbour passes on.
    until("one from here at its neighbour", &friend, |engine| engine.pool().len() == 2).await;
    let twice = net::start(stored(&[]), net::transport).await.unwrap_err().to_string();
    assert!(twice.contains("in use"), "{twice}");
    stop(node, task).await;

    let (node, task) = net::start(stored(&[]), net::transport).await.unwrap();
    until("the pool of before, at once", &node, |engine| engine.pool().len() == 2).await;
    until("a link, without anybody's help", &node, linked).await;
    friend.submit(transfer(2)).await.unwrap().unwrap();
    until("a new transaction", &node, |engine| engine.pool().len() == 3).await;
    // What it had is not fetched again: nothing but the new one came.
    assert_eq!(stats(&node).await.admitted, 1);
    stop(node, task).await;
    stop(friend, friend_task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_named() {
    let (node, task) = start(50, TCP, &[], None).await;
    let taken: Multiaddr = node.listeners()[0].iter().take(2).collect();
    let error = net::start(config(51, &taken.to_string(), &[]), net::transport).await.unwrap_err().to_string();
    assert!(error.contains(&taken.to_string()), "{error}");
    stop(node, task).await;
}
