//! Known attacks on transaction pools, each with where it is described, and what becomes of it here. Every test fails when
//! the defence it is about is taken out.

use std::time::Duration;

use starling_wire::{SignatureError, SignedTx, TxId, VerifiedTx, limits::TX_OVERHEAD};

use crate::{
    AccountView, Inserted, Mempool, Origin, Place, PoolConfig, Rejection,
    pool::IN_VAIN,
    testing::{Accounts, Wallet},
};

const ONE: u64 = TX_OVERHEAD as u64;

/// A pool, and people with money.
struct Arena {
    pool: Mempool,
    accounts: Accounts,
    wallets: Vec<Wallet>,
    now: Duration,
}

impl Arena {
    fn new(config: PoolConfig, balance: u64) -> Self {
        let wallets: Vec<_> = (0..200).map(Wallet::new).collect();
        let mut accounts = Accounts::default();
        wallets.iter().for_each(|wallet| accounts.set(wallet.id(), 0, balance));
        Self { pool: Mempool::new(config, 1), accounts, wallets, now: Duration::ZERO }
    }

    fn of_size(max_count: usize) -> Self {
        Self::new(PoolConfig { max_count, ..PoolConfig::default() }, u64::MAX)
    }

    fn insert(&mut self, tx: VerifiedTx) -> Result<Inserted, Rejection> {
        self.pool.insert(self.now, tx, Origin::Peer, 0, &self.accounts)
    }

    /// A transaction of the least length that pays so much per byte.
    fn send(&mut self, wallet: usize, nonce: u64, per_byte: u64) -> Result<Inserted, Rejection> {
        let tx = self.wallets[wallet].tx(nonce, per_byte * ONE);
        self.insert(tx)
    }

    fn long(&self, wallet: usize, nonce: u64, fee: u64, payload: usize) -> VerifiedTx {
        let mut fields = self.wallets[wallet].fields(nonce, fee);
        fields.payload = vec![0; payload].into();
        self.wallets[wallet].sign(fields)
    }

    fn count_of(&self, wallets: impl IntoIterator<Item = usize>) -> usize {
        wallets.into_iter().map(|wallet| self.pool.by_sender(&self.wallets[wallet].id()).count()).sum()
    }

    fn floor(&self) -> u64 {
        self.pool.status(self.now).floor
    }
}

/// DETER-X (Li, Wang, Tang: "DETER: Denial of Ethereum Txpool Services", CCS 2021): transactions with future nonces and
/// high fees evict pending ones and can never be included, so their fees are never paid.
#[test]
fn future_nonces_evict_nobody() {
    let mut arena = Arena::of_size(50);
    for wallet in 0..50 {
        arena.send(wallet, 0, 1).unwrap();
    }
    for wallet in 50..200 {
        assert_eq!(arena.send(wallet, 1, 1_000_000), Err(Rejection::GappedPoolBusy));
    }
    assert_eq!(arena.count_of(0..50), 50);
    assert_eq!(arena.pool.status(arena.now).pending, 50);
}

/// DETER-Z (same paper): a chain of transactions of which each is covered by the balance and all together are not. Only the
/// first can ever be included, the others hold their places for nothing.
#[test]
fn a_chain_beyond_the_balance_is_not_admitted() {
    let mut arena = Arena::of_size(100);
    let each = 10 * ONE + 1;
    arena.accounts.set(arena.wallets[0].id(), 0, 3 * each);
    let admitted = (0..20).filter(|nonce| arena.send(0, *nonce, 10).is_ok()).count();
    assert_eq!(admitted, 3);
    // Nor is it by replacing one with a costlier one, or from behind a gap.
    assert!(matches!(arena.send(0, 1, 20), Err(Rejection::InsufficientBalance { .. })));
    assert!(matches!(arena.send(0, 9, 10), Err(Rejection::InsufficientBalance { .. })));
    // What was covered is let go when the balance goes another way.
    arena.accounts.set(arena.wallets[0].id(), 0, each);
    assert_eq!(arena.pool.accounts_changed([arena.wallets[0].id()], &arena.accounts).len(), 2);
    assert_eq!(arena.count_of([0]), 1);
}

