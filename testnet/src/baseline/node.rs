//! What a baseline node knows and decides: its neighbours, its pool, and what gossipsub may pass on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use libp2p::{
    PeerId, Swarm,
    gossipsub::{MessageAcceptance, MessageId, PublishError, TopicHash},
};
use starling_mempool::{Genesis, Ledger, Mempool, Origin, Place, PoolConfig, Rejection, TxRules};
use starling_node::{
    engine::{Chain, Direction, Source, Stats, Ticket, Time},
    net::{Answer, Counters, Flow, Reply, node_id},
    rpc::{Measured, Neighbour, State, metrics::Metric},
};
use starling_wire::{Kind, NodeId, SignedTx, TxId, Unverified, Verified, VerifiedTx};

use super::{
    Behaviour,
    config::{self, HEARTBEAT},
};

/// Signatures being checked at one time. Beyond it what comes is passed over, and counted: unlike Starling, gossipsub
/// asks for nothing again that it has seen. At most 1 GiB of the longest transactions; honest nodes never come near.
const MAX_CHECKING: usize = 32 * 1024;

/// Height of the last block: there are none.
const HEIGHT: u64 = 0;

/// A transaction that entered the pool.
pub(super) struct Admitted {
    pub(super) tx: VerifiedTx,
    pub(super) place: Place,
    /// Who brought it; `None` if it was submitted here.
    pub(super) from: Option<NodeId>,
}

/// A neighbour.
#[derive(Debug)]
struct Link {
    id: NodeId,
    direction: Direction,
    since: Time,
    /// Whether it takes transactions.
    subscribed: bool,
    /// Smoothed as Starling's links do (RFC 6298: 7/8 old, 1/8 new).
    rtt: Option<Duration>,
    first_deliveries: u64,
}

/// A node's state.
pub(crate) struct Node {
    pub(super) swarm: Swarm<Behaviour>,
    topic: TopicHash,
    genesis: Genesis,
    pool: Mempool,
    ledger: Ledger,
    stats: Stats,
    counters: Arc<Counters>,
    links: BTreeMap<PeerId, Link>,
    /// Who brought what is being checked, by transaction.
    checking: HashMap<TxId, PeerId>,
    /// Who waits for the answer to a submission. Bounded by the calls that RPC works on at one time.
    submissions: HashMap<Ticket, Reply>,
    next_ticket: u64,
    /// Transactions that gossipsub gave out as new.
    received: u64,
    /// Messages that gossipsub could not send.
    dropped: u64,
}

