//! A node on libp2p: the engine's driver and everything it needs.

mod behaviour;
mod counters;
mod driver;
mod handler;
mod identity;
mod outbox;
mod trace;
mod transport;
mod verify;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm, allow_block_list,
    connection_limits::{self, ConnectionLimits},
    identify, memory_connection_limits,
    multiaddr::Protocol,
    ping,
    swarm::{self, SwarmEvent},
};
use starling_mempool::{Genesis, Place, PoolConfig, Rejection};
use starling_wire::{NodeId, SecretKey, SignedTx};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

pub use self::{
    counters::{Counters, Flow, FrameCount},
    identity::{NotEd25519, keypair, node_id, peer_id},
    trace::Delivery,
    transport::{BoxedTransport, MakeTransport, transport},
};
use self::{
    driver::{Behaviour, Command, Driver},
    trace::{Clock, Trace},
    verify::Verifier,
};
use crate::engine::{Engine, EngineConfig, GossipConfig, OverlayConfig, ProducerConfig, Time};

/// Commands that wait for the driver; beyond it callers are told that the node is busy.
const MAX_COMMANDS: usize = 1024;

/// Connections in all, those being set up included. Links are bounded by the engine; this bounds what comes before.
const MAX_CONNECTIONS: u32 = 128;

/// Connections being set up, each way.
const MAX_PENDING: u32 = 64;

/// Share of the machine's memory above which no new connection is made.
const MAX_MEMORY_SHARE: f64 = 0.9;

/// How often the round trip to each neighbour is measured.
const PING_EVERY: Duration = Duration::from_secs(15);

/// How long a listener may take to come up.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of a node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Who has what at the start, and who produces blocks.
    pub genesis: Genesis,
    /// The node's identity.
    pub key: SecretKey,
    /// Where to listen. Port 0 lets the system choose.
    pub listen: Vec<Multiaddr>,
    /// Where others reach this node, besides where it listens.
    pub external: Vec<Multiaddr>,
    /// Where to find first neighbours.
    pub bootstrap: Vec<Multiaddr>,
    /// Links this node opens by itself, 0 to 32; with 0 it has only those that come in and those it is told to make.
    pub dials: usize,
    /// Links that others may open to this node. Those of both kinds are 64 at most.
    pub max_incoming: usize,
    /// Limits of the transaction pool.
    pub pool: PoolConfig,
    /// Makes blocks.
    pub producer: Option<ProducerConfig>,
    /// Writes a delivery trace to this file.
    pub trace: Option<PathBuf>,
}

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {why}. Choose another address, or port 0 to let the system choose one")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        why: String,
    },
    /// The transports could not be set up.
    #[error("cannot set up the network: {0}")]
    Transport(#[source] io::Error),
    /// The trace file cannot be written.
    #[error("cannot write the trace file {path}: {source}. Choose another path")]
    Trace {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(#[source] io::Error),
}

/// Why a node did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unavailable {
    /// Too many questions wait already.
    #[error("the node is busy; try again in a moment")]
    Busy,
    /// It has stopped.
    #[error("the node is stopping")]
    Stopped,
}

/// A running node, for whoever wants something of it. Clones reach the same node; it runs until it is told to stop.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    id: NodeId,
    listeners: Arc<[Multiaddr]>,
    counters: Arc<Counters>,
    commands: mpsc::Sender<Command>,
}

impl NodeHandle {
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

    /// Submits a transaction: it is checked, taken into the pool and passed on. One that is in the pool already is a
    /// success.
    pub async fn submit(&self, tx: SignedTx) -> Result<Result<Place, Rejection>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Submit { tx, reply })?;
        answer.await.map_err(|_| Unavailable::Stopped)
    }

    /// Asks the engine something. The question runs on the node's main task: keep it short.
    pub async fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine, Time) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Query(Box::new(move |engine, now| {
            // Whoever asked may have gone away.
            let _gone = reply.send(question(engine, now));
        })))?;
        answer.await.map_err(|_| Unavailable::Stopped)
    }

    /// Connects to an address.
    pub fn add_peer(&self, address: Multiaddr) -> Result<(), Unavailable> {
        self.command(Command::AddPeer(address))
    }

    /// Bans a peer for a time.
    pub fn ban_peer(&self, peer: NodeId) -> Result<(), Unavailable> {
        self.command(Command::BanPeer(peer))
    }

    /// Says goodbye to all peers and stops. The task from [`start`] ends soon after, within seconds.
    pub async fn shutdown(&self) {
        // If it is gone already, that is what was wanted.
        let _stopped = self.commands.send(Command::Shutdown).await;
    }

    fn command(&self, command: Command) -> Result<(), Unavailable> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unavailable::Busy,
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopped,
        })
    }
}

