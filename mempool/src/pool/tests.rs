//! The pool's behaviour, case by case.

use starling_wire::limits::TX_OVERHEAD;

use super::*;
use crate::testing::{Accounts, Wallet};

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
        Self { pool: Mempool::new(config, 1), accounts, wallets }
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
    assert_eq!(world.pool.status(NOW).pending, 3);
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
    assert_eq!(world.pool.status(NOW).floor, 1000 / TX_OVERHEAD as u64 + 1);
    let required = world.pool.status(NOW).floor;
    assert_eq!(world.add(3, 0, 1000), Err(Rejection::PoolFull { required }), "ties lose");
    assert_eq!(world.add(3, 0, 1001).unwrap().removed, [world.id(0, 0, 1000)]);
    // The floor is what was evicted paid, and the network's minimum on top.
    let required = (1000_u64 + TX_OVERHEAD as u64).div_ceil(TX_OVERHEAD as u64);
    assert_eq!(world.pool.status(NOW).floor, required);
    assert_eq!(world.add(4, 0, 1000 + TX_OVERHEAD as u64 - 1), Err(Rejection::PoolFull { required }));
    assert_eq!(world.add(4, 0, 1000 + TX_OVERHEAD as u64).unwrap().removed, [world.id(3, 0, 1001)]);
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
    assert_eq!(world.pool.status(NOW).floor, 1);
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
    assert_eq!(world.pool.status(NOW).pending, 3);
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
    let removed = world.pool.apply_block(Duration::ZERO, 1, &block, &world.accounts);
    world.pool.assert_consistent();
    let expected = [block[0].id(), last.id(), world.id(0, 1, 1000), world.id(0, 4, 1000)];
    assert_eq!(removed, expected);
    assert_eq!(world.pool.place(&world.id(0, 2, 1000)), Some(Place::Pending));
    assert_eq!(world.pool.place(&world.id(1, 1, 1000)), Some(Place::Queued), "the one before expired");
    // The account moves over a gap.
    world.accounts.set(world.wallets[1].id(), 1, 5000);
    assert!(world.pool.apply_block(Duration::ZERO, 2, &[world.wallets[1].tx(0, 500)], &world.accounts).is_empty());
    assert_eq!(world.pool.place(&world.id(1, 1, 1000)), Some(Place::Pending));
}

#[test]
fn nothing_outlives_its_lifetime() {
    let seconds = Duration::from_secs;
    let config = PoolConfig { lifetime: seconds(10), local_lifetime: seconds(20), ..PoolConfig::default() };
    let mut world = World::new(config);
    world.add(0, 0, 1000).unwrap();
    let peers = world.wallets[1].tx(0, 1000);
    world.pool.insert(NOW, peers.clone(), Origin::Peer, 0, &world.accounts).unwrap();
    assert_eq!(world.pool.next_expiry(), Some(NOW + seconds(10)));
    assert!(world.pool.expire(seconds(14)).is_empty());
    assert_eq!(world.pool.expire(seconds(15)), [peers.id()]);
    assert_eq!(world.pool.expire(seconds(25)), [world.id(0, 0, 1000)]);
    assert_eq!((world.pool.next_expiry(), world.pool.bytes()), (None, 0));
}

#[test]
fn what_a_user_submits_after_a_peer_is_kept_as_long_as_if_no_peer_had() {
    let seconds = Duration::from_secs;
    let config = PoolConfig { lifetime: seconds(10), local_lifetime: seconds(20), ..PoolConfig::default() };
    let mut world = World::new(config);
    let tx = world.wallets[0].tx(0, 1000);
    assert_eq!(world.pool.vouch(NOW, &tx.id()), None);
    world.pool.insert(NOW, tx.clone(), Origin::Peer, 0, &world.accounts).unwrap();
    let later = NOW + seconds(2);
    assert_eq!(world.pool.vouch(later, &tx.id()), Some(&tx));
    assert_eq!(
        (world.pool.origin(&tx.id()), world.pool.next_expiry()),
        (Some(Origin::Local), Some(later + seconds(20)))
    );
    assert_eq!(world.pool.vouch(later + seconds(2), &tx.id()), None, "once");
    world.pool.assert_consistent();
    assert_eq!(world.pool.expire(later + seconds(20)), [tx.id()]);
}

