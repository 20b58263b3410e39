//! The engine by itself: many of them joined by imagined links, and hostile neighbours played by the test.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

#[allow(dead_code, reason = "shared with the tests of restarts")]
mod cluster;

use std::time::Duration;

use cluster::{ACCOUNTS, Cluster, LATENCY, account_key, forged, genesis, long, producer_key, transfer};
use proptest::prelude::*;
use starling_mempool::{AccountView, Rejection};
use starling_node::engine::{Direction, Event, Input, Link};
use starling_wire::{
    Block, BlockId, BoundedVec, DecodeError, GetBlocks, Goodbye, Hello, Message, NetworkId, NodeId, PROTOCOL_VERSION,
    SecretKey, ShortId, SignedTx, TxId, limits::MAX_IDS,
};

fn hello() -> Hello {
    Hello { version: PROTOCOL_VERSION, network: NetworkId(7), genesis: genesis().id(), height: 0 }
}

/// A neighbour of node 0 that is played by the test and has said hello.
fn hostile(cluster: &mut Cluster) -> NodeId {
    let peer = cluster.puppet();
    say(cluster, peer, Message::Hello(hello()));
    cluster.beat(peer);
    peer
}

fn say(cluster: &mut Cluster, peer: NodeId, message: Message) {
    cluster.input(0, Input::Message { peer, message });
}

fn sent_to(cluster: &Cluster, peer: NodeId) -> Vec<Message> {
    let to = cluster.index(&peer);
    cluster.sent.iter().filter(|(from, other, _)| *from == 0 && *other == to).map(|(_, _, m)| m.clone()).collect()
}

fn is_banned(cluster: &Cluster, peer: NodeId) -> bool {
    cluster.events.iter().any(|(_, i, event)| *i == 0 && matches!(event, Event::Banned { peer: p, .. } if *p == peer))
}

fn push(tx: SignedTx) -> Message {
    Message::Push { labels: [1, 2, 3], tx }
}

/// Whether node 0 pushed a transaction to a neighbour, and did so once.
fn was_pushed(cluster: &Cluster, peer: NodeId, tx: &SignedTx) -> bool {
    let pushed = |message: &Message| matches!(message, Message::Push { tx: sent, .. } if sent == tx);
    sent_to(cluster, peer).iter().filter(|message| pushed(message)).count() == 1
}

fn ids(txs: &[&SignedTx]) -> BoundedVec<ShortId, MAX_IDS> {
    BoundedVec::new(txs.iter().map(|tx| tx.short_id()).collect()).unwrap()
}

#[test]
fn one_bootstrap_address_becomes_an_overlay() {
    let mut cluster = Cluster::new(30, 8, 0, 1);
    cluster.settle(8);
    cluster.run(Duration::from_secs(5));
    for i in 0..cluster.len() {
        let outgoing = cluster.engine(i).links();
        // Connections that only probe are no links.
        let outgoing = outgoing.filter(|(_, l)| l.is_ready() && l.direction() == Direction::Outgoing).count();
        let incoming = cluster.degree(i) - outgoing;
        assert!(outgoing <= 8 && incoming <= 24, "node {i} has {outgoing} + {incoming}");
    }
}

#[test]
fn a_transaction_reaches_every_pool_and_runs_repeat() {
    let run = |seed| {
        let mut cluster = Cluster::new(20, 4, 0, seed);
        cluster.settle(4);
        let txs: Vec<_> = (0..10).map(|i| transfer(i, 0)).collect();
        for (i, tx) in txs.iter().enumerate() {
            cluster.submit(2 * i, tx);
            cluster.run(Duration::from_millis(7));
        }
        cluster.run_until("all transactions everywhere", |c| txs.iter().all(|tx| c.everywhere(&tx.id())));
        cluster.digest()
    };
    let first = run(1);
    assert_eq!(first, run(1), "the same seed gives the same run");
    assert_ne!(first, run(2));
}

