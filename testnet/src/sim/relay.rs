//! What the simulated world asks of a relay: one node's side of a way to spread transactions.
//!
//! A relay is a state machine without clock or I/O, as the engine is. It knows its neighbours by the numbers of its
//! links (*slots*) and transactions by their numbers in the [`Catalog`].

use super::traffic::Catalog;

/// No time at all: a deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// A message as the world sees it.
pub(crate) trait Wire: Clone + Send {
    /// Its kind, as an index into [`Relay::kinds`].
    fn kind(&self) -> usize;
    /// Its length in bytes with framing, before encryption.
    fn bytes(&self) -> usize;
    /// Something that tells it from others, for the digest.
    fn fingerprint(&self) -> u64;
}

/// What a relay wants done.
#[derive(Debug)]
pub(crate) enum Action<M> {
    /// Send a message on a link.
    Send {
        /// Which link.
        slot: usize,
        /// What.
        message: M,
    },
    /// Check a signature; answered by [`Relay::verified`], in the order of the requests.
    Verify,
    /// The node has a transaction now and may pass it on.
    Delivered {
        /// Which.
        tx: u32,
    },
    /// The node refused a transaction of its own user.
    Rejected {
        /// Why.
        reason: &'static str,
    },
    /// The node refused a neighbour's transaction.
    Refused,
    /// The node banned a neighbour.
    Banned,
    /// Close a link.
    Disconnect {
        /// Which link.
        slot: usize,
    },
}

/// What a relay can see and do during a call.
pub(crate) struct Cx<'a, M> {
    /// Microseconds since the start of the world.
    pub(crate) now: u64,
    /// All transactions there will be.
    pub(crate) catalog: &'a Catalog,
    pub(super) actions: &'a mut Vec<Action<M>>,
    pub(super) payloads: &'a mut Vec<u32>,
}

impl<M> Cx<'_, M> {
    /// Sends a message on a link.
    pub(crate) fn send(&mut self, slot: usize, message: M) {
        self.actions.push(Action::Send { slot, message });
    }

    /// Wants something done.
    pub(crate) fn act(&mut self, action: Action<M>) {
        self.actions.push(action);
    }

    /// Says that the message being handled carries a transaction in full.
    pub(crate) fn carries(&mut self, tx: u32) {
        self.payloads.push(tx);
    }
}

/// One node's side of a way to spread transactions.
pub(crate) trait Relay: Send {
    /// What it sends.
    type Message: Wire;

    /// Names of the kinds of messages.
    fn kinds() -> Vec<&'static str>;

    /// A link is up. `outgoing` says whether this node opened it, `rtt_us` how long there and back takes.
    fn connected(&mut self, cx: &mut Cx<'_, Self::Message>, slot: usize, outgoing: bool, rtt_us: u32);
    /// A link is gone, or its other end was found dead.
    fn disconnected(&mut self, cx: &mut Cx<'_, Self::Message>, slot: usize);
    /// The queue of a link has become too long, or short enough again.
    fn congested(&mut self, _cx: &mut Cx<'_, Self::Message>, _slot: usize, _congested: bool) {}
    /// A message came.
    fn message(&mut self, cx: &mut Cx<'_, Self::Message>, slot: usize, message: Self::Message);
    /// The node's user submits a transaction.
    fn submit(&mut self, cx: &mut Cx<'_, Self::Message>, tx: u32);
    /// The oldest outstanding signature is checked.
    fn verified(&mut self, cx: &mut Cx<'_, Self::Message>);
    /// When [`Self::timeout`] is due; [`NEVER`] for never.
    fn deadline(&self) -> u64;
    /// The deadline has come.
    fn timeout(&mut self, cx: &mut Cx<'_, Self::Message>);
}
