//! The pool: storage and its indexes, what goes in and what comes out.

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use starling_wire::{AccountId, NetworkId, ShortId, SignedTx, TxId, VerifiedTx, limits::TX_OVERHEAD};

use crate::{
    admission,
    config::PoolConfig,
    error::Rejection,
    eviction::Room,
    genesis::Limits,
    ledger::AccountView,
    ordering::{FeeRate, Rank},
    sender::{Pooled, Sender, cost},
};

/// Who handed a transaction in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A user of this node.
    Local,
    /// A peer.
    Peer,
}

/// Whether the next blocks could include a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// No nonce is missing between the account's and its own.
    Pending,
    /// Some nonce before its own is missing.
    Queued,
}

/// What an insertion did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inserted {
    /// Where the transaction is now.
    pub place: Place,
    /// What it replaced, and what was evicted to make room for it.
    pub removed: Vec<TxId>,
}

/// A pool in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Transactions held.
    pub count: usize,
    /// Those that are [`Place::Pending`].
    pub pending: usize,
    /// Those that are [`Place::Queued`].
    pub queued: usize,
    /// Bytes of all encoded transactions.
    pub bytes: usize,
    /// Lowest fee per byte with which a small transaction without a nonce gap is admitted now, in the network's
    /// smallest unit: the network's minimum while there is room or something queued to evict, and otherwise what is
    /// above the cheapest in the pool, rounded up to a whole unit. A transaction of many bytes can need more, as more
    /// has to make room for it, and a sender's earlier transactions must pay it too.
    pub floor: u64,
}

/// What an insertion would do.
struct Plan {
    place: Place,
    /// The account's nonce.
    base: u64,
    removed: Vec<TxId>,
}

/// The transactions a node keeps and relays.
///
/// Calls with an [`AccountView`] expect the state after the block last passed to [`Self::apply_block`]. A state that
/// is ahead or behind does no lasting harm: the sender's transactions are put in their places when it next inserts or
/// is in a block.
#[derive(Debug)]
pub struct Mempool {
    config: PoolConfig,
    network: NetworkId,
    limits: Limits,
    ids: BTreeMap<TxId, VerifiedTx>,
    /// Owns what is known about each transaction. Nobody in it is without transactions.
    senders: BTreeMap<AccountId, Sender>,
    by_rank: BTreeMap<Rank, VerifiedTx>,
    /// The part of `by_rank` that is queued.
    queued: BTreeMap<Rank, VerifiedTx>,
    by_time: BTreeSet<(Duration, TxId)>,
    /// Those with a last height, by it.
    by_height: BTreeSet<(u64, TxId)>,
    bytes: usize,
    /// Transactions ever admitted.
    arrivals: u64,
}

impl Mempool {
    /// An empty pool.
    pub fn new(config: PoolConfig, network: NetworkId, limits: Limits) -> Self {
        Self {
            config,
            network,
            limits,
            ids: BTreeMap::new(),
            senders: BTreeMap::new(),
            by_rank: BTreeMap::new(),
            queued: BTreeMap::new(),
            by_time: BTreeSet::new(),
            by_height: BTreeSet::new(),
            bytes: 0,
            arrivals: 0,
        }
    }

    /// Checks everything but the signature, cheapest first: run it before paying for the signature check. `height`
    /// is that of the last applied block, 0 for none; the transaction must be valid in the next.
    pub fn check(&self, tx: &SignedTx, height: u64, accounts: &impl AccountView) -> Result<(), Rejection> {
        self.plan(tx, height, accounts).map(|_| ())
    }

    /// Checks as [`Self::check`] does and admits. A transaction with the sender and nonce of another replaces it, if
    /// it pays enough more. In a full pool others are evicted, if it pays more than they do. A sender at its limit
    /// who fills a gap loses the one with the highest nonce. `now` is counted from any fixed start.
    pub fn insert(
        &mut self,
        now: Duration,
        tx: VerifiedTx,
        origin: Origin,
        height: u64,
        accounts: &impl AccountView,
    ) -> Result<Inserted, Rejection> {
        let Plan { place, base, mut removed } = self.plan(&tx, height, accounts)?;
        for id in &removed {
            self.remove(id);
        }
        if let Some(sender) = self.senders.get(&tx.sender()) {
            // Used nonces are left only if the view is ahead of the blocks this pool has seen.
            let used: Vec<_> = sender.range(..base).map(|pooled| pooled.tx.id()).collect();
            removed.extend(used.iter().filter(|id| self.remove(id)));
        }
        let rank = Rank::new(&tx, self.arrivals);
        self.arrivals += 1;
        removed.extend(self.store(Pooled { tx, rank, since: now, origin }, base));
        Ok(Inserted { place, removed })
    }