#[test]
fn nothing_is_lost_when_nodes_crash_or_pushes_do_not_arrive() {
    let mut cluster = Cluster::new(20, 5, 0, 3);
    cluster.settle(5);
    // Half of all pushes vanish: announcements and failover must bring the rest.
    let pushes = std::cell::Cell::new(0);
    cluster.filter = Box::new(move |_, _, message| {
        pushes.set(pushes.get() + usize::from(matches!(message, Message::Push { .. })));
        !matches!(message, Message::Push { .. }) || pushes.get().is_multiple_of(2)
    });
    let first = transfer(0, 0);
    cluster.submit(0, &first);
    cluster.run_until("the first is everywhere", |c| c.everywhere(&first.id()));
    cluster.filter = Box::new(|_, _, _| true);
    for i in [3, 7, 11, 15] {
        cluster.crash(i, Duration::from_secs(2));
    }
    let second = transfer(1, 0);
    cluster.submit(0, &second);
    cluster.run_until("the second reaches the living", |c| c.everywhere(&second.id()));
}

#[test]
fn an_unanswered_request_goes_to_the_next_announcer_and_is_charged() {
    let mut cluster = Cluster::new(1, 8, 0, 6);
    let (silent, honest) = (hostile(&mut cluster), hostile(&mut cluster));
    for peer in [silent, honest] {
        cluster.input(0, Input::RoundTrip { peer, rtt: LATENCY });
    }
    let tx = transfer(0, 0);
    say(&mut cluster, silent, Message::IHave(ids(&[&tx])));
    say(&mut cluster, honest, Message::IHave(ids(&[&tx])));
    let wants = |cluster: &Cluster, peer| sent_to(cluster, peer).contains(&Message::IWant(ids(&[&tx])));
    assert!(wants(&cluster, silent) && !wants(&cluster, honest), "one request in flight");
    cluster.run(LATENCY * 2 + Duration::from_millis(21));
    assert!(wants(&cluster, honest));
    let score = |peer| cluster.engine(0).score(cluster.now, &peer);
    assert!(score(silent) < 0.0 && score(honest) == 0.0);
}

#[test]
fn a_link_that_never_sends_what_it_announces_is_ended() {
    let mut cluster = Cluster::new(1, 8, 0, 7);
    let peer = hostile(&mut cluster);
    cluster.input(0, Input::RoundTrip { peer, rtt: LATENCY });
    for i in 0..100u64 {
        say(&mut cluster, peer, Message::IHave(BoundedVec::new(vec![ShortId(i.to_le_bytes())]).unwrap()));
    }
    cluster.run(Duration::from_secs(1));
    assert!(is_banned(&cluster, peer));
    assert!(sent_to(&cluster, peer).contains(&Message::Goodbye(Goodbye::Misbehaviour)));
}

#[test]
fn forged_signatures_are_refused_and_their_sender_banned() {
    let mut cluster = Cluster::new(1, 8, 0, 8);
    let peer = hostile(&mut cluster);
    for nonce in 0..5 {
        assert!(!is_banned(&cluster, peer));
        say(&mut cluster, peer, push(forged(0, nonce)));
        cluster.run(Duration::from_millis(1));
    }
    assert!(is_banned(&cluster, peer));
    assert_eq!(cluster.engine(0).stats().refused.get("bad-signature"), Some(&5));
    // The genuine one, which has the same fields, is not affected.
    let honest = hostile(&mut cluster);
    say(&mut cluster, honest, push(transfer(0, 0)));
    cluster.run(Duration::from_millis(1));
    assert!(cluster.engine(0).pool().contains(&transfer(0, 0).id()));
}

#[test]
fn what_may_be_honest_is_refused_without_blame() {
    let mut cluster = Cluster::new(1, 8, 0, 9);
    let peer = hostile(&mut cluster);
    let poor = {
        let key = SecretKey::from_seed(&[77; 32]);
        let mut tx = transfer(0, 0).transaction().clone();
        tx.sender = key.account();
        tx.sign(&key).unwrap()
    };
    for tx in [poor, transfer(0, 1 << 40)] {
        say(&mut cluster, peer, push(tx));
    }
    let refused = cluster.events.iter().filter(|(_, _, event)| matches!(event, Event::Refused { .. })).count();
    assert_eq!((refused, cluster.engine(0).score(cluster.now, &peer)), (2, 0.0));
}

