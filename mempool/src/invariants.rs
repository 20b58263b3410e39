//! Random sequences of what a node does to its pool, with everything a pool promises checked after each step.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use starling_wire::{AccountId, SignedTx, TxId, VerifiedTx, limits::TX_OVERHEAD};

use crate::{
    AccountView, Genesis, GenesisAccount, Ledger, Limits, Mempool, Origin, Place, PoolConfig, Rejection,
    ordering::FeeRate,
    testing::{NETWORK, Wallet},
};

const WALLETS: u8 = 5;
const PRODUCER: AccountId = AccountId([0xbb; 32]);

#[derive(Debug, Clone)]
enum Step {
    /// A transaction comes in, its nonce counted from the account's or, if there is none, the sender's next.
    Insert { wallet: u8, ahead: Option<u64>, fee: u64, amount: u64, payload: usize, last: Option<u64> },
    /// A block of the best transactions, as this node would make it.
    OwnBlock { count: usize },
    /// A block with a transaction the pool has never seen.
    OtherBlock { wallet: u8, amount: u64 },
    /// Time passes.
    Wait { seconds: u64 },
}

fn steps() -> impl Strategy<Value = Step> {
    let wallet = 0..WALLETS;
    let ahead = prop_oneof![2 => Just(None), 1 => (0u64..8).prop_map(Some)];
    let fee = prop_oneof![1 => Just(TX_OVERHEAD as u64), 1 => 100u64..600, 4 => 500u64..5000];
    let amount = prop_oneof![3 => 0u64..100, 1 => 0u64..30_000];
    let payload = prop_oneof![Just(0usize), 0..200usize];
    let last = prop_oneof![9 => Just(None), 1 => (0u64..4).prop_map(Some)];
    prop_oneof![
        40 => (wallet.clone(), ahead, fee, amount, payload, last)
            .prop_map(|(wallet, ahead, fee, amount, payload, last)| {
                Step::Insert { wallet, ahead, fee, amount, payload, last }
            }),
        2 => (0usize..5).prop_map(|count| Step::OwnBlock { count }),
        2 => (wallet, 0u64..20_000).prop_map(|(wallet, amount)| Step::OtherBlock { wallet, amount }),
        2 => (0u64..60).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

struct World {
    config: PoolConfig,
    wallets: Vec<Wallet>,
    ledger: Ledger,
    pool: Mempool,
    height: u64,
    now: Duration,
}

impl World {
    fn new() -> Self {
        let config = PoolConfig {
            max_bytes: 2500,
            max_count: 10,
            max_per_sender: 5,
            max_bytes_per_sender: 1200,
            max_nonce_gap: 6,
            lifetime: Duration::from_secs(100),
            local_lifetime: Duration::from_secs(100),
            replacement_percent: 10,
        };
        let wallets: Vec<_> = (0..=WALLETS).map(Wallet::new).collect();
        let accounts = wallets.iter().map(|w| GenesisAccount { id: w.id(), balance: 60_000 }).collect();
        let genesis = Genesis { network: NETWORK, producers: vec![], limits: Limits::default(), accounts };
        Self {
            pool: Mempool::new(config.clone(), 1),
            config,
            wallets,
            ledger: Ledger::new(&genesis),
            height: 0,
            now: Duration::ZERO,
        }
    }

    fn ids(&self) -> BTreeSet<TxId> {
        self.pool.iter().map(|tx| tx.id()).collect()
    }

    fn places(&self) -> BTreeMap<TxId, Place> {
        self.ids().into_iter().map(|id| (id, self.pool.place(&id).unwrap())).collect()
    }

    fn step(&mut self, step: Step) {
        let before = self.ids();
        match step {
            Step::Insert { wallet, ahead, fee, amount, payload, last } => {
                let wallet = &self.wallets[usize::from(wallet)];
                let nonce = match ahead {
                    Some(ahead) => self.ledger.account(&wallet.id()).nonce + ahead,
                    None => self.pool.next_nonce(&wallet.id(), &self.ledger),
                };
                let mut fields = wallet.fields(nonce, fee);
                fields.amount = amount;
                fields.payload = vec![7; payload].into();
                fields.valid_until = last.map(|last| self.height + last);
                let tx = wallet.sign(fields);
                self.insert(tx);
            }
            Step::OwnBlock { count } => {
                let txs: Vec<_> = self.pool.best().take(count).cloned().collect();
                self.block(before, &txs);
            }
            Step::OtherBlock { wallet, amount } => {
                let wallet = &self.wallets[usize::from(wallet)];
                let account = self.ledger.account(&wallet.id());
                let mut fields = wallet.fields(account.nonce, 9999);
                fields.amount = amount;
                fields.recipient = self.wallets[0].id();
                if account.balance >= 9999 + amount {
                    let tx = wallet.sign(fields);
                    self.block(before, &[tx]);
                }
            }
            Step::Wait { seconds } => {
                self.now += Duration::from_secs(seconds);
                let due = self.pool.next_expiry().is_some_and(|at| at <= self.now);
                let removed = self.pool.expire(self.now);
                assert_eq!(due, !removed.is_empty());
                assert_eq!(self.ids(), &before - &removed.into_iter().collect());
                assert!(self.pool.next_expiry().is_none_or(|at| at > self.now));
            }
        }
    }

    fn insert(&mut self, tx: VerifiedTx) {
        let (ids, places) = (self.ids(), self.places());
        let rates: BTreeMap<_, _> = self.pool.iter().map(|tx| (tx.id(), FeeRate::of(tx))).collect();
        let by_nonce: BTreeMap<_, _> =
            self.pool.iter().map(|tx| ((tx.sender(), tx.transaction().nonce), tx.clone())).collect();
        let checked = self.pool.check(self.now, &tx, self.height, &self.ledger);
        let inserted = self.pool.insert(self.now, tx.clone(), Origin::Peer, self.height, &self.ledger);
        assert_eq!(checked.as_ref().err(), inserted.as_ref().err());
        let Ok(inserted) = inserted else {
            assert_eq!((ids, places), (self.ids(), self.places()), "a rejection changes nothing");
            return;
        };
        assert_eq!(self.pool.place(&tx.id()), Some(inserted.place));
        let removed: BTreeSet<_> = inserted.removed.iter().copied().collect();
        assert_eq!(removed.len(), inserted.removed.len());
        assert!(removed.is_subset(&ids));
        assert_eq!(self.ids(), &(&ids - &removed) | &BTreeSet::from([tx.id()]));
        for (id, place) in &places {
            let now = self.pool.place(id);
            assert!(*place == Place::Queued || now != Some(Place::Queued), "nothing is demoted");
        }
        // Whoever went and was not replaced either was queued, or had no later one left in the pool and was worth
        // less than the newcomer.
        let replaced = by_nonce.get(&(tx.sender(), tx.transaction().nonce)).map(|old| old.id());
        let worth = |tx: &SignedTx| {
            let fields = tx.transaction();
            let through = by_nonce.range((fields.sender, 0)..(fields.sender, fields.nonce));
            through.map(|(_, earlier)| rates[&earlier.id()]).fold(FeeRate::of(tx), FeeRate::min)
        };
        for id in removed.iter().filter(|id| Some(**id) != replaced && places[*id] == Place::Pending) {
            let gone = by_nonce.values().find(|tx| tx.id() == *id).unwrap();
            assert_eq!(inserted.place, Place::Pending);
            assert!(worth(gone) < worth(&tx));
            let nonce = gone.transaction().nonce;
            assert!(self.pool.by_sender(&gone.sender()).all(|left| left.transaction().nonce < nonce));
            let queued_left = self.pool.iter().any(|tx| {
                places.get(&tx.id()) == Some(&Place::Queued) && self.pool.place(&tx.id()) == Some(Place::Queued)
            });
            assert!(!queued_left, "queued go first");
        }
    }

    fn block(&mut self, before: BTreeSet<TxId>, txs: &[VerifiedTx]) {
        self.height += 1;
        self.ledger.apply(self.height, &PRODUCER, txs).expect("what is pending applies");
        let removed = self.pool.apply_block(self.now, self.height, txs, &self.ledger);
        let distinct: BTreeSet<_> = removed.iter().copied().collect();
        assert_eq!(distinct.len(), removed.len());
        assert_eq!(self.ids(), &before - &distinct);
    }

    fn check(&self) {
        let pool = &self.pool;
        pool.assert_consistent();
        assert!(pool.len() <= self.config.max_count && pool.bytes() <= self.config.max_bytes);
        assert_eq!(pool.bytes(), pool.iter().map(|tx| tx.bytes().len()).sum::<usize>());
        let status = pool.status(self.now);
        let pending = self.places().values().filter(|place| **place == Place::Pending).count();
        assert_eq!((status.count, status.pending, status.bytes), (pool.len(), pending, pool.bytes()));
        assert_eq!(status.queued, pool.len() - pending);

        for wallet in &self.wallets {
            let account = self.ledger.account(&wallet.id());
            let own: Vec<_> = pool.by_sender(&wallet.id()).map(|tx| tx.transaction()).collect();
            assert!(own.len() <= self.config.max_per_sender && own.is_sorted_by(|a, b| a.nonce < b.nonce));
            assert!(own.iter().all(|tx| (account.nonce..=account.nonce + 6).contains(&tx.nonce)));
            assert!(own.iter().all(|tx| tx.valid_until.is_none_or(|last| last > self.height)));
            assert!(own.iter().map(|tx| tx.amount + tx.fee).sum::<u64>() <= account.balance);
            let next = (account.nonce..).find(|nonce| own.iter().all(|tx| tx.nonce != *nonce));
            assert_eq!(pool.next_nonce(&wallet.id(), &self.ledger), next.unwrap());
        }

        let all: Vec<_> = pool.iter().collect();
        assert!(all.is_sorted_by(|a, b| FeeRate::of(a) >= FeeRate::of(b)));
        for tx in &all {
            assert_eq!(pool.get(&tx.id()), Some(*tx));
            assert_eq!(pool.get_short(&tx.short_id()), Some(*tx));
        }

        // The order of `best`, done the slow way. `iter` has the earlier arrival first among equals.
        let mut nonces: BTreeMap<_, _> =
            self.wallets.iter().map(|w| (w.id(), self.ledger.account(&w.id()).nonce)).collect();
        let mut expected = Vec::new();
        while let Some(tx) = all.iter().find(|tx| nonces[&tx.sender()] == tx.transaction().nonce) {
            *nonces.get_mut(&tx.sender()).unwrap() += 1;
            expected.push(tx.id());
        }
        assert_eq!(pool.best().map(|tx| tx.id()).collect::<Vec<_>>(), expected);
        assert_eq!(expected.len(), pending);

        // The floor is what somebody new has to pay.
        let stranger = &self.wallets[usize::from(WALLETS)];
        let offer = |per_byte: u64| {
            let tx = stranger.tx(0, per_byte * TX_OVERHEAD as u64);
            pool.check(self.now, &tx, self.height, &self.ledger)
        };
        assert!(offer(status.floor).is_ok());
        if status.floor > 1 {
            assert_eq!(offer(status.floor - 1), Err(Rejection::PoolFull { required: status.floor }));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_promise_holds_after_every_step(steps in prop::collection::vec(steps(), 1..200)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
    }
}
