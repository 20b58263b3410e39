//! `--threshold 'p99<500ms'`: a bound on one figure.

use std::{fmt, str::FromStr};

use super::report::Report;

/// A figure that can be bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    P50,
    P90,
    P95,
    P99,
    Max,
    Coverage,
    Delivery,
    Copies,
    WireBytes,
    Cpu,
    Rss,
}

/// Names of figures, and the unit of a bound that names none.
const FIGURES: [(&str, Figure, &str); 11] = [
    ("p50", Figure::P50, "ms"),
    ("p90", Figure::P90, "ms"),
    ("p95", Figure::P95, "ms"),
    ("p99", Figure::P99, "ms"),
    ("max", Figure::Max, "ms"),
    ("coverage", Figure::Coverage, "ms"),
    ("delivery", Figure::Delivery, ""),
    ("copies", Figure::Copies, ""),
    ("wire_bytes", Figure::WireBytes, ""),
    ("cpu", Figure::Cpu, "us"),
    ("rss", Figure::Rss, "MiB"),
];

/// What may follow a number, for figures with which unit, and what it makes of the number.
const UNITS: [(&str, &str, f64); 10] = [
    ("us", "ms", 0.001),
    ("ms", "ms", 1.0),
    ("s", "ms", 1000.0),
    ("us", "us", 1.0),
    ("ms", "us", 1000.0),
    ("MiB", "MiB", 1.0),
    ("GiB", "MiB", 1024.0),
    ("%", "", 0.01),
    ("", "", 1.0),
    ("x", "", 1.0),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A bound on one figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Threshold {
    text: String,
    figure: Figure,
    operator: Operator,
    /// In the unit of the figure.
    bound: f64,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>']).ok_or("a threshold has the form NAME<VALUE, with <, <=, > or >=")?;
        let (name, rest) = text.split_at(at);
        let (operator, value) = match (rest.strip_prefix("<="), rest.strip_prefix(">=")) {
            (Some(value), _) => (Operator::AtMost, value),
            (_, Some(value)) => (Operator::AtLeast, value),
            _ => (if rest.starts_with('<') { Operator::Less } else { Operator::More }, &rest[1..]),
        };
        let (_, figure, unit) = *FIGURES.iter().find(|(known, ..)| *known == name.trim()).ok_or_else(|| {
            let names: Vec<&str> = FIGURES.iter().map(|(name, ..)| *name).collect();
            format!("there is no figure `{}`; there are {}", name.trim(), names.join(", "))
        })?;
        let value = value.trim();
        let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
        let (number, suffix) = value.split_at(digits);
        let number: f64 = number.parse().map_err(|_| format!("`{value}` does not start with a number"))?;
        let suffix = suffix.trim();
        let factor = match suffix {
            "" => 1.0,
            _ => UNITS
                .iter()
                .find(|(known, of, _)| *known == suffix && *of == unit)
                .map(|(.., factor)| *factor)
                .ok_or_else(|| {
                    let units: Vec<&str> = UNITS
                        .iter()
                        .filter(|(known, of, _)| *of == unit && !known.is_empty())
                        .map(|unit| unit.0)
                        .collect();
                    format!("`{suffix}` is no unit of {}; there are {}", name.trim(), units.join(", "))
                })?,
        };
        Ok(Self { text: text.to_owned(), figure, operator, bound: number * factor })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Threshold {
    /// What was measured instead, if it was missed. A figure that there is none of misses any bound.
    pub(crate) fn missed(&self, report: &Report) -> Option<String> {
        let latency = report.latency_ms.as_ref();
        let value = match self.figure {
            Figure::P50 => latency.map(|latency| latency.p50),
            Figure::P90 => latency.map(|latency| latency.p90),
            Figure::P95 => latency.map(|latency| latency.p95),
            Figure::P99 => latency.map(|latency| latency.p99),
            Figure::Max => latency.map(|latency| latency.max),
            Figure::Coverage => report.coverage_ms.p100.map(|times| times.p95),
            Figure::Delivery => Some(report.delivery_ratio),
            Figure::Copies => Some(report.copies_per_node),
            Figure::WireBytes => Some(report.wire_bytes_per_payload_byte),
            Figure::Cpu => Some(report.cpu_us_per_node_per_tx),
            Figure::Rss => Some(report.rss_mib_per_node.max),
        };
        let Some(value) = value else { return Some("there is no such figure".to_owned()) };
        let met = match self.operator {
            Operator::Less => value < self.bound,
            Operator::AtMost => value <= self.bound,
            Operator::More => value > self.bound,
            Operator::AtLeast => value >= self.bound,
        };
        let unit = FIGURES.iter().find(|(_, figure, _)| *figure == self.figure).map_or("", |(.., unit)| unit);
        (!met).then(|| format!("it is {value} {unit}").trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{launch::Transport, measure::report::tests::report};

    fn missed(text: &str) -> Option<String> {
        text.parse::<Threshold>().unwrap().missed(&report(Transport::Tcp))
    }

    #[test]
    fn bounds_are_exact_and_units_convert() {
        // The report has a latency of 2 ms throughout, 0.75 delivered, 750 µs and 3 MiB.
        for met in [
            "p99<=2ms",
            "p99<2.1",
            "max<0.0021s",
            "p50>=2000us",
            "p90 > 1.9",
            "p95<2.1ms",
            "coverage<=2ms",
            "delivery>=75%",
            "delivery>=0.75",
            "delivery>74.9%",
            "copies<23",
            "copies<=22.5x",
            "wire_bytes<=18",
            "cpu<1ms",
            "cpu<=750",
            "cpu<=750us",
            "rss<4MiB",
            "rss<1GiB",
        ] {
            assert_eq!(missed(met), None, "{met}");
        }
        for not in ["p99<2ms", "p99>2", "delivery>=1", "delivery>75%", "cpu<750us", "rss<=2", "copies>22.5"] {
            assert!(missed(not).is_some(), "{not}");
        }
        assert_eq!(missed("p99<1ms").unwrap(), "it is 2 ms");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in
            ["", "p99", "p99=5", "p98<5", "p99<", "p99<ms", "p99<5MiB", "delivery<5ms", "rss<5%", "p99<5.5.5", "<5"]
        {
            assert!(bad.parse::<Threshold>().is_err(), "{bad}");
        }
    }
}
