//! Neighbours that mislead those who compare pools with them.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use starling_wire::{
    Digest, GetSymbols, Kind, Message, NodeId, ShortId, Slice,
    sketch::{Encoder, Symbol},
};

use crate::{
    cluster::Cluster,
    reconcile::{COMPARING, answering, bytes, differing_digest, digest_to, link, of_kinds, sketch, strangers, tx},
};

#[test]
fn answers_that_nobody_asked_for_are_waste() {
    let mut cluster = strangers(&[(0..20).collect()], 6);
    let peer = cluster.hostile();
    cluster.say(peer, sketch(1, 5, 0, vec![Symbol::default()]));
    cluster.say(peer, Message::GetSymbols(GetSymbols { salt: 1, from: 0, count: 10 }));
    assert_eq!(cluster.score(peer), -1.0);
    cluster.run_until("a digest", |c| digest_to(c, &peer).is_some());
    let digest = digest_to(&cluster, &peer).unwrap();
    let before = cluster.score(peer);
    cluster.say(peer, sketch(digest.salt, 20, 7, vec![Symbol::default()]));
    assert!(cluster.score(peer) < before, "it begins in the middle");
}

#[test]
fn symbols_of_no_set_are_charged() {
    let mut cluster = strangers(&[(0..20).collect()], 7);
    let peer = cluster.hostile();
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
    cluster.say(peer, sketch(salt, 21, 0, vec![twice]));
    assert_eq!(cluster.score(peer), -25.0);
}

/// A node that misses something which an honest neighbour has, and a hostile neighbour that it knows already.
fn besieged(seed: u64) -> (Cluster, NodeId) {
    let mut cluster = strangers(&[(0..200).collect(), (20..240).collect()], seed);
    let peer = cluster.hostile();
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
fn whoever_offers_nothing_again_and_again_is_not_asked_sooner_for_it() {
    let (mut cluster, peer) = besieged(13);
    let before = cluster.sent.len();
    let nothing = |message: &Message| match message {
        Message::Digest(digest) => Some(sketch(digest.salt, 0, 0, Vec::new())),
        _ => None,
    };
    answering(&mut cluster, peer, Duration::from_secs(10), |_, message| nothing(message));
    let asked = of_kinds(&cluster.sent[before..], &[Kind::Digest]).len();
    assert!((3..30).contains(&asked), "{asked} times in ten seconds");
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
    assert!(asked > 3 && cluster.score(peer) <= -2.0 * asked as f64 * 0.7, "{asked} times: {}", cluster.score(peer));
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
    let peer = cluster.hostile();
    let first = cluster.sent.len();
    for salt in 0..2000 {
        // Those in the first answer cost as much as those that are asked for later.
        let wanted = if salt % 2 == 0 { 0 } else { 1024 };
        cluster.say(peer, differing_digest(salt, wanted));
        cluster.say(peer, Message::GetSymbols(GetSymbols { salt, from: 16, count: 1024 }));
    }
    let sent = bytes(&of_kinds(&cluster.sent[first..], &[Kind::Sketch]));
    assert!(sent < 1 << 20, "{sent} bytes");
    let salts: BTreeSet<u64> = cluster.sent[first..]
        .iter()
        .filter_map(|(.., message)| if let Message::Sketch(sketch) = message { Some(sketch.salt) } else { None })
        .collect();
    assert!(salts.len() < 256, "{} answers", salts.len());
}

#[test]
fn digests_of_what_is_equal_are_not_free() {
    // A narrow slice, with all that there is in it.
    let slice = Slice::new(7, 0).unwrap();
    let inside: Vec<u64> = (0..25_600).filter(|i| slice.contains(&tx(*i).short_id())).collect();
    let mut cluster = strangers(&[inside], 9);
    let (peer, other) = (cluster.hostile(), cluster.hostile());
    let holds = cluster.engine(0).pool().fingerprint(slice);
    assert!(holds.count > 150, "{}", holds.count);
    for salt in 0..3000 {
        cluster.say(peer, Message::Digest(Digest { salt, slice, holds, wanted: 0 }));
    }
    let is_answered = |cluster: &mut Cluster, peer| {
        cluster.say(peer, differing_digest(6000, 0));
        matches!(cluster.sent_to(peer).last(), Some(Message::Sketch(_)))
    };
    assert!(!is_answered(&mut cluster, peer) && is_answered(&mut cluster, other));
    cluster.run(Duration::from_secs(60));
    assert!(is_answered(&mut cluster, peer));
}

#[test]
fn whoever_asks_for_more_of_a_comparison_that_gave_way_to_those_of_others_is_not_to_blame() {
    let mut cluster = strangers(&[(0..200).collect()], 16);
    let peers: Vec<NodeId> = (0..9).map(|_| cluster.hostile()).collect();
    let first = cluster.sent.len();
    for peer in &peers {
        cluster.say(*peer, differing_digest(1, 0));
    }
    for peer in &peers {
        cluster.say(*peer, Message::GetSymbols(GetSymbols { salt: 1, from: 16, count: 16 }));
        assert_eq!(cluster.score(*peer), 0.0);
    }
    assert_eq!(of_kinds(&cluster.sent[first..], &[Kind::Sketch]).len(), 9 + 8, "the oldest gave way");
}
