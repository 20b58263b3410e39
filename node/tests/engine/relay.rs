//! Transactions pass from node to node: pushes, announcements, requests and prunes.

use std::time::Duration;

use starling_node::engine::Input;
use starling_wire::{BoundedVec, Goodbye, Message, ShortId, SignedTx};

use crate::cluster::{Cluster, LATENCY, account_key, ids, long, push, transfer};

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
    let (silent, honest) = (cluster.hostile(), cluster.hostile());
    for peer in [silent, honest] {
        cluster.input(0, Input::RoundTrip { peer, rtt: LATENCY });
    }
    let tx = transfer(0, 0);
    cluster.say(silent, Message::IHave(ids(&[&tx])));
    cluster.say(honest, Message::IHave(ids(&[&tx])));
    let wants = |cluster: &Cluster, peer| cluster.sent_to(peer).contains(&Message::IWant(ids(&[&tx])));
    assert!(wants(&cluster, silent) && !wants(&cluster, honest), "one request in flight");
    cluster.run(LATENCY * 2 + Duration::from_millis(21));
    assert!(wants(&cluster, honest));
    let score = |peer| cluster.score(peer);
    assert!(score(silent) < 0.0 && score(honest) == 0.0);
}

#[test]
fn a_link_that_never_sends_what_it_announces_is_ended() {
    let mut cluster = Cluster::new(1, 8, 0, 7);
    let peer = cluster.hostile();
    cluster.input(0, Input::RoundTrip { peer, rtt: LATENCY });
    for i in 0..100u64 {
        cluster.say(peer, Message::IHave(BoundedVec::new(vec![ShortId(i.to_le_bytes())]).unwrap()));
    }
    cluster.run(Duration::from_secs(1));
    assert!(cluster.is_banned(peer));
    assert!(cluster.sent_to(peer).contains(&Message::Goodbye(Goodbye::Misbehaviour)));
}

#[test]
fn a_neighbour_that_prunes_is_told_ids_and_one_that_asks_is_pushed_to() {
    let mut cluster = Cluster::new(1, 8, 0, 18);
    let (source, neighbour) = (cluster.hostile(), cluster.hostile());
    let bring = |cluster: &mut Cluster, tx: &SignedTx| {
        cluster.say(source, push(tx.clone()));
        cluster.run(Duration::from_millis(10));
        cluster.was_pushed(neighbour, tx)
    };
    let first = transfer(0, 0);
    assert!(bring(&mut cluster, &first), "nothing is known yet");
    cluster.say(neighbour, Message::Prune(ids(&[&first])));
    let second = transfer(1, 0);
    assert!(!bring(&mut cluster, &second));
    // Its way is known: announcements wait for a push to ride with, but not for ever.
    cluster.run(Duration::from_millis(1210));
    assert!(cluster.sent_to(neighbour).contains(&Message::IHave(ids(&[&second]))));
    // What was not pushed cannot be pruned: asking counts for more.
    cluster.say(neighbour, Message::IWant(ids(&[&second])));
    cluster.say(neighbour, Message::Prune(ids(&[&second])));
    assert!(cluster.was_pushed(neighbour, &second));
    assert!(bring(&mut cluster, &transfer(2, 0)));
    // Silence about that one is evidence, too.
    cluster.run(Duration::from_secs(2));
    for account in 3..6 {
        assert!(bring(&mut cluster, &transfer(account, 0)));
    }
}

#[test]
fn who_comes_and_goes_makes_no_outage() {
    let mut cluster = Cluster::new(1, 8, 0, 19);
    let (source, neighbour) = (cluster.hostile(), cluster.hostile());
    let first = transfer(0, 0);
    cluster.say(source, push(first.clone()));
    cluster.run(Duration::from_millis(10));
    cluster.say(neighbour, Message::Prune(ids(&[&first])));
    for _ in 0..4 {
        let peer = cluster.hostile();
        cluster.input(0, Input::Disconnected { peer });
    }
    let second = transfer(1, 0);
    cluster.say(source, push(second.clone()));
    cluster.run(Duration::from_millis(10));
    assert!(cluster.engine(0).pool().contains(&second.id()) && !cluster.was_pushed(neighbour, &second));
}

