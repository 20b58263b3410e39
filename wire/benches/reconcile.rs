//! What it costs two nodes with 10,000 transactions each to find the 200 that only one of them has:
//! `cargo bench -p starling-wire --bench reconcile`.
//!
//! Beside coded symbols, in batches as a node asks for them, stands `negentropy` (range-based set reconciliation, as Nostr
//! uses it), which compares fingerprints of ever smaller ranges of (time, 32-byte id). It is told the times at which
//! transactions came, equal at both ends, as is best for it. Bytes and round trips are printed first.

#![expect(clippy::expect_used, reason = "a benchmark of wrong input is worth nothing")]

use criterion::{Criterion, criterion_group, criterion_main};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use starling_wire::{
    TxId,
    sketch::{Decoder, Encoder, Progress, Symbol},
};

const COMMON: u64 = 9_900;
const EACH: u64 = 100;

/// Bytes besides symbols, frames' headers counted: of a DIGEST, of a SKETCH and of a GET_SYMBOLS.
const DIGEST: usize = 36;
const SKETCH: usize = 25;
const GET_SYMBOLS: usize = 19;

fn id(number: u64) -> TxId {
    TxId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// The two pools, as numbers from which times and ids follow. Those that one lacks lie anywhere (`recent` is false) or
/// are the last that came.
fn pools(recent: bool) -> [Vec<u64>; 2] {
    let all = COMMON + 2 * EACH;
    let missing = |number: &u64, side: u64| {
        let place = if recent {
            number.checked_sub(COMMON)
        } else {
            number.is_multiple_of(all / (2 * EACH)).then(|| number / (all / (2 * EACH)))
        };
        place.is_some_and(|place| place < 2 * EACH && place % 2 == side)
    };
    [0, 1].map(|side| (0..all).filter(|number| !missing(number, side)).collect())
}

/// Bytes and round trips by coded symbols.
fn by_symbols(salt: u64, [ours, theirs]: &[Vec<u64>; 2]) -> (usize, usize) {
    let short = |ids: &[u64]| ids.iter().map(|number| id(*number).short()).collect::<Vec<_>>();
    symbols(salt, &short(ours), &short(theirs))
}

fn symbols(salt: u64, ours: &[starling_wire::ShortId], theirs: &[starling_wire::ShortId]) -> (usize, usize) {
    let mut bytes = DIGEST;
    let mut encoder = Encoder::new(salt, theirs.iter().copied());
    let mut decoder = Decoder::new(salt, ours.iter().copied(), theirs.len());
    let (mut count, mut trips) = (16, 0);
    loop {
        trips += 1;
        bytes += SKETCH + count * Symbol::BYTES;
        match decoder.add(&encoder.next_symbols(count)) {
            Progress::Done => break,
            Progress::More => {}
            Progress::Broken => unreachable!("honest symbols"),
        }
        let guess = if trips == 1 { decoder.estimate() * 3 / 4 } else { decoder.estimate() * 4 / 3 };
        count = guess.saturating_sub(decoder.taken()).max(decoder.taken() / 12).max(8);
        bytes += GET_SYMBOLS;
    }
    let difference = decoder.into_difference();
    assert_eq!(difference.ours.len() + difference.theirs.len(), 2 * EACH as usize);
    (bytes, trips)
}

fn storage(ids: &[u64]) -> NegentropyStorageVector {
    let mut storage = NegentropyStorageVector::with_capacity(ids.len());
    for number in ids {
        storage.insert(1_700_000_000 + number / 20, Id::from_byte_array(id(*number).0)).expect("it is open");
    }
    storage.seal().expect("it is open");
    storage
}

/// Bytes and round trips by ranges.
fn by_ranges(ours: &NegentropyStorageVector, theirs: &NegentropyStorageVector) -> (usize, usize) {
    let mut client = Negentropy::borrowed(ours, 0).expect("no limit");
    let mut server = Negentropy::borrowed(theirs, 0).expect("no limit");
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut query = client.initiate().expect("once");
    let (mut bytes, mut trips) = (0, 0);
    loop {
        let answer = server.reconcile(&query).expect("a query");
        bytes += query.len() + answer.len();
        trips += 1;
        match client.reconcile_with_ids(&answer, &mut have, &mut need).expect("an answer") {
            Some(next) => query = next,
            None => break,
        }
    }
    assert_eq!(have.len() + need.len(), 2 * EACH as usize);
    (bytes, trips)
}

fn reconcile(criterion: &mut Criterion) {
    for (name, recent) in [("differing anywhere", false), ("differing in the last that came", true)] {
        let pools = pools(recent);
        let runs: Vec<_> = (0..50).map(|salt| by_symbols(salt, &pools)).collect();
        let mean = |of: fn(&(usize, usize)) -> usize| runs.iter().map(of).sum::<usize>() as f64 / runs.len() as f64;
        let most = runs.iter().map(|(bytes, _)| bytes).max().copied().unwrap_or_default();
        let stores = pools.each_ref().map(|pool| storage(pool));
        let (bytes, trips) = by_ranges(&stores[0], &stores[1]);
        println!(
            "200 of 10,000 {name}: symbols {:.0} bytes (at most {most}), {:.1} round trips; negentropy {bytes} bytes, \
             {trips} round trips",
            mean(|run| run.0),
            mean(|run| run.1),
        );
        let mut group = criterion.benchmark_group(name);
        let short = pools.each_ref().map(|pool| pool.iter().map(|number| id(*number).short()).collect::<Vec<_>>());
        group.bench_function("symbols", |bencher| bencher.iter(|| symbols(1, &short[0], &short[1])));
        // Its storage is kept between comparisons; building it is not counted.
        group.bench_function("negentropy", |bencher| bencher.iter(|| by_ranges(&stores[0], &stores[1])));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = reconcile
}
criterion_main!(benches);
