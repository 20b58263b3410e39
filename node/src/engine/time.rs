//! The engine's clock: whatever its driver says the time is.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// Microseconds since the driver's start. The engine never reads a clock; it is told the time with every input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The driver's start.
    pub const ZERO: Self = Self(0);

    /// The time `since_start` after the driver's start.
    pub fn after(since_start: Duration) -> Self {
        Self(u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX))
    }

    /// How long after the driver's start this is.
    pub fn since_start(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(Self::after(duration).0))
    }
}

impl Sub for Time {
    type Output = Duration;

    /// How long `self` is after `earlier`; zero if it is not.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