#[test]
fn whoever_sends_as_much_as_it_may_at_once_breaks_no_promise() {
    let mut cluster = Cluster::new(1, 8, 0, 20);
    let peer = cluster.hostile();
    let txs: Vec<_> = (0..310).map(|i| long(i % 60, i / 60, 1_000_000)).collect();
    for round in 1..=10 {
        let lacking: Vec<_> = txs.iter().filter(|tx| !cluster.engine(0).pool().contains(&tx.id())).collect();
        cluster.say(peer, Message::IHave(ids(&lacking)));
        assert!(matches!(cluster.sent_to(peer).last(), Some(Message::IWant(ids)) if ids.len() == lacking.len()));
        for tx in &lacking[..31] {
            cluster.say(peer, push((*tx).clone()));
        }
        cluster.run(Duration::from_secs(1));
        assert_eq!((cluster.engine(0).pool().len(), cluster.score(peer)), (31 * round, 0.0));
    }
}

#[test]
fn a_neighbour_whose_prunes_come_late_is_not_pushed_everything() {
    let mut cluster = Cluster::new(1, 8, 0, 23);
    let (source, slow) = (cluster.hostile(), cluster.hostile());
    let mut bring = |account| {
        let tx = transfer(account, 0);
        cluster.say(source, push(tx.clone()));
        cluster.run(Duration::from_secs(3));
        // Its silence was taken for need long ago.
        cluster.say(slow, Message::Prune(ids(&[&tx])));
        cluster.was_pushed(slow, &tx)
    };
    assert!(bring(0), "nothing is known yet");
    assert!((1..20).filter(|account| bring(*account)).count() < 5);
    // What was pruned once is pruned, however often it is said.
    let pruned = transfer(0, 0);
    let needed = transfer(20, 0);
    cluster.say(slow, Message::IWant(ids(&[&transfer(19, 0)])));
    cluster.say(source, push(needed.clone()));
    cluster.run(Duration::from_secs(3));
    (0..10).for_each(|_| cluster.say(slow, Message::Prune(ids(&[&pruned]))));
    let next = transfer(21, 0);
    cluster.say(source, push(next.clone()));
    assert!(cluster.was_pushed(slow, &needed));
    cluster.run(Duration::from_millis(10));
    assert!(cluster.was_pushed(slow, &next));
}

#[test]
fn what_can_wait_rides_with_a_push() {
    let mut cluster = Cluster::new(1, 8, 0, 21);
    let peers: Vec<_> = (0..4).map(|_| cluster.hostile()).collect();
    let (source, neighbour) = (peers[0], peers[3]);
    // The neighbour does not need what comes from the source.
    let first = transfer(0, 0);
    cluster.say(source, push(first.clone()));
    cluster.run(Duration::from_millis(1));
    cluster.say(neighbour, Message::Prune(ids(&[&first])));
    let second = transfer(1, 0);
    for peer in &peers[..3] {
        cluster.say(*peer, push(second.clone()));
    }
    cluster.run(Duration::from_millis(1));
    cluster.run(Duration::from_millis(610));
    // And brings a third copy in vain.
    let third = transfer(2, 0);
    for peer in &peers[1..] {
        cluster.say(*peer, push(third.clone()));
    }
    let said = cluster.sent_to(neighbour).len();
    assert!(!cluster.was_pushed(neighbour, &second));
    let own = transfer(3, 0);
    cluster.submit(0, &own);
    cluster.run(Duration::from_millis(1));
    let [Message::Push { tx, .. }, Message::IHave(announced), Message::Prune(pruned)] =
        &cluster.sent_to(neighbour)[said..]
    else {
        panic!("{:?}", &cluster.sent_to(neighbour)[said..])
    };
    assert_eq!((tx, announced, pruned), (&own, &ids(&[&second]), &ids(&[&third])));
    // Neither goes again by itself.
    cluster.run(Duration::from_secs(5));
    let again = cluster.sent_to(neighbour);
    let about =
        |message: &Message, tx: ShortId| matches!(message, Message::IHave(of) | Message::Prune(of) if of.contains(&tx));
    for tx in [&second, &third] {
        assert_eq!(again.iter().filter(|message| about(message, tx.short_id())).count(), 1);
    }
}

#[test]
fn third_copies_are_pruned_and_second_ones_of_long_transactions() {
    let mut cluster = Cluster::new(1, 8, 0, 19);
    let peers: Vec<_> = (0..3).map(|_| cluster.hostile()).collect();
    let long = {
        let mut tx = transfer(1, 0).transaction().clone();
        (tx.payload, tx.fee) = (vec![7; 2000].into(), 10_000);
        tx.sign(&account_key(1)).unwrap()
    };
    for (tx, pruned) in [(transfer(0, 0), [false, false, true]), (long, [false, true, true])] {
        for peer in &peers {
            cluster.say(*peer, push(tx.clone()));
        }
        cluster.run(Duration::from_millis(510));
        let told = |peer| cluster.sent_to(peer).contains(&Message::Prune(ids(&[&tx])));
        assert_eq!([told(peers[0]), told(peers[1]), told(peers[2])], pruned);
    }
}

