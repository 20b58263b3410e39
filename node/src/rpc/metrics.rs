//! What the node counts, in one list: `/metrics` and `node_counters` are two ways to write it down.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use starling_mempool::Rejection;

use super::{
    state::{Measured, State},
    views::direction_name,
};
use crate::{
    engine::{Direction, Estimate, Figure, Spread, Time},
    net::{Counters, Flow, NodeHandle, Unavailable},
};

/// Whether a value can fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// It only grows while the node runs. Its name ends in `_total` where it is written down.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Nature {
    fn encode(self, value: u64, encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Counter => ConstCounter::new(value).encode(encoder),
            Self::Gauge => ConstGauge::new(value).encode(encoder),
        }
    }
}

/// The labels of one value, and the value.
type Sample = (Vec<(&'static str, String)>, u64);

/// Values that share a name and differ in their labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    name: &'static str,
    help: &'static str,
    nature: Nature,
    samples: Vec<Sample>,
}

impl Metric {
    /// The name without the ending `_total`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it can fall.
    pub fn nature(&self) -> Nature {
        self.nature
    }

    /// A single value that only grows.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, nature: Nature::Counter, samples: vec![(Vec::new(), value)] }
    }

    /// A single value.
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, nature: Nature::Gauge, samples: vec![(Vec::new(), value)] }
    }
}

/// Reads all counters of a node.
pub async fn collect<S: State>(handle: &NodeHandle<S>) -> Result<Vec<Metric>, Unavailable> {
    let mut metrics = handle.query(of_state).await?;
    metrics.extend(of_wire(handle.counters()));
    Ok(metrics)
}

fn of_state(state: &impl State, now: Time) -> Vec<Metric> {
    let (stats, pool) = (state.stats(), state.pool().status(now.since_start()));
    let refused = Rejection::REASONS.iter().map(|reason| {
        let count = stats.refused.get(reason).copied().unwrap_or_default();
        (vec![("reason", (*reason).to_owned())], count)
    });
    let place = |name: &str, count: usize| (vec![("place", name.to_owned())], count as u64);
    let mut links = BTreeMap::new();
    for link in state.neighbours(now) {
        *links.entry((direction_name(link.direction), link.ready)).or_insert(0) += 1;
    }
    let links = [Direction::Incoming, Direction::Outgoing].into_iter().flat_map(|direction| {
        [false, true].map(|ready| {
            let name = direction_name(direction);
            let labels = vec![("direction", name.to_owned()), ("ready", ready.to_string())];
            (labels, links.get(&(name, ready)).copied().unwrap_or_default())
        })
    });
    let mut metrics = vec![
        Metric::counter("starling_submitted", "Transactions submitted by this node's user", stats.submitted),
        Metric::counter("starling_admitted", "Transactions that entered the pool", stats.admitted),
        Metric {
            name: "starling_refused",
            help: "Transactions from neighbours that were refused",
            nature: Nature::Counter,
            samples: refused.collect(),
        },
        Metric::counter("starling_duplicates", "Transactions that came again", stats.duplicates),
        Metric::counter(
            "starling_passed_over",
            "Transactions passed over because too many signatures were being checked",
            stats.passed_over,
        ),
        Metric::counter(
            "starling_displaced",
            "Transactions that left the pool for a replacement or a better one",
            stats.displaced,
        ),
        Metric::counter(
            "starling_announced_again",
            "Times a transaction submitted here was announced again",
            stats.announced_again,
        ),
        Metric::counter(
            "starling_found_missing",
            "Transactions that comparing pools found missing here, and that were asked for",
            stats.found_missing,
        ),
        Metric::counter("starling_expired", "Transactions that left the pool because of their age", stats.expired),
        Metric::counter(
            "starling_invalidated",
            "Transactions that left the pool because a block made them invalid",
            stats.invalidated,
        ),
        Metric::counter("starling_blocks", "Blocks applied", stats.blocks),
        Metric::counter(
            "starling_liars",
            "Nodes found to have signed two different reports for one epoch",
            stats.liars,
        ),
        Metric::counter("starling_malformed", "Times a neighbour sent bytes that are no message", stats.malformed),
        Metric::counter(
            "starling_wrong_network",
            "Peers of another network, genesis or protocol version",
            stats.wrong_network,
        ),
        Metric::counter("starling_turned_away", "Peers turned away because there were enough links", stats.turned_away),
        Metric::counter("starling_evicted", "Incoming links given up for newcomers", stats.evicted),
        Metric::counter("starling_rotated", "Outgoing links given up for others", stats.rotated),
        Metric::counter("starling_suspected", "Times a neighbour was taken for dead", stats.suspected),
        Metric::counter("starling_revived", "Times one that was taken for dead was heard again", stats.revived),
        Metric::counter("starling_banned", "Bans", stats.banned),
        Metric {
            name: "starling_pool_transactions",
            help: "Transactions in the pool",
            nature: Nature::Gauge,
            samples: vec![place("pending", pool.pending), place("queued", pool.queued)],
        },
        Metric::gauge("starling_pool_bytes", "Bytes of the transactions in the pool", pool.bytes as u64),
        Metric::gauge("starling_pool_floor", "Lowest fee per byte that would be admitted now", pool.floor),
        Metric {
            name: "starling_links",
            help: "Neighbours, by who connected and whether both have said hello",
            nature: Nature::Gauge,
            samples: links.collect(),
        },
    ];
    metrics.extend(state.network(now).map(of_network).into_iter().flatten());
    let height = state.chain().map(|chain| chain.height());
    metrics.extend(
        height.map(|height| Metric::gauge("starling_chain_height", "Height of the last applied block", height)),
    );
    metrics.extend(state.more_metrics());
    metrics
}

