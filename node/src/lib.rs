//! The Starling node.
//!
//! [`engine`] is the protocol as a pure state machine. With the feature `net` (on by default) the rest of a node is
//! built around it: the libp2p driver, JSON-RPC and the command line.

#[cfg(feature = "net")]
pub mod cli;
pub mod engine;
#[cfg(feature = "net")]
mod files;
#[cfg(feature = "net")]
pub mod net;
#[cfg(feature = "net")]
pub mod rpc;
#[cfg(feature = "net")]
pub mod store;
