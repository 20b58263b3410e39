//! What a transaction of 250 bytes costs in memory in a pool of 100,000: `cargo bench -p starling-mempool --bench memory`.
//! Fails if it is more than 1 KiB.
//!
//! Counted is everything the pool makes the program ask the allocator for: bytes, decoded form, indexes. What the
//! allocator adds is not.

#![expect(clippy::expect_used, reason = "a benchmark of wrong input is worth nothing")]

use std::{alloc::System, process::ExitCode, time::Duration};

use starling_mempool::{Mempool, Origin, PoolConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

mod txs;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const POOLED: usize = 100_000;
const MOST: usize = 1024;

fn main() -> ExitCode {
    let raw = txs::raw(0, POOLED, 10..100);
    let mut pool = Mempool::new(PoolConfig::default(), 1);
    let region = Region::new(ALLOCATOR);
    for bytes in raw.chunks(64) {
        for tx in txs::checked(bytes) {
            pool.insert(Duration::ZERO, tx, Origin::Peer, 0, &txs::Rich).expect("it is admitted");
        }
    }
    let change = region.change();
    let each = (change.bytes_allocated - change.bytes_deallocated) / pool.len();
    println!("memory per pooled transaction of {} bytes: {each} bytes ({MOST} at most)", txs::BYTES);
    if each > MOST { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
