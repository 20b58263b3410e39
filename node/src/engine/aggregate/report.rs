//! What this node says of itself.

use starling_mempool::Mempool;
use starling_wire::{Figures, SignedTx, limits::MAX_FILL};

use super::super::time::Time;

/// The program's version: major, minor, patch.
pub(super) fn program() -> [u8; 3] {
    let part = |text: &str| text.parse().unwrap_or(u8::MAX);
    [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH")].map(part)
}

/// The figures of a node with this pool, so many links, and so many thousandths of a transaction admitted per second.
/// Walks through most of the pool.
pub(super) fn figures(pool: &Mempool, now: Time, links: usize, admitted: u32) -> Figures {
    let (config, status) = (pool.config(), pool.status(now.since_start()));
    let share = |part: usize, of: usize| (part as u128 * u128::from(MAX_FILL) / of.max(1) as u128) as u64;
    let fill = share(status.count, config.max_count).max(share(status.bytes, config.max_bytes));
    Figures {
        links: links.try_into().unwrap_or(u8::MAX),
        pool_txs: status.count.try_into().unwrap_or(u32::MAX),
        pool_bytes: status.bytes.try_into().unwrap_or(u32::MAX),
        pool_fill: fill.min(MAX_FILL.into()) as u16,
        admitted,
        floor: thousandths(status.floor, 1),
        fees: fees(pool, status.count),
    }
}

/// Fee per byte that a tenth, half and nine tenths of the pool's transactions do not exceed.
fn fees(pool: &Mempool, count: usize) -> [u32; 3] {
    if count == 0 {
        return [0; 3];
    }
    // The pool gives the highest first.
    let mut from_above = pool.iter();
    let mut passed = 0;
    let mut fees = [90, 50, 10].map(|percent: usize| {
        let at = count - (count * percent).div_ceil(100).max(1);
        let tx = from_above.nth(at.saturating_sub(passed));
        passed = at + 1;
        tx.map(|tx| fee(tx))
    });
    // Of very few, several are one.
    for at in 1..fees.len() {
        fees[at] = fees[at].or(fees[at - 1]);
    }
    fees.reverse();
    let mut fees = fees.map(Option::unwrap_or_default);
    fees.sort_unstable();
    fees
}

fn fee(tx: &SignedTx) -> u32 {
    thousandths(tx.transaction().fee, tx.bytes().len())
}

fn thousandths(amount: u64, of: usize) -> u32 {
    u32::try_from(u128::from(amount) * 1000 / of.max(1) as u128).unwrap_or(u32::MAX)
}
