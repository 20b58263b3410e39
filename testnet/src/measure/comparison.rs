//! Two relays side by side: the figures of both over several rounds, their ratios, and who is better at what.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{
    figure::{COMPARED, Figure},
    report::Report,
};
use crate::{figures::rounded, launch::Relay};

/// A ratio in all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// Half of the rounds are below.
    pub(crate) median: f64,
    /// The least of a round.
    min: f64,
    /// The most of a round.
    max: f64,
}

/// What rounds say about one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Better(&'static str),
    /// The ratio is above 1 in one round and below it in another, or there is none.
    NoDifference,
}

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    schema: &'static str,
    rounds: usize,
    /// The measurements in the order they were made; two for each round.
    runs: Vec<Report>,
    /// Starling's figure divided by gossipsub's of the same round; `null` if a round lacks one of them, or if they are not
    /// of the same kind.
    ratios: BTreeMap<&'static str, Option<Ratio>>,
}

impl Ratio {
    fn new(mut ratios: Vec<f64>) -> Option<Self> {
        let median = median(&mut ratios)?;
        Some(Self { median: rounded(median), min: rounded(*ratios.first()?), max: rounded(*ratios.last()?) })
    }

    /// Who is better, where less is, or more.
    fn verdict(self, less_is_better: bool) -> Verdict {
        let (starling, gossipsub) = (Relay::Starling.name(), Relay::Gossipsub.name());
        match (self.max < 1.0, self.min > 1.0) {
            (true, _) => Verdict::Better(if less_is_better { starling } else { gossipsub }),
            (_, true) => Verdict::Better(if less_is_better { gossipsub } else { starling }),
            _ => Verdict::NoDifference,
        }
    }
}

/// The middle one, or the mean of the two in the middle. Sorts them.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle)?;
    Some(if values.len() % 2 == 1 { *upper } else { f64::midpoint(values[middle - 1], *upper) })
}

impl Comparison {
    /// The name and version of the document.
    const SCHEMA: &str = "starling.compare/1";

    /// From rounds of two measurements, one of each relay, in either order.
    pub(crate) fn new(rounds: Vec<[Report; 2]>) -> Self {
        let count = rounds.len();
        let mut comparison = Self {
            schema: Self::SCHEMA,
            rounds: count,
            runs: rounds.into_iter().flatten().collect(),
            ratios: BTreeMap::new(),
        };
        for (name, figure, ..) in COMPARED {
            let (ours, theirs) =
                (comparison.values(Relay::Starling, figure), comparison.values(Relay::Gossipsub, figure));
            if figure == Figure::Saturation && ours.iter().chain(&theirs).all(Option::is_none) {
                continue;
            }
            let of_round =
                |(ours, theirs): (Option<f64>, Option<f64>)| Some(ours? / theirs.filter(|value| *value > 0.0)?);
            let alike = figure != Figure::WireBytes || comparison.counts_bytes_alike();
            let ratios: Option<Vec<f64>> = ours.into_iter().zip(theirs).map(of_round).collect();
            let ratios = ratios.filter(|_| alike);
            comparison.ratios.insert(name, ratios.and_then(Ratio::new));
        }
        comparison
    }

    /// The median of a figure's ratio.
    pub(crate) fn ratio(&self, figure: Figure) -> Option<f64> {
        let (name, ..) = COMPARED.iter().find(|(_, compared, ..)| *compared == figure)?;
        Some(self.ratios.get(name).copied()??.median)
    }

    /// Whether bytes were counted at the same place for both.
    fn counts_bytes_alike(&self) -> bool {
        self.runs.windows(2).all(|runs| runs[0].wire_bytes_counted == runs[1].wire_bytes_counted)
    }

    /// A figure of a relay in each round.
    fn values(&self, relay: Relay, figure: Figure) -> Vec<Option<f64>> {
        self.runs.iter().filter(|run| run.relay == relay.name()).map(|run| figure.of(run)).collect()
    }

