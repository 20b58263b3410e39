//! What a testnet is to be, and the files it starts from: genesis and keys, all derived from one seed.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use rand::{SeedableRng, seq};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use starling_mempool::{Genesis, GenesisAccount, Limits};
use starling_node::{cli::keyfile, net};
use starling_wire::{NetworkId, SecretKey};

use super::manifest::{Accounts, Manifest, NodeEntry, WanEntry};
use crate::{
    map::{Regions, Topology},
    partition::Partition,
    wan::Wan,
};

/// The number of every testnet's network.
pub(crate) const NETWORK: NetworkId = NetworkId(1337);

/// What each account owns at the start. Far more than a load can spend; 100,000 times it fits into 64 bits.
const BALANCE: u64 = 1_000_000_000_000;

/// Account keys written as files, for use with `starling tx`. The others can be derived in the same way.
const KEY_FILES: usize = 16;

/// Nodes that take turns at making blocks.
const PRODUCERS: usize = 3;

/// What nodes talk over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// TCP with noise and yamux.
    Tcp,
    /// QUIC.
    Quic,
}

impl Transport {
    /// Where a node listens: loopback, at a port of the system's choice.
    pub(crate) fn listen(self) -> &'static str {
        match self {
            Self::Tcp => "/ip4/127.0.0.1/tcp/0",
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        }
    }

    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        }
    }
}

/// How nodes pass transactions on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Relay {
    /// Starling's own relay.
    #[default]
    Starling,
    /// libp2p's gossipsub, to compare with; without blocks.
    Gossipsub,
}

impl Relay {
    /// The hidden command that makes this program such a node.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Starling => "node",
            Self::Gossipsub => "node-gossipsub",
        }
    }

    /// The relay whose hidden command this is.
    pub(crate) fn of_command(command: &OsStr) -> Option<Self> {
        Self::value_variants().iter().copied().find(|relay| command == relay.command())
    }

    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starling => "starling",
            Self::Gossipsub => "gossipsub",
        }
    }
}

/// What a testnet is to be.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// Its name.
    pub(crate) name: String,
    /// How its nodes pass transactions on.
    pub(crate) relay: Relay,
    /// How many nodes.
    pub(crate) nodes: usize,
    /// Links each opens by itself.
    pub(crate) dials: u8,
    /// What keys are derived from.
    pub(crate) seed: u64,
    /// What nodes talk over.
    pub(crate) transport: Transport,
    /// Where nodes are, for the delays between them; `None` for no delays.
    pub(crate) wan: Option<Regions>,
    /// Whether its links are those that the simulator draws for the same nodes, dials and seed. Otherwise nodes find
    /// their neighbours by themselves.
    pub(crate) planned: bool,
    /// Whether it can be cut into parts while it runs. Its nodes then look for a file four times a second.
    pub(crate) severable: bool,
    /// Time between blocks; `None` for a network that only relays.
    pub(crate) block_interval: Option<Duration>,
    /// Whether nodes keep their state over restarts. Starling's can.
    pub(crate) store: bool,
    /// Funded accounts.
    pub(crate) accounts: usize,
}

/// The key of a funded account.
pub(crate) fn account_key(seed: u64, number: usize) -> SecretKey {
    SecretKey::insecure_from_name(seed, &format!("account-{number}"))
}

fn node_key(seed: u64, number: usize) -> SecretKey {
    SecretKey::insecure_from_name(seed, &format!("node-{number}"))
}

fn producer_key(seed: u64, number: usize) -> SecretKey {
    SecretKey::insecure_from_name(seed, &format!("producer-{number}"))
}

/// A node's identity, in its data directory.
pub(super) fn identity_file(data_dir: &Path) -> PathBuf {
    data_dir.join("node.pem")
}

/// A producer's key, in its node's data directory.
pub(super) fn producer_file(data_dir: &Path) -> PathBuf {
    data_dir.join("producer.pem")
}

impl Spec {
    /// How many nodes, from the first on, make blocks.
    pub(super) fn producers(&self) -> usize {
        if self.block_interval.is_some() { PRODUCERS.min(self.nodes) } else { 0 }
    }

