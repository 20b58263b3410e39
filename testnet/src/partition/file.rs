//! The file that tells node processes which part they are in.

use std::{collections::BTreeSet, fs, io, path::Path};

use anyhow::{Context, anyhow, bail};
use libp2p::PeerId;
use serde::{Deserialize, Serialize};

/// Who is in one part of a testnet. All others are in the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partition {
    /// [`Self::SCHEMA`].
    schema: String,
    /// The nodes of one part, by their libp2p peer ids.
    side: BTreeSet<String>,
}

impl Partition {
    /// The file's name in a testnet's directory.
    pub(crate) const NAME: &str = "partition.toml";

    /// The name and version of its form.
    const SCHEMA: &str = "starling.partition/1";

    /// Cuts these nodes off from all others.
    pub(crate) fn new(side: impl IntoIterator<Item = String>) -> Self {
        Self { schema: Self::SCHEMA.to_owned(), side: side.into_iter().collect() }
    }

    /// Reads the file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(anyhow!("{} cannot be read: {error}", path.display())),
        };
        let parse = || -> anyhow::Result<Self> {
            let partition: Self = toml::from_str(&text)?;
            if partition.schema != Self::SCHEMA {
                bail!("its schema is `{}`, not `{}`", partition.schema, Self::SCHEMA);
            }
            Ok(partition)
        };
        parse().with_context(|| format!("{} is no partition file", path.display())).map(Some)
    }

    /// Writes the file in one step: whoever sees it sees all of it.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self).context("a partition cannot be written as TOML")?;
        let part = path.with_extension("part");
        fs::write(&part, text)
            .and_then(|()| fs::rename(&part, path))
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Removes the file. Whether there was one.
    pub(crate) fn remove(path: &Path) -> anyhow::Result<bool> {
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(anyhow!("{} cannot be removed: {error}", path.display())),
        }
    }

    /// The nodes of one part.
    pub(super) fn side(&self) -> anyhow::Result<BTreeSet<PeerId>> {
        let peer = |name: &String| name.parse().with_context(|| format!("`{name}` is no libp2p peer id"));
        self.side.iter().map(peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_written_read_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(Partition::NAME);
        assert_eq!(Partition::read(&path).unwrap(), None);
        let peers: BTreeSet<PeerId> = (0..3).map(|_| PeerId::random()).collect();
        let partition = Partition::new(peers.iter().map(PeerId::to_string));
        partition.write(&path).unwrap();
        assert_eq!(Partition::read(&path).unwrap().unwrap().side().unwrap(), peers);
        fs::write(&path, "schema = 'starling.partition/2'\nside = []").unwrap();
        assert!(Partition::read(&path).is_err());
        assert!(Partition::new(["x".to_owned()]).side().is_err());
        assert!(Partition::remove(&path).unwrap() && !Partition::remove(&path).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left of the writing");
    }
}
