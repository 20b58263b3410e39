//! Transactions: the fields, the signed bytes, and the type that proves a signature was checked.

use std::sync::Arc;

use bincode::{BorrowDecode, Encode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    codec::{self, Slice},
    error::{DecodeError, SignatureError, TxError},
    ids::{AccountId, NetworkId, ShortId, TxId},
    keys::SecretKey,
    limits::{MAX_PAYLOAD, MAX_TX},
    signature::{self, Signature, Unverified, Verified},
};

/// The transaction format this crate reads and writes.
const VERSION: u8 = 1;

/// Domain of the hash that is signed (`blake3::derive_key`), so that no signature serves two purposes.
const SIGNING_CONTEXT: &str = "starling 2026-11 transaction signing";

/// Domain of the hash that is the id.
const ID_CONTEXT: &str = "starling 2026-11 transaction id";

/// What a sender asks for. Amounts and fees are in the network's smallest unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// The network it is for.
    pub network: NetworkId,
    /// The account that pays and signs.
    pub sender: AccountId,
    /// How many transactions of the sender come before this one.
    pub nonce: u64,
    /// Paid for the transaction's inclusion, in all (not per byte).
    pub fee: u64,
    /// The account that receives `amount`.
    pub recipient: AccountId,
    /// Moved from sender to recipient.
    pub amount: u64,
    /// Height of the last block that may include it; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<u64>,
    /// Free bytes, at most [`MAX_PAYLOAD`].
    #[serde(default, with = "crate::hexadecimal")]
    pub payload: Bytes,
}

/// The signed part as it stands on the wire; the signature's 64 bytes follow it.
#[derive(Encode, BorrowDecode)]
struct Body<'a> {
    version: u8,
    network: NetworkId,
    sender: AccountId,
    nonce: u64,
    fee: u64,
    recipient: AccountId,
    amount: u64,
    valid_until: Option<u64>,
    payload: Slice<'a, MAX_PAYLOAD>,
}

impl Transaction {
    /// Signs with the sender's key.
    pub fn sign(self, key: &SecretKey) -> Result<SignedTx, TxError> {
        if key.account() != self.sender {
            return Err(TxError::WrongKey);
        }
        let signature = key.sign(&self.signing_hash()?);
        self.with_signature(signature)
    }

    /// What the sender signs.
    pub fn signing_hash(&self) -> Result<[u8; 32], TxError> {
        Ok(blake3::derive_key(SIGNING_CONTEXT, &self.body()?))
    }

    /// Joins a signature that was made elsewhere. It is not checked here.
    pub fn with_signature(self, signature: Signature) -> Result<SignedTx, TxError> {
        let mut bytes = self.body()?;
        bytes.extend_from_slice(&signature.0);
        Ok(SignedTx::new(self, signature, bytes.into()))
    }

    fn body(&self) -> Result<Vec<u8>, TxError> {
        if self.payload.len() > MAX_PAYLOAD {
            return Err(TxError::PayloadTooLong(self.payload.len()));
        }
        Ok(codec::encode(&Body {
            version: VERSION,
            network: self.network,
            sender: self.sender,
            nonce: self.nonce,
            fee: self.fee,
            recipient: self.recipient,
            amount: self.amount,
            valid_until: self.valid_until,
            payload: Slice(&self.payload),
        }))
    }
}

/// A well-formed transaction with a signature that nobody has checked. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTx(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    transaction: Transaction,
    signature: Signature,
    id: TxId,
    bytes: Bytes,
}

impl SignedTx {
    fn new(transaction: Transaction, signature: Signature, bytes: Bytes) -> Self {
        let id = Self::id_of(&bytes);
        Self(Arc::new(Inner { transaction, signature, id, bytes }))
    }

    /// The id of the transaction with these bytes. Whether they are one is not looked at: it is for naming what came
    /// before it is decoded.
    pub fn id_of(bytes: &[u8]) -> TxId {
        TxId(blake3::derive_key(ID_CONTEXT, bytes))
    }

    /// Decodes a transaction. The bytes are copied once, so that a small transaction does not keep the network buffer
    /// it came in alive; that copy is what is later forwarded.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_TX {
            return Err(DecodeError::TooLong { what: "transaction", len: bytes.len(), max: MAX_TX });
        }
        let (&version, _) = bytes.split_first().ok_or(DecodeError::Truncated)?;
        if version != VERSION {
            return Err(DecodeError::UnknownVersion(version));
        }
        let bytes = Bytes::copy_from_slice(bytes);
        let (body, signature) = bytes.split_last_chunk::<64>().ok_or(DecodeError::Truncated)?;
        let body: Body<'_> = codec::decode(body)?;
        let transaction = Transaction {
            network: body.network,
            sender: body.sender,
            nonce: body.nonce,
            fee: body.fee,
            recipient: body.recipient,
            amount: body.amount,
            valid_until: body.valid_until,
            payload: bytes.slice_ref(body.payload.0),
        };
        Ok(Self::new(transaction, Signature(*signature), bytes.clone()))
    }

    /// The fields.
    pub fn transaction(&self) -> &Transaction {
        &self.0.transaction
    }

    /// The account that pays and signs.
    pub fn sender(&self) -> AccountId {
        self.0.transaction.sender
    }

    /// The signature.
    pub fn signature(&self) -> &Signature {
        &self.0.signature
    }

    /// The id.
    pub fn id(&self) -> TxId {
        self.0.id
    }

    /// The id as used in announcements.
    pub fn short_id(&self) -> ShortId {
        self.0.id.short()
    }

    /// The bytes that travel.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// What the sender signed.
    pub(crate) fn signing_hash(&self) -> [u8; 32] {
        let body = &self.0.bytes[..self.0.bytes.len() - 64];
        blake3::derive_key(SIGNING_CONTEXT, body)
    }

    /// Checks the signature; see [`crate::verify_batch`] for many at once.
    pub fn verify(self) -> Result<VerifiedTx, SignatureError> {
        match signature::verify(Unverified::Tx(self))? {
            Verified::Tx(tx) => Ok(tx),
            _ => unreachable!("verifying keeps the kind"),
        }
    }
}

