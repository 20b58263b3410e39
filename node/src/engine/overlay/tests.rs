//! The overlay by itself, without an engine.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{seek::SLOW_DIAL, *};

fn node(i: u16) -> NodeId {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&i.to_be_bytes());
    NodeId(id)
}

fn record(i: u16, seq: u64) -> PeerRecord {
    let addresses = vec![Address(vec![4, 50 + (i >> 4) as u8, i as u8 % 16, 1, 1, 6, 0, 1].into())];
    PeerRecord { node: node(i), seq, addresses, envelope: vec![i as u8; 100].into() }
}

fn overlay(dials: usize) -> (Overlay, ChaCha8Rng) {
    let config = OverlayConfig { dials, bootstrap: vec![Address(vec![9].into())], ..Default::default() };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    (Overlay::new(config, node(0), &mut rng), rng)
}

fn link(peers: &mut Peers, i: u16, direction: Direction) {
    peers.insert(Time::ZERO, node(i), direction, Place::default());
    peers.get_mut(&node(i)).unwrap().ready = true;
}

#[test]
fn bootstraps_then_dials_what_it_learned() {
    let (mut overlay, mut rng) = overlay(8);
    let mut peers = Peers::default();
    let plan = overlay.timeout(Time::ZERO, &peers, |_| false, &mut rng);
    assert_eq!(plan.dial, [Candidate { peer: None, addresses: vec![Address(vec![9].into())] }]);
    link(&mut peers, 1, Direction::Outgoing);
    overlay.connected(&node(1), Direction::Outgoing);
    overlay.learn(Time::ZERO, 0, (0..20).map(|i| record(i, 1)).collect(), true, |_| false, &mut rng);
    let plan = overlay.timeout(Time::ZERO, &peers, |peer| *peer == node(5), &mut rng);
    assert_eq!(plan.dial.len(), 7);
    let dialled: Vec<_> = plan.dial.iter().filter_map(|candidate| candidate.peer).collect();
    for never in [0, 1, 5] {
        assert!(!dialled.contains(&node(never)), "itself, a neighbour, a banned node");
    }
    let later = Time::ZERO + Duration::from_millis(100);
    assert_eq!(overlay.timeout(later, &peers, |_| false, &mut rng).dial, [], "all under way");
    overlay.failed(later, Some(&dialled[0]));
    assert!(!overlay.view().any(|peer| *peer == dialled[0]), "who cannot be reached is not passed on");
    let plan = overlay.timeout(later, &peers, |_| false, &mut rng);
    assert_eq!(plan.dial.len(), 1);
    assert_ne!(plan.dial[0].peer, Some(dialled[0]), "backs off");
    let plan = overlay.timeout(later + SLOW_DIAL, &peers, |_| false, &mut rng);
    assert!(!plan.dial.is_empty(), "the slow are not waited for");
}

#[test]
fn most_that_are_asked_were_told_of_by_whom_was_asked_before() {
    let (mut overlay, mut rng) = overlay(8);
    assert_eq!(overlay.draw(&mut rng), None);
    let records = |nodes: std::ops::Range<u16>| nodes.map(|i| record(i, 1)).collect();
    overlay.learn(Time::ZERO, 0, records(1..1000), false, |_| false, &mut rng);
    overlay.learn(Time::ZERO, 0, records(500..510), true, |_| false, &mut rng);
    overlay.learn(Time::ZERO, 0, records(600..999), false, |_| false, &mut rng);
    let drawn: Vec<NodeId> = (0..1000).filter_map(|_| overlay.draw(&mut rng)).collect();
    let told = drawn.iter().filter(|peer| (node(500)..node(510)).contains(peer)).count();
    let members = drawn.iter().filter(|peer| overlay.view.holds(peer)).count();
    assert!((700..800).contains(&told) && members > 200 && drawn.len() == 1000, "{told} and {members}");
    overlay.learn(Time::ZERO, 0, records(1..1000), true, |_| false, &mut rng);
    assert_eq!(overlay.told.len(), MAX_TOLD);
}

#[test]
fn outgoing_links_lead_to_different_networks_if_they_can() {
    let (mut overlay, mut rng) = overlay(8);
    // 100 in one /16, and eight in others.
    let crowd = (1..=100).map(|i| PeerRecord { addresses: record(1, 1).addresses, ..record(i, 1) });
    overlay.learn(Time::ZERO, 0, crowd.chain((200..208).map(|i| record(i, 1))).collect(), true, |_| false, &mut rng);
    let plan = overlay.timeout(Time::ZERO, &Peers::default(), |_| false, &mut rng);
    let dialled = plan.dial.iter().filter_map(|candidate| candidate.peer);
    assert!(dialled.filter(|peer| *peer <= node(100)).count() <= 1);
    assert_eq!(plan.dial.len(), 8);
}

