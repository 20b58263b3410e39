//! The file that tells node processes where they are.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use anyhow::{Context, bail};
use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use crate::map::{Place, Regions, link};

/// Where the nodes of a testnet are, and what lies between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wan {
    /// [`Self::SCHEMA`].
    schema: String,
    /// What each link carries in each direction, in Mbit/s.
    mbit: f64,
    /// Where each node is, by its libp2p peer id.
    nodes: BTreeMap<String, Place>,
    /// The regions, and the delays between them.
    map: Regions,
}

impl Wan {
    /// The file's name in a testnet's directory.
    pub(crate) const NAME: &str = "wan.toml";

    /// The name and version of its form.
    const SCHEMA: &str = "starling.wan/1";

    /// Nodes at places of a map, with links of the usual bandwidth.
    pub(crate) fn new(map: Regions, nodes: BTreeMap<String, Place>) -> Self {
        Self { schema: Self::SCHEMA.to_owned(), mbit: link::MBIT, nodes, map }
    }

    /// Reads and checks a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        Self::from_toml(&text).with_context(|| format!("{} is no wan file", path.display()))
    }

    fn from_toml(text: &str) -> anyhow::Result<Self> {
        let wan: Self = toml::from_str(text)?;
        if wan.schema != Self::SCHEMA {
            bail!("its schema is `{}`, not `{}`", wan.schema, Self::SCHEMA);
        }
        if !wan.mbit.is_finite() || wan.mbit <= 0.0 {
            bail!("mbit is {}; it must be above 0", wan.mbit);
        }
        wan.map.check()?;
        if let Some((peer, place)) = wan.nodes.iter().find(|(_, place)| wan.map.name_of(**place).is_none()) {
            bail!("{peer} is in region {}, and the last one is {}", place.region, wan.map.regions.len() - 1);
        }
        Ok(wan)
    }

    /// Writes it to a file.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self).context("a wan cannot be written as TOML")?;
        fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// What each link carries in each direction, in Mbit/s.
    pub(super) fn mbit(&self) -> f64 {
        self.mbit
    }

    /// The ways from all other nodes to one, in microseconds.
    pub(super) fn ways_to(&self, here: &PeerId) -> anyhow::Result<HashMap<PeerId, u32>> {
        let name = here.to_string();
        let to = *self.nodes.get(&name).with_context(|| format!("there is no place for this node, {name}"))?;
        let others = self.nodes.iter().filter(|(peer, _)| **peer != name);
        others
            .map(|(peer, from)| {
                let id = peer.parse().with_context(|| format!("`{peer}` is no libp2p peer id"))?;
                Ok((id, self.map.way_us(*from, to)))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_find_their_ways_in_the_file() {
        let peers: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
        let earth = Regions::earth().unwrap();
        let places = [(0, 1_000), (2, 2_000), (2, 3_001)].map(|(region, access_us)| Place { region, access_us });
        let wan = Wan::new(earth.clone(), peers.iter().map(PeerId::to_string).zip(places).collect());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(Wan::NAME);
        wan.write(&path).unwrap();
        let read = Wan::read(&path).unwrap();
        assert_eq!(read, wan);
        let ways = read.ways_to(&peers[0]).unwrap();
        assert_eq!(ways, HashMap::from([(peers[1], 49_000), (peers[2], 50_001)]));
        assert_eq!(read.ways_to(&peers[1]).unwrap()[&peers[0]], earth.way_us(places[0], places[1]));
        assert!(read.ways_to(&PeerId::random()).is_err());
    }

    #[test]
    fn files_that_make_no_sense_are_refused() {
        let place = Place { region: 0, access_us: 0 };
        let wan = Wan::new(Regions::earth().unwrap(), BTreeMap::from([("x".to_owned(), place)]));
        let text = toml::to_string(&wan).unwrap();
        assert!(Wan::from_toml(&text).is_ok());
        for (from, to) in [("wan/1", "wan/2"), ("mbit = 20.0", "mbit = 0.0"), ("region = 0", "region = 8")] {
            assert!(text.contains(from), "{from} in {text}");
            assert!(Wan::from_toml(&text.replacen(from, to, 1)).is_err(), "{to}");
        }
        assert!(wan.ways_to(&PeerId::random()).is_err());
        assert!(Wan::read(Path::new("/nowhere")).is_err());
    }
}
