//! The store as a whole: what is in the file after a clean end, a copy taken at any moment, damage, and failures.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use proptest::prelude::*;
use redb::{ReadableDatabase, ReadableTable, StorageBackend, backends::FileBackend};
use starling_mempool::{Account, Genesis};
use starling_wire::{NetworkId, VerifiedTx};
use tempfile::TempDir;

use super::{
    testing::{block, genesis, key, tx},
    *,
};
use crate::net;

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(20);

fn config(dir: &TempDir) -> StoreConfig {
    StoreConfig { dir: dir.path().to_owned(), repair: false }
}

/// Keeps peers' transactions for an hour, and those submitted here for two.
fn pool() -> PoolConfig {
    PoolConfig { lifetime: HOUR, local_lifetime: 2 * HOUR, ..PoolConfig::default() }
}

fn open(dir: &TempDir) -> Result<(Store, Kept), StoreError> {
    Store::open(&config(dir), genesis().id(), &pool(), [1; 32])
}

fn repair(dir: &TempDir) -> (Store, Kept) {
    Store::open(&StoreConfig { repair: true, ..config(dir) }, genesis().id(), &pool(), [1; 32]).unwrap()
}

fn added(tx: &VerifiedTx, origin: Origin) -> Change {
    Change::Added { tx: tx.clone(), origin }
}

/// Waits until all that was recorded is on the disk, or could not be written.
fn flush(store: &Store) -> bool {
    let (done, answer) = mpsc::channel();
    store.acknowledge(move |written| done.send(written).unwrap());
    answer.recv_timeout(PATIENCE).unwrap()
}

fn ids(kept: &Kept) -> Vec<(TxId, Origin)> {
    kept.saved.txs.iter().map(|(tx, origin)| (tx.id(), *origin)).collect()
}

fn peer(i: u8) -> crate::engine::PeerRecord {
    let keypair = net::keypair(&starling_wire::SecretKey::from_seed(&[i; 32]));
    net::sign_record(&keypair, vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()]).unwrap()
}

/// A block of two transactions and one on it, and what they made of an account.
fn chain(store: &mut Store) -> Vec<TxId> {
    let (first_txs, second_txs) = ([tx(0, 0), tx(1, 0)], [tx(0, 1)]);
    let first = block(1, None, &first_txs);
    let second = block(2, Some(&first), &second_txs);
    for (block, txs) in [(first, &first_txs[..]), (second, &second_txs)] {
        let nonce = block.header().height;
        store.record(Change::Block {
            block: (*block).clone(),
            txs: txs.to_vec(),
            accounts: vec![(key(0).account(), Account { nonce, balance: 10 - nonce })],
            oldest: 1,
        });
    }
    first_txs.iter().chain(&second_txs).map(|tx| tx.id()).collect()
}

