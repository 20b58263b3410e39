//! Where nodes are, and how long a message takes from one place to another.

use anyhow::{Context, bail};
use serde::Deserialize;

/// The regions of the world that come with the program.
const EARTH: &str = include_str!("../../regions/earth.toml");

/// Longest delay between two regions that makes sense, in milliseconds.
const MAX_DELAY_MS: f64 = 60_000.0;

/// Regions, and the delays between them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Regions {
    /// What the set is called in reports.
    pub(crate) name: String,
    /// The regions.
    pub(crate) regions: Vec<Region>,
    delays: Delays,
}

/// One region.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Region {
    /// Its name.
    pub(crate) name: String,
    /// How many of the nodes are here, relative to the other regions' weights.
    pub(crate) weight: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delays {
    one_way_ms: Vec<Vec<f64>>,
}

impl Regions {
    /// Those that come with the program.
    pub(crate) fn earth() -> anyhow::Result<Self> {
        Self::from_toml(EARTH)
    }

    /// Reads and checks a region file.
    pub(crate) fn from_toml(text: &str) -> anyhow::Result<Self> {
        let all: Self = toml::from_str(text).context("it is no region file")?;
        let count = all.regions.len();
        if count == 0 {
            bail!("it has no [[regions]]");
        }
        if let Some(region) = all.regions.iter().find(|region| !region.weight.is_finite() || region.weight < 0.0) {
            bail!("the weight of region `{}` must be 0 or more", region.name);
        }
        if all.regions.iter().map(|region| region.weight).sum::<f64>() <= 0.0 {
            bail!("no region has a weight above 0");
        }
        let rows = &all.delays.one_way_ms;
        if rows.len() != count || rows.iter().any(|row| row.len() != count) {
            bail!("delays.one_way_ms must have {count} rows of {count} numbers, one for each region");
        }
        if rows.iter().flatten().any(|delay| !(0.0..=MAX_DELAY_MS).contains(delay)) {
            bail!("delays.one_way_ms must be from 0 to {MAX_DELAY_MS}");
        }
        Ok(all)
    }

    /// From a place in one region to another in the same or another one, in microseconds.
    pub(crate) fn delay_us(&self, from: usize, to: usize) -> u32 {
        (self.delays.one_way_ms[from][to] * 1000.0) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earth_is_a_symmetric_set_of_eight() {
        let earth = Regions::earth().unwrap();
        assert_eq!((earth.name.as_str(), earth.regions.len()), ("earth", 8));
        for a in 0..8 {
            for b in 0..8 {
                assert_eq!(earth.delay_us(a, b), earth.delay_us(b, a), "{a} {b}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let file = |weight: &str, delays: &str| {
            let text =
                format!("name = 'x'\n[[regions]]\nname = 'a'\nweight = {weight}\n[delays]\none_way_ms = {delays}");
            Regions::from_toml(&text)
        };
        assert_eq!(file("1", "[[0.5]]").unwrap().delay_us(0, 0), 500);
        for (weight, delays) in [("0", "[[1]]"), ("-1", "[[1]]"), ("1", "[[1, 2]]"), ("1", "[]"), ("1", "[[-1]]")] {
            assert!(file(weight, delays).is_err(), "{weight} {delays}");
        }
    }
}
