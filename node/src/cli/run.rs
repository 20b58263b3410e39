//! `starling run`: a node from its options to its end.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow};
use libp2p::Multiaddr;
use starling_mempool::TxRules;
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use super::{
    data_dir::{DataDir, default_data_dir},
    failure::{Failure, Kind},
    genesis::read_genesis,
    keyfile,
    node_file::NodeFile,
    options::RunOptions,
    stop::Stop,
};
use crate::{
    engine::ProducerConfig,
    net::{self, NodeConfig, NodeHandle, StartError},
    rpc::{self, Cookie, RpcConfig, RpcServer, State},
    store::StoreConfig,
};

/// What is logged unless the user says otherwise. yamux and the swarm warn of every connection that ends while
/// something is being sent, which is how links end.
const DEFAULT_LOG: &str = "info,yamux=error,libp2p_swarm=error";

/// How long an orderly end may take. Together with what follows it stays under five seconds.
const STOP_TIMEOUT: Duration = Duration::from_millis(4_300);

/// How long the runtime's last tasks may take after it.
const RUNTIME_TIMEOUT: Duration = Duration::from_millis(200);

/// Brings a node up: gives the way to it, and its main task.
pub trait Start<S>: AsyncFnOnce(NodeConfig) -> Result<(NodeHandle<S>, JoinHandle<()>), StartError> {}

impl<S, F: AsyncFnOnce(NodeConfig) -> Result<(NodeHandle<S>, JoinHandle<()>), StartError>> Start<S> for F {}

/// Runs a node, which `start` brings up, until it is told to stop.
pub(super) fn run<S: State>(options: RunOptions, start: impl Start<S>) -> Result<(), Failure> {
    let options = options.with_config_file()?;
    options.check()?;
    log(options.log.as_deref().unwrap_or(DEFAULT_LOG))?;
    let dir = match &options.data_dir {
        Some(dir) => dir.clone(),
        None => default_data_dir().map_err(|error| Failure::new(Kind::Usage, error))?,
    };
    let (dir, config) = prepare(&options, &dir)?;
    // One thread for the network and the engine, which is one task, and others for signatures. More would hand every message
    // from thread to thread, which costs more than what there is to do for it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("starling")
        .build()
        .context("the system gives no threads to run on")?;
    let result = runtime.block_on(node(&options, &dir, config, start));
    runtime.shutdown_timeout(RUNTIME_TIMEOUT);
    result
}

/// Everything that can be wrong before anything is started.
fn prepare(options: &RunOptions, dir: &Path) -> Result<(DataDir, NodeConfig), Failure> {
    let in_dir = |given: &Option<PathBuf>, name: &str| given.clone().unwrap_or_else(|| dir.join(name));
    // Before the directory is made: a mistyped name should leave nothing behind.
    let genesis = read_genesis(&in_dir(&options.genesis, "genesis.toml"))?;
    let producer = match (&options.producer_key, options.produce) {
        (Some(path), Some(interval)) => Some(ProducerConfig { key: keyfile::read(path)?, interval }),
        _ => None,
    };
    let locked = DataDir::open(dir).map_err(|error| Failure::from(anyhow!("{error}")))?;
    // What a node that died has left behind misleads whoever waits for this one.
    withdraw(dir)?;
    let key = keyfile::read_or_create(&in_dir(&options.identity, "node.pem"))?;
    if let Some(producer) = &producer
        && !genesis.producers.contains(&producer.key.account())
    {
        return Err(Failure::usage(format!(
            "the producer key belongs to {}, which is not among the genesis' producers. Name another key, or run \
             without --produce",
            producer.key.account()
        )));
    }
    let config = NodeConfig {
        genesis,
        key,
        listen: options.listen()?,
        external: options.external.clone().unwrap_or_default(),
        bootstrap: options.bootstrap.clone().unwrap_or_default(),
        dials: options.dials(),
        max_incoming: options.max_incoming(),
        rules: TxRules::default(),
        pool: options.pool(),
        producer,
        trace: options.trace.clone(),
        store: options.store().then(|| StoreConfig { dir: dir.to_owned(), repair: options.repair }),
    };
    Ok((locked, config))
}

