//! How a load was kept up with, by the times at which its transactions were due.
//!
//! Latency as [`super::Spread`] tells it begins when a node has taken a transaction, which flatters a machine that is
//! behind: what is sent too late, waits at the door or is refused is not seen. Here nothing is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use starling_node::net::Delivery;
use starling_wire::ShortId;

/// When and where a transaction was to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// From the start of the load.
    pub(crate) at: Duration,
    /// The node.
    pub(crate) node: usize,
}

/// How a load was kept up with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Punctuality {
    /// Pairs of transaction and node that came about, of all there should be. A transaction that was refused, or was never
    /// sent, is one that no node got.
    pub(crate) delivery_ratio: f64,
    /// Time that 99 % of all pairs of transaction and other node stay below, from when the transaction was due. `None` if
    /// more than 1 % of the pairs never came about, and for a lone node.
    pub(crate) p99: Option<Duration>,
}

impl Punctuality {
    /// From one trace per node, and when the load began, in microseconds since 1970.
    pub(crate) fn new(traces: &[Vec<Delivery>], due: &BTreeMap<ShortId, Due>, start_unix_us: u64) -> Self {
        let mut pairs = 0_u64;
        let mut waits = Vec::with_capacity(due.len() * traces.len());
        for (node, trace) in traces.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for delivery in trace {
                let Some(due) = due.get(&delivery.id).filter(|_| seen.insert(delivery.id)) else { continue };
                pairs += 1;
                if node != due.node {
                    let at = start_unix_us.saturating_add(due.at.as_micros() as u64);
                    waits.push(delivery.unix_us.saturating_sub(at));
                }
            }
        }
        waits.sort_unstable();
        let wanted = due.len() * traces.len().saturating_sub(1);
        let rank = (wanted * 99).div_ceil(100).checked_sub(1);
        let p99 = rank.and_then(|rank| waits.get(rank)).map(|us| Duration::from_micros(*us));
        Self { delivery_ratio: pairs as f64 / (due.len() * traces.len()).max(1) as f64, p99 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(us: u64, id: u8) -> Delivery {
        Delivery { unix_us: us, id: ShortId([id; 8]), from: None }
    }

    fn due(count: u8) -> BTreeMap<ShortId, Due> {
        let at = |number: u8| Due { at: Duration::from_millis(u64::from(number)), node: 0 };
        (0..count).map(|number| (ShortId([number; 8]), at(number))).collect()
    }

    #[test]
    fn time_runs_from_when_a_transaction_was_due() {
        // Due at 5 ms, it entered 900 ms later, and was at the other node 200 ms after that.
        let traces = [vec![line(905_000, 5)], vec![line(1_105_000, 5), line(1_200_000, 5), line(0, 9)]];
        let due = BTreeMap::from([(ShortId([5; 8]), due(6)[&ShortId([5; 8])])]);
        let all = Punctuality::new(&traces, &due, 0);
        assert_eq!(all, Punctuality { delivery_ratio: 1.0, p99: Some(Duration::from_millis(1_100)) });
        assert_eq!(Punctuality::new(&traces, &due, 100_000).p99, Some(Duration::from_secs(1)));
        let alone = Punctuality::new(&traces[..1], &due, 0);
        assert_eq!(alone, Punctuality { delivery_ratio: 1.0, p99: None });
    }

    #[test]
    fn what_never_came_counts_as_late() {
        let full: Vec<Delivery> = (0..200).map(|number| line(u64::from(number) * 1_000 + 10, number)).collect();
        let of = |missing: usize| Punctuality::new(&[full.clone(), full[missing..].to_vec()], &due(200), 0);
        assert_eq!(of(2), Punctuality { delivery_ratio: 0.995, p99: Some(Duration::from_micros(10)) });
        assert_eq!(of(3).p99, None, "more than one percent");
        // Refused at the door: at no node.
        assert_eq!(Punctuality::new(&[full[20..].to_vec(), full[20..].to_vec()], &due(200), 0).delivery_ratio, 0.9);
    }
}
