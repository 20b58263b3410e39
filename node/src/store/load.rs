//! Reading everything back. What is read is checked as if a stranger had brought it.

use std::{num::NonZero, path::Path, thread, time::Duration};

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use redb::{Database, ReadableDatabase, ReadableTable, TableError};
use starling_mempool::{Account, PoolConfig, Rejection};
use starling_wire::{
    AccountId, Record, SignedBlock, SignedTx, Unverified, Verified, VerifiedBlock, VerifiedTx, verify_batch,
};

use super::{
    StoreError,
    file::{self, damaged, readable},
    record::{self, StoredPeer, TxRecord},
};
use crate::{
    engine::{AppliedBlock, Dropped, Removal, Saved},
    net::check_record,
};

/// Signatures in one batch; a larger one is hardly cheaper for each.
const VERIFY_BATCH: usize = 64;

/// What was in a file.
pub(super) struct Loaded {
    pub(super) saved: Saved,
    /// Every transaction that is in the file, with its number.
    pub(super) journal: Vec<(u64, TxRecord)>,
    /// Transactions that are not among those saved, as they cannot be admitted whatever the state.
    pub(super) dropped: Vec<Dropped>,
}

/// Reads a file. `now_ms` is the time since 1970; transactions that are older than `pool` would keep them are
/// dropped. The seed blinds the signature checks and must be unpredictable.
pub(super) fn load(
    path: &Path,
    db: &Database,
    now_ms: u64,
    pool: &PoolConfig,
    seed: [u8; 32],
) -> Result<Loaded, StoreError> {
    let journal = rows(path, db, file::TXS, |number, value| Some((number, TxRecord::decode(value)?)))?;
    let blocks = rows(path, db, file::BLOCKS, |_, value| record::decode_block(value))?;
    let accounts =
        rows(path, db, file::ACCOUNTS, |id, (nonce, balance)| Some((AccountId(id), Account { nonce, balance })))?;
    let mut peers = rows(path, db, file::PEERS, |_, value| StoredPeer::decode(value))?;
    // Those reached last first: with them the node begins.
    peers.sort_by_key(|peer| std::cmp::Reverse(peer.recency(now_ms)));
    let peers = peers.into_iter().filter_map(|peer| check_record(&Record::new(peer.envelope)?)).collect();

    let (mut txs, mut dropped) = (Vec::new(), Vec::new());
    let verdicts = verify_all(journal.iter().map(|(_, record)| Unverified::Tx(record.tx.clone())).collect(), seed);
    for ((_, record), verdict) in journal.iter().zip(verdicts) {
        let age = Duration::from_millis(now_ms.saturating_sub(record.since_ms));
        let mut drop = |reason| dropped.push(Dropped { id: record.tx.id(), origin: record.origin, reason });
        match verdict {
            Ok(_) if age > pool.lifetime_of(record.origin) => drop(Removal::Expired.reason()),
            Ok(Verified::Tx(tx)) => txs.push((tx, record.origin)),
            Ok(Verified::Block(_) | Verified::Report(_)) => {}
            Err(error) => drop(Rejection::BadSignature(error).reason()),
        }
    }
    let saved = Saved { txs, blocks: check_chain(path, blocks, seed)?, accounts, peers };
    Ok(Loaded { saved, journal, dropped })
}

/// All rows of a table in the order of their keys; none if there is no such table yet.
fn rows<K, V, T>(
    path: &Path,
    db: &Database,
    table: redb::TableDefinition<'_, K, V>,
    mut decode: impl for<'a> FnMut(K::SelfType<'a>, V::SelfType<'a>) -> Option<T>,
) -> Result<Vec<T>, StoreError>
where
    K: redb::Key + 'static,
    V: redb::Value + 'static,
{
    let read = readable(path, || {
        let mut all = Vec::new();
        let rows = match db.begin_read()?.open_table(table) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Some(all)),
            rows => rows?,
        };
        for row in rows.iter()? {
            let (key, value) = row?;
            match decode(key.value(), value.value()) {
                Some(decoded) => all.push(decoded),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    })?;
    read.ok_or_else(|| damaged(path, format!("an entry among its {table} makes no sense")))
}

/// The blocks of a chain, if they are one.
fn check_chain(
    path: &Path,
    blocks: Vec<(SignedBlock, Vec<SignedTx>)>,
    seed: [u8; 32],
) -> Result<Vec<AppliedBlock>, StoreError> {
    let linked = blocks.windows(2).all(|pair| {
        let (one, next) = (&pair[0].0, &pair[1].0);
        next.header().parent == one.id() && next.header().height == one.header().height + 1
    });
    if !linked {
        return Err(damaged(path, "its blocks are no chain"));
    }
    let headers = blocks.iter().map(|(block, _)| Unverified::Block(block.clone()));
    let txs = blocks.iter().flat_map(|(_, txs)| txs).map(|tx| Unverified::Tx(tx.clone()));
    let (mut good_blocks, mut good_txs) = (Vec::<VerifiedBlock>::new(), Vec::<VerifiedTx>::new());
    for verdict in verify_all(headers.chain(txs).collect(), seed) {
        match verdict {
            Ok(Verified::Block(block)) => good_blocks.push(block),
            Ok(Verified::Tx(tx)) => good_txs.push(tx),
            Ok(Verified::Report(_)) => {}
            Err(_) => return Err(damaged(path, "a block or a transaction in one has a wrong signature")),
        }
    }
    let mut good_txs = good_txs.into_iter();
    let applied = good_blocks.into_iter().zip(&blocks);
    Ok(applied
        .map(|(block, (_, txs))| AppliedBlock { block, txs: good_txs.by_ref().take(txs.len()).collect() })
        .collect())
}

/// Checks signatures on all cores; the verdicts are in the order of the items.
pub(super) fn verify_all(
    items: Vec<Unverified>,
    seed: [u8; 32],
) -> Vec<Result<Verified, starling_wire::SignatureError>> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = items.len().div_ceil(cores).max(1);
    let check = |share: &[Unverified], number: usize| {
        let mut rng = ChaCha20Rng::from_seed(seed);
        rng.set_stream(number as u64);
        share.chunks(VERIFY_BATCH).flat_map(|batch| verify_batch(batch.to_vec(), &mut rng)).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let workers: Vec<_> = items
            .chunks(share)
            .enumerate()
            .map(|(number, share)| (share, number, scope.spawn(move || check(share, number))))
            .collect();
        // A worker that failed for want of memory or a fault: its share is done here, and the fault shows.
        workers
            .into_iter()
            .flat_map(|(share, number, worker)| worker.join().unwrap_or_else(|_| check(share, number)))
            .collect()
    })
}
