//! Engines that go on from what another of them, of the same node, said should be kept.

use std::{collections::BTreeMap, time::Duration};

use starling_mempool::{Origin, PoolConfig};
use starling_node::engine::{AppliedBlock, Change, Input, Saved, Ticket};
use starling_wire::{Unverified, Verified, verify};

use crate::cluster::{Cluster, transfer};

/// What a node said until now, put together as a store does.
fn saved(cluster: &Cluster, node: usize) -> Saved {
    let (mut txs, mut accounts, mut blocks) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let mut peers = BTreeMap::new();
    for (_, change) in cluster.changes.iter().filter(|(i, _)| *i == node) {
        match change.clone() {
            Change::Added { tx, origin } => match txs.iter_mut().find(|(known, _)| *known == tx) {
                Some((_, known_as)) => *known_as = origin,
                None => txs.push((tx, origin)),
            },
            Change::Removed { ids, .. } => txs.retain(|(tx, _)| !ids.contains(&tx.id())),
            Change::Block { block, txs: included, accounts: changed, oldest } => {
                txs.retain(|(tx, _)| !included.contains(tx));
                let Ok(Verified::Block(block)) = verify(Unverified::Block(block)) else { panic!("a bad block") };
                accounts.extend(changed);
                blocks.insert(block.header().height, AppliedBlock { block, txs: included });
                blocks = blocks.split_off(&oldest);
            }
            Change::Peer(record) => drop(peers.insert(record.node, record)),
        }
    }
    Saved {
        txs,
        blocks: blocks.into_values().collect(),
        accounts: accounts.into_iter().collect(),
        peers: peers.into_values().collect(),
    }
}

#[test]
fn a_node_goes_on_where_it_was() {
    let mut cluster = Cluster::new(5, 3, 2, 1);
    cluster.settle(3);
    for account in 0..8 {
        cluster.submit(4, &transfer(account, 0));
    }
    cluster.run_until("blocks", |cluster| cluster.living().all(|i| cluster.engine(i).chain().height() >= 1));
    // Gaps keep them out of blocks.
    let waiting: Vec<_> = (0..8).map(|account| transfer(account, 5)).collect();
    for tx in &waiting {
        cluster.submit(4, tx);
    }
    cluster.run_until("all have them", |cluster| waiting.iter().all(|tx| cluster.everywhere(&tx.id())));
    let before = cluster.engine(4);
    let (height, head, digest) = (before.chain().height(), before.chain().head(), before.ledger().digest());
    let (mut origins, links) = (Vec::new(), cluster.degree(4));
    origins.extend(waiting.iter().map(|tx| before.pool().origin(&tx.id())));
    assert!(links > 0 && origins.iter().all(|origin| *origin == Some(Origin::Local)));

    let kept = saved(&cluster, 4);
    assert!(!kept.peers.is_empty());
    cluster.crash(4, Duration::from_millis(100));
    cluster.run(Duration::from_secs(1));
    let sent = cluster.sent.len();
    assert_eq!(cluster.restart(4, kept), []);
    let after = cluster.engine(4);
    assert_eq!((after.chain().height(), after.chain().head(), after.ledger().digest()), (height, head, digest));
    assert_eq!(waiting.iter().map(|tx| after.pool().origin(&tx.id())).collect::<Vec<_>>(), origins);
    assert!((1..=height).all(|height| after.chain().keeps(height)));

    cluster.run_until("neighbours, without the bootstrap node", |cluster| cluster.degree(4) >= 1);
    cluster.run(Duration::from_secs(2));
    let asked = cluster.sent[sent..].iter().any(|(from, _, message)| {
        *from == 4 && matches!(message, starling_wire::Message::IWant(_) | starling_wire::Message::GetBlocks(_))
    });
    assert!(!asked, "it has all there is");
    // And the chain goes on.
    cluster.submit(4, &transfer(9, 0));
    cluster.run_until("a next block", |cluster| cluster.living().all(|i| cluster.engine(i).chain().height() > height));
    let digest = cluster.engine(0).ledger().digest();
    assert_eq!(cluster.engine(4).ledger().digest(), digest);
}

#[test]
fn a_full_pool_comes_back_whole_with_its_gaps() {
    let mut cluster = Cluster::new(0, 0, 0, 2);
    cluster.pool = PoolConfig { max_count: 40, ..PoolConfig::default() };
    let node = cluster.add(0, None, 2);
    // While there is room, some that wait behind a gap; then as many others as fit, in an order against their nonces'.
    let gapped: Vec<_> = (0..10).map(|account| transfer(account, 7)).collect();
    let others: Vec<_> = (0..3).rev().flat_map(|nonce| (0..10).map(move |account| transfer(account, nonce))).collect();
    for tx in gapped.iter().chain(&others) {
        cluster.submit(node, tx);
        cluster.run(Duration::from_millis(1));
    }
    assert_eq!(cluster.engine(node).pool().len(), 40);
    let status = cluster.engine(node).pool().status(cluster.now.since_start());
    let kept = saved(&cluster, node);
    assert_eq!(cluster.restart(node, kept), []);
    assert_eq!(cluster.engine(node).pool().status(cluster.now.since_start()), status);

    // With less room some go, and are named; what is kept afterwards is what is in the pool.
    let kept = saved(&cluster, node);
    cluster.pool.max_count = 30;
    let smaller = cluster.add(0, None, 3);
    let dropped = cluster.restart(smaller, kept);
    assert_eq!((dropped.len(), cluster.engine(smaller).pool().len()), (10, 30));
    assert!(dropped.iter().all(|dropped| dropped.origin == Origin::Local && !dropped.reason.is_empty()));
    let removed = cluster.changes.iter().rev().find(|(i, _)| *i == smaller).unwrap();
    assert!(matches!(&removed.1, Change::Removed { ids, .. } if ids.len() == 10));
}

#[test]
fn one_that_is_submitted_after_a_peer_brought_it_counts_as_submitted() {
    let mut cluster = Cluster::new(2, 1, 0, 4);
    cluster.settle(1);
    let tx = transfer(0, 0);
    cluster.submit(0, &tx);
    cluster.run_until("it is everywhere", |cluster| cluster.everywhere(&tx.id()));
    assert_eq!(saved(&cluster, 1).txs[0].1, Origin::Peer);
    cluster.input(1, Input::Submit { ticket: Ticket(1), tx });
    assert_eq!(saved(&cluster, 1).txs[0].1, Origin::Local);
}

#[test]
fn a_clock_that_is_set_makes_nothing_in_the_pool_old() {
    let mut cluster = Cluster::new(1, 8, 0, 5);
    let txs: Vec<_> = (0..5).map(|account| transfer(account, 0)).collect();
    txs.iter().for_each(|tx| cluster.submit(0, tx));
    cluster.run(Duration::from_millis(10));
    let mut set = |unix_ms| {
        let first = cluster.changes.len();
        cluster.input(0, Input::WallClock { unix_ms });
        let is_local = |change: &Change| matches!(change, Change::Added { origin: Origin::Local, .. });
        cluster.changes[first..].iter().filter(|(_, change)| is_local(change)).count()
    };
    assert_eq!([1_000, 86_400_000, 86_401_000].map(&mut set), [0, 5, 0]);
}