#[test]
fn everything_comes_back_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, kept) = open(&dir).unwrap();
    assert_eq!((ids(&kept), kept.saved.blocks.len()), (vec![], 0));
    let txs: Vec<_> = (2..7).map(|i| tx(i, 0)).collect();
    // It leaves by a block.
    store.record(added(&tx(0, 0), Origin::Local));
    for (i, tx) in txs.iter().enumerate() {
        store.record(added(tx, if i == 2 { Origin::Local } else { Origin::Peer }));
    }
    store.record(Change::Removed { ids: vec![txs[3].id()], why: Removal::Expired });
    store.record(added(&txs[4], Origin::Local));
    let included = chain(&mut store);
    store.record(Change::Peer(peer(5)));
    drop(store);

    let (mut store, kept) = open(&dir).unwrap();
    let (peers, locals) = (Origin::Peer, Origin::Local);
    let expected = [(0, peers), (1, peers), (2, locals), (4, locals)].map(|(i, origin)| (txs[i].id(), origin));
    assert_eq!(ids(&kept), expected);
    assert_eq!(kept.dropped, []);
    assert_eq!(kept.saved.accounts, [(key(0).account(), Account { nonce: 2, balance: 8 })]);
    let contained = kept.saved.blocks.iter().flat_map(|applied| &applied.txs).map(|tx| tx.id());
    assert_eq!((kept.saved.blocks.len(), contained.collect::<Vec<_>>()), (2, included));
    assert_eq!(kept.saved.peers.iter().map(|peer| peer.node).collect::<Vec<_>>(), [peer(5).node]);

    // Numbers go on where they were: removing an old one and adding others mixes nothing up.
    store.record(Change::Removed { ids: vec![txs[0].id()], why: Removal::Displaced });
    store.record(added(&tx(8, 0), Origin::Peer));
    store.record(added(&txs[0], Origin::Peer));
    // One that is in the file is submitted here as well, and leaves before that was written.
    store.record(added(&txs[4], Origin::Local));
    store.record(Change::Removed { ids: vec![txs[4].id()], why: Removal::Displaced });
    let third = block(3, Some(&kept.saved.blocks[1].block), &[]);
    store.record(Change::Block { block: (*third).clone(), txs: vec![], accounts: vec![], oldest: 3 });
    drop(store);
    let (_store, kept) = open(&dir).unwrap();
    let expected = [txs[1].id(), txs[2].id(), tx(8, 0).id(), txs[0].id()];
    assert_eq!(ids(&kept).into_iter().map(|(id, _)| id).collect::<Vec<_>>(), expected);
    assert_eq!(kept.saved.blocks.iter().map(|applied| applied.block.header().height).collect::<Vec<_>>(), [3]);
}

#[test]
fn what_is_acknowledged_is_in_a_copy_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir).unwrap();
    for account in 0..5 {
        store.record(added(&tx(account, 0), Origin::Local));
        assert!(flush(&store));
        // As after SIGKILL: the file as it is while the process runs.
        let crashed = tempfile::tempdir().unwrap();
        fs::copy(dir.path().join(FILE_NAME), crashed.path().join(FILE_NAME)).unwrap();
        let (_store, kept) = open(&crashed).unwrap();
        assert_eq!(kept.saved.txs.len() as u64, account + 1);
    }
}

#[test]
fn what_nobody_waits_for_is_written_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir).unwrap();
    store.record(added(&tx(0, 0), Origin::Peer));
    let since = std::time::Instant::now();
    loop {
        let crashed = tempfile::tempdir().unwrap();
        fs::copy(dir.path().join(FILE_NAME), crashed.path().join(FILE_NAME)).unwrap();
        // A copy that is taken during a commit may be anything.
        if open(&crashed).is_ok_and(|(_store, kept)| kept.saved.txs.len() == 1) {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "never written");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn old_transactions_and_forged_ones_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let forged = {
        let (good, other) = (tx(1, 0), tx(1, 1));
        good.transaction().clone().with_signature(*other.signature()).unwrap()
    };
    let (now, old) = (unix_ms(), unix_ms() - HOUR.as_millis() as u64 * 3 / 2);
    let records = [
        (0, Origin::Local, (*tx(0, 0)).clone()),
        (now, Origin::Local, forged.clone()),
        (now, Origin::Peer, (*tx(2, 0)).clone()),
        (old, Origin::Local, (*tx(3, 0)).clone()),
        (old, Origin::Peer, (*tx(4, 0)).clone()),
    ];
    let mut batch = batch::Batch::default();
    for (number, (since_ms, origin, tx)) in (0..).zip(records) {
        batch.add(number, TxRecord { origin, since_ms, tx });
    }
    file::create(&dir.path().join(FILE_NAME), genesis().id(), &batch).unwrap();
    let (store, kept) = open(&dir).unwrap();
    assert_eq!(ids(&kept), [(tx(2, 0).id(), Origin::Peer), (tx(3, 0).id(), Origin::Local)]);
    let reasons: Vec<_> = kept.dropped.iter().map(|dropped| (dropped.reason, dropped.id)).collect();
    assert_eq!(reasons, [("expired", tx(0, 0).id()), ("bad-signature", forged.id()), ("expired", tx(4, 0).id())]);
    drop(store);
    assert_eq!(open(&dir).unwrap().1.dropped, [], "once is enough");
}