    fn plan(&self, tx: &SignedTx, height: u64, accounts: &impl AccountView) -> Result<Plan, Rejection> {
        if self.contains(&tx.id()) {
            return Err(Rejection::AlreadyKnown);
        }
        admission::network_rules(tx, self.network, &self.limits)?;
        admission::not_expired(tx, height)?;
        let account = accounts.account(&tx.sender());
        admission::nonce(tx, &account, self.config.max_nonce_gap)?;

        let nonce = tx.transaction().nonce;
        let nothing = Sender::default();
        let sender = self.senders.get(&tx.sender()).unwrap_or(&nothing);
        let place = if nonce <= sender.end_from(account.nonce) { Place::Pending } else { Place::Queued };
        let replaced = sender.get(nonce);
        let leaver = if let Some(old) = replaced {
            admission::replacement(tx, old.rank.rate, self.config.replacement_percent)?;
            Some(old)
        } else if sender.len() < self.config.max_per_sender {
            None
        } else {
            // Were the gap not filled, the sender could do nothing but wait for the queued ones to expire.
            let tail = sender.tail().filter(|tail| place == Place::Pending && tail.nonce() > nonce);
            Some(tail.ok_or(Rejection::SenderLimit { max: self.config.max_per_sender })?)
        };

        let required = sender.cost() + cost(tx) - leaver.map_or(0, |leaver| cost(&leaver.tx));
        if required > u128::from(account.balance) {
            return Err(Rejection::InsufficientBalance { balance: account.balance, required });
        }

        let count = self.len() + 1 - usize::from(leaver.is_some());
        let bytes = self.bytes + tx.bytes().len() - leaver.map_or(0, |leaver| leaver.tx.bytes().len());
        let (max_count, max_bytes) = (self.config.max_count, self.config.max_bytes);
        let room = Room {
            senders: &self.senders,
            by_rank: &self.by_rank,
            queued: &self.queued,
            leaver,
            excess_count: count.saturating_sub(max_count),
            excess_bytes: bytes.saturating_sub(max_bytes),
        };
        let mut removed = match place {
            Place::Pending => room.make(sender.rate_through(nonce, FeeRate::of(tx)))?,
            // One with a gap never evicts: nobody may ever be able to include it.
            Place::Queued if self.is_busy() || count > max_count || bytes > max_bytes => {
                return Err(Rejection::GappedPoolBusy);
            }
            Place::Queued => Vec::new(),
        };
        // What is replaced goes as the new one is put in its place.
        removed.extend(leaver.filter(|_| replaced.is_none()).map(|leaver| leaver.tx.id()));
        Ok(Plan { place, base: account.nonce, removed })
    }

    /// Whether the pool is 90 % full or more, by count or by bytes.
    fn is_busy(&self) -> bool {
        let busy = |used: usize, max: usize| used as u128 * 10 >= max as u128 * 9;
        busy(self.len(), self.config.max_count) || busy(self.bytes, self.config.max_bytes)
    }

    /// Puts a transaction into all indexes and returns the one it replaced.
    fn store(&mut self, pooled: Pooled, base: u64) -> Option<TxId> {
        let (id, rank, nonce, tx) = (pooled.tx.id(), pooled.rank, pooled.nonce(), pooled.tx.clone());
        self.bytes += tx.bytes().len();
        self.by_time.insert((pooled.since, id));
        self.by_height.extend(tx.transaction().valid_until.map(|height| (height, id)));
        self.by_rank.insert(rank, tx.clone());
        self.ids.insert(id, tx.clone());
        let sender = self.senders.entry(tx.sender()).or_default();
        let old = sender.insert(pooled);
        if sender.place(nonce) == Place::Queued {
            self.queued.insert(rank, tx);
        }
        sender.settle(base, &mut self.queued);
        old.map(|old| {
            self.unindex(&old);
            old.tx.id()
        })
    }

