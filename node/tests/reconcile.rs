//! Comparing pools: engines joined by imagined links that start with different pools, or lose messages on the way.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

#[allow(dead_code, reason = "shared with the tests of the engine")]
mod cluster;

use std::{cell::Cell, collections::BTreeSet, rc::Rc, time::Duration};

use bytes::BytesMut;
use cluster::{Cluster, account_key, address, transfer};
use proptest::prelude::*;
use starling_mempool::GenesisAccount;
use starling_node::engine::{Event, Input};
use starling_wire::{
    BoundedVec, Digest, Fingerprint, GetSymbols, Hello, Kind, Message, NetworkId, NodeId, PROTOCOL_VERSION, ShortId,
    SignedTx, Sketch, Slice,
    limits::MAX_SYMBOLS,
    sketch::{Encoder, Symbol, enough_for},
};

/// Rich accounts; no more than 64 transactions of each fit into a pool.
const ACCOUNTS: u64 = 400;

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
    let peer = hostile(&mut cluster);
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
    assert_eq!(score(&cluster, &peer), 0.0);
}

#[test]
fn pools_that_differ_for_good_cost_a_bounded_number_of_bytes() {
    const SECONDS: u64 = 240;
    let mut cluster = strangers(&[(0..2000).collect()], 15);
    let peer = hostile(&mut cluster);
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

#[test]
fn a_first_answer_has_as_many_symbols_as_are_wanted() {
    let mut cluster = strangers(&[(0..200).collect()], 14);
    let peer = hostile(&mut cluster);
    for (salt, wanted, given) in [(1, 0, 16), (2, 100, 100), (3, 1024, MAX_SYMBOLS)] {
        say(&mut cluster, peer, differing_digest(salt, wanted));
        let answer = cluster.sent.iter().rev().find_map(|(.., message)| match message {
            Message::Sketch(sketch) if sketch.salt == salt => Some(sketch.symbols.len()),
            _ => None,
        });
        assert_eq!(answer, Some(given), "{wanted} symbols are wanted");
    }
}

// Neighbours that mislead.

fn hostile(cluster: &mut Cluster) -> NodeId {
    let peer = cluster.puppet();
    let hello = Hello { version: PROTOCOL_VERSION, network: NetworkId(7), genesis: cluster.genesis.id(), height: 0 };
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
fn symbols_of_no_set_are_charged() {
    let mut cluster = strangers(&[(0..20).collect()], 7);
    let peer = hostile(&mut cluster);
    cluster.run_until("a digest", |c| digest_to(c, &peer).is_some());
    let salt = digest_to(&cluster, &peer).unwrap().salt;
    // Its own symbol, with one of its own transactions in it once more: as though it lacked it.
    let first = |ids: &[ShortId]| Encoder::new(salt, ids.iter().copied()).next_symbols(1)[0];
    let symbol = first(&(0..20).map(|i| tx(i).short_id()).collect::<Vec<_>>());
    let known = first(&[tx(0).short_id()]);
    let twice = Symbol {
        sum: std::array::from_fn(|i| symbol.sum[i] ^ known.sum[i]),
        check: std::array::from_fn(|i| symbol.check[i] ^ known.check[i]),
        count: symbol.count.wrapping_add(1),
    };
    say(&mut cluster, peer, sketch(salt, 21, 0, vec![twice]));
    assert_eq!(score(&cluster, &peer), -25.0);
}

/// Lets node 0 run, and a neighbour answer what it says.
fn answering(
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
                say(cluster, peer, answer);
            }
        }
    }
}

/// A node that misses something which an honest neighbour has, and a hostile neighbour that it knows already.
fn besieged(seed: u64) -> (Cluster, NodeId) {
    let mut cluster = strangers(&[(0..200).collect(), (20..240).collect()], seed);
    let peer = hostile(&mut cluster);
    (cluster, peer)
}

#[test]
fn symbols_that_never_come_apart_are_asked_for_within_bounds_and_delay_nobody() {
    let (mut cluster, peer) = besieged(10);
    let own: Vec<ShortId> = (0..200).map(|i| tx(i).short_id()).collect();
    let (mut encoder, mut sessions, mut most, mut asked) = (None, 0, 0, 0);
    let mut never = |message: &Message| {
        let (salt, count) = match message {
            Message::Digest(digest) => {
                sessions += 1;
                encoder = Some(Encoder::new(digest.salt, own.iter().copied()));
                (digest.salt, 16)
            }
            Message::GetSymbols(request) => (request.salt, request.count.into()),
            _ => return None,
        };
        let encoder = encoder.as_mut()?;
        let from = encoder.made();
        (most, asked) = (most.max(from + count), asked + count);
        // Little seems to differ, and nothing ever comes apart.
        let noise = |symbol: Symbol| Symbol { sum: symbol.sum.map(|byte| byte ^ 0x5a), ..symbol };
        let symbols = encoder.next_symbols(count).into_iter().map(noise).collect();
        Some(sketch(salt, 200, from as u32, symbols))
    };
    answering(&mut cluster, peer, Duration::from_secs(60), |_, message| never(message));
    link(&mut cluster, 0, 1);
    answering(&mut cluster, peer, Duration::from_secs(5), |_, message| never(message));
    assert_eq!((cluster.engine(0).pool().len(), cluster.engine(1).pool().len()), (240, 240));
    assert!(sessions > 10 && most > 1000 && most <= 4096, "{sessions} of up to {most} symbols");
    assert!(asked * Symbol::BYTES <= (1 << 20) + 65 * (16 << 10), "{asked} symbols");
}

