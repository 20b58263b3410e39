//! JSON-RPC 2.0 over HTTP and WebSocket: what the node offers to programs, and the client for it.
//!
//! [`api`] describes the methods once; [`serve()`] offers them, [`connect`] calls them. Nothing here decides anything
//! about the protocol: questions go to the node's [`State`] through [`crate::net::NodeHandle`].

pub mod api;
mod client;
mod errors;
mod guard;
mod listener;
pub mod metrics;
mod openrpc;
mod serve;
mod server;
mod state;
mod views;

pub use self::{
    api::{
        AccountView, ApiClient, BlockView, ChainView, Checked, EstimateView, NetworkView, NodeView, PeerView,
        PoolLimits, PoolView, ProofView, SenderView, SpreadView, Submitted, TxState, TxView,
    },
    client::{ConnectError, Cookie, CookieError, connect},
    errors::{RejectionData, code},
    serve::{RpcConfig, RpcServer, ServeError, serve},
    state::{Measured, Neighbour, State},
};
