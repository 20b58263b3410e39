//! What an operator may set for one node's pool. Unlike [`crate::Limits`], nodes need not agree on it.

use std::time::Duration;

use crate::pool::Origin;

/// Limits and policy of one pool. A value outside its documented range does no harm beyond what is said there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// Most bytes of encoded transactions held, 64 MiB by default. More rides out longer bursts; the process needs
    /// memory for it, and on top some 550 bytes per transaction for the decoded form and the indexes. From
    /// [`crate::Limits::max_tx_bytes`] up; a transaction longer than this is refused as if the pool were full.
    pub max_bytes: usize,
    /// Most transactions held, 100,000 by default. Bounds the memory of a pool full of small transactions, for which
    /// `max_bytes` alone is a weak bound. From 1 up; 0 refuses everything.
    pub max_count: usize,
    /// Most transactions of one sender, 64 by default. Higher lets busy senders run further ahead of the blocks; lower
    /// makes it dearer to fill the pool, as it takes more funded accounts. Work per transaction grows with it. From 1
    /// up to about 1024; 0 refuses everything.
    pub max_per_sender: usize,
    /// Most bytes of one sender's transactions, 512 KiB by default, which is 16 of the longest (geth's `AccountSlots`) and a
    /// 128th of the default pool. `max_per_sender` bounds small transactions, this bounds long ones. At least
    /// [`crate::Limits::max_tx_bytes`], or the longest are refused.
    pub max_bytes_per_sender: usize,
    /// How far above the account's next nonce a nonce may be, in nonces, 64 by default. Higher tolerates more
    /// reordering on the way here; what waits above a gap may never become executable but takes space. From 0 up; 0
    /// means a sender has at most one transaction in the pool.
    pub max_nonce_gap: u64,
    /// How long a peer's transaction may stay, 3 hours by default. Longer gives cheap transactions more chances; shorter
    /// frees the sender's funds and the space sooner. Any value.
    pub lifetime: Duration,
    /// The same for what this node's own users submitted, 24 hours by default: they asked this node, and nobody else may
    /// be left to keep it. From `lifetime` up.
    pub local_lifetime: Duration,
    /// By how much a transaction's fee per byte must exceed that of the one with the same sender and nonce which it
    /// replaces, in percent, 10 by default. It is the price of making every node relay again: lower invites churn,
    /// higher makes it dear to correct a fee. From 1 to 1000; 0 still demands more than before.
    pub replacement_percent: u64,
}

impl PoolConfig {
    /// How long a transaction may stay that came from there.
    pub fn lifetime_of(&self, origin: Origin) -> Duration {
        match origin {
            Origin::Local => self.local_lifetime,
            Origin::Peer => self.lifetime,
        }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_bytes: 64 * 1024 * 1024,
            max_count: 100_000,
            max_per_sender: 64,
            max_bytes_per_sender: 512 * 1024,
            max_nonce_gap: 64,
            lifetime: Duration::from_secs(3 * 60 * 60),
            local_lifetime: Duration::from_secs(24 * 60 * 60),
            replacement_percent: 10,
        }
    }
}
