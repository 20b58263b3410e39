//! What the methods need to know of a node, whichever way it relays.

use std::time::Duration;

use starling_mempool::{Genesis, Ledger, Mempool};
use starling_wire::NodeId;

use super::metrics::Metric;
use crate::engine::{Chain, Direction, Engine, Network, Proof, Stats, Time};

/// The state of a node that can be served. It stays on the node's main task; questions go to it there.
pub trait State: 'static {
    /// Whether it can ban peers.
    const BANS: bool;

    /// The network it belongs to.
    fn genesis(&self) -> &Genesis;

    /// The transaction pool.
    fn pool(&self) -> &Mempool;

    /// Balances and nonces.
    fn ledger(&self) -> &Ledger;

    /// The blocks; `None` if it only relays transactions.
    fn chain(&self) -> Option<&Chain>;

    /// What was counted since the start.
    fn stats(&self) -> &Stats;

    /// The neighbours.
    fn neighbours(&self, now: Time) -> Vec<Neighbour>;

    /// What it knows of the whole network; `None` if it does not measure that.
    fn network(&self, now: Time) -> Option<Measured>;

    /// What only this kind of node counts.
    fn more_metrics(&self) -> Vec<Metric> {
        Vec::new()
    }
}

/// What a node knows of the whole network.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What the network is like.
    pub network: Network,
    /// Nodes that were caught lying lately.
    pub proofs: Vec<Proof>,
    /// Messages that were about another time.
    pub untimely: u64,
}

/// A neighbour as it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    /// Who it is.
    pub id: NodeId,
    /// Who opened the connection.
    pub direction: Direction,
    /// Whether transactions are exchanged.
    pub ready: bool,
    /// Smoothed round-trip time, once measured.
    pub rtt: Option<Duration>,
    /// 0 at best, banned at -100.
    pub score: f64,
    /// Transactions it was the first to bring.
    pub first_deliveries: u64,
    /// When the connection came up.
    pub since: Time,
    /// The network it is in, for people; empty if that is not told.
    pub network: String,
    /// How unlikely its silence is, as a negative power of ten; 0 if that is not reckoned.
    pub phi: f64,
    /// Bytes of messages from and to it; 0 if they are not counted.
    pub bytes: (u64, u64),
}

impl State for Engine {
    const BANS: bool = true;

    fn genesis(&self) -> &Genesis {
        self.genesis()
    }

    fn pool(&self) -> &Mempool {
        self.pool()
    }

    fn ledger(&self) -> &Ledger {
        self.ledger()
    }

    fn chain(&self) -> Option<&Chain> {
        Some(self.chain())
    }

    fn stats(&self) -> &Stats {
        self.stats()
    }

    fn network(&self, now: Time) -> Option<Measured> {
        let (network, proofs) = (self.network(now), self.proofs().cloned().collect());
        Some(Measured { network, proofs, untimely: self.untimely_reports() })
    }

    fn neighbours(&self, now: Time) -> Vec<Neighbour> {
        let neighbour = |(id, link): (&NodeId, &crate::engine::Link)| Neighbour {
            id: *id,
            direction: link.direction(),
            ready: link.is_ready(),
            rtt: link.rtt(),
            score: self.score(now, id),
            first_deliveries: link.first_deliveries(),
            since: link.since(),
            network: link.network(),
            phi: link.phi(now),
            bytes: link.bytes(),
        };
        self.links().map(neighbour).collect()
    }
}
