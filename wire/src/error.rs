//! What can be wrong with bytes, keys, signatures and transactions.

use thiserror::Error;

/// Why bytes were refused. The sender is always to blame: an honest encoder never produces them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The value ends after the bytes do.
    #[error("ends too early")]
    Truncated,
    /// Bytes are left over after the value.
    #[error("{0} bytes left over after the value")]
    Trailing(usize),
    /// A length or count is above its limit.
    #[error("{what} of {len} is above the limit of {max}")]
    TooLong {
        /// What was measured.
        what: &'static str,
        /// The length or count found.
        len: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// A frame of a kind this protocol version does not know.
    #[error("unknown message kind {0}")]
    UnknownKind(u8),
    /// A transaction or block of a version this node does not know.
    #[error("unknown version {0}")]
    UnknownVersion(u8),
    /// A value that has no meaning where it stands.
    #[error("{0}")]
    Invalid(&'static str),
}

/// Why a private key file was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The text is no PKCS#8 PEM of an ed25519 private key.
    #[error("no ed25519 private key in PKCS#8 PEM form: {0}")]
    Pem(String),
}

/// Why a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The signature does not belong to these bytes and this key (ZIP 215).
    #[error("the signature does not match")]
    Mismatch,
    /// The key is one of the points of small order, for which anybody can sign.
    #[error("the key is of small order")]
    SmallOrderKey,
}

/// Why a transaction could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TxError {
    /// The payload is over [`crate::limits::MAX_PAYLOAD`].
    #[error("the payload has {0} bytes; at most {max} are allowed", max = crate::limits::MAX_PAYLOAD)]
    PayloadTooLong(usize),
    /// The key does not belong to the transaction's sender.
    #[error("the key belongs to another account than the transaction's sender")]
    WrongKey,
}
