//! A node on libp2p: the engine's driver and everything it needs.

mod base;
mod behaviour;
mod counters;
mod driver;
mod handle;
mod handler;
mod identity;
mod on_wake;
mod outbox;
mod records;
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
    Multiaddr, Swarm,
    multiaddr::Protocol,
    swarm::{self, NetworkBehaviour, SwarmEvent},
};
use starling_mempool::{Genesis, PoolConfig, TxRules};
use starling_wire::SecretKey;
use thiserror::Error;
use tokio::{sync::mpsc, task::JoinHandle};

pub(crate) use self::identity::check_record;
#[cfg(test)]
pub(crate) use self::identity::sign_record;
pub use self::{
    base::{Base, BaseEvent},
    counters::{Counters, Flow, FrameCount},
    handle::{Admission, Command, NodeHandle, Query, Reply, Unavailable},
    identity::{NotEd25519, keypair, node_id, peer_id},
    trace::{Clock, Delivery, Trace},
    transport::{BoxedTransport, MakeTransport, transport},
    verify::{Answer, Verifier},
};
use self::{
    driver::{Behaviour, Driver},
    on_wake::{Alarm, OnWake},
};
use crate::{
    engine::{Engine, EngineConfig, GossipConfig, OverlayConfig, ProducerConfig},
    store::{self, Kept, Store, StoreConfig, StoreError},
};

/// Answers from the store to neighbours that wait to be sent. The engine has four reads under way for each of 64.
const MAX_BLOCKS_READ: usize = 256;

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
    /// What the application that embeds the node demands of transactions, on top of the network's rules.
    pub rules: TxRules,
    /// Limits of the transaction pool.
    pub pool: PoolConfig,
    /// Makes blocks.
    pub producer: Option<ProducerConfig>,
    /// Writes a delivery trace to this file.
    pub trace: Option<PathBuf>,
    /// Keeps pool, accounts, blocks and peers over restarts; without it they are in memory only.
    pub store: Option<StoreConfig>,
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
    /// What the node kept cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The settings ask for what this kind of node does not do.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The system gives no randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(#[source] io::Error),
}

/// Starts a node and waits until it listens. `transport` builds what it listens and dials with; [`transport()`] is the
/// usual one.
pub async fn start(
    config: NodeConfig,
    transport: impl MakeTransport,
) -> Result<(NodeHandle, JoinHandle<()>), StartError> {
    let kept = open_store(&config)?;
    let keypair = keypair(&config.key);
    let (id, peer) = (config.key.node(), keypair.public().to_peer_id());
    let counters = Arc::new(Counters::default());
    let transport = transport(&keypair, &counters).map_err(StartError::Transport)?;
    let behaviour = Behaviour {
        base: OnWake(Base::new(&keypair)),
        starling: OnWake(behaviour::Behaviour::new(id, counters.clone())),
    };
    let mut swarm = Swarm::new(transport, behaviour, peer, swarm::Config::with_tokio_executor());
    for address in config.external {
        swarm.add_external_address(address);
    }
    let listeners = listen(&mut swarm, config.listen).await?;
    let clock = Clock::start();
    let trace = Trace::create(config.trace, clock)?;
    let engine_config = EngineConfig {
        genesis: config.genesis,
        rules: config.rules,
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
    let mut engine = Engine::new(engine_config, id, random_seed()?).reporting(config.key);
    let mut store = None;
    if let Some((opened, kept)) = kept {
        engine = engine.storing();
        restore(&mut engine, kept);
        store = Some(opened);
    }
    let (handle, commands) = NodeHandle::new(id, listeners, counters);
    let driver = Driver {
        swarm,
        alarm: Alarm::new(),
        keypair,
        engine,
        clock,
        unix_start_ms: clock.unix_start_ms(),
        verifier: Verifier::new(random_seed()?),
        commands,
        trace,
        admissions: handle.admissions().clone(),
        store,
        blocks_read: mpsc::channel(MAX_BLOCKS_READ),
        submissions: HashMap::new(),
        next_ticket: 0,
    };
    let task = tokio::spawn(driver.run());
    Ok((handle, task))
}

/// Opens the store, if there is to be one. It takes as long as it takes, but nothing else runs yet.
fn open_store(config: &NodeConfig) -> Result<Option<(Store, Kept)>, StartError> {
    let Some(store) = &config.store else { return Ok(None) };
    Ok(Some(Store::open(store, config.genesis.id(), &config.pool, random_seed()?)?))
}

/// Has a new engine go on from what was kept.
fn restore(engine: &mut Engine, kept: Kept) {
    let (peers, mut dropped) = (kept.saved.peers.len(), kept.dropped);
    dropped.extend(engine.restore(kept.saved));
    store::report(&dropped);
    let (transactions, height) = (engine.pool().len(), engine.chain().height());
    tracing::info!(transactions, dropped = dropped.len(), height, peers, "went on from the store");
}

/// Listens on all addresses and waits until each is known with its port. Gives them with the node's peer id at the end.
pub async fn listen<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    addresses: Vec<Multiaddr>,
) -> Result<Vec<Multiaddr>, StartError> {
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
    let own = Protocol::P2p(*swarm.local_peer_id());
    Ok(swarm.listeners().map(|address| identity::without_peer(address).with(own.clone())).collect())
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
pub fn random_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| StartError::Random(io::Error::other(error)))?;
    Ok(seed)
}
