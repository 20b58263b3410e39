//! One port for everything: JSON-RPC over HTTP and WebSocket on `/`, and `/health`, `/ready` and `/metrics`.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{self, Request},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use jsonrpsee::server::{
    BatchRequestConfig, Methods, PingConfig, Server as JsonRpc, ServerConfig, ServerHandle, StopHandle, stop_channel,
};
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tower::Service;

use super::{
    api::ApiServer,
    client::{Cookie, CookieError},
    guard::{self, Guard},
    listener::BoundedListener,
    metrics,
    server::Server,
    state::State,
};
use crate::net::NodeHandle;

/// Longest request in bytes. A transaction takes 66 KB at most; this is for batches of small ones.
pub(super) const MAX_REQUEST: u32 = 1 << 20;

/// Longest answer in bytes.
pub(super) const MAX_RESPONSE: u32 = 16 << 20;

/// Calls in one batch.
const MAX_BATCH: u32 = 64;

/// Requests worked on at one time, each WebSocket counted as one. More are answered with HTTP's 429.
const MAX_CALLS: u32 = 256;

/// Subscriptions on one WebSocket.
const MAX_SUBSCRIPTIONS: u32 = 16;

/// Messages that wait for one WebSocket's reader; until there is room, its subscriptions wait. 4 MiB of the longest
/// transactions. Answers to calls wait beside them, as the library works on each message when it comes: what bounds them
/// is that a connection whose answers are not read is not read from.
const MAX_WAITING: u32 = 64;

/// How long a stopping server waits for the calls it is working on.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// How to serve.
#[derive(Debug, Clone)]
pub struct RpcConfig {
    /// Where to listen. Port 0 lets the system choose.
    pub address: SocketAddr,
    /// Whether the methods that change the node's neighbours are on.
    pub admin: bool,
    /// Where the cookie is written if the address is not on loopback; removed at the end.
    pub cookie: PathBuf,
    /// Whether the node should have neighbours: `/ready` then waits for the first.
    pub expects_links: bool,
}

/// Why RPC is not served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot serve RPC on {address}: {source}. {}", advice(source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// There is no cookie.
    #[error(transparent)]
    Cookie(#[from] CookieError),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "Another program uses the port: name another with --rpc, or port 0 to let the system choose"
        }
        io::ErrorKind::PermissionDenied => "Choose a port from 1024 up with --rpc",
        _ => "Choose an address of this machine with --rpc",
    }
}

/// RPC being served.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    calls: ServerHandle,
    task: JoinHandle<()>,
    cookie: Option<PathBuf>,
}

impl RpcServer {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL for programs on this machine.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
    }

    /// Takes no more requests. Those being worked on are finished; see [`Self::stopped`].
    pub fn stop(&self) {
        self.stop.send_replace(true);
        // Not running any more is what was wanted.
        let _stopped = self.calls.stop();
    }

    /// Waits until it has stopped, at most about a second after [`Self::stop`].
    pub async fn stopped(mut self) {
        let mut stop = self.stop.subscribe();
        let told = async {
            // The sender lives as long as `self`.
            let _closed = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(STOP_TIMEOUT).await;
        };
        tokio::select! {
            _ended = &mut self.task => {}
            () = told => self.task.abort(),
        }
        if let Some(cookie) = &self.cookie {
            // Without its node it opens nothing.
            let _gone = Cookie::remove(cookie);
        }
    }
}

/// Serves a node's RPC until told to stop.
pub async fn serve<S: State>(handle: NodeHandle<S>, config: RpcConfig) -> Result<RpcServer, ServeError> {
    let bind = |source| ServeError::Bind { address: config.address, source };
    let listener = TcpListener::bind(config.address).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let (guard, cookie) = if address.ip().is_loopback() {
        (Guard::Local, None)
    } else {
        (Guard::Cookie(Cookie::create(&config.cookie)?), Some(config.cookie))
    };
    let (stop_handle, calls) = stop_channel();
    let methods = Server::new(handle.clone(), config.admin).into_rpc().into();
    let shared = Shared { handle, expects_links: config.expects_links, rpc: rpc_service(methods, stop_handle) };
    let router = Router::new()
        .route("/", any(rpc::<S>))
        .route("/health", get(|| async { "alive\n" }))
        .route("/ready", get(ready::<S>))
        .route("/metrics", get(metrics_text::<S>))
        .with_state(shared)
        .layer(middleware::from_fn_with_state(guard, guard::check));
    let (stop, mut stopping) = watch::channel(false);
    let served = axum::serve(BoundedListener::new(listener), router).with_graceful_shutdown(async move {
        // A dropped server has nobody left to stop it.
        let _dropped = stopping.wait_for(|stop| *stop).await;
    });
    let task = tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::error!(%error, "RPC is no longer served");
        }
    });
    Ok(RpcServer { address, stop, calls, task, cookie })
}

type RpcService = jsonrpsee::server::TowerService<tower::layer::util::Identity, tower::layer::util::Identity>;

fn rpc_service(methods: Methods, stop: StopHandle) -> RpcService {
    let config = ServerConfig::builder()
        .max_request_body_size(MAX_REQUEST)
        .max_response_body_size(MAX_RESPONSE)
        .max_connections(MAX_CALLS)
        .max_subscriptions_per_connection(MAX_SUBSCRIPTIONS)
        .set_message_buffer_capacity(MAX_WAITING)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .enable_ws_ping(PingConfig::new())
        .build();
    JsonRpc::builder().set_config(config).to_service_builder().build(methods, stop)
}

struct Shared<S> {
    handle: NodeHandle<S>,
    expects_links: bool,
    rpc: RpcService,
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), expects_links: self.expects_links, rpc: self.rpc.clone() }
    }
}

async fn rpc<S: State>(extract::State(mut shared): extract::State<Shared<S>>, request: Request) -> Response {
    match shared.rpc.call(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready<S: State>(extract::State(shared): extract::State<Shared<S>>) -> Response {
    match shared.handle.query(|state, now| state.neighbours(now).iter().any(|link| link.ready)).await {
        Ok(linked) if linked || !shared.expects_links => "ready\n".into_response(),
        Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, "no neighbour yet\n").into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn metrics_text<S: State>(extract::State(shared): extract::State<Shared<S>>) -> Response {
    match metrics::collect(&shared.handle).await.map(metrics::text) {
        Ok(Ok(text)) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}