    /// Takes a transaction out of everything. Whether it was there.
    fn remove(&mut self, id: &TxId) -> bool {
        let Some(tx) = self.ids.get(id).cloned() else { return false };
        let Some(sender) = self.senders.get_mut(&tx.sender()) else { return false };
        let Some(pooled) = sender.remove(tx.transaction().nonce) else { return false };
        sender.settle(sender.base(), &mut self.queued);
        if sender.is_empty() {
            self.senders.remove(&tx.sender());
        }
        self.unindex(&pooled);
        true
    }

    fn unindex(&mut self, pooled: &Pooled) {
        let id = pooled.tx.id();
        self.bytes -= pooled.tx.bytes().len();
        self.by_time.remove(&(pooled.since, id));
        if let Some(height) = pooled.tx.transaction().valid_until {
            self.by_height.remove(&(height, id));
        }
        self.by_rank.remove(&pooled.rank);
        self.queued.remove(&pooled.rank);
        self.ids.remove(&id);
    }

    fn pooled(&self, id: &TxId) -> Option<(&Sender, &Pooled)> {
        let tx = self.ids.get(id)?;
        let sender = self.senders.get(&tx.sender())?;
        Some((sender, sender.get(tx.transaction().nonce)?))
    }

    /// A transaction by its id.
    pub fn get(&self, id: &TxId) -> Option<&VerifiedTx> {
        self.ids.get(id)
    }

    /// A transaction by its id as used in announcements; the one with the lowest id if there are several.
    pub fn get_short(&self, id: &ShortId) -> Option<&VerifiedTx> {
        let mut first = TxId([0; 32]);
        first.0[..id.0.len()].copy_from_slice(&id.0);
        self.ids.range(first..).next().filter(|(found, _)| found.short() == *id).map(|(_, tx)| tx)
    }

    /// Whether the pool has a transaction.
    pub fn contains(&self, id: &TxId) -> bool {
        self.ids.contains_key(id)
    }

    /// Where a transaction is.
    pub fn place(&self, id: &TxId) -> Option<Place> {
        self.pooled(id).map(|(sender, pooled)| sender.place(pooled.nonce()))
    }

    /// Who handed a transaction in.
    pub fn origin(&self, id: &TxId) -> Option<Origin> {
        self.pooled(id).map(|(_, pooled)| pooled.origin)
    }

    /// Transactions held.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Bytes of all encoded transactions.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The pool in numbers.
    pub fn status(&self) -> PoolStatus {
        let (count, queued) = (self.len(), self.queued.len());
        // The shortest transaction is the first to find room, and needs the room of one other at most.
        let is_full = count >= self.config.max_count || self.bytes.saturating_add(TX_OVERHEAD) > self.config.max_bytes;
        let cheapest = self.by_rank.keys().next().filter(|_| is_full && queued == 0);
        let floor = cheapest.map_or(0, |rank| rank.rate.just_above()).max(self.limits.min_fee_per_byte);
        PoolStatus { count, pending: count - queued, queued, bytes: self.bytes, floor }
    }

    /// Follows a block that was applied to `accounts`: removes its transactions, those whose nonce is used, those the
    /// next block can no longer include, and those of its senders the balance no longer covers, from the highest nonce
    /// down. Finds anew what is pending. Returns the ids of all that were removed.
    ///
    /// Only accounts that sent something in the block are looked at, as others have lost neither nonces nor funds.
    pub fn apply_block(&mut self, height: u64, txs: &[VerifiedTx], accounts: &impl AccountView) -> Vec<TxId> {
        let mut removed: Vec<_> = txs.iter().map(|tx| tx.id()).filter(|id| self.remove(id)).collect();
        while let Some(&(_, id)) = self.by_height.first().filter(|(last, _)| *last <= height) {
            self.remove(&id);
            removed.push(id);
        }
        let affected: BTreeSet<_> = txs.iter().map(|tx| tx.sender()).collect();
        for id in affected {
            let account = accounts.account(&id);
            let Some(sender) = self.senders.get(&id) else { continue };
            for tx in sender.unpayable(account.nonce, account.balance) {
                self.remove(&tx.id());
                removed.push(tx.id());
            }
            if let Some(sender) = self.senders.get_mut(&id) {
                sender.settle(account.nonce, &mut self.queued);
            }
        }
        removed
    }