    /// Where the nodes are and who is to be linked with whom: as the simulator draws it from the same nodes, dials and
    /// seed. Without delays, too, the links are those of the regions that come with the program.
    pub(super) fn topology(&self) -> anyhow::Result<Topology> {
        let earth;
        let regions = match &self.wan {
            Some(regions) => regions,
            None => {
                earth = Regions::earth()?;
                &earth
            }
        };
        Ok(Topology::random(regions, self.nodes, self.dials.into(), self.seed))
    }

    /// Whether nodes start one by one: gossipsub's find no neighbours by themselves, so each is given some of those that
    /// are up already.
    pub(super) fn one_by_one(&self) -> bool {
        !self.planned && self.relay == Relay::Gossipsub
    }

    /// The nodes that a node is told of at its start: none where links are planned, the first for Starling's, which find
    /// the others by themselves, and as many of those before it as it is to dial for gossipsub's, which do not.
    pub(super) fn first_neighbours(&self, number: usize) -> Vec<usize> {
        if self.planned {
            return Vec::new();
        }
        match self.relay {
            Relay::Starling => (0..number.min(1)).collect(),
            Relay::Gossipsub => {
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                rng.set_stream(number as u64);
                seq::index::sample(&mut rng, number, number.min(self.dials.into())).into_vec()
            }
        }
    }

    fn genesis(&self) -> Genesis {
        Genesis {
            network: NETWORK,
            producers: (0..self.producers()).map(|number| producer_key(self.seed, number).account()).collect(),
            limits: Limits::default(),
            accounts: (0..self.accounts)
                .map(|number| GenesisAccount { id: account_key(self.seed, number).account(), balance: BALANCE })
                .collect(),
        }
    }

    /// Writes genesis, keys, the delays and the nodes' directories under `root`, which must be an absolute path, and
    /// says what is where. The nodes' places are those of `topology`.
    pub(super) fn write(&self, root: &Path, topology: &Topology) -> anyhow::Result<Manifest> {
        let genesis = root.join("genesis.toml");
        fs::write(&genesis, self.genesis().to_toml())
            .with_context(|| format!("{} cannot be written", genesis.display()))?;
        let keys = root.join("keys");
        make_dir(&keys)?;
        let note = format!(
            "The keys of the first {} of {} funded accounts of a testnet.\nThey are derived from the number {} and are \
             NOT SECRET: anybody can derive them. Never use them for anything else.\n",
            KEY_FILES.min(self.accounts),
            self.accounts,
            self.seed
        );
        fs::write(keys.join("README"), note).context("the note about the keys cannot be written")?;
        for number in 0..self.accounts.min(KEY_FILES) {
            let path = keys.join(format!("account-{number:02}.pem"));
            write_key(&path, &account_key(self.seed, number))?;
        }
        let mut nodes =
            (0..self.nodes).map(|number| self.write_node(root, number)).collect::<anyhow::Result<Vec<_>>>()?;
        let wan = match &self.wan {
            Some(regions) => Some(write_wan(root, regions, topology, &mut nodes)?),
            None => None,
        };
        Ok(Manifest {
            schema: Manifest::SCHEMA.to_owned(),
            name: self.name.clone(),
            relay: self.relay,
            seed: self.seed,
            transport: self.transport,
            dials: self.dials,
            block_interval_ms: self.block_interval.map(|interval| interval.as_millis() as u64),
            wan,
            partition: self.severable.then(|| root.join(Partition::NAME)),
            created: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            genesis,
            accounts: Accounts { seed: self.seed, count: self.accounts, keys },
            nodes,
        })
    }

    fn write_node(&self, root: &Path, number: usize) -> anyhow::Result<NodeEntry> {
        let name = format!("node-{number:02}");
        let data_dir = root.join(&name);
        make_dir(&data_dir)?;
        let key = node_key(self.seed, number);
        write_key(&identity_file(&data_dir), &key)?;
        if number < self.producers() {
            write_key(&producer_file(&data_dir), &producer_key(self.seed, number))?;
        }
        let peer_id = net::peer_id(&key.node()).context("a node's id is no key")?.to_string();
        Ok(NodeEntry {
            id: key.node(),
            peer_id,
            addresses: Vec::new(),
            region: None,
            rpc: String::new(),
            pid: 0,
            log: data_dir.join("node.log"),
            trace: data_dir.join("trace"),
            name,
            data_dir,
        })
    }
}