impl Node {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        genesis: Genesis,
        rules: TxRules,
        pool: PoolConfig,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            swarm,
            topic: config::topic().hash(),
            pool: Mempool::new(pool, genesis.limits.min_fee_per_byte),
            ledger: Ledger::new(&genesis).with_rules(rules),
            genesis,
            stats: Stats::default(),
            counters,
            links: BTreeMap::new(),
            checking: HashMap::new(),
            submissions: HashMap::new(),
            next_ticket: 0,
            received: 0,
            dropped: 0,
        }
    }

    // Links.

    /// A first connection to a peer is up. One whose key is of no use here is left again.
    pub(super) fn connected(&mut self, now: Time, peer: PeerId, direction: Direction) {
        let Ok(id) = node_id(&peer) else {
            // It may be gone already.
            let _gone = self.swarm.disconnect_peer_id(peer);
            return;
        };
        let link = Link { id, direction, since: now, subscribed: false, rtt: None, first_deliveries: 0 };
        self.links.insert(peer, link);
    }

    /// The last connection to a peer is gone.
    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        if let Some(link) = self.links.remove(peer).filter(|link| link.subscribed) {
            tracing::info!(peer = %link.id, "link down");
        }
    }

    /// A peer takes transactions, or no longer.
    pub(super) fn subscribed(&mut self, peer: &PeerId, subscribed: bool) {
        if let Some(link) = self.links.get_mut(peer)
            && link.subscribed != subscribed
        {
            link.subscribed = subscribed;
            tracing::info!(peer = %link.id, "link {}", if subscribed { "up" } else { "down" });
        }
    }

    /// The round trip to a peer was measured.
    pub(super) fn measured(&mut self, peer: &PeerId, rtt: Duration) {
        if let Some(link) = self.links.get_mut(peer) {
            link.rtt = Some(link.rtt.map_or(rtt, |old| (old * 7 + rtt) / 8));
        }
    }

    /// gossipsub could not send so many messages to a peer: its queue was full, or they waited too long.
    pub(super) fn dropped(&mut self, peer: &PeerId, messages: usize) {
        self.dropped += messages as u64;
        tracing::warn!(%peer, messages, "messages were dropped");
    }

    // Transactions.

    /// A neighbour brought a message that is new. Gives what is to be verified.
    pub(super) fn received(
        &mut self,
        now: Time,
        peer: PeerId,
        message: &MessageId,
        bytes: &[u8],
    ) -> Option<(Source, Unverified)> {
        self.received += 1;
        let (true, Some(link)) = (self.checking.len() < MAX_CHECKING, self.links.get_mut(&peer)) else {
            self.stats.passed_over += 1;
            self.judge(&peer, message, MessageAcceptance::Ignore);
            return None;
        };
        let Ok(tx) = SignedTx::decode(bytes) else {
            self.stats.malformed += 1;
            self.judge(&peer, message, MessageAcceptance::Reject);
            return None;
        };
        match self.pool.check(now.since_start(), &tx, HEIGHT, &self.ledger) {
            Ok(_) => {
                link.first_deliveries += 1;
                let source = Source::Peer(link.id);
                self.checking.insert(tx.id(), peer);
                Some((source, Unverified::Tx(tx)))
            }
            Err(rejection) => {
                self.refuse(&peer, &tx, &rejection);
                None
            }
        }
    }

    /// The user submits a transaction. Gives what is to be verified; otherwise the answer was given.
    pub(super) fn submit(&mut self, now: Time, tx: SignedTx, reply: Reply) -> Option<(Source, Unverified)> {
        self.stats.submitted += 1;
        let answer = match self.pool.place(&tx.id()) {
            Some(place) => Ok(place),
            None => match self.pool.check(now.since_start(), &tx, HEIGHT, &self.ledger) {
                Ok(_) => {
                    let ticket = Ticket(self.next_ticket);
                    self.next_ticket += 1;
                    self.submissions.insert(ticket, reply);
                    return Some((Source::Local(ticket), Unverified::Tx(tx)));
                }
                Err(rejection) => Err(rejection),
            },
        };
        // Whoever asked may have gone away.
        let _gone = reply.send(Ok(answer));
        None
    }

    /// A signature was checked. Gives the transaction if it entered the pool; it is then on its way to others.
    pub(super) fn verified(&mut self, now: Time, (source, verdict): Answer) -> Option<Admitted> {
        let (tx, verdict) = match verdict {
            Ok(Verified::Tx(tx)) => (SignedTx::clone(&tx), Ok(tx)),
            Err((Unverified::Tx(tx), error)) => (tx, Err(Rejection::BadSignature(error))),
            // Only transactions are given to the verifier.
            Ok(_) | Err(_) => return None,
        };
        match source {
            Source::Local(ticket) => {
                let result = verdict.and_then(|tx| self.admit(now, tx, Origin::Local));
                let answer = match &result {
                    Ok((_, place)) => Ok(*place),
                    // It came from a neighbour while its signature was being checked.
                    Err(Rejection::AlreadyKnown) => Ok(self.pool.place(&tx.id()).unwrap_or(Place::Pending)),
                    Err(rejection) => Err(rejection.clone()),
                };
                if result.is_ok() {
                    self.publish(&tx);
                }
                if let Some(reply) = self.submissions.remove(&ticket) {
                    let _gone = reply.send(Ok(answer));
                }
                result.ok().map(|(tx, place)| Admitted { tx, place, from: None })
            }
            Source::Peer(from) => {
                let peer = self.checking.remove(&tx.id())?;
                match verdict.and_then(|tx| self.admit(now, tx, Origin::Peer)) {
                    Ok((tx, place)) => {
                        self.judge(&peer, &message_of(&tx), MessageAcceptance::Accept);
                        Some(Admitted { tx, place, from: Some(from) })
                    }
                    // Submitted here at the same time; gossipsub would not publish what it had seen already.
                    Err(Rejection::AlreadyKnown) => {
                        self.judge(&peer, &message_of(&tx), MessageAcceptance::Accept);
                        None
                    }
                    Err(rejection) => {
                        self.refuse(&peer, &tx, &rejection);
                        None
                    }
                }
            }
            Source::Fetched(_) | Source::Own => None,
        }
    }

    /// Drops what is too old.
    pub(super) fn expire(&mut self, now: Time) {
        self.stats.expired += self.pool.expire(now.since_start()).len() as u64;
    }

    /// Counts what only gossipsub's own figures tell. For before a question is answered.
    pub(super) fn count(&mut self) {
        let pushes = self.counters.frames().find(|count| (count.kind, count.flow) == (Kind::Push, Flow::In));
        self.stats.duplicates = pushes.map_or(0, |count| count.frames.saturating_sub(self.received));
    }

    fn admit(&mut self, now: Time, tx: VerifiedTx, origin: Origin) -> Result<(VerifiedTx, Place), Rejection> {
        let inserted = self.pool.insert(now.since_start(), tx.clone(), origin, HEIGHT, &self.ledger)?;
        self.stats.admitted += 1;
        self.stats.displaced += inserted.removed.len() as u64;
        Ok((tx, inserted.place))
    }

    fn refuse(&mut self, peer: &PeerId, tx: &SignedTx, rejection: &Rejection) {
        *self.stats.refused.entry(rejection.reason()).or_default() += 1;
        tracing::debug!(id = %tx.id(), %peer, %rejection, "transaction refused");
        let blame = rejection.peer_is_to_blame();
        let verdict = if blame { MessageAcceptance::Reject } else { MessageAcceptance::Ignore };
        self.judge(peer, &message_of(tx), verdict);
    }

    fn publish(&mut self, tx: &SignedTx) {
        let gossipsub = &mut self.swarm.behaviour_mut().gossipsub;
        match gossipsub.publish(self.topic.clone(), tx.bytes().to_vec()) {
            // A neighbour brought it meanwhile: it goes on when that copy is checked. Without neighbours nobody is told.
            Ok(_) | Err(PublishError::Duplicate | PublishError::NoPeersSubscribedToTopic) => {}
            // Each queue that was full is told as dropped.
            Err(error) => tracing::warn!(id = %tx.id(), %error, "a transaction was not published"),
        }
    }

    /// Tells gossipsub whether to pass a message on. It logs if the message has left its cache by now.
    fn judge(&mut self, peer: &PeerId, message: &MessageId, verdict: MessageAcceptance) {
        let accept = matches!(verdict, MessageAcceptance::Accept);
        let gossipsub = &mut self.swarm.behaviour_mut().gossipsub;
        if !gossipsub.report_message_validation_result(message, peer, verdict) && accept {
            self.dropped += 1;
        }
    }
}

