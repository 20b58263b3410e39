//! The task that joins the engine to the world: swarm events, commands, verdicts and the timer go in, outputs come out.

use std::{
    collections::{BTreeSet, HashMap},
    future::poll_fn,
    pin::pin,
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use libp2p::{
    Multiaddr, Swarm,
    identity::Keypair,
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
};
use starling_wire::{Message, NodeId};
use tokio::{
    sync::{broadcast, mpsc},
    time::{Instant, sleep_until},
};

use super::{
    Command, Reply, Unavailable,
    base::{Base, BaseEvent},
    behaviour,
    handle::Admission,
    handler::Received,
    identity,
    on_wake::{Alarm, OnWake},
    trace::{Clock, Trace},
    verify::{Answer, Verifier},
};
use crate::{
    engine::{Engine, Event, Input, Output, Ticket},
    store::Store,
};

/// How long a stopping node waits for its goodbyes to be sent.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Most events taken in before anything else is looked at.
const MAX_EVENTS: usize = 64;

/// How often the node signs anew where it can be reached: others take no record that is older than a day.
const RENEW_RECORD: Duration = Duration::from_secs(3600);
/// By how much the world's clock may differ from what the engine was told, in milliseconds: much less than the seconds that
/// matter, and more than clocks that are kept right are adjusted by.
const CLOCK_ERROR_MS: u64 = 500;

/// What was read of stored blocks, and the neighbour who asked for it.
type BlockRead = (NodeId, Vec<Message>);

/// All protocols of a node. Starling's own comes last, as it asks to.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) base: OnWake<Base>,
    pub(super) starling: OnWake<behaviour::Behaviour>,
}

pub(super) struct Driver {
    pub(super) swarm: Swarm<Behaviour>,
    /// The swarm's.
    pub(super) alarm: Alarm,
    pub(super) keypair: Keypair,
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    /// Unix time in milliseconds at the engine's time zero, as the engine was told.
    pub(super) unix_start_ms: u64,
    pub(super) verifier: Verifier,
    pub(super) commands: mpsc::Receiver<Command<Engine>>,
    pub(super) trace: Trace,
    pub(super) admissions: broadcast::Sender<Admission>,
    pub(super) store: Option<Store>,
    /// Where what is read from it comes in, with the neighbour who asked for it.
    pub(super) blocks_read: (mpsc::Sender<BlockRead>, mpsc::Receiver<BlockRead>),
    /// Who waits for the answer to a submission. Bounded by the commands accepted and the checks the engine allows.
    pub(super) submissions: HashMap<Ticket, Reply>,
    pub(super) next_ticket: u64,
}