/// The same with sums that do not fit into 64 bits while a transaction is being replaced: a block of all that the pool holds
/// of the sender could not be applied.
#[test]
fn replacing_a_fortune_loses_count_of_nothing() {
    let mut arena = Arena::of_size(100);
    let spend = |arena: &mut Arena, nonce, per_byte, amount| {
        let mut fields = arena.wallets[0].fields(nonce, per_byte * ONE);
        fields.amount = amount;
        let tx = arena.wallets[0].sign(fields);
        arena.insert(tx)
    };
    let (most, more) = (10 << 60, 11 << 60);
    spend(&mut arena, 0, 10, most).unwrap();
    spend(&mut arena, 0, 20, more).unwrap();
    let cost = u128::from(more + 20 * ONE);
    assert_eq!(arena.pool.sender_status(&arena.wallets[0].id()).cost, cost);
    let overdrawn = spend(&mut arena, 1, 10, 6 << 60);
    assert!(matches!(overdrawn, Err(Rejection::InsufficientBalance { .. })), "{overdrawn:?}");
    spend(&mut arena, 0, 30, 1).unwrap();
    spend(&mut arena, 1, 10, 6 << 60).unwrap();
    arena.pool.assert_consistent();
}

/// Replacing over and over, so that the network relays much and is paid once (the "free relay" that BIP 125's rules 3 and 4
/// are about, <https://github.com/bitcoin/bips/blob/master/bip-0125.mediawiki>).
#[test]
fn replacing_costs_more_each_time_and_is_rationed() {
    let mut arena = Arena::of_size(100);
    for nonce in 0..3 {
        arena.insert(arena.long(0, nonce, 40_000, 32_000)).unwrap();
    }
    assert!(matches!(arena.insert(arena.long(0, 1, 43_999, 32_000)), Err(Rejection::Underpriced { .. })));
    // As often as the price allows for an hour, with all the money there is.
    let (mut replaced, mut fee, mut refused) = (0, 40_000_u64, 0);
    for _ in 0..720 {
        arena.now += Duration::from_secs(5);
        let tx = arena.long(0, 1, fee + fee / 10 + 1, 32_000);
        match arena.insert(tx) {
            Ok(inserted) => {
                assert_eq!(inserted.removed.len(), 1);
                replaced += 32_000 + ONE;
                fee += fee / 10 + 1;
            }
            Err(Rejection::ReplacedTooOften { wait }) => {
                assert!(wait > Duration::ZERO && wait < Duration::from_secs(100));
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let most = IN_VAIN.burst + 3600 * IN_VAIN.per_second;
    assert!((most / 2..=most).contains(&replaced), "{replaced} of {most}");
    assert!(refused > 600);
    // The one that follows it is still in its place.
    let nonces: Vec<_> = arena.pool.best().map(|tx| tx.transaction().nonce).collect();
    assert_eq!(nonces, [0, 1, 2]);
    // Somebody else is not bothered.
    arena.send(1, 0, 10).unwrap();
    arena.send(1, 0, 11).unwrap();
}

/// The same for free: what has a gap before it and is valid up to the next block only is relayed and then forgotten, each time
/// with all that it replaced.
#[test]
fn what_outlives_its_validity_is_rationed_like_what_is_replaced() {
    let mut arena = Arena::of_size(1000);
    let (mut relayed, mut fee) = (0, 40_000);
    for height in 0..1000 {
        arena.now += Duration::from_secs(1);
        for nonce in 1..16 {
            for _ in 0..4 {
                fee += fee / 10_000 + 1;
                let mut fields = arena.long(0, nonce, fee, 32_000).transaction().clone();
                fields.valid_until = Some(height + 1);
                let tx = arena.wallets[0].sign(fields);
                let len = tx.bytes().len() as u64;
                let inserted = arena.pool.insert(arena.now, tx, Origin::Peer, height, &arena.accounts);
                relayed += if inserted.is_ok() { len } else { 0 };
            }
        }
        arena.pool.apply_block(arena.now, height + 1, &[], &arena.accounts);
        assert_eq!(arena.pool.len(), 0);
    }
    // What is valid at one time may all be in vain: half a MiB.
    let most = (512 << 10) + IN_VAIN.burst + 1000 * IN_VAIN.per_second;
    assert!((most / 2..=most).contains(&relayed), "{relayed} of {most} bytes");
}

/// Many accounts hold all places with what pays little, at no cost as long as it is not included ("locking" in Wang et
/// al.: "Understanding Ethereum Mempool Security under Asymmetric DoS by Symbolized Stateful Fuzzing", USENIX Security
/// 2024). Limits per account do not help; the price must.
#[test]
fn many_accounts_hold_places_no_longer_than_nobody_pays_more() {
    let mut arena = Arena::of_size(128);
    let admitted = (0..100).filter(|nonce| arena.send(0, *nonce, 1).is_ok()).count();
    assert_eq!(admitted, PoolConfig::default().max_per_sender, "one account");
    for wallet in 1..65 {
        arena.send(wallet, 0, 1).unwrap();
    }
    assert_eq!(arena.pool.len(), 128);
    for wallet in 100..200 {
        arena.send(wallet, 0, 3).unwrap();
    }
    assert_eq!(arena.count_of(100..200), 100, "whoever pays more gets in, and stays");
}

/// The same with a dear transaction behind each cheap one, to make it look valuable ("eviction by child", the same paper):
/// what cannot be included before a cheap one is worth no more than that.
#[test]
fn dear_transactions_behind_cheap_ones_shelter_nothing() {
    let mut arena = Arena::of_size(100);
    for wallet in 0..50 {
        arena.send(wallet, 0, 1).unwrap();
        arena.send(wallet, 1, 1000).unwrap();
    }
    for wallet in 100..200 {
        arena.send(wallet, 0, 3).unwrap();
    }
    assert_eq!(arena.count_of(100..200), 100);
}

/// Driving up the price of admission and then leaving, so that a pool that has room keeps users out. Bitcoin Core's rolling
/// minimum fee decays for this reason, faster in an emptier pool (<https://github.com/bitcoin/bitcoin/pull/6722>).
#[test]
fn a_floor_that_was_driven_up_comes_down() {
    let mut arena = Arena::of_size(50);
    // Neither offers that are refused nor what can never be included raise it.
    for wallet in 0..44 {
        arena.send(wallet, 0, 2).unwrap();
    }
    for wallet in 100..101 {
        arena.send(wallet, 1, 1_000_000).unwrap();
    }
    for wallet in 44..50 {
        arena.send(wallet, 0, 2).unwrap();
    }
    assert_eq!(arena.pool.status(arena.now).queued, 0);
    assert!(arena.send(60, 0, 2).is_err());
    assert_eq!(arena.floor(), 3, "above the cheapest");
    // What is evicted does.
    for wallet in 100..200 {
        arena.send(wallet, 0, 1000 + wallet as u64 * 2).unwrap();
    }
    assert!(arena.floor() > 1000);
    // Its maker takes all of it away again.
    for wallet in 100..200 {
        arena.accounts.set(arena.wallets[wallet].id(), 0, 0);
    }
    let ids: Vec<_> = arena.wallets.iter().map(Wallet::id).collect();
    arena.pool.accounts_changed(ids, &arena.accounts);
    assert!(arena.pool.is_empty() && arena.floor() > 1000);
    arena.now += Duration::from_secs(150);
    let after = arena.floor();
    assert!((200..=400).contains(&after), "a quarter after half a half-life: {after}");
    arena.now += Duration::from_secs(12 * 60);
    assert_eq!(arena.floor(), 1);
    arena.send(0, 0, 1).unwrap();
}

/// Filling a pool with what waits for nonces that never come (geth bounds it by `GlobalQueue`,
/// <https://geth.ethereum.org/docs/fundamentals/command-line-options>): it has no place that somebody payable wants.
#[test]
fn gaps_get_only_what_nobody_else_wants() {
    let mut arena = Arena::of_size(100);
    assert!(matches!(arena.send(0, 65, 1000), Err(Rejection::NonceTooHigh { max: 64, .. })));
    let mut gapped = 0;
    for wallet in 100..200 {
        gapped += usize::from(arena.send(wallet, 3, 1000).is_ok());
    }
    assert_eq!(gapped, 90);
    for wallet in 0..100 {
        assert_eq!(arena.send(wallet, 0, 1).unwrap().place, Place::Pending);
    }
    let status = arena.pool.status(arena.now);
    assert_eq!((status.pending, status.queued), (100, 0));
}

/// Floods of the longest and of the cheapest transactions (as Bitcoin's of July 2015,
/// <https://en.bitcoin.it/wiki/July_2015_flood_attack>): both bounds hold, for the pool and for each sender, and what no
/// honest node relays is told apart.
#[test]
fn floods_of_long_and_of_cheap_transactions_are_bounded() {
    let config = PoolConfig { max_bytes: 1 << 20, max_count: 300, ..PoolConfig::default() };
    let mut arena = Arena::new(config.clone(), u64::MAX);
    let dust = arena.wallets[0].tx(0, ONE - 1);
    let rejection = arena.insert(dust).unwrap_err();
    assert!(matches!(rejection, Rejection::FeeTooLow { .. }) && rejection.peer_is_to_blame());
    let limits = crate::Limits { max_tx_bytes: 1000, ..crate::Limits::default() };
    let long = arena.long(0, 0, 1_000_000, 1000);
    let rejection = crate::admission::network_rules(&long, crate::testing::NETWORK, &limits).unwrap_err();
    assert!(matches!(rejection, Rejection::TooLarge { .. }) && rejection.peer_is_to_blame());

    let mut of_one = 0;
    for nonce in 0..64 {
        of_one += usize::from(arena.insert(arena.long(0, nonce, 40_000, 32_000)).is_ok());
    }
    assert_eq!(of_one, config.max_bytes_per_sender / (32_000 + TX_OVERHEAD), "one sender's bytes");
    for wallet in 1..50 {
        let _taken_or_not = arena.insert(arena.long(wallet, 0, 50_000, 32_000));
        assert!(arena.pool.bytes() <= config.max_bytes);
    }
    // Short ones that pay more per byte get in all the same, up to the bound of their number.
    for wallet in 0..200 {
        for nonce in 0..2 {
            let _taken_or_not = arena.send((wallet + 50) % 200, nonce, 5);
            assert!(arena.pool.len() <= config.max_count && arena.pool.bytes() <= config.max_bytes);
        }
    }
    assert_eq!(arena.pool.len(), config.max_count);
}

/// Sending the same invalid bytes again and again, so that each time a signature is checked (Bitcoin Core remembers them in
/// `m_lazy_recent_rejects`, `src/node/txdownloadman_impl.h`). And the other way round: spoiling the name of a good
/// transaction with a bad copy of it, as was possible where ids do not cover signatures
/// (<https://github.com/bitcoin/bitcoin/pull/8312>).
#[test]
fn bad_bytes_are_checked_once_and_spoil_no_good_ones() {
    let mut arena = Arena::of_size(100);
    let good = arena.wallets[0].tx(0, 1000);
    let mut signature = *good.signature();
    signature.0[0] ^= 1;
    let forged: SignedTx = good.transaction().clone().with_signature(signature).unwrap();
    let check = |arena: &Arena, tx: &SignedTx| arena.pool.check(arena.now, tx, 0, &arena.accounts);
    assert!(check(&arena, &forged).is_ok(), "the signature is not looked at");
    let rejection = Rejection::BadSignature(SignatureError::Mismatch);
    arena.pool.remember(forged.id(), &rejection);
    assert_eq!(check(&arena, &forged), Err(rejection.clone()));
    assert!(check(&arena, &good).is_ok());
    arena.insert(good).unwrap();
    // What may change soon is looked at again.
    let early = arena.wallets[1].tx(0, 1000);
    for rejection in [Rejection::PoolFull { required: 5 }, Rejection::GappedPoolBusy] {
        arena.pool.remember(early.id(), &rejection);
    }
    assert!(check(&arena, &early).is_ok());
    // There is an end to what is remembered.
    for number in 0..20_000_u64 {
        let mut id = TxId([0; 32]);
        id.0[..8].copy_from_slice(&number.to_be_bytes());
        arena.pool.remember(id, &rejection);
    }
    assert_ne!(check(&arena, &forged), Err(rejection), "long forgotten");
    assert!(arena.pool.remembered() < 20_000);
}

/// An embedder's refusal for good is remembered like a bad signature; one for now is not.
#[test]
fn what_the_application_refuses_for_good_is_asked_about_once() {
    struct Asked(std::cell::Cell<usize>, bool);
    impl AccountView for Asked {
        fn account(&self, _: &starling_wire::AccountId) -> crate::Account {
            crate::Account { nonce: 0, balance: u64::MAX }
        }
        fn check_tx(&self, _: &SignedTx) -> Result<(), Rejection> {
            self.0.set(self.0.get() + 1);
            Err(Rejection::Refused { why: "no".into(), for_good: self.1 })
        }
    }
    for (for_good, times) in [(true, 1), (false, 3)] {
        let mut arena = Arena::of_size(100);
        let tx = arena.wallets[0].tx(0, 1000);
        let asked = Asked(Default::default(), for_good);
        for _ in 0..3 {
            let refused = arena.pool.insert(arena.now, tx.clone(), Origin::Peer, 0, &asked);
            assert_eq!(refused.unwrap_err().peer_is_to_blame(), for_good);
        }
        assert_eq!(asked.0.get(), times);
    }
}