#[test]
fn breaches_of_the_protocol_end_the_link() {
    let breaches: [fn(NodeId) -> Input; 2] = [
        |peer| Input::Message { peer, message: Message::Hello(hello()) },
        |peer| Input::Malformed { peer, error: DecodeError::UnknownKind(200) },
    ];
    for breach in breaches {
        let mut cluster = Cluster::new(1, 8, 0, 10);
        let peer = hostile(&mut cluster);
        cluster.input(0, breach(peer));
        assert!(is_banned(&cluster, peer));
    }
    // Before hello nothing else may come.
    let mut cluster = Cluster::new(1, 8, 0, 10);
    let peer = cluster.puppet();
    say(&mut cluster, peer, Message::GetPeers);
    assert!(is_banned(&cluster, peer));
    // Another network is no crime, but no link either.
    let other = cluster.puppet();
    say(&mut cluster, other, Message::Hello(Hello { network: NetworkId(8), ..hello() }));
    assert!(sent_to(&cluster, other).contains(&Message::Goodbye(Goodbye::WrongNetwork)));
    assert!(!is_banned(&cluster, other));
    // Whoever stays silent is let go.
    let silent = cluster.puppet();
    cluster.run(Duration::from_secs(11));
    assert_eq!(cluster.engine(0).links().count(), 0);
    assert!(!is_banned(&cluster, silent));
}

#[test]
fn a_crowd_at_the_door_is_told_others_and_leaves_room_for_own_links() {
    let mut cluster = Cluster::new(1, 8, 0, 10);
    for _ in 0..56 {
        cluster.puppet();
    }
    let over = cluster.puppet();
    let said = sent_to(&cluster, over);
    assert!(matches!(said[..], [Message::Hello(_), Message::Peers(_), Message::Goodbye(Goodbye::TooManyPeers)]));
    // It may not have heard of that yet.
    say(&mut cluster, over, Message::Hello(hello()));
    say(&mut cluster, over, Message::GetPeers);
    assert!(!is_banned(&cluster, over));
    assert_eq!(cluster.engine(0).links().count(), 56);
    let other = cluster.add(0, None, 0);
    cluster.input(0, Input::AddPeer(cluster::address(other)));
    cluster.run(Duration::from_secs(1));
    let own = |link: &Link| link.direction() == Direction::Outgoing && link.is_ready();
    assert_eq!(cluster.engine(0).links().filter(|(_, link)| own(link)).count(), 1);
}

#[test]
fn peers_over_the_limit_are_told_others_and_turned_away() {
    let mut cluster = Cluster::new(1, 8, 0, 17);
    let welcome: Vec<_> = (0..24).map(|_| hostile(&mut cluster)).collect();
    let over = hostile(&mut cluster);
    let said = sent_to(&cluster, over);
    assert!(matches!(said[said.len() - 2..], [Message::Peers(_), Message::Goodbye(Goodbye::TooManyPeers)]));
    // What it had said before it heard of that is no crime.
    cluster.input(0, Input::PeerRecords { peer: over, records: vec![], bad: 0 });
    say(&mut cluster, over, Message::GetPeers);
    assert!(!is_banned(&cluster, over));
    cluster.run(Duration::from_secs(1));
    let ready: Vec<_> = cluster.engine(0).links().filter(|(_, link)| link.is_ready()).map(|(peer, _)| *peer).collect();
    assert!(welcome.iter().all(|peer| ready.contains(peer)) && !ready.contains(&over));
    let about = |event: &Event| matches!(event, Event::LinkUp { peer } | Event::LinkDown { peer } if *peer == over);
    assert!(!cluster.events.iter().any(|(_, _, event)| about(event)), "it never was a link");
}

