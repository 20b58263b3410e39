//! The pool held against a model of it that knows no indexes: a list of everything, from which all is worked out anew each
//! time. Whatever sequence of things happens, both must have the same content in the same order.
//!
//! The model is written from what the documentation promises, not from the pool.

use std::{collections::BTreeMap, time::Duration};

use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use starling_wire::{AccountId, TxId, VerifiedTx, limits::TX_OVERHEAD};

use crate::{
    AccountView, Mempool, Origin, Place, PoolConfig, Rejection,
    floor::{Fill, HALF_LIFE},
    pool::IN_VAIN,
    testing::{Accounts, Wallet},
};

const WALLETS: u8 = 5;
const NONCES: u64 = 7;

/// Operations in one sequence, and sequences: a million operations.
const STEPS: usize = 2_000;
const SEQUENCES: u64 = 500;

fn config() -> PoolConfig {
    PoolConfig {
        max_bytes: 2600,
        max_count: 10,
        max_per_sender: 5,
        max_bytes_per_sender: 1300,
        max_nonce_gap: 5,
        lifetime: Duration::from_secs(100),
        local_lifetime: Duration::from_secs(250),
        replacement_percent: 10,
    }
}

#[derive(Clone)]
struct Entry {
    tx: VerifiedTx,
    expires: Duration,
    /// Whether it was pending when last its sender was looked at.
    base: u64,
}

impl Entry {
    fn fee(&self) -> u128 {
        self.tx.transaction().fee.into()
    }
    fn bytes(&self) -> u128 {
        self.tx.bytes().len() as u128
    }
    fn nonce(&self) -> u64 {
        self.tx.transaction().nonce
    }
    fn cost(&self) -> u128 {
        u128::from(self.tx.transaction().amount) + self.fee()
    }
}

/// a < b by fee per byte.
fn cheaper(a: &Entry, b: &Entry) -> bool {
    a.fee() * b.bytes() < b.fee() * a.bytes()
}

/// Everything, in the order of arrival.
struct Model {
    all: Vec<Entry>,
    /// The floor in fee units per byte, and since when; times 2^16.
    floor: (u128, Duration),
    /// For each sender that had something relayed in vain: when its budget for that is whole again, in microseconds.
    whole_at: BTreeMap<AccountId, u64>,
}

impl Model {
    fn of(&self, id: AccountId) -> Vec<&Entry> {
        let mut own: Vec<_> = self.all.iter().filter(|entry| entry.tx.sender() == id).collect();
        own.sort_by_key(|entry| entry.nonce());
        own
    }

    fn is_pending(&self, entry: &Entry) -> bool {
        let own = self.of(entry.tx.sender());
        (entry.base..entry.nonce()).all(|nonce| own.iter().any(|other| other.nonce() == nonce))
    }

    fn bytes(&self) -> u128 {
        self.all.iter().map(Entry::bytes).sum()
    }

    fn ranked(&self) -> Vec<&Entry> {
        let mut ranked: Vec<_> = self.all.iter().collect();
        // Stable: earlier arrivals stay first among equals.
        ranked.sort_by(|a, b| (b.fee() * a.bytes()).cmp(&(a.fee() * b.bytes())));
        ranked
    }

    fn best(&self) -> Vec<TxId> {
        let mut left = self.ranked();
        let mut nonces: BTreeMap<AccountId, u64> = BTreeMap::new();
        let mut best = Vec::new();
        while let Some(at) =
            left.iter().position(|entry| entry.nonce() == *nonces.get(&entry.tx.sender()).unwrap_or(&entry.base))
        {
            let entry = left.remove(at);
            nonces.insert(entry.tx.sender(), entry.nonce() + 1);
            best.push(entry.tx.id());
        }
        best
    }

    fn drop_all(&mut self, ids: &[TxId]) {
        self.all.retain(|entry| !ids.contains(&entry.tx.id()));
    }

    fn rebase(&mut self, id: AccountId, base: u64) {
        self.all.iter_mut().filter(|entry| entry.tx.sender() == id).for_each(|entry| entry.base = base);
    }

    fn floor_at(&self, now: Duration) -> (u128, Duration) {
        let config = config();
        let fills = [Fill::of(self.all.len(), config.max_count), Fill::of(self.bytes() as usize, config.max_bytes)];
        let step = if fills.contains(&Fill::Half) {
            HALF_LIFE / 16
        } else if fills.contains(&Fill::Quarter) {
            HALF_LIFE / 32
        } else {
            HALF_LIFE / 64
        };
        let (mut rate, mut at) = self.floor;
        while rate > 0 && at + step <= now {
            at += step;
            rate = (rate * 62_757) >> 16;
            if rate < 1 << 15 {
                rate = 0;
            }
        }
        (rate, at)
    }

