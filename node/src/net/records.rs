//! Signed peer records, checked: the same ones come again and again, and their signatures are checked once.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use lru::LruCache;
use starling_wire::Record;

use super::identity;
use crate::engine::PeerRecord;

/// Records remembered, twice what a node knows of others. With addresses each takes at most 4 KiB, 500 bytes as a rule.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(2048).unwrap();

/// Checks records, and remembers those that were good.
pub(super) struct Records(Mutex<LruCache<Bytes, PeerRecord>>);

impl Records {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }

    /// What a record says; `None` if it is not properly signed.
    pub(super) fn check(&self, record: &Record) -> Option<PeerRecord> {
        let mut good = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = good.get(&record.envelope()[..]) {
            return Some(known.clone());
        }
        let checked = identity::check_record(record)?;
        good.put(checked.envelope.clone(), checked.clone());
        Some(checked)
    }
}
