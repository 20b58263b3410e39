//! How long a node with a full pool takes to come back, beside what checking the signatures alone takes.
//!
//! `cargo run --release -p starling-node --example restart -- 100000`

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made is of no use")]

use std::{
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use starling_mempool::{Genesis, GenesisAccount, Limits, Origin, PoolConfig, TxRules};
use starling_node::{
    engine::{Change, Engine, EngineConfig, GossipConfig, OverlayConfig},
    store::{Kept, Store, StoreConfig},
};
use starling_wire::{
    AccountId, NetworkId, SecretKey, SignedTx, Transaction, Unverified, VerifiedTx, limits::TX_OVERHEAD, verify_batch,
};

/// Transactions of one sender.
const PER_SENDER: usize = 50;

/// Bytes of each transaction.
const TX_SIZE: usize = 250;

fn main() {
    let count: usize = std::env::args().nth(1).map_or(100_000, |count| count.parse().unwrap());
    let keys: Vec<SecretKey> =
        (0..count.div_ceil(PER_SENDER)).map(|number| SecretKey::insecure_from_name(number as u64, "restart")).collect();
    let genesis = Genesis {
        network: NetworkId(7),
        producers: Vec::new(),
        limits: Limits::default(),
        accounts: keys.iter().map(|key| GenesisAccount { id: key.account(), balance: 1 << 40 }).collect(),
    };
    let pool = PoolConfig { max_count: count, max_bytes: count * TX_SIZE, ..PoolConfig::default() };
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { dir: dir.path().to_owned(), repair: false };
    let open = || Store::open(&config, genesis.id(), &pool, [1; 32]).unwrap();

    let (mut store, _) = open();
    for number in 0..count {
        let tx = transfer(&keys[number % keys.len()], (number / keys.len()) as u64).verify().unwrap();
        store.record(Change::Added { tx, origin: Origin::Peer });
    }
    let since = Instant::now();
    drop(store);
    println!("what was left of {count} transactions to write: {:.2} s", since.elapsed().as_secs_f64());

    let since = Instant::now();
    let (store, Kept { saved, dropped }) = open();
    let read = since.elapsed();
    assert!(dropped.is_empty());
    let txs: Vec<VerifiedTx> = saved.txs.iter().map(|(tx, _)| tx.clone()).collect();
    let mut engine = Engine::new(engine_config(genesis.clone(), pool.clone()), keys[0].node(), [2; 32]);
    let since = Instant::now();
    assert!(engine.restore(saved).is_empty());
    let admitted = since.elapsed();
    assert_eq!(engine.pool().len(), count);
    drop(store);

    let signatures = check(&txs);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    println!("restart with {count} transactions of {TX_SIZE} bytes: {:.2} s", (read + admitted).as_secs_f64());
    println!("  reading and checking signatures on {cores} cores: {:.2} s", read.as_secs_f64());
    println!("  admission: {:.2} s", admitted.as_secs_f64());
    println!(
        "  signatures alone: {:.2} s on one core, so {:.2} s at least",
        signatures.as_secs_f64(),
        signatures.as_secs_f64() / cores as f64
    );
}

/// How long one core takes for all signatures, in the batches that a restart uses.
fn check(txs: &[VerifiedTx]) -> Duration {
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let items: Vec<Unverified> = txs.iter().map(|tx| Unverified::Tx((**tx).clone())).collect();
    let since = Instant::now();
    for batch in items.chunks(64) {
        assert!(verify_batch(batch.to_vec(), &mut rng).iter().all(Result::is_ok));
    }
    since.elapsed()
}

fn transfer(key: &SecretKey, nonce: u64) -> SignedTx {
    let tx = Transaction {
        network: NetworkId(7),
        sender: key.account(),
        nonce,
        fee: 1_000,
        recipient: AccountId([9; 32]),
        amount: 1,
        valid_until: None,
        payload: Bytes::from(vec![0; TX_SIZE - TX_OVERHEAD]),
    };
    tx.sign(key).unwrap()
}

fn engine_config(genesis: Genesis, pool: PoolConfig) -> EngineConfig {
    EngineConfig {
        genesis,
        rules: TxRules::default(),
        pool,
        overlay: OverlayConfig::default(),
        gossip: GossipConfig::default(),
        producer: None,
        unix_ms_at_start: 0,
    }
}
