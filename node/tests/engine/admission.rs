//! What nodes take in: transactions that are submitted or pushed, old ones and bad ones, and what it costs their sender.

use std::time::Duration;

use starling_mempool::Rejection;
use starling_node::engine::Event;
use starling_wire::{BoundedVec, Message, SecretKey, limits::MAX_IDS};

use crate::cluster::{ACCOUNTS, Cluster, forged, ids, long, push, transfer};

#[test]
fn forged_signatures_are_refused_and_their_sender_banned() {
    let mut cluster = Cluster::new(1, 8, 0, 8);
    let peer = cluster.hostile();
    for nonce in 0..5 {
        assert!(!cluster.is_banned(peer));
        cluster.say(peer, push(forged(0, nonce)));
        cluster.run(Duration::from_millis(1));
    }
    assert!(cluster.is_banned(peer));
    assert_eq!(cluster.engine(0).stats().refused.get("bad-signature"), Some(&5));
    // The genuine one, which has the same fields, is not affected.
    let honest = cluster.hostile();
    cluster.say(honest, push(transfer(0, 0)));
    cluster.run(Duration::from_millis(1));
    assert!(cluster.engine(0).pool().contains(&transfer(0, 0).id()));
}

#[test]
fn what_may_be_honest_is_refused_without_blame() {
    let mut cluster = Cluster::new(1, 8, 0, 9);
    let peer = cluster.hostile();
    let poor = {
        let key = SecretKey::from_seed(&[77; 32]);
        let mut tx = transfer(0, 0).transaction().clone();
        tx.sender = key.account();
        tx.sign(&key).unwrap()
    };
    for tx in [poor, transfer(0, 1 << 40)] {
        cluster.say(peer, push(tx));
    }
    let refused = cluster.events.iter().filter(|(_, _, event)| matches!(event, Event::Refused { .. })).count();
    assert_eq!((refused, cluster.score(peer)), (2, 0.0));
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
fn what_came_long_ago_is_not_fetched_again_nor_sent_without_end() {
    let mut cluster = Cluster::new(1, 8, 0, 17);
    let (peer, other) = (cluster.hostile(), cluster.hostile());
    let old = transfer(0, 0);
    cluster.say(peer, push(old.clone()));
    cluster.run(Duration::from_secs(121));
    // Of what came before, only the id is kept from now on.
    cluster.say(peer, push(transfer(1, 0)));
    cluster.run(Duration::from_millis(1));
    cluster.say(other, Message::IHave(ids(&[&old])));
    assert!(!cluster.sent_to(other).contains(&Message::IWant(ids(&[&old]))), "it is in the pool");
    let asked = |cluster: &mut Cluster| {
        let pushed = |message: &Message| matches!(message, Message::Push { tx, .. } if *tx == old);
        let before = cluster.sent_to(other).len();
        cluster.say(other, Message::IWant(ids(&[&old])));
        let answered = cluster.sent_to(other)[before..].iter().any(pushed);
        (answered, cluster.score(other) < 0.0)
    };
    assert_eq!([(); 3].map(|()| asked(&mut cluster)), [(true, false); 3]);
    let again = BoundedVec::new(vec![old.short_id(); MAX_IDS]).unwrap();
    for _ in 0..30 {
        cluster.say(other, Message::IWant(again.clone()));
    }
    assert!(cluster.is_banned(other));
}

#[test]
fn what_expired_is_not_taken_in_again_until_neighbours_have_let_go_of_it() {
    let mut cluster = Cluster::empty();
    (cluster.pool.lifetime, cluster.pool.local_lifetime) = (Duration::from_secs(200), Duration::from_secs(200));
    cluster.add(8, None, 18);
    let (peer, other) = (cluster.hostile(), cluster.hostile());
    let expired = transfer(0, 0);
    cluster.say(peer, push(expired.clone()));
    cluster.run(Duration::from_secs(201));
    assert_eq!((cluster.engine(0).stats().expired, cluster.engine(0).pool().len()), (1, 0));
    let is_asked_for = |cluster: &mut Cluster| {
        cluster.say(other, Message::IHave(ids(&[&expired])));
        cluster.sent_to(other).contains(&Message::IWant(ids(&[&expired])))
    };
    assert!(!is_asked_for(&mut cluster));
    cluster.say(other, push(expired.clone()));
    cluster.run(Duration::from_secs(1));
    assert_eq!((cluster.engine(0).pool().len(), cluster.engine(0).stats().duplicates), (0, 1));
    // Whoever submits it anew reaches everybody later.
    cluster.run(Duration::from_secs(120));
    assert!(is_asked_for(&mut cluster));
    cluster.say(other, push(expired.clone()));
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.engine(0).pool().len(), 1);
    assert!(cluster.was_pushed(peer, &expired), "and it is passed on as a new one");
}

/// Each sender within its own budget; it is what one neighbour brings that is too much.
#[test]
fn a_neighbour_may_have_so_much_replaced_and_no_more() {
    let mut cluster = Cluster::new(1, 8, 0, 18);
    let (peer, other) = (cluster.hostile(), cluster.hostile());
    let (accounts, rounds) = (ACCOUNTS, 3);
    for round in 0..=rounds {
        for account in 0..accounts {
            cluster.say(peer, push(long(account, 0, 40_000 + 8_000 * round)));
            cluster.run(Duration::from_micros(100));
        }
    }
    let refused = |cluster: &Cluster| cluster.engine(0).stats().refused.get("replaced-too-often").copied();
    let replaced = cluster.engine(0).stats().displaced;
    let bytes = long(0, 0, 40_000).bytes().len() as u64;
    assert!((4 << 20..(4 << 20) + (1 << 17)).contains(&(replaced * bytes + bytes)), "{replaced}");
    assert!(refused(&cluster) > Some(0) && cluster.score(peer) == 0.0, "refused without blame");
    // Another neighbour has its own budget.
    let before = refused(&cluster);
    let account = accounts - 1;
    cluster.say(other, push(long(account, 0, 90_000)));
    cluster.run(Duration::from_micros(100));
    assert!(cluster.engine(0).pool().contains(&long(account, 0, 90_000).id()));
    assert_eq!(refused(&cluster), before);
}
