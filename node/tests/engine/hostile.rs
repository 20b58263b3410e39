//! Neighbours that break the protocol.

use std::time::Duration;

use proptest::prelude::*;
use starling_mempool::AccountView;
use starling_node::engine::{Direction, Input};
use starling_wire::{
    Block, BlockId, BoundedVec, DecodeError, GetBlockTxs, GetBlocks, Goodbye, Hello, Message, NetworkId, NodeId,
    SignedBlock,
};

use crate::cluster::{Cluster, account_key, forged, ids, long, producer_key, push, transfer};

#[test]
fn breaches_of_the_protocol_end_the_link() {
    let breaches: [fn(&Cluster, NodeId) -> Input; 2] = [
        |cluster, peer| Input::Message { peer, message: Message::Hello(cluster.hello()) },
        |_, peer| Input::Malformed { peer, error: DecodeError::UnknownKind(200) },
    ];
    for breach in breaches {
        let mut cluster = Cluster::new(1, 8, 0, 10);
        let peer = cluster.hostile();
        let input = breach(&cluster, peer);
        cluster.input(0, input);
        assert!(cluster.is_banned(peer));
    }
    // Before hello nothing else may come.
    let mut cluster = Cluster::new(1, 8, 0, 10);
    let peer = cluster.puppet();
    cluster.say(peer, Message::GetPeers);
    assert!(cluster.is_banned(peer));
    // Another network is no crime, but no link either.
    let other = cluster.puppet();
    cluster.say(other, Message::Hello(Hello { network: NetworkId(8), ..cluster.hello() }));
    assert!(cluster.sent_to(other).contains(&Message::Goodbye(Goodbye::WrongNetwork)));
    assert!(!cluster.is_banned(other));
    // Whoever stays silent is let go.
    let silent = cluster.puppet();
    cluster.run(Duration::from_secs(11));
    assert_eq!(cluster.engine(0).links().count(), 0);
    assert!(!cluster.is_banned(silent));
}

#[test]
fn who_claims_blocks_and_sends_others_stops_nobody() {
    let mut cluster = Cluster::new(1, 8, 1, 17);
    let claim = |cluster: &mut Cluster, height| {
        let peer = cluster.puppet();
        cluster.say(peer, Message::Hello(Hello { height, ..cluster.hello() }));
        cluster.beat(peer);
        peer
    };
    let liar = claim(&mut cluster, u64::MAX);
    let was_asked = |cluster: &Cluster, peer: NodeId| {
        cluster.sent_to(peer).iter().filter(|message| matches!(message, Message::GetBlocks(_))).count()
    };
    let mut answered = 0;
    let mut lie = |cluster: &mut Cluster| {
        if was_asked(cluster, liar) > answered {
            answered += 1;
            let tx_ids = BoundedVec::new(vec![]).unwrap();
            let parent = BlockId([1; 32]);
            let block = Block { network: NetworkId(7), height: 1, parent, timestamp_ms: answered as u64, tx_ids };
            cluster.say(liar, Message::Block(block.sign(&producer_key(0))));
        }
    };
    cluster.submit(0, &transfer(0, 0));
    let start = cluster.now;
    while cluster.engine(0).chain().height() == 0 {
        lie(&mut cluster);
        cluster.run(Duration::from_millis(20));
        assert!(cluster.now - start < Duration::from_secs(10), "it makes no block");
    }
    // Others are asked, too.
    let honest = claim(&mut cluster, 2);
    cluster.run(Duration::from_millis(20));
    assert_eq!(was_asked(&cluster, honest), 1);
    assert!(was_asked(&cluster, liar) <= 4);
}

/// A block without transactions.
fn empty(height: u64, parent: BlockId) -> SignedBlock {
    let tx_ids = BoundedVec::new(vec![]).unwrap();
    let block = Block { network: NetworkId(7), height, parent, timestamp_ms: 0, tx_ids };
    block.sign(&producer_key((height - 1) % 2))
}

#[test]
fn a_block_of_somebody_who_left_holds_up_nobody() {
    let mut cluster = Cluster::new(1, 8, 1, 19);
    let (stranger, honest) = (cluster.hostile(), cluster.hostile());
    cluster.say(stranger, Message::Block(empty(3, BlockId([1; 32]))));
    cluster.input(0, Input::Disconnected { peer: stranger });
    cluster.submit(0, &transfer(0, 0));
    cluster.run_until("a block", |c| c.engine(0).chain().height() == 1);
    let second = empty(2, cluster.engine(0).chain().head());
    cluster.say(honest, Message::Block(second));
    cluster.submit(0, &transfer(0, 1));
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.engine(0).chain().height(), 3);
}

