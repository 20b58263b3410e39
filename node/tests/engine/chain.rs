//! Chains of engines that are joined by imagined links.

use std::time::Duration;

use starling_mempool::AccountView;
use starling_node::engine::{Event, Included, Input, ProducerConfig};
use starling_wire::{
    Block, BlockId, BoundedVec, GetBlockTxs, GetBlocks, Hello, Message, NetworkId, NodeId, SecretKey, SignedTx, TxId,
};

use crate::cluster::{Cluster, account_key, producer_key, push, transfer};

#[test]
fn whoever_comes_late_gets_pool_and_chain() {
    let mut cluster = Cluster::new(6, 3, 2, 4);
    cluster.settle(3);
    for nonce in 0..3 {
        for account in 0..4 {
            cluster.submit(nonce as usize, &transfer(account, nonce));
        }
        cluster.run(Duration::from_millis(1200));
    }
    cluster.run_until("blocks", |c| {
        c.living().all(|i| c.engine(i).chain().height() >= 3 && c.engine(i).pool().is_empty())
    });
    // A queued transaction stays in the pools: its predecessor never comes.
    let queued = transfer(5, 1);
    cluster.submit(1, &queued);
    cluster.run_until("the queued one", |c| c.everywhere(&queued.id()));
    let late = cluster.add(3, None, 4);
    let height = cluster.engine(0).chain().height();
    cluster.run_until("the late one has all", |c| {
        c.engine(late).chain().height() == height && c.engine(late).pool().contains(&queued.id())
    });
    let digest = cluster.engine(0).ledger().digest();
    assert!(cluster.living().all(|i| cluster.engine(i).ledger().digest() == digest));
    assert_eq!(cluster.balance(late, &starling_wire::AccountId([9; 32])), 12 * 5);
    assert_eq!(cluster.engine(late).ledger().account(&account_key(0).account()).nonce, 3);
}

#[test]
fn a_block_whose_transactions_are_unknown_is_completed_by_asking() {
    let mut cluster = Cluster::new(2, 1, 0, 5);
    // Node 1 hears of blocks, but of no transaction unless it asks for a block's.
    cluster.filter = Box::new(|_, _, message| !matches!(message, Message::Push { .. } | Message::IHave(_)));
    let producer = ProducerConfig { key: producer_key(0), interval: Duration::from_millis(100) };
    let maker = cluster.add(2, Some(producer), 5);
    cluster.settle(1);
    cluster.run_until("the maker is linked", |c| c.degree(maker) >= 1);
    for account in 0..10 {
        cluster.submit(maker, &transfer(account, 0));
    }
    cluster.run_until("the block is applied everywhere", |c| c.living().all(|i| c.engine(i).chain().height() == 1));
}

#[test]
fn whoever_is_far_behind_is_sent_what_is_no_longer_in_memory() {
    let mut cluster = Cluster::new(3, 2, 2, 6);
    cluster.settle(1);
    let txs: Vec<_> = (0..100).map(|nonce| transfer(nonce % 2, nonce / 2)).collect();
    for (tx, height) in txs.iter().zip(1..) {
        cluster.submit(0, tx);
        cluster.run_until("a block", |c| c.living().all(|i| c.engine(i).chain().height() >= height));
    }
    let chain = cluster.engine(0).chain();
    assert!((1..=100).all(|height| chain.keeps(height)) && !chain.keeps(0) && !chain.keeps(101));
    assert_eq!(chain.find(&txs[0].id()), Some(Included::Stored(1)), "its block is old");
    assert!(matches!(chain.find(&txs[99].id()), Some(Included::InMemory(100, tx)) if tx.id() == txs[99].id()));
    assert_eq!(chain.find(&transfer(0, 50).id()), None);
    assert_eq!(cluster.reads, 0);

    let late = cluster.add(2, None, 6);
    cluster.run_until("the late one has all", |c| c.engine(late).chain().height() == 100);
    assert_eq!(cluster.engine(late).ledger().digest(), cluster.engine(0).ledger().digest());
    assert!((20..80).contains(&cluster.reads), "for each block that is not in memory, and them: {}", cluster.reads);
}

