//! Bytes somebody may use up: so many at once, and so many per second in the long run.

use std::time::Duration;

/// How much a [`Budget`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes at once, after a long rest.
    pub burst: u64,
    /// Bytes per second without end. Not 0.
    pub per_second: u64,
}

/// What was used up so far of an [`Allowance`]; a new one is unused. Time is counted from any fixed start.
///
/// It keeps one number, the time by which what was used up is given back (the "virtual scheduling" form of the leaky
/// bucket, ITU-T I.371 annex A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// In microseconds.
    back_at: u64,
}

impl Budget {
    /// How long to wait until so many bytes may be used; zero if they may be now. `None` if they never may.
    pub fn wait(&self, now: Duration, bytes: usize, allowance: Allowance) -> Option<Duration> {
        let room = allowance.burst.checked_sub(bytes as u64)?;
        let start = self.back_at.saturating_sub(allowance.micros(room));
        Some(Duration::from_micros(start.saturating_sub(micros(now))))
    }

    /// Uses bytes if they may be used now; says whether they were.
    pub fn take(&mut self, now: Duration, bytes: usize, allowance: Allowance) -> bool {
        let may = self.wait(now, bytes, allowance).is_some_and(|wait| wait.is_zero());
        if may {
            self.spend(now, bytes, allowance);
        }
        may
    }

    /// Uses bytes, whether they may be used or not.
    pub fn spend(&mut self, now: Duration, bytes: usize, allowance: Allowance) {
        self.back_at = self.back_at.max(micros(now)).saturating_add(allowance.micros(bytes as u64));
    }
}

impl Allowance {
    /// How long it takes until so many bytes are given.
    fn micros(self, bytes: u64) -> u64 {
        bytes.saturating_mul(1_000_000).div_ceil(self.per_second.max(1))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_a_burst_and_then_its_rate() {
        let allowance = Allowance { burst: 1000, per_second: 100 };
        let at = |seconds| Duration::from_secs(seconds);
        let mut budget = Budget::default();
        assert_eq!(budget.wait(at(0), 1001, allowance), None);
        assert_eq!(budget.wait(at(0), 1000, allowance), Some(at(0)));
        budget.spend(at(0), 700, allowance);
        assert_eq!(budget.wait(at(0), 300, allowance), Some(at(0)));
        budget.spend(at(0), 300, allowance);
        assert_eq!(budget.wait(at(0), 100, allowance), Some(at(1)));
        assert_eq!(budget.wait(at(1), 100, allowance), Some(at(0)));
        // Rest adds nothing beyond the burst.
        budget.spend(at(1_000_000), 900, allowance);
        assert_eq!(budget.wait(at(1_000_000), 200, allowance), Some(at(1)));
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let allowance = Allowance { burst: 1000, per_second: 100 };
        let at = |seconds| Duration::from_secs(seconds);
        let mut budget = Budget::default();
        assert!(!budget.take(at(0), 1001, allowance), "never");
        assert!(budget.take(at(0), 600, allowance));
        assert!(!budget.take(at(0), 500, allowance), "not yet");
        assert!(budget.take(at(0), 400, allowance), "all that was left");
        assert!(!budget.take(at(0), 1, allowance));
        assert!(budget.take(at(1), 100, allowance) && !budget.take(at(1), 1, allowance));
    }
}
