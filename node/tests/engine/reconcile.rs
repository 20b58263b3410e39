//! Comparing pools: engines joined by imagined links that start with different pools, or lose messages on the way.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::BytesMut;
use proptest::prelude::*;
use starling_mempool::GenesisAccount;
use starling_node::engine::{Event, Input};
use starling_wire::{
    BoundedVec, Digest, Fingerprint, GetSymbols, Kind, Message, NodeId, ShortId, SignedTx, Sketch, Slice,
    limits::MAX_SYMBOLS,
    sketch::{Encoder, Symbol, enough_for},
};

use crate::cluster::{self, Cluster, account_key, address, transfer};

/// Rich accounts; no more than 64 transactions of each fit into a pool.
const ACCOUNTS: u64 = 400;

/// The `i`th of many transactions; each has a fee of its own.
pub(crate) fn tx(i: u64) -> SignedTx {
    let (account, nonce) = (i % ACCOUNTS, i / ACCOUNTS);
    let mut tx = transfer(account, nonce).transaction().clone();
    tx.fee = 10_000 + i * 7919 % 10_007;
    tx.sign(&account_key(account)).unwrap()
}

/// Nodes that have not met, each with some of the transactions.
pub(crate) fn strangers(pools: &[Vec<u64>], seed: u64) -> Cluster {
    let mut cluster = Cluster::new(0, 0, 0, seed);
    let account = |i| GenesisAccount { id: account_key(i).account(), balance: 1_000_000_000 };
    cluster.genesis.accounts = (0..ACCOUNTS).map(account).collect();
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

pub(crate) fn link(cluster: &mut Cluster, from: usize, to: usize) {
    cluster.input(from, Input::AddPeer(address(to)));
}

pub(crate) fn bytes(messages: &[(usize, usize, Message)]) -> usize {
    messages.iter().map(|(.., message)| message.encode(&mut BytesMut::new())).sum()
}

pub(crate) fn of_kinds(messages: &[(usize, usize, Message)], kinds: &[Kind]) -> Vec<(usize, usize, Message)> {
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

/// The last digest that node 0 sent a neighbour.
pub(crate) fn digest_to(cluster: &Cluster, peer: &NodeId) -> Option<Digest> {
    let to = cluster.index(peer);
    cluster.sent.iter().rev().find_map(|(_, node, message)| match message {
        Message::Digest(digest) if *node == to => Some(*digest),
        _ => None,
    })
}

pub(crate) fn sketch(salt: u64, count: u32, from: u32, symbols: Vec<Symbol>) -> Message {
    Message::Sketch(Sketch { salt, count, from, symbols: BoundedVec::new(symbols).unwrap() })
}

/// Lets node 0 run, and a neighbour answer what it says.
pub(crate) fn answering(
    cluster: &mut Cluster,
    peer: NodeId,
    time: Duration,
    mut answer: impl FnMut(&Cluster, &Message) -> Option<Message>,
) {
    let (to, end, mut read) = (cluster.index(&peer), cluster.now + time, cluster.sent.len());
    while cluster.now < end {
        cluster.run(Duration::from_millis(5));
        while let Some((_, node, message)) = cluster.sent.get(read) {
            read += 1;
            if *node == to
                && let Some(answer) = answer(cluster, message)
            {
                cluster.say(peer, answer);
            }
        }
    }
}

pub(crate) const COMPARING: [Kind; 3] = [Kind::Digest, Kind::Sketch, Kind::GetSymbols];

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
    let met = cluster.sent.len();
    cluster.run(Duration::from_secs(30));
    let sent = &cluster.sent[met..];
    assert!(of_kinds(sent, &COMPARING).iter().all(|message| bytes(std::slice::from_ref(message)) <= 64));
    assert!(of_kinds(sent, &[Kind::Sketch, Kind::IHave, Kind::IWant, Kind::Push]).is_empty());
}

#[test]
fn a_pool_that_does_not_change_is_compared_less_often() {
    let pool: Vec<u64> = (0..50).collect();
    let mut cluster = strangers(&[pool.clone(), pool], 9);
    link(&mut cluster, 0, 1);
    cluster.run(Duration::from_secs(20));
    let begun = |c: &mut Cluster, seconds| {
        let before = c.sent.len();
        c.run(Duration::from_secs(seconds));
        of_kinds(&c.sent[before..], &[Kind::Digest]).len()
    };
    let calm = begun(&mut cluster, 80);
    assert!((12..=36).contains(&calm), "two nodes, once in eight seconds: {calm}");
    // A transaction that gets nowhere by itself is still found at once.
    cluster.filter = Box::new(|_, _, message| !matches!(message, Message::Push { .. } | Message::IHave(_)));
    cluster.submit(0, &tx(50));
    let at = cluster.now;
    cluster.run(Duration::from_secs(1));
    cluster.filter = Box::new(|_, _, _| true);
    cluster.run_until("the transaction", |c| c.engine(1).pool().len() == 51);
    assert!(cluster.now - at < Duration::from_secs(4), "{:?}", cluster.now - at);
    assert!(begun(&mut cluster, 5) >= 5, "and for a while pools are compared as often as under load");
}

#[test]
fn pools_are_compared_less_often_while_nothing_gets_lost() {
    let mut cluster = Cluster::new(6, 8, 0, 22);
    cluster.run(Duration::from_secs(2));
    let mut submitted = 0;
    let mut begun = |c: &mut Cluster, seconds: u64| {
        let before = c.sent.len();
        for _ in 0..seconds * 4 {
            c.submit((submitted % 5) as usize, &transfer(submitted % cluster::ACCOUNTS, submitted / cluster::ACCOUNTS));
            submitted += 1;
            c.run(Duration::from_millis(250));
        }
        of_kinds(&c.sent[before..], &[Kind::Digest]).len() as f64 / (6.0 * seconds as f64)
    };
    begun(&mut cluster, 15);
    let settled = begun(&mut cluster, 60);
    assert!((0.2..0.35).contains(&settled), "once in four seconds: {settled}");
    // One push and announcement in three is lost from now on.
    let number = Cell::new(0u64);
    cluster.filter = Box::new(move |_, _, message| {
        let relays = matches!(message, Message::Push { .. } | Message::IHave(_));
        !relays || !number.replace(number.get() + 1).is_multiple_of(3)
    });
    begun(&mut cluster, 15);
    let lossy = begun(&mut cluster, 30);
    assert!(lossy > 2.0 * settled, "{lossy} {settled}");
    // A neighbour that goes may have had something to send.
    cluster.filter = Box::new(|_, _, _| true);
    begun(&mut cluster, 20);
    let before = begun(&mut cluster, 20);
    cluster.crash(5, Duration::from_secs(1));
    let after = begun(&mut cluster, 8);
    assert!(after > 1.5 * before, "{after} {before}");
}

#[test]
fn nodes_that_are_behind_with_their_work_put_comparisons_off() {
    let begun = |behind: bool| {
        let mut cluster = Cluster::new(2, 8, 0, 26);
        cluster.settle(1);
        let before = cluster.sent.len();
        for i in 0..100 {
            cluster.submit(0, &transfer(i % cluster::ACCOUNTS, i / cluster::ACCOUNTS));
            cluster.stall(Duration::from_millis(if behind { 99 } else { 0 }));
            cluster.run(Duration::from_millis(if behind { 1 } else { 100 }));
        }
        of_kinds(&cluster.sent[before..], &[Kind::Digest]).len()
    };
    let (at_leisure, behind) = (begun(false), begun(true));
    assert!((1..=at_leisure / 2).contains(&behind), "{behind} in ten seconds instead of {at_leisure}");
}

#[test]
fn a_difference_costs_what_it_is_and_not_what_the_pools_are() {
    // 10,000 transactions each, of which 100 on either side are the other's news.
    let (a, b) = ((0..10_000), (0..9_900).chain(10_000..10_100));
    let mut cluster = strangers(&[a.collect(), b.collect()], 2);
    let before = cluster.sent.len();
    link(&mut cluster, 0, 1);
    cluster.run_until("equal pools", |c| (0..2).all(|node| c.engine(node).pool().len() == 10_100));
    // The other may begin a comparison of its own meanwhile: that of the first digest counts.
    let mut compared = of_kinds(&cluster.sent[before..], &COMPARING);
    let first = salt(&compared[0].2);
    compared.retain(|(.., message)| salt(message) == first);
    // An id has 8 bytes; checksum and count of a symbol have 4.
    let bytes = bytes(&compared);
    assert!(bytes <= 200 * Symbol::BYTES * 9 / 5, "{bytes} bytes in {} messages", compared.len());
    let pushed = of_kinds(&cluster.sent[before..], &[Kind::Push]).len();
    assert_eq!(pushed, 200, "nothing is sent that is not missing");

    // Then they are equal, and that takes one message of each side.
    cluster.run(Duration::from_secs(2));
    let before = cluster.sent.len();
    cluster.run(Duration::from_secs(2));
    let compared = of_kinds(&cluster.sent[before..], &COMPARING);
    assert!(!compared.is_empty());
    for message in compared {
        assert_eq!((message.2.kind(), self::bytes(&[message])), (Kind::Digest, 38));
    }
}

#[test]
fn whoever_starts_empty_gets_the_best_first_and_asks_all_neighbours() {
    const ALL: u64 = 20_000;
    let pool: Vec<u64> = (0..ALL).collect();
    let mut cluster = strangers(&[pool.clone(), pool], 3);
    link(&mut cluster, 0, 1);
    cluster.run(Duration::from_secs(2));
    let late = cluster.add(0, None, 3);
    (0..2).for_each(|node| link(&mut cluster, late, node));
    let (at, mut fees) = (cluster.now, (0..ALL).map(|i| tx(i).transaction().fee).collect::<Vec<_>>());
    fees.sort_unstable();
    let threshold = fees[ALL as usize - 1_500];
    cluster.run_until("a thousand", |c| c.engine(late).pool().len() >= 1000);
    let best = cluster.engine(late).pool().iter().filter(|tx| tx.transaction().fee >= threshold).count();
    assert!(best >= 950, "{best} of the first thousand are of the best");
    cluster.run_until("everything", |c| c.engine(late).pool().len() == ALL as usize);
    assert!(cluster.now - at < Duration::from_secs(20), "{:?}", cluster.now - at);
    for node in 0..2 {
        let asked: usize = cluster
            .sent
            .iter()
            .filter(|(from, to, _)| (*from, *to) == (late, node))
            .fold(0, |sum, sent| sum + if let Message::IWant(ids) = &sent.2 { ids.len() } else { 0 });
        assert!(asked < ALL as usize * 3 / 4, "node {node} was asked for {asked}");
    }
    let pushed = cluster.sent.iter().filter(|(_, to, message)| *to == late && message.kind() == Kind::Push).count();
    assert!(pushed < ALL as usize * 11 / 10, "{pushed} pushed");
    assert_eq!(cluster.engine(late).stats().banned, 0);
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
    let mut cluster = strangers(&[], 5);
    for _ in 0..8 {
        cluster.add(3, None, 5);
    }
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

#[test]
fn what_comparisons_found_lately_is_asked_for_at_once() {
    let mut cluster = strangers(&[(0..300).collect()], 13);
    let peer = cluster.hostile();
    cluster.beat(peer);
    let theirs: Vec<ShortId> = (80..300).map(|i| tx(i).short_id()).collect();
    let (mut encoder, mut wanted, mut trips) = (None, Vec::new(), Vec::new());
    // A pool that does not change is compared once in eight seconds.
    answering(&mut cluster, peer, Duration::from_secs(90), |_, message| {
        let (salt, count) = match message {
            Message::Digest(digest) => {
                encoder = Some(Encoder::new(digest.salt, theirs.iter().copied()));
                wanted.push(usize::from(digest.wanted));
                trips.push(1);
                (digest.salt, wanted.last()?.max(&16).to_owned())
            }
            Message::GetSymbols(request) => {
                *trips.last_mut()? += 1;
                (request.salt, request.count.into())
            }
            _ => return None,
        };
        let encoder = encoder.as_mut()?;
        let from = encoder.made() as u32;
        Some(sketch(salt, 220, from, encoder.next_symbols(count)))
    });
    assert!(wanted.len() >= 12 && wanted[0] == 0 && trips[0] > 1, "nothing was known: {wanted:?} {trips:?}");
    let settled = 7..wanted.len();
    assert!(wanted[settled.clone()].iter().all(|wanted| *wanted == enough_for(79)), "{wanted:?}");
    let again = trips[settled.clone()].iter().sum::<usize>() as f64 / settled.len() as f64;
    assert!(again < 2.0, "{trips:?}");

    // Then nothing differs any more, and the neighbour is silent.
    cluster.run(Duration::from_secs(90));
    assert_eq!(digest_to(&cluster, &peer).unwrap().wanted, 0);
    assert_eq!(cluster.score(peer), 0.0);
}

#[test]
fn pools_that_differ_for_good_cost_a_bounded_number_of_bytes() {
    const SECONDS: u64 = 240;
    let mut cluster = strangers(&[(0..2000).collect()], 15);
    let peer = cluster.hostile();
    cluster.beat(peer);
    let theirs: Vec<ShortId> = (1500..2000).map(|i| tx(i).short_id()).collect();
    let (mut encoder, mut asked) = (None, 0);
    for i in 0..SECONDS {
        // A pool that changes, and in which something lacks, is compared every second.
        cluster.submit(0, &tx(2000 + i));
        answering(&mut cluster, peer, Duration::from_secs(1), |_, message| {
            let (salt, count) = match message {
                Message::Digest(digest) => {
                    encoder = Some(Encoder::new(digest.salt, theirs.iter().copied()));
                    (digest.salt, digest.wanted.max(16).into())
                }
                Message::GetSymbols(request) => (request.salt, request.count.into()),
                _ => return None,
            };
            let encoder = encoder.as_mut()?;
            let from = encoder.made() as u32;
            asked += count * Symbol::BYTES;
            Some(sketch(salt, 500, from, encoder.next_symbols(count)))
        });
    }
    // Beside what is wished for come 16 symbols a second.
    let most = (1 << 20) + SECONDS as usize * ((16 << 10) + 16 * Symbol::BYTES);
    assert!(asked > 1 << 20 && asked <= most, "{asked} bytes of symbols");
}

fn are_banned(cluster: &Cluster) -> bool {
    cluster.events.iter().any(|(.., event)| matches!(event, Event::Banned { .. }))
}

#[test]
fn pools_that_refuse_each_other_s_transactions_make_no_enemies() {
    let mut cluster = strangers(&[(0..300).collect(), vec![]], 16);
    for i in 0..300 {
        let mut other = tx(i).transaction().clone();
        other.amount += 1;
        cluster.submit(1, &other.sign(&account_key(i % ACCOUNTS)).unwrap());
    }
    link(&mut cluster, 0, 1);
    let first = cluster.sent.len();
    cluster.run(Duration::from_secs(120));
    assert!([0, 1].iter().all(|i| cluster.engine(*i).pool().len() == 300));
    assert!(!are_banned(&cluster));
    // Each is looked at again after 5, 10, 20 and then 40 seconds.
    let pushes = of_kinds(&cluster.sent[first..], &[Kind::Push]).len();
    assert!((600..=600 * 6).contains(&pushes), "{pushes}");
}

#[test]
fn a_small_pool_and_a_large_one_remain_friends() {
    let mut cluster = strangers(&[(0..5000).collect()], 17);
    cluster.pool.max_count = 200;
    cluster.add(0, None, 17);
    link(&mut cluster, 0, 1);
    for i in 0..100 {
        cluster.submit(0, &tx(5000 + i));
        cluster.run(Duration::from_secs(5));
    }
    assert_eq!((cluster.engine(0).pool().len(), cluster.engine(1).pool().len()), (5100, 200));
    assert!(!are_banned(&cluster));
}

#[test]
fn a_first_answer_has_as_many_symbols_as_are_wanted() {
    let mut cluster = strangers(&[(0..200).collect()], 14);
    let peer = cluster.hostile();
    for (salt, wanted, given) in [(1, 0, 16), (2, 100, 100), (3, 1024, MAX_SYMBOLS)] {
        cluster.say(peer, differing_digest(salt, wanted));
        let answer = cluster.sent.iter().rev().find_map(|(.., message)| match message {
            Message::Sketch(sketch) if sketch.salt == salt => Some(sketch.symbols.len()),
            _ => None,
        });
        assert_eq!(answer, Some(given), "{wanted} symbols are wanted");
    }
}

/// Ten ids less than a pool of 200, and none of them known.
pub(crate) fn differing_digest(salt: u64, wanted: u16) -> Message {
    let holds = Fingerprint { count: 190, sum: 1 };
    Message::Digest(Digest { salt, slice: Slice::ALL, holds, wanted })
}
