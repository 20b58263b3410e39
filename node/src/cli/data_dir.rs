//! The directory a node keeps its files in, and the lock that keeps a second node out of it.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use etcetera::{BaseStrategy, base_strategy::choose_native_strategy};
use thiserror::Error;

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// It cannot be made or written in.
    #[error("cannot write in the data directory {path}: {source}. Make it writable, or choose another with --data-dir")]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another node uses it.
    #[error("another node is running in {path}. Stop it, or choose another directory with --data-dir")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// There is no home to put it in.
    #[error("there is no home directory to keep data in; name a directory with --data-dir")]
    NoHome,
}

/// Where data is kept if nothing else is said: `starling` in the user's directory for data (`$XDG_DATA_HOME` or
/// `~/.local/share` on Linux).
pub fn default_data_dir() -> Result<PathBuf, DataDirError> {
    choose_native_strategy().map(|strategy| strategy.data_dir().join("starling")).map_err(|_| DataDirError::NoHome)
}

/// A data directory that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is missing, and locks it against other processes.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let unwritable = |source| DataDirError::Unwritable { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(unwritable)?;
        let lock =
            File::options().write(true).create(true).truncate(false).open(path.join("lock")).map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(unwritable(source)),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_has_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse { .. })));
        drop(first);
        DataDir::open(&path).unwrap();
        let file = path.join("lock");
        assert!(matches!(DataDir::open(&file), Err(DataDirError::Unwritable { .. })));
    }
}