#[test]
fn who_comes_claims_and_goes_again_and_again_stops_nobody() {
    let mut cluster = Cluster::new(1, 8, 1, 20);
    let liars = [cluster.puppet(), cluster.puppet()];
    cluster.submit(0, &transfer(0, 0));
    for turn in 0..40 {
        let (peer, other) = (liars[turn % 2], liars[(turn + 1) % 2]);
        if turn >= 2 {
            cluster.input(0, Input::Connected { peer, direction: Direction::Incoming, address: None });
        }
        cluster.say(peer, Message::Hello(Hello { height: u64::MAX, ..cluster.hello() }));
        if turn > 0 {
            cluster.input(0, Input::Disconnected { peer: other });
        }
        cluster.run(Duration::from_millis(400));
    }
    assert_eq!(cluster.engine(0).chain().height(), 1, "in 16 seconds");
}

#[test]
fn blocks_that_lead_nowhere_do_not_displace_those_that_were_asked_for() {
    let mut cluster = Cluster::new(1, 8, 0, 21);
    let (liar, honest) = (cluster.hostile(), cluster.puppet());
    for height in 2..=16 {
        cluster.say(liar, Message::Block(empty(height, BlockId([1; 32]))));
    }
    let blocks: Vec<_> = std::iter::successors(Some(empty(1, BlockId::ZERO)), |block| {
        Some(empty(block.header().height + 1, block.id()))
    })
    .take(16)
    .collect();
    cluster.say(honest, Message::Hello(Hello { height: 16, ..cluster.hello() }));
    cluster.beat(honest);
    let asked = |cluster: &Cluster| {
        cluster.sent_to(honest).iter().filter(|message| matches!(message, Message::GetBlocks(_))).count()
    };
    cluster.run_until("it is asked", |c| asked(c) > 0);
    blocks.into_iter().for_each(|block| cluster.say(honest, Message::Block(block)));
    cluster.run(Duration::from_millis(100));
    assert_eq!((cluster.engine(0).chain().height(), asked(&cluster)), (16, 1));
}

#[test]
fn what_is_kept_is_not_given_away_without_end() {
    let mut cluster = Cluster::new(1, 8, 1, 22);
    let peer = cluster.hostile();
    let txs: Vec<_> = (0..30).map(|account| long(account, 0, 1_000_000)).collect();
    txs.iter().for_each(|tx| cluster.submit(0, tx));
    cluster.run_until("a block", |c| c.engine(0).chain().height() == 1);
    let wanted: Vec<_> = txs.iter().map(|tx| tx.id()).collect();
    let given = |cluster: &mut Cluster| {
        let first = cluster.sent.len();
        for _ in 0..200 {
            let ids = BoundedVec::new(wanted.clone()).unwrap();
            cluster.say(peer, Message::GetBlockTxs(GetBlockTxs { height: 1, ids }));
        }
        cluster.sent[first..].iter().filter(|(.., message)| matches!(message, Message::BlockTx(_))).count() >> 5
    };
    assert!((90..=100).contains(&given(&mut cluster)), "MiB");
    cluster.run(Duration::from_secs(10));
    assert!((8..=12).contains(&given(&mut cluster)), "MiB");
}

#[test]
fn what_was_sent_is_not_sent_again_without_end() {
    let mut cluster = Cluster::new(1, 8, 0, 23);
    let peer = cluster.hostile();
    let txs: Vec<_> = (0..30).map(|account| long(account, 0, 1_000_000)).collect();
    txs.iter().for_each(|tx| cluster.submit(0, tx));
    cluster.run(Duration::from_millis(10));
    let wanted = ids(&txs.iter().collect::<Vec<_>>());
    (0..200).for_each(|_| cluster.say(peer, Message::IWant(wanted.clone())));
    let sent = cluster.sent.iter().filter(|(.., message)| matches!(message, Message::Push { .. })).count() >> 5;
    assert!((90..=100).contains(&sent), "{sent} MiB");
}

