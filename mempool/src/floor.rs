//! The price below which a pool that was full takes nothing for a while.
//!
//! As Bitcoin Core's rolling minimum fee (`CTxMemPool::GetMinFee` and `trackPackageRemoved`, `src/txmempool.cpp`): when
//! something is evicted for its price, the floor rises to that price plus the network's minimum, so that what was just
//! thrown out does not come again at once and each round of filling the pool costs more than the one before. It then
//! decays, sooner in a pool that has room, so that nobody can raise it and leave it there.
//!
//! It rises only to what an evicted transaction that could have been included paid: neither an offer that was refused nor
//! the eviction of one with a nonce gap, which nobody would ever have had to pay for, raises it.

use std::time::Duration;

use crate::ordering::FeeRate;

/// How long the floor of a pool that stays at least half full takes to halve. Bitcoin Core's 12 hours
/// (`ROLLING_FEE_HALFLIFE`) are 72 of its blocks and a 28th of the time it keeps transactions; blocks here come every few
/// seconds and the default lifetime is 3 hours, for which these would be 3 and 6 minutes. Longer keeps out for longer what
/// would only be evicted again; shorter lets users back in sooner after a burst, or after somebody's attempt to price them
/// out. From a few block intervals up to a tenth of the lifetime.
pub(crate) const HALF_LIFE: Duration = Duration::from_secs(5 * 60);

/// It decays in so many equal steps per halving, each a product of integers: the same on every machine, and however often
/// it is looked at.
const STEPS: u32 = 16;

/// 2^(-1/16), in 65536ths.
const STEP_NUMERATOR: u128 = 62_757;

/// A fee per byte of 1 as it is kept here.
const ONE: u128 = 1 << 16;

/// How full a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// At least half.
    Half,
    /// At least a quarter.
    Quarter,
    /// Less.
    Little,
}

impl Fill {
    pub(crate) fn of(used: usize, max: usize) -> Self {
        let used = used as u128;
        match max as u128 {
            max if used * 2 >= max => Self::Half,
            max if used * 4 >= max => Self::Quarter,
            _ => Self::Little,
        }
    }

    /// Twice and four times as fast as in a full pool, as in Bitcoin Core.
    fn step(self) -> Duration {
        match self {
            Self::Half => HALF_LIFE / STEPS,
            Self::Quarter => HALF_LIFE / (2 * STEPS),
            Self::Little => HALF_LIFE / (4 * STEPS),
        }
    }
}

/// The floor at a time. The default is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Floor {
    /// Fee per byte, times [`ONE`].
    rate: u128,
    at: Duration,
}

impl Floor {
    /// The floor at a later time in a pool that has been so full since. Below half of `least`, the network's minimum per
    /// byte, it is none.
    pub(crate) fn after(mut self, now: Duration, fill: Fill, least: u64) -> Self {
        while self.rate > 0 && self.at + fill.step() <= now {
            self.at += fill.step();
            self.rate = self.rate * STEP_NUMERATOR / ONE;
            if self.rate * 2 < u128::from(least) * ONE {
                self.rate = 0;
            }
        }
        self
    }

    /// Something was evicted that paid `rate`.
    pub(crate) fn raise(&mut self, now: Duration, rate: FeeRate, least: u64) {
        let rate = rate.scaled(ONE).saturating_add(u128::from(least) * ONE);
        if rate > self.rate {
            *self = Self { rate, at: now };
        }
    }

    pub(crate) fn admits(&self, rate: FeeRate) -> bool {
        self.rate == 0 || rate.scaled(ONE) >= self.rate
    }

    /// The least whole fee per byte that it admits.
    pub(crate) fn per_byte(&self) -> u64 {
        u64::try_from(self.rate.div_ceil(ONE)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_in_its_half_life_however_often_it_is_looked_at() {
        let mut floor = Floor::default();
        floor.raise(Duration::ZERO, FeeRate::new(999, 1), 1);
        assert_eq!(floor.per_byte(), 1000);
        assert!(floor.admits(FeeRate::new(2000, 2)) && !floor.admits(FeeRate::new(1999, 2)));
        let at_once = floor.after(HALF_LIFE, Fill::Half, 1);
        assert_eq!(at_once.per_byte(), 500);
        let mut stepwise = floor;
        for second in 0..=HALF_LIFE.as_secs() {
            stepwise = stepwise.after(Duration::from_secs(second), Fill::Half, 1);
        }
        assert_eq!(stepwise, at_once);
        assert_eq!(floor.after(HALF_LIFE / 2, Fill::Quarter, 1).per_byte(), 500);
        assert_eq!(floor.after(HALF_LIFE / 4, Fill::Little, 1).per_byte(), 500);
        assert_eq!(
            floor.after(HALF_LIFE * 12, Fill::Half, 1),
            Floor { rate: 0, ..floor.after(HALF_LIFE * 12, Fill::Half, 1) }
        );
    }

    #[test]
    fn only_a_higher_price_raises_it() {
        let mut floor = Floor::default();
        floor.raise(Duration::ZERO, FeeRate::new(100, 1), 5);
        let before = floor;
        floor.raise(Duration::from_secs(1), FeeRate::new(100, 1), 5);
        assert_eq!(floor, before);
        floor.raise(Duration::from_secs(1), FeeRate::new(101, 1), 5);
        assert_eq!(floor.per_byte(), 106);
        floor.raise(Duration::ZERO, FeeRate::new(u64::MAX, 1), u64::MAX);
        assert_eq!(floor.per_byte(), u64::MAX);
    }
}
