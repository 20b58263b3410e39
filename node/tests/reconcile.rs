//! Comparing pools: engines joined by imagined links that start with different pools, or lose messages on the way.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

#[allow(dead_code, reason = "shared with the tests of the engine")]
mod cluster;

use std::{cell::Cell, collections::BTreeSet, rc::Rc, time::Duration};

use bytes::BytesMut;
use cluster::{ACCOUNTS, Cluster, account_key, address, genesis, transfer};
use proptest::prelude::*;
use starling_node::engine::{Event, Input};
use starling_wire::{
    BoundedVec, Digest, GetSymbols, Hello, Kind, Message, NetworkId, NodeId, PROTOCOL_VERSION, SignedTx, Sketch, Slice,
    sketch::{Encoder, Symbol},
};

/// The `i`th of many transactions; each has a fee of its own.
fn tx(i: u64) -> SignedTx {
    let (account, nonce) = (i % ACCOUNTS, i / ACCOUNTS);
    let mut tx = transfer(account, nonce).transaction().clone();
    tx.fee = 10_000 + i * 7919 % 10_007;
    tx.sign(&account_key(account)).unwrap()
}

/// Nodes that have not met, each with some of the transactions.
fn strangers(pools: &[Vec<u64>], seed: u64) -> Cluster {
    let mut cluster = Cluster::new(0, 0, 0, seed);
    for pool in pools {
        let node = cluster.add(0, None, seed);
        pool.iter().for_each(|i| cluster.submit(node, &tx(*i)));
    }
    cluster.run(Duration::from_secs(2));
    for (node, pool) in pools.iter().enumerate() {
        assert_eq!(cluster.engine(node).pool().len(), pool.len(), "node {node}");
    }
    cluster
}

fn link(cluster: &mut Cluster, from: usize, to: usize) {
    cluster.input(from, Input::AddPeer(address(to)));
}

fn bytes(messages: &[(usize, usize, Message)]) -> usize {
    messages.iter().map(|(.., message)| message.encode(&mut BytesMut::new())).sum()
}

fn of_kinds(messages: &[(usize, usize, Message)], kinds: &[Kind]) -> Vec<(usize, usize, Message)> {
    messages.iter().filter(|(.., message)| kinds.contains(&message.kind())).cloned().collect()
}

/// Which comparison a message belongs to.
fn salt(message: &Message) -> Option<u64> {
    match message {
        Message::Digest(Digest { salt, .. })
        | Message::Sketch(Sketch { salt, .. })
        | Message::GetSymbols(GetSymbols { salt, .. }) => Some(*salt),
        _ => None,
    }
}

const COMPARING: [Kind; 3] = [Kind::Digest, Kind::Sketch, Kind::GetSymbols];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_two_pools_become_equal_whichever_messages_are_lost(
        common in 0..80u64,
        ours in 0..80u64,
        theirs in 0..80u64,
        lost in proptest::collection::btree_set(0..60usize, 0..20),
        seed: u64,
    ) {
        let (a, b) = (0..common + ours, (0..common).chain(common + ours..common + ours + theirs));
        let mut cluster = strangers(&[a.collect(), b.collect()], seed);
        let number = Cell::new(0);
        cluster.filter = Box::new(move |_, _, message| {
            let protected = matches!(message, Message::Hello(_) | Message::Goodbye(_));
            number.set(number.get() + usize::from(!protected));
            protected || !lost.contains(&number.get())
        });
        link(&mut cluster, 0, 1);
        let all = (common + ours + theirs) as usize;
        cluster.run_until("equal pools", |c| (0..2).all(|node| c.engine(node).pool().len() == all));
        let banned = cluster.events.iter().any(|(.., event)| matches!(event, Event::Banned { .. }));
        prop_assert!(!banned, "nobody is to blame for what got lost");
    }
}

#[test]
fn equal_pools_say_so_in_64_bytes() {
    let pool: Vec<u64> = (0..500).collect();
    let mut cluster = strangers(&[pool.clone(), pool], 1);
    link(&mut cluster, 0, 1);
    cluster.run(Duration::from_secs(1));
    let met = cluster.sent.len();
    cluster.run(Duration::from_secs(20));
    let sent = &cluster.sent[met..];
    let compared = of_kinds(sent, &COMPARING);
    assert!((26..=60).contains(&compared.len()), "each begins one a second: {}", compared.len());
    assert!(compared.iter().all(|message| bytes(std::slice::from_ref(message)) <= 64));
    assert!(of_kinds(sent, &[Kind::Sketch, Kind::IHave, Kind::IWant, Kind::Push]).is_empty());
}