#[test]
fn a_neighbour_that_prunes_is_told_ids_and_one_that_asks_is_pushed_to() {
    let mut cluster = Cluster::new(1, 8, 0, 18);
    let (source, neighbour) = (hostile(&mut cluster), hostile(&mut cluster));
    let bring = |cluster: &mut Cluster, tx: &SignedTx| {
        say(cluster, source, push(tx.clone()));
        cluster.run(Duration::from_millis(10));
        was_pushed(cluster, neighbour, tx)
    };
    let first = transfer(0, 0);
    assert!(bring(&mut cluster, &first), "nothing is known yet");
    say(&mut cluster, neighbour, Message::Prune(ids(&[&first])));
    let second = transfer(1, 0);
    assert!(!bring(&mut cluster, &second));
    // Its way is known: announcements wait for a push to ride with, but not for ever.
    cluster.run(Duration::from_millis(1210));
    assert!(sent_to(&cluster, neighbour).contains(&Message::IHave(ids(&[&second]))));
    // What was not pushed cannot be pruned: asking counts for more.
    say(&mut cluster, neighbour, Message::IWant(ids(&[&second])));
    say(&mut cluster, neighbour, Message::Prune(ids(&[&second])));
    assert!(was_pushed(&cluster, neighbour, &second));
    assert!(bring(&mut cluster, &transfer(2, 0)));
    // Silence about that one is evidence, too.
    cluster.run(Duration::from_secs(2));
    for account in 3..6 {
        assert!(bring(&mut cluster, &transfer(account, 0)));
    }
}

#[test]
fn what_can_wait_rides_with_a_push() {
    let mut cluster = Cluster::new(1, 8, 0, 21);
    let peers: Vec<_> = (0..4).map(|_| hostile(&mut cluster)).collect();
    let (source, neighbour) = (peers[0], peers[3]);
    // The neighbour does not need what comes from the source.
    let first = transfer(0, 0);
    say(&mut cluster, source, push(first.clone()));
    cluster.run(Duration::from_millis(1));
    say(&mut cluster, neighbour, Message::Prune(ids(&[&first])));
    let second = transfer(1, 0);
    for peer in &peers[..3] {
        say(&mut cluster, *peer, push(second.clone()));
    }
    cluster.run(Duration::from_millis(1));
    cluster.run(Duration::from_millis(610));
    // And brings a third copy in vain.
    let third = transfer(2, 0);
    for peer in &peers[1..] {
        say(&mut cluster, *peer, push(third.clone()));
    }
    let said = sent_to(&cluster, neighbour).len();
    assert!(!was_pushed(&cluster, neighbour, &second));
    let own = transfer(3, 0);
    cluster.submit(0, &own);
    cluster.run(Duration::from_millis(1));
    let [Message::Push { tx, .. }, Message::IHave(announced), Message::Prune(pruned)] =
        &sent_to(&cluster, neighbour)[said..]
    else {
        panic!("{:?}", &sent_to(&cluster, neighbour)[said..])
    };
    assert_eq!((tx, announced, pruned), (&own, &ids(&[&second]), &ids(&[&third])));
    // Neither goes again by itself.
    cluster.run(Duration::from_secs(5));
    let again = sent_to(&cluster, neighbour);
    let about =
        |message: &Message, tx: ShortId| matches!(message, Message::IHave(of) | Message::Prune(of) if of.contains(&tx));
    for tx in [&second, &third] {
        assert_eq!(again.iter().filter(|message| about(message, tx.short_id())).count(), 1);
    }
}

#[test]
fn third_copies_are_pruned_and_second_ones_of_long_transactions() {
    let mut cluster = Cluster::new(1, 8, 0, 19);
    let peers: Vec<_> = (0..3).map(|_| hostile(&mut cluster)).collect();
    let long = {
        let mut tx = transfer(1, 0).transaction().clone();
        (tx.payload, tx.fee) = (vec![7; 2000].into(), 10_000);
        tx.sign(&account_key(1)).unwrap()
    };
    for (tx, pruned) in [(transfer(0, 0), [false, false, true]), (long, [false, true, true])] {
        for peer in &peers {
            say(&mut cluster, *peer, push(tx.clone()));
        }
        cluster.run(Duration::from_millis(510));
        let told = |peer| sent_to(&cluster, peer).contains(&Message::Prune(ids(&[&tx])));
        assert_eq!([told(peers[0]), told(peers[1]), told(peers[2])], pruned);
    }
}

#[test]
fn a_late_second_copy_is_pruned_in_no_hurry_once_the_first_ones_way_is_dependable() {
    let mut cluster = Cluster::new(1, 8, 0, 19);
    let (source, other) = (hostile(&mut cluster), hostile(&mut cluster));
    let pruned = |cluster: &Cluster, tx: &SignedTx| sent_to(cluster, other).contains(&Message::Prune(ids(&[tx])));
    for account in 0..10 {
        let tx = transfer(account, 0);
        say(&mut cluster, source, push(tx.clone()));
        cluster.run(Duration::from_millis(10));
        say(&mut cluster, other, push(tx.clone()));
        cluster.run(Duration::from_millis(700));
        assert!(!pruned(&cluster, &tx), "{account}: not yet, if ever");
        cluster.run(Duration::from_millis(500));
        assert_eq!(pruned(&cluster, &tx), account >= 7, "{account}");
    }
}

