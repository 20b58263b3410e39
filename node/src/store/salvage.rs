//! Putting a new store in the place of one that cannot be used.
//!
//! The old file stays, under another name. Of a damaged one, transactions and peers are looked for byte by byte,
//! whatever became of its tables; their signatures say which are whole. Removed ones may still stand in unused pages:
//! those are found as well, and admission sorts them out. Accounts and blocks are not taken over, as nothing says which
//! of several states of an account is the last; neighbours have them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use starling_mempool::Origin;
use starling_wire::{GenesisId, Record, TxId, Unverified};

use super::{
    StoreError,
    batch::Batch,
    file, load,
    record::{PEER_MARK, StoredPeer, TX_MARK, TxRecord},
};
use crate::net::check_record;

/// Bytes of a file that are looked through: several times what a store grows to. Bounds memory.
const MAX_BYTES: u64 = 1 << 30;

/// Makes a new store with what can be read of the old. Gives the old file's new name, and says what was taken over in
/// the log.
pub(super) fn repair(
    path: &Path,
    genesis: GenesisId,
    problem: &StoreError,
    seed: [u8; 32],
) -> Result<PathBuf, StoreError> {
    let io = |source| StoreError::Io { path: path.to_owned(), source };
    let found = match problem {
        StoreError::Damaged { .. } => {
            let mut bytes = Vec::new();
            File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes)).map_err(io)?;
            scan(&bytes, seed)
        }
        // What is of another network or format is of no use here.
        _ => Batch::default(),
    };
    let backup = backup(path);
    // With two names for a moment there is no time without a store.
    let linked = fs::hard_link(path, &backup).is_ok();
    if !linked {
        fs::rename(path, &backup).map_err(io)?;
    }
    file::create(path, genesis, &found)?;
    tracing::warn!(
        problem = %problem,
        transactions = found.txs.len(),
        peers = found.peers.len(),
        "the store is new; the old one is kept as {}. The chain is fetched anew from neighbours",
        backup.display(),
    );
    Ok(backup)
}

/// The first free name for a file that is put aside.
fn backup(path: &Path) -> PathBuf {
    let named = |number: u32| path.with_extension(format!("redb.bad-{number}"));
    (1..).map(named).find(|name| fs::symlink_metadata(name).is_err()).unwrap_or_else(|| named(0))
}

/// All transactions and peers in these bytes whose signatures are good, the transactions in the order of their times.
fn scan(bytes: &[u8], seed: [u8; 32]) -> Batch {
    let (mut found, mut batch) = (BTreeMap::<TxId, TxRecord>::new(), Batch::default());
    let at = |mark: u8| move |(position, byte): (usize, &u8)| (*byte == mark).then_some(position);
    for position in bytes.iter().enumerate().filter_map(at(TX_MARK[0])) {
        let rest = &bytes[position..];
        if rest.starts_with(&TX_MARK)
            && let Some(record) = TxRecord::decode(rest)
        {
            // An older copy may be from before it was submitted here.
            let known = found.entry(record.tx.id()).or_insert_with(|| record.clone());
            if record.origin == Origin::Local {
                known.origin = Origin::Local;
            }
        } else if rest.starts_with(&PEER_MARK)
            && let Some(peer) = StoredPeer::decode(rest)
            && let Some(checked) = Record::new(peer.envelope.clone()).as_ref().and_then(check_record)
            && batch.peers.get(&checked.node).is_none_or(|known| known.since_ms < peer.since_ms)
        {
            batch.add_peer(checked.node, peer);
        }
    }
    let records: Vec<TxRecord> = found.into_values().collect();
    let verdicts = load::verify_all(records.iter().map(|record| Unverified::Tx(record.tx.clone())).collect(), seed);
    let mut good: Vec<_> = records.into_iter().zip(verdicts).filter(|(_, verdict)| verdict.is_ok()).collect();
    good.sort_by_key(|(record, _)| record.since_ms);
    for (number, (record, _)) in (0..).zip(good) {
        batch.add(number, record);
    }
    batch
}
