//! What nodes estimated, held against the truth.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;
use starling_node::engine::{Figure, Network, Spread};
use starling_wire::EPOCH_MS;

use super::{Plan, world::Epoch};
use crate::figures::rounded;

/// The figures of a run. Means are over all epochs and over all honest nodes that were up throughout an epoch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    nodes: usize,
    dials: usize,
    seed: u64,
    wan: String,
    epochs: usize,
    loss: f64,
    churn: f64,
    liars: f64,
    skew_s: f64,
    size: Size,
    links: Vec<Row>,
    cost: Cost,
    /// Neighbours that were banned.
    banned: u64,
    wall_s: f64,
}

/// The number of nodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Size {
    /// Nodes that were up throughout an epoch, and at some time of it: a mean over the epochs.
    throughout: f64,
    ever: f64,
    /// What nodes estimate: a mean.
    estimate: f64,
    /// Standard deviation of the estimates over the epochs, as a share of the truth.
    deviation: f64,
    /// The lower and the upper end of the error bar: means.
    low: f64,
    high: f64,
    /// Share of the epochs, each seen by each node, in which the truth was within the error bar. While nodes come and go it
    /// is anything from those up throughout to those up at some time.
    within: f64,
    /// The same, of the epochs as the median node saw them.
    epochs_within: f64,
    /// Share of the estimates that say they are exact.
    exact: f64,
    /// Share of the nodes whose sample gives the estimate that most nodes have.
    agree: f64,
    /// Share of the nodes that know nothing of the epoch when they are asked.
    unknown: f64,
}

/// What is said about one figure of the honest nodes, their links.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    what: &'static str,
    /// Of the honest nodes: a mean.
    truth: f64,
    /// A mean.
    estimate: f64,
    /// What the liars' share allows the estimate to be in the mean over the epochs. Where this is about quantiles, it is those
    /// of the honest nodes that lie off by so much.
    allowed_low: f64,
    allowed_high: f64,
    /// Share of the epochs in which an estimate was within that and the error of the sample.
    within: f64,
}

/// Bytes and messages about reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Cost {
    /// Sent per node and second; as much is received, less what is lost.
    bytes_per_node_and_s: f64,
    bytes_by_kind: BTreeMap<&'static str, f64>,
    /// Messages sent per node and epoch.
    messages_per_node: f64,
    /// Reports sent per node and epoch: a sample has 64 at most.
    reports_per_node: f64,
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / f64::max(count, 1.0)
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Report {
    /// Of what was seen in each epoch.
    pub(super) fn new(plan: &Plan, wan: &str, epochs: &[Epoch], start: Instant) -> Self {
        Self {
            schema: "starling.aggregate/1",
            nodes: plan.nodes,
            dials: plan.dials,
            seed: plan.seed,
            wan: wan.to_owned(),
            epochs: epochs.len(),
            loss: plan.loss,
            churn: plan.churn,
            liars: plan.liars,
            skew_s: plan.skew.as_secs_f64(),
            size: Size::new(epochs),
            links: rows(epochs),
            cost: Cost::new(epochs),
            banned: epochs.last().map_or(0, |epoch| epoch.banned),
            wall_s: rounded(start.elapsed().as_secs_f64()),
        }
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let Self { size, cost, .. } = self;
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let mut lines = vec![
            format!("{} epochs of {} places; {} s", self.epochs, self.nodes, self.wall_s),
            format!("nodes up throughout an epoch .. at some time   {:.1} .. {:.1}", size.throughout, size.ever),
            format!(
                "estimated                                      {:.1} ({:.1} to {:.1})",
                size.estimate, size.low, size.high
            ),
            format!("within the error bar, of nodes' epochs         {}", percent(size.within)),
            format!("                      of epochs                {}", percent(size.epochs_within)),
            format!(
                "exact / nodes agree / know nothing yet         {} / {} / {}",
                percent(size.exact),
                percent(size.agree),
                percent(size.unknown)
            ),
            format!("bytes per node and second                      {:.0}", cost.bytes_per_node_and_s),
            format!(
                "messages, reports per node and epoch           {:.1}, {:.1}",
                cost.messages_per_node, cost.reports_per_node
            ),
            format!("banned                                         {}", self.banned),
            String::new(),
            format!("{:<14}{:>10}{:>10}{:>22}{:>10}", "links", "truth", "estimate", "allowed", "within"),
        ];
        lines.extend(self.links.iter().map(|row| {
            let allowed = format!("{:.2} .. {:.2}", row.allowed_low, row.allowed_high);
            let within = percent(row.within);
            format!("{:<14}{:>10.2}{:>10.2}{allowed:>22}{within:>10}", row.what, row.truth, row.estimate)
        }));
        lines.join("\n")
    }
}