#[test]
fn a_difference_costs_what_it_is_and_not_what_the_pools_are() {
    // 1,000 transactions each, of which 100 on either side are the other's news.
    let (a, b) = ((0..1000), (0..900).chain(1000..1100));
    let mut cluster = strangers(&[a.collect(), b.collect()], 2);
    let before = cluster.sent.len();
    link(&mut cluster, 0, 1);
    cluster.run_until("equal pools", |c| (0..2).all(|node| c.engine(node).pool().len() == 1100));
    // The other may begin a comparison of its own meanwhile: that of the first digest counts.
    let mut compared = of_kinds(&cluster.sent[before..], &COMPARING);
    let first = salt(&compared[0].2);
    compared.retain(|(.., message)| salt(message) == first);
    let bytes = bytes(&compared);
    assert!(bytes < 200 * 12 * 9 / 5, "{bytes} bytes in {} messages", compared.len());
    let pushed = of_kinds(&cluster.sent[before..], &[Kind::Push]).len();
    assert_eq!(pushed, 200, "nothing is sent that is not missing");
}

#[test]
fn whoever_starts_empty_gets_the_best_first_and_asks_several() {
    let pool: Vec<u64> = (0..3000).collect();
    let mut cluster = strangers(&[pool.clone(), pool.clone(), pool.clone(), pool], 3);
    (1..4).for_each(|node| link(&mut cluster, 0, node));
    cluster.run(Duration::from_secs(2));
    let late = cluster.add(0, None, 3);
    (0..4).for_each(|node| link(&mut cluster, late, node));
    let (at, mut fees) = (cluster.now, (0..3000).map(|i| tx(i).transaction().fee).collect::<Vec<_>>());
    fees.sort_unstable();
    let threshold = fees[2000];
    cluster.run_until("a thousand", |c| c.engine(late).pool().len() >= 900);
    let best = cluster.engine(late).pool().iter().filter(|tx| tx.transaction().fee >= threshold).count();
    assert!(best >= 850, "{best} of the first 900 are of the best third");
    cluster.run_until("everything", |c| c.engine(late).pool().len() == 3000);
    assert!(cluster.now - at < Duration::from_secs(15), "{:?}", cluster.now - at);
    for node in 0..4 {
        let asked: usize = cluster
            .sent
            .iter()
            .filter(|(from, to, _)| (*from, *to) == (late, node))
            .fold(0, |sum, sent| sum + if let Message::IWant(ids) = &sent.2 { ids.len() } else { 0 });
        assert!(asked < 2000, "node {node} was asked for {asked} of 3000");
    }
}

#[test]
fn parts_of_a_network_that_were_apart_agree_within_ten_seconds() {
    // Two rings of five with a history of their own, and one link between them later.
    let (a, b): (Vec<u64>, Vec<u64>) = ((0..1500).collect(), (0..300).chain(1500..2700).collect());
    let pools: Vec<Vec<u64>> = (0..10).map(|node| if node < 5 { a.clone() } else { b.clone() }).collect();
    let mut cluster = strangers(&pools, 4);
    for half in [0, 5] {
        (0..5).for_each(|i| link(&mut cluster, half + i, half + (i + 1) % 5));
    }
    cluster.run(Duration::from_secs(3));
    let healed = cluster.now;
    link(&mut cluster, 0, 5);
    link(&mut cluster, 7, 3);
    cluster.run_until("equal pools", |c| (0..10).all(|node| c.engine(node).pool().len() == 2700));
    assert!(cluster.now - healed < Duration::from_secs(10), "{:?}", cluster.now - healed);
}

#[test]
fn pushes_that_are_lost_for_good_are_found() {
    let mut cluster = Cluster::new(8, 3, 0, 5);
    cluster.settle(3);
    // A fifth of all pushes and announcements vanish.
    let number = Rc::new(Cell::new(0_u64));
    cluster.filter = Box::new(move |_, _, message| {
        number.set(number.get() + 1);
        !matches!(message, Message::Push { .. } | Message::IHave(_)) || (number.get() * 7919) % 10 >= 2
    });
    for i in 0..100 {
        let tx = tx(i);
        cluster.submit(i as usize % 8, &tx);
        cluster.run(Duration::from_millis(50));
    }
    cluster.run(Duration::from_secs(5));
    for node in 0..8 {
        assert_eq!(cluster.engine(node).pool().len(), 100, "node {node}");
    }
}

// Neighbours that mislead.

fn hostile(cluster: &mut Cluster) -> NodeId {
    let peer = cluster.puppet();
    let hello = Hello { version: PROTOCOL_VERSION, network: NetworkId(7), genesis: genesis().id(), height: 0 };
    say(cluster, peer, Message::Hello(hello));
    peer
}

