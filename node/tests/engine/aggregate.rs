//! The network measures itself: engines joined by imagined links, and hostile neighbours played by the test.

use std::time::Duration;

use starling_mempool::Origin;
use starling_node::engine::{Figure, Input, Network, Saved, Spread};
use starling_wire::{
    BoundedVec, EPOCH_MS, Figures, GenesisId, GetReports, Message, NodeId, Report, ReportDigest, ReportList, SecretKey,
    Signature, SignedReport, VerifiedReport, limits::SAMPLE, report::rank,
};

use crate::cluster::{Cluster, address, genesis, node_key, transfer};

/// An epoch begins at the cluster's time zero.
const EPOCH: u32 = 1000;
const UNIX_MS: u64 = EPOCH as u64 * EPOCH_MS;

/// Nodes that report, with their clocks ahead by so many milliseconds.
fn reporting(ahead: &[u64], dials: usize) -> Cluster {
    let mut cluster = Cluster::empty();
    cluster.reporting = true;
    for ahead in ahead {
        cluster.unix_ms = UNIX_MS + ahead;
        cluster.add(dials, None, 1);
    }
    cluster
}

fn network(cluster: &Cluster, i: usize) -> Network {
    cluster.engine(i).network(cluster.now)
}

fn spread(network: &Network, figure: Figure) -> Spread {
    network.figures.iter().find(|(of, _)| *of == figure).unwrap().1
}

fn run_to(cluster: &mut Cluster, second: u64) {
    cluster.run(Duration::from_secs(second) - cluster.now.since_start());
}

/// Lets a neighbour of node 0 say something, and signatures be checked.
fn say(cluster: &mut Cluster, peer: NodeId, message: Message) {
    cluster.say(peer, message);
    cluster.run(Duration::from_millis(1));
}

fn reports(reports: &[SignedReport]) -> Message {
    Message::Reports(BoundedVec::new(reports.to_vec()).unwrap())
}

fn stranger(number: u64) -> SecretKey {
    SecretKey::insecure_from_name(number, "stranger")
}

fn report(key: &SecretKey, epoch: u32, links: u8, genesis: &GenesisId) -> VerifiedReport {
    Report::sign(epoch, [9, 9, 9], Figures { links, ..Figures::default() }, key, genesis)
}

fn sent(cluster: &Cluster, to: NodeId) -> impl Iterator<Item = &Message> {
    let to = cluster.index(&to);
    cluster.sent.iter().filter(move |(_, other, _)| *other == to).map(|(_, _, message)| message)
}

#[test]
fn few_nodes_are_counted_exactly_and_described() {
    let mut cluster = reporting(&[0; 20], 4);
    cluster.settle(4);
    for (account, node) in [(0, 3), (1, 5)] {
        cluster.submit(node, &transfer(account, 0));
    }
    run_to(&mut cluster, 29);
    for i in 0..20 {
        let network = network(&cluster, i);
        assert!(network.exact && network.settled, "node {i}: {network:?}");
        assert_eq!((network.epoch, network.size.value, network.reports), (EPOCH, 20.0, 20));
        assert!(network.liars.is_empty() && network.versions.len() == 1);
    }
    // The transactions came after most reports of the first epoch, but are in those of the next.
    run_to(&mut cluster, 58);
    let network = network(&cluster, 7);
    assert_eq!(network.epoch, EPOCH + 1);
    let (links, txs) = (spread(&network, Figure::Links), spread(&network, Figure::PoolTxs));
    let degrees: Vec<usize> = (0..20).map(|i| cluster.degree(i)).collect();
    assert_eq!(links.sum, degrees.iter().sum::<usize>() as f64);
    assert_eq!((links.own, links.max), (degrees[7] as f64, *degrees.iter().max().unwrap() as f64));
    assert_eq!((txs.min, txs.p50, txs.max, txs.own_rank), (2.0, 2.0, 2.0, 0.5));
    // Two in 30 seconds, each at every node.
    assert!((0.06..0.08).contains(&spread(&network, Figure::Admitted).p50), "{network:?}");
    assert!(spread(&network, Figure::FeeP50).p50 > 1.0);
}

