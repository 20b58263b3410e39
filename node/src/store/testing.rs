//! Transactions and blocks for tests.

use bytes::Bytes;
use starling_mempool::{Genesis, GenesisAccount, Limits};
use starling_wire::{
    AccountId, Block, BlockId, BoundedVec, NetworkId, SecretKey, SignedBlock, Transaction, Unverified, Verified,
    VerifiedBlock, VerifiedTx, verify,
};

pub(crate) fn key(i: u64) -> SecretKey {
    SecretKey::insecure_from_name(i, "account")
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        network: NetworkId(7),
        producers: vec![key(99).account()],
        limits: Limits::default(),
        accounts: (0..10).map(|i| GenesisAccount { id: key(i).account(), balance: 1_000_000 }).collect(),
    }
}

/// A transaction of an account with a nonce.
pub(crate) fn tx(account: u64, nonce: u64) -> VerifiedTx {
    let key = key(account);
    let tx = Transaction {
        network: NetworkId(7),
        sender: key.account(),
        nonce,
        fee: 1000,
        recipient: AccountId([9; 32]),
        amount: 5,
        valid_until: None,
        payload: Bytes::from_static(b"payload"),
    };
    tx.sign(&key).unwrap().verify().unwrap()
}

/// A block upon another.
pub(crate) fn block(height: u64, parent: Option<&SignedBlock>, txs: &[VerifiedTx]) -> VerifiedBlock {
    let block = Block {
        network: NetworkId(7),
        height,
        parent: parent.map_or(BlockId::ZERO, SignedBlock::id),
        timestamp_ms: 0,
        tx_ids: BoundedVec::new(txs.iter().map(|tx| tx.id()).collect()).unwrap(),
    };
    match verify(Unverified::Block(block.sign(&key(99)))).unwrap() {
        Verified::Block(block) => block,
        _ => unreachable!("verifying keeps the kind"),
    }
}
