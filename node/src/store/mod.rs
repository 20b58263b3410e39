//! What a node keeps over restarts, in one file of its data directory.
//!
//! The node's main task records changes in memory ([`Store::record`]); a thread of its own writes them in batches. Who
//! must be sure waits for a commit ([`Store::acknowledge`]). The file always holds the state after some change: the
//! transactions of the pool, accounts, blocks and peers that belong together are written together, so that whatever
//! moment a process dies at, the next goes on from a state that was.
//!
//! What is read back is checked as if a stranger had brought it, except for accounts.

mod batch;
mod error;
mod file;
mod load;
mod record;
mod salvage;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::{SystemTime, UNIX_EPOCH},
};

use redb::Database;
use starling_mempool::{Origin, PoolConfig};
use starling_wire::{GenesisId, SignedBlock, SignedTx, TxId};

pub use self::error::StoreError;
use self::{
    record::{StoredPeer, TxRecord},
    writer::{Inbox, Read},
};
use crate::engine::{Change, Dropped, Removal, Saved};

/// The file's name in the data directory.
const FILE_NAME: &str = "store.redb";

/// Peers kept: many times the links of a node, so that some are still there after a long time. The one that was last
/// reached longest ago gives way.
const MAX_PEERS: usize = 256;

/// Where and how a node keeps its state.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The data directory. The caller sees to it that no other process uses it.
    pub dir: PathBuf,
    /// If the file there cannot be used, put it aside and begin a new one with what can be read.
    pub repair: bool,
}

/// What a store had when it was opened.
#[derive(Debug)]
pub struct Kept {
    /// The state to go on from.
    pub saved: Saved,
    /// Transactions that are of no use any more, whatever the state; they are removed from the file.
    pub dropped: Vec<Dropped>,
}

