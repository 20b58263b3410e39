//! What a sample of reports says about the whole network.
//!
//! The number of nodes is estimated by bottom-k, or KMV: with the k-th lowest of n ranks at a fraction h of all possible
//! ones, n is about (k - 1) / h (Bar-Yossef et al.: Counting distinct elements in a data stream, 2002; Beyer et al.: On
//! synopses for distinct-value estimation under multiset operations, 2007). n·h is distributed as a gamma variable of shape
//! k, which gives the interval.

use std::collections::BTreeMap;

use starling_wire::{NodeId, Report, limits::SAMPLE};

use super::sample::Sample;

/// Standard deviations to either side of an estimate: 98 of 100 intervals hold what they are about.
const Z: f64 = 2.326;

/// What one node knows of its network.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The epoch it is about.
    pub epoch: u32,
    /// Whether the reports have stopped coming in: until then it is about those that have come.
    pub settled: bool,
    /// Whether all nodes are in the sample, so that nothing is estimated.
    pub exact: bool,
    /// Reports in the sample.
    pub reports: usize,
    /// The number of nodes that report.
    pub size: Estimate,
    /// By how much the true rank of a quantile may differ from the one that is asked for: the median is the value of a node
    /// with at least `0.5 - rank_error` and at most `0.5 + rank_error` of all nodes below it.
    pub rank_error: f64,
    /// Each figure over the network.
    pub figures: Vec<(Figure, Spread)>,
    /// The program's versions and the share of the nodes that run each.
    pub versions: BTreeMap<[u8; 3], f64>,
    /// Nodes in the sample that signed two different reports; they do not count.
    pub liars: Vec<NodeId>,
}

/// A value and where the true one is, in 98 of 100 cases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The best guess.
    pub value: f64,
    /// The least it may be.
    pub low: f64,
    /// The most it may be.
    pub high: f64,
}

impl Estimate {
    fn exactly(value: f64) -> Self {
        Self { value, low: value, high: value }
    }
}

/// One of the figures in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is described at starling_wire::Figures")]
pub enum Figure {
    Links,
    PoolTxs,
    PoolBytes,
    /// 0 to 1.
    PoolFill,
    /// Per second.
    Admitted,
    /// Per byte.
    Floor,
    FeeP10,
    FeeP50,
    FeeP90,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Links,
        Self::PoolTxs,
        Self::PoolBytes,
        Self::PoolFill,
        Self::Admitted,
        Self::Floor,
        Self::FeeP10,
        Self::FeeP50,
        Self::FeeP90,
    ];

    /// The name in answers and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::PoolTxs => "pool_txs",
            Self::PoolBytes => "pool_bytes",
            Self::PoolFill => "pool_fill",
            Self::Admitted => "admitted_per_s",
            Self::Floor => "floor",
            Self::FeeP10 => "fee_p10",
            Self::FeeP50 => "fee_p50",
            Self::FeeP90 => "fee_p90",
        }
    }

    /// The value, in whole units.
    pub fn of(self, figures: &starling_wire::Figures) -> f64 {
        let thousandths = |value: u32| f64::from(value) / 1e3;
        match self {
            Self::Links => figures.links.into(),
            Self::PoolTxs => figures.pool_txs.into(),
            Self::PoolBytes => figures.pool_bytes.into(),
            Self::PoolFill => thousandths(figures.pool_fill.into()),
            Self::Admitted => thousandths(figures.admitted),
            Self::Floor => thousandths(figures.floor),
            Self::FeeP10 => thousandths(figures.fees[0]),
            Self::FeeP50 => thousandths(figures.fees[1]),
            Self::FeeP90 => thousandths(figures.fees[2]),
        }
    }
}

