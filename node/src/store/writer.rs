//! The thread that writes: it takes what gathered, commits it, and tells those who wait. It reads older blocks, too.
//!
//! While it writes, the next batch gathers: those who submit at the same time share a commit, and one who submits alone
//! waits for nobody. What nobody waits for is written when it is [`LAG`] old or [`MAX_GATHERED`] bytes.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use redb::Database;
use starling_wire::{SignedBlock, SignedTx, TxId};

use super::{batch::Batch, file};

/// How long a change that nobody waits for may be in memory only. A crash loses peers' transactions of that time, which
/// neighbours still have. Longer saves CPU: a commit costs as much as writing some hundred transactions.
pub(super) const LAG: Duration = Duration::from_secs(5);

/// Bytes of transactions after which a batch is written before its time.
const MAX_GATHERED: usize = 1 << 20;

/// After a failure, how long until the next attempt. Whoever waits is told of a failure at most this late.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Reads that wait; of more than that nothing is read. Those of neighbours the engine bounds by half of it.
const MAX_READS: usize = 512;

/// Gets to know whether everything recorded before is on the disk.
pub(super) type Waiter = Box<dyn FnOnce(bool) + Send>;

/// What is to be read, and who gets what is found.
pub(super) enum Read {
    /// Blocks, but not their transactions.
    Blocks { heights: Range<u64>, reply: Box<dyn FnOnce(Vec<SignedBlock>) + Send> },
    /// The first of these transactions of a block, up to so many bytes.
    Txs { height: u64, wanted: BTreeSet<TxId>, max_bytes: usize, reply: TxsReply },
}

/// Gets transactions, or `None` if the file cannot be read.
pub(super) type TxsReply = Box<dyn FnOnce(Option<Vec<SignedTx>>) + Send>;

/// Opens the file anew after a failure.
pub(super) type Reopen = Box<dyn FnMut() -> Result<Database, String> + Send>;

/// What gathers while the writer is busy.
#[derive(Default)]
struct Gathered {
    batch: Batch,
    waiting: Vec<Waiter>,
    reads: VecDeque<Read>,
    /// When the first change came.
    since: Option<Instant>,
    /// Whether it should be written at once.
    urgent: bool,
    closing: bool,
}

/// What the node's main task and the writer share.
#[derive(Default)]
pub(super) struct Inbox {
    gathered: Mutex<Gathered>,
    changed: Condvar,
}

impl Inbox {
    /// Adds to the batch. `urgent` has it written at once.
    pub(super) fn change(&self, urgent: bool, change: impl FnOnce(&mut Batch)) {
        let mut gathered = self.lock();
        change(&mut gathered.batch);
        let first = gathered.since.is_none();
        gathered.since.get_or_insert_with(Instant::now);
        gathered.urgent |= urgent || gathered.batch.bytes >= MAX_GATHERED;
        if first || gathered.urgent {
            self.changed.notify_one();
        }
    }

    /// Has everything that was added written at once, and tells `waiter`.
    pub(super) fn wait(&self, waiter: Waiter) {
        let mut gathered = self.lock();
        gathered.waiting.push(waiter);
        gathered.urgent = true;
        self.changed.notify_one();
    }

    /// Has a block read. Whoever asks for more than the writer can do gets no answer.
    pub(super) fn read(&self, read: Read) {
        let mut gathered = self.lock();
        if gathered.reads.len() < MAX_READS {
            gathered.reads.push_back(read);
            self.changed.notify_one();
        }
    }

    /// Has the writer write the rest and end.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }

