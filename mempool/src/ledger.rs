//! Account state: what transactions are checked against, and what blocks change.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use starling_wire::{AccountId, NetworkId, SignedTx, VerifiedTx};

use crate::{
    admission,
    error::{ApplyError, ApplyReason, Rejection},
    genesis::{Genesis, Limits},
    store::cost,
};

/// Domain of [`Ledger::digest`].
const DIGEST_CONTEXT: &str = "starling 2026-11 ledger";

/// The state of one account. The default is that of an account nobody has heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// The nonce its next transaction must have.
    pub nonce: u64,
    /// What it owns, in the network's smallest unit.
    pub balance: u64,
}

/// Read access to account state, and what it makes of a transaction. It is the seam at which an embedder supplies its
/// own.
pub trait AccountView {
    /// An account's state after the last applied block; the default for unknown accounts.
    fn account(&self, id: &AccountId) -> Account;

    /// Whether a transaction is acceptable by rules beyond signature, nonce, expiry and balance, as CometBFT's `CheckTx`
    /// asks an application. A pool asks before the signature is checked, again when it admits, and about what it has when
    /// the sender's account changes; so the answer must be quick. Everything is acceptable unless this is written
    /// otherwise; [`Ledger`] has the network's rules here.
    fn check_tx(&self, _tx: &SignedTx) -> Result<(), Rejection> {
        Ok(())
    }
}

/// An embedder's rules on top of the network's, for a [`Ledger`]. Nodes of one network need the same ones, as blocks are
/// held to them, too. A refusal is best a [`Rejection::Refused`].
#[derive(Clone)]
pub struct TxRules(Arc<TxCheck>);

type TxCheck = dyn Fn(&SignedTx) -> Result<(), Rejection> + Send + Sync;

impl TxRules {
    /// Rules from a function of the transaction alone.
    pub fn new(check: impl Fn(&SignedTx) -> Result<(), Rejection> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }
}

impl Default for TxRules {
    /// None.
    fn default() -> Self {
        Self::new(|_| Ok(()))
    }
}

impl fmt::Debug for TxRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TxRules(..)")
    }
}

/// The built-in account state: balances and nonces in memory.
#[derive(Debug, Clone)]
pub struct Ledger {
    network: NetworkId,
    limits: Limits,
    rules: TxRules,
    accounts: BTreeMap<AccountId, Account>,
    /// What [`Self::digest`] is, if it was asked for since the last change: there may be millions of accounts.
    digest: OnceLock<[u8; 32]>,
}

impl Ledger {
    /// The state before the first block.
    pub fn new(genesis: &Genesis) -> Self {
        let accounts = genesis.accounts.iter().map(|a| (a.id, Account { nonce: 0, balance: a.balance })).collect();
        Self {
            network: genesis.network,
            limits: genesis.limits.clone(),
            rules: TxRules::default(),
            accounts,
            digest: OnceLock::new(),
        }
    }

    /// The same with an embedder's rules on top of the network's.
    pub fn with_rules(self, rules: TxRules) -> Self {
        Self { rules, ..self }
    }

    /// Takes over what blocks have made of accounts, as it was kept. All others are as the genesis has them.
    pub fn restore(&mut self, accounts: impl IntoIterator<Item = (AccountId, Account)>) {
        self.accounts.extend(accounts);
        self.digest.take();
    }

    /// Applies a block's transactions in their order, or none of them. Each must be for this network and within its
    /// limits, not be expired at `height`, have its sender's next nonce, and find amount and fee in the sender's
    /// balance. The fee goes to `producer` at once, so a producer may spend what earlier transactions paid it.
    pub fn apply(&mut self, height: u64, producer: &AccountId, txs: &[VerifiedTx]) -> Result<(), ApplyError> {
        let mut changes = Changes { ledger: self, accounts: BTreeMap::new() };
        for (position, tx) in txs.iter().enumerate() {
            changes.apply(height, producer, position, tx).map_err(|reason| ApplyError { tx: tx.id(), reason })?;
        }
        // An account that received nothing is still unknown: keeping it would let anybody fill the memory for fees.
        let changed = changes.accounts.into_iter().filter(|(_, account)| *account != Account::default());
        self.accounts.extend(changed.collect::<Vec<_>>());
        self.digest.take();
        Ok(())
    }

    /// blake3 over all accounts that are not in the default state, in the order of their ids, each as id, nonce and
    /// balance. Nodes that applied the same blocks have the same.
    pub fn digest(&self) -> [u8; 32] {
        *self.digest.get_or_init(|| {
            let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
            for (id, account) in self.accounts.iter().filter(|(_, account)| **account != Account::default()) {
                hasher.update(&id.0).update(&account.nonce.to_le_bytes()).update(&account.balance.to_le_bytes());
            }
            *hasher.finalize().as_bytes()
        })
    }
}