#[test]
fn a_question_in_vain_is_one_broken_promise_whoever_is_asked() {
    let mut cluster = Cluster::new(1, 8, 0, 18);
    let mute = [cluster.hostile(), cluster.hostile(), cluster.hostile()];
    let txs: Vec<_> = (0..60).map(|account| transfer(account, 0)).collect();
    for peer in mute {
        cluster.say(peer, Message::IHave(ids(&txs.iter().collect::<Vec<_>>())));
    }
    cluster.run(Duration::from_secs(2));
    for peer in mute {
        let asked = |message: &&Message| matches!(message, Message::IWant(_));
        assert_eq!(cluster.sent_to(peer).iter().filter(asked).count(), 1);
        assert!((-2.0..-1.0).contains(&cluster.score(peer)), "{}", cluster.score(peer));
    }
    // What a block took out of all pools is nobody's to send.
    let txs: Vec<_> = (0..60).map(|account| transfer(account, 0)).collect();
    let [first, second, other] = [cluster.hostile(), cluster.hostile(), cluster.hostile()];
    for peer in [first, second] {
        cluster.say(peer, Message::IHave(ids(&txs.iter().collect::<Vec<_>>())));
    }
    let tx_ids = BoundedVec::new(txs.iter().map(|tx| tx.id()).collect()).unwrap();
    let block = Block { network: NetworkId(7), height: 1, parent: BlockId::ZERO, timestamp_ms: 0, tx_ids };
    cluster.say(other, Message::Block(block.sign(&producer_key(0))));
    cluster.run(Duration::from_millis(1));
    txs.iter().for_each(|tx| cluster.say(other, Message::BlockTx(tx.clone())));
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.engine(0).chain().height(), 1);
    assert!([first, second].iter().all(|peer| cluster.score(*peer) == 0.0));
    cluster.say(first, Message::IHave(ids(&txs.iter().collect::<Vec<_>>())));
    assert!(!matches!(cluster.sent_to(first).last(), Some(Message::IWant(_))), "they are known");
}

fn messages() -> impl Strategy<Value = Message> {
    let short_ids = prop::collection::vec((0u8..12).prop_map(|i| transfer(i.into(), 0).short_id()), 0..6);
    prop_oneof![
        (0u64..10, 0u64..3).prop_map(|(account, nonce)| push(transfer(account, nonce))),
        (0u64..10).prop_map(|account| push(forged(account, 0))),
        (0u64..10).prop_map(|account| Message::BlockTx(transfer(account, 0))),
        short_ids.clone().prop_map(|ids| Message::IHave(BoundedVec::new(ids).unwrap())),
        short_ids.prop_map(|ids| Message::IWant(BoundedVec::new(ids).unwrap())),
        Just(Message::GetPeers),
        (any::<u64>(), 1u16..=16).prop_map(|(from, count)| Message::GetBlocks(GetBlocks { from, count })),
        (0u64..10, any::<u64>()).prop_map(|(i, height)| {
            Message::GetBlockTxs(GetBlockTxs { height, ids: BoundedVec::new(vec![transfer(i, 0).id()]).unwrap() })
        }),
        (0u64..2, 0u64..5, prop::collection::vec(0u64..10, 0..3)).prop_map(|(producer, height, txs)| {
            let tx_ids = BoundedVec::new(txs.into_iter().map(|i| transfer(i, 0).id()).collect()).unwrap();
            let block = Block { network: NetworkId(7), height, parent: BlockId::ZERO, timestamp_ms: 0, tx_ids };
            Message::Block(block.sign(&producer_key(producer)))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever three neighbours say, nothing panics, every pool entry is valid, and the node still relays.
    #[test]
    fn any_conversation_leaves_the_node_sound(
        script in prop::collection::vec((0usize..3, messages(), 0u64..200), 0..80),
    ) {
        let mut cluster = Cluster::new(1, 8, 0, 16);
        let peers: Vec<_> = (0..3).map(|_| cluster.hostile()).collect();
        for (who, message, pause) in script {
            cluster.say(peers[who], message);
            cluster.run(Duration::from_millis(pause));
        }
        let engine = cluster.engine(0);
        for tx in engine.pool().iter() {
            prop_assert!((**tx).clone().verify().is_ok());
            prop_assert!(tx.transaction().nonce >= engine.ledger().account(&tx.sender()).nonce);
        }
        let honest = cluster.hostile();
        let tx = transfer(9, cluster.engine(0).pool().next_nonce(&account_key(9).account(), cluster.engine(0).ledger()));
        cluster.submit(0, &tx);
        cluster.run(Duration::from_millis(5));
        prop_assert!(cluster.was_pushed(honest, &tx));
    }
}
