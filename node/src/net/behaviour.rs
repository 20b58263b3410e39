//! Starling's part of the swarm: which connections there are, and what goes over them.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm,
        NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished,
    },
};
use starling_wire::{DecodeError, Message, NodeId};

use super::{
    counters::Counters,
    handler::{FromHandler, Handler, Received},
    identity,
    outbox::{Outbox, Queued},
    records::Records,
};
use crate::engine::{Address, Direction};

/// How long a connection that is to be closed may take to send what is queued.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the behaviour tells the driver.
#[derive(Debug)]
pub(super) enum Event {
    Connected { peer: NodeId, direction: Direction, address: Address },
    Disconnected { peer: NodeId },
    DialFailed { peer: Option<NodeId> },
    Received { peer: NodeId, received: Vec<Received> },
    Malformed { peer: NodeId, error: DecodeError },
    Congestion { peer: NodeId, congested: bool },
}

struct Connection {
    id: ConnectionId,
    direction: Direction,
    outbox: Outbox,
    /// Connections with this peer, this one included, that the engine has not been told of. Until it has, what it sends
    /// is meant for an earlier one.
    untold: usize,
}

/// The one connection in use with each peer, and what there is to tell.
///
/// Must be the last field of the composed behaviour: connections that another field refuses then never get here.
pub(super) struct Behaviour {
    local: NodeId,
    counters: Arc<Counters>,
    records: Arc<Records>,
    connections: HashMap<NodeId, Connection>,
    /// The peer of each connection in use: what comes in is looked up by connection, as making a node id out of a peer id
    /// takes microseconds of arithmetic on the curve.
    peers: HashMap<ConnectionId, NodeId>,
    /// Queues of connections that are being set up.
    fresh: HashMap<ConnectionId, Outbox>,
    events: VecDeque<ToSwarm<Event, std::convert::Infallible>>,
    closing: FuturesUnordered<BoxFuture<'static, (PeerId, ConnectionId)>>,
}

impl Behaviour {
    pub(super) fn new(local: NodeId, counters: Arc<Counters>) -> Self {
        Self {
            local,
            counters,
            records: Arc::new(Records::new()),
            connections: HashMap::new(),
            peers: HashMap::new(),
            fresh: HashMap::new(),
            events: VecDeque::new(),
            closing: FuturesUnordered::new(),
        }
    }

    /// Queues a message. To a peer that is gone it is lost; the engine is about to hear of that.
    pub(super) fn send(&mut self, peer: &NodeId, message: &Message) {
        let Some(connection) = self.connections.get(peer) else { return };
        if connection.untold > 0 {
            return;
        }
        match connection.outbox.push(message) {
            Queued::Fine => {}
            Queued::Congested => self.tell(Event::Congestion { peer: *peer, congested: true }),
            Queued::Overflow => {
                let id = connection.id;
                self.drop_connection(peer, id);
            }
        }
    }

    /// Closes a connection after what is queued is sent.
    pub(super) fn close(&mut self, peer: &NodeId) {
        let (Some(connection), Some(peer)) = (self.connections.get(peer), identity::peer_id(peer)) else { return };
        connection.outbox.close();
        let id = connection.id;
        self.closing.push(tokio::time::sleep(CLOSE_TIMEOUT).map(move |()| (peer, id)).boxed());
    }

    /// How many peers there is a connection with.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is something to tell.
    pub(super) fn has_news(&self) -> bool {
        !self.events.is_empty()
    }

    fn tell(&mut self, event: Event) {
        self.events.push_back(ToSwarm::GenerateEvent(event));
    }

    fn drop_connection(&mut self, peer: &NodeId, id: ConnectionId) {
        if let Some(peer_id) = identity::peer_id(peer) {
            self.events.push_back(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) });
        }
    }

    fn handler(&mut self, id: ConnectionId, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        identity::node_id(&peer).map_err(ConnectionDenied::new)?;
        let outbox = Outbox::new(self.counters.clone());
        self.fresh.insert(id, outbox.clone());
        Ok(Handler::new(outbox, self.counters.clone(), self.records.clone()))
    }

    fn established(&mut self, peer: NodeId, id: ConnectionId, direction: Direction, address: Address) {
        let Some(outbox) = self.fresh.remove(&id) else { return };
        let connected = |event: &ToSwarm<Event, _>| match event {
            ToSwarm::GenerateEvent(Event::Connected { peer, .. }) => Some(*peer),
            _ => None,
        };
        let untold = 1 + self.events.iter().filter(|event| connected(event) == Some(peer)).count();
        let connection = Connection { id, direction, outbox, untold };
        if let Some(old) = self.connections.get(&peer) {
            // Both sides dialled at once. Both keep the connection that the node with the lower id opened, or the
            // older of two that one side opened.
            let dialled_by_lower = |direction| (direction == Direction::Outgoing) == (self.local < peer);
            if old.direction == direction || dialled_by_lower(old.direction) {
                return self.drop_connection(&peer, id);
            }
            let old = old.id;
            self.peers.remove(&old);
            self.drop_connection(&peer, old);
            self.tell(Event::Disconnected { peer });
        }
        self.connections.insert(peer, connection);
        self.peers.insert(id, peer);
        self.tell(Event::Connected { peer, direction, address });
    }

    fn closed(&mut self, id: ConnectionId) {
        self.fresh.remove(&id);
        if let Some(peer) = self.peers.remove(&id) {
            self.connections.remove(&peer);
            self.tell(Event::Disconnected { peer });
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(id, peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(id, peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, endpoint, .. }) => {
                if let Ok(peer) = identity::node_id(&peer_id) {
                    let direction = if endpoint.is_dialer() { Direction::Outgoing } else { Direction::Incoming };
                    self.established(
                        peer,
                        connection_id,
                        direction,
                        identity::to_address(endpoint.get_remote_address()),
                    );
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => self.closed(connection_id),
            FromSwarm::DialFailure(DialFailure { peer_id, error, .. })
                if !matches!(error, DialError::DialPeerConditionFalse(_)) =>
            {
                let peer = peer_id.and_then(|peer| identity::node_id(&peer).ok());
                self.tell(Event::DialFailed { peer });
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        // The loser of two connections is not in use: nothing it brings counts any more.
        let Some(peer) = self.peers.get(&id).copied() else { return };
        match event {
            FromHandler::Received(received) => self.tell(Event::Received { peer, received }),
            FromHandler::Malformed(error) => self.tell(Event::Malformed { peer, error }),
            FromHandler::Relieved => self.tell(Event::Congestion { peer, congested: false }),
            FromHandler::Done => self.drop_connection(&peer, id),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(event) = self.events.pop_front() {
            if let ToSwarm::GenerateEvent(Event::Connected { peer, .. }) = &event
                && let Some(connection) = self.connections.get_mut(peer)
            {
                connection.untold = connection.untold.saturating_sub(1);
            }
            return Poll::Ready(event.map_in(|never| match never {}));
        }
        if let Poll::Ready(Some((peer_id, id))) = Pin::new(&mut self.closing).poll_next_unpin(cx) {
            // Already closed in nearly all cases; the swarm then ignores it.
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) });
        }
        Poll::Pending
    }
}
