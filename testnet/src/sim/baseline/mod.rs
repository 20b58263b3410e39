//! Models of other relays, for comparison.
//!
//! Each is the published algorithm with its published constants, no more, and says where it is simpler than the
//! original. They pay the same for a signature and use the same links as Starling. Bytes are those of the original's wire
//! format before encryption, to the nearest few, as Starling's are counted in frames before encryption.

mod bitcoin;
mod demers;
mod ethereum;
mod flood;
mod gossipsub;
mod plumtree;
mod store;

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) use self::{
    bitcoin::Bitcoin,
    demers::{Push, PushPull},
    ethereum::Ethereum,
    flood::Flood,
    gossipsub::Gossipsub,
    plumtree::Plumtree,
};
use super::{
    Scenario,
    relay::{Relay, Wire},
};

/// What a model starts with.
pub(crate) struct Start {
    txs: usize,
    degree: usize,
    rng: ChaCha8Rng,
}

/// A relay that is made from nothing but that.
pub(crate) trait Model: Relay {
    /// A node without links that are up.
    fn new(start: Start) -> Self;
}

/// The nodes of a scenario.
pub(crate) fn nodes<M: Model>(scenario: &Scenario) -> Vec<M> {
    let mut seeds = ChaCha8Rng::seed_from_u64(scenario.seed);
    seeds.set_stream(5);
    (0..scenario.topology.nodes())
        .map(|node| {
            M::new(Start {
                txs: scenario.catalog.len(),
                degree: scenario.topology.arcs_of(node).len(),
                rng: ChaCha8Rng::seed_from_u64(seeds.next_u64()),
            })
        })
        .collect()
}

/// A message of a model: a transaction, some ids, or a bare signal.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// Its kind, as an index into the model's.
    kind: u8,
    /// Its length on the wire.
    bytes: u32,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// A transaction in full, and what the model counts with it (hops).
    Tx(u32, u16),
    /// Transactions by id, likewise.
    Ids(Arc<[(u32, u16)]>),
    Nothing,
}

impl Packet {
    fn tx(kind: u8, bytes: usize, tx: u32, hops: u16) -> Self {
        Self { kind, bytes: bytes as u32, content: Content::Tx(tx, hops) }
    }

    fn ids(kind: u8, bytes: usize, ids: impl IntoIterator<Item = u32>) -> Self {
        Self { kind, bytes: bytes as u32, content: Content::Ids(ids.into_iter().map(|id| (id, 0)).collect()) }
    }

    fn signal(kind: u8, bytes: usize) -> Self {
        Self { kind, bytes: bytes as u32, content: Content::Nothing }
    }
}

impl Wire for Packet {
    fn kind(&self) -> usize {
        self.kind.into()
    }

    fn bytes(&self) -> usize {
        self.bytes as usize
    }

    fn fingerprint(&self) -> u64 {
        match &self.content {
            Content::Tx(tx, hops) => u64::from(*tx) << 16 | u64::from(*hops),
            Content::Ids(ids) => {
                ids.last().map_or(1 << 60, |(id, _)| 1 << 61 | (ids.len() as u64) << 32 | u64::from(*id))
            }
            Content::Nothing => 1 << 62,
        }
    }
}