/// The name gossipsub knows a transaction by.
fn message_of(tx: &SignedTx) -> MessageId {
    MessageId::new(&tx.short_id().0)
}

impl State for Node {
    const BANS: bool = false;

    fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    fn pool(&self) -> &Mempool {
        &self.pool
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn chain(&self) -> Option<&Chain> {
        None
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn network(&self, _: Time) -> Option<Measured> {
        None
    }

    /// A link is ready once it is in the mesh, or the mesh has had two heartbeats to take it: before, a measurement would
    /// be of a network that is still being built.
    fn neighbours(&self, now: Time) -> Vec<Neighbour> {
        let mesh: Vec<_> = self.swarm.behaviour().gossipsub.mesh_peers(&self.topic).collect();
        let neighbour = |(peer, link): (&PeerId, &Link)| Neighbour {
            id: link.id,
            direction: link.direction,
            ready: link.subscribed && (mesh.contains(&peer) || now - link.since >= 2 * HEARTBEAT),
            rtt: link.rtt,
            score: 0.0,
            first_deliveries: link.first_deliveries,
            since: link.since,
            network: String::new(),
            phi: 0.0,
            bytes: (0, 0),
        };
        self.links.iter().map(neighbour).collect()
    }

    fn more_metrics(&self) -> Vec<Metric> {
        let mesh = self.swarm.behaviour().gossipsub.mesh_peers(&self.topic).count() as u64;
        vec![
            Metric::gauge("gossipsub_mesh", "Neighbours in the mesh", mesh),
            Metric::counter(
                "gossipsub_dropped",
                "Messages that were not sent: a queue was full, they waited too long, or were checked too late",
                self.dropped,
            ),
        ]
    }
}
