//! What every node has on its connections besides its relay: limits, identify and ping.

use std::{convert::Infallible, time::Duration};

use libp2p::{
    PeerId, allow_block_list,
    connection_limits::{self, ConnectionLimits},
    identify,
    identity::Keypair,
    memory_connection_limits, ping,
    swarm::NetworkBehaviour,
};

/// Connections in all, those being set up included. Links are bounded by the engine; this bounds what comes before.
const MAX_CONNECTIONS: u32 = 128;

/// Connections being set up, each way.
const MAX_PENDING: u32 = 64;

/// Share of the machine's memory above which no new connection is made.
const MAX_MEMORY_SHARE: f64 = 0.9;

/// How often the round trip to each neighbour is measured. It hardly changes, and each time costs both ends two packets.
const PING_EVERY: Duration = Duration::from_secs(60);

/// Bounds how many connections there are, keeps out whom the node has blocked, tells peers who it is and measures the
/// round trips to them.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "BaseEvent")]
pub struct Base {
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    pub(super) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

impl Base {
    /// For the node with this key.
    pub fn new(keypair: &Keypair) -> Self {
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(MAX_PENDING))
            .with_max_pending_outgoing(Some(MAX_PENDING))
            .with_max_established(Some(MAX_CONNECTIONS))
            .with_max_established_per_peer(Some(2));
        Self {
            limits: connection_limits::Behaviour::new(limits),
            memory: memory_connection_limits::Behaviour::with_max_percentage(MAX_MEMORY_SHARE),
            blocked: allow_block_list::Behaviour::default(),
            identify: identify::Behaviour::new(identify::Config::new("/starling/id/1".into(), keypair.public())),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_EVERY)),
        }
    }
}

/// What [`Base`] tells.
#[derive(Debug)]
pub enum BaseEvent {
    /// The round trip to a peer was measured.
    RoundTrip {
        /// The other end.
        peer: PeerId,
        /// There and back.
        rtt: Duration,
    },
    /// Something of no consequence for the node.
    Other,
}

impl From<ping::Event> for BaseEvent {
    fn from(event: ping::Event) -> Self {
        match event {
            ping::Event { peer, result: Ok(rtt), .. } => Self::RoundTrip { peer, rtt },
            _ => Self::Other,
        }
    }
}

impl From<identify::Event> for BaseEvent {
    fn from(_: identify::Event) -> Self {
        Self::Other
    }
}

impl From<Infallible> for BaseEvent {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