/// An open store. What was recorded is written when it is dropped, at the latest.
pub struct Store {
    inbox: Arc<Inbox>,
    writer: Option<JoinHandle<()>>,
    /// Number and origin of every transaction that is in the file, or will be. The file holds what the pool does, so
    /// the pool's limits bound it.
    journal: HashMap<TxId, (u64, Origin)>,
    next_number: u64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("transactions", &self.journal.len()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store of a data directory, or makes one, and reads all of it; signatures are checked on all cores.
    /// Transactions that are older than `pool` would keep them are dropped. The seed blinds the signature checks and must
    /// be unpredictable.
    pub fn open(
        config: &StoreConfig,
        genesis: GenesisId,
        pool: &PoolConfig,
        seed: [u8; 32],
    ) -> Result<(Self, Kept), StoreError> {
        let path = config.dir.join(FILE_NAME);
        let attempt = || -> Result<_, StoreError> {
            if fs::symlink_metadata(&path).is_err() {
                file::create(&path, genesis, &batch::Batch::default())?;
            }
            let db = file::open(&path, genesis)?;
            let loaded = load::load(&path, &db, unix_ms(), pool, seed)?;
            Ok((db, loaded))
        };
        let (db, loaded) = match attempt() {
            Err(problem) if config.repair && problem.is_about_the_file() => {
                salvage::repair(&path, genesis, &problem, seed)?;
                attempt()?
            }
            result => result?,
        };
        let reopen = {
            let path = path.clone();
            Box::new(move || file::open(&path, genesis).map_err(|error| error.to_string()))
        };
        let mut store = Self::start(&path, db, reopen, &loaded.journal)?;
        if !loaded.dropped.is_empty() {
            let ids = loaded.dropped.iter().map(|dropped| dropped.id).collect();
            store.record(Change::Removed { ids, why: Removal::Refused });
        }
        Ok((store, Kept { saved: loaded.saved, dropped: loaded.dropped }))
    }

    fn start(
        path: &Path,
        db: Database,
        reopen: writer::Reopen,
        journal: &[(u64, TxRecord)],
    ) -> Result<Self, StoreError> {
        let inbox = Arc::new(Inbox::default());
        let writer = {
            let inbox = inbox.clone();
            std::thread::Builder::new().name("store".into()).spawn(move || writer::run(&inbox, db, reopen))
        };
        let writer = writer.map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        let next_number = journal.last().map_or(0, |(number, _)| number + 1);
        let journal = journal.iter().map(|(number, record)| (record.tx.id(), (*number, record.origin))).collect();
        Ok(Self { inbox, writer: Some(writer), journal, next_number })
    }

    /// Takes a change in; it is written a few seconds later at most, blocks at once. Costs no I/O here.
    pub fn record(&mut self, change: Change) {
        match change {
            Change::Added { tx, origin } => {
                let fresh = self.next_number;
                let (number, known_as) = self.journal.entry(tx.id()).or_insert((fresh, origin));
                *known_as = origin;
                let (number, is_fresh) = (*number, *number == fresh);
                self.next_number += u64::from(is_fresh);
                let record = TxRecord { origin, since_ms: unix_ms(), tx: (*tx).clone() };
                self.inbox.change(false, |batch| match is_fresh {
                    true => batch.add(number, record),
                    false => batch.replace(number, record),
                });
            }
            Change::Removed { ids, why } => {
                let mut numbers = Vec::with_capacity(ids.len());
                for id in ids {
                    let Some((number, origin)) = self.journal.remove(&id) else { continue };
                    numbers.push(number);
                    // Of those refused at a restart the log tells more.
                    if origin == Origin::Local && why != Removal::Refused {
                        tracing::info!(%id, "a transaction submitted here left the pool: {}", why.reason());
                    }
                }
                self.inbox.change(false, |batch| numbers.into_iter().for_each(|number| batch.remove(number)));
            }
            // A transaction is in the pool or in a block, at no time in neither: one batch has both. At once, as a
            // producer that forgot its own block would make another of the same height.
            Change::Block { block, txs, accounts, oldest } => {
                let included: Vec<u64> =
                    txs.iter().filter_map(|tx| self.journal.remove(&tx.id())).map(|(number, _)| number).collect();
                self.inbox.change(true, |batch| {
                    included.into_iter().for_each(|number| batch.remove(number));
                    batch.accounts.extend(accounts);
                    batch.add_block(block, txs, oldest);
                });
            }
            Change::Peer(record) => {
                let peer = StoredPeer { since_ms: unix_ms(), envelope: record.envelope };
                self.inbox.change(false, |batch| batch.add_peer(record.node, peer));
            }
        }
    }

    /// Calls back from another thread when everything recorded so far is on the disk (`true`), or when that failed; in
    /// the latter case, too, it may be written later.
    pub fn acknowledge(&self, waiter: impl FnOnce(bool) + Send + 'static) {
        self.inbox.wait(Box::new(waiter));
    }

    /// Reads stored blocks up to the first that is missing or cannot be read; calls back from another thread with them.
    /// Drops `reply` if too many others wait.
    pub fn read_blocks(&self, heights: Range<u64>, reply: impl FnOnce(Vec<SignedBlock>) + Send + 'static) {
        self.inbox.read(Read::Blocks { heights, reply: Box::new(reply) });
    }

    /// Reads transactions of a stored block, the first of those wanted, up to so many bytes; `None` if they cannot be read.
    /// Else as [`Self::read_blocks`].
    pub fn read_block_txs(
        &self,
        height: u64,
        wanted: BTreeSet<TxId>,
        max_bytes: usize,
        reply: impl FnOnce(Option<Vec<SignedTx>>) + Send + 'static,
    ) {
        self.inbox.read(Read::Txs { height, wanted, max_bytes, reply: Box::new(reply) });
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.inbox.close();
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the store's writer failed; the last seconds may not be on the disk");
        }
    }
}

/// Says in the log what was dropped at a restart: how many for which reason, and each that was submitted here.
pub fn report(dropped: &[Dropped]) {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for dropped in dropped {
        *reasons.entry(dropped.reason).or_default() += 1;
        if dropped.origin == Origin::Local {
            tracing::warn!(id = %dropped.id, "a transaction submitted here was dropped at the restart: {}", dropped.reason);
        }
    }
    for (reason, count) in reasons {
        tracing::warn!(count, "transactions dropped at the restart: {reason}");
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