#[test]
fn a_slow_store_keeps_back_transactions_but_no_blocks() {
    let mut cluster = Cluster::new(2, 1, 2, 7);
    cluster.settle(1);
    let txs: Vec<_> = (0..70).map(|nonce| transfer(0, nonce)).collect();
    for (tx, height) in txs.iter().zip(1..) {
        cluster.submit(0, tx);
        cluster.run_until("a block", |c| c.living().all(|i| c.engine(i).chain().height() >= height));
    }
    let peer = cluster.hostile();
    let ask = |cluster: &mut Cluster, height: u64| {
        let before = cluster.sent_to(peer).len();
        let ids = txs.iter().map(|tx| tx.id()).collect();
        cluster.say(peer, Message::GetBlocks(GetBlocks { from: height, count: 16 }));
        cluster.say(peer, Message::GetBlockTxs(GetBlockTxs { height, ids: BoundedVec::new(ids).unwrap() }));
        cluster.run(Duration::from_secs(2));
        let (mut heights, mut included) = (Vec::new(), Vec::new());
        for message in cluster.sent_to(peer).split_off(before) {
            match message {
                Message::Block(block) => heights.push(block.header().height),
                Message::BlockTx(tx) => included.push(tx.id()),
                _ => {}
            }
        }
        (heights, included)
    };
    let stored = cluster.engine(0).chain().height() - 64;
    assert_eq!(ask(&mut cluster, 2), ((2..=stored).collect(), vec![txs[1].id()]), "what is in memory waits");
    assert_eq!(ask(&mut cluster, stored + 1).0, (stored + 1..stored + 17).collect::<Vec<_>>());
    assert_eq!(ask(&mut cluster, 70), (vec![70], vec![txs[69].id()]));
    assert_eq!(ask(&mut cluster, 71), (vec![], vec![]));
    assert_eq!(ask(&mut cluster, 0), (vec![], vec![]), "the first are not there");
    cluster.read_time = Duration::from_secs(1);
    assert_eq!(ask(&mut cluster, 2), ((2..=stored).collect(), vec![]), "others were asked meanwhile");
    assert_eq!(cluster.score(peer), 0.0);
}

#[test]
fn a_neighbour_that_speaks_again_hears_of_the_last_block() {
    let mut cluster = Cluster::new(3, 2, 2, 8);
    cluster.settle(2);
    let heard_by = |from: usize, to: usize| from != 1 && to != 1;
    cluster.filter = Box::new(move |from, to, _| heard_by(from, to));
    cluster.run(Duration::from_secs(4));
    cluster.submit(0, &transfer(0, 0));
    cluster.run_until("a block without it", |c| [0, 2].iter().all(|i| c.engine(*i).chain().height() == 1));
    cluster.run(Duration::from_secs(2));
    cluster.filter = Box::new(|_, _, _| true);
    cluster.run_until("it has the block", |c| c.engine(1).chain().height() == 1);
    assert!(cluster.engine(1).stats().revived > 0, "no link was made anew");
    cluster.submit(0, &transfer(0, 1));
    cluster.run_until("the next one is its own", |c| c.living().all(|i| c.engine(i).chain().height() == 2));
}

#[test]
fn a_neighbour_that_speaks_again_still_has_the_blocks_that_it_had() {
    let mut cluster = Cluster::new(1, 8, 0, 16);
    let peer = cluster.puppet();
    cluster.say(peer, Message::Hello(Hello { height: 500, ..cluster.hello() }));
    let asked = |cluster: &Cluster| {
        cluster.sent_to(peer).iter().filter(|message| matches!(message, Message::GetBlocks(_))).count()
    };
    cluster.run_until("it is taken for dead", |c| c.engine(0).stats().suspected == 1);
    let before = asked(&cluster);
    assert!(before > 0);
    cluster.beat(peer);
    cluster.run_until("it is asked again", |c| asked(c) > before);
    assert_eq!(cluster.engine(0).stats().revived, 1);
}

/// A block of so many transactions, and them.
fn block_of(count: u64) -> (Message, Vec<SignedTx>) {
    let txs: Vec<_> = (0..count).map(|i| transfer(i % 60, i / 60)).collect();
    let tx_ids = BoundedVec::new(txs.iter().map(|tx| tx.id()).collect()).unwrap();
    let block = Block { network: NetworkId(7), height: 1, parent: BlockId::ZERO, timestamp_ms: 0, tx_ids };
    (Message::Block(block.sign(&producer_key(0))), txs)
}

/// Ids of transactions of blocks that a neighbour was asked for.
fn asked_for(cluster: &Cluster, peer: NodeId) -> usize {
    let ids = |message: &Message| if let Message::GetBlockTxs(request) = message { request.ids.len() } else { 0 };
    cluster.sent_to(peer).iter().map(ids).sum()
}

#[test]
fn a_neighbour_that_is_sending_a_long_block_is_not_asked_again() {
    let mut cluster = Cluster::new(1, 8, 0, 17);
    let peer = cluster.hostile();
    let (block, txs) = block_of(3000);
    cluster.say(peer, block);
    cluster.run(Duration::from_millis(1));
    for tx in &txs {
        cluster.say(peer, Message::BlockTx(tx.clone()));
        cluster.run(Duration::from_millis(1));
    }
    assert_eq!(cluster.engine(0).chain().height(), 1);
    assert_eq!((asked_for(&cluster, peer), cluster.score(peer)), (3000, 0.0));
}