impl AccountView for Ledger {
    fn account(&self, id: &AccountId) -> Account {
        self.accounts.get(id).copied().unwrap_or_default()
    }

    /// The network's rules (its number, length and minimum fee), then the embedder's.
    fn check_tx(&self, tx: &SignedTx) -> Result<(), Rejection> {
        admission::network_rules(tx, self.network, &self.limits)?;
        (self.rules.0)(tx)
    }
}

/// What a block changes, kept apart until all of it is known to apply.
struct Changes<'a> {
    ledger: &'a Ledger,
    accounts: BTreeMap<AccountId, Account>,
}

impl Changes<'_> {
    fn account(&mut self, id: &AccountId) -> &mut Account {
        self.accounts.entry(*id).or_insert_with(|| self.ledger.account(id))
    }

    fn apply(
        &mut self,
        height: u64,
        producer: &AccountId,
        position: usize,
        tx: &VerifiedTx,
    ) -> Result<(), ApplyReason> {
        let max = self.ledger.limits.max_block_txs;
        if position >= max as usize {
            return Err(ApplyReason::TooMany { max });
        }
        self.ledger.check_tx(tx).map_err(ApplyReason::NotAcceptable)?;
        let fields = tx.transaction();
        if let Some(valid_until) = fields.valid_until.filter(|last| *last < height) {
            return Err(ApplyReason::Expired { valid_until, height });
        }
        let sender = self.account(&fields.sender);
        let next = fields.nonce.checked_add(1).filter(|_| fields.nonce == sender.nonce);
        let Some(next) = next else {
            return Err(ApplyReason::WrongNonce { nonce: fields.nonce, expected: sender.nonce });
        };
        let required = cost(tx);
        let left = u64::try_from(required).ok().and_then(|cost| sender.balance.checked_sub(cost));
        let Some(left) = left else {
            return Err(ApplyReason::InsufficientBalance { balance: sender.balance, required });
        };
        *sender = Account { nonce: next, balance: left };
        // No sum saturates: a genesis whose balances together exceed u64 is refused, and nothing adds to them later.
        for (id, sum) in [(&fields.recipient, fields.amount), (producer, fields.fee)] {
            let account = self.account(id);
            account.balance = account.balance.saturating_add(sum);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        genesis::GenesisAccount,
        testing::{NETWORK, Wallet},
    };

    const PRODUCER: AccountId = AccountId([0xbb; 32]);
    const NOBODY: AccountId = AccountId([0xee; 32]);

    fn ledger(balances: &[(&Wallet, u64)]) -> Ledger {
        Ledger::new(&Genesis {
            network: NETWORK,
            producers: vec![],
            limits: Limits { max_block_txs: 3, ..Limits::default() },
            accounts: balances.iter().map(|(w, balance)| GenesisAccount { id: w.id(), balance: *balance }).collect(),
        })
    }

    fn total(ledger: &Ledger) -> u64 {
        ledger.accounts.values().map(|account| account.balance).sum()
    }

    #[test]
    fn blocks_move_amounts_and_fees() {
        let (alice, bob) = (Wallet::new(1), Wallet::new(2));
        let mut ledger = ledger(&[(&alice, 10_000)]);
        // Bob spends within the block what Alice sends him in it.
        let mut to_bob = alice.fields(0, 1000);
        (to_bob.recipient, to_bob.amount) = (bob.id(), 5000);
        let txs = [alice.sign(to_bob), bob.tx(0, 300), alice.tx(1, 400)];
        ledger.apply(1, &PRODUCER, &txs).unwrap();
        assert_eq!(ledger.account(&alice.id()), Account { nonce: 2, balance: 10_000 - 6000 - 401 });
        assert_eq!(ledger.account(&bob.id()), Account { nonce: 1, balance: 5000 - 301 });
        assert_eq!(ledger.account(&PRODUCER), Account { nonce: 0, balance: 1700 });
        assert_eq!(ledger.account(&NOBODY), Account { nonce: 0, balance: 2 });
        assert_eq!(total(&ledger), 10_000);
    }

    #[test]
    fn sending_to_oneself_costs_the_fee() {
        let alice = Wallet::new(1);
        let mut ledger = ledger(&[(&alice, 1000)]);
        let mut fields = alice.fields(0, 400);
        (fields.recipient, fields.amount) = (alice.id(), 600);
        ledger.apply(1, &PRODUCER, &[alice.sign(fields)]).unwrap();
        assert_eq!(ledger.account(&alice.id()), Account { nonce: 1, balance: 600 });
    }

    #[test]
    fn one_bad_transaction_stops_the_whole_block() {
        let alice = Wallet::new(1);
        let mut ledger = ledger(&[(&alice, 10_000)]);
        let before = ledger.clone();
        let refused = |ledger: &mut Ledger, txs: &[VerifiedTx]| {
            let error = ledger.apply(5, &PRODUCER, txs).unwrap_err();
            assert_eq!(error.tx, txs.last().unwrap().id());
            assert_eq!(ledger.digest(), before.digest());
            error.reason
        };
        let change = |edit: &dyn Fn(&mut starling_wire::Transaction)| {
            let mut fields = alice.fields(1, 400);
            edit(&mut fields);
            alice.sign(fields)
        };
        let good = alice.tx(0, 400);
        let mut with = |tx: VerifiedTx| refused(&mut ledger, &[good.clone(), tx]);
        assert_eq!(with(alice.tx(2, 400)), ApplyReason::WrongNonce { nonce: 2, expected: 1 });
        assert_eq!(with(good.clone()), ApplyReason::WrongNonce { nonce: 0, expected: 1 });
        let overdrawn = ApplyReason::InsufficientBalance { balance: 9599, required: 9600 };
        assert_eq!(with(change(&|tx| tx.amount = 9200)), overdrawn);
        let required = u128::from(u64::MAX) + 400;
        let overflow = ApplyReason::InsufficientBalance { balance: 9599, required };
        assert_eq!(with(change(&|tx| tx.amount = u64::MAX)), overflow);
        let expired = ApplyReason::Expired { valid_until: 4, height: 5 };
        assert_eq!(with(change(&|tx| tx.valid_until = Some(4))), expired);
        let network = Rejection::WrongNetwork { expected: NETWORK, found: NetworkId(2) };
        let network = ApplyReason::NotAcceptable(network);
        assert_eq!(with(change(&|tx| tx.network = NetworkId(2))), network);
        assert!(matches!(with(change(&|tx| tx.fee = 1)), ApplyReason::NotAcceptable(Rejection::FeeTooLow { .. })));
        let four: Vec<_> = (0..4).map(|nonce| alice.tx(nonce, 400)).collect();
        assert_eq!(refused(&mut ledger, &four), ApplyReason::TooMany { max: 3 });
        ledger.apply(5, &PRODUCER, &[good, change(&|tx| tx.valid_until = Some(5))]).unwrap();
    }

    #[test]
    fn an_embedders_rules_hold_for_blocks_and_offers() {
        let alice = Wallet::new(1);
        let refusal = Rejection::Refused { why: "no payload".into(), for_good: true };
        let rules = TxRules::new({
            let refusal = refusal.clone();
            move |tx| if tx.transaction().payload.is_empty() { Err(refusal.clone()) } else { Ok(()) }
        });
        let mut ledger = ledger(&[(&alice, 10_000)]).with_rules(rules);
        let bare = alice.tx(0, 400);
        assert_eq!(ledger.check_tx(&bare), Err(refusal.clone()));
        let error = ledger.apply(1, &PRODUCER, &[bare]).unwrap_err();
        assert_eq!(error.reason, ApplyReason::NotAcceptable(refusal));
        let mut fields = alice.fields(0, 400);
        fields.payload = vec![1].into();
        ledger.apply(1, &PRODUCER, &[alice.sign(fields)]).unwrap();
    }

    #[test]
    fn the_last_nonce_is_refused() {
        let alice = Wallet::new(1);
        let mut ledger = ledger(&[]);
        ledger.accounts.insert(alice.id(), Account { nonce: u64::MAX, balance: 10_000 });
        let error = ledger.apply(1, &PRODUCER, &[alice.tx(u64::MAX, 400)]).unwrap_err();
        assert_eq!(error.reason, ApplyReason::WrongNonce { nonce: u64::MAX, expected: u64::MAX });
    }

    #[test]
    fn the_digest_sees_changes_and_skips_unknown_accounts() {
        let (alice, bob) = (Wallet::new(1), Wallet::new(2));
        let mut ledger = ledger(&[(&alice, 10_000)]);
        assert_eq!(ledger.digest(), self::ledger(&[(&bob, 0), (&alice, 10_000)]).digest());
        assert_ne!(ledger.digest(), self::ledger(&[(&alice, 9999)]).digest());
        let before = ledger.digest();
        let mut nothing = alice.fields(0, 400);
        nothing.amount = 0;
        ledger.apply(1, &PRODUCER, &[alice.sign(nothing)]).unwrap();
        assert_ne!(ledger.digest(), before);
        assert!(!ledger.accounts.contains_key(&NOBODY), "received nothing");
    }
}
