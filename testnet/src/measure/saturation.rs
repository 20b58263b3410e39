//! The highest rate that a testnet holds, and what signatures alone would allow on the same machine.

use std::{
    fmt, hint,
    num::NonZero,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use serde::Serialize;
use starling_wire::{SignedTx, Unverified, verify};

use super::{punctuality::Punctuality, search::Search};

/// Share of all pairs of transaction and node that must come about for a rate to count as held.
const DELIVERY: f64 = 0.999;

/// Longest time, from when a transaction was due, that 99 % of the pairs of transaction and node may take.
const P99: Duration = Duration::from_secs(1);

/// One rate that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Step {
    /// Transactions per second.
    pub(crate) offered_tps: f64,
    /// Of all that were to be sent, refused ones included.
    pub(crate) delivery_ratio: f64,
    /// From when a transaction was due; `null` if more than 1 % never came.
    pub(crate) p99_ms: Option<f64>,
    /// The most by which a transaction was sent too late. It is in `p99_ms`, too.
    pub(crate) late_ms: f64,
    /// Whether it counts as held.
    pub(crate) held: bool,
}

impl Step {
    /// Judges a rate by how it was kept up with. `late` is the most by which a transaction was sent too late.
    pub(crate) fn new(offered_tps: f64, kept: Punctuality, late: Duration) -> Self {
        let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        Self {
            offered_tps,
            delivery_ratio: kept.delivery_ratio,
            p99_ms: kept.p99.map(ms),
            late_ms: ms(late),
            held: kept.delivery_ratio >= DELIVERY && kept.p99.is_some_and(|p99| p99 <= P99),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = if self.held { "held" } else { "not held" };
        let p99 = self.p99_ms.map_or_else(|| "never".to_owned(), |p99| format!("{p99:.0} ms"));
        let Self { offered_tps, delivery_ratio, late_ms, .. } = self;
        let delivered = delivery_ratio * 100.0;
        write!(
            f,
            "{offered_tps} tx/s: {held} (delivered {delivered:.3} %, p99 {p99}, sent {late_ms:.0} ms late at most)"
        )
    }
}

/// The highest rate held.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Saturation {
    /// In transactions per second; 0 if none was.
    pub(crate) held_tps: f64,
    /// Whether that is the highest rate that could be tried, so that a higher one may be held, too.
    capped: bool,
    /// The median time of checking one signature alone, on an otherwise idle machine.
    verify_us: f64,
    /// The rate at which all cores would do nothing but check each signature once for each node, one by one.
    signature_limit_tps: f64,
    /// The rate held by that limit. Nodes check signatures in batches when they are busy, at half the cost at best, so it
    /// can exceed 1.
    share: f64,
    /// Every rate that was tried, in that order.
    steps: Vec<Step>,
}

impl Saturation {
    /// From what was tried.
    pub(crate) fn new(search: &Search, steps: Vec<Step>, limit: &SignatureLimit) -> Self {
        let held_tps = search.held().unwrap_or_default();
        Self {
            held_tps,
            capped: search.is_capped(),
            verify_us: (limit.verification.as_secs_f64() * 1e7).round() / 10.0,
            signature_limit_tps: (limit.tps * 10.0).round() / 10.0,
            share: crate::figures::rounded(held_tps / limit.tps),
            steps,
        }
    }
}

impl fmt::Display for Saturation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.capped { ", the highest tried" } else { "" };
        write!(
            f,
            "{} tx/s{more}; {:.3} of the {:.0} tx/s that signatures of {} µs allow",
            self.held_tps, self.share, self.signature_limit_tps, self.verify_us
        )
    }
}

/// What signatures alone allow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SignatureLimit {
    verification: Duration,
    /// Transactions per second.
    pub(crate) tps: f64,
}

impl SignatureLimit {
    /// With so many nodes on all of this machine's cores, by the median time of checking each of some transactions alone
    /// with the code that nodes use. Takes that time.
    pub(crate) fn measure(nodes: usize, transactions: impl IntoIterator<Item = SignedTx>) -> anyhow::Result<Self> {
        let mut times = transactions.into_iter().map(timed).collect::<anyhow::Result<Vec<_>>>()?;
        times.sort_unstable();
        let verification = *times.get(times.len() / 2).context("there is no signature to check")?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self::new(cores, nodes, verification.max(Duration::from_nanos(1))))
    }

    fn new(cores: usize, nodes: usize, verification: Duration) -> Self {
        Self { verification, tps: cores as f64 / (nodes as f64 * verification.as_secs_f64()) }
    }
}

fn timed(tx: SignedTx) -> anyhow::Result<Duration> {
    let tx = Unverified::Tx(tx);
    let start = Instant::now();
    let verdict = hint::black_box(verify(tx));
    let time = start.elapsed();
    verdict.map_err(|error| anyhow!("a transaction of this program's own has a bad signature: {error}"))?;
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(delivery_ratio: f64, p99_ms: Option<u64>) -> Step {
        Step::new(100.0, Punctuality { delivery_ratio, p99: p99_ms.map(Duration::from_millis) }, Duration::ZERO)
    }

    #[test]
    fn a_rate_is_held_by_delivery_and_time() {
        for (delivery, p99, held) in [
            (1.0, Some(1_000), true),
            (0.999, Some(1), true),
            (0.998_9, Some(1), false),
            (1.0, Some(1_001), false),
            (1.0, None, false),
        ] {
            assert_eq!(kept(delivery, p99).held, held, "{delivery} {p99:?}");
        }
        let told = kept(0.5, None).to_string();
        assert!(told.starts_with("100 tx/s: not held (delivered 50.000 %, p99 never"), "{told}");
    }

    #[test]
    fn what_is_held_is_told_as_a_share_of_the_limit() {
        // Two cores check 20,000 signatures of 100 µs a second, 2,000 for each of ten nodes.
        let limit = SignatureLimit::new(2, 10, Duration::from_micros(100));
        let mut search = Search::new(500.0, 500.0);
        search.note(500.0, true);
        let saturation = Saturation::new(&search, vec![kept(1.0, Some(20))], &limit);
        let json = serde_json::to_value(&saturation).unwrap();
        assert_eq!((&json["held_tps"], &json["signature_limit_tps"]), (&500.0.into(), &2_000.0.into()));
        assert_eq!((&json["share"], &json["verify_us"], &json["capped"]), (&0.25.into(), &100.0.into(), &true.into()));
        assert_eq!((&json["steps"][0]["p99_ms"], &json["steps"][0]["held"]), (&20.0.into(), &true.into()));
        assert!(saturation.to_string().contains("500 tx/s, the highest tried; 0.250 of the 2000 tx/s"), "{saturation}");
        let none = Saturation::new(&Search::new(1.0, 1.0), Vec::new(), &limit);
        assert_eq!((none.held_tps, none.share, none.capped), (0.0, 0.0, false));
    }
}