#[test]
fn a_senders_bytes_are_bounded_and_a_gap_can_still_be_filled() {
    let one = TX_OVERHEAD;
    let mut world = World::new(PoolConfig { max_bytes_per_sender: 3 * one + 10, ..PoolConfig::default() });
    for nonce in [0, 2, 3] {
        world.add(0, nonce, 1000).unwrap();
    }
    assert_eq!(world.add(0, 4, 1000), Err(Rejection::SenderBytes { max: 3 * one + 10 }));
    let with_payload = |world: &World, nonce, bytes: usize| {
        let mut fields = world.wallets[0].fields(nonce, 9000);
        fields.payload = vec![0; bytes].into();
        world.wallets[0].sign(fields)
    };
    // A longer replacement counts what it replaces only once, and may push out what waits above the gap.
    let tx = with_payload(&world, 0, 10);
    assert_eq!(world.insert(tx).unwrap().removed, [world.id(0, 0, 1000)]);
    let tx = with_payload(&world, 1, 11);
    assert_eq!(world.insert(tx).unwrap().removed, [world.id(0, 3, 1000), world.id(0, 2, 1000)]);
    let tx = with_payload(&world, 2, one);
    assert_eq!(world.insert(tx), Err(Rejection::SenderBytes { max: 3 * one + 10 }));
    let status = world.pool.sender_status(&world.wallets[0].id());
    let expected = SenderStatus { pending: 2, queued: 0, bytes: 2 * one + 21, cost: 18_002 };
    assert_eq!(status, expected);
}

#[test]
fn accounts_that_change_by_themselves_are_followed() {
    let mut world = World::of_size(100);
    for nonce in 0..4 {
        world.add(0, nonce, 1000).unwrap();
    }
    world.add(1, 0, 1000).unwrap();
    let ids = [0, 1].map(|wallet| world.wallets[wallet].id());
    assert!(world.pool.accounts_changed(ids, &world.accounts).is_empty());
    // Each costs 1001.
    world.accounts.set(ids[0], 1, 2500);
    let removed = world.pool.accounts_changed(ids, &world.accounts);
    assert_eq!(removed, [world.id(0, 0, 1000), world.id(0, 3, 1000)]);
    world.pool.assert_consistent();
    assert_eq!(world.pool.len(), 3);
    // An embedder's state can go back, too.
    world.accounts.set(ids[0], 0, 2500);
    assert!(world.pool.accounts_changed(ids, &world.accounts).is_empty());
    assert_eq!(world.pool.status(NOW).queued, 2);
}

#[test]
fn what_the_rules_refuse_later_goes_when_its_account_changes() {
    struct Picky<'a>(&'a Accounts, u64);
    impl AccountView for Picky<'_> {
        fn account(&self, id: &AccountId) -> crate::Account {
            self.0.account(id)
        }
        fn check_tx(&self, tx: &SignedTx) -> Result<(), Rejection> {
            let refusal = Rejection::Refused { why: "a bad nonce".into(), for_good: false };
            if tx.transaction().nonce == self.1 { Err(refusal) } else { Ok(()) }
        }
    }
    let mut world = World::of_size(100);
    for nonce in 0..3 {
        world.add(0, nonce, 1000).unwrap();
    }
    let picky = Picky(&world.accounts, 1);
    let removed = world.pool.accounts_changed([world.wallets[0].id()], &picky);
    assert_eq!(removed, [world.id(0, 1, 1000)]);
    assert_eq!(world.pool.place(&world.id(0, 2, 1000)), Some(Place::Queued));
    let refused = world.pool.check(NOW, &world.wallets[0].tx(1, 1000), 0, &Picky(&world.accounts, 1));
    assert_eq!(refused.unwrap_err().reason(), "refused");
}

#[test]
fn a_check_says_what_an_insertion_would_do() {
    let mut world = World::of_size(3);
    for nonce in 0..3 {
        world.add(0, nonce, 1000).unwrap();
    }
    let check = |world: &World, wallet: usize, nonce, fee| {
        world.pool.check(NOW, &world.wallets[wallet].tx(nonce, fee), 0, &world.accounts)
    };
    let replacing = Admissible { place: Place::Pending, replaced_bytes: TX_OVERHEAD, displaced: 1 };
    assert_eq!(check(&world, 0, 1, 2000), Ok(replacing));
    let evicting = Admissible { place: Place::Pending, replaced_bytes: 0, displaced: 1 };
    assert_eq!(check(&world, 1, 0, 2000), Ok(evicting));
    assert_eq!(check(&world, 1, 1, 2000), Err(Rejection::GappedPoolBusy));
    assert_eq!(world.pool.len(), 3, "nothing was done");
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
    assert_eq!(world.pool.status(NOW).queued, 3);
    assert_eq!(world.add(0, 1, 1000).unwrap().place, Place::Pending);
    assert_eq!(world.pool.status(NOW).queued, 1);
}

#[test]
fn a_pool_of_no_size_refuses() {
    let mut world = World::of_size(0);
    assert_eq!(world.add(0, 0, 1000), Err(Rejection::PoolFull { required: u64::MAX }));
    let mut world = World::new(PoolConfig { max_per_sender: 0, ..PoolConfig::default() });
    assert_eq!(world.add(0, 0, 1000), Err(Rejection::SenderLimit { max: 0 }));
}
