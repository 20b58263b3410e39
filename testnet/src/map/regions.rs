//! Where nodes are, and how long a message takes from one place to another.

use anyhow::{Context, bail};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// The regions of the world that come with the program.
const EARTH: &str = include_str!("../../regions/earth.toml");

/// Longest delay between two regions that makes sense, in milliseconds.
const MAX_DELAY_MS: f64 = 60_000.0;

/// Greatest weight of a region. Shares are what counts, and their sum must be a number.
const MAX_WEIGHT: f64 = 1e9;

/// Delay that a node's access line adds at its end of every link, in microseconds, drawn for each node from this range.
const ACCESS_US: std::ops::RangeInclusive<u32> = 1_000..=10_000;

/// Regions, and the delays between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Regions {
    /// What the set is called in reports.
    pub(crate) name: String,
    /// The regions.
    pub(crate) regions: Vec<Region>,
    delays: Delays,
}

/// One region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Region {
    /// Its name.
    pub(crate) name: String,
    /// How many of the nodes are here, relative to the other regions' weights.
    pub(crate) weight: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delays {
    one_way_ms: Vec<Vec<f64>>,
}

/// Where a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// The number of its region.
    pub(crate) region: u16,
    /// What its access line adds to every way from and to it, in microseconds.
    pub(crate) access_us: u32,
}

impl Regions {
    /// Those that come with the program.
    pub(crate) fn earth() -> anyhow::Result<Self> {
        Self::from_toml(EARTH)
    }

    /// Reads and checks a region file.
    pub(crate) fn from_toml(text: &str) -> anyhow::Result<Self> {
        let all: Self = toml::from_str(text).context("it is no region file")?;
        all.check()?;
        Ok(all)
    }

    /// Whether what the types do not say holds, too.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let count = self.regions.len();
        if count == 0 {
            bail!("it has no [[regions]]");
        }
        if let Some(region) = self.regions.iter().find(|region| !(0.0..=MAX_WEIGHT).contains(&region.weight)) {
            bail!("the weight of region `{}` must be from 0 to {MAX_WEIGHT}", region.name);
        }
        if self.regions.iter().map(|region| region.weight).sum::<f64>() <= 0.0 {
            bail!("no region has a weight above 0");
        }
        let rows = &self.delays.one_way_ms;
        if rows.len() != count || rows.iter().any(|row| row.len() != count) {
            bail!("delays.one_way_ms must have {count} rows of {count} numbers, one for each region");
        }
        if rows.iter().flatten().any(|delay| !(0.0..=MAX_DELAY_MS).contains(delay)) {
            bail!("delays.one_way_ms must be from 0 to {MAX_DELAY_MS}");
        }
        Ok(())
    }

    /// Draws places for nodes: regions by weight, then access lines.
    pub(crate) fn places(&self, nodes: usize, rng: &mut impl Rng) -> Vec<Place> {
        let regions: Vec<u16> = (0..nodes).map(|_| self.draw(rng)).collect();
        regions.into_iter().map(|region| Place { region, access_us: rng.random_range(ACCESS_US) }).collect()
    }

    fn draw(&self, rng: &mut impl Rng) -> u16 {
        let total: f64 = self.regions.iter().map(|region| region.weight).sum();
        let mut left = rng.random_range(0.0..total);
        for (number, region) in self.regions.iter().enumerate() {
            if left < region.weight {
                return number as u16;
            }
            left -= region.weight;
        }
        (self.regions.len() - 1) as u16
    }

    /// The name of a place's region; `None` for a place that is not of this map.
    pub(crate) fn name_of(&self, place: Place) -> Option<&str> {
        self.regions.get(usize::from(place.region)).map(|region| region.name.as_str())
    }

    /// The way from one node to another, in microseconds: between the regions and over both access lines, without
    /// jitter. Both places must be of this map.
    pub(crate) fn way_us(&self, from: Place, to: Place) -> u32 {
        self.delay_us(from.region.into(), to.region.into()).saturating_add(from.access_us).saturating_add(to.access_us)
    }

    fn delay_us(&self, from: usize, to: usize) -> u32 {
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
    fn a_way_leads_over_both_access_lines() {
        let earth = Regions::earth().unwrap();
        let (east, central) = (Place { region: 0, access_us: 2_000 }, Place { region: 2, access_us: 3_500 });
        assert_eq!((earth.way_us(east, central), earth.way_us(east, east)), (51_500, 5_000));
        assert_eq!(
            (earth.name_of(central), earth.name_of(Place { region: 99, access_us: 0 })),
            (Some("eu-central"), None)
        );
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let file = |weight: &str, delays: &str| {
            let text =
                format!("name = 'x'\n[[regions]]\nname = 'a'\nweight = {weight}\n[delays]\none_way_ms = {delays}");
            Regions::from_toml(&text)
        };
        assert_eq!(file("1", "[[0.5]]").unwrap().delay_us(0, 0), 500);
        for (weight, delays) in [
            ("0", "[[1]]"),
            ("-1", "[[1]]"),
            ("1e308", "[[1]]"),
            ("nan", "[[1]]"),
            ("1", "[[1, 2]]"),
            ("1", "[]"),
            ("1", "[[-1]]"),
        ] {
            assert!(file(weight, delays).is_err(), "{weight} {delays}");
        }
    }
}
