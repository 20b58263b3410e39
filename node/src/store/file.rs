//! The file: its tables, making and opening it, writing a batch and reading a block.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
    TableError,
};
use starling_wire::{GenesisId, SignedBlock, SignedTx};

use super::{
    MAX_PEERS, StoreError,
    batch::Batch,
    record::{self, StoredPeer},
};

/// The format this module reads and writes.
const FORMAT: u64 = 1;

/// What every file of the database begins with.
const MAGIC: &[u8] = b"redb";

/// Memory for pages, in bytes. Nearly everything is read once and written once, so little of it is needed twice; but redb
/// gathers what a commit writes in half of it, and the writer's largest regular batch has one MiB.
const CACHE: usize = 2 << 20;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
const GENESIS_KEY: &str = "genesis";

/// Transactions of the pool by number, in the order in which they came.
pub(super) const TXS: TableDefinition<u64, &[u8]> = TableDefinition::new("transactions");

/// Nonce and balance of the accounts that blocks have changed.
pub(super) const ACCOUNTS: TableDefinition<[u8; 32], (u64, u64)> = TableDefinition::new("accounts");

/// The last blocks by height.
pub(super) const BLOCKS: TableDefinition<u64, &[u8]> = TableDefinition::new("blocks");

/// Nodes that could be reached, by id.
pub(super) const PEERS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("peers");

/// Makes a file with these contents; from one moment to the next it is there, in place of any before it.
pub(super) fn create(path: &Path, genesis: GenesisId, contents: &Batch) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { path: path.to_owned(), source };
    let new = unfinished(path);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let written = (|| -> Result<(), redb::Error> {
        let db = Builder::new().set_cache_size(CACHE).create(&new)?;
        let tx = db.begin_write()?;
        {
            let mut meta = tx.open_table(META)?;
            meta.insert(FORMAT_KEY, &FORMAT.to_le_bytes()[..])?;
            meta.insert(GENESIS_KEY, &genesis.0[..])?;
        }
        tx.commit()?;
        commit(&db, contents)?;
        Ok(db.close()?)
    })();
    written.map_err(|error| io(into_io(error)))?;
    fs::rename(&new, path).map_err(io)?;
    // The name itself must be on the disk before anything is promised.
    if let Some(dir) = path.parent().filter(|_| cfg!(unix)) {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    }
    Ok(())
}

/// Where a file is until it is complete. What a process that died has left there holds nothing that was promised.
fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("redb.new")
}

/// Opens a file and checks every page of it, and that it is of this network and format.
pub(super) fn open(path: &Path, genesis: GenesisId) -> Result<Database, StoreError> {
    let io = |source| StoreError::Io { path: path.to_owned(), source };
    let foreign = |why| StoreError::Foreign { path: path.to_owned(), why };
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start)).map_err(io)?;
    if start.is_empty() {
        return Err(damaged(path, "it is empty"));
    }
    if start != MAGIC {
        return Err(foreign("it does not begin as one does"));
    }
    let db =
        readable(path, || Ok(Builder::new().set_cache_size(CACHE).set_check_integrity_on_open(true).open(path)?))?;
    let (format, found) = readable(path, || {
        let tx = db.begin_read()?;
        let meta = match tx.open_table(META) {
            Err(TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. }) => return Ok((None, None)),
            meta => meta?,
        };
        let format = meta.get(FORMAT_KEY)?.and_then(|value| value.value().try_into().ok()).map(u64::from_le_bytes);
        Ok((format, meta.get(GENESIS_KEY)?.and_then(|value| value.value().try_into().ok()).map(GenesisId)))
    })?;
    match (format, found) {
        (None, _) => Err(foreign("another program made this database")),
        (Some(found), _) if found > FORMAT => Err(StoreError::Newer { path: path.to_owned(), found, known: FORMAT }),
        (Some(FORMAT), Some(found)) if found == genesis => Ok(db),
        (Some(FORMAT), Some(found)) => {
            Err(StoreError::OtherNetwork { path: path.to_owned(), found, expected: genesis })
        }
        (Some(_), _) => Err(damaged(path, "it does not say of which format and network it is")),
    }
}

pub(super) fn damaged(path: &Path, why: impl Into<String>) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), why: why.into() }
}

