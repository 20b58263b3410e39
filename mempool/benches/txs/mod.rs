//! Signed transactions of 250 bytes for the benchmarks.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use starling_mempool::{Account, AccountView};
use starling_wire::{
    AccountId, NetworkId, SecretKey, SignedTx, Transaction, Unverified, Verified, VerifiedTx, limits::TX_OVERHEAD,
    verify_batch,
};

/// Encoded length of each, in bytes.
pub(crate) const BYTES: usize = 250;

/// Transactions of each account.
pub(crate) const PER_ACCOUNT: usize = 10;

/// Everybody has enough, and has sent nothing yet.
pub(crate) struct Rich;

impl AccountView for Rich {
    fn account(&self, _: &AccountId) -> Account {
        Account { nonce: 0, balance: u64::MAX }
    }
}

/// The bytes of `count` transactions of accounts numbered from `first` on, ten each, with random fees from `fees` per
/// byte.
pub(crate) fn raw(first: u64, count: usize, fees: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    let mut rng = ChaCha8Rng::seed_from_u64(first);
    (0..count)
        .map(|number| {
            let key = SecretKey::insecure_from_name(first + (number / PER_ACCOUNT) as u64, "bench");
            let tx = Transaction {
                network: NetworkId(1),
                sender: key.account(),
                nonce: (number % PER_ACCOUNT) as u64,
                fee: rng.random_range(fees.clone()) * BYTES as u64 + rng.random_range(0..BYTES as u64),
                recipient: AccountId([9; 32]),
                amount: 1,
                valid_until: None,
                payload: vec![0; BYTES - TX_OVERHEAD].into(),
            };
            tx.sign(&key).expect("the key is the sender's").bytes().to_vec()
        })
        .collect()
}

/// The transactions that have these bytes, as a node has them when their signatures are checked.
pub(crate) fn checked(raw: &[Vec<u8>]) -> Vec<VerifiedTx> {
    let mut all = Vec::with_capacity(raw.len());
    for chunk in raw.chunks(64) {
        let items =
            chunk.iter().map(|bytes| Unverified::Tx(SignedTx::decode(bytes).expect("it was encoded"))).collect();
        for verdict in verify_batch(items, ChaCha8Rng::seed_from_u64(1)) {
            let Ok(Verified::Tx(tx)) = verdict else { panic!("it was signed") };
            all.push(tx);
        }
    }
    all
}
