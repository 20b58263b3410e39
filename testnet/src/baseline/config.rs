//! gossipsub's settings. Where libp2p's default stands nothing is set; what is set says why.

use std::time::Duration;

use libp2p::gossipsub::{Config, ConfigBuilder, ConfigBuilderError, IdentTopic, Message, MessageId, ValidationMode};
use starling_wire::{SignedTx, limits::MAX_TX};

/// The one topic. Its name travels with every message and every announcement, hence so short.
const TOPIC: &str = "tx";

/// Mesh links wanted, fewest and most (`D`, `D_low`, `D_high`): those of Ethereum's consensus layer, the largest
/// network that runs gossipsub. libp2p's own 6, 5, 12 cost fewer copies and have longer paths.
pub(super) const MESH: usize = 8;
const MESH_LOW: usize = 6;
const MESH_HIGH: usize = 12;

/// How often the mesh is mended and ids are gossiped; as in the specification, libp2p and Ethereum (0.7 s there).
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long ids are remembered, so that no transaction is checked or passed on twice. Copies are seconds late at most;
/// two minutes is go-libp2p's default and twice that of libp2p's.
const DUPLICATE_CACHE: Duration = Duration::from_secs(120);

/// Ids in one announcement at most (libp2p's default), and in requests to one neighbour between two heartbeats. Enough
/// for three heartbeats' worth of 1,600 transactions per second.
const MAX_IDS: usize = 5_000;

/// Bytes of an id with its tag and length, and of what is around ids in an announcement, with room to spare.
const ID_BYTES: usize = 8 + 2;
const CONTROL_OVERHEAD: usize = 256;

/// Longest announcement a neighbour takes. libp2p's default of 16 KiB is shorter than what it itself sends with many
/// transactions per second, and a neighbour that is sent more closes the stream.
const MAX_CONTROL: usize = MAX_IDS * ID_BYTES + CONTROL_OVERHEAD;

/// Longest RPC: announcements of [`MAX_IDS`] and the longest transaction fit.
const MAX_TRANSMIT: usize = 64 * 1024;

const _: () = assert!(MAX_TRANSMIT > MAX_CONTROL && MAX_TRANSMIT > MAX_TX + CONTROL_OVERHEAD);

/// Messages that wait for one neighbour before more are dropped: as many as a pool holds. What is dropped comes back by
/// announcement within seconds at best; libp2p's default of 5,000 would make the baseline look worse than it is under a
/// burst.
const QUEUE: usize = 100_000;

/// How long a message may wait for a neighbour before it is dropped. libp2p's defaults (5 s for its own, 1 s for what it
/// forwards) spare live audio; a transaction is worth having later, too.
const QUEUE_TIME: Duration = Duration::from_secs(60);

/// How long a connection that no protocol needs is kept. gossipsub needs those in its mesh only, but announces on the
/// others, and the overlay is to stay as it was made: longer than any measurement.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The topic that transactions travel on.
pub(super) fn topic() -> IdentTopic {
    IdentTopic::new(TOPIC)
}

/// The name that gossipsub knows a transaction by: the eight bytes of its id that Starling's nodes announce, so that
/// neither relay pays more for an id than the other.
pub(super) fn message_id(bytes: &[u8]) -> MessageId {
    MessageId::new(&SignedTx::id_of(bytes).short().0)
}

/// The settings.
///
/// Left as libp2p has them: flood publishing (an origin sends to all its neighbours, which shortens the first hop for a
/// few copies more), gossip to six neighbours or a quarter about the last three heartbeats, and IDONTWANT for messages
/// over 1,000 bytes. Peers are not scored: that costs CPU and memory for every message, and among honest nodes nobody
/// gains by it.
pub(super) fn gossipsub() -> Result<Config, ConfigBuilderError> {
    ConfigBuilder::default()
        .mesh_n(MESH)
        .mesh_n_low(MESH_LOW)
        .mesh_n_high(MESH_HIGH)
        .heartbeat_interval(HEARTBEAT)
        // libp2p's 5 s would leave the mesh as the first connections made it for so long.
        .heartbeat_initial_delay(Duration::ZERO)
        // Transactions carry their sender's signature: an author, a sequence number and a second signature would be
        // over a hundred bytes for nothing.
        .validation_mode(ValidationMode::Anonymous)
        // As Starling does, a node passes on only what it has checked and taken into its pool.
        .validate_messages()
        .message_id_fn(|message: &Message| message_id(&message.data))
        .duplicate_cache_time(DUPLICATE_CACHE)
        .max_transmit_size(MAX_TRANSMIT)
        .max_control_messages_sent(MAX_IDS)
        .max_control_message_size(MAX_CONTROL)
        .connection_handler_queue_len(QUEUE)
        .publish_queue_duration(QUEUE_TIME)
        .forward_queue_duration(QUEUE_TIME)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_taken() {
        let config = gossipsub().unwrap();
        assert_eq!((config.mesh_n(), config.mesh_n_low(), config.mesh_n_high()), (MESH, MESH_LOW, MESH_HIGH));
        assert!(config.validate_messages() && config.flood_publish());
        assert!(matches!(config.validation_mode(), ValidationMode::Anonymous));
    }
}
