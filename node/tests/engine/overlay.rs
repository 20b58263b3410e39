//! Nodes find each other, and let each other go.

use std::time::Duration;

use starling_node::engine::{Direction, Event, Input, Link, PeerRecord};
use starling_wire::{Goodbye, Message};

use crate::cluster::{Cluster, address, transfer};

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
fn a_crowd_at_the_door_is_told_others_and_leaves_room_for_own_links() {
    let mut cluster = Cluster::new(1, 8, 0, 10);
    for _ in 0..48 {
        cluster.puppet();
    }
    let over = cluster.puppet();
    let said = cluster.sent_to(over);
    assert!(matches!(said[..], [Message::Hello(_), Message::Peers(_), Message::Goodbye(Goodbye::TooManyPeers)]));
    // It may not have heard of that yet.
    cluster.say(over, Message::Hello(cluster.hello()));
    cluster.say(over, Message::GetPeers);
    assert!(!cluster.is_banned(over));
    assert_eq!(cluster.engine(0).links().count(), 48);
    let other = cluster.add(0, None, 0);
    cluster.input(0, Input::AddPeer(address(other)));
    cluster.run(Duration::from_secs(1));
    let own = |link: &Link| link.direction() == Direction::Outgoing && link.is_ready();
    assert_eq!(cluster.engine(0).links().filter(|(_, link)| own(link)).count(), 1);
}

#[test]
fn who_says_nothing_keeps_nobody_out() {
    let mut cluster = Cluster::new(1, 8, 0, 10);
    let neighbours: Vec<_> = (0..24).map(|_| cluster.hostile()).collect();
    let mute: Vec<_> = (0..24).map(|_| cluster.puppet()).collect();
    cluster.run(Duration::from_secs(1));
    let newcomer = cluster.puppet();
    assert!(matches!(cluster.sent_to(newcomer)[..], [Message::Hello(_)]), "welcome");
    let is_gone = |cluster: &Cluster, peer| !cluster.engine(0).links().any(|(id, _)| *id == peer);
    cluster.run(Duration::from_secs(1));
    let gone = mute.iter().filter(|peer| is_gone(&cluster, **peer)).count();
    assert_eq!(gone, 1);
    assert!(!neighbours.iter().any(|peer| is_gone(&cluster, *peer)));
}

#[test]
fn peers_over_the_limit_are_told_others_and_turned_away() {
    let mut cluster = Cluster::new(1, 8, 0, 17);
    let welcome: Vec<_> = (0..24).map(|_| cluster.hostile()).collect();
    let over = cluster.hostile();
    let said = cluster.sent_to(over);
    assert!(matches!(said[said.len() - 2..], [Message::Peers(_), Message::Goodbye(Goodbye::TooManyPeers)]));
    // What it had said before it heard of that is no crime.
    cluster.input(0, Input::PeerRecords { peer: over, records: vec![], bad: 0 });
    cluster.say(over, Message::GetPeers);
    assert!(!cluster.is_banned(over));
    cluster.run(Duration::from_secs(1));
    let ready: Vec<_> = cluster.engine(0).links().filter(|(_, link)| link.is_ready()).map(|(peer, _)| *peer).collect();
    assert!(welcome.iter().all(|peer| ready.contains(peer)) && !ready.contains(&over));
    let about = |event: &Event| matches!(event, Event::LinkUp { peer } | Event::LinkDown { peer } if *peer == over);
    assert!(!cluster.events.iter().any(|(_, _, event)| about(event)), "it never was a link");
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
    cluster.say(peer, Message::Probe(cluster.hello()));
    assert!(matches!(cluster.sent_to(peer)[..], [Message::Hello(_), Message::Peers(_)]));
    cluster.input(0, Input::PeerRecords { peer, records: vec![], bad: 0 });
    cluster.say(peer, Message::Goodbye(Goodbye::TooManyPeers));
    assert!(!cluster.is_banned(peer));
    assert!(!cluster.events.iter().any(|(_, _, event)| matches!(event, Event::LinkUp { .. })));
    // Each is answered with many times its bytes.
    let eager = cluster.puppet();
    cluster.say(eager, Message::Probe(cluster.hello()));
    cluster.say(eager, Message::Probe(cluster.hello()));
    let undecided = cluster.puppet();
    cluster.say(undecided, Message::Probe(cluster.hello()));
    cluster.say(undecided, Message::Hello(cluster.hello()));
    assert!(cluster.is_banned(eager) && cluster.is_banned(undecided));
    // On a link it makes no sense.
    let other = cluster.hostile();
    cluster.say(other, Message::Probe(cluster.hello()));
    assert!(cluster.is_banned(other));
    // Neither does telling of peers without end.
    let loud = cluster.hostile();
    for _ in 0..300 {
        cluster.input(0, Input::PeerRecords { peer: loud, records: vec![], bad: 0 });
    }
    assert!(cluster.is_banned(loud));
}

#[test]
fn records_are_as_old_as_the_world_s_clock_says() {
    let mut cluster = Cluster::new(1, 8, 0, 33);
    let peer = cluster.hostile();
    // This node's clock began at 1970, and the other's is right.
    let now_s = 1_800_000_000;
    let record = PeerRecord { node: peer, seq: now_s, addresses: vec![address(9)], envelope: vec![9].into() };
    let told = || Input::PeerRecords { peer, records: vec![record.clone()], bad: 0 };
    cluster.input(0, told());
    assert_eq!(cluster.engine(0).known_nodes(), 0);
    cluster.input(0, Input::WallClock { unix_ms: now_s * 1000 });
    cluster.run(Duration::from_secs(1));
    cluster.input(0, told());
    assert_eq!(cluster.engine(0).known_nodes(), 1);
}
