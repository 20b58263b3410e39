//! An attacker who wants to be all that honest nodes know.
//!
//! A share of the identities is his. They speak the protocol as far as it takes to be kept as neighbours, know each other,
//! tell of nobody else, and pass no transaction on. Each tells others of itself and its like ten times as often as an
//! honest node exchanges peers, by probes, which anybody may make.

use std::time::Duration;

use starling_node::engine::PeerRecord;
use starling_wire::{BoundedVec, Hello, Message, Record, limits::MAX_RECORDS};

use super::SETTLE;

/// The attacker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Attack {
    /// Share of the nodes that are his.
    pub(crate) share: f64,
    /// All of his are in one /16, in place of being spread as honest nodes are.
    pub(crate) one_network: bool,
}

/// Ten times as often as honest nodes exchange peers while they are eager, four times a second, and for half a minute longer
/// than they are; then ten times as often as they do when they are calm, every 15 s.
pub(super) fn gap(now: Duration) -> Duration {
    if now < 2 * SETTLE { Duration::from_millis(25) } else { Duration::from_millis(1500) }
}

/// What an attacker's node answers to a message, if anything.
pub(super) fn answer(message: &Message, hello: Hello, peers: impl FnOnce() -> Message) -> Vec<Message> {
    match message {
        Message::Hello(_) => vec![Message::Hello(hello), peers()],
        Message::Probe(_) => vec![Message::Hello(hello), peers()],
        Message::GetPeers => vec![peers()],
        // It gives a sign of life for each that it gets.
        Message::Alive => vec![Message::Alive],
        _ => Vec::new(),
    }
}

/// Records as a message.
pub(super) fn peers<'a>(records: impl Iterator<Item = &'a PeerRecord>) -> Message {
    let records: Vec<Record> =
        records.take(MAX_RECORDS).filter_map(|record| Record::new(record.envelope.clone())).collect();
    Message::Peers(BoundedVec::new(records).unwrap_or_else(|_| unreachable!("at most MAX_RECORDS were taken")))
}
