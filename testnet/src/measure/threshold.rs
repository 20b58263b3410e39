//! `--threshold 'p99<500ms'`: a bound on one figure.

use std::fmt;

use super::figure::{COMPARED, FIGURES, Figure};

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
    /// What figure and bound are in; nothing for a ratio.
    unit: &'static str,
    bound: f64,
}

impl Threshold {
    /// A bound on a figure.
    pub(crate) fn of_figure(text: &str) -> Result<Self, String> {
        Self::parse(text, &FIGURES)
    }

    /// A bound on the ratio of a figure of one relay to that of another.
    pub(crate) fn of_ratio(text: &str) -> Result<Self, String> {
        Self::parse(text, &COMPARED.map(|(name, figure, ..)| (name, figure, "")))
    }

    fn parse(text: &str, figures: &[(&str, Figure, &'static str)]) -> Result<Self, String> {
        let at = text.find(['<', '>']).ok_or("a threshold has the form NAME<VALUE, with <, <=, > or >=")?;
        let (name, rest) = text.split_at(at);
        let (operator, value) = match (rest.strip_prefix("<="), rest.strip_prefix(">=")) {
            (Some(value), _) => (Operator::AtMost, value),
            (_, Some(value)) => (Operator::AtLeast, value),
            _ => (if rest.starts_with('<') { Operator::Less } else { Operator::More }, &rest[1..]),
        };
        let (_, figure, unit) = *figures.iter().find(|(known, ..)| *known == name.trim()).ok_or_else(|| {
            let names: Vec<&str> = figures.iter().map(|(name, ..)| *name).collect();
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
        Ok(Self { text: text.to_owned(), figure, operator, unit, bound: number * factor })
    }

    /// Whether it is about the highest rate held, which is not looked for unless asked.
    pub(crate) fn is_of_saturation(&self) -> bool {
        self.figure == Figure::Saturation
    }

    /// Whether all of them are met by the values that figures, or their ratios, have; else which were missed and by what.
    /// A figure that there is none of misses any bound.
    pub(crate) fn all_met(thresholds: &[Self], value: impl Fn(Figure) -> Option<f64>) -> Result<(), String> {
        let missed = |threshold: &Self| {
            threshold.missed(value(threshold.figure)).map(|what| format!("{threshold} was missed: {what}"))
        };
        let missed: Vec<String> = thresholds.iter().filter_map(missed).collect();
        if missed.is_empty() { Ok(()) } else { Err(missed.join("; ")) }
    }

    /// What was measured instead, if it was missed.
    fn missed(&self, value: Option<f64>) -> Option<String> {
        let Some(value) = value else { return Some("there is no such figure".to_owned()) };
        let met = match self.operator {
            Operator::Less => value < self.bound,
            Operator::AtMost => value <= self.bound,
            Operator::More => value > self.bound,
            Operator::AtLeast => value >= self.bound,
        };
        (!met).then(|| format!("it is {value} {}", self.unit).trim_end().to_owned())
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{launch::Transport, measure::report::tests::report};

    fn missed(text: &str) -> Option<String> {
        let threshold = Threshold::of_figure(text).unwrap();
        threshold.missed(threshold.figure.of(&report(Transport::Tcp)))
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
        // Nobody looked for the highest rate.
        for not in
            ["saturation>=0", "p99<2ms", "p99>2", "delivery>=1", "delivery>75%", "cpu<750us", "rss<=2", "copies>22.5"]
        {
            assert!(missed(not).is_some(), "{not}");
        }
        assert_eq!(missed("p99<1ms").unwrap(), "it is 2 ms");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in
            ["", "p99", "p99=5", "p98<5", "p99<", "p99<ms", "p99<5MiB", "delivery<5ms", "rss<5%", "p99<5.5.5", "<5"]
        {
            assert!(Threshold::of_figure(bad).is_err(), "{bad}");
        }
        for bad in ["p99<2", "delivery>0.5", "cpu<5us", "wire_bytes=1"] {
            assert!(Threshold::of_ratio(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_bounds_are_looked_at_and_the_missed_ones_told() {
        let bounds = ["wire_bytes<0.4", "copies<=0.5", "latency_p50<1"].map(|text| Threshold::of_ratio(text).unwrap());
        let value = |figure| (figure != Figure::P50).then_some(0.5);
        let missed = Threshold::all_met(&bounds, value).unwrap_err();
        assert_eq!(missed, "wire_bytes<0.4 was missed: it is 0.5; latency_p50<1 was missed: there is no such figure");
        assert_eq!(Threshold::all_met(&bounds[1..2], value), Ok(()));
        assert!(!bounds[0].is_of_saturation() && Threshold::of_ratio("saturation>1").unwrap().is_of_saturation());
    }
}