impl Size {
    fn new(epochs: &[Epoch]) -> Self {
        let all = || epochs.iter().flat_map(|epoch| epoch.seen.iter().map(move |network| (epoch, network)));
        let holds =
            |epoch: &Epoch, low: f64, high: f64| f64::from(low <= epoch.ever as f64 && epoch.throughout as f64 <= high);
        let of = |value: fn(&Network) -> f64| mean(all().map(|(_, network)| value(network)));
        let medians = |value: fn(&Network) -> f64| {
            epochs.iter().map(move |epoch| median(epoch.seen.iter().map(value).collect())).collect::<Vec<f64>>()
        };
        let (values, lows, highs) =
            (medians(|network| network.size.value), medians(|n| n.size.low), medians(|n| n.size.high));
        let throughout = mean(epochs.iter().map(|epoch| epoch.throughout as f64));
        let center = mean(values.iter().copied());
        let variance = mean(values.iter().map(|value| (value - center).powi(2)));
        let bars = epochs.iter().zip(lows.iter().zip(&highs));
        let agreeing = epochs
            .iter()
            .zip(&values)
            .map(|(epoch, most)| mean(epoch.seen.iter().map(|network| f64::from(network.size.value == *most))));
        let unknown = |epoch: &Epoch| epoch.unseen as f64 / (epoch.unseen + epoch.seen.len()).max(1) as f64;
        Self {
            throughout,
            ever: mean(epochs.iter().map(|epoch| epoch.ever as f64)),
            estimate: of(|network| network.size.value),
            deviation: rounded(variance.sqrt() / throughout.max(1.0)),
            low: of(|network| network.size.low),
            high: of(|network| network.size.high),
            within: mean(all().map(|(epoch, network)| holds(epoch, network.size.low, network.size.high))),
            epochs_within: mean(bars.map(|(epoch, (low, high))| holds(epoch, *low, *high))),
            exact: of(|network| network.exact.into()),
            agree: mean(agreeing),
            unknown: mean(epochs.iter().map(unknown)),
        }
    }
}

