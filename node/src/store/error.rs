//! Why a store cannot be used, and what to do.

use std::{io, path::PathBuf};

use starling_wire::GenesisId;
use thiserror::Error;

/// Why a node cannot go on from what it kept.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The system refuses.
    #[error(
        "cannot use the store {path}: {source}. Make it and its directory readable and writable, make space if the disk \
         is full, or choose another directory with --data-dir"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the store {path} is in use by another process. Stop it, or choose another directory with --data-dir")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Something else made the file.
    #[error(
        "{path} is no store of a node: {why}. Move the file away, choose another directory with --data-dir, or start once \
         with --repair, which keeps it under another name and begins a new store"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is missing in it.
        why: &'static str,
    },
    /// The file was changed from outside, or the disk lost something.
    #[error(
        "the store {path} is damaged: {why}. Start once with --repair: it keeps the file under another name, takes over \
         the transactions and peers that can be read, and begins a new store"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is of another network.
    #[error(
        "the store {path} belongs to the network that starts with genesis {found}, and this node's genesis is \
         {expected}. Name the genesis file it was made with, choose another directory with --data-dir, or start once with \
         --repair, which keeps the file under another name and begins a new store"
    )]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// The genesis it was made with.
        found: GenesisId,
        /// The node's.
        expected: GenesisId,
    },
    /// A later version of this program wrote it.
    #[error(
        "the store {path} has format {found} of a newer version of starling; this one reads format {known}. Use the newer \
         version, choose another directory with --data-dir, or start once with --repair, which keeps the file under another \
         name and begins a new store"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The one this program writes.
        known: u64,
    },
}

impl StoreError {
    /// Whether a new store in place of this one helps.
    pub(super) fn is_about_the_file(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::InUse { .. })
    }
}