#[test]
fn of_a_network_above_the_sample_all_nodes_have_the_lowest_ranks() {
    let mut cluster = reporting(&[0; 150], 6);
    cluster.settle(6);
    run_to(&mut cluster, 55);
    let first = network(&cluster, 0);
    assert!(!first.exact && first.reports == SAMPLE && first.epoch == EPOCH + 1);
    let mut ranks: Vec<u64> = (0..150).map(|i| rank(EPOCH + 1, &node_key(i).node())).collect();
    ranks.sort_unstable();
    let h = (ranks[SAMPLE - 1] as f64 + 1.0) / 2_f64.powi(64);
    assert!((first.size.value * h - (SAMPLE - 1) as f64).abs() < 1e-6, "{:?}", first.size);
    for i in 1..150 {
        assert_eq!(network(&cluster, i).size, first.size, "node {i}");
    }
}

#[test]
fn clocks_may_be_seconds_apart() {
    let mut cluster = reporting(&[0, 4_000, 1_000, 3_000, 0, 2_000], 3);
    cluster.settle(3);
    for second in 20..95 {
        run_to(&mut cluster, second);
        for i in 0..6 {
            let network = network(&cluster, i);
            assert_eq!(network.size.value, 6.0, "node {i} in second {second}: {network:?}");
        }
    }
    assert!((0..6).all(|i| cluster.engine(i).stats().liars == 0 && cluster.engine(i).stats().banned == 0));
}

#[test]
fn a_clock_that_is_set_right_is_followed() {
    let mut cluster = reporting(&[0, 0, 3_600_000], 2);
    cluster.settle(2);
    // Whom each asks is drawn at random, and the third has nothing for the others.
    cluster.run_until("two are counted", |cluster| {
        (0..2).all(|i| network(cluster, i).size.value == 2.0 && cluster.engine(i).untimely_reports() > 0)
    });
    assert_eq!(network(&cluster, 2).size.value, 1.0);
    let unix_ms = UNIX_MS + cluster.now.since_start().as_millis() as u64;
    cluster.input(2, Input::WallClock { unix_ms });
    cluster.run_until("all are counted", |cluster| (0..3).all(|i| network(cluster, i).size.value == 3.0));
}

#[test]
fn forged_reports_are_refused_and_charged() {
    let mut cluster = reporting(&[0; 3], 2);
    cluster.settle(2);
    let peer = cluster.hostile();
    // Of another node, of another network, and with a changed signature: none is what its node signed.
    let (victim, own) = (node_key(2), stranger(1));
    let mut of_another = *report(&own, EPOCH, 1, &genesis().id()).signed();
    of_another.report.node = victim.node();
    let foreign = *report(&own, EPOCH, 1, &GenesisId([1; 32])).signed();
    let mut changed = *report(&own, EPOCH, 1, &genesis().id()).signed();
    changed.signature = Signature([3; 64]);
    for (count, forged) in [of_another, foreign, changed].into_iter().enumerate() {
        say(&mut cluster, peer, reports(&[forged]));
        let score = cluster.score(peer);
        assert!((-25.1 * (count + 1) as f64..-24.0 * (count + 1) as f64).contains(&score), "{score}");
    }
    say(&mut cluster, peer, reports(&[of_another, foreign, changed]));
    assert_eq!(cluster.engine(0).stats().banned, 1);
    run_to(&mut cluster, 25);
    let network = network(&cluster, 0);
    assert_eq!((network.size.value, network.liars.len()), (3.0, 0), "nobody is framed");
}

#[test]
fn two_reports_of_one_node_are_kept_as_proof_everywhere_and_do_not_count() {
    let mut cluster = reporting(&[0; 4], 3);
    cluster.settle(3);
    let peer = cluster.hostile();
    let liar = stranger(1);
    let [first, second] = [1, 2].map(|links| *report(&liar, EPOCH, links, &genesis().id()).signed());
    say(&mut cluster, peer, reports(&[first]));
    run_to(&mut cluster, 12);
    assert_eq!(network(&cluster, 2).size.value, 5.0, "one report is believed");
    say(&mut cluster, peer, reports(&[second]));
    run_to(&mut cluster, 25);
    for i in 0..4 {
        let network = network(&cluster, i);
        assert_eq!((network.size.value, &network.liars[..]), (4.0, &[liar.node()][..]), "node {i}");
        assert_eq!(cluster.engine(i).stats().liars, 1);
    }
    assert!(cluster.score(peer) > -1.0, "who brings a proof is not to blame");
    // It can be shown to anybody, and outlives the epoch.
    run_to(&mut cluster, 95);
    let proof = cluster.engine(3).proofs().next().unwrap();
    for report in proof {
        assert_eq!(report.report().node, liar.node());
        assert!(report.signed().verify(genesis().id()).is_ok());
    }
    assert_eq!(network(&cluster, 0).liars, []);
}