    /// The table, and who is better at what.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["median of the rounds", "starling", "gossipsub", "starling ÷ gossipsub", "of a round"]);
        let of = |relay, figure| self.values(relay, figure).into_iter().collect::<Option<Vec<f64>>>();
        let shown = |values: Option<Vec<f64>>| {
            values
                .and_then(|mut values| median(&mut values))
                .map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
        };
        for (name, figure, _, title) in COMPARED {
            let Some(ratio) = self.ratios.get(name) else { continue };
            let (median, range) = match ratio {
                Some(Ratio { median, min, max }) => (format!("{median:.3}"), format!("{min:.3} to {max:.3}")),
                None => ("-".to_owned(), "-".to_owned()),
            };
            let values = [Relay::Starling, Relay::Gossipsub].map(|relay| shown(of(relay, figure)));
            let [ours, theirs] = values;
            table.add_row([title.to_owned(), ours, theirs, median, range]);
        }
        let delivered = [Relay::Starling, Relay::Gossipsub].map(|relay| {
            let least = self.values(relay, Figure::Delivery).into_iter().flatten().fold(1.0, f64::min);
            format!("{:.4} %", least * 100.0)
        });
        let rejected = [Relay::Starling, Relay::Gossipsub].map(|relay| {
            let of_relay = self.runs.iter().filter(|run| run.relay == relay.name());
            of_relay.map(|run| run.rejected).max().unwrap_or_default().to_string()
        });
        for (title, [ours, theirs]) in
            [("delivered, least of a round", delivered), ("rejected, most of a round", rejected)]
        {
            table.add_row([title.to_owned(), ours, theirs, String::new(), String::new()]);
        }
        let mut told = format!("{}\n{}", table.trim_fmt(), self.verdicts());
        if !self.counts_bytes_alike() {
            told.push_str(
                "\nBytes over QUIC have no ratio: of Starling all frames are counted, of gossipsub only transactions in \
                 them. Over TCP both are counted on the socket.",
            );
        }
        told
    }

    /// Who is better at what, in a line for each relay and one for what cannot be told.
    fn verdicts(&self) -> String {
        let mut by_verdict: BTreeMap<Verdict, Vec<String>> = BTreeMap::new();
        for (name, _, less_is_better, _) in COMPARED {
            let (verdict, told) = match self.ratios.get(name) {
                Some(Some(ratio)) => (ratio.verdict(less_is_better), format!("{name} ({:.2})", ratio.median)),
                Some(None) => (Verdict::NoDifference, format!("{name} (no ratio)")),
                None => continue,
            };
            by_verdict.entry(verdict).or_default().push(told);
        }
        let mut lines: Vec<String> = by_verdict
            .iter()
            .map(|(verdict, figures)| match verdict {
                Verdict::Better(relay) => format!("{relay} is better in every round at: {}", figures.join(", ")),
                Verdict::NoDifference => format!("no difference that this run can show: {}", figures.join(", ")),
            })
            .collect();
        if self.rounds == 1 {
            lines.push("One round cannot tell a difference from chance; more --rounds can.".to_owned());
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        launch::Transport,
        measure::report::tests::{report, report_of},
    };

    fn ratio(ratios: &[f64]) -> Ratio {
        Ratio::new(ratios.to_vec()).unwrap()
    }

    #[test]
    fn ratios_have_a_median_and_a_spread() {
        assert_eq!(ratio(&[0.9, 0.3, 0.4]), Ratio { median: 0.4, min: 0.3, max: 0.9 });
        assert_eq!(ratio(&[2.0, 1.0, 4.0, 3.0]), Ratio { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Ratio::new(Vec::new()), None);
    }

    #[test]
    fn who_is_better_is_better_in_every_round() {
        let (ours, theirs) = (Verdict::Better("starling"), Verdict::Better("gossipsub"));
        for (ratios, of_less, of_more) in [
            (&[0.5, 0.99][..], ours, theirs),
            (&[1.01, 7.0], theirs, ours),
            (&[0.99, 1.01], Verdict::NoDifference, Verdict::NoDifference),
            (&[0.5, 1.0], Verdict::NoDifference, Verdict::NoDifference),
            (&[1.0, 1.0], Verdict::NoDifference, Verdict::NoDifference),
        ] {
            assert_eq!(ratio(ratios).verdict(true), of_less, "{ratios:?}");
            assert_eq!(ratio(ratios).verdict(false), of_more, "{ratios:?}");
        }
    }

    /// One round in which Starling's copies, bytes and CPU time are those of gossipsub times a factor.
    fn round(factor: f64, starling_first: bool) -> [Report; 2] {
        let (mut ours, theirs) = (report(Transport::Tcp), report_of(Relay::Gossipsub, Transport::Tcp));
        ours.copies_per_node = theirs.copies_per_node * factor;
        ours.wire_bytes_per_payload_byte = theirs.wire_bytes_per_payload_byte * factor;
        ours.cpu_us_per_node_per_tx = theirs.cpu_us_per_node_per_tx / factor;
        if starling_first { [ours, theirs] } else { [theirs, ours] }
    }

    #[test]
    fn relays_are_told_apart_whichever_came_first() {
        let comparison = Comparison::new(vec![round(0.5, true), round(0.25, false), round(0.8, true)]);
        let json = serde_json::to_value(&comparison).unwrap();
        assert_eq!((&json["schema"], &json["rounds"]), (&"starling.compare/1".into(), &3.into()));
        let order: Vec<_> = json["runs"].as_array().unwrap().iter().map(|run| run["relay"].as_str().unwrap()).collect();
        assert_eq!(order, ["starling", "gossipsub", "gossipsub", "starling", "starling", "gossipsub"]);
        assert_eq!(json["ratios"]["copies"], serde_json::json!({ "median": 0.5, "min": 0.25, "max": 0.8 }));
        assert_eq!(json["ratios"]["latency_p50"]["median"], 1.0);
        assert!(json["ratios"].get("saturation").is_none(), "nobody looked for it");
        assert_eq!((comparison.ratio(Figure::WireBytes), comparison.ratio(Figure::Delivery)), (Some(0.5), None));
        assert_eq!(
            comparison.verdicts(),
            "starling is better in every round at: wire_bytes (0.50), copies (0.50)\n\
             no difference that this run can show: rss (1.00), latency_p50 (1.00), latency_p95 (1.00), latency_p99 (1.00), \
             coverage_p95 (1.00)"
                .replace("starling is", "gossipsub is better in every round at: cpu (2.00)\nstarling is")
        );
        assert!(comparison.table().contains("0.250 to 0.800") && !comparison.table().contains("One round"));
    }

    #[test]
    fn bytes_that_were_counted_at_different_places_have_no_ratio() {
        let rounds = vec![[report(Transport::Quic), report_of(Relay::Gossipsub, Transport::Quic)]];
        let comparison = Comparison::new(rounds);
        assert_eq!((comparison.ratio(Figure::WireBytes), comparison.ratio(Figure::Copies)), (None, Some(1.0)));
        let told = comparison.table();
        assert!(told.contains("wire_bytes (no ratio)") && told.contains("Bytes over QUIC have no ratio"), "{told}");
    }

    #[test]
    fn a_figure_that_a_round_lacks_has_no_ratio() {
        let mut rounds = vec![round(0.5, true)];
        rounds[0][1].latency_ms = None;
        rounds[0][1].cpu_us_per_node_per_tx = 0.0;
        let comparison = Comparison::new(rounds);
        let json = serde_json::to_value(&comparison).unwrap();
        assert!(json["ratios"]["latency_p99"].is_null() && json["ratios"]["cpu"].is_null());
        let told = comparison.table();
        assert!(told.contains("cpu (no ratio)") && told.contains("One round cannot tell"), "{told}");
    }
}
