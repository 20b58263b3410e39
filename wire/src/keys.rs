//! Private keys: made from a seed, kept as PKCS#8 PEM, used to sign. Reading and writing files is the caller's.

use std::fmt;

use ed25519_dalek::{
    Signer, SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes, spki::der::pem::LineEnding},
};
use zeroize::Zeroizing;

use crate::{
    error::KeyError,
    ids::{AccountId, NodeId},
    signature::Signature,
};

/// An ed25519 private key. It signs for the account, or is the identity of the node, that its public key names.
/// Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a 32-byte seed (RFC 8032), which must come from a good source of randomness or be for tests only.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// A key derived from a number and a name, the same on every machine. Anybody can derive it too: for testnets.
    pub fn insecure_from_name(seed: u64, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("starling 2026-11 testnet key");
        hasher.update(&seed.to_le_bytes()).update(name.as_bytes());
        Self::from_seed(hasher.finalize().as_bytes())
    }

    /// The seed, for handing the key to another library.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Reads PKCS#8 PEM (RFC 8410).
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(pem).map(Self).map_err(|error| KeyError::Pem(error.to_string()))
    }

    /// Writes PKCS#8 PEM (RFC 8410), version 1: without the public key, which OpenSSL does not expect there.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let key = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        #[expect(clippy::expect_used, reason = "an ed25519 key always has a PKCS#8 form")]
        key.to_pkcs8_pem(LineEnding::LF).expect("a valid key")
    }

    /// The account this key signs for.
    pub fn account(&self) -> AccountId {
        AccountId(self.0.verifying_key().to_bytes())
    }

    /// The node this key identifies.
    pub fn node(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, hash: &[u8; 32]) -> Signature {
        Signature(self.0.sign(hash).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {:?}", self.account())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_round_trips_and_refuses_what_is_no_key() {
        let key = SecretKey::from_seed(&[7; 32]);
        let pem = key.to_pem();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(SecretKey::from_pem(&pem).unwrap().account(), key.account());
        assert!(SecretKey::from_pem("").is_err());
        assert!(SecretKey::from_pem(&pem.replace("MC4C", "MC4D")).is_err());
        assert!(!format!("{key:?}").contains(&hex::encode([7; 32])));
    }

    #[test]
    fn named_keys_are_stable_and_distinct() {
        let key = |seed, name| SecretKey::insecure_from_name(seed, name).account();
        assert_eq!(key(1, "a"), key(1, "a"));
        assert_ne!(key(1, "a"), key(2, "a"));
        assert_ne!(key(1, "a"), key(1, "b"));
    }
}
