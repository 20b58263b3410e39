//! The transactions: when each enters and where. Equal seeds give equal traffic, whatever relay carries it.

use std::{collections::BTreeMap, collections::HashMap, str::FromStr, time::Duration};

use anyhow::{Context, anyhow};
use rand::{
    Rng, RngExt, SeedableRng,
    seq::{SliceRandom, index},
};
use rand_chacha::ChaCha8Rng;
use starling_mempool::{Genesis, GenesisAccount, Limits};
use starling_wire::{Transaction, TxId, VerifiedTx};

use crate::{
    launch::{NETWORK, account_key},
    load::{LoadSpec, MIN_TX_SIZE},
};

/// Transactions of one account, half of what a pool takes of one sender.
const PER_ACCOUNT: usize = 32;

/// What each account owns.
const BALANCE: u64 = 1_000_000_000_000;

/// Fee per byte of a transaction, drawn from this range.
const FEE_PER_BYTE: std::ops::RangeInclusive<u64> = 1..=8;

/// Exponent of the Zipf distribution: the node of rank r is the origin with a weight of 1/r.
const ZIPF_EXPONENT: f64 = 1.0;

/// Where transactions enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origins {
    /// Each at a random node.
    Uniform,
    /// At few nodes often, at many rarely.
    Zipf,
    /// At so many nodes, drawn once.
    Fixed(usize),
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse::<usize>()) {
            ("uniform", _) => Ok(Self::Uniform),
            ("zipf", _) => Ok(Self::Zipf),
            (_, Ok(count)) if count > 0 => Ok(Self::Fixed(count)),
            _ => Err("origins are `uniform`, `zipf` or a number of nodes above 0".to_owned()),
        }
    }
}

impl std::fmt::Display for Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf => f.write_str("zipf"),
            Self::Fixed(count) => write!(f, "{count}"),
        }
    }
}

/// One transaction.
#[derive(Debug)]
pub(crate) struct Entry {
    /// When it enters, in microseconds from the start of the load.
    pub(crate) at: u64,
    /// The node it enters at.
    pub(crate) origin: usize,
    /// The transaction; its signature was checked when it was made.
    pub(crate) tx: VerifiedTx,
}

/// All transactions of a run, numbered in the order of their times.
#[derive(Debug)]
pub(crate) struct Catalog {
    /// They.
    pub(crate) entries: Vec<Entry>,
    /// The bytes of each.
    pub(crate) tx_size: usize,
    /// The network in which their senders own something.
    pub(crate) genesis: Genesis,
    /// Never iterated over, as its order differs from run to run.
    numbers: HashMap<TxId, u32>,
}