impl Driver {
    /// Runs until told to stop, or until every handle is gone.
    pub(super) async fn run(mut self) {
        let mut stop_at: Option<Instant> = None;
        // The first tick is at once.
        let mut renewal = tokio::time::interval(RENEW_RECORD);
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut trace_flush = tokio::time::interval(Trace::FLUSH_EVERY);
        trace_flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // One timer for all of the engine's: making one anew for each event costs more than most events do.
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            self.carry_out();
            if stop_at.is_some() && self.swarm.behaviour().starling.0.len() == 0 {
                break;
            }
            let timeout = self.engine.poll_timeout().map(|time| Instant::from_std(self.clock.instant(time)));
            if let Some(at) = timeout.filter(|at| *at != timer.deadline()) {
                timer.as_mut().reset(at);
            }
            tokio::select! {
                event = next_event(&mut self.swarm, &self.alarm) => self.swarm_events(event),
                answers = self.verifier.next() => self.verified(answers),
                Some((peer, messages)) = self.blocks_read.1.recv() => self.handle(Input::BlockRead { peer, messages }),
                command = self.commands.recv(), if stop_at.is_none() => match command {
                    Some(Command::Shutdown) | None => {
                        stop_at = Some(Instant::now() + SHUTDOWN_TIMEOUT);
                        self.handle(Input::Shutdown);
                    }
                    Some(command) => self.command(command),
                },
                () = &mut timer, if timeout.is_some() => self.handle(Input::Timeout),
                _ = trace_flush.tick() => {
                    self.trace.flush();
                    self.look_at_clock();
                }
                _ = renewal.tick() => self.renew_record(),
                () = async { sleep_until(stop_at.unwrap_or_else(Instant::now)).await }, if stop_at.is_some() => break,
            }
        }
        self.trace.flush();
        // Dropping it waits for the disk; the other tasks have some last things to do meanwhile.
        let store = self.store.take();
        let _written = tokio::task::spawn_blocking(move || drop(store)).await;
    }

    fn handle(&mut self, input: Input) {
        self.engine.handle(self.clock.now(), input);
    }

    /// Tells the engine if the world's clock was set, and others by a record of now where this node is: what was signed by the
    /// old clock may be of another day, and so refused.
    fn look_at_clock(&mut self) {
        let unix_start_ms = self.clock.unix_start_ms_now();
        if unix_start_ms.abs_diff(self.unix_start_ms) > CLOCK_ERROR_MS {
            self.unix_start_ms = unix_start_ms;
            let unix_ms = unix_start_ms + self.clock.now().since_start().as_millis() as u64;
            self.handle(Input::WallClock { unix_ms });
            self.renew_record();
        }
    }

    /// Takes in all that has happened, so that signatures are checked in batches as large as the node is busy.
    fn swarm_events(&mut self, first: SwarmEvent<BehaviourEvent>) {
        self.swarm_event(first);
        for _ in 0..MAX_EVENTS {
            let Some(event) = next_event(&mut self.swarm, &self.alarm).now_or_never() else { return };
            self.swarm_event(event);
        }
    }

    fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Starling(event)) => self.starling_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Base(BaseEvent::RoundTrip { peer, rtt })) => {
                if let Ok(peer) = identity::node_id(&peer) {
                    self.handle(Input::RoundTrip { peer, rtt });
                }
            }
            SwarmEvent::NewListenAddr { .. }
            | SwarmEvent::ExpiredListenAddr { .. }
            | SwarmEvent::ExternalAddrConfirmed { .. } => self.renew_record(),
            SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
                tracing::error!(?addresses, %error, "a listener failed; the node can no longer be reached there");
            }
            SwarmEvent::IncomingConnectionError { error, .. } => tracing::debug!(%error, "incoming connection failed"),
            SwarmEvent::OutgoingConnectionError { error, .. } => tracing::debug!(%error, "outgoing connection failed"),
            _ => {}
        }
    }

    fn starling_event(&mut self, event: behaviour::Event) {
        match event {
            behaviour::Event::Connected { peer, direction, address } => {
                self.handle(Input::Connected { peer, direction, address: Some(address) });
                // Before the next event: another connection may be about to take the place of this one.
                self.outputs();
            }
            behaviour::Event::Disconnected { peer } => self.handle(Input::Disconnected { peer }),
            behaviour::Event::DialFailed { peer } => self.handle(Input::DialFailed { peer }),
            behaviour::Event::Malformed { peer, error } => self.handle(Input::Malformed { peer, error }),
            behaviour::Event::Congestion { peer, congested } => self.handle(Input::Congestion { peer, congested }),
            behaviour::Event::Received { peer, received } => {
                for received in received {
                    self.handle(match received {
                        Received::Message(message) => Input::Message { peer, message },
                        Received::Records { records, bad } => Input::PeerRecords { peer, records, bad },
                    });
                    self.outputs();
                }
            }
        }
    }

    fn command(&mut self, command: Command<Engine>) {
        match command {
            Command::Submit { tx, reply } => {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                self.submissions.insert(ticket, reply);
                self.handle(Input::Submit { ticket, tx });
            }
            Command::Query(query) => query(&self.engine, self.clock.now()),
            // Whoever asks for something stored may have gone away when it is read.
            Command::ReadBlock { height, reply } => {
                if let Some(store) = &self.store {
                    store.read_blocks(height..height.saturating_add(1), move |blocks| {
                        drop(reply.send(blocks.into_iter().next()))
                    });
                }
            }
            Command::ReadTx { height, id, reply } => {
                if let Some(store) = &self.store {
                    let first = |txs: Vec<_>| txs.into_iter().next();
                    let reply = move |txs: Option<_>| drop(reply.send(txs.map(first).ok_or(Unavailable::Unreadable)));
                    store.read_block_txs(height, BTreeSet::from([id]), usize::MAX, reply);
                }
            }
            Command::AddPeer(address) => self.handle(Input::AddPeer(identity::to_address(&address))),
            Command::BanPeer(peer) => self.handle(Input::BanPeer(peer)),
            Command::Shutdown => {}
        }
    }

    fn verified(&mut self, answers: Vec<Answer>) {
        for (source, verdict) in answers {
            self.handle(Input::Verified { source, verdict });
        }
    }

    fn carry_out(&mut self) {
        loop {
            self.outputs();
            let answers = self.verifier.start();
            if answers.is_empty() {
                return;
            }
            self.verified(answers);
        }
    }

    fn outputs(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send { peer, message } => self.send(&peer, &message),
                Output::Dial { peer, addresses } => {
                    let addresses: Vec<Multiaddr> = addresses.iter().filter_map(identity::from_address).collect();
                    let options = match peer.and_then(|peer| identity::peer_id(&peer)) {
                        Some(peer) => DialOpts::peer_id(peer).addresses(addresses).build(),
                        None => match addresses.into_iter().next() {
                            Some(address) => DialOpts::from(address),
                            None => continue,
                        },
                    };
                    // A failure is reported through the behaviour, too.
                    if let Err(error) = self.swarm_mut().dial(options) {
                        tracing::debug!(%error, "dial failed");
                    }
                }
                Output::Disconnect { peer } => self.swarm_mut().behaviour_mut().starling.0.close(&peer),
                Output::Block { peer, blocked } => {
                    let Some(peer) = identity::peer_id(&peer) else { continue };
                    let list = &mut self.swarm_mut().behaviour_mut().base.0.blocked;
                    let _changed = if blocked { list.block_peer(peer) } else { list.unblock_peer(peer) };
                }
                Output::Verify { source, item } => self.verifier.push(source, item),
                Output::Store(change) => {
                    if let Some(store) = &mut self.store {
                        store.record(change);
                    }
                }
                // What finds no room is lost, as if the store had no time for it.
                Output::ReadBlocks { peer, heights } => {
                    let (Some(store), read) = (&self.store, self.blocks_read.0.clone()) else { continue };
                    let found = |blocks: Vec<_>| blocks.into_iter().map(Message::Block).collect();
                    store.read_blocks(heights, move |blocks| drop(read.try_send((peer, found(blocks)))));
                }
                Output::ReadBlockTxs { peer, height, wanted, max_bytes } => {
                    let (Some(store), read) = (&self.store, self.blocks_read.0.clone()) else { continue };
                    let found = |txs: Option<Vec<_>>| txs.into_iter().flatten().map(Message::BlockTx).collect();
                    store.read_block_txs(height, wanted, max_bytes, move |txs| drop(read.try_send((peer, found(txs)))));
                }
                Output::Event(event) => self.event(event),
            }
        }
    }

    fn send(&mut self, peer: &NodeId, message: &Message) {
        let starling = &mut self.swarm.behaviour_mut().starling.0;
        starling.send(peer, message);
        if starling.has_news() {
            self.alarm.set();
        }
    }

    /// To do something to the swarm that it has to be polled for.
    fn swarm_mut(&mut self) -> &mut Swarm<Behaviour> {
        self.alarm.set();
        &mut self.swarm
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Admitted { tx, from, place } => {
                tracing::debug!(id = %tx.id(), ?from, ?place, "transaction admitted");
                self.trace.delivered(self.clock.now(), tx.short_id(), from);
                if self.admissions.receiver_count() > 0 {
                    // The last one to listen may leave just now.
                    let _left = self.admissions.send((tx, place));
                }
            }
            Event::Refused { id, from, rejection } => tracing::debug!(%id, ?from, %rejection, "transaction refused"),
            Event::Submitted { ticket, result } => {
                let Some(reply) = self.submissions.remove(&ticket) else { return };
                // Whoever asked may have gone away.
                match &self.store {
                    Some(store) if result.is_ok() => store.acknowledge(move |written| {
                        let _gone = reply.send(if written { Ok(result) } else { Err(Unavailable::NotStored) });
                    }),
                    _ => drop(reply.send(Ok(result))),
                }
            }
            Event::BlockApplied { id, height, txs } => tracing::info!(height, %id, txs, "block applied"),
            Event::BlockRefused { id, height, why } => tracing::warn!(height, %id, why, "block refused"),
            Event::LinkUp { peer } => tracing::info!(%peer, "link up"),
            Event::LinkDown { peer } => tracing::info!(%peer, "link down"),
            Event::Sampled { node } => tracing::trace!(%node, "drawn out of the view"),
            Event::Suspected { peer } => tracing::info!(%peer, "neighbour is silent"),
            Event::Banned { peer, duration, why } => {
                tracing::warn!(%peer, why, "peer banned for {}", humantime::format_duration(duration));
            }
        }
    }

    /// Signs a new record of where this node can be reached.
    fn renew_record(&mut self) {
        let addresses: Vec<Multiaddr> =
            self.swarm.external_addresses().chain(self.swarm.listeners()).map(identity::without_peer).collect();
        if let Some(record) = identity::sign_record(&self.keypair, addresses) {
            self.handle(Input::LocalRecord(record));
        }
    }
}

async fn next_event(swarm: &mut Swarm<Behaviour>, alarm: &Alarm) -> SwarmEvent<BehaviourEvent> {
    poll_fn(|cx| alarm.poll(cx, |cx| swarm.select_next_some().poll_unpin(cx))).await
}