#[test]
fn the_file_keeps_the_peers_reached_last() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    file::create(&path, genesis().id(), &batch::Batch::default()).unwrap();
    let db = file::open(&path, genesis().id()).unwrap();
    // The first were reached at a time to come.
    let since = |i| if i < 5 { u64::MAX } else { i };
    let nodes: Vec<_> = (0..MAX_PEERS as u64 + 10).map(|i| (since(i), key(i).node())).collect();
    for some in nodes.chunks(100) {
        let mut batch = batch::Batch::default();
        for (since_ms, node) in some {
            batch.add_peer(*node, StoredPeer { since_ms: *since_ms, envelope: bytes::Bytes::new() });
        }
        file::commit(&db, &batch).unwrap();
    }
    let tx = db.begin_read().unwrap();
    let kept: Vec<_> = tx.open_table(file::PEERS).unwrap().iter().unwrap().map(|row| row.unwrap().0.value()).collect();
    assert_eq!(kept.len(), MAX_PEERS);
    assert!(nodes.iter().all(|(since, node)| kept.contains(&node.0) == (10..u64::MAX).contains(since)));
}

/// Fills a store and closes it.
fn filled(dir: &TempDir) {
    let (mut store, _) = open(dir).unwrap();
    chain(&mut store);
    (0..200).for_each(|i| store.record(added(&tx(i, 2), Origin::Local)));
    store.record(Change::Peer(peer(5)));
}

#[test]
fn files_of_others_are_named_and_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let refused = |signs: &[&str], contents: &[u8]| {
        fs::write(&path, contents).unwrap();
        let error = open(&dir).unwrap_err().to_string();
        for sign in signs.iter().chain(&["store.redb", "--repair"]) {
            assert!(error.contains(sign), "`{sign}` in: {error}");
        }
        assert_eq!(fs::read(&path).unwrap(), contents, "left as it was");
    };
    refused(&["is no store"], b"SQLite format 3\0 and more");
    refused(&["damaged", "empty"], b"");
    refused(&["damaged"], b"redb\x1a\x0a\xa9\x0d\x0a and then nothing of the kind");
    let (store, kept) = repair(&dir);
    assert_eq!(kept.saved.txs.len(), 0);
    drop(store);
    assert!(fs::read(dir.path().join("store.redb.bad-1")).unwrap().ends_with(b"nothing of the kind"));

    // A database, but not one of ours.
    let other = redb::Database::create(dir.path().join("other")).unwrap();
    other.begin_write().unwrap().commit().unwrap();
    drop(other);
    let bytes = fs::read(dir.path().join("other")).unwrap();
    fs::write(&path, bytes).unwrap();
    assert!(matches!(open(&dir), Err(StoreError::Foreign { .. })));

    // Of another network, and of a time to come.
    let elsewhere = Genesis { network: NetworkId(8), ..genesis() }.id();
    file::create(&path, elsewhere, &batch::Batch::default()).unwrap();
    let error = open(&dir).unwrap_err();
    assert!(
        matches!(error, StoreError::OtherNetwork { found, expected, .. }
        if (found, expected) == (elsewhere, genesis().id())),
        "{error}"
    );
    let (store, _) = repair(&dir);
    drop(store);
    assert!(dir.path().join("store.redb.bad-2").exists());
    let db = file::open(&path, genesis().id()).unwrap();
    file::set_format(&db, 2);
    drop(db);
    let error = open(&dir).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
    drop(repair(&dir));
    open(&dir).unwrap();
    let aside = (1..=3).all(|number| dir.path().join(format!("store.redb.bad-{number}")).exists());
    assert!(aside && !dir.path().join("store.redb.bad-4").exists());
}

