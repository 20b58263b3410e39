//! What goes into the engine and what comes out of it.

use std::{collections::BTreeSet, fmt, ops::Range, time::Duration};

use bytes::Bytes;
use starling_mempool::{Place, Rejection};
use starling_wire::{
    BlockId, DecodeError, Message, NodeId, SignatureError, SignedTx, TxId, Unverified, Verified, VerifiedTx,
};

use super::persist::Change;

/// A network address the engine keeps and hands back without reading it (the driver's multiaddr bytes).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub Bytes);

impl Address {
    /// Longest address kept, in bytes.
    pub const MAX_LEN: usize = 256;
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({} bytes)", self.0.len())
    }
}

/// A peer record whose signature the driver has checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRecord {
    /// Whom it describes, and who signed it.
    pub node: NodeId,
    /// Grows with every new record of that node.
    pub seq: u64,
    /// Where the node says it can be reached.
    pub addresses: Vec<Address>,
    /// The signed form, for passing on.
    pub envelope: Bytes,
}

/// Who opened a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// This node.
    Outgoing,
    /// The other node.
    Incoming,
}

/// The driver's name for a submission, given back with its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Where something came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A neighbour.
    Peer(NodeId),
    /// A neighbour, in answer to a request for a block's transactions.
    Fetched(NodeId),
    /// This node's own user.
    Local(Ticket),
    /// This node itself (a block it produced).
    Own,
}

/// Something that happened, for [`super::Engine::handle`].
#[derive(Debug)]
pub enum Input {
    /// A connection to a peer is up. There is one at most to each peer.
    Connected {
        /// The other end, authenticated.
        peer: NodeId,
        /// Who opened it.
        direction: Direction,
        /// Where the other end is, as the connection tells.
        address: Option<Address>,
    },
    /// The connection to a peer is gone.
    Disconnected {
        /// The other end.
        peer: NodeId,
    },
    /// A peer could not be reached; `None` where an address was dialled without knowing who lives there.
    DialFailed {
        /// Whom the driver tried to reach.
        peer: Option<NodeId>,
    },
    /// A peer sent a message. [`Message::Peers`] is not handed over like this but as [`Input::PeerRecords`].
    Message {
        /// The sender.
        peer: NodeId,
        /// The message.
        message: Message,
    },
    /// A peer sent peer records; those with a good signature are given.
    PeerRecords {
        /// The sender.
        peer: NodeId,
        /// The good ones.
        records: Vec<PeerRecord>,
        /// How many were no good.
        bad: usize,
    },
    /// A peer sent bytes that are no message.
    Malformed {
        /// The sender.
        peer: NodeId,
        /// What was wrong with them.
        error: DecodeError,
    },
    /// A new measurement of the round-trip time to a peer.
    RoundTrip {
        /// The other end.
        peer: NodeId,
        /// There and back.
        rtt: Duration,
    },
    /// What is queued for a peer rose above, or fell below, what its link takes at once.
    Congestion {
        /// The other end.
        peer: NodeId,
        /// Whether the queue is too long now.
        congested: bool,
    },
    /// The answer to an [`Output::ReadBlocks`] or [`Output::ReadBlockTxs`].
    BlockRead {
        /// Who asked.
        peer: NodeId,
        /// What was asked for and found, as it is to be sent.
        messages: Vec<Message>,
    },
    /// The answer to an [`Output::Verify`].
    Verified {
        /// Where the item came from, as given in the output.
        source: Source,
        /// The item, as given in the output, and the verdict.
        verdict: Result<Verified, (Unverified, SignatureError)>,
    },
    /// This node's record for others, made by the driver when its addresses change.
    LocalRecord(PeerRecord),
    /// The world's clock does not agree any more with what [`super::EngineConfig::unix_ms_at_start`] and the engine's time
    /// give: it was set, or the machine slept.
    WallClock {
        /// Unix time in milliseconds.
        unix_ms: u64,
    },
    /// The user submits a transaction; answered by [`Event::Submitted`].
    Submit {
        /// Given back with the answer.
        ticket: Ticket,
        /// The transaction.
        tx: SignedTx,
    },
    /// The user names an address to connect to.
    AddPeer(Address),
    /// The user bans a peer.
    BanPeer(NodeId),
    /// The time from [`super::Engine::poll_timeout`] has come.
    Timeout,
    /// The node is about to stop: say goodbye to all peers.
    Shutdown,
}