#[test]
fn a_node_that_is_behind_wants_no_second_copy() {
    let mut cluster = Cluster::new(1, 8, 0, 19);
    let peers: Vec<_> = (0..2).map(|_| hostile(&mut cluster)).collect();
    for (nonce, behind) in [(0, false), (1, true), (2, false)] {
        if behind {
            cluster.stall(Duration::from_secs(1));
        }
        let tx = transfer(0, nonce);
        for peer in &peers {
            say(&mut cluster, *peer, push(tx.clone()));
        }
        cluster.run(Duration::from_millis(510));
        let told = |peer| sent_to(&cluster, peer).contains(&Message::Prune(ids(&[&tx])));
        assert_eq!([told(peers[0]), told(peers[1])], [false, behind]);
    }
}

#[test]
fn a_congested_link_is_told_ids_when_it_drains() {
    let mut cluster = Cluster::new(1, 8, 0, 12);
    let peer = hostile(&mut cluster);
    cluster.input(0, Input::Congestion { peer, congested: true });
    let txs: Vec<_> = (0..3).map(|i| transfer(i, 0)).collect();
    for tx in &txs {
        cluster.submit(0, tx);
    }
    cluster.run(Duration::from_millis(50));
    let about_txs = |cluster: &Cluster| {
        sent_to(cluster, peer)
            .into_iter()
            .filter(|m| matches!(m, Message::Push { .. } | Message::IHave(_)))
            .collect::<Vec<_>>()
    };
    assert_eq!(about_txs(&cluster), []);
    cluster.input(0, Input::Congestion { peer, congested: false });
    assert_eq!(about_txs(&cluster), [Message::IHave(ids(&txs.iter().collect::<Vec<_>>()))]);
    say(&mut cluster, peer, Message::IWant(ids(&[&txs[1]])));
    assert!(was_pushed(&cluster, peer, &txs[1]));
}

#[test]
fn only_the_producer_whose_turn_it_is_makes_a_block() {
    let mut cluster = Cluster::new(1, 8, 0, 13);
    let block = |key: &SecretKey, height, parent| {
        let tx_ids = BoundedVec::new(vec![]).unwrap();
        Message::Block(Block { network: NetworkId(7), height, parent, timestamp_ms: 0, tx_ids }.sign(key))
    };
    let honest = hostile(&mut cluster);
    say(&mut cluster, honest, block(&producer_key(0), 1, BlockId::ZERO));
    cluster.run(Duration::from_millis(1));
    assert_eq!(cluster.engine(0).chain().height(), 1);
    let first = cluster.engine(0).chain().head();
    // A second block for the same height changes nothing, and passing it on is no crime.
    let Message::Block(other) = block(&producer_key(0), 1, BlockId([1; 32])) else { unreachable!() };
    say(&mut cluster, honest, Message::Block(other));
    assert_eq!(cluster.engine(0).score(cluster.now, &honest), 0.0);
    let liar = hostile(&mut cluster);
    for height in 2..7 {
        say(&mut cluster, liar, block(&SecretKey::from_seed(&[1; 32]), height, first));
    }
    assert!(is_banned(&cluster, liar));
    assert_eq!(cluster.engine(0).chain().head(), first);
}