#[test]
fn without_dials_it_looks_for_nobody() {
    let (mut overlay, mut rng) = overlay(0);
    let mut peers = Peers::default();
    overlay.learn(Time::ZERO, 0, (0..50).map(|i| record(i, 1)).collect(), true, |_| false, &mut rng);
    for direction in [Direction::Incoming, Direction::Outgoing] {
        let late = Time::ZERO + Duration::from_secs(3600);
        assert_eq!(overlay.timeout(late, &peers, |_| false, &mut rng), Plan::default());
        assert_eq!(overlay.deadline(), None, "and is not called for nothing");
        link(&mut peers, direction as u16 + 1, direction);
        overlay.connected(&node(direction as u16 + 1), direction);
        overlay.link_lost(Time::ZERO, &peers);
    }
    assert_eq!(overlay.room(Time::ZERO, &peers), Room::Free);
    assert_eq!(overlay.choice(&mut rng).len(), MAX_RECORDS - 1, "others are told of those it knows");
    overlay.set_own(record(0, 1));
    assert_eq!(overlay.choice(&mut rng).len(), MAX_RECORDS);
}

#[test]
fn regular_work_is_done_and_anchors_come_first_after_a_restart() {
    let (mut overlay, mut rng) = overlay(2);
    overlay.restore((1..100).map(|i| record(i, 1)).collect(), &mut rng);
    let mut peers = Peers::default();
    let plan = overlay.timeout(Time::ZERO, &peers, |_| false, &mut rng);
    let dialled: Vec<_> = plan.dial.iter().filter_map(|candidate| candidate.peer).collect();
    assert_eq!(dialled, [node(1), node(2)]);
    for i in [1, 2] {
        link(&mut peers, i, Direction::Outgoing);
        assert!(!overlay.connected(&node(i), Direction::Outgoing), "no probe");
    }
    let (mut exchanges, mut probes, mut rotated) = (0, 0, 0);
    let mut now = Time::ZERO;
    while now < Time::ZERO + Duration::from_secs(3600) {
        now = overlay.deadline().unwrap();
        let plan = overlay.timeout(now, &peers, |_| false, &mut rng);
        assert!(overlay.deadline().unwrap() > now);
        exchanges += usize::from(plan.exchange.is_some());
        for probed in plan.dial.iter().filter_map(|candidate| candidate.peer) {
            assert!(overlay.connected(&probed, Direction::Outgoing));
            probes += 1;
        }
        rotated += usize::from(plan.rotate.is_some());
        assert!(plan.anchors.is_empty() || plan.anchors == [node(1), node(2)]);
    }
    assert!((200..320).contains(&(exchanges + probes)), "{exchanges} and {probes}");
    assert!(probes > 10 * exchanges, "two of a hundred are neighbours");
    assert_eq!(rotated, 0, "both are anchors");
    assert!((300..420).contains(&overlay.samples()), "{}", overlay.samples());
    assert_eq!(overlay.stream.len(), MAX_STREAM);
}

#[test]
fn who_moves_keeps_the_slots_that_are_its_due() {
    let (mut overlay, mut rng) = overlay(8);
    let crowd = || (1..=100).map(|i| PeerRecord { addresses: record(1, 1).addresses, ..record(i, 1) }).collect();
    // All in one /16, and one of them somewhere else, by what it says.
    overlay.learn(Time::ZERO, 0, crowd(), false, |_| false, &mut rng);
    let liar = PeerRecord { addresses: record(200, 1).addresses, ..record(101, 1) };
    overlay.learn(Time::ZERO, 0, vec![liar], false, |_| false, &mut rng);
    let slots = |overlay: &Overlay| overlay.view().filter(|peer| **peer == node(101)).count();
    let lied = slots(&overlay);
    assert!(lied > 40, "{lied} of 128 for one of two networks");
    let truth = PeerRecord { addresses: record(1, 1).addresses, ..record(101, 2) };
    let later = Time::ZERO + Duration::from_secs(3600);
    overlay.learn(later, 0, vec![truth], false, |_| false, &mut rng);
    assert!(slots(&overlay) < 10, "{} for one of 101", slots(&overlay));
    assert_eq!(overlay.view().count(), 128);
}

#[test]
fn a_full_book_keeps_neighbours_and_those_that_were() {
    let (mut overlay, mut rng) = overlay(8);
    let neighbours = || (1..=10).map(|i| record(i, 1)).collect();
    let linked = |peer: &NodeId| (node(1)..=node(10)).contains(peer);
    let others = |from: u16| (from..from + 2000).map(|i| PeerRecord { node: node(i), ..record(i % 2000, 1) }).collect();
    overlay.learn(Time::ZERO, 0, others(1000), false, linked, &mut rng);
    overlay.learn(Time::ZERO, 0, neighbours(), false, linked, &mut rng);
    overlay.given_up(Time::ZERO, &node(1), &mut rng);
    let still = |peer: &NodeId| linked(peer) && *peer != node(1);
    overlay.learn(Time::ZERO, 0, others(3000), false, still, &mut rng);
    overlay.learn(Time::ZERO, 0, others(5000), false, still, &mut rng);
    assert!((1..=10).all(|i| overlay.record(&node(i)).is_some()));
    let kept = (1000..1100).filter(|i| overlay.record(&node(*i)).is_some()).count();
    assert!(kept < 60, "{kept} of 100 others");
}