    /// Drops what has been in the pool for the lifetime, and returns its ids. What came after it from the same sender
    /// stays, queued.
    pub fn expire(&mut self, now: Duration) -> Vec<TxId> {
        let mut removed = Vec::new();
        while self.next_expiry().is_some_and(|at| at <= now) {
            let Some(&(_, id)) = self.by_time.first() else { break };
            self.remove(&id);
            removed.push(id);
        }
        removed
    }

    /// When [`Self::expire`] next has work, on the clock of [`Self::insert`].
    pub fn next_expiry(&self) -> Option<Duration> {
        self.by_time.first().map(|(since, _)| since.saturating_add(self.config.lifetime))
    }

    /// Pending transactions for building a block: at each step, of every sender's next one the one with the highest
    /// fee per byte, the earlier arrival among equals. Lazy: the first few cost little however many there are.
    pub fn best(&self) -> impl Iterator<Item = &VerifiedTx> {
        let mut heads = self.by_rank.iter().rev().filter(|(_, tx)| self.is_head(tx)).peekable();
        // Those next in line after one that was given out.
        let mut followers: BinaryHeap<Rank> = BinaryHeap::new();
        std::iter::from_fn(move || {
            let head = heads.peek().map(|(rank, _)| **rank);
            let tx =
                if head > followers.peek().copied() { heads.next()?.1 } else { self.by_rank.get(&followers.pop()?)? };
            // A pool never has the nonce u64::MAX.
            let follower = self.senders.get(&tx.sender())?.get(tx.transaction().nonce.saturating_add(1));
            followers.extend(follower.map(|pooled| pooled.rank));
            Some(tx)
        })
    }

    fn is_head(&self, tx: &VerifiedTx) -> bool {
        self.senders.get(&tx.sender()).is_some_and(|sender| sender.base() == tx.transaction().nonce)
    }

    /// All transactions, pending and queued, the highest fee per byte first, the earlier arrival among equals.
    pub fn iter(&self) -> impl Iterator<Item = &VerifiedTx> {
        self.by_rank.values().rev()
    }

