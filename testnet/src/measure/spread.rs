//! How transactions spread, from the nodes' traces.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use hdrhistogram::Histogram;
use starling_node::net::Delivery;
use starling_wire::ShortId;

use crate::{
    figures::Values,
    map::{Distances, Topology, UNREACHABLE},
};

/// Shares of the nodes, in percent, for which the time to reach them is told.
pub(crate) const COVERAGES: [usize; 4] = [50, 90, 99, 100];

/// Shortest way, in microseconds, of which a stretch is told. On a shorter one it would tell of the machine that all
/// nodes share and of its timers, which take a millisecond or two of each way.
const MIN_WAY_US: u32 = 10_000;

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
    /// The same times by the delay of the shortest path through the overlay, for nodes at least [`MIN_WAY_US`] apart.
    /// Empty where delays are not known.
    pub(crate) stretch: Values,
    /// For each transaction that got to all nodes: the time of the last one by the longest of the shortest paths.
    pub(crate) full_stretch: Values,
    /// Pairs of transaction and node, the node it entered at included, for which the trace shows it.
    pub(crate) pairs: u64,
}

/// A transaction at one node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    /// The node's number.
    pub(crate) node: usize,
    /// Microseconds after it entered at its origin.
    pub(crate) wait_us: u64,
    /// The line of the node's trace.
    pub(crate) line: &'a Delivery,
}

/// One transaction as the traces show it.
#[derive(Debug)]
pub(crate) struct Journey<'a> {
    /// Which.
    pub(crate) id: ShortId,
    /// The node it entered at.
    pub(crate) origin: usize,
    /// Where it was when, the origin included, in the order of time; each node once.
    pub(crate) arrivals: Vec<Arrival<'a>>,
}

/// The transactions among `ids` that the traces of all nodes show to enter somewhere, by id; and the pairs of one of
/// `ids` and a node whose trace shows it.
pub(crate) fn journeys<'a>(traces: &'a [Vec<Delivery>], ids: &BTreeSet<ShortId>) -> (Vec<Journey<'a>>, u64) {
    let mut origins = BTreeMap::new();
    let mut lines: BTreeMap<ShortId, BTreeMap<usize, &Delivery>> = BTreeMap::new();
    for (node, trace) in traces.iter().enumerate() {
        for delivery in trace.iter().filter(|delivery| ids.contains(&delivery.id)) {
            if delivery.from.is_none() {
                origins.entry(delivery.id).or_insert((node, delivery.unix_us));
            }
            lines.entry(delivery.id).or_default().entry(node).or_insert(delivery);
        }
    }
    let pairs = lines.values().map(|nodes| nodes.len() as u64).sum();
    let journey = |(id, (origin, start)): (ShortId, (usize, u64))| {
        // Clocks of processes on one machine differ by less than this can tell; never less than nothing.
        let arrival = |(node, line): (&usize, &&'a Delivery)| Arrival {
            node: *node,
            wait_us: line.unix_us.saturating_sub(start),
            line,
        };
        let mut arrivals: Vec<_> = lines[&id].iter().map(arrival).collect();
        arrivals.sort_by_key(|arrival| (arrival.wait_us, arrival.node != origin));
        Journey { id, origin, arrivals }
    };
    (origins.into_iter().map(journey).collect(), pairs)
}

/// Microseconds as ways are told in; an hour fits.
fn us(wait: u64) -> u32 {
    u32::try_from(wait).unwrap_or(u32::MAX)
}

fn times() -> anyhow::Result<Times> {
    Times::new_with_bounds(1, MAX_US, DIGITS).context("no histogram can be made")
}