impl Catalog {
    /// Draws and signs them. A sender always enters at the same node, so that its nonces come in order there.
    pub(crate) fn new(load: &LoadSpec, origins: Origins, nodes: usize) -> anyhow::Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(load.seed);
        rng.set_stream(1);
        let places = draw_origins(origins, nodes, load.total(), &mut rng);
        let payload_len = load.tx_size.checked_sub(MIN_TX_SIZE).context("the transaction size is below the least")?;
        // Each origin's account in use, by its number, and how many transactions it has.
        let mut accounts = Vec::new();
        let mut in_use: BTreeMap<usize, (usize, u64)> = BTreeMap::new();
        let entries = places
            .into_iter()
            .enumerate()
            .map(|(number, origin)| {
                let (account, nonce) = in_use.entry(origin).or_insert((usize::MAX, PER_ACCOUNT as u64));
                if *nonce == PER_ACCOUNT as u64 {
                    (*account, *nonce) = (accounts.len(), 0);
                    accounts.push(account_key(load.seed, accounts.len()));
                }
                let key = &accounts[*account];
                let mut payload = vec![0; payload_len];
                rng.fill_bytes(&mut payload);
                let tx = Transaction {
                    network: NETWORK,
                    sender: key.account(),
                    nonce: *nonce,
                    fee: load.tx_size as u64 * rng.random_range(FEE_PER_BYTE),
                    recipient: accounts[0].account(),
                    amount: 1,
                    valid_until: None,
                    payload: payload.into(),
                };
                *nonce += 1;
                let tx = tx.sign(key).context("a transaction cannot be signed")?;
                let tx = tx.verify().map_err(|error| anyhow!("a transaction's signature is not good: {error}"))?;
                let at = Duration::from_secs_f64(number as f64 / load.rate).as_micros() as u64;
                Ok(Entry { at, origin, tx })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let numbers = entries.iter().enumerate().map(|(number, entry)| (entry.tx.id(), number as u32)).collect();
        let genesis = Genesis {
            network: NETWORK,
            producers: Vec::new(),
            limits: Limits::default(),
            accounts: accounts.iter().map(|key| GenesisAccount { id: key.account(), balance: BALANCE }).collect(),
        };
        Ok(Self { entries, tx_size: load.tx_size, genesis, numbers })
    }

    /// A transaction's number.
    pub(crate) fn number(&self, id: &TxId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn draw_origins(origins: Origins, nodes: usize, count: usize, rng: &mut impl Rng) -> Vec<usize> {
    match origins {
        Origins::Uniform => (0..count).map(|_| rng.random_range(0..nodes)).collect(),
        Origins::Fixed(few) => {
            let chosen = index::sample(rng, nodes, few.min(nodes)).into_vec();
            (0..count).map(|_| chosen[rng.random_range(0..chosen.len())]).collect()
        }
        Origins::Zipf => {
            let mut ranked: Vec<usize> = (0..nodes).collect();
            ranked.shuffle(rng);
            let mut sum = 0.0;
            let sums: Vec<f64> = (1..=nodes)
                .map(|rank| {
                    sum += (rank as f64).powf(-ZIPF_EXPONENT);
                    sum
                })
                .collect();
            (0..count)
                .map(|_| {
                    let point = rng.random_range(0.0..sum);
                    ranked[sums.partition_point(|sum| *sum <= point).min(nodes - 1)]
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn load(seconds: u64) -> LoadSpec {
        LoadSpec { seed: 3, rate: 100.0, duration: Duration::from_secs(seconds), tx_size: 250 }
    }

    #[test]
    fn accounts_stick_to_origins_and_pools_can_take_all() {
        let catalog = Catalog::new(&load(2), Origins::Fixed(3), 50).unwrap();
        assert_eq!((catalog.len(), catalog.entries[1].at), (200, 10_000));
        let (mut homes, mut next) = (BTreeMap::new(), BTreeMap::new());
        for (number, entry) in catalog.entries.iter().enumerate() {
            assert_eq!((catalog.number(&entry.tx.id()), entry.tx.bytes().len()), (Some(number as u32), 250));
            assert_eq!(*homes.entry(entry.tx.sender()).or_insert(entry.origin), entry.origin);
            let nonce: &mut u64 = next.entry(entry.tx.sender()).or_default();
            assert_eq!(entry.tx.transaction().nonce, *nonce);
            *nonce += 1;
        }
        assert_eq!(homes.values().collect::<BTreeSet<_>>().len(), 3);
        assert!(next.values().all(|count| *count <= PER_ACCOUNT as u64));
        assert_eq!(catalog.genesis.accounts.len(), next.len());
        assert!(catalog.genesis.validate().is_ok());
    }

    #[test]
    fn zipf_has_favourites_and_uniform_has_none() {
        let most = |origins| {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let mut counts = [0; 100];
            draw_origins(origins, 100, 10_000, &mut rng).into_iter().for_each(|origin| counts[origin] += 1);
            counts.into_iter().max().unwrap()
        };
        assert!((1500..2500).contains(&most(Origins::Zipf)), "one in H(100) = 5.19");
        assert!(most(Origins::Uniform) < 150);
    }

    #[test]
    fn origins_are_read() {
        assert_eq!(
            ["uniform", "zipf", "20"].map(|text| text.parse::<Origins>().unwrap().to_string()),
            ["uniform", "zipf", "20"]
        );
        assert!("0".parse::<Origins>().is_err() && "many".parse::<Origins>().is_err());
    }
}