/// One figure over all nodes. Lies of a share s of the nodes can move a quantile q no further than to one between
/// (q - s) / (1 - s) and q / (1 - s) of the honest nodes, and the middle mean likewise as long as s is below a quarter;
/// the mean and the sum by s times the largest value that a report may have, so trust those among honest nodes only.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// How far the true mean may be from it, in 98 of 100 cases; 0 if it is exact.
    pub mean_error: f64,
    /// The mean of the middle half of the values.
    pub middle_mean: f64,
    /// All nodes' values together: the mean times the number of nodes.
    pub sum: f64,
    /// Lowest in the sample. There may be lower ones, at 1 node in [`SAMPLE`] or so.
    pub min: f64,
    /// Not exceeded by a tenth of the nodes.
    pub p10: f64,
    /// By half.
    pub p50: f64,
    /// By nine tenths.
    pub p90: f64,
    /// Highest in the sample.
    pub max: f64,
    /// This node's own.
    pub own: f64,
    /// Share of the nodes that have less than this node, those that have as much counted half.
    pub own_rank: f64,
}

impl Network {
    /// What a sample says.
    pub(super) fn of(sample: &Sample, settled: bool, own: &starling_wire::Figures) -> Self {
        let reports: Vec<&Report> = sample.reports().map(starling_wire::VerifiedReport::report).collect();
        let size = size(&reports, sample.horizon());
        let exact = sample.horizon().is_none();
        let count = reports.len().max(1) as f64;
        let spreads = Figure::ALL.map(|figure| {
            let values = reports.iter().map(|report| figure.of(&report.figures)).collect();
            (figure, Spread::of(values, figure.of(own), size.value, exact))
        });
        let mut versions = BTreeMap::new();
        for report in &reports {
            *versions.entry(report.program).or_insert(0.0) += 1.0 / count;
        }
        Self {
            epoch: sample.epoch(),
            settled,
            exact,
            reports: reports.len(),
            size,
            rank_error: if exact { 0.0 } else { Z * 0.5 / count.sqrt() },
            figures: spreads.to_vec(),
            versions,
            liars: sample.liars().copied().collect(),
        }
    }
}

/// The number of nodes, given the reports in the order of their ranks.
fn size(reports: &[&Report], horizon: Option<u64>) -> Estimate {
    let Some(horizon) = horizon else { return Estimate::exactly(reports.len() as f64) };
    // With liars left out, fewer than usual may be below the horizon.
    let (k, rank) = match reports.get(SAMPLE - 1) {
        Some(last) => (SAMPLE, last.rank()),
        None => (reports.len() + 1, horizon),
    };
    let (k, h) = (k as f64, (rank as f64 + 1.0) / 2_f64.powi(64));
    let least = reports.len() as f64;
    Estimate {
        value: ((k - 1.0) / h).max(least),
        low: (gamma_quantile(k, -Z) / h).max(least),
        high: (gamma_quantile(k, Z) / h).max(least),
    }
}

/// A quantile of the gamma distribution of shape k, by the quantile of the normal one (Wilson and Hilferty, 1931); good to
/// a thousandth from a shape of ten on.
fn gamma_quantile(k: f64, z: f64) -> f64 {
    k * (1.0 - 1.0 / (9.0 * k) + z / (3.0 * k.sqrt())).max(0.0).powi(3)
}

impl Spread {
    fn of(mut values: Vec<f64>, own: f64, size: f64, exact: bool) -> Self {
        if values.is_empty() {
            return Self { own, ..Self::default() };
        }
        values.sort_by(f64::total_cmp);
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        // Of n nodes k were drawn without putting them back.
        let left = (1.0 - count / size).max(0.0);
        let below = values.partition_point(|value| *value < own) as f64;
        let equal = values.partition_point(|value| *value <= own) as f64 - below;
        Self {
            mean,
            mean_error: if exact { 0.0 } else { Z * (variance / count * left).sqrt() },
            middle_mean: middle_mean(&values),
            sum: mean * size,
            min: values[0],
            p10: quantile(&values, 0.1),
            p50: quantile(&values, 0.5),
            p90: quantile(&values, 0.9),
            max: values[values.len() - 1],
            own,
            own_rank: (below + equal / 2.0) / count,
        }
    }
}