#[test]
fn a_block_that_cannot_be_applied_does_not_stop_the_chain() {
    let mut cluster = Cluster::new(1, 8, 0, 14);
    let peer = hostile(&mut cluster);
    let tx = transfer(0, 0);
    let block = |ids: Vec<TxId>| {
        let tx_ids = BoundedVec::new(ids).unwrap();
        let block = Block { network: NetworkId(7), height: 1, parent: BlockId::ZERO, timestamp_ms: 0, tx_ids };
        Message::Block(block.sign(&producer_key(0)))
    };
    say(&mut cluster, peer, block(vec![tx.id(), tx.id()]));
    cluster.run(Duration::from_millis(1));
    say(&mut cluster, peer, Message::BlockTx(tx.clone()));
    cluster.run(Duration::from_millis(1));
    assert!(cluster.events.iter().any(|(_, _, event)| matches!(event, Event::BlockRefused { height: 1, .. })));
    say(&mut cluster, peer, block(vec![tx.id()]));
    cluster.run(Duration::from_millis(1));
    assert_eq!(cluster.engine(0).chain().height(), 0, "waits for the transaction");
    say(&mut cluster, peer, Message::BlockTx(tx.clone()));
    cluster.run(Duration::from_millis(1));
    assert_eq!(cluster.engine(0).chain().height(), 1);
    assert_eq!(cluster.engine(0).chain().included_at(&tx.id()), Some(1));
}

#[test]
fn submissions_are_answered() {
    let mut cluster = Cluster::new(1, 8, 0, 15);
    let good = transfer(0, 0);
    for tx in [&good, &good, &forged(1, 0), &transfer(2, 1 << 30)] {
        cluster.submit(0, tx);
        cluster.run(Duration::from_millis(1));
    }
    let answers: Vec<_> = cluster
        .events
        .iter()
        .filter_map(|(_, _, event)| match event {
            Event::Submitted { result, .. } => Some(result.as_ref().map(|_| ()).map_err(Rejection::reason)),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [Ok(()), Ok(()), Err("bad-signature"), Err("nonce-too-high")]);
}

/// The answer comes without a signature being checked, which takes time here.
#[test]
fn the_same_bad_bytes_are_checked_once() {
    let mut cluster = Cluster::new(1, 8, 0, 16);
    let answers = |cluster: &Cluster| {
        let bad = |event: &Event| matches!(event, Event::Submitted { result: Err(Rejection::BadSignature(_)), .. });
        cluster.events.iter().filter(|(_, _, event)| bad(event)).count()
    };
    cluster.submit(0, &forged(0, 0));
    assert_eq!(answers(&cluster), 0, "it is checked");
    cluster.run(Duration::from_millis(1));
    assert_eq!(answers(&cluster), 1);
    cluster.submit(0, &forged(0, 0));
    assert_eq!(answers(&cluster), 2, "it is known");
    cluster.submit(0, &transfer(0, 0));
    cluster.run(Duration::from_millis(1));
    assert!(cluster.engine(0).pool().contains(&transfer(0, 0).id()));
}

#[test]
fn what_nobody_shows_to_have_is_announced_again_for_a_while() {
    let mut cluster = Cluster::new(1, 8, 0, 17);
    let (peer, other) = (hostile(&mut cluster), hostile(&mut cluster));
    let (lost, known) = (transfer(0, 0), transfer(1, 0));
    cluster.submit(0, &lost);
    cluster.submit(0, &known);
    let told = |cluster: &Cluster, tx: &SignedTx| {
        let names = |message: &Message| matches!(message, Message::IHave(ids) if ids.contains(&tx.short_id()));
        sent_to(cluster, peer).iter().filter(|message| names(message)).count()
    };
    cluster.run(Duration::from_secs(29));
    assert!(was_pushed(&cluster, peer, &lost));
    let before = (told(&cluster, &lost), told(&cluster, &known));
    say(&mut cluster, other, Message::IHave(ids(&[&known])));
    cluster.run(Duration::from_secs(4));
    assert_eq!((told(&cluster, &lost), told(&cluster, &known)), (before.0 + 1, before.1));
    // Whoever lost it may have it once more, without blame.
    let pushes = |cluster: &Cluster| {
        let is = |message: &Message| matches!(message, Message::Push { tx, .. } if *tx == lost);
        sent_to(cluster, peer).iter().filter(|message| is(message)).count()
    };
    let pushed = pushes(&cluster);
    say(&mut cluster, peer, Message::IWant(ids(&[&lost])));
    assert_eq!((pushes(&cluster), cluster.engine(0).score(cluster.now, &peer)), (pushed + 1, 0.0));
    cluster.run(Duration::from_secs(3600));
    assert_eq!((told(&cluster, &lost), told(&cluster, &known)), (before.0 + 6, before.1));
    assert_eq!(cluster.engine(0).stats().announced_again, 6);
}

#[test]
fn what_came_long_ago_is_not_fetched_again_nor_sent_without_end() {
    let mut cluster = Cluster::new(1, 8, 0, 17);
    let (peer, other) = (hostile(&mut cluster), hostile(&mut cluster));
    let old = transfer(0, 0);
    say(&mut cluster, peer, push(old.clone()));
    cluster.run(Duration::from_secs(121));
    // Of what came before, only the id is kept from now on.
    say(&mut cluster, peer, push(transfer(1, 0)));
    cluster.run(Duration::from_millis(1));
    say(&mut cluster, other, Message::IHave(ids(&[&old])));
    assert!(!sent_to(&cluster, other).contains(&Message::IWant(ids(&[&old]))), "it is in the pool");
    let asked = |cluster: &mut Cluster| {
        let pushed = |message: &Message| matches!(message, Message::Push { tx, .. } if *tx == old);
        let before = sent_to(cluster, other).len();
        say(cluster, other, Message::IWant(ids(&[&old])));
        let answered = sent_to(cluster, other)[before..].iter().any(pushed);
        (answered, cluster.engine(0).score(cluster.now, &other) < 0.0)
    };
    assert_eq!([(); 3].map(|()| asked(&mut cluster)), [(true, false), (true, false), (false, true)]);
}

#[test]
fn what_expired_is_not_taken_in_again_until_neighbours_have_let_go_of_it() {
    let mut cluster = Cluster::empty();
    (cluster.pool.lifetime, cluster.pool.local_lifetime) = (Duration::from_secs(200), Duration::from_secs(200));
    cluster.add(8, None, 18);
    let (peer, other) = (hostile(&mut cluster), hostile(&mut cluster));
    let expired = transfer(0, 0);
    say(&mut cluster, peer, push(expired.clone()));
    cluster.run(Duration::from_secs(201));
    assert_eq!((cluster.engine(0).stats().expired, cluster.engine(0).pool().len()), (1, 0));
    let is_asked_for = |cluster: &mut Cluster| {
        say(cluster, other, Message::IHave(ids(&[&expired])));
        sent_to(cluster, other).contains(&Message::IWant(ids(&[&expired])))
    };
    assert!(!is_asked_for(&mut cluster));
    say(&mut cluster, other, push(expired.clone()));
    cluster.run(Duration::from_secs(1));
    assert_eq!((cluster.engine(0).pool().len(), cluster.engine(0).stats().duplicates), (0, 1));
    // Whoever submits it anew reaches everybody later.
    cluster.run(Duration::from_secs(120));
    assert!(is_asked_for(&mut cluster));
    say(&mut cluster, other, push(expired.clone()));
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.engine(0).pool().len(), 1);
    assert!(was_pushed(&cluster, peer, &expired), "and it is passed on as a new one");
}

