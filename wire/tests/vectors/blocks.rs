//! `blocks.json`.

use serde::{Deserialize, Serialize};
use starling_wire::{
    AccountId, Block, BlockId, NetworkId, SecretKey, SignedBlock, TxId, Unverified, limits::BLOCK_OVERHEAD, verify,
};

use super::{
    golden::{Dec, Hex, golden, list, secret},
    transactions::transactions,
};

/// Bytes of a header: everything before the signature.
pub(super) const HEADER: usize = BLOCK_OVERHEAD - 64 - 4;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockVector {
    name: String,
    seed: Hex,
    network: u32,
    height: Dec,
    parent: BlockId,
    producer: AccountId,
    timestamp_ms: Dec,
    tx_ids: Vec<TxId>,
    tx_root: Hex,
    header: Hex,
    id: BlockId,
    signature: Hex,
    pub(super) encoded: Hex,
}

impl BlockVector {
    fn new(name: &str, seed: &[u8; 32], block: Block) -> Self {
        let signed = block.clone().sign(&SecretKey::from_seed(seed));
        Self {
            name: name.to_owned(),
            seed: Hex(seed.to_vec()),
            network: block.network.0,
            height: Dec(block.height),
            parent: block.parent,
            producer: signed.header().producer,
            timestamp_ms: Dec(block.timestamp_ms),
            tx_ids: block.tx_ids.to_vec(),
            tx_root: Hex(signed.bytes()[HEADER - 32..HEADER].to_vec()),
            header: Hex(signed.bytes()[..HEADER].to_vec()),
            id: signed.id(),
            signature: Hex(signed.signature().0.to_vec()),
            encoded: Hex(signed.bytes().to_vec()),
        }
    }

    fn check(&self) {
        let name = &self.name;
        assert_eq!(secret(&self.seed).account(), self.producer, "{name}");
        let signed = Block {
            network: NetworkId(self.network),
            height: self.height.0,
            parent: self.parent,
            timestamp_ms: self.timestamp_ms.0,
            tx_ids: list(self.tx_ids.clone()),
        }
        .sign(&secret(&self.seed));
        assert_eq!(signed.bytes(), &self.encoded.0, "{name}");

        let decoded = SignedBlock::decode(&self.encoded.0).unwrap();
        assert_eq!(decoded, signed, "{name}");
        let header = decoded.header();
        assert_eq!(
            (header.network.0, header.height, header.parent, header.producer, header.timestamp_ms),
            (self.network, self.height.0, self.parent, self.producer, self.timestamp_ms.0),
            "{name}"
        );
        assert_eq!(decoded.tx_ids(), self.tx_ids, "{name}");
        assert_eq!(decoded.id(), self.id, "{name}");
        assert_eq!(decoded.signature().0[..], self.signature.0, "{name}");
        assert!(verify(Unverified::Block(decoded)).is_ok(), "{name}");

        // The hashes, spelled out.
        let root = blake3::derive_key("starling 2026-11 block transactions", &concat(&self.tx_ids));
        assert_eq!(root[..], self.tx_root.0, "{name}");
        assert_eq!(self.header.0, self.encoded.0[..HEADER], "{name}");
        assert_eq!(self.header.0[HEADER - 32..], root, "{name}");
        assert_eq!(blake3::derive_key("starling 2026-11 block", &self.header.0), self.id.0, "{name}");
    }
}

pub(super) fn concat(ids: &[TxId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0).collect()
}

pub(super) fn blocks() -> Vec<BlockVector> {
    let ids: Vec<_> = transactions().iter().map(|vector| vector.id).collect();
    let block = |height, parent, timestamp_ms, tx_ids| Block {
        network: NetworkId(1),
        height,
        parent,
        timestamp_ms,
        tx_ids: list(tx_ids),
    };
    let first =
        BlockVector::new("first block, no transactions", &[3; 32], block(1, BlockId::ZERO, 1_767_225_600_000, vec![]));
    let second = BlockVector::new(
        "second block, one transaction",
        &[4; 32],
        block(2, first.id, 1_767_225_602_000, vec![ids[0]]),
    );
    let third = BlockVector::new(
        "third block, the first two producers taking turns, three transactions",
        &[3; 32],
        block(3, second.id, 1_767_225_604_000, ids[1..4].to_vec()),
    );
    let extreme = BlockVector::new(
        "every number at its maximum",
        &[5; 32],
        Block {
            network: NetworkId(u32::MAX),
            ..block(u64::MAX, BlockId([0xee; 32]), u64::MAX, vec![TxId([0xff; 32])])
        },
    );
    vec![first, second, third, extreme]
}

#[test]
fn blocks_json() {
    let about = "Blocks: `encoded` is `header`, `signature`, the count of ids and `tx_ids`. `seed` is the RFC 8032 \
                 private key of `producer`; what it signs is `id`.";
    golden("blocks.json", about, blocks(), BlockVector::check);
}