fn say(cluster: &mut Cluster, peer: NodeId, message: Message) {
    cluster.input(0, Input::Message { peer, message });
}

fn score(cluster: &Cluster, peer: &NodeId) -> f64 {
    cluster.engine(0).score(cluster.now, peer)
}

/// The last digest that node 0 sent a neighbour.
fn digest_to(cluster: &Cluster, peer: &NodeId) -> Option<Digest> {
    let to = cluster.index(peer);
    cluster.sent.iter().rev().find_map(|(_, node, message)| match message {
        Message::Digest(digest) if *node == to => Some(*digest),
        _ => None,
    })
}

fn sketch(salt: u64, count: u32, from: u32, symbols: Vec<Symbol>) -> Message {
    Message::Sketch(Sketch { salt, count, from, symbols: BoundedVec::new(symbols).unwrap() })
}

#[test]
fn answers_that_nobody_asked_for_are_waste() {
    let mut cluster = strangers(&[(0..20).collect()], 6);
    let peer = hostile(&mut cluster);
    say(&mut cluster, peer, sketch(1, 5, 0, vec![Symbol::default()]));
    say(&mut cluster, peer, Message::GetSymbols(GetSymbols { salt: 1, from: 0, count: 10 }));
    assert_eq!(score(&cluster, &peer), -1.0);
    cluster.run_until("a digest", |c| digest_to(c, &peer).is_some());
    let digest = digest_to(&cluster, &peer).unwrap();
    let before = score(&cluster, &peer);
    say(&mut cluster, peer, sketch(digest.salt, 20, 7, vec![Symbol::default()]));
    assert!(score(&cluster, &peer) < before, "it begins in the middle");
}

#[test]
fn symbols_of_no_set_are_charged_and_random_ones_end() {
    let mut cluster = strangers(&[(0..20).collect()], 7);
    let peer = hostile(&mut cluster);
    cluster.run_until("a digest", |c| digest_to(c, &peer).is_some());
    let Digest { salt, symbol, .. } = digest_to(&cluster, &peer).unwrap();
    // Its own symbol, with one of its own transactions in it once more: as though it lacked it.
    let known = Encoder::new(salt, [tx(0).short_id()]).digest();
    let sum = std::array::from_fn(|i| symbol.sum[i] ^ known.sum[i]);
    let twice = Symbol { sum, check: symbol.check ^ known.check, count: symbol.count.wrapping_add(1) };
    say(&mut cluster, peer, sketch(salt, 21, 0, vec![twice]));
    assert_eq!(score(&cluster, &peer), -25.0);

    // One that never comes apart is asked for a bounded number of symbols.
    let first = cluster.sent.len();
    cluster.run_until("another digest", |c| {
        digest_to(c, &peer).is_some_and(|digest| digest.salt != salt) && c.sent.len() > first
    });
    let salt = digest_to(&cluster, &peer).unwrap().salt;
    let noise =
        |at: u32| Symbol { sum: u64::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes(), check: at, count: 3 };
    let (mut from, mut count) = (0, 16);
    let rounds = (0..1000).find(|_| {
        say(&mut cluster, peer, sketch(salt, 20, from, (from..from + count).map(noise).collect()));
        from += count;
        match cluster.sent.last() {
            Some((.., Message::GetSymbols(request))) if request.from == from => count = request.count.into(),
            _ => return true,
        }
        false
    });
    assert!(rounds.is_some() && from <= 4096, "{from} symbols");
}

#[test]
fn digests_without_end_are_answered_with_a_bounded_number_of_bytes() {
    let mut cluster = strangers(&[(0..200).collect()], 8);
    let peer = hostile(&mut cluster);
    let first = cluster.sent.len();
    for salt in 0..2000 {
        let digest = Digest { salt, slice: Slice::ALL, count: 190, symbol: Symbol::default() };
        say(&mut cluster, peer, Message::Digest(digest));
        say(&mut cluster, peer, Message::GetSymbols(GetSymbols { salt, from: 16, count: 1024 }));
    }
    let sent = bytes(&of_kinds(&cluster.sent[first..], &[Kind::Sketch]));
    assert!(sent < 1 << 20, "{sent} bytes");
    let salts: BTreeSet<u64> = cluster.sent[first..]
        .iter()
        .filter_map(|(.., message)| if let Message::Sketch(sketch) = message { Some(sketch.salt) } else { None })
        .collect();
    assert!(salts.len() < 256, "{} answers", salts.len());
}
