//! What the tests of this crate share.

use std::collections::BTreeMap;

use starling_wire::{AccountId, NetworkId, SecretKey, SignedTx, Transaction, VerifiedTx};

use crate::{Account, AccountView, Limits, Rejection, admission};

pub(crate) const NETWORK: NetworkId = NetworkId(1);

/// Somebody who signs transactions.
pub(crate) struct Wallet(SecretKey);

impl Wallet {
    pub(crate) fn new(number: u8) -> Self {
        Self(SecretKey::from_seed(&[number; 32]))
    }

    pub(crate) fn id(&self) -> AccountId {
        self.0.account()
    }

    /// Fields of a valid transaction to nobody, for tests that change some.
    pub(crate) fn fields(&self, nonce: u64, fee: u64) -> Transaction {
        Transaction {
            network: NETWORK,
            sender: self.id(),
            nonce,
            fee,
            recipient: AccountId([0xee; 32]),
            amount: 1,
            valid_until: None,
            payload: Vec::new().into(),
        }
    }

    pub(crate) fn sign(&self, tx: Transaction) -> VerifiedTx {
        tx.sign(&self.0).unwrap().verify().unwrap()
    }

    /// A transaction of the least length.
    pub(crate) fn tx(&self, nonce: u64, fee: u64) -> VerifiedTx {
        self.sign(self.fields(nonce, fee))
    }
}

/// An account state tests write directly.
#[derive(Default)]
pub(crate) struct Accounts(pub(crate) BTreeMap<AccountId, Account>);

impl Accounts {
    pub(crate) fn set(&mut self, id: AccountId, nonce: u64, balance: u64) {
        self.0.insert(id, Account { nonce, balance });
    }
}

impl AccountView for Accounts {
    fn account(&self, id: &AccountId) -> Account {
        self.0.get(id).copied().unwrap_or_default()
    }

    fn check_tx(&self, tx: &SignedTx) -> Result<(), Rejection> {
        admission::network_rules(tx, NETWORK, &Limits::default())
    }
}