    /// What is to be removed for a newcomer, in any order, or the name of the reason why it is refused.
    fn offer(
        &mut self,
        now: Duration,
        tx: &VerifiedTx,
        height: u64,
        accounts: &Accounts,
    ) -> Result<Vec<TxId>, &'static str> {
        self.floor = self.floor_at(now);
        let config = config();
        let new = Entry { tx: tx.clone(), expires: Duration::ZERO, base: accounts.account(&tx.sender()).nonce };
        let (nonce, account) = (new.nonce(), accounts.account(&tx.sender()));
        if self.all.iter().any(|entry| entry.tx.id() == tx.id()) {
            return Err("already-known");
        }
        if new.fee() < new.bytes() {
            return Err("fee-too-low");
        }
        if tx.transaction().valid_until.is_some_and(|last| last <= height) {
            return Err("expired");
        }
        if nonce < account.nonce {
            return Err("nonce-too-low");
        }
        if nonce > account.nonce + config.max_nonce_gap {
            return Err("nonce-too-high");
        }
        let own: Vec<Entry> = self.of(tx.sender()).into_iter().cloned().collect();
        let end = (account.nonce..).find(|nonce| own.iter().all(|entry| entry.nonce() != *nonce)).unwrap();
        let pending = nonce <= end;
        let replaced = own.iter().find(|entry| entry.nonce() == nonce);
        if let Some(old) = replaced {
            let enough = new.fee() * old.bytes() * 100 >= old.fee() * new.bytes() * 110 && cheaper(old, &new);
            if !enough {
                return Err("underpriced");
            }
        }
        let valid_for_a_while = tx.transaction().valid_until.is_some();
        for bytes in replaced.map(Entry::bytes).into_iter().chain(valid_for_a_while.then_some(new.bytes())) {
            let debt = self.whole_at.get(&tx.sender()).map_or(0, |at| at.saturating_sub(now.as_micros() as u64));
            let rate = IN_VAIN.per_second;
            if u128::from(debt) + micros(bytes, rate) > micros(IN_VAIN.burst.into(), rate) {
                return Err("replaced-too-often");
            }
        }
        if (new.fee() << 16) / new.bytes() < self.floor.0 {
            return Err("pool-full");
        }
        // Within the sender's limits, if need be without what is last above a gap.
        let mut stay: Vec<Entry> = own.iter().filter(|entry| entry.nonce() != nonce).cloned().collect();
        let mut pushed_out = Vec::new();
        loop {
            let bytes = stay.iter().map(Entry::bytes).sum::<u128>() + new.bytes();
            let reason = if stay.len() + 1 > config.max_per_sender {
                "sender-limit"
            } else if bytes > config.max_bytes_per_sender as u128 {
                "sender-bytes"
            } else {
                break;
            };
            match stay.last() {
                Some(last) if pending && last.nonce() >= end && last.nonce() > nonce => {
                    pushed_out.extend(stay.pop().map(|entry| entry.tx.id()));
                }
                _ => return Err(reason),
            }
        }
        if stay.iter().map(Entry::cost).sum::<u128>() + new.cost() > account.balance.into() {
            return Err("insufficient-balance");
        }
        let mut removed = pushed_out;
        removed.extend(replaced.map(|old| old.tx.id()));
        let fits = |removed: &[TxId]| {
            let left: Vec<_> = self.all.iter().filter(|entry| !removed.contains(&entry.tx.id())).collect();
            let bytes = left.iter().map(|entry| entry.bytes()).sum::<u128>() + new.bytes();
            left.len() < config.max_count && bytes <= config.max_bytes as u128
        };
        let busy = self.all.len() * 10 >= config.max_count * 9 || self.bytes() * 10 >= config.max_bytes as u128 * 9;
        if !pending && (busy || !fits(&removed)) {
            return Err("gapped-pool-busy");
        }
        // What an own earlier one pays bounds what the newcomer is worth.
        let worth =
            own.iter().filter(|entry| entry.nonce() < nonce).fold(&new, |a, b| if cheaper(b, a) { b } else { a });
        let mut evicted = None;
        while !fits(&removed) {
            let ranked = self.ranked();
            let mut left = ranked.into_iter().rev().filter(|entry| !removed.contains(&entry.tx.id()));
            let Some(queued) = left.clone().find(|entry| !self.is_pending(entry)).or_else(|| left.next()) else {
                return Err("pool-full");
            };
            if self.is_pending(queued) && evicted.as_ref().is_none_or(|dearest| cheaper(dearest, queued)) {
                evicted = Some(queued.clone());
            }
            let of = self.of(queued.tx.sender());
            let tail = of.iter().rfind(|entry| !removed.contains(&entry.tx.id())).unwrap();
            removed.push(tail.tx.id());
        }
        if let Some(dearest) = evicted {
            if !cheaper(&dearest, worth) {
                return Err("pool-full");
            }
            let rate = (dearest.fee() << 16) / dearest.bytes() + (1 << 16);
            if rate > self.floor.0 {
                self.floor = (rate, now);
            }
        }
        for entry in own.iter().filter(|entry| entry.nonce() < account.nonce) {
            if !removed.contains(&entry.tx.id()) {
                removed.push(entry.tx.id());
            }
        }
        Ok(removed)
    }

    fn insert(
        &mut self,
        now: Duration,
        tx: &VerifiedTx,
        origin: Origin,
        height: u64,
        accounts: &Accounts,
    ) -> Result<Vec<TxId>, &'static str> {
        let removed = self.offer(now, tx, height, accounts)?;
        let id = tx.sender();
        let old = self.all.iter().find(|entry| entry.tx.sender() == id && entry.nonce() == tx.transaction().nonce);
        let in_vain = old.map(Entry::bytes);
        let lifetime = if origin == Origin::Local { config().local_lifetime } else { config().lifetime };
        let base = accounts.account(&id).nonce;
        self.drop_all(&removed);
        self.all.push(Entry { tx: tx.clone(), expires: now + lifetime, base });
        if let Some(bytes) = in_vain {
            self.was_in_vain(now, id, bytes);
        }
        self.rebase(id, base);
        Ok(removed)
    }

    fn was_in_vain(&mut self, now: Duration, id: AccountId, bytes: u128) {
        let whole_at = self.whole_at.entry(id).or_default();
        *whole_at = (*whole_at).max(now.as_micros() as u64) + micros(bytes, IN_VAIN.per_second) as u64;
    }

    fn accounts_changed(&mut self, ids: &[AccountId], accounts: &Accounts) -> Vec<TxId> {
        let mut removed = Vec::new();
        for id in ids {
            let account = accounts.account(id);
            let mut left = account.balance.into();
            for entry in self.of(*id) {
                let payable = entry.nonce() >= account.nonce && entry.cost() <= left;
                left = if payable {
                    left - entry.cost()
                } else if entry.nonce() < account.nonce {
                    left
                } else {
                    0
                };
                if !payable {
                    removed.push(entry.tx.id());
                }
            }
            self.drop_all(&removed);
            self.rebase(*id, account.nonce);
        }
        removed
    }

    fn apply_block(&mut self, now: Duration, height: u64, txs: &[VerifiedTx], accounts: &Accounts) -> Vec<TxId> {
        let (mut left, mut removed) = (Vec::new(), Vec::new());
        for entry in std::mem::take(&mut self.all) {
            let included = txs.iter().any(|tx| tx.id() == entry.tx.id());
            let outlived = entry.tx.transaction().valid_until.is_some_and(|last| last <= height);
            if !included && outlived {
                self.was_in_vain(now, entry.tx.sender(), entry.bytes());
            }
            if included || outlived {
                removed.push(entry.tx.id());
            } else {
                left.push(entry);
            }
        }
        self.all = left;
        let senders: Vec<_> = txs.iter().map(|tx| tx.sender()).collect();
        removed.extend(self.accounts_changed(&senders, accounts));
        removed
    }

    fn expire(&mut self, now: Duration) -> Vec<TxId> {
        let removed: Vec<_> = self.all.iter().filter(|entry| entry.expires <= now).map(|entry| entry.tx.id()).collect();
        self.drop_all(&removed);
        removed
    }
}