/// Each sender within its own budget; it is what one neighbour brings that is too much.
#[test]
fn a_neighbour_may_have_so_much_replaced_and_no_more() {
    let mut cluster = Cluster::new(1, 8, 0, 18);
    let (peer, other) = (hostile(&mut cluster), hostile(&mut cluster));
    let (accounts, rounds) = (ACCOUNTS, 3);
    for round in 0..=rounds {
        for account in 0..accounts {
            say(&mut cluster, peer, push(long(account, 0, 40_000 + 8_000 * round)));
            cluster.run(Duration::from_micros(100));
        }
    }
    let refused = |cluster: &Cluster| cluster.engine(0).stats().refused.get("replaced-too-often").copied();
    let replaced = cluster.engine(0).stats().displaced;
    let bytes = long(0, 0, 40_000).bytes().len() as u64;
    assert!((4 << 20..(4 << 20) + (1 << 17)).contains(&(replaced * bytes + bytes)), "{replaced}");
    assert!(refused(&cluster) > Some(0) && cluster.engine(0).score(cluster.now, &peer) == 0.0, "refused without blame");
    // Another neighbour has its own budget.
    let before = refused(&cluster);
    let account = accounts - 1;
    say(&mut cluster, other, push(long(account, 0, 90_000)));
    cluster.run(Duration::from_micros(100));
    assert!(cluster.engine(0).pool().contains(&long(account, 0, 90_000).id()));
    assert_eq!(refused(&cluster), before);
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
        (0u64..10).prop_map(|i| Message::GetBlockTxs(BoundedVec::new(vec![transfer(i, 0).id()]).unwrap())),
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
        let peers: Vec<_> = (0..3).map(|_| hostile(&mut cluster)).collect();
        for (who, message, pause) in script {
            say(&mut cluster, peers[who], message);
            cluster.run(Duration::from_millis(pause));
        }
        let engine = cluster.engine(0);
        for tx in engine.pool().iter() {
            prop_assert!((**tx).clone().verify().is_ok());
            prop_assert!(tx.transaction().nonce >= engine.ledger().account(&tx.sender()).nonce);
        }
        let honest = hostile(&mut cluster);
        let tx = transfer(9, cluster.engine(0).pool().next_nonce(&account_key(9).account(), cluster.engine(0).ledger()));
        cluster.submit(0, &tx);
        cluster.run(Duration::from_millis(5));
        prop_assert!(was_pushed(&cluster, honest, &tx));
    }
}

