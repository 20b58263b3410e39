//! How transactions spread, from the nodes' traces.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use hdrhistogram::Histogram;
use starling_node::net::Delivery;
use starling_wire::ShortId;

/// Shares of the nodes, in percent, for which the time to reach them is told.
pub(crate) const COVERAGES: [usize; 4] = [50, 90, 99, 100];

/// Longest time that is told apart, in microseconds: ten minutes.
const MAX_US: u64 = 600_000_000;

/// Significant digits kept of a time.
const DIGITS: u8 = 3;

/// Times, in microseconds.
pub(crate) type Times = Histogram<u64>;

/// How transactions spread.
#[derive(Debug)]
pub(crate) struct Spread {
    /// From the node a transaction entered at to each other node, one value per transaction and other node.
    pub(crate) latency: Times,
    /// From the node a transaction entered at until a share of all nodes, that one included, had it; for each of
    /// [`COVERAGES`], one value per transaction that got so far.
    pub(crate) coverage: [Times; COVERAGES.len()],
    /// Pairs of transaction and node, the node it entered at included, for which the trace shows it.
    pub(crate) pairs: u64,
}

fn times() -> anyhow::Result<Times> {
    Times::new_with_bounds(1, MAX_US, DIGITS).context("no histogram can be made")
}

impl Spread {
    /// From one trace per node. Transactions that are not among `ids` do not count.
    pub(crate) fn new(traces: &[Vec<Delivery>], ids: &BTreeSet<ShortId>) -> anyhow::Result<Self> {
        let mut origins = BTreeMap::new();
        let mut arrivals: BTreeMap<ShortId, BTreeMap<usize, u64>> = BTreeMap::new();
        for (node, trace) in traces.iter().enumerate() {
            for delivery in trace.iter().filter(|delivery| ids.contains(&delivery.id)) {
                if delivery.from.is_none() {
                    origins.entry(delivery.id).or_insert((node, delivery.unix_us));
                }
                arrivals.entry(delivery.id).or_default().entry(node).or_insert(delivery.unix_us);
            }
        }
        let mut latency = times()?;
        let mut coverage = [times()?, times()?, times()?, times()?];
        for (id, (origin, start)) in &origins {
            let mut waits: Vec<u64> = Vec::with_capacity(traces.len());
            for (node, at) in &arrivals[id] {
                // Clocks of processes on one machine differ by less than this can tell; never less than nothing.
                let wait = at.saturating_sub(*start);
                if node != origin {
                    latency.saturating_record(wait.max(1));
                }
                waits.push(wait);
            }
            waits.sort_unstable();
            for (share, times) in COVERAGES.into_iter().zip(&mut coverage) {
                let needed = (share * traces.len()).div_ceil(100);
                if let Some(wait) = waits.get(needed.max(1) - 1) {
                    times.saturating_record((*wait).max(1));
                }
            }
        }
        Ok(Self { latency, coverage, pairs: arrivals.values().map(|nodes| nodes.len() as u64).sum() })
    }
}

#[cfg(test)]
mod tests {
    use starling_wire::NodeId;

    use super::*;

    fn line(us: u64, id: u8, local: bool) -> Delivery {
        Delivery { unix_us: 1_000_000 + us, id: ShortId([id; 8]), from: (!local).then_some(NodeId([9; 32])) }
    }

    fn ms(times: &Times, quantile: f64) -> f64 {
        (times.value_at_quantile(quantile) as f64 / 1000.0).round()
    }

    #[test]
    fn figures_of_traces_made_by_hand() {
        // Transaction 1 enters at node 0 and is at the others after 10, 20 and 30 ms; transaction 2 enters at node 1
        // and never reaches node 3; transaction 3 was not part of the load.
        let traces = [
            vec![line(0, 1, true), line(50_000, 2, false)],
            vec![line(10_000, 1, false), line(10_000, 2, true), line(1, 3, true)],
            vec![line(20_000, 1, false), line(110_000, 2, false)],
            vec![line(30_000, 1, false)],
        ];
        let ids = BTreeSet::from([ShortId([1; 8]), ShortId([2; 8])]);
        let spread = Spread::new(&traces, &ids).unwrap();
        assert_eq!((spread.pairs, spread.latency.len()), (7, 5));
        assert_eq!([0.2, 0.6, 0.8, 1.0].map(|quantile| ms(&spread.latency, quantile)), [10.0, 30.0, 40.0, 100.0]);
        // Two of four nodes: the one it entered at and the next.
        let halves = &spread.coverage[0];
        assert_eq!((halves.len(), ms(halves, 0.5), ms(halves, 1.0)), (2, 10.0, 40.0));
        let whole = &spread.coverage[3];
        assert_eq!((whole.len(), ms(whole, 1.0)), (1, 30.0), "transaction 2 never got that far");
    }

    #[test]
    fn a_lone_node_has_no_latency_but_full_coverage() {
        let spread = Spread::new(&[vec![line(0, 1, true)]], &BTreeSet::from([ShortId([1; 8])])).unwrap();
        assert_eq!((spread.pairs, spread.latency.len(), spread.coverage[3].len()), (1, 0, 1));
    }
}