#[test]
fn a_neighbour_that_says_it_has_millions_delays_nobody() {
    let (mut cluster, peer) = besieged(11);
    let before = cluster.sent.len();
    let many = |message: &Message| match message {
        Message::Digest(digest) => Some(sketch(digest.salt, u32::MAX, 0, Vec::new())),
        _ => None,
    };
    answering(&mut cluster, peer, Duration::from_secs(20), |_, message| many(message));
    let begun = of_kinds(&cluster.sent[before..], &[Kind::Digest]).len();
    assert!((20..3000).contains(&begun), "{begun} comparisons");
    link(&mut cluster, 0, 1);
    answering(&mut cluster, peer, Duration::from_secs(5), |_, message| many(message));
    assert_eq!((cluster.engine(0).pool().len(), cluster.engine(1).pool().len()), (240, 240));
}

#[test]
fn ids_that_do_not_exist_are_broken_promises() {
    let (mut cluster, peer) = besieged(12);
    let made_up = (0..40).map(|i: u64| ShortId(made_up_id(i)));
    let set: Vec<ShortId> = (0..200).map(|i| tx(i).short_id()).chain(made_up).collect();
    let mut encoder = None;
    answering(&mut cluster, peer, Duration::from_secs(20), |_, message| {
        let (salt, count) = match message {
            Message::Digest(digest) => {
                encoder = Some(Encoder::new(digest.salt, set.iter().copied()));
                (digest.salt, 16)
            }
            Message::GetSymbols(request) => (request.salt, request.count),
            _ => return None,
        };
        let encoder = encoder.as_mut()?;
        let from = encoder.made() as u32;
        Some(sketch(salt, 240, from, encoder.next_symbols(count.into())))
    });
    let asked = cluster.sent.iter().filter(|(.., message)| message.kind() == Kind::IWant).count();
    assert!(
        asked > 3 && score(&cluster, &peer) <= -2.0 * asked as f64 * 0.7,
        "{asked} times: {}",
        score(&cluster, &peer)
    );
}

/// Eight bytes that are no transaction's.
fn made_up_id(i: u64) -> [u8; 8] {
    (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xda94_2042_e4dd_58b5).to_le_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_answered_costs_little_and_delays_nobody(
        answers in proptest::collection::vec(
            proptest::collection::vec((any::<[u8; 8]>(), any::<[u8; 3]>(), 0..4u8, 0..4u8), 0..80),
            1..40,
        ),
        sizes in proptest::collection::vec(prop_oneof![0..400u32, any::<u32>()], 1..10),
        follows: bool,
        seed: u64,
    ) {
        let (mut cluster, peer) = besieged(seed);
        let before = cluster.sent.len();
        let (mut answers, mut sizes) = (answers.into_iter().cycle(), sizes.into_iter().cycle());
        let mut any = |message: &Message| {
            let (salt, from, wanted) = match message {
                Message::Digest(digest) => (digest.salt, 0, 16),
                Message::GetSymbols(request) => (request.salt, request.from, usize::from(request.count)),
                _ => return None,
            };
            let symbols = answers.next()?.into_iter().map(|(sum, check, count, kind)| match kind {
                // One that looks like a single id, of this node's pool, or of none.
                0 => single(salt, tx(u64::from(check[0]) % 200).short_id(), count),
                1 => single(salt, ShortId(sum), count),
                _ => Symbol { sum, check, count },
            });
            let symbols: Vec<Symbol> = if follows { symbols.cycle().take(wanted).collect() } else { symbols.collect() };
            Some(sketch(salt, sizes.next()?, from, symbols))
        };
        answering(&mut cluster, peer, Duration::from_secs(10), |_, message| any(message));
        link(&mut cluster, 0, 1);
        answering(&mut cluster, peer, Duration::from_secs(5), |_, message| any(message));
        prop_assert_eq!((cluster.engine(0).pool().len(), cluster.engine(1).pool().len()), (240, 240));
        let said = bytes(&of_kinds(&cluster.sent[before..], &COMPARING));
        prop_assert!(said < 64 << 10, "{} bytes", said);
    }
}

fn single(salt: u64, id: ShortId, ours: u8) -> Symbol {
    let symbol = Encoder::new(salt, [id]).next_symbols(1)[0];
    if ours.is_multiple_of(2) { symbol } else { Symbol { count: u8::MAX, ..symbol } }
}

#[test]
fn digests_without_end_are_answered_with_a_bounded_number_of_bytes() {
    let mut cluster = strangers(&[(0..200).collect()], 8);
    let peer = hostile(&mut cluster);
    let first = cluster.sent.len();
    for salt in 0..2000 {
        // Those in the first answer cost as much as those that are asked for later.
        let wanted = if salt % 2 == 0 { 0 } else { 1024 };
        say(&mut cluster, peer, differing_digest(salt, wanted));
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

/// Ten ids less than a pool of 200, and none of them known.
fn differing_digest(salt: u64, wanted: u16) -> Message {
    let holds = Fingerprint { count: 190, sum: 1 };
    Message::Digest(Digest { salt, slice: Slice::ALL, holds, wanted })
}
