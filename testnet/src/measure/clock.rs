//! Whether this machine's clock was set during a measurement.
//!
//! Each node reads the world's clock once, at its start, and so does a load; from then on they go by the steady one. Set
//! in between, the clock would make every latency from one to the other longer or shorter by as much, and nothing would
//! show it.

use std::{
    error::Error,
    fmt,
    time::{Duration, Instant, SystemTime},
};

/// Most by which the world's clock may leave the steady one at a time: more than it takes to read both, and half of the
/// shortest way that a stretch is told of.
const TOLERANCE: Duration = Duration::from_millis(5);

/// The part of the time passed by which they may be apart besides. Whoever keeps a clock right slews it by up to 500
/// millionths: the steady one with it on Linux, but not everywhere.
const SLEW: u32 = 2_000;

/// The steady and the world's clock of this machine, read together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    steady: Instant,
    world: SystemTime,
}

/// The machine's clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockSet {
    by: Duration,
    back: bool,
}

impl Clocks {
    /// As they are now. Of several readings that counts whose two were closest together: on a busy machine this process may
    /// have to wait for a core between them.
    pub(crate) fn now() -> Self {
        let read = || {
            let (steady, world) = (Instant::now(), SystemTime::now());
            (steady.elapsed(), Self { steady, world })
        };
        (0..8).fold(read(), |best, _| std::cmp::min_by_key(best, read(), |(apart, _)| *apart)).1
    }

    /// Fails if the world's clock was set between these readings and `later` ones.
    pub(crate) fn check(self, later: Self) -> Result<(), ClockSet> {
        let passed = later.steady.duration_since(self.steady);
        let set = match later.world.duration_since(self.world) {
            Ok(told) => ClockSet { by: told.abs_diff(passed), back: told < passed },
            Err(earlier) => ClockSet { by: passed.saturating_add(earlier.duration()), back: true },
        };
        if set.by > TOLERANCE + passed / SLEW { Err(set) } else { Ok(()) }
    }
}

impl fmt::Display for ClockSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, way) = (self.by.as_secs_f64(), if self.back { "back" } else { "forward" });
        write!(
            f,
            "this machine's clock was set {way} by {by:.3} s after the nodes had started, or the machine slept: the \
             times in their traces would not fit those of the load. Measure again, and have nothing set the clock meanwhile"
        )
    }
}

impl Error for ClockSet {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_from_one_that_is_slewed() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let clocks = |steady, world| Clocks { steady: start + ms(steady), world: SystemTime::UNIX_EPOCH + ms(world) };
        let set = |by, back| Err(ClockSet { by: ms(by), back });
        for (steady, world, verdict) in [
            (0, 10_000, Ok(())),
            (1_000, 11_000, Ok(())),
            (1_000, 11_005, Ok(())),
            (1_000, 10_995, Ok(())),
            (1_000, 11_006, set(6, false)),
            (1_000, 10_994, set(6, true)),
            (1_000, 6_000, set(5_000, true)),
            // Slewed by 30 ms in a minute.
            (60_000, 70_035, Ok(())),
            (60_000, 69_965, Ok(())),
            (60_000, 70_036, set(36, false)),
            (60_000, 69_964, set(36, true)),
        ] {
            assert_eq!(clocks(0, 10_000).check(clocks(steady, world)), verdict, "{steady} {world}");
        }
        let told = ClockSet { by: ms(1_250), back: true }.to_string();
        assert!(told.contains("back by 1.250 s") && told.contains("Measure again"), "{told}");
    }
}