#[test]
fn who_delays_its_pongs_does_not_delay_blocks() {
    let mut cluster = Cluster::new(1, 8, 0, 18);
    let (slow, other) = (cluster.hostile(), cluster.hostile());
    cluster.input(0, Input::RoundTrip { peer: slow, rtt: Duration::from_secs(19) });
    let (block, _) = block_of(10);
    cluster.say(slow, block.clone());
    cluster.run(Duration::from_millis(1));
    cluster.say(other, block);
    cluster.run(Duration::from_secs(5));
    assert_eq!((asked_for(&cluster, slow), asked_for(&cluster, other)), (10, 10));
}

#[test]
fn transactions_of_a_block_that_came_otherwise_meanwhile_are_no_waste() {
    let mut cluster = Cluster::new(1, 8, 0, 15);
    let [asked, quicker] = [cluster.hostile(), cluster.hostile()];
    let (block, txs) = block_of(210);
    cluster.say(asked, block);
    cluster.run(Duration::from_millis(1));
    assert!(cluster.sent_to(asked).iter().any(|message| matches!(message, Message::GetBlockTxs(_))));
    txs.iter().for_each(|tx| cluster.say(quicker, push(tx.clone())));
    cluster.run(Duration::from_millis(1));
    assert_eq!(cluster.engine(0).chain().height(), 1);
    txs.iter().for_each(|tx| cluster.say(asked, Message::BlockTx(tx.clone())));
    assert_eq!(cluster.score(asked), 0.0);
    txs.iter().for_each(|tx| cluster.say(asked, Message::BlockTx(tx.clone())));
    assert!(cluster.is_banned(asked), "once is enough");
}

#[test]
fn what_a_block_waits_for_is_told_of_though_it_leaves_the_pool_at_once() {
    let mut cluster = Cluster::new(1, 8, 0, 19);
    let peer = cluster.hostile();
    let (block, txs) = block_of(1);
    cluster.say(peer, block);
    cluster.run(Duration::from_millis(1));
    cluster.say(peer, push(txs[0].clone()));
    cluster.run(Duration::from_millis(1));
    assert!(cluster.engine(0).chain().height() == 1 && cluster.engine(0).pool().is_empty());
    let told = |event: &Event| matches!(event, Event::Admitted { tx, .. } if **tx == txs[0]);
    assert!(cluster.events.iter().any(|(.., event)| told(event)));
}

#[test]
fn only_the_producer_whose_turn_it_is_makes_a_block() {
    let mut cluster = Cluster::new(1, 8, 0, 13);
    let block = |key: &SecretKey, height, parent| {
        let tx_ids = BoundedVec::new(vec![]).unwrap();
        Message::Block(Block { network: NetworkId(7), height, parent, timestamp_ms: 0, tx_ids }.sign(key))
    };
    let honest = cluster.hostile();
    cluster.say(honest, block(&producer_key(0), 1, BlockId::ZERO));
    cluster.run(Duration::from_millis(1));
    assert_eq!(cluster.engine(0).chain().height(), 1);
    let first = cluster.engine(0).chain().head();
    // A second block for the same height changes nothing, and passing it on is no crime.
    let Message::Block(other) = block(&producer_key(0), 1, BlockId([1; 32])) else { unreachable!() };
    cluster.say(honest, Message::Block(other));
    assert_eq!(cluster.score(honest), 0.0);
    let liar = cluster.hostile();
    for height in 2..7 {
        cluster.say(liar, block(&SecretKey::from_seed(&[1; 32]), height, first));
    }
    assert!(cluster.is_banned(liar));
    assert_eq!(cluster.engine(0).chain().head(), first);
}

#[test]
fn a_block_that_cannot_be_applied_does_not_stop_the_chain() {
    let mut cluster = Cluster::new(1, 8, 0, 14);
    let peer = cluster.hostile();
    let tx = transfer(0, 0);
    let block = |ids: Vec<TxId>| {
        let tx_ids = BoundedVec::new(ids).unwrap();
        let block = Block { network: NetworkId(7), height: 1, parent: BlockId::ZERO, timestamp_ms: 0, tx_ids };
        Message::Block(block.sign(&producer_key(0)))
    };
    cluster.say(peer, block(vec![tx.id(), tx.id()]));
    cluster.run(Duration::from_millis(1));
    cluster.say(peer, Message::BlockTx(tx.clone()));
    cluster.run(Duration::from_millis(1));
    assert!(cluster.events.iter().any(|(_, _, event)| matches!(event, Event::BlockRefused { height: 1, .. })));
    cluster.say(peer, block(vec![tx.id()]));
    cluster.run(Duration::from_millis(1));
    assert_eq!(cluster.engine(0).chain().height(), 0, "waits for the transaction");
    cluster.say(peer, Message::BlockTx(tx.clone()));
    cluster.run(Duration::from_millis(1));
    assert_eq!(cluster.engine(0).chain().height(), 1);
    assert!(matches!(cluster.engine(0).chain().find(&tx.id()), Some(Included::InMemory(1, _))));
}
