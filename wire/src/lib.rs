//! Starling's data and its bytes.
//!
//! Everything two nodes must agree on lives here: ids, keys, signed transactions, blocks, the messages peers
//! exchange, their encoding and the size limits. `PROTOCOL.md` beside this crate describes every byte, and the
//! files in `vectors/` pin them.
//!
//! Nothing here does I/O, reads a clock or draws randomness: callers pass what is needed.

mod block;
mod codec;
mod error;
mod frame;
mod hexadecimal;
mod ids;
mod keys;
pub mod limits;
mod message;
mod reconcile;
pub mod report;
mod signature;
pub mod sketch;
mod tx;

pub use block::{Block, BlockHeader, SignedBlock, VerifiedBlock};
pub use codec::BoundedVec;
pub use error::{DecodeError, KeyError, SignatureError, TxError};
pub use frame::FrameDecoder;
pub use ids::{AccountId, BlockId, GenesisId, NetworkId, NodeId, ParseIdError, ShortId, TxId};
pub use keys::SecretKey;
pub use message::{
    GetBlockTxs, GetBlocks, GetReports, Goodbye, Hello, Kind, Labels, Message, Record, ReportDigest, ReportList,
};
pub use reconcile::{Digest, Fingerprint, GetSymbols, Sketch, Slice};
pub use report::{EPOCH_MS, Figures, Report, SignedReport, VerifiedReport};
pub use signature::{Signature, Unverified, Verified, verify, verify_batch};
pub use tx::{SignedTx, Transaction, VerifiedTx};

/// Version of the peer protocol, sent in [`Hello`] and part of the stream's protocol name.
pub const PROTOCOL_VERSION: u16 = 1;