    /// What to do next, once there is something: to write what is due, and then to read if something waits for that, as
    /// writes that are always due must not keep readers waiting for ever.
    fn take(&self, retry_at: Option<Instant>) -> (Option<Gathered>, Option<Read>) {
        let mut gathered = self.lock();
        loop {
            let wait = match (retry_at, gathered.since) {
                _ if gathered.closing => Some(Duration::ZERO),
                (Some(at), _) => Some(at.saturating_duration_since(Instant::now())),
                (None, _) if gathered.urgent => Some(Duration::ZERO),
                (None, Some(since)) => Some((since + LAG).saturating_duration_since(Instant::now())),
                (None, None) => None,
            };
            if wait == Some(Duration::ZERO) {
                let read = gathered.reads.pop_front();
                let (closing, reads) = (gathered.closing, mem::take(&mut gathered.reads));
                let due = mem::replace(&mut *gathered, Gathered { closing, reads, ..Gathered::default() });
                return (Some(due), read);
            }
            if let Some(read) = gathered.reads.pop_front() {
                return (None, Some(read));
            }
            gathered = match wait {
                None => self.changed.wait(gathered).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.changed.wait_timeout(gathered, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Nothing is left half done under the lock, so that a fault elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes until told to close. After a failure it keeps what it could not write, tells those who wait, and tries again.
pub(super) fn run(inbox: &Arc<Inbox>, db: Database, mut reopen: Reopen) {
    let mut db = Some(db);
    let mut todo = Batch::default();
    let mut retry_at = None;
    loop {
        let (due, read) = inbox.take(retry_at);
        let Some(Gathered { batch, waiting, closing, .. }) = due else {
            if let Some(read) = read {
                serve(db.as_ref(), &todo, read);
            }
            continue;
        };
        todo.merge(batch);
        let result = if todo.is_empty() { Ok(()) } else { write(&mut db, &mut reopen, &mut todo) };
        let written = result.is_ok();
        match result {
            Ok(()) => {
                if retry_at.take().is_some() {
                    tracing::info!("the store can be written again, and nothing is missing in it");
                }
                todo = Batch::default();
            }
            Err(error) => {
                if retry_at.is_none() || closing {
                    tracing::error!(
                        error,
                        "the store cannot be written: what is submitted from now on is passed on, but answered with an \
                         error, as it would not survive a restart. Make space on the disk, or mend what the error says"
                    );
                }
                // The database takes nothing more after a failure. Another may at least be read.
                drop(db.take());
                if !closing {
                    db = reopen().ok();
                    forget_what_is_gone(db.as_ref(), &mut todo);
                }
                retry_at = Some(Instant::now() + RETRY_AFTER);
            }
        }
        for waiter in waiting {
            waiter(written);
        }
        if let Some(read) = read {
            serve(db.as_ref(), &todo, read);
        }
        if closing {
            break;
        }
    }
    if let Some(Err(error)) = db.map(Database::close) {
        tracing::warn!(%error, "the store was not closed in order; the next start checks it");
    }
}

/// Forgets removals of what is not in the file: a batch that cannot be written must not grow for ever.
fn forget_what_is_gone(db: Option<&Database>, todo: &mut Batch) {
    if let Some(db) = db
        && let Ok(Ok(stored)) = catch_unwind(AssertUnwindSafe(|| file::stored_txs(db, &todo.gone)))
    {
        todo.gone = stored;
    }
}

/// Answers from what could not be written yet, or else from the file.
fn serve(db: Option<&Database>, todo: &Batch, read: Read) {
    match read {
        Read::Blocks { heights, reply } => {
            let read = |height| match todo.blocks.get(&height) {
                Some((block, _)) => Some(block.clone()),
                None => attempt(db, height, |db| file::block(db, height)).flatten(),
            };
            reply(heights.map_while(read).collect());
        }
        Read::Txs { height, wanted, max_bytes, reply } => {
            let txs = match todo.blocks.get(&height) {
                Some((_, txs)) => Some(txs.iter().map(|tx| (**tx).clone()).collect()),
                None => attempt(db, height, |db| file::block_txs(db, height)).map(Option::unwrap_or_default),
            };
            let mut left = max_bytes;
            let within = |tx: &SignedTx| {
                let rest = left.checked_sub(tx.bytes().len());
                left = rest.unwrap_or_default();
                rest.is_some()
            };
            let chosen = |txs: Vec<SignedTx>| {
                txs.into_iter().filter(|tx| wanted.contains(&tx.id())).take_while(within).collect()
            };
            reply(txs.map(chosen));
        }
    }
}

/// Reads something of a stored block; `None` if the file cannot be read. Those who wait must be answered, whatever becomes
/// of the database.
fn attempt<T>(db: Option<&Database>, height: u64, read: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Option<T> {
    let db = db?;
    match catch_unwind(AssertUnwindSafe(|| read(db))) {
        Ok(Ok(found)) => Some(found),
        Ok(Err(error)) => {
            tracing::warn!(%error, height, "a stored block cannot be read");
            None
        }
        Err(_fault) => {
            tracing::warn!(height, "a stored block cannot be read: a fault in the database");
            None
        }
    }
}

fn write(db: &mut Option<Database>, reopen: &mut Reopen, batch: &mut Batch) -> Result<(), String> {
    let db = match db {
        Some(db) => db,
        None => db.insert(reopen()?),
    };
    batch.try_now();
    // Those who wait must be answered, whatever becomes of the database.
    match catch_unwind(AssertUnwindSafe(|| file::commit(db, batch))) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_fault) => Err("a fault in the database".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_that_are_always_due_and_reads_go_by_turns() {
        let inbox = Inbox::default();
        for height in 1..=3 {
            inbox.read(Read::Blocks { heights: height..height + 1, reply: Box::new(|_| ()) });
        }
        for height in 1..=3 {
            inbox.wait(Box::new(|_| ()));
            let (Some(due), Some(Read::Blocks { heights, .. })) = inbox.take(None) else { panic!("both") };
            assert_eq!((due.waiting.len(), heights), (1, height..height + 1));
        }
        inbox.wait(Box::new(|_| ()));
        assert!(matches!(inbox.take(None), (Some(_), None)));
    }
}