#[test]
fn a_late_second_copy_is_pruned_in_no_hurry_once_the_first_ones_way_is_dependable() {
    let mut cluster = Cluster::new(1, 8, 0, 19);
    let (source, other) = (cluster.hostile(), cluster.hostile());
    let pruned = |cluster: &Cluster, tx: &SignedTx| cluster.sent_to(other).contains(&Message::Prune(ids(&[tx])));
    for account in 0..10 {
        let tx = transfer(account, 0);
        cluster.say(source, push(tx.clone()));
        cluster.run(Duration::from_millis(10));
        cluster.say(other, push(tx.clone()));
        cluster.run(Duration::from_millis(700));
        assert!(!pruned(&cluster, &tx), "{account}: not yet, if ever");
        cluster.run(Duration::from_millis(500));
        assert_eq!(pruned(&cluster, &tx), account >= 7, "{account}");
    }
}

#[test]
fn a_node_that_is_behind_wants_no_second_copy() {
    let mut cluster = Cluster::new(1, 8, 0, 19);
    let peers: Vec<_> = (0..2).map(|_| cluster.hostile()).collect();
    for (nonce, behind) in [(0, false), (1, true), (2, false)] {
        if behind {
            cluster.stall(Duration::from_secs(1));
        }
        let tx = transfer(0, nonce);
        for peer in &peers {
            cluster.say(*peer, push(tx.clone()));
        }
        cluster.run(Duration::from_millis(510));
        let told = |peer| cluster.sent_to(peer).contains(&Message::Prune(ids(&[&tx])));
        assert_eq!([told(peers[0]), told(peers[1])], [false, behind]);
    }
}

#[test]
fn a_congested_link_is_told_ids_when_it_drains() {
    let mut cluster = Cluster::new(1, 8, 0, 12);
    let peer = cluster.hostile();
    cluster.input(0, Input::Congestion { peer, congested: true });
    let txs: Vec<_> = (0..3).map(|i| transfer(i, 0)).collect();
    for tx in &txs {
        cluster.submit(0, tx);
    }
    cluster.run(Duration::from_millis(50));
    let about_txs = |cluster: &Cluster| {
        cluster
            .sent_to(peer)
            .into_iter()
            .filter(|m| matches!(m, Message::Push { .. } | Message::IHave(_)))
            .collect::<Vec<_>>()
    };
    assert_eq!(about_txs(&cluster), []);
    cluster.input(0, Input::Congestion { peer, congested: false });
    assert_eq!(about_txs(&cluster), [Message::IHave(ids(&txs.iter().collect::<Vec<_>>()))]);
    cluster.say(peer, Message::IWant(ids(&[&txs[1]])));
    assert!(cluster.was_pushed(peer, &txs[1]));
}

#[test]
fn what_nobody_shows_to_have_is_announced_again_for_a_while() {
    let mut cluster = Cluster::new(1, 8, 0, 17);
    let (peer, other) = (cluster.hostile(), cluster.hostile());
    let (lost, known) = (transfer(0, 0), transfer(1, 0));
    cluster.submit(0, &lost);
    cluster.submit(0, &known);
    let told = |cluster: &Cluster, tx: &SignedTx| {
        let names = |message: &Message| matches!(message, Message::IHave(ids) if ids.contains(&tx.short_id()));
        cluster.sent_to(peer).iter().filter(|message| names(message)).count()
    };
    cluster.run(Duration::from_secs(29));
    assert!(cluster.was_pushed(peer, &lost));
    let before = (told(&cluster, &lost), told(&cluster, &known));
    cluster.say(other, Message::IHave(ids(&[&known])));
    cluster.run(Duration::from_secs(4));
    assert_eq!((told(&cluster, &lost), told(&cluster, &known)), (before.0 + 1, before.1));
    // Whoever lost it may have it once more, without blame.
    let pushes = |cluster: &Cluster| {
        let is = |message: &Message| matches!(message, Message::Push { tx, .. } if *tx == lost);
        cluster.sent_to(peer).iter().filter(|message| is(message)).count()
    };
    let pushed = pushes(&cluster);
    cluster.say(peer, Message::IWant(ids(&[&lost])));
    assert_eq!((pushes(&cluster), cluster.score(peer)), (pushed + 1, 0.0));
    cluster.run(Duration::from_secs(3600));
    assert_eq!((told(&cluster, &lost), told(&cluster, &known)), (before.0 + 6, before.1));
    assert_eq!(cluster.engine(0).stats().announced_again, 6);
}
