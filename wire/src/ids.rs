//! Identifiers: fixed-size values written as `0x` and lower-case hex. Hashes are blake3's `derive_key`, each with a
//! context of its own.

use std::{fmt, str::FromStr};

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected 0x and {expected} hex digits, found `{found}`")]
pub struct ParseIdError {
    expected: usize,
    found: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex::encode(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; $size];
                text.strip_prefix("0x")
                    .and_then(|digits| hex::decode_to_slice(digits, &mut bytes).ok())
                    .map(|()| Self(bytes))
                    .ok_or_else(|| ParseIdError { expected: 2 * $size, found: text.chars().take(80).collect() })
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

id! {
    /// A transaction: the hash of all its bytes, the signature included, so that one id names one string of
    /// bytes and is valid or invalid for ever.
    TxId, 32
}
id! {
    /// A block: the hash of its header. It is also what the producer signs.
    BlockId, 32
}
id! {
    /// An account: the ed25519 public key that signs for it.
    AccountId, 32
}
id! {
    /// A node: the ed25519 public key of its libp2p identity.
    NodeId, 32
}
id! {
    /// A genesis: the hash of its canonical encoding. Nodes with different ones do not talk.
    GenesisId, 32
}
id! {
    /// The first eight bytes of a [`TxId`], as used in announcements. Finding a transaction that collides with a given
    /// one costs 2^64 hashes. Whoever makes two of his own collide (2^32) only keeps the second from being relayed.
    ShortId, 8
}

impl TxId {
    /// The form used in announcements.
    pub fn short(&self) -> ShortId {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[..8]);
        ShortId(bytes)
    }
}

impl BlockId {
    /// The parent of the first block.
    pub const ZERO: Self = Self([0; 32]);
}

/// The number of a network. It is signed with every transaction, so that none can be replayed on another network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetworkId(pub u32);

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_refuses_everything_else() {
        let id = TxId([0xab; 32]);
        assert_eq!(id.to_string().parse::<TxId>(), Ok(id));
        for bad in ["", "0x", "ab", &"ab".repeat(32), &format!("0x{}", "g".repeat(64)), &format!("{id}00")] {
            assert!(bad.parse::<TxId>().is_err(), "{bad}");
        }
        assert_eq!(id.short(), ShortId([0xab; 8]));
    }
}
