//! `manifest.json`: where everything of a testnet is, for its own commands and for anybody's scripts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use starling_node::cli::{Failure, Kind};
use starling_wire::NodeId;

use super::spec::{Relay, Transport};

/// What a testnet says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// [`Self::SCHEMA`].
    pub(crate) schema: String,
    /// The testnet's name.
    pub(crate) name: String,
    /// How its nodes pass transactions on; Starling's relay where it is not said.
    #[serde(default)]
    pub(crate) relay: Relay,
    /// What its keys are derived from.
    pub(crate) seed: u64,
    /// What its nodes talk over.
    pub(crate) transport: Transport,
    /// Links each node opens by itself.
    pub(crate) dials: u8,
    /// Time between blocks in milliseconds; `None` for a network that only relays.
    pub(crate) block_interval_ms: Option<u64>,
    /// Which wide-area delays its nodes have; absent without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wan: Option<WanEntry>,
    /// The file that cuts it into parts while it exists; absent if its nodes do not look for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<PathBuf>,
    /// When it was made, RFC 3339.
    pub(crate) created: String,
    /// The genesis file.
    pub(crate) genesis: PathBuf,
    /// Who owns something at the start.
    pub(crate) accounts: Accounts,
    /// The nodes, in the order of their numbers.
    pub(crate) nodes: Vec<NodeEntry>,
}

/// The funded accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accounts {
    /// What their keys are derived from, with `account-0`, `account-1`, …
    pub(crate) seed: u64,
    /// How many there are.
    pub(crate) count: usize,
    /// Where the keys of the first few are, as files. Insecure: anybody can derive them.
    pub(crate) keys: PathBuf,
}

/// Wide-area delays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WanEntry {
    /// The name of the set of regions.
    pub(crate) name: String,
    /// The file that says where the nodes are, and how far apart.
    pub(crate) file: PathBuf,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeEntry {
    /// `node-00`, `node-01`, …
    pub(crate) name: String,
    /// The node id.
    pub(crate) id: NodeId,
    /// The libp2p peer id.
    pub(crate) peer_id: String,
    /// Where it listens, each with its peer id at the end; empty until it is up.
    pub(crate) addresses: Vec<String>,
    /// The region it is in; absent without wide-area delays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// The URL of its JSON-RPC; empty until it is up.
    pub(crate) rpc: String,
    /// Its process; 0 before it is started.
    pub(crate) pid: u32,
    /// Its data directory.
    pub(crate) data_dir: PathBuf,
    /// Its log.
    pub(crate) log: PathBuf,
    /// Its delivery trace.
    pub(crate) trace: PathBuf,
}

#[cfg(test)]
impl NodeEntry {
    /// One with this process and directory, and nothing else known.
    pub(crate) fn of_test(pid: u32, data_dir: &Path) -> Self {
        Self {
            name: "node-00".into(),
            id: NodeId([0; 32]),
            peer_id: String::new(),
            addresses: Vec::new(),
            region: None,
            rpc: String::new(),
            pid,
            data_dir: data_dir.to_owned(),
            log: data_dir.join("log"),
            trace: data_dir.join("trace"),
        }
    }
}

impl Manifest {
    /// The file's name in a testnet's directory.
    pub(crate) const NAME: &str = "manifest.json";

    /// The name and version of its form.
    pub(crate) const SCHEMA: &str = "starling.manifest/1";

    /// Reads the manifest of the testnet `name` among those in `dir`.
    pub(crate) fn read(dir: &Path, name: &str) -> Result<Self, Failure> {
        let root = dir.join(name);
        let path = root.join(Self::NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && root.is_dir() => return Err(Self::missing(&root)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::usage(format!(
                    "there is no testnet `{name}`: no {} to read. Bring one up with `starling-testnet up --name \
                     {name}`, or name the right --dir",
                    path.display()
                )));
            }
            Err(error) => return Err(anyhow!("{} cannot be read: {error}", path.display()).into()),
        };
        let bad = |why: String| Failure::new(Kind::Failed, anyhow!("{} is no manifest: {why}", path.display()));
        let manifest: Self = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if manifest.schema != Self::SCHEMA {
            return Err(bad(format!("its schema is `{}`, not `{}`", manifest.schema, Self::SCHEMA)));
        }
        Ok(manifest)
    }

    /// A testnet's directory is there without a manifest. `down` does not remove it: it might be anything.
    pub(super) fn missing(root: &Path) -> Failure {
        Failure::usage(format!(
            "{root} is no testnet, as there is no {name} in it: an `up` that is ended before it is complete leaves \
             such a directory. If that is what it is, remove it with `rm -r {root}`; if not, choose another --name",
            root = root.display(),
            name = Self::NAME
        ))
    }

    /// Writes it into a testnet's directory in one step: whoever sees it sees all of it.
    pub(crate) fn write(&self, root: &Path) -> anyhow::Result<()> {
        let (path, part) = (root.join(Self::NAME), root.join(".manifest.json.part"));
        let text = serde_json::to_vec_pretty(self).context("the manifest cannot be written as JSON")?;
        fs::write(&part, text)
            .and_then(|()| fs::rename(&part, &path))
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// The node a user means by `3`, `node-03` or `node-3`.
    pub(crate) fn node(&self, text: &str) -> Result<&NodeEntry, Failure> {
        let number = text.strip_prefix("node-").unwrap_or(text).parse::<usize>().ok();
        number.and_then(|number| self.nodes.get(number)).ok_or_else(|| {
            let last = self.nodes.len().saturating_sub(1);
            Failure::usage(format!("`{text}` is no node of `{}`; its nodes are 0 to {last}", self.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use starling_wire::SecretKey;

    use super::*;

    #[test]
    fn manifests_are_read_back_and_nodes_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(dir.path(), "x").unwrap_err().kind(), Kind::Usage);
        let node = |number: usize| NodeEntry {
            name: format!("node-{number:02}"),
            id: SecretKey::from_seed(&[number as u8; 32]).node(),
            peer_id: "12D3".into(),
            addresses: vec!["/ip4/127.0.0.1/tcp/1".into()],
            region: Some("oceania".into()),
            rpc: "http://127.0.0.1:1".into(),
            pid: 7,
            data_dir: "d".into(),
            log: "l".into(),
            trace: "t".into(),
        };
        let manifest = Manifest {
            schema: Manifest::SCHEMA.into(),
            name: "x".into(),
            relay: Relay::Gossipsub,
            seed: 1,
            transport: Transport::Quic,
            dials: 8,
            block_interval_ms: Some(500),
            wan: Some(WanEntry { name: "earth".into(), file: "w".into() }),
            partition: Some("p".into()),
            created: "2026-11-21T00:00:00Z".into(),
            genesis: "g".into(),
            accounts: Accounts { seed: 1, count: 2, keys: "k".into() },
            nodes: (0..3).map(node).collect(),
        };
        let root = dir.path().join("x");
        fs::create_dir(&root).unwrap();
        manifest.write(&root).unwrap();
        assert_eq!(Manifest::read(dir.path(), "x").unwrap(), manifest);
        for text in ["2", "02", "node-2", "node-02"] {
            assert_eq!(manifest.node(text).unwrap().name, "node-02");
        }
        for text in ["3", "", "x", "-1"] {
            assert_eq!(manifest.node(text).unwrap_err().kind(), Kind::Usage);
        }
        Manifest { schema: "starling.manifest/2".into(), ..manifest }.write(&root).unwrap();
        assert_eq!(Manifest::read(dir.path(), "x").unwrap_err().kind(), Kind::Failed);
    }
}
