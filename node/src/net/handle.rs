//! The way to a running node for everybody else in its process.

use std::{fmt, sync::Arc};

use libp2p::Multiaddr;
use starling_mempool::{Place, Rejection};
use starling_wire::{NodeId, SignedBlock, SignedTx, TxId, VerifiedTx};
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::counters::Counters;
use crate::engine::{Engine, Time};

/// Commands that wait for the node; beyond it callers are told that it is busy.
const MAX_COMMANDS: usize = 1024;

/// Admissions kept for whoever is told of them and has not taken them yet; whoever falls further behind is told that it
/// missed some. At most 32 MiB of the longest transactions, and mostly shared with the pool.
const MAX_ADMISSIONS: usize = 1024;

/// A transaction that entered the pool, and its place there.
pub type Admission = (VerifiedTx, Place);

/// Why a node did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unavailable {
    /// Too many questions wait already.
    #[error("the node is busy; try again in a moment")]
    Busy,
    /// It has stopped.
    #[error("the node is stopping")]
    Stopped,
    /// The store cannot be read.
    #[error("the node's store cannot be read now; the node's log says why")]
    Unreadable,
    /// The transaction is in the pool but not on the disk.
    #[error(
        "the transaction is accepted and passed on, but cannot be stored, and would not survive a restart of the node; its \
         log says why. Submit it again when the store can be written"
    )]
    NotStored,
}

/// Gets the answer to a submission.
pub type Reply = oneshot::Sender<Result<Result<Place, Rejection>, Unavailable>>;

/// A question to a node's state at a time.
pub type Query<S> = Box<dyn FnOnce(&S, Time) + Send>;

/// What a [`NodeHandle`] asks of the node's main task, which keeps its state in an `S`.
pub enum Command<S> {
    /// Check a transaction, take it into the pool and pass it on.
    Submit {
        /// The transaction.
        tx: SignedTx,
        /// Gets the answer. One that is in the pool already is a success.
        reply: Reply,
    },
    /// Answer a question about the state at this time.
    Query(Query<S>),
    /// Read a block that is stored.
    ReadBlock {
        /// Its height.
        height: u64,
        /// Gets it, if it can be read; is dropped if too many others wait.
        reply: oneshot::Sender<Option<SignedBlock>>,
    },
    /// Read a transaction of a block that is stored.
    ReadTx {
        /// The block's height.
        height: u64,
        /// The transaction.
        id: TxId,
        /// Gets it, if it is there; is dropped if too many others wait.
        reply: oneshot::Sender<Result<Option<SignedTx>, Unavailable>>,
    },
    /// Connect to an address.
    AddPeer(Multiaddr),
    /// Ban a peer for a time.
    BanPeer(NodeId),
    /// Say goodbye to all peers and stop.
    Shutdown,
}

/// A running node, for whoever wants something of it. Clones reach the same node; it runs until it is told to stop.
pub struct NodeHandle<S = Engine> {
    id: NodeId,
    listeners: Arc<[Multiaddr]>,
    counters: Arc<Counters>,
    commands: mpsc::Sender<Command<S>>,
    admissions: broadcast::Sender<Admission>,
}

impl<S> Clone for NodeHandle<S> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            listeners: self.listeners.clone(),
            counters: self.counters.clone(),
            commands: self.commands.clone(),
            admissions: self.admissions.clone(),
        }
    }
}

impl<S> fmt::Debug for NodeHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeHandle").field("id", &self.id).field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

impl<S: 'static> NodeHandle<S> {
    /// A handle, and what is asked through it and its clones.
    pub fn new(id: NodeId, listeners: Vec<Multiaddr>, counters: Arc<Counters>) -> (Self, mpsc::Receiver<Command<S>>) {
        let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
        let (admissions, _) = broadcast::channel(MAX_ADMISSIONS);
        (Self { id, listeners: listeners.into(), counters, commands, admissions }, receiver)
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where the node listens, each with the node's peer id at its end, so that others can be given it as it is.
    pub fn listeners(&self) -> &[Multiaddr] {
        &self.listeners
    }

    /// What crossed the wire so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where the node's main task tells of transactions that entered the pool, and where to subscribe to that.
    pub fn admissions(&self) -> &broadcast::Sender<Admission> {
        &self.admissions
    }

    /// Submits a transaction: it is checked, taken into the pool and passed on, and, if the node has a store, written to
    /// the disk before this returns. One that is in the pool already is a success.
    pub async fn submit(&self, tx: SignedTx) -> Result<Result<Place, Rejection>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Submit { tx, reply })?;
        answer.await.map_err(|_| Unavailable::Stopped)?
    }

    /// Asks the node's state something. The question runs on the node's main task: keep it short.
    pub async fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&S, Time) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Query(Box::new(move |state, now| {
            // Whoever asked may have gone away.
            let _gone = reply.send(question(state, now));
        })))?;
        answer.await.map_err(|_| Unavailable::Stopped)
    }

    /// A block that is stored.
    pub async fn stored_block(&self, height: u64) -> Result<SignedBlock, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::ReadBlock { height, reply })?;
        answer.await.map_err(|_| Unavailable::Busy)?.ok_or(Unavailable::Unreadable)
    }

    /// A transaction of a block that is stored, if it is there.
    pub async fn stored_tx(&self, height: u64, id: TxId) -> Result<Option<SignedTx>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::ReadTx { height, id, reply })?;
        answer.await.map_err(|_| Unavailable::Busy)?
    }

    /// Connects to an address.
    pub fn add_peer(&self, address: Multiaddr) -> Result<(), Unavailable> {
        self.command(Command::AddPeer(address))
    }

    /// Bans a peer for a time.
    pub fn ban_peer(&self, peer: NodeId) -> Result<(), Unavailable> {
        self.command(Command::BanPeer(peer))
    }

    /// Says goodbye to all peers and stops. The node's main task ends soon after, within seconds.
    pub async fn shutdown(&self) {
        // If it is gone already, that is what was wanted.
        let _stopped = self.commands.send(Command::Shutdown).await;
    }

    fn command(&self, command: Command<S>) -> Result<(), Unavailable> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unavailable::Busy,
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopped,
        })
    }
}