/// Writes where each node is, for the nodes, and notes it in their entries.
fn write_wan(root: &Path, regions: &Regions, topology: &Topology, nodes: &mut [NodeEntry]) -> anyhow::Result<WanEntry> {
    let mut places = BTreeMap::new();
    for (node, place) in nodes.iter_mut().zip(&topology.places) {
        node.region = regions.name_of(*place).map(ToOwned::to_owned);
        places.insert(node.peer_id.clone(), *place);
    }
    let file = root.join(Wan::NAME);
    Wan::new(regions.clone(), places).write(&file)?;
    Ok(WanEntry { name: regions.name.clone(), file })
}

fn make_dir(path: &Path) -> anyhow::Result<()> {
    fs::create_dir(path).with_context(|| format!("the directory {} cannot be made", path.display()))
}

fn write_key(path: &Path, key: &SecretKey) -> anyhow::Result<()> {
    keyfile::write(path, key, false).map_err(|error| anyhow!("{error}"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A small testnet.
    pub(in crate::launch) fn spec() -> Spec {
        Spec {
            name: "x".into(),
            relay: Relay::Starling,
            nodes: 4,
            dials: 8,
            seed: 3,
            transport: Transport::Tcp,
            wan: None,
            planned: false,
            severable: true,
            block_interval: Some(Duration::from_secs(1)),
            store: false,
            accounts: 20,
        }
    }

    fn written(spec: &Spec, root: &Path) -> Manifest {
        spec.write(root, &spec.topology().unwrap()).unwrap()
    }

    #[test]
    fn nodes_are_placed_as_the_simulator_places_them() {
        let dir = tempfile::tempdir().unwrap();
        let earth = Regions::earth().unwrap();
        let manifest = written(&Spec { wan: Some(earth.clone()), nodes: 40, ..spec() }, dir.path());
        let simulated = Topology::random(&earth, 40, 8, 3);
        for (node, place) in manifest.nodes.iter().zip(&simulated.places) {
            assert_eq!(node.region.as_deref(), earth.name_of(*place), "{}", node.name);
        }
        let file = Wan::read(&manifest.wan.unwrap().file).unwrap();
        let places = manifest.nodes.iter().map(|node| node.peer_id.clone()).zip(simulated.places.iter().copied());
        assert_eq!(file, Wan::new(earth, places.collect()));
    }

    #[test]
    fn files_are_complete_and_equal_seeds_give_equal_networks() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = written(&spec(), dir.path());
        let genesis = Genesis::from_toml(&fs::read_to_string(&manifest.genesis).unwrap()).unwrap();
        assert_eq!((genesis.producers.len(), genesis.accounts.len()), (3, 20));
        assert_eq!(genesis.id(), spec().genesis().id());
        assert_ne!(genesis.id(), Spec { seed: 4, ..spec() }.genesis().id());
        let first = keyfile::read(&manifest.accounts.keys.join("account-00.pem")).unwrap();
        assert_eq!(first.account(), genesis.accounts[0].id);
        assert!(manifest.accounts.keys.join("account-15.pem").exists());
        assert!(!manifest.accounts.keys.join("account-16.pem").exists());
        for (number, node) in manifest.nodes.iter().enumerate() {
            assert_eq!(keyfile::read(&identity_file(&node.data_dir)).unwrap().node(), node.id);
            assert_eq!(producer_file(&node.data_dir).exists(), number < 3);
        }
        assert!(manifest.wan.is_none() && manifest.nodes[0].region.is_none());
        assert!(Spec { block_interval: None, ..spec() }.genesis().producers.is_empty());
    }

    #[test]
    fn first_neighbours_are_distinct_and_came_before() {
        assert_eq!([0, 1, 9].map(|number| spec().first_neighbours(number)), [vec![], vec![0], vec![0]]);
        let spec = Spec { relay: Relay::Gossipsub, ..spec() };
        for number in 0..50 {
            let drawn = spec.first_neighbours(number);
            assert_eq!(drawn, spec.first_neighbours(number));
            assert!(drawn.iter().all(|first| *first < number), "{drawn:?}");
            assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), number.min(8), "{drawn:?}");
        }
        assert_ne!(spec.first_neighbours(49), Spec { seed: 4, ..spec.clone() }.first_neighbours(49));
    }

    #[test]
    fn the_most_accounts_have_a_total_that_fits() {
        assert!(BALANCE.checked_mul(100_000).is_some());
    }
}