#[test]
fn reports_of_other_times_and_unasked_lists_are_passed_over() {
    let mut cluster = reporting(&[0; 2], 1);
    cluster.settle(1);
    let peer = cluster.hostile();
    run_to(&mut cluster, 10);
    for epoch in [EPOCH - 1, EPOCH + 1, 0, u32::MAX] {
        let old = *report(&stranger(1), epoch, 1, &genesis().id()).signed();
        say(&mut cluster, peer, reports(&[old]));
        say(&mut cluster, peer, Message::ReportDigest(ReportDigest { epoch, ceiling: u32::MAX, digest: [1; 8] }));
    }
    assert_eq!(network(&cluster, 0).size.value, 2.0);
    assert_eq!(cluster.engine(0).untimely_reports(), 8);
    let prints = BoundedVec::new(vec![]).unwrap();
    say(&mut cluster, peer, Message::ReportList(ReportList { epoch: EPOCH, ceiling: u32::MAX, salt: 1, prints }));
    assert!(!sent(&cluster, peer).any(|message| matches!(message, Message::Reports(_) | Message::ReportList(_))));
    // Just before the next epoch, a neighbour may be in it already.
    for second in 11..=27 {
        run_to(&mut cluster, second);
        say(&mut cluster, peer, Message::Alive);
    }
    say(&mut cluster, peer, reports(&[*report(&stranger(1), EPOCH + 1, 1, &genesis().id()).signed()]));
    run_to(&mut cluster, 55);
    assert_eq!(network(&cluster, 1).size.value, 3.0);
}

#[test]
fn who_asks_for_too_many_reports_or_brings_too_many_is_held_back() {
    let mut cluster = reporting(&[0; 2], 1);
    cluster.settle(1);
    let peer = cluster.hostile();
    run_to(&mut cluster, 5);
    // Strangers in the order of falling ranks: each would enter the sample when it comes.
    let mut many: Vec<_> = (0..3000).map(|number| report(&stranger(number), EPOCH, 1, &genesis().id())).collect();
    many.sort_by_key(|report| std::cmp::Reverse(report.report().rank()));
    let signed: Vec<SignedReport> = many.iter().map(|report| *report.signed()).collect();
    for chunk in signed.chunks(SAMPLE) {
        say(&mut cluster, peer, reports(chunk));
    }
    assert_eq!(network(&cluster, 0).reports, SAMPLE);
    let lowest = many[many.len() - SAMPLE].report().rank();
    let taken = network(&cluster, 0).size.value;
    let all = (SAMPLE - 1) as f64 / (lowest as f64 / 2_f64.powi(64));
    assert!(taken < all / 2.0, "{taken} of {all}: most were not even looked at");

    let all_prints = BoundedVec::new((0..192).map(|number| number * 341).collect()).unwrap();
    for salt in 0..20_000 {
        say(&mut cluster, peer, Message::GetReports(GetReports { epoch: EPOCH, salt, prints: all_prints.clone() }));
    }
    let answers: usize = sent(&cluster, peer)
        .map(|message| match message {
            Message::Reports(reports) => reports.len(),
            _ => 0,
        })
        .sum();
    assert!(answers < 1000, "{answers}");
    assert!(cluster.engine(0).stats().banned == 1, "it does not stop asking");
}

#[test]
fn a_restarted_node_does_not_contradict_itself() {
    for (remembers, finds_others_at) in [(true, 12), (false, 18)] {
        let mut cluster = reporting(&[0; 5], 4);
        cluster.settle(4);
        run_to(&mut cluster, 10);
        cluster.submit(1, &transfer(0, 0));
        run_to(&mut cluster, 11);
        cluster.crash(4, Duration::from_millis(100));
        run_to(&mut cluster, 12);
        let txs = cluster.engine(4).pool().iter().filter(|_| remembers).map(|tx| (tx.clone(), Origin::Peer)).collect();
        cluster.restart(4, Saved { txs, ..Saved::default() });
        run_to(&mut cluster, finds_others_at);
        cluster.input(4, Input::AddPeer(address(0)));
        run_to(&mut cluster, 55);
        for i in 0..5 {
            let network = network(&cluster, i);
            assert_eq!((network.epoch, network.size.value), (EPOCH + 1, 5.0), "node {i}, {remembers}");
            assert_eq!(cluster.engine(i).stats().liars, 0, "node {i}, {remembers}");
        }
    }
}