/// Reads something, and says what is wrong if it cannot be read.
pub(super) fn readable<T>(path: &Path, read: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    // The database may stumble over what it never wrote itself.
    let Ok(result) = catch_unwind(AssertUnwindSafe(read)) else {
        return Err(damaged(path, "its tables contradict each other"));
    };
    result.map_err(|error| match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
        redb::Error::Io(source)
            if !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            StoreError::Io { path: path.to_owned(), source }
        }
        error => damaged(path, error.to_string()),
    })
}

/// Writes a batch. When this returns it is on the disk, whole; after an error it may or may not be.
pub(super) fn commit(db: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let mut tx = db.begin_write()?;
    tx.set_durability(Durability::Immediate)?;
    // Most batches are of transactions alone, and opening a table costs about as much as writing to it.
    if !batch.txs.is_empty() || !batch.gone.is_empty() {
        let mut txs = tx.open_table(TXS)?;
        for number in &batch.gone {
            txs.remove(number)?;
        }
        for (number, record) in &batch.txs {
            txs.insert(number, &record.encode()[..])?;
        }
    }
    if !batch.blocks.is_empty() {
        let mut accounts = tx.open_table(ACCOUNTS)?;
        for (id, account) in &batch.accounts {
            accounts.insert(id.0, (account.nonce, account.balance))?;
        }
        let mut blocks = tx.open_table(BLOCKS)?;
        blocks.retain_in(..batch.oldest, |_, _| false)?;
        for (height, (block, txs)) in &batch.blocks {
            blocks.insert(height, &record::encode_block(block, txs.iter().map(|tx| &**tx))[..])?;
        }
    }
    if !batch.peers.is_empty() {
        let mut peers = tx.open_table(PEERS)?;
        for (node, peer) in &batch.peers {
            peers.insert(node.0, &peer.encode()[..])?;
        }
        keep_latest(&mut peers)?;
    }
    Ok(tx.commit()?)
}

/// A block without its transactions, if it is there.
pub(super) fn block(db: &Database, height: u64) -> Result<Option<SignedBlock>, redb::Error> {
    read_block(db, height, record::decode_block_alone)
}

/// The transactions of a block, if it is there.
pub(super) fn block_txs(db: &Database, height: u64) -> Result<Option<Vec<SignedTx>>, redb::Error> {
    read_block(db, height, |row| record::decode_block(row).map(|(_, txs)| txs))
}

/// Which of these transactions are in the file, by number.
pub(super) fn stored_txs(db: &Database, numbers: &BTreeSet<u64>) -> Result<BTreeSet<u64>, redb::Error> {
    let txs = match db.begin_read()?.open_table(TXS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeSet::new()),
        txs => txs?,
    };
    let mut stored = BTreeSet::new();
    for number in numbers {
        if txs.get(number)?.is_some() {
            stored.insert(*number);
        }
    }
    Ok(stored)
}

fn read_block<T>(
    db: &Database,
    height: u64,
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, redb::Error> {
    let blocks = match db.begin_read()?.open_table(BLOCKS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        blocks => blocks?,
    };
    Ok(blocks.get(height)?.and_then(|row| decode(row.value())))
}

/// Removes the peers that were reached longest ago, if there are too many.
fn keep_latest(peers: &mut Table<'_, [u8; 32], &[u8]>) -> Result<(), redb::Error> {
    let excess = (peers.len()? as usize).saturating_sub(MAX_PEERS);
    if excess == 0 {
        return Ok(());
    }
    let (mut all, now_ms) = (Vec::new(), super::unix_ms());
    for row in peers.iter()? {
        let (node, value) = row?;
        all.push((StoredPeer::decode(value.value()).map(|peer| peer.recency(now_ms)), node.value()));
    }
    all.sort_unstable();
    for (_, node) in &all[..excess] {
        peers.remove(node)?;
    }
    Ok(())
}

/// The system's error, or one with the database's words.
fn into_io(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        error => io::Error::other(error.to_string()),
    }
}

/// As if another version had written it.
#[cfg(test)]
pub(super) fn set_format(db: &Database, format: u64) {
    let tx = db.begin_write().unwrap();
    tx.open_table(META).unwrap().insert(FORMAT_KEY, &format.to_le_bytes()[..]).unwrap();
    tx.commit().unwrap();
}