/// The lowest of the sorted values that so many of them do not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted[at.clamp(1, sorted.len()) - 1]
}

/// The mean of the values between the quartiles, those on the border in part.
fn middle_mean(sorted: &[f64]) -> f64 {
    let count = sorted.len() as f64;
    let (from, to) = (count / 4.0, count * 3.0 / 4.0);
    let weight = |at: usize| ((at as f64 + 1.0).min(to) - (at as f64).max(from)).max(0.0);
    sorted.iter().enumerate().map(|(at, value)| weight(at) * value).sum::<f64>() / (to - from)
}

#[cfg(test)]
mod tests {
    use starling_wire::report::rank;

    use super::*;

    fn nodes(count: u32, epoch: u32) -> Vec<u64> {
        let mut ranks: Vec<u64> = (0..count)
            .map(|number| {
                let mut node = NodeId([0; 32]);
                node.0[..4].copy_from_slice(&number.to_le_bytes());
                rank(epoch, &node)
            })
            .collect();
        ranks.sort_unstable();
        ranks
    }

    /// The interval as it is stated, over many epochs.
    #[test]
    fn the_number_of_nodes_is_within_the_interval() {
        for count in [100, 1000, 5000] {
            let epochs = 400;
            let (mut held, mut sum) = (0, 0.0);
            for epoch in 0..epochs {
                let h = (nodes(count, epoch)[SAMPLE - 1] as f64 + 1.0) / 2_f64.powi(64);
                let k = SAMPLE as f64;
                let (low, high) = (gamma_quantile(k, -Z) / h, gamma_quantile(k, Z) / h);
                held += u32::from((low..=high).contains(&f64::from(count)));
                sum += (k - 1.0) / h;
            }
            assert!(held >= 384, "{held} of {epochs} with {count} nodes");
            let mean = sum / f64::from(epochs) / f64::from(count);
            assert!((0.97..1.03).contains(&mean), "{mean} with {count} nodes");
        }
    }

    #[test]
    fn a_spread_is_that_of_its_values() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let spread = Spread::of(values, 25.0, 100.0, true);
        assert_eq!((spread.min, spread.p10, spread.p50, spread.p90, spread.max), (1.0, 10.0, 50.0, 90.0, 100.0));
        assert_eq!((spread.mean, spread.middle_mean, spread.sum, spread.mean_error), (50.5, 50.5, 5050.0, 0.0));
        assert_eq!((spread.own, spread.own_rank), (25.0, 0.245));
        assert_eq!(Spread::of(vec![7.0], 7.0, 1.0, true).middle_mean, 7.0);
        assert_eq!(Spread::of(vec![], 3.0, 0.0, true).own, 3.0);
    }

    #[test]
    fn a_tenth_of_liars_moves_the_middle_by_its_share_at_most() {
        let mut values: Vec<f64> = (1..=900).map(f64::from).collect();
        values.extend([1e9; 100]);
        let spread = Spread::of(values, 0.0, 1000.0, true);
        // 0.5 / 0.9 of the honest values.
        assert_eq!(spread.p50, 500.0);
        assert!((500.0..501.0).contains(&spread.middle_mean), "{}", spread.middle_mean);
        assert!(spread.mean > 1e8, "the mean itself has no protection but the bounds");
    }

    #[test]
    fn quantiles_of_the_gamma_distribution_are_those_in_tables() {
        // Chi-squared with 128 degrees of freedom, halved: 93.37 (1 %) and 168.13 (99 %).
        assert!((gamma_quantile(64.0, -Z) - 93.37 / 2.0).abs() < 0.2, "{}", gamma_quantile(64.0, -Z));
        assert!((gamma_quantile(64.0, Z) - 168.13 / 2.0).abs() < 0.2, "{}", gamma_quantile(64.0, Z));
    }
}