    /// One sender's transactions by nonce, pending and queued.
    pub fn by_sender(&self, id: &AccountId) -> impl Iterator<Item = &VerifiedTx> + use<'_> {
        self.senders.get(id).into_iter().flat_map(|sender| sender.range(..)).map(|pooled| &pooled.tx)
    }

    /// The nonce a sender should use next: the account's, or the first after it that no transaction here uses.
    pub fn next_nonce(&self, id: &AccountId, accounts: &impl AccountView) -> u64 {
        let nonce = accounts.account(id).nonce;
        self.senders.get(id).map_or(nonce, |sender| sender.end_from(nonce))
    }

    /// The indexes as they stand, for checking them against each other.
    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) {
        let all: Vec<_> = self.senders.values().flat_map(|sender| sender.range(..)).collect();
        let ids: BTreeSet<_> = all.iter().map(|pooled| pooled.tx.id()).collect();
        assert_eq!(ids.len(), all.len());
        assert_eq!(ids, self.ids.keys().copied().collect());
        assert!(self.ids.iter().all(|(id, tx)| tx.id() == *id));
        assert_eq!(self.bytes, all.iter().map(|pooled| pooled.tx.bytes().len()).sum::<usize>());
        assert_eq!(self.by_time, all.iter().map(|pooled| (pooled.since, pooled.tx.id())).collect());
        let heights = all.iter().filter_map(|p| p.tx.transaction().valid_until.map(|height| (height, p.tx.id())));
        assert_eq!(self.by_height, heights.collect());
        let ranks = |keep: &dyn Fn(&Pooled) -> bool| -> BTreeMap<Rank, VerifiedTx> {
            all.iter().filter(|pooled| keep(pooled)).map(|pooled| (pooled.rank, pooled.tx.clone())).collect()
        };
        assert_eq!(self.by_rank, ranks(&|_| true));
        assert_eq!(self.queued, ranks(&|pooled| self.place(&pooled.tx.id()) == Some(Place::Queued)));
        for (id, sender) in &self.senders {
            assert!(!sender.is_empty() && sender.range(..).all(|pooled| pooled.tx.sender() == *id));
            assert_eq!(sender.cost(), sender.range(..).map(|pooled| cost(&pooled.tx)).sum::<u128>());
            for pooled in sender.range(..) {
                let gap_free = (sender.base()..pooled.nonce()).all(|nonce| sender.get(nonce).is_some());
                assert_eq!(sender.place(pooled.nonce()) == Place::Pending, gap_free);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Accounts, NETWORK, Wallet};

    const NOW: Duration = Duration::from_secs(5);

    struct World {
        pool: Mempool,
        accounts: Accounts,
        wallets: Vec<Wallet>,
    }

    impl World {
        fn new(config: PoolConfig) -> Self {
            let wallets: Vec<_> = (0..10).map(Wallet::new).collect();
            let mut accounts = Accounts::default();
            for wallet in &wallets {
                accounts.set(wallet.id(), 0, 1_000_000);
            }
            Self { pool: Mempool::new(config, NETWORK, Limits::default()), accounts, wallets }
        }

        fn of_size(max_count: usize) -> Self {
            Self::new(PoolConfig { max_count, ..PoolConfig::default() })
        }

        fn add(&mut self, wallet: usize, nonce: u64, fee: u64) -> Result<Inserted, Rejection> {
            let tx = self.wallets[wallet].tx(nonce, fee);
            self.insert(tx)
        }

        fn insert(&mut self, tx: VerifiedTx) -> Result<Inserted, Rejection> {
            let result = self.pool.insert(NOW, tx, Origin::Local, 0, &self.accounts);
            self.pool.assert_consistent();
            result
        }

        fn id(&self, wallet: usize, nonce: u64, fee: u64) -> TxId {
            self.wallets[wallet].tx(nonce, fee).id()
        }

        fn fees<'a>(txs: impl Iterator<Item = &'a VerifiedTx>) -> Vec<u64> {
            txs.map(|tx| tx.transaction().fee).collect()
        }
    }

    #[test]
    fn nonces_wait_for_those_before_them() {
        let mut world = World::of_size(100);
        assert_eq!(world.add(0, 1, 900).unwrap().place, Place::Queued);
        assert_eq!(world.pool.next_nonce(&world.wallets[0].id(), &world.accounts), 0);
        assert_eq!(world.pool.best().count(), 0);
        assert_eq!(world.add(1, 0, 700).unwrap().place, Place::Pending);
        assert_eq!(world.add(0, 0, 500).unwrap().place, Place::Pending);
        assert_eq!(world.pool.next_nonce(&world.wallets[0].id(), &world.accounts), 2);
        assert_eq!(World::fees(world.pool.best()), [700, 500, 900]);
        assert_eq!(World::fees(world.pool.iter()), [900, 700, 500]);
        assert_eq!(World::fees(world.pool.by_sender(&world.wallets[0].id())), [500, 900]);
        assert_eq!(world.add(0, 0, 500), Err(Rejection::AlreadyKnown));
        assert_eq!(world.pool.origin(&world.id(0, 0, 500)), Some(Origin::Local));
    }

    #[test]
    fn equal_fees_go_by_arrival() {
        let mut world = World::of_size(100);
        for wallet in [3, 1, 2] {
            world.add(wallet, 0, 500).unwrap();
        }
        let order: Vec<_> = world.pool.best().map(|tx| tx.sender()).collect();
        assert_eq!(order, [3, 1, 2].map(|wallet| world.wallets[wallet].id()));
    }

    #[test]
    fn replacing_costs_more_and_keeps_the_later_ones() {
        let mut world = World::of_size(100);
        for nonce in 0..3 {
            world.add(0, nonce, 1000).unwrap();
        }
        assert_eq!(world.add(0, 1, 1099), Err(Rejection::Underpriced { fee: 1099, required: 1100 }));
        let inserted = world.add(0, 1, 1100).unwrap();
        assert_eq!(inserted, Inserted { place: Place::Pending, removed: vec![world.id(0, 1, 1000)] });
        assert_eq!(world.pool.status().pending, 3);
    }

    #[test]
    fn all_of_a_senders_transactions_must_be_paid_for() {
        let mut world = World::of_size(100);
        world.accounts.set(world.wallets[0].id(), 0, 2001);
        world.add(0, 0, 1000).unwrap();
        let rejection = Rejection::InsufficientBalance { balance: 2001, required: 2002 };
        assert_eq!(world.add(0, 1, 1000), Err(rejection));
        world.add(0, 1, 999).unwrap();
        let rejection = Rejection::InsufficientBalance { balance: 2001, required: 2101 };
        assert_eq!(world.add(0, 0, 1100), Err(rejection), "the replaced one is not counted");
    }

    #[test]
    fn a_full_pool_takes_what_pays_more_than_its_cheapest() {
        let mut world = World::of_size(3);
        for (wallet, fee) in [(0, 1000), (1, 2000), (2, 3000)] {
            world.add(wallet, 0, fee).unwrap();
        }
        assert_eq!(world.pool.status().floor, 1000 / TX_OVERHEAD as u64 + 1);
        let required = world.pool.status().floor;
        assert_eq!(world.add(3, 0, 1000), Err(Rejection::PoolFull { required }), "ties lose");
        assert_eq!(world.add(3, 0, 1001).unwrap().removed, [world.id(0, 0, 1000)]);
        assert_eq!(world.add(4, 0, 1000), Err(Rejection::PoolFull { required }));
    }

    #[test]
    fn a_dear_tail_does_not_shelter_cheap_ones() {
        let mut world = World::of_size(3);
        world.add(0, 0, 1000).unwrap();
        world.add(0, 1, 90_000).unwrap();
        world.add(1, 0, 2000).unwrap();
        assert_eq!(world.add(2, 0, 1500).unwrap().removed, [world.id(0, 1, 90_000)]);
        // Nor does a new one help itself by following a cheap one.
        assert!(matches!(world.add(0, 1, 90_000), Err(Rejection::PoolFull { .. })));
        assert_eq!(world.add(3, 0, 1600).unwrap().removed, [world.id(0, 0, 1000)]);
    }

    #[test]
    fn a_long_newcomer_must_outbid_all_it_displaces() {
        let one = TX_OVERHEAD;
        let mut world = World::new(PoolConfig { max_bytes: 3 * one, ..PoolConfig::default() });
        for (wallet, fee) in [(0, 1000), (1, 2000), (2, 3000)] {
            world.add(wallet, 0, fee).unwrap();
        }
        let long = |world: &World, bytes: usize, fee: u64| {
            let mut fields = world.wallets[3].fields(0, fee);
            fields.payload = vec![0; bytes - one].into();
            world.wallets[3].sign(fields)
        };
        let tx = long(&world, 2 * one, 4000);
        let required = 2000 / one as u64 + 1;
        assert_eq!(world.insert(tx), Err(Rejection::PoolFull { required }));
        let tx = long(&world, 3 * one + 1, 900_000);
        assert_eq!(world.insert(tx), Err(Rejection::PoolFull { required: u64::MAX }));
        let tx = long(&world, 2 * one, 4001);
        assert_eq!(world.insert(tx).unwrap().removed, [world.id(0, 0, 1000), world.id(1, 0, 2000)]);
    }

    #[test]
    fn replacing_with_a_longer_one_makes_room_for_the_difference() {
        let one = TX_OVERHEAD;
        let mut world = World::new(PoolConfig { max_bytes: 4 * one, ..PoolConfig::default() });
        for (wallet, nonce, fee) in [(0, 0, 2000), (0, 1, 2000), (0, 2, 1500), (1, 0, 1900)] {
            world.add(wallet, nonce, fee).unwrap();
        }
        let mut fields = world.wallets[0].fields(1, 9000);
        fields.payload = vec![0; one].into();
        let tx = world.wallets[0].sign(fields);
        let inserted = world.insert(tx).unwrap();
        assert_eq!(inserted.removed, [world.id(0, 2, 1500), world.id(0, 1, 2000)]);
        assert_eq!(world.pool.len(), 3);
    }

    #[test]
    fn queued_go_first_and_displace_nobody() {
        let mut world = World::of_size(10);
        for wallet in 0..8 {
            world.add(wallet, 0, 1000).unwrap();
        }
        assert_eq!(world.add(8, 3, 90_000).unwrap().place, Place::Queued);
        assert_eq!(world.add(8, 2, 90_000), Err(Rejection::GappedPoolBusy), "90 % full");
        world.add(0, 1, 1000).unwrap();
        assert_eq!(world.pool.status().floor, 1);
        assert_eq!(world.add(0, 2, 500).unwrap().removed, [world.id(8, 3, 90_000)]);
    }

    #[test]
    fn a_sender_at_its_limit_can_still_fill_a_gap() {
        let mut world = World::new(PoolConfig { max_per_sender: 3, ..PoolConfig::default() });
        for nonce in 1..4 {
            world.add(0, nonce, 1000).unwrap();
        }
        assert_eq!(world.add(0, 5, 1000), Err(Rejection::SenderLimit { max: 3 }));
        let inserted = world.add(0, 0, 1000).unwrap();
        assert_eq!(inserted, Inserted { place: Place::Pending, removed: vec![world.id(0, 3, 1000)] });
        assert_eq!(world.add(0, 3, 1000), Err(Rejection::SenderLimit { max: 3 }));
        assert_eq!(world.pool.status().pending, 3);
    }

    #[test]
    fn blocks_remove_what_they_made_pointless() {
        let mut world = World::of_size(100);
        for nonce in [0, 1, 2, 4] {
            world.add(0, nonce, 1000).unwrap();
        }
        let mut last = world.wallets[1].fields(0, 1000);
        last.valid_until = Some(1);
        let last = world.wallets[1].sign(last);
        world.insert(last.clone()).unwrap();
        world.add(1, 1, 1000).unwrap();
        // A block with one the pool has and one with the nonce of another it has.
        let block = [world.wallets[0].tx(0, 1000), world.wallets[0].tx(1, 7777)];
        world.accounts.set(world.wallets[0].id(), 2, 1500);
        let removed = world.pool.apply_block(1, &block, &world.accounts);
        world.pool.assert_consistent();
        let expected = [block[0].id(), last.id(), world.id(0, 1, 1000), world.id(0, 4, 1000)];
        assert_eq!(removed, expected);
        assert_eq!(world.pool.place(&world.id(0, 2, 1000)), Some(Place::Pending));
        assert_eq!(world.pool.place(&world.id(1, 1, 1000)), Some(Place::Queued), "the one before expired");
        // The account moves over a gap.
        world.accounts.set(world.wallets[1].id(), 1, 5000);
        assert!(world.pool.apply_block(2, &[world.wallets[1].tx(0, 500)], &world.accounts).is_empty());
        assert_eq!(world.pool.place(&world.id(1, 1, 1000)), Some(Place::Pending));
    }

    #[test]
    fn nothing_outlives_the_lifetime() {
        let mut world = World::new(PoolConfig { lifetime: Duration::from_secs(10), ..PoolConfig::default() });
        world.add(0, 0, 1000).unwrap();
        assert_eq!(world.pool.next_expiry(), Some(NOW + Duration::from_secs(10)));
        assert!(world.pool.expire(Duration::from_secs(14)).is_empty());
        assert_eq!(world.pool.expire(Duration::from_secs(15)), [world.id(0, 0, 1000)]);
        assert_eq!((world.pool.next_expiry(), world.pool.bytes()), (None, 0));
    }

    #[test]
    fn a_view_ahead_of_the_blocks_does_no_harm() {
        let mut world = World::of_size(100);
        for nonce in 0..3 {
            world.add(0, nonce, 1000).unwrap();
        }
        world.accounts.set(world.wallets[0].id(), 2, 1_000_000);
        assert_eq!(world.pool.next_nonce(&world.wallets[0].id(), &world.accounts), 3);
        let inserted = world.add(0, 3, 1000).unwrap();
        assert_eq!(inserted.place, Place::Pending);
        assert_eq!(inserted.removed, [world.id(0, 0, 1000), world.id(0, 1, 1000)]);
        // And back again.
        world.accounts.set(world.wallets[0].id(), 1, 1_000_000);
        assert_eq!(world.add(0, 5, 1000).unwrap().place, Place::Queued);
        assert_eq!(world.pool.status().queued, 3);
        assert_eq!(world.add(0, 1, 1000).unwrap().place, Place::Pending);
        assert_eq!(world.pool.status().queued, 1);
    }

    #[test]
    fn a_pool_of_no_size_refuses() {
        let mut world = World::of_size(0);
        assert_eq!(world.add(0, 0, 1000), Err(Rejection::PoolFull { required: u64::MAX }));
        let mut world = World::new(PoolConfig { max_per_sender: 0, ..PoolConfig::default() });
        assert_eq!(world.add(0, 0, 1000), Err(Rejection::SenderLimit { max: 0 }));
    }
}
