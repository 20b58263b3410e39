//! Neighbours that break the protocol.

use std::time::Duration;

use proptest::prelude::*;
use starling_mempool::AccountView;
use starling_node::engine::Input;
use starling_wire::{
    Block, BlockId, BoundedVec, DecodeError, GetBlockTxs, GetBlocks, Goodbye, Hello, Message, NetworkId, NodeId,
};

use crate::cluster::{Cluster, account_key, forged, producer_key, push, transfer};

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