#[test]
fn a_neighbour_that_falls_silent_is_replaced_and_one_that_speaks_again_is_taken_back() {
    let mut cluster = Cluster::new(20, 4, 0, 31);
    cluster.settle(4);
    cluster.run(Duration::from_secs(20));
    let (still, speaker) = (7, 0);
    // Nothing from it arrives, and nobody is told so by a connection that ends.
    cluster.filter = Box::new(move |from, _, _| from != still);
    let stopped = cluster.now;
    let neighbours: Vec<usize> =
        (0..cluster.len()).filter(|i| cluster.engine(*i).links().any(|(id, _)| cluster.index(id) == still)).collect();
    cluster.run(Duration::from_secs(3));
    for i in &neighbours {
        let suspects = |event: &Event| matches!(event, Event::Suspected { peer } if cluster.index(peer) == still);
        assert!(cluster.events.iter().any(|(at, who, event)| who == i && *at >= stopped && suspects(event)), "{i}");
    }
    let tx = transfer(0, 0);
    cluster.submit(speaker, &tx);
    let before = cluster.now;
    cluster
        .run_until("all others have it", |c| (0..c.len()).all(|i| i == still || c.engine(i).pool().contains(&tx.id())));
    assert!(cluster.now - before < Duration::from_secs(1));
    cluster.run(Duration::from_secs(3));
    for i in (0..cluster.len()).filter(|i| *i != still) {
        assert!(cluster.degree(i) >= 4, "node {i} has {} links after six seconds", cluster.degree(i));
    }
    cluster.filter = Box::new(|_, _, _| true);
    cluster.run_until("it is back", |c| c.degree(still) >= 4 && c.everywhere(&tx.id()));
    let revived: u64 = (0..cluster.len()).map(|i| cluster.engine(i).stats().revived).sum();
    assert!(revived > 0, "links that were not given up yet are used again");
    let late = cluster.events.iter().filter(|(at, who, event)| {
        *at > before && *who != still && matches!(event, Event::Suspected { peer } if cluster.index(peer) != still)
    });
    assert_eq!(late.count(), 0, "nobody else is suspected");
}

#[test]
fn a_probe_exchanges_peers_and_makes_no_link() {
    let mut cluster = Cluster::new(1, 8, 0, 32);
    let peer = cluster.puppet();
    say(&mut cluster, peer, Message::Probe(hello()));
    assert!(matches!(sent_to(&cluster, peer)[..], [Message::Hello(_), Message::Peers(_)]));
    cluster.input(0, Input::PeerRecords { peer, records: vec![], bad: 0 });
    say(&mut cluster, peer, Message::Goodbye(Goodbye::TooManyPeers));
    assert!(!is_banned(&cluster, peer));
    assert!(!cluster.events.iter().any(|(_, _, event)| matches!(event, Event::LinkUp { .. })));
    // On a link it makes no sense.
    let other = hostile(&mut cluster);
    say(&mut cluster, other, Message::Probe(hello()));
    assert!(is_banned(&cluster, other));
    // Neither does telling of peers without end.
    let loud = hostile(&mut cluster);
    for _ in 0..300 {
        cluster.input(0, Input::PeerRecords { peer: loud, records: vec![], bad: 0 });
    }
    assert!(is_banned(&cluster, loud));
}
