//! Values and their quantiles, as reports tell them.

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest time that is told apart, in microseconds: ten minutes.
const MAX_US: u64 = 600_000_000;

/// Stretch is kept in these parts of one.
const STRETCH_UNIT: f64 = 10_000.0;

/// Largest stretch that is told apart.
const MAX_STRETCH: f64 = 10_000.0;

/// Significant digits kept.
const DIGITS: u8 = 4;

/// Values of which quantiles are wanted.
#[derive(Debug)]
pub(crate) struct Values {
    histogram: Histogram<u64>,
    unit: f64,
}

impl Values {
    /// Times in microseconds, told in milliseconds.
    pub(crate) fn times() -> anyhow::Result<Self> {
        Self::new(MAX_US, 1000.0)
    }

    /// Ratios.
    pub(crate) fn stretches() -> anyhow::Result<Self> {
        Self::new((MAX_STRETCH * STRETCH_UNIT) as u64, STRETCH_UNIT)
    }

    fn new(max: u64, unit: f64) -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_bounds(1, max, DIGITS).context("no histogram can be made")?;
        Ok(Self { histogram, unit })
    }

    /// Adds a time in microseconds.
    pub(crate) fn time(&mut self, us: u32) {
        self.histogram.saturating_record(u64::from(us).max(1));
    }

    /// Adds a time by the delay of the shortest path, which must be above 0; both in microseconds.
    pub(crate) fn stretch(&mut self, time: u32, shortest: u32) {
        let ratio = f64::from(time) / f64::from(shortest);
        self.histogram.saturating_record(((ratio * STRETCH_UNIT).round() as u64).max(1));
    }

    /// A quantile; `None` if there are no values.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        (!self.histogram.is_empty()).then(|| rounded(self.histogram.value_at_quantile(quantile) as f64 / self.unit))
    }

    /// Half of the values are below, and 95 % and 99 % of them.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        let of = |quantile| self.quantile(quantile);
        Some(Quantiles { p50: of(0.50)?, p95: of(0.95)?, p99: of(0.99)?, max: of(1.0)? })
    }
}

/// Quantiles of something.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// Four digits behind the point are enough for a stretch, and more than any other figure deserves.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