/// Figures of the whole network are in whole numbers, like all here: `net_aggregates` has them in full.
fn of_network(Measured { network, untimely, .. }: Measured) -> Vec<Metric> {
    let Estimate { value, low, high } = network.size;
    let bound = |name: &str, value: f64| (vec![("bound", name.to_owned())], value.round() as u64);
    let mut metrics = vec![
        Metric {
            name: "starling_network_nodes",
            help: "Nodes of the whole network: the estimate, and the least and the most it may be",
            nature: Nature::Gauge,
            samples: vec![bound("estimate", value), bound("low", low), bound("high", high)],
        },
        Metric::gauge("starling_network_reports", "Reports in the sample of the network", network.reports as u64),
        Metric::gauge(
            "starling_network_liars",
            "Nodes in the sample that contradict themselves",
            network.liars.len() as u64,
        ),
        Metric::counter("starling_untimely", "Messages about reports that were about another time", untimely),
    ];
    let quantiles = |spread: &Spread, scale: f64| {
        [("p10", spread.p10), ("p50", spread.p50), ("p90", spread.p90)]
            .map(|(name, value)| (vec![("quantile", name.to_owned())], (value * scale).round() as u64))
            .to_vec()
    };
    let shown = [
        (
            Figure::PoolTxs,
            "starling_network_pool_transactions",
            "Transactions in the pools of the network's nodes",
            1.0,
        ),
        (Figure::PoolFill, "starling_network_pool_fill", "How full the pools are, in thousandths", 1e3),
        (Figure::Admitted, "starling_network_admitted", "Thousandths of transactions that nodes admit per second", 1e3),
        (Figure::Floor, "starling_network_floor", "Lowest fee per byte that nodes admit, in thousandths", 1e3),
        (Figure::FeeP50, "starling_network_fee", "Median fee per byte in the pools, in thousandths", 1e3),
    ];
    for (figure, name, help, scale) in shown {
        let spread = network.figures.iter().find(|(of, _)| *of == figure).map(|(_, spread)| spread);
        let samples = spread.map(|spread| quantiles(spread, scale)).unwrap_or_default();
        metrics.push(Metric { name, help, nature: Nature::Gauge, samples });
    }
    metrics
}

fn of_wire(counters: &Counters) -> Vec<Metric> {
    let mut frames: (Vec<Sample>, Vec<Sample>) = Default::default();
    for count in counters.frames() {
        let labels = vec![("kind", count.kind.name().to_owned()), ("flow", count.flow.name().to_owned())];
        frames.0.push((labels.clone(), count.frames));
        frames.1.push((labels, count.bytes));
    }
    let socket =
        [Flow::In, Flow::Out].map(|flow| (vec![("flow", flow.name().to_owned())], counters.socket_bytes(flow)));
    let nature = Nature::Counter;
    vec![
        Metric { name: "starling_frames", help: "Messages exchanged with neighbours", nature, samples: frames.0 },
        Metric {
            name: "starling_frame_bytes",
            help: "Bytes of messages exchanged with neighbours, frame headers included",
            nature,
            samples: frames.1,
        },
        Metric {
            name: "starling_socket_bytes",
            help: "Bytes carried by TCP, encryption and multiplexing included",
            nature,
            samples: socket.into(),
        },
    ]
}

/// All values by their full names, labels folded in: `starling_frames_total{kind="push",flow="in"}`.
pub fn flat(metrics: &[Metric]) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for metric in metrics {
        for (labels, value) in &metric.samples {
            let mut name = metric.name.to_owned();
            if metric.nature == Nature::Counter {
                name.push_str("_total");
            }
            for (position, (label, of)) in labels.iter().enumerate() {
                name.push(if position == 0 { '{' } else { ',' });
                // Writing to a string cannot fail.
                let _written = write!(name, "{label}=\"{of}\"");
            }
            if !labels.is_empty() {
                name.push('}');
            }
            all.insert(name, *value);
        }
    }
    all
}

/// All values in the OpenMetrics text format, which Prometheus reads.
pub fn text(metrics: Vec<Metric>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot(metrics)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// Values as they were, for the encoder.
#[derive(Debug)]
struct Snapshot(Vec<Metric>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in &self.0 {
            let kind = match metric.nature {
                Nature::Counter => MetricType::Counter,
                Nature::Gauge => MetricType::Gauge,
            };
            let mut family = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            if let [(labels, value)] = metric.samples.as_slice()
                && labels.is_empty()
            {
                metric.nature.encode(*value, family)?;
                continue;
            }
            for (labels, value) in &metric.samples {
                let labels: Vec<(&str, &str)> = labels.iter().map(|(name, of)| (*name, of.as_str())).collect();
                metric.nature.encode(*value, family.encode_family(&labels.as_slice())?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Metric> {
        let mut all = of_wire(&Counters::default());
        all.push(Metric::counter("starling_banned", "Bans", 7));
        all.push(Metric::gauge("starling_pool_bytes", "Bytes", 9));
        all
    }

    #[test]
    fn names_carry_their_labels() {
        let flat = flat(&all());
        assert_eq!(flat["starling_banned_total"], 7);
        assert_eq!(flat["starling_pool_bytes"], 9);
        assert_eq!(flat["starling_frames_total{kind=\"push\",flow=\"in\"}"], 0);
        assert_eq!(flat["starling_socket_bytes_total{flow=\"out\"}"], 0);
    }

    /// Every name of the flat list stands in the text with the same value, and the other way round.
    #[test]
    fn the_text_says_the_same() {
        let text = text(all()).unwrap();
        let in_text: BTreeMap<String, u64> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect();
        assert_eq!(in_text, flat(&all()));
        assert!(text.contains("# TYPE starling_banned counter"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
