//! The form of the files, and holding them against what makes them.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use starling_wire::{BoundedVec, SecretKey};

/// The seed of RFC 8032's first test, so that the public key can be recognised.
pub(super) const RFC_8032_SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

/// A byte string: `0x` and hex, or for one with long runs of equal bytes a list of such strings and of
/// `{"fill": "0xNN", "length": n}`, to be joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hex(pub(super) Vec<u8>);

/// Runs of at least this many equal bytes are written as a fill.
const RUN: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Pieces {
    One(String),
    Many(Vec<Piece>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Piece {
    Text(String),
    Fill { fill: String, length: usize },
}

fn hex_text(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn from_hex_text(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.strip_prefix("0x").ok_or_else(|| format!("`{text}` does not start with 0x"))?;
    hex::decode(digits).map_err(|error| error.to_string())
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        for run in self.0.chunk_by(|a, b| a == b) {
            if run.len() < RUN {
                plain.extend_from_slice(run);
                continue;
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(hex_text(&std::mem::take(&mut plain))));
            }
            pieces.push(Piece::Fill { fill: hex_text(&run[..1]), length: run.len() });
        }
        if pieces.is_empty() {
            return Pieces::One(hex_text(&plain)).serialize(serializer);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(hex_text(&plain)));
        }
        Pieces::Many(pieces).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pieces = match Pieces::deserialize(deserializer)? {
            Pieces::One(text) => vec![Piece::Text(text)],
            Pieces::Many(pieces) => pieces,
        };
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => bytes.extend(from_hex_text(&text).map_err(serde::de::Error::custom)?),
                Piece::Fill { fill, length } => {
                    let fill = from_hex_text(&fill).map_err(serde::de::Error::custom)?;
                    let &[byte] = fill.as_slice() else {
                        return Err(serde::de::Error::custom("a fill is one byte"));
                    };
                    bytes.extend(std::iter::repeat_n(byte, length));
                }
            }
        }
        Ok(Self(bytes))
    }
}

/// A u64 in decimal as a string: a JSON number above 2^53 loses digits in many readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Dec(pub(super) u64);

impl TryFrom<String> for Dec {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<Dec> for String {
    fn from(number: Dec) -> Self {
        number.0.to_string()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<T> {
    about: String,
    vectors: Vec<T>,
}

/// Compares a file with what its generator makes (or rewrites it, see the top), then checks each vector as read back
/// from the file.
pub(super) fn golden<T: Serialize + DeserializeOwned>(name: &str, about: &str, vectors: Vec<T>, check: impl Fn(&T)) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    let text = serde_json::to_string_pretty(&File { about: about.to_owned(), vectors }).unwrap() + "\n";
    if std::env::var_os("STARLING_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == text, "{name} differs from its generator; see the top of tests/vectors/main.rs");
    let file: File<T> = serde_json::from_str(&found).unwrap();
    file.vectors.iter().for_each(check);
}

pub(super) fn secret(seed: &Hex) -> SecretKey {
    SecretKey::from_seed(&array(&seed.0))
}

pub(super) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

pub(super) fn list<T, const MAX: usize>(items: Vec<T>) -> BoundedVec<T, MAX> {
    BoundedVec::new(items).unwrap_or_else(|_| panic!("a list over its limit"))
}