fn micros(bytes: u128, per_second: u64) -> u128 {
    (bytes * 1_000_000).div_ceil(per_second.into())
}

/// Everything that can be sent, signed once.
struct Catalog {
    wallets: Vec<AccountId>,
    txs: Vec<VerifiedTx>,
}

impl Catalog {
    fn new() -> Self {
        let wallets: Vec<_> = (0..WALLETS).map(Wallet::new).collect();
        let mut txs = Vec::new();
        for wallet in &wallets {
            for nonce in 0..NONCES {
                // Equal prices of different lengths, replacements that do and do not pay enough, long ones, dear ones.
                for (per_byte, payload) in
                    [(0, 0), (1, 0), (1, 100), (2, 0), (2, 30), (3, 300), (4, 0), (8, 100), (30, 1000), (31, 10)]
                {
                    let mut fields = wallet.fields(nonce, 0);
                    fields.payload = vec![nonce as u8; payload].into();
                    fields.valid_until = (per_byte == 2 && payload == 30).then_some(nonce * 40);
                    let bytes = wallet.sign(fields.clone()).bytes().len() as u64;
                    fields.fee = (per_byte * bytes).max(bytes - 1);
                    fields.amount = if payload == 10 { 3000 } else { nonce };
                    txs.push(wallet.sign(fields));
                }
            }
        }
        Self { wallets: wallets.iter().map(Wallet::id).collect(), txs }
    }
}

