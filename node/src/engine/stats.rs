//! What the engine counts.

use std::collections::BTreeMap;

/// Counters since the start. What crosses the wire is counted by the driver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions submitted by this node's user.
    pub submitted: u64,
    /// Transactions that entered the pool.
    pub admitted: u64,
    /// Transactions from neighbours that were refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Transactions that came again.
    pub duplicates: u64,
    /// Transactions passed over because too many signatures were being checked.
    pub passed_over: u64,
    /// Transactions that left the pool for a replacement or a better one.
    pub displaced: u64,
    /// Times a transaction submitted here was announced again because it did not come back from anybody.
    pub announced_again: u64,
    /// Transactions that comparing pools found missing here, and that were asked for.
    pub found_missing: u64,
    /// Transactions that left the pool because of their age.
    pub expired: u64,
    /// Transactions that left the pool because a block made them invalid.
    pub invalidated: u64,
    /// Blocks applied.
    pub blocks: u64,
    /// Nodes found to have signed two different reports for one epoch.
    pub liars: u64,
    /// Times a neighbour sent bytes that are no message.
    pub malformed: u64,
    /// Peers of another network, genesis or protocol version.
    pub wrong_network: u64,
    /// Peers turned away because there were enough links.
    pub turned_away: u64,
    /// Incoming links given up for newcomers.
    pub evicted: u64,
    /// Outgoing links given up for others.
    pub rotated: u64,
    /// Times a neighbour was taken for dead.
    pub suspected: u64,
    /// Times one that was taken for dead was heard again.
    pub revived: u64,
    /// Bans.
    pub banned: u64,
}