/// Starts a node and waits until it listens. `transport` builds what it listens and dials with; [`transport()`] is the
/// usual one.
pub async fn start(
    config: NodeConfig,
    transport: impl MakeTransport,
) -> Result<(NodeHandle, JoinHandle<()>), StartError> {
    let keypair = keypair(&config.key);
    let (id, peer) = (config.key.node(), keypair.public().to_peer_id());
    let counters = Arc::new(Counters::default());
    let transport = transport(&keypair, &counters).map_err(StartError::Transport)?;
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(MAX_PENDING))
        .with_max_pending_outgoing(Some(MAX_PENDING))
        .with_max_established(Some(MAX_CONNECTIONS))
        .with_max_established_per_peer(Some(2));
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        memory: memory_connection_limits::Behaviour::with_max_percentage(MAX_MEMORY_SHARE),
        blocked: allow_block_list::Behaviour::default(),
        identify: identify::Behaviour::new(identify::Config::new("/starling/id/1".into(), keypair.public())),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_EVERY)),
        starling: behaviour::Behaviour::new(id, counters.clone()),
    };
    let mut swarm = Swarm::new(transport, behaviour, peer, swarm::Config::with_tokio_executor());
    for address in config.external {
        swarm.add_external_address(address);
    }
    listen(&mut swarm, config.listen).await?;
    let clock = Clock::start();
    let trace = match config.trace {
        Some(path) => match Trace::create(&path, clock) {
            Ok(trace) => Some(trace),
            Err(source) => return Err(StartError::Trace { path, source }),
        },
        None => None,
    };
    let engine_config = EngineConfig {
        genesis: config.genesis,
        pool: config.pool,
        overlay: OverlayConfig {
            dials: config.dials,
            max_incoming: config.max_incoming,
            bootstrap: config.bootstrap.iter().map(identity::to_address).collect(),
        },
        gossip: GossipConfig::default(),
        producer: config.producer,
        unix_ms_at_start: clock.unix_start_ms(),
    };
    let listeners =
        swarm.listeners().map(|address| identity::without_peer(address).with(Protocol::P2p(peer))).collect();
    let (sender, commands) = mpsc::channel(MAX_COMMANDS);
    let driver = Driver {
        swarm,
        keypair,
        engine: Engine::new(engine_config, id, random_seed()?),
        clock,
        verifier: Verifier::new(random_seed()?),
        commands,
        trace,
        submissions: HashMap::new(),
        next_ticket: 0,
    };
    let task = tokio::spawn(driver.run());
    Ok((NodeHandle { id, listeners, counters, commands: sender }, task))
}

/// Listens on all addresses and waits until each is known with its port.
async fn listen(swarm: &mut Swarm<Behaviour>, addresses: Vec<Multiaddr>) -> Result<(), StartError> {
    for address in addresses {
        let fail = |why: String| StartError::Listen { address: address.clone(), why };
        check_free(&address).map_err(|error| fail(error.to_string()))?;
        let listener = swarm.listen_on(address.clone()).map_err(|error| fail(error.to_string()))?;
        let up = async {
            loop {
                match swarm.next().await {
                    Some(SwarmEvent::NewListenAddr { listener_id, .. }) if listener_id == listener => return Ok(()),
                    Some(SwarmEvent::ListenerClosed { listener_id, reason, .. }) if listener_id == listener => {
                        return Err(reason.err().map_or("the listener closed".into(), |error| error.to_string()));
                    }
                    _ => {}
                }
            }
        };
        tokio::time::timeout(LISTEN_TIMEOUT, up)
            .await
            .unwrap_or_else(|_| Err("the system did not answer in time".into()))
            .map_err(fail)?;
    }
    Ok(())
}

/// Fails if somebody listens on a fixed TCP port. libp2p listens with SO_REUSEPORT, with which a second node of the same
/// user would succeed and silently take half of the first one's connections.
fn check_free(address: &Multiaddr) -> io::Result<()> {
    let mut protocols = address.iter();
    let ip = match protocols.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return Ok(()),
    };
    match protocols.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// 32 bytes from the system's source of randomness.
pub(crate) fn random_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| StartError::Random(io::Error::other(error)))?;
    Ok(seed)
}