/// Both, and what they are told.
struct World<'a> {
    catalog: &'a Catalog,
    rng: ChaCha8Rng,
    pool: Mempool,
    model: Model,
    accounts: Accounts,
    now: Duration,
    height: u64,
}

impl World<'_> {
    fn new(catalog: &Catalog, seed: u64) -> World<'_> {
        let mut accounts = Accounts::default();
        for id in &catalog.wallets {
            accounts.set(*id, 0, 30_000);
        }
        World {
            catalog,
            rng: ChaCha8Rng::seed_from_u64(seed),
            pool: Mempool::new(config(), 1),
            model: Model { all: Vec::new(), floor: (0, Duration::ZERO), whole_at: BTreeMap::new() },
            accounts,
            now: Duration::ZERO,
            height: 0,
        }
    }

    fn step(&mut self) {
        let (mut found, mut expected) = match self.rng.random_range(0..100) {
            0..80 => return self.insert(),
            80..84 => self.block(),
            84..90 => {
                let id = *self.catalog.wallets.choose(&mut self.rng).unwrap();
                let nonce = self.rng.random_range(0..NONCES / 2);
                self.accounts.set(id, nonce, self.rng.random_range(0..60_000));
                // Sometimes nobody says so, and the pool finds out when it next looks.
                if self.rng.random_bool(0.2) {
                    return;
                }
                let ids = [id];
                (self.pool.accounts_changed(ids, &self.accounts), self.model.accounts_changed(&ids, &self.accounts))
            }
            _ => {
                self.now += Duration::from_millis(self.rng.random_range(0..20_000));
                (self.pool.expire(self.now), self.model.expire(self.now))
            }
        };
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    fn insert(&mut self) {
        let tx = self.catalog.txs.choose(&mut self.rng).unwrap().clone();
        let origin = if self.rng.random_bool(0.2) { Origin::Local } else { Origin::Peer };
        let checked = self.pool.check(self.now, &tx, self.height, &self.accounts);
        let inserted = self.pool.insert(self.now, tx.clone(), origin, self.height, &self.accounts);
        assert_eq!(checked.as_ref().err(), inserted.as_ref().err());
        let expected = self.model.insert(self.now, &tx, origin, self.height, &self.accounts);
        match (inserted, expected) {
            (Ok(inserted), Ok(mut expected)) => {
                let checked = checked.unwrap();
                assert_eq!((checked.place, checked.displaced), (inserted.place, expected.len()));
                let mut removed = inserted.removed;
                removed.sort();
                expected.sort();
                assert_eq!(removed, expected);
            }
            (Err(rejection), Err(reason)) => assert_eq!(rejection.reason(), reason),
            (found, expected) => panic!("{found:?} where {expected:?} was expected"),
        }
    }

    /// A block of what the pool has, or of what it may never have seen; at times of one with a used nonce.
    fn block(&mut self) -> (Vec<TxId>, Vec<TxId>) {
        let mut txs: Vec<_> = self.pool.best().take(self.rng.random_range(0..3)).cloned().collect();
        if self.rng.random_bool(0.3) {
            txs.extend(self.catalog.txs.choose(&mut self.rng).cloned());
        }
        self.height += 1;
        for tx in &txs {
            let account = self.accounts.account(&tx.sender());
            let cost = tx.transaction().amount + tx.transaction().fee;
            let nonce = (tx.transaction().nonce + 1).max(account.nonce);
            self.accounts.set(tx.sender(), nonce, account.balance.saturating_sub(cost));
        }
        // When everybody's nonces are used up, accounts start anew, as only an embedder's could.
        if self.catalog.wallets.iter().all(|id| self.accounts.account(id).nonce > NONCES / 2) {
            self.catalog.wallets.iter().for_each(|id| self.accounts.set(*id, 0, 30_000));
        }
        (
            self.pool.apply_block(self.now, self.height, &txs, &self.accounts),
            self.model.apply_block(self.now, self.height, &txs, &self.accounts),
        )
    }

    fn compare(&self) {
        let (pool, model) = (&self.pool, &self.model);
        let ranked = model.ranked();
        assert!(pool.iter().map(|tx| tx.id()).eq(ranked.iter().map(|entry| entry.tx.id())), "content and order");
        assert!(pool.best().map(|tx| tx.id()).eq(model.best()), "the order of blocks");
        let queued = model.all.iter().filter(|entry| !model.is_pending(entry)).count();
        let status = pool.status(self.now);
        assert_eq!((status.count, status.queued, status.bytes as u128), (model.all.len(), queued, model.bytes()));
        assert_eq!(pool.next_expiry(), model.all.iter().map(|entry| entry.expires).min());
        let config = config();
        assert!(status.count <= config.max_count && status.bytes <= config.max_bytes);
        let mut floor = model.floor_at(self.now).0.div_ceil(1 << 16).max(1);
        let is_full = status.count == config.max_count || status.bytes + TX_OVERHEAD > config.max_bytes;
        if let (true, 0, Some(cheapest)) = (is_full, queued, ranked.last()) {
            floor = floor.max(cheapest.fee() / cheapest.bytes() + 1);
        }
        assert_eq!(u128::from(status.floor), floor);
    }

    /// What is dearer to look at, and what is asked about single transactions.
    fn compare_closely(&self) {
        self.pool.assert_consistent();
        for entry in &self.model.all {
            let id = entry.tx.id();
            let place = if self.model.is_pending(entry) { Place::Pending } else { Place::Queued };
            assert_eq!(self.pool.place(&id), Some(place));
            assert_eq!(self.pool.get(&id), Some(&entry.tx));
            assert_eq!(self.pool.get_short(&id.short()), Some(&entry.tx));
        }
        for id in &self.catalog.wallets {
            let own = self.model.of(*id);
            assert!(self.pool.by_sender(id).eq(own.iter().map(|entry| &entry.tx)));
            let status = self.pool.sender_status(id);
            assert_eq!(status.pending + status.queued, own.len());
            assert_eq!(status.cost, own.iter().map(|entry| entry.cost()).sum());
            let nonce = self.accounts.account(id).nonce;
            let next = (nonce..).find(|nonce| own.iter().all(|entry| entry.nonce() != *nonce)).unwrap();
            assert_eq!(self.pool.next_nonce(id, &self.accounts), next);
            assert!(status.bytes <= config().max_bytes_per_sender && own.len() <= config().max_per_sender);
        }
    }
}