#[test]
fn of_a_truncated_file_the_rest_is_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    filled(&dir);
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = open(&dir).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    let (store, kept) = repair(&dir);
    let txs = kept.saved.txs.len();
    assert!((20..=200).contains(&txs), "{txs}");
    assert!(kept.saved.txs.iter().all(|(_, origin)| *origin == Origin::Local));
    assert_eq!((kept.saved.blocks.len(), kept.saved.accounts.len()), (0, 0));
    drop(store);
    assert_eq!(open(&dir).unwrap().1.saved.txs.len(), txs, "and is a store from now on");
    assert_eq!(fs::read(dir.path().join("store.redb.bad-1")).unwrap().len(), whole.len() / 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever is done to the file: it is the same as before, or refused with a way on, and that way leads on.
    #[test]
    fn damage_is_noticed(
        at in any::<prop::sample::Index>(), in_header in any::<bool>(), len in 1usize..5000, byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        filled(&dir);
        let path = dir.path().join(FILE_NAME);
        let all = ids(&open(&dir).unwrap().1);
        let mut file = fs::File::options().write(true).open(&path).unwrap();
        let size = file.metadata().unwrap().len();
        let at = at.index(if in_header { 512 } else { size as usize }) as u64;
        let len = if in_header { len % 16 + 1 } else { len };
        if cut {
            file.set_len(at).unwrap();
        } else {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&vec![byte; len.min((size - at) as usize)]).unwrap();
        }
        drop(file);
        match open(&dir) {
            Ok((_store, kept)) => prop_assert_eq!(ids(&kept), all),
            Err(error) => {
                prop_assert!(error.is_about_the_file(), "{}", error);
                let (_store, kept) = repair(&dir);
                prop_assert!(ids(&kept).iter().all(|tx| all.contains(tx)));
                prop_assert!(dir.path().join("store.redb.bad-1").exists());
            }
        }
    }
}

/// A disk that can be full.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
    syncs: Arc<AtomicU64>,
}

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.file.write(offset, data)
    }
}

/// A store on such a disk.
fn on_disk(dir: &TempDir) -> (Store, Arc<AtomicBool>, Arc<AtomicU64>) {
    let (full, syncs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let path = dir.path().join(FILE_NAME);
    file::create(&path, genesis().id(), &batch::Batch::default()).unwrap();
    let reopen = {
        let (path, full, syncs) = (path.clone(), full.clone(), syncs.clone());
        move || {
            let file = fs::File::options().read(true).write(true).open(&path).unwrap();
            let disk = Disk { file: FileBackend::new(file).unwrap(), full: full.clone(), syncs: syncs.clone() };
            redb::Builder::new().create_with_backend(disk).map_err(|error| error.to_string())
        }
    };
    let db = reopen().unwrap();
    (Store::start(&path, db, Box::new(reopen), &[]).unwrap(), full, syncs)
}

#[test]
fn a_full_disk_is_told_and_what_was_promised_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, full, _) = on_disk(&dir);
    store.record(added(&tx(0, 0), Origin::Local));
    assert!(flush(&store));
    full.store(true, Ordering::Relaxed);
    store.record(added(&tx(1, 0), Origin::Local));
    assert!(!flush(&store));
    store.record(added(&tx(2, 0), Origin::Local));
    store.record(Change::Removed { ids: vec![tx(1, 0).id()], why: Removal::Displaced });
    assert!(!flush(&store), "tried again, and failed again");
    full.store(false, Ordering::Relaxed);
    assert!(flush(&store), "and works when there is space");
    drop(store);
    assert_eq!(ids(&open(&dir).unwrap().1), [0, 2].map(|i| (tx(i, 0).id(), Origin::Local)));
}