/// Rows of the figure that differs between the simulated nodes.
fn rows(epochs: &[Epoch]) -> Vec<Row> {
    let spread = |network: &Network| {
        network
            .figures
            .iter()
            .find(|(figure, _)| *figure == Figure::Links)
            .map(|(_, spread)| *spread)
            .unwrap_or_default()
    };
    // What one node in the middle sees: nearly all see the same.
    let seen: Vec<(&Epoch, Spread, f64)> = epochs
        .iter()
        .filter_map(|epoch| epoch.seen.first().map(|network| (epoch, spread(network), network.rank_error)))
        .collect();
    let row = |what,
               value: fn(&Spread) -> f64,
               truth: &dyn Fn(&[f64]) -> f64,
               allowed: &dyn Fn(&Epoch, f64) -> (f64, f64)| {
        let of = |number: fn((f64, f64)) -> f64| mean(seen.iter().map(|(epoch, ..)| number(allowed(epoch, 0.0))));
        let within = mean(seen.iter().map(|(epoch, spread, error)| {
            let (low, high) = allowed(epoch, *error);
            let estimate = value(spread);
            f64::from(low - spread.mean_error <= estimate && estimate <= high + spread.mean_error)
        }));
        Row {
            what,
            truth: mean(seen.iter().map(|(epoch, ..)| truth(&epoch.links))),
            estimate: mean(seen.iter().map(|(_, spread, _)| value(spread))),
            allowed_low: of(|allowed| allowed.0),
            allowed_high: of(|allowed| allowed.1),
            within,
        }
    };
    // Of nodes that were not up throughout, anything may be in the sample: they are counted among the liars.
    let liars = |epoch: &Epoch| 1.0 - epoch.links.len() as f64 / epoch.ever.max(1) as f64;
    let between = |share: f64| {
        move |epoch: &Epoch, error: f64| {
            let (lies, links) = (liars(epoch), &epoch.links);
            (quantile(links, (share - lies) / (1.0 - lies) - error), quantile(links, share / (1.0 - lies) + error))
        }
    };
    let middle = |epoch: &Epoch, error: f64| {
        let (lies, links) = (liars(epoch), &epoch.links);
        let of = |share: f64| share / (1.0 - lies);
        (
            mean_between(links, of(0.25 - lies) - error, of(0.75 - lies) - error),
            mean_between(links, of(0.25) + error, of(0.75) + error),
        )
    };
    let whole = |epoch: &Epoch, _: f64| {
        let (lies, honest) = (liars(epoch), mean(epoch.links.iter().copied()));
        (honest * (1.0 - lies), honest * (1.0 - lies) + f64::from(u8::MAX) * lies)
    };
    vec![
        row("p10", |spread| spread.p10, &|links| quantile(links, 0.1), &between(0.1)),
        row("p50", |spread| spread.p50, &|links| quantile(links, 0.5), &between(0.5)),
        row("p90", |spread| spread.p90, &|links| quantile(links, 0.9), &between(0.9)),
        row("middle mean", |spread| spread.middle_mean, &|links| mean_between(links, 0.25, 0.75), &middle),
        row("mean", |spread| spread.mean, &|links| mean(links.iter().copied()), &whole),
    ]
}

/// The value that a share of the sorted values do not exceed; beyond them, the extremes that a report may name.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    if share <= 0.0 {
        return 0.0;
    }
    let at = (share * sorted.len() as f64).ceil() as usize;
    at.checked_sub(1).and_then(|at| sorted.get(at)).copied().filter(|_| share < 1.0).unwrap_or(u8::MAX.into())
}

/// The mean of the values between two shares, those on the border in part.
fn mean_between(sorted: &[f64], from: f64, to: f64) -> f64 {
    let at = |share: f64| share.clamp(0.0, 1.0) * sorted.len() as f64;
    let (from, to) = (at(from), at(to));
    let weight = |place: usize| ((place as f64 + 1.0).min(to) - (place as f64).max(from)).max(0.0);
    sorted.iter().enumerate().map(|(place, value)| weight(place) * value).sum::<f64>()
        / (to - from).max(f64::MIN_POSITIVE)
}

impl Cost {
    fn new(epochs: &[Epoch]) -> Self {
        let node_epochs = epochs.iter().map(|epoch| epoch.mean).sum::<f64>().max(1.0);
        let seconds = EPOCH_MS as f64 / 1e3;
        let mut bytes: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (kind, count) in epochs.iter().flat_map(|epoch| &epoch.bytes) {
            *bytes.entry(kind).or_default() += count.0;
        }
        let messages: u64 = epochs.iter().flat_map(|epoch| epoch.bytes.values()).map(|count| count.1).sum();
        let per_s = |bytes: u64| rounded(bytes as f64 / node_epochs / seconds);
        Self {
            bytes_per_node_and_s: per_s(bytes.values().sum()),
            bytes_by_kind: bytes.iter().map(|(kind, bytes)| (*kind, per_s(*bytes))).collect(),
            messages_per_node: rounded(messages as f64 / node_epochs),
            reports_per_node: rounded(epochs.iter().map(|epoch| epoch.reports).sum::<u64>() as f64 / node_epochs),
        }
    }
}