/// Something the driver must do.
#[derive(Debug)]
pub enum Output {
    /// Send a message. Messages to one peer stay in order.
    Send {
        /// To whom.
        peer: NodeId,
        /// What.
        message: Message,
    },
    /// Open a connection.
    Dial {
        /// Whom, if known: the driver must accept no other at these addresses.
        peer: Option<NodeId>,
        /// Where, in order of preference.
        addresses: Vec<Address>,
    },
    /// Close the connection to a peer after what was queued is sent.
    Disconnect {
        /// To whom.
        peer: NodeId,
    },
    /// Refuse connections with a peer (or no longer).
    Block {
        /// Whom.
        peer: NodeId,
        /// Whether to refuse.
        blocked: bool,
    },
    /// Check a signature, off the driver's task, and answer with [`Input::Verified`].
    Verify {
        /// To be given back.
        source: Source,
        /// What to check.
        item: Unverified,
    },
    /// Something should survive a restart.
    Store(Change),
    /// A neighbour asks for blocks that are stored, but no longer in memory: to be read and handed in as
    /// [`Input::BlockRead`], even if nothing is found. What one neighbour asks for is handed in in that order.
    ReadBlocks {
        /// Who asks.
        peer: NodeId,
        /// For which.
        heights: Range<u64>,
    },
    /// A neighbour asks for transactions of such a block.
    ReadBlockTxs {
        /// Who asks.
        peer: NodeId,
        /// Of which block.
        height: u64,
        /// For which of its transactions.
        wanted: BTreeSet<TxId>,
        /// Bytes of transactions to be handed in, at most.
        max_bytes: usize,
    },
    /// Something the outside may want to know.
    Event(Event),
}

/// Something the outside may want to know: for traces, logs, subscriptions.
#[derive(Debug, Clone)]
pub enum Event {
    /// A transaction entered the pool, and was passed on.
    Admitted {
        /// The transaction. It may have left the pool since, into a block that waited for it.
        tx: VerifiedTx,
        /// Who brought it; `None` if it was submitted here.
        from: Option<NodeId>,
        /// Whether it can be included now.
        place: Place,
    },
    /// A peer's transaction was refused.
    Refused {
        /// The transaction.
        id: TxId,
        /// Who brought it.
        from: NodeId,
        /// Why.
        rejection: Rejection,
    },
    /// The answer to an [`Input::Submit`]. A transaction that is already in the pool is a success.
    Submitted {
        /// As given.
        ticket: Ticket,
        /// Its place in the pool, or why not.
        result: Result<Place, Rejection>,
    },
    /// A block was applied: its transactions left the pool.
    BlockApplied {
        /// The block.
        id: BlockId,
        /// Its height.
        height: u64,
        /// How many transactions it has.
        txs: usize,
    },
    /// A block with a good signature cannot be applied, ever.
    BlockRefused {
        /// The block.
        id: BlockId,
        /// Its height.
        height: u64,
        /// Why.
        why: String,
    },
    /// A link is ready for use: both ends have said hello.
    LinkUp {
        /// The other end.
        peer: NodeId,
    },
    /// A link that was ready is gone.
    LinkDown {
        /// The other end.
        peer: NodeId,
    },
    /// A node was drawn at random out of the view of the network. It is to be dialled when a link is wanted.
    Sampled {
        /// Whom.
        node: NodeId,
    },
    /// A neighbour has been silent for so long that it is taken for dead; its link is closed unless it is heard again.
    Suspected {
        /// Whom.
        peer: NodeId,
    },
    /// A peer was banned for a time.
    Banned {
        /// Whom.
        peer: NodeId,
        /// For how long.
        duration: Duration,
        /// Why.
        why: String,
    },
}