#[test]
fn a_disk_that_stays_full_takes_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, full, _) = on_disk(&dir);
    store.record(added(&tx(0, 0), Origin::Local));
    assert!(flush(&store));
    full.store(true, Ordering::Relaxed);
    store.record(added(&tx(1, 0), Origin::Local));
    store.record(Change::Removed { ids: vec![tx(0, 0).id()], why: Removal::Displaced });
    drop(store);
    assert_eq!(ids(&open(&dir).unwrap().1), [(tx(0, 0).id(), Origin::Local)]);
}

#[test]
fn those_who_wait_together_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _, syncs) = on_disk(&dir);
    let before = syncs.load(Ordering::Relaxed);
    let (done, answers) = mpsc::channel();
    for i in 0..500 {
        store.record(added(&tx(i % 10, i), Origin::Local));
        let done = done.clone();
        store.acknowledge(move |written| done.send(written).unwrap());
    }
    assert!((0..500).all(|_| answers.recv_timeout(PATIENCE).unwrap()));
    let commits = syncs.load(Ordering::Relaxed) - before;
    assert!(commits < 250, "{commits} for 500");
    // Nothing changed since: there is nothing to write.
    let before = syncs.load(Ordering::Relaxed);
    assert!(flush(&store));
    assert_eq!(syncs.load(Ordering::Relaxed), before);
}

#[test]
fn which_transactions_are_stored_can_be_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(&dir).unwrap();
    store.record(added(&tx(0, 0), Origin::Local));
    assert!(flush(&store));
    drop(store);
    let db = file::open(&dir.path().join(FILE_NAME), genesis().id()).unwrap();
    let stored = file::stored_txs(&db, &(0..9).collect()).unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(file::stored_txs(&db, &(9..19).collect()).unwrap(), Default::default());
}

#[test]
fn one_process_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, _) = open(&dir).unwrap();
    assert!(matches!(open(&dir), Err(StoreError::InUse { .. })));
    let (result, path) = (file::open(&dir.path().join("none"), genesis().id()), dir.path().join("none"));
    assert!(matches!(result, Err(StoreError::Io { path: named, .. }) if named == path));
}

#[test]
fn stored_blocks_are_read_while_others_are_written() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(&dir).unwrap();
    let included = chain(&mut store);
    assert!(flush(&store));
    let read_some = |store: &Store, height, ids: &[TxId], max_bytes| {
        let (found, answer) = mpsc::channel();
        let wanted = ids.iter().copied().collect();
        store.read_block_txs(height, wanted, max_bytes, move |txs| found.send(txs).unwrap());
        let txs = answer.recv_timeout(PATIENCE).unwrap().unwrap();
        txs.iter().map(|tx| tx.id()).collect::<Vec<_>>()
    };
    let read = |store: &Store, height, ids: &[TxId]| read_some(store, height, ids, usize::MAX);
    assert_eq!(read(&store, 1, &included), included[..2]);
    assert_eq!(read(&store, 2, &included), included[2..]);
    assert_eq!(read_some(&store, 1, &included, tx(0, 0).bytes().len()), included[..1]);
    assert_eq!(read(&store, 1, &included[1..2]), included[1..2]);
    assert_eq!(read(&store, 3, &included), []);
    let (found, answer) = mpsc::channel();
    store.read_blocks(1..5, move |blocks| found.send(blocks).unwrap());
    let blocks = answer.recv_timeout(PATIENCE).unwrap();
    assert_eq!(blocks.iter().map(|block| block.header().height).collect::<Vec<_>>(), [1, 2]);
    assert_eq!([blocks[0].tx_ids(), blocks[1].tx_ids()], [&included[..2], &included[2..]]);
    // What gathers meanwhile is not lost.
    let other = tx(3, 0);
    store.record(added(&other, Origin::Peer));
    assert_eq!(read(&store, 1, &included), included[..2]);
    drop(store);
    assert_eq!(ids(&open(&dir).unwrap().1), [(other.id(), Origin::Peer)]);
}
