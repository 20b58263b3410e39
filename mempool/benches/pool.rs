//! What a pool of 100,000 transactions of 250 bytes costs in time: `cargo bench -p starling-mempool --bench pool`.
//!
//! The targets, on one core of a virtual machine: 3 µs to insert one, 3 µs to insert one and evict another, 0.5 µs for each
//! transaction given out in the order of blocks.

#![expect(clippy::expect_used, reason = "a benchmark of wrong input is worth nothing")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use starling_mempool::{Mempool, Origin, PoolConfig};
use starling_wire::VerifiedTx;

mod txs;

const POOLED: usize = 100_000;

/// Transactions that come to a filled pool before it is made anew.
const NEW: usize = 10_000;

/// Inserts one at a time of its own, as they come in life.
fn insert(pool: &mut Mempool, number: usize, tx: &VerifiedTx) {
    let now = Duration::from_micros(number as u64);
    let inserted = pool.insert(now, tx.clone(), Origin::Peer, 0, &txs::Rich);
    black_box(inserted.expect("it is admitted"));
}

fn filled(max_count: usize, txs: &[VerifiedTx]) -> Mempool {
    let mut pool = Mempool::new(PoolConfig { max_count, ..PoolConfig::default() }, 1);
    txs.iter().enumerate().for_each(|(number, tx)| insert(&mut pool, number, tx));
    pool
}

/// The time of so many insertions into filled pools. Measured are [`NEW`] at a time: of a few, the first would find cold
/// caches.
fn time(times: u64, max_count: usize, old: &[VerifiedTx], new: &[VerifiedTx]) -> Duration {
    let rounds = times.div_ceil(NEW as u64);
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let mut pool = filled(max_count, old);
        let start = Instant::now();
        new.iter().enumerate().for_each(|(number, tx)| insert(&mut pool, POOLED + number, tx));
        spent += start.elapsed();
    }
    spent.mul_f64(times as f64 / (rounds * NEW as u64) as f64)
}

/// Not in the order of senders, but each sender's in the order of nonces.
fn mixed(txs: Vec<VerifiedTx>) -> Vec<VerifiedTx> {
    let mut rounds: Vec<Vec<VerifiedTx>> = (0..txs::PER_ACCOUNT).map(|_| Vec::new()).collect();
    for (number, tx) in txs.into_iter().enumerate() {
        rounds[number % txs::PER_ACCOUNT].push(tx);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    rounds.iter_mut().for_each(|round| round.shuffle(&mut rng));
    rounds.concat()
}

fn benches(criterion: &mut Criterion) {
    let old = mixed(txs::checked(&txs::raw(0, POOLED, 10..100)));
    let new = mixed(txs::checked(&txs::raw(1_000_000, NEW, 1000..2000)));
    let mut group = criterion.benchmark_group("pool of 100,000");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    group.bench_function("insert", |bencher| {
        bencher.iter_custom(|times| time(times, POOLED + NEW, &old, &new));
    });
    group.bench_function("insert and evict", |bencher| {
        bencher.iter_custom(|times| time(times, POOLED, &old, &new));
    });
    let pool = filled(POOLED, &old);
    group.throughput(Throughput::Elements(POOLED as u64));
    group.bench_function("best, all of it", |bencher| {
        bencher.iter(|| assert_eq!(pool.best().map(black_box).count(), POOLED));
    });
    group.throughput(Throughput::Elements(1000));
    group.bench_function("best, the first 1,000", |bencher| {
        bencher.iter(|| assert_eq!(pool.best().map(black_box).take(1000).count(), 1000));
    });
}

criterion_group!(pool, benches);
criterion_main!(pool);
