//! What the engine is told once, at its start.

use std::time::Duration;

use starling_mempool::{Genesis, PoolConfig, TxRules};
use starling_wire::SecretKey;

use super::io::Address;

/// Settings of one node.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The network: who has what, who produces blocks, which limits hold.
    pub genesis: Genesis,
    /// What the application that embeds the node demands of transactions on top; by default nothing.
    pub rules: TxRules,
    /// Limits of the transaction pool.
    pub pool: PoolConfig,
    /// How the node finds and keeps neighbours.
    pub overlay: OverlayConfig,
    /// How transactions are passed on.
    pub gossip: GossipConfig,
    /// Makes blocks whenever it is this key's turn; `None` for a node that only relays.
    pub producer: Option<ProducerConfig>,
    /// Unix time in milliseconds at the engine's time zero, for the timestamp of produced blocks and for the epochs of
    /// reports; see [`super::Input::WallClock`].
    pub unix_ms_at_start: u64,
}

/// How a producer makes blocks.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// Signs the blocks; must be one of the genesis file's producers to have any effect.
    pub key: SecretKey,
    /// How often the node looks whether it is its turn and there is something to include.
    pub interval: Duration,
}

/// Settings of the overlay.
#[derive(Debug, Clone)]
pub struct OverlayConfig {
    /// Links this node opens by itself. Each adds a copy of every announcement and shortens paths; 8 joins random
    /// graphs of any practical size with high probability. 0 to 32; with 0 the node looks for nobody, and has the links
    /// that come in and those it is told to make.
    pub dials: usize,
    /// Links this node accepts. Newcomers over it are told some other peers and turned away. Up to 64, which is the
    /// most links of both kinds a node has.
    pub max_incoming: usize,
    /// Where to look for first neighbours. Used while the node knows nobody else to dial, and never without dials.
    pub bootstrap: Vec<Address>,
}

impl Default for OverlayConfig {
    fn default() -> Self {
        Self { dials: 8, max_incoming: 24, bootstrap: Vec::new() }
    }
}

/// Settings of the relay.
#[derive(Debug, Clone)]
pub struct GossipConfig {
    /// Copies of a small transaction this node lets its neighbours push to it. 2 has a backup for each; 1 costs fewer
    /// bytes, and waits for a pull whenever a neighbour fails. Longer transactions are wanted once in either case.
    pub redundancy: u8,
}

impl Default for GossipConfig {
    fn default() -> Self {
        Self { redundancy: 2 }
    }
}
