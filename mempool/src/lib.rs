//! Starling's transaction pool.
//!
//! [`Mempool`] decides which transactions a node keeps and relays: it admits them, holds each sender's in nonce order,
//! ranks all by fee per byte, and stays within fixed limits of bytes and counts. [`Genesis`] is what the nodes of one
//! network agree on beforehand. [`Ledger`] is the account state the transactions act on; an embedder with a state of
//! its own implements [`AccountView`] instead.
//!
//! Everything here is a function of its arguments: time is passed in as a [`std::time::Duration`] since an arbitrary
//! start, nothing does I/O or draws randomness, and equal calls in equal order lead to equal pools.

mod admission;
#[cfg(test)]
mod attacks;
mod budget;
mod config;
mod error;
mod eviction;
mod fingerprints;
mod floor;
mod genesis;
#[cfg(test)]
mod invariants;
mod ledger;
#[cfg(test)]
mod model;
mod ordering;
mod pool;
mod sender;
mod store;
#[cfg(test)]
mod testing;

pub use budget::{Allowance, Budget};
pub use config::PoolConfig;
pub use error::{ApplyError, ApplyReason, GenesisError, Rejection};
pub use genesis::{Genesis, GenesisAccount, Limits};
pub use ledger::{Account, AccountView, Ledger, TxRules};
pub use pool::{Admissible, Inserted, Mempool, Origin, Place, PoolStatus, SenderStatus};