fn run(seeds: impl Iterator<Item = u64>) {
    let catalog = Catalog::new();
    for seed in seeds {
        let mut world = World::new(&catalog, seed);
        for step in 0..STEPS {
            let at = format!("seed {seed}, step {step}");
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                world.step();
                world.compare();
                if step % 16 == 0 {
                    world.compare_closely();
                }
            }));
            assert!(outcome.is_ok(), "the pool and the model differ: {at}");
        }
    }
}

#[test]
fn the_pool_is_its_model_after_half_a_million_operations() {
    run(0..SEQUENCES / 2);
}

/// On the other core.
#[test]
fn the_pool_is_its_model_after_another_half_a_million() {
    run(SEQUENCES / 2..SEQUENCES);
}

/// Every reason there is, but for those that need other bytes than these, comes up: the model is not held against nothing.
#[test]
fn the_sequences_meet_every_case() {
    let catalog = Catalog::new();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..5 {
        let mut world = World::new(&catalog, seed);
        for _ in 0..STEPS {
            let tx = catalog.txs.choose(&mut world.rng).unwrap();
            let reason = match world.pool.check(world.now, tx, world.height, &world.accounts) {
                Ok(admissible) if admissible.replaced_bytes > 0 => "replaces",
                Ok(admissible) if admissible.displaced > 0 => "displaces",
                Ok(_) => "admissible",
                Err(rejection) => rejection.reason(),
            };
            *reasons.entry(reason).or_default() += 1;
            world.step();
        }
    }
    let never = ["wrong-network", "too-large", "bad-signature", "replaced-too-often", "refused"];
    let all = Rejection::REASONS.iter().filter(|reason| !never.contains(reason));
    for reason in all.chain(&["replaces", "displaces", "admissible"]) {
        assert!(reasons.get(reason).is_some_and(|count| *count > 10), "{reason}: {reasons:?}");
    }
}
