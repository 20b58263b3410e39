//! What it costs two nodes with 10,000 transactions each to find those that only one of them has:
//! `cargo bench -p starling-wire --bench reconcile`.
//!
//! Symbols are asked for as a node asks for them, by the same functions: where it knows nothing of the neighbour, and
//! where a comparison of other pools before has found as many that differ. Bytes and round trips are printed first. Where
//! 200 differ, `negentropy` (range-based set reconciliation, as Nostr uses it) stands beside them, which compares
//! fingerprints of ever smaller ranges of (time, 32-byte id). It is told the times at which transactions came, equal at
//! both ends, as is best for it.

#![expect(clippy::expect_used, reason = "a benchmark of wrong input is worth nothing")]

use criterion::{Criterion, criterion_group, criterion_main};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use starling_wire::{
    ShortId, TxId,
    limits::MAX_SYMBOLS,
    sketch::{Decoder, Encoder, Progress, Symbol, enough_for},
};

/// Transactions in each pool.
const POOL: u64 = 10_000;

/// Comparisons that means are taken of.
const SALTS: u64 = 50;

/// Symbols in a first answer where nothing is known.
const FIRST: usize = 16;

/// Symbols in a first answer where so many differed before.
fn expecting(differing: usize) -> usize {
    enough_for(differing).clamp(FIRST, MAX_SYMBOLS)
}

/// Bytes besides symbols, frames' headers counted: of a DIGEST, of a SKETCH and of a GET_SYMBOLS.
const DIGEST: usize = 38;
const SKETCH: usize = 25;
const GET_SYMBOLS: usize = 19;

fn id(number: u64) -> TxId {
    TxId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Two pools as numbers from which times and ids follow. Each lacks `each` that the other has; they lie anywhere (`recent`
/// is false) or are the last that came.
fn pools(each: u64, recent: bool) -> [Vec<u64>; 2] {
    let (common, all) = (POOL - each, POOL + each);
    let missing = |number: &u64, side: u64| {
        let place = if recent {
            number.checked_sub(common)
        } else {
            number.is_multiple_of(all / (2 * each)).then(|| number / (all / (2 * each)))
        };
        place.is_some_and(|place| place < 2 * each && place % 2 == side)
    };
    [0, 1].map(|side| (0..all).filter(|number| !missing(number, side)).collect())
}

fn short(pools: &[Vec<u64>; 2]) -> [Vec<ShortId>; 2] {
    pools.each_ref().map(|pool| pool.iter().map(|number| id(*number).short()).collect())
}

/// What a comparison took.
struct Cost {
    bytes: usize,
    trips: usize,
}

/// By coded symbols, of which the first answer has so many.
fn by_symbols(salt: u64, [ours, theirs]: &[Vec<ShortId>; 2], first: usize) -> (usize, Cost) {
    let mut encoder = Encoder::new(salt, theirs.iter().copied());
    let mut decoder = Decoder::new(salt, ours.iter().copied(), theirs.len());
    let (mut bytes, mut trips, mut count) = (DIGEST, 0, first);
    loop {
        trips += 1;
        bytes += SKETCH + count * Symbol::BYTES;
        match decoder.add(&encoder.next_symbols(count)) {
            Progress::Done => break,
            Progress::More => {}
            Progress::Broken => unreachable!("honest symbols"),
        }
        count = decoder.wanted();
        bytes += GET_SYMBOLS;
    }
    let difference = decoder.into_difference();
    (difference.ours.len() + difference.theirs.len(), Cost { bytes, trips })
}

fn storage(ids: &[u64]) -> NegentropyStorageVector {
    let mut storage = NegentropyStorageVector::with_capacity(ids.len());
    for number in ids {
        storage.insert(1_700_000_000 + number / 20, Id::from_byte_array(id(*number).0)).expect("it is open");
    }
    storage.seal().expect("it is open");
    storage
}

/// By ranges.
fn by_ranges(ours: &NegentropyStorageVector, theirs: &NegentropyStorageVector) -> (usize, Cost) {
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
    (have.len() + need.len(), Cost { bytes, trips })
}

/// Prints the means over many salts, where the first answer has as many symbols as `first` says for a salt.
fn print(name: &str, pools: &[Vec<ShortId>; 2], differing: u64, first: impl Fn(u64) -> usize) {
    let costs = (0..SALTS).map(|salt| {
        let (found, cost) = by_symbols(salt, pools, first(salt));
        assert_eq!(found as u64, differing);
        cost
    });
    let costs: Vec<Cost> = costs.collect();
    let mean = |of: fn(&Cost) -> usize| costs.iter().map(of).sum::<usize>() as f64 / SALTS as f64;
    let most = costs.iter().map(|cost| cost.bytes).max().unwrap_or_default();
    println!(
        "{differing} of {POOL} {name}: {:.0} bytes (at most {most}), {:.2} round trips",
        mean(|cost| cost.bytes),
        mean(|cost| cost.trips),
    );
}

fn reconcile(criterion: &mut Criterion) {
    for differing in [6, 20, 200, 1_000] {
        let (now, before) = (short(&pools(differing / 2, false)), short(&pools(differing / 2, true)));
        print("by symbols, nothing known", &now, differing, |_| FIRST);
        // Of other ids, under another salt.
        print("by symbols, as many before", &now, differing, |salt| {
            expecting(by_symbols(salt + SALTS, &before, FIRST).0)
        });
        print("by symbols, a quarter less before", &now, differing, |_| expecting(differing as usize * 3 / 4));
        print("by symbols, a quarter more before", &now, differing, |_| expecting(differing as usize * 5 / 4));
    }
    for (name, recent) in [("differing anywhere", false), ("differing in the last that came", true)] {
        let pools = pools(100, recent);
        let ids = short(&pools);
        print(name, &ids, 200, |_| expecting(200));
        let stores = pools.each_ref().map(|pool| storage(pool));
        let (found, Cost { bytes, trips }) = by_ranges(&stores[0], &stores[1]);
        assert_eq!(found, 200);
        println!("200 of {POOL} {name}: negentropy {bytes} bytes, {trips} round trips");
        let mut group = criterion.benchmark_group(name);
        group.bench_function("symbols", |bencher| bencher.iter(|| by_symbols(1, &ids, expecting(200))));
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
