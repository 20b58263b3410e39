//! Block announcements: a signed header and the ids of the transactions in it. The transactions themselves travel
//! on their own; a node that lacks one asks for it.

use std::sync::Arc;

use bincode::{BorrowDecode, Decode, Encode};
use bytes::Bytes;

use crate::{
    codec::{self, BoundedVec},
    error::DecodeError,
    ids::{AccountId, BlockId, NetworkId, TxId},
    keys::SecretKey,
    limits::{MAX_BLOCK, MAX_BLOCK_TXS},
    signature::Signature,
};

/// The block format this crate reads and writes.
const VERSION: u8 = 1;

/// Domain of the header's hash, which is both the id and what the producer signs.
const ID_CONTEXT: &str = "starling 2026-11 block";

/// Domain of the hash over the transaction ids.
const TX_ROOT_CONTEXT: &str = "starling 2026-11 block transactions";

/// What the producer signs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BlockHeader {
    version: u8,
    /// The network it is for.
    pub network: NetworkId,
    /// The number of blocks before it, the genesis counted as one: the first block has height 1.
    pub height: u64,
    /// The block before it; [`BlockId::ZERO`] for the first.
    pub parent: BlockId,
    /// Who made it.
    pub producer: AccountId,
    /// When, in milliseconds since 1970 by the producer's clock. Informative.
    pub timestamp_ms: u64,
    tx_root: [u8; 32],
}

impl BlockHeader {
    fn id(&self) -> BlockId {
        BlockId(blake3::derive_key(ID_CONTEXT, &codec::encode(self)))
    }
}

#[derive(Encode, BorrowDecode)]
struct Encoded {
    header: BlockHeader,
    signature: Signature,
    tx_ids: BoundedVec<TxId, MAX_BLOCK_TXS>,
}

/// What a producer puts into a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The network it is for.
    pub network: NetworkId,
    /// See [`BlockHeader::height`].
    pub height: u64,
    /// See [`BlockHeader::parent`].
    pub parent: BlockId,
    /// See [`BlockHeader::timestamp_ms`].
    pub timestamp_ms: u64,
    /// The transactions, in the order in which they apply.
    pub tx_ids: BoundedVec<TxId, MAX_BLOCK_TXS>,
}

impl Block {
    /// Signs with the producer's key.
    pub fn sign(self, key: &SecretKey) -> SignedBlock {
        let header = BlockHeader {
            version: VERSION,
            network: self.network,
            height: self.height,
            parent: self.parent,
            producer: key.account(),
            timestamp_ms: self.timestamp_ms,
            tx_root: tx_root(&self.tx_ids),
        };
        let id = header.id();
        let signature = key.sign(&id.0);
        let bytes = codec::encode(&Encoded { header: header.clone(), signature, tx_ids: self.tx_ids.clone() }).into();
        SignedBlock(Arc::new(Inner { header, signature, tx_ids: self.tx_ids.into_inner(), id, bytes }))
    }
}

fn tx_root(tx_ids: &[TxId]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(TX_ROOT_CONTEXT);
    for id in tx_ids {
        hasher.update(&id.0);
    }
    *hasher.finalize().as_bytes()
}

/// A well-formed block with a signature that nobody has checked. Its ids are those its header commits to. Cheap to
/// clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBlock(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    header: BlockHeader,
    signature: Signature,
    tx_ids: Vec<TxId>,
    id: BlockId,
    bytes: Bytes,
}

impl SignedBlock {
    /// Decodes a block and checks that its ids are the ones its header names.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_BLOCK {
            return Err(DecodeError::TooLong { what: "block", len: bytes.len(), max: MAX_BLOCK });
        }
        let (&version, _) = bytes.split_first().ok_or(DecodeError::Truncated)?;
        if version != VERSION {
            return Err(DecodeError::UnknownVersion(version));
        }
        let Encoded { header, signature, tx_ids } = codec::decode(bytes)?;
        if header.tx_root != tx_root(&tx_ids) {
            return Err(DecodeError::Invalid("the block's ids are not those its header names"));
        }
        let (id, bytes) = (header.id(), Bytes::copy_from_slice(bytes));
        Ok(Self(Arc::new(Inner { header, signature, tx_ids: tx_ids.into_inner(), id, bytes })))
    }

    /// The signed header.
    pub fn header(&self) -> &BlockHeader {
        &self.0.header
    }

    /// The producer's signature.
    pub fn signature(&self) -> &Signature {
        &self.0.signature
    }

    /// The transactions, in the order in which they apply.
    pub fn tx_ids(&self) -> &[TxId] {
        &self.0.tx_ids
    }

    /// The id.
    pub fn id(&self) -> BlockId {
        self.0.id
    }

    /// The bytes that travel.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }
}

/// A block whose signature was checked. Only checking makes one. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBlock(SignedBlock);

impl VerifiedBlock {
    pub(crate) fn assume_checked(block: SignedBlock) -> Self {
        Self(block)
    }
}

impl std::ops::Deref for VerifiedBlock {
    type Target = SignedBlock;

    fn deref(&self) -> &SignedBlock {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::BLOCK_OVERHEAD,
        signature::{Unverified, verify},
    };
    use proptest::prelude::*;

    fn block(ids: Vec<[u8; 32]>) -> SignedBlock {
        let tx_ids = BoundedVec::new(ids.into_iter().map(TxId).collect()).unwrap();
        let block = Block { network: NetworkId(1), height: 5, parent: BlockId([4; 32]), timestamp_ms: 9, tx_ids };
        block.sign(&SecretKey::from_seed(&[1; 32]))
    }

    proptest! {
        #[test]
        fn encoding_round_trips(ids in prop::collection::vec(any::<[u8; 32]>(), 0..20)) {
            let signed = block(ids.clone());
            prop_assert_eq!(signed.bytes().len(), BLOCK_OVERHEAD + 32 * ids.len());
            let decoded = SignedBlock::decode(signed.bytes()).unwrap();
            prop_assert_eq!(&decoded, &signed);
            prop_assert!(verify(Unverified::Block(decoded)).is_ok());
        }

        #[test]
        fn a_changed_byte_never_passes_both_checks(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = block(vec![[1; 32], [2; 32]]).bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let passes = SignedBlock::decode(&bytes).is_ok_and(|block| verify(Unverified::Block(block)).is_ok());
            prop_assert!(!passes);
        }
    }

    #[test]
    fn ids_cannot_be_exchanged_under_a_header() {
        let mut bytes = block(vec![[1; 32], [2; 32]]).bytes().to_vec();
        let end = bytes.len();
        bytes[end - 1] ^= 1;
        assert!(matches!(SignedBlock::decode(&bytes), Err(DecodeError::Invalid(_))));
        assert!(matches!(SignedBlock::decode(&vec![1; MAX_BLOCK + 1]), Err(DecodeError::TooLong { .. })));
        assert_eq!(SignedBlock::decode(&[7; 300]), Err(DecodeError::UnknownVersion(7)));
    }
}