/// The node's life. The directory stays locked all the while.
async fn node<S: State>(
    options: &RunOptions,
    dir: &DataDir,
    config: NodeConfig,
    start: impl Start<S>,
) -> Result<(), Failure> {
    let expects_links = !config.bootstrap.is_empty();
    let (handle, mut task) = start(config).await.map_err(|error| anyhow!("{error}"))?;
    // Not before: whoever starts reads his store, which may take seconds and hears no signals, and can be killed.
    let mut stop = Stop::listen(options.until_stdin_closes).context("cannot listen for signals")?;
    let rpc_config = RpcConfig {
        address: options.rpc(),
        admin: options.rpc_admin.unwrap_or_default(),
        cookie: dir.path().join(Cookie::FILE_NAME),
        expects_links,
    };
    let served = rpc::serve(handle.clone(), rpc_config).await.map_err(|error| Failure::from(anyhow!("{error}")));
    let server = match served {
        Ok(server) => server,
        Err(failure) => {
            handle.shutdown().await;
            let _late = tokio::time::timeout(STOP_TIMEOUT, task).await;
            return Err(failure);
        }
    };
    let announced = announce(&handle, &server, dir.path());
    let ended = match announced {
        Ok(()) => tokio::select! {
            reason = stop.next() => {
                tracing::info!(?reason, "stopping");
                Ok(())
            }
            _ended = &mut task => Err(anyhow!("the node's main task ended by itself; its last messages above say more").into()),
        },
        Err(failure) => Err(failure),
    };
    tokio::select! {
        () = end(handle, server, task) => {}
        () = stop.signal() => {
            let _told = writeln!(io::stderr(), "starling: forced to end at once");
            let _gone = withdraw(dir.path());
            std::process::exit(Kind::Interrupted as i32);
        }
    }
    withdraw(dir.path())?;
    ended
}

/// Removes what tells others on this machine of a node.
fn withdraw(dir: &Path) -> Result<(), Failure> {
    NodeFile::remove(dir).map_err(|error| anyhow!("{error}"))?;
    Ok(Cookie::remove(&dir.join(Cookie::FILE_NAME)).map_err(|error| anyhow!("{error}"))?)
}

/// Tells others on this machine, and the user, that the node is up.
fn announce<S: State>(handle: &NodeHandle<S>, server: &RpcServer, dir: &Path) -> Result<(), Failure> {
    let peer = net::peer_id(&handle.id()).context("the node's id is no key")?;
    let file = NodeFile {
        schema: NodeFile::SCHEMA.to_owned(),
        id: handle.id(),
        peer_id: peer.to_string(),
        addresses: handle.listeners().to_vec(),
        rpc: server.url(),
        pid: std::process::id(),
    };
    let addresses: Vec<String> = file.addresses.iter().map(Multiaddr::to_string).collect();
    let line = format!("starling {} is up at {}, RPC at {}", file.id, addresses.join(" and "), file.rpc);
    file.write(dir).map_err(|error| anyhow!("{error}"))?;
    let _told = writeln!(io::stderr(), "{line}");
    Ok(())
}

/// Ends in order: no more requests, goodbyes to the peers, then nothing.
async fn end<S: State>(handle: NodeHandle<S>, server: RpcServer, mut task: JoinHandle<()>) {
    let in_order = async {
        server.stop();
        tokio::join!(server.stopped(), async {
            handle.shutdown().await;
            if !task.is_finished()
                && let Err(error) = (&mut task).await
            {
                tracing::error!(%error, "the node's main task failed");
            }
        });
    };
    if tokio::time::timeout(STOP_TIMEOUT, in_order).await.is_err() {
        tracing::warn!("the node did not end in time and is cut off");
    }
}

/// Sends the log to standard error.
fn log(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::usage(format!("`{filter}` is no log filter ({error}); write a level such as debug, or target=level,…"))
    })?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // It would report a closed standard error on standard error, and fail.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal() && !no_color)
        .try_init()
        .map_err(|error| anyhow!("cannot start the log: {error}").into())
}
