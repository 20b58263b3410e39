//! The order of transactions by what they pay: fee per byte, compared exactly, earlier arrivals first among equals.

use std::cmp::{Ordering, Reverse};

use starling_wire::SignedTx;

/// Fee per byte as the fraction it is. Equal fractions are equal however they are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FeeRate {
    fee: u64,
    /// Never 0.
    bytes: u64,
}

impl FeeRate {
    pub(crate) fn of(tx: &SignedTx) -> Self {
        Self { fee: tx.transaction().fee, bytes: (tx.bytes().len() as u64).max(1) }
    }

    #[cfg(test)]
    pub(crate) fn new(fee: u64, bytes: u64) -> Self {
        Self { fee, bytes }
    }

    /// So many times this rate, rounded down to a whole number. Saturates.
    pub(crate) fn scaled(self, times: u128) -> u128 {
        u128::from(self.fee).saturating_mul(times) / u128::from(self.bytes)
    }

    /// The lowest whole number of fee units per byte that is above this rate.
    pub(crate) fn just_above(self) -> u64 {
        (self.fee / self.bytes).saturating_add(1)
    }

    /// The least fee with which a transaction of `bytes` pays at least `percent` more per byte than this, and more
    /// in any case. Saturates, and then no fee is enough.
    pub(crate) fn raised(self, percent: u64, bytes: usize) -> u128 {
        let per_byte = u128::from(self.fee).saturating_mul(bytes as u128);
        let raised = per_byte.saturating_mul(100 + u128::from(percent)).div_ceil(100 * u128::from(self.bytes));
        raised.max(per_byte / u128::from(self.bytes) + 1)
    }
}

impl Ord for FeeRate {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u128::from(self.fee) * u128::from(other.bytes);
        left.cmp(&(u128::from(other.fee) * u128::from(self.bytes)))
    }
}

impl PartialOrd for FeeRate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FeeRate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for FeeRate {}

/// A transaction's place in the order of the whole pool; the greater comes first. No two in a pool are equal.
///
/// Ties go to the earlier arrival and not to the id: an id can be ground until it wins, and a pool in which a
/// newcomer can win a tie can be made to churn for free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) rate: FeeRate,
    arrival: Reverse<u64>,
}

impl Rank {
    /// `arrival` counts the transactions the pool admitted before.
    pub(crate) fn new(tx: &SignedTx, arrival: u64) -> Self {
        Self { rate: FeeRate::of(tx), arrival: Reverse(arrival) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn extremes_are_compared_exactly() {
        let rate = |fee, bytes| FeeRate { fee, bytes };
        assert!(rate(u64::MAX, 33_000) > rate(u64::MAX - 1, 33_000));
        assert!(rate(u64::MAX, 33_000) > rate(u64::MAX, 33_001));
        assert_eq!(rate(1, 2), rate(2, 4));
        let rank = |rate, arrival| Rank { rate, arrival: Reverse(arrival) };
        assert!(rank(rate(1, 2), 0) > rank(rate(2, 4), 1));
        assert!(rank(rate(3, 4), 1) > rank(rate(1, 2), 0));
        assert_eq!(rate(0, 200).raised(10, 200), 1);
        assert_eq!(rate(1000, 200).raised(0, 200), 1001);
        assert!(rate(u64::MAX, 1).raised(u64::MAX, 33_000) > u128::from(u64::MAX));
    }

    proptest! {
        #[test]
        fn raised_is_the_least_that_is_enough(
            fee in 0..=u64::MAX, bytes in 166u64..33_000, percent in 0u64..1000, other in 166u64..33_000,
        ) {
            let old = FeeRate { fee, bytes };
            // The definition: new / other >= old * (100 + percent) / 100, and new / other > old.
            let enough = |new: u128| {
                new * 100 * u128::from(bytes) >= u128::from(fee) * (100 + u128::from(percent)) * u128::from(other)
                    && new * u128::from(bytes) > u128::from(fee) * u128::from(other)
            };
            let least = old.raised(percent, other as usize);
            prop_assert!(enough(least));
            prop_assert!(!enough(least - 1));
        }

        #[test]
        fn just_above_is(fee in 0..=u64::MAX, bytes in 166u64..33_000) {
            let rate = FeeRate { fee, bytes };
            let whole = |fee| FeeRate { fee, bytes: 1 };
            prop_assert!(whole(rate.just_above()) > rate);
            prop_assert!(whole(rate.just_above() - 1) <= rate);
        }
    }
}
