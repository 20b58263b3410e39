//! The task that runs a baseline node: swarm events, commands and verdicts go into [`Node`], outcomes into the trace.

use std::{path::PathBuf, time::Duration};

use futures::{FutureExt, StreamExt};
use libp2p::{
    Multiaddr,
    gossipsub::Event as Gossip,
    multiaddr::Protocol,
    swarm::{
        SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use starling_node::{
    engine::{Direction, Source},
    net::{Admission, Answer, BaseEvent, Clock, Command, StartError, Trace, Verifier, random_seed},
};
use starling_wire::Unverified;
use tokio::{
    sync::{broadcast, mpsc},
    time::{Instant, sleep_until},
};

use super::{
    BehaviourEvent,
    node::{Admitted, Node},
};

/// How long a stopping node waits for its connections to close.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// How often addresses given at the start are dialled again while nobody is connected there, old transactions are
/// dropped, and the trace is flushed.
const TICK: Duration = Trace::FLUSH_EVERY;

/// Further events of the swarm that are taken in before anything else, as a Starling node does.
const MAX_EVENTS: usize = 64;

pub(super) struct Driver {
    node: Node,
    clock: Clock,
    verifier: Verifier,
    trace: Trace,
    bootstrap: Vec<Multiaddr>,
    commands: mpsc::Receiver<Command<Node>>,
    admissions: broadcast::Sender<Admission>,
}

impl Driver {
    pub(super) fn new(
        node: Node,
        bootstrap: Vec<Multiaddr>,
        trace: Option<PathBuf>,
        commands: mpsc::Receiver<Command<Node>>,
        admissions: broadcast::Sender<Admission>,
    ) -> Result<Self, StartError> {
        let clock = Clock::start();
        let (trace, verifier) = (Trace::create(trace, clock)?, Verifier::new(random_seed()?));
        Ok(Self { node, clock, verifier, trace, bootstrap, commands, admissions })
    }

    /// Runs until told to stop, or until every handle is gone.
    pub(super) async fn run(mut self) {
        let mut stop_at: Option<Instant> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop_at.is_none() || self.node.swarm.connected_peers().next().is_some() {
            tokio::select! {
                event = self.node.swarm.select_next_some() => self.swarm_events(event),
                answers = self.verifier.next() => self.verified(answers),
                command = self.commands.recv(), if stop_at.is_none() => match command {
                    Some(Command::Shutdown) | None => {
                        stop_at = Some(Instant::now() + SHUTDOWN_TIMEOUT);
                        self.disconnect();
                    }
                    Some(command) => self.command(command),
                },
                _ = tick.tick() => self.tick(stop_at.is_some()),
                () = sleep_until(stop_at.unwrap_or_else(Instant::now)), if stop_at.is_some() => break,
            }
            let answers = self.verifier.start();
            self.verified(answers);
        }
        self.trace.flush();
    }

    /// Takes in all that has happened, so that signatures are checked in batches as large as the node is busy.
    fn swarm_events(&mut self, first: SwarmEvent<BehaviourEvent>) {
        self.swarm_event(first);
        for _ in 0..MAX_EVENTS {
            let Some(event) = self.node.swarm.select_next_some().now_or_never() else { return };
            self.swarm_event(event);
        }
    }

    fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(event)) => self.gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Base(BaseEvent::RoundTrip { peer, rtt })) => {
                self.node.measured(&peer, rtt);
            }
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, num_established, .. }
                if num_established.get() == 1 =>
            {
                let direction = if endpoint.is_dialer() { Direction::Outgoing } else { Direction::Incoming };
                self.node.connected(self.clock.now(), peer_id, direction);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => self.node.disconnected(&peer_id),
            SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
                tracing::error!(?addresses, %error, "a listener failed; the node can no longer be reached there");
            }
            SwarmEvent::IncomingConnectionError { error, .. } => tracing::debug!(%error, "incoming connection failed"),
            SwarmEvent::OutgoingConnectionError { error, .. } => tracing::debug!(%error, "outgoing connection failed"),
            _ => {}
        }
    }

    fn gossip(&mut self, event: Gossip) {
        match event {
            Gossip::Message { propagation_source, message_id, message } => {
                let item = self.node.received(self.clock.now(), propagation_source, &message_id, &message.data);
                self.verify(item);
            }
            Gossip::Subscribed { peer_id, .. } => self.node.subscribed(&peer_id, true),
            Gossip::Unsubscribed { peer_id, .. } => self.node.subscribed(&peer_id, false),
            Gossip::SlowPeer { peer_id, failed_messages } => {
                self.node.dropped(&peer_id, failed_messages.priority + failed_messages.non_priority);
            }
            Gossip::GossipsubNotSupported { peer_id } => {
                tracing::warn!(%peer_id, "a peer that does not speak gossipsub; is it a Starling node?");
            }
        }
    }

    fn command(&mut self, command: Command<Node>) {
        match command {
            Command::Submit { tx, reply } => {
                let item = self.node.submit(self.clock.now(), tx, reply);
                self.verify(item);
            }
            Command::Query(question) => {
                self.node.count();
                question(&self.node, self.clock.now());
            }
            Command::AddPeer(address) => self.dial(address),
            // RPC does not ask for those, as there is no score and no chain, and `run` takes the last.
            Command::BanPeer(_) | Command::ReadBlock { .. } | Command::ReadTx { .. } | Command::Shutdown => {}
        }
    }

    fn verify(&mut self, item: Option<(Source, Unverified)>) {
        if let Some((source, item)) = item {
            self.verifier.push(source, item);
        }
    }

    fn verified(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            let admitted = self.node.verified(self.clock.now(), answer);
            self.admitted(admitted);
        }
    }

    fn admitted(&mut self, admitted: Option<Admitted>) {
        if let Some(Admitted { tx, place, from }) = admitted {
            tracing::debug!(id = %tx.id(), ?from, "transaction admitted");
            self.trace.delivered(self.clock.now(), tx.short_id(), from);
            // Mostly nobody listens.
            let _unheard = self.admissions.send((tx, place));
        }
    }

    fn tick(&mut self, stopping: bool) {
        self.trace.flush();
        self.node.expire(self.clock.now());
        if !stopping {
            for address in self.bootstrap.clone() {
                self.dial(address);
            }
        }
    }

    /// Connects to an address, unless whoever it names is connected or being dialled.
    fn dial(&mut self, address: Multiaddr) {
        let options = match address.iter().last() {
            Some(Protocol::P2p(peer)) => DialOpts::peer_id(peer)
                .addresses(vec![address])
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build(),
            _ => DialOpts::from(address),
        };
        if let Err(error) = self.node.swarm.dial(options) {
            tracing::debug!(%error, "not dialled");
        }
    }

    fn disconnect(&mut self) {
        let peers: Vec<_> = self.node.swarm.connected_peers().copied().collect();
        for peer in peers {
            // It may be gone already.
            let _gone = self.node.swarm.disconnect_peer_id(peer);
        }
    }
}