/// A transaction whose signature was checked. Only checking makes one. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTx(SignedTx);

impl VerifiedTx {
    pub(crate) fn assume_checked(tx: SignedTx) -> Self {
        Self(tx)
    }
}

impl std::ops::Deref for VerifiedTx {
    type Target = SignedTx;

    fn deref(&self) -> &SignedTx {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TX_OVERHEAD;
    use proptest::prelude::*;

    fn key() -> SecretKey {
        SecretKey::from_seed(&[7; 32])
    }

    prop_compose! {
        fn transactions()(
            network in any::<u32>(), nonce in any::<u64>(), fee in any::<u64>(), recipient in any::<[u8; 32]>(),
            amount in any::<u64>(), valid_until in any::<Option<u64>>(),
            payload in prop::collection::vec(any::<u8>(), 0..300),
        ) -> Transaction {
            Transaction {
                network: NetworkId(network), sender: key().account(), nonce, fee, recipient: AccountId(recipient), amount,
                valid_until, payload: payload.into(),
            }
        }
    }

    proptest! {
        #[test]
        fn encoding_round_trips(tx in transactions()) {
            let signed = tx.clone().sign(&key()).unwrap();
            let expiry = if tx.valid_until.is_some() { 8 } else { 0 };
            prop_assert_eq!(signed.bytes().len(), TX_OVERHEAD + expiry + tx.payload.len());
            let decoded = SignedTx::decode(signed.bytes()).unwrap();
            prop_assert_eq!(decoded.transaction(), &tx);
            prop_assert_eq!(&decoded, &signed);
            prop_assert_eq!(SignedTx::id_of(signed.bytes()), signed.id());
            prop_assert_eq!(decoded.verify().unwrap().id(), signed.id());
            let json = serde_json::to_string(&tx).unwrap();
            prop_assert_eq!(serde_json::from_str::<Transaction>(&json).unwrap(), tx);
        }

        /// Whatever decodes is the encoding of what it decoded to: no value has a second form.
        #[test]
        fn encoding_is_canonical(tx in transactions(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
            let mut bytes = tx.sign(&key()).unwrap().bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = value;
            if let Ok(decoded) = SignedTx::decode(&bytes) {
                let again = decoded.transaction().clone().with_signature(*decoded.signature()).unwrap();
                prop_assert_eq!(again.bytes(), &bytes);
                prop_assert_eq!(again.id(), decoded.id());
            }
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = SignedTx::decode(&bytes);
        }

        #[test]
        fn every_truncation_and_extension_is_refused(tx in transactions(), cut in 1usize..400) {
            let bytes = tx.sign(&key()).unwrap().bytes().to_vec();
            let cut = cut.min(bytes.len());
            prop_assert!(SignedTx::decode(&bytes[..bytes.len() - cut]).is_err());
            prop_assert!(SignedTx::decode(&[&bytes[..], &vec![0; cut]].concat()).is_err());
        }
    }

    #[test]
    fn payloads_over_the_limit_are_refused() {
        let mut tx = Transaction {
            network: NetworkId(1),
            sender: key().account(),
            nonce: 0,
            fee: 0,
            recipient: AccountId([0; 32]),
            amount: 0,
            valid_until: Some(1),
            payload: vec![0; MAX_PAYLOAD].into(),
        };
        assert_eq!(tx.clone().sign(&key()).unwrap().bytes().len(), MAX_TX);
        tx.payload = vec![0; MAX_PAYLOAD + 1].into();
        assert_eq!(tx.clone().sign(&key()), Err(TxError::PayloadTooLong(MAX_PAYLOAD + 1)));
        tx.payload = Bytes::new();
        assert_eq!(tx.sign(&SecretKey::from_seed(&[8; 32])), Err(TxError::WrongKey));
        assert!(matches!(SignedTx::decode(&vec![1; MAX_TX + 1]), Err(DecodeError::TooLong { .. })));
        assert_eq!(SignedTx::decode(&[2; 200]), Err(DecodeError::UnknownVersion(2)));
        assert_eq!(SignedTx::decode(&[]), Err(DecodeError::Truncated));
    }
}