impl Spread {
    /// From one trace per node. Transactions that are not among `ids` do not count. Nodes have the numbers in `topology`
    /// that they have in `traces`.
    pub(crate) fn new(
        traces: &[Vec<Delivery>],
        ids: &BTreeSet<ShortId>,
        topology: Option<&Topology>,
    ) -> anyhow::Result<Self> {
        let (journeys, pairs) = journeys(traces, ids);
        let mut latency = times()?;
        let mut coverage = [times()?, times()?, times()?, times()?];
        let (mut stretch, mut full_stretch) = (Values::stretches()?, Values::stretches()?);
        let mut distances = Distances::default();
        for Journey { origin, arrivals, .. } in &journeys {
            let shortest = topology.map_or(&[][..], |topology| distances.from(topology, *origin, None));
            let way = |node: usize| shortest.get(node).copied().filter(|way| (MIN_WAY_US..UNREACHABLE).contains(way));
            for Arrival { node, wait_us, .. } in arrivals.iter().filter(|arrival| arrival.node != *origin) {
                latency.saturating_record((*wait_us).max(1));
                if let Some(way) = way(*node) {
                    stretch.stretch(us(*wait_us), way);
                }
            }
            if arrivals.len() == traces.len()
                && let (Some(last), Some(longest)) = (arrivals.last(), (0..traces.len()).filter_map(way).max())
            {
                full_stretch.stretch(us(last.wait_us), longest);
            }
            for (share, times) in COVERAGES.into_iter().zip(&mut coverage) {
                let needed = (share * traces.len()).div_ceil(100);
                if let Some(arrival) = arrivals.get(needed.max(1) - 1) {
                    times.saturating_record(arrival.wait_us.max(1));
                }
            }
        }
        Ok(Self { latency, coverage, stretch, full_stretch, pairs })
    }
}

#[cfg(test)]
mod tests {
    use starling_wire::NodeId;

    use super::*;
    use crate::map::Place;

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
        let spread = Spread::new(&traces, &ids, None).unwrap();
        assert_eq!((spread.pairs, spread.latency.len()), (7, 5));
        assert_eq!([0.2, 0.6, 0.8, 1.0].map(|quantile| ms(&spread.latency, quantile)), [10.0, 30.0, 40.0, 100.0]);
        // Two of four nodes: the one it entered at and the next.
        let halves = &spread.coverage[0];
        assert_eq!((halves.len(), ms(halves, 0.5), ms(halves, 1.0)), (2, 10.0, 40.0));
        let whole = &spread.coverage[3];
        assert_eq!((whole.len(), ms(whole, 1.0)), (1, 30.0), "transaction 2 never got that far");
    }

    #[test]
    fn stretch_is_told_of_ways_that_are_long_enough() {
        // 0 - 1 takes 20 ms, 1 - 2 another 30, and 0 - 3 too little to tell; 3 gets the second transaction never.
        let links = [(0, 1, 20_000, 20_000), (1, 2, 30_000, 30_000), (0, 3, 9_999, 9_999)];
        let topology = Topology::new(4, &links, vec![Place { region: 0, access_us: 0 }; 4]);
        let traces = [
            vec![line(0, 1, true), line(0, 2, true)],
            vec![line(22_000, 1, false), line(40_000, 2, false)],
            vec![line(60_000, 1, false), line(50_000, 2, false)],
            vec![line(50_000, 1, false)],
        ];
        let ids = BTreeSet::from([ShortId([1; 8]), ShortId([2; 8])]);
        let spread = Spread::new(&traces, &ids, Some(&topology)).unwrap();
        let of = |quantile| spread.stretch.quantile(quantile).unwrap();
        assert_eq!([0.25, 0.5, 0.75, 1.0].map(of), [1.0, 1.1, 1.2, 2.0]);
        let full = spread.full_stretch.quantiles().unwrap();
        assert_eq!((full.p50, full.max), (1.2, 1.2), "of the one that got to all");
        let without = Spread::new(&traces, &ids, None).unwrap();
        assert!(without.stretch.quantiles().is_none() && without.full_stretch.quantiles().is_none());
    }

    #[test]
    fn a_lone_node_has_no_latency_but_full_coverage() {
        let spread = Spread::new(&[vec![line(0, 1, true)]], &BTreeSet::from([ShortId([1; 8])]), None).unwrap();
        assert_eq!((spread.pairs, spread.latency.len(), spread.coverage[3].len()), (1, 0, 1));
    }
}
