//! Private keys in files: PKCS#8 PEM, readable by their owner only, never overwritten unasked.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use starling_wire::{KeyError, SecretKey};
use thiserror::Error;

use super::failure::{Failure, Kind};
use crate::files::{self, Readers};

/// Longest key file, in bytes. PEM of an ed25519 key takes about 120.
const MAX_LEN: u64 = 16 * 1024;

/// Why a key file cannot be used.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// There is none.
    #[error("there is no key file {path}. Make one with `starling keys new {path}`")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is one that must not be lost.
    #[error("{path} exists already. Choose another name, or add --force to overwrite it and lose what it holds")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others can read it.
    #[error("others can read the key file {path} (mode {mode:04o}). Run `chmod 600 {path}`")]
    OthersCanRead {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds no key.
    #[error("{path}: {source}")]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// It cannot be read or written.
    #[error("the key file {path} cannot be {action}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no randomness.
    #[error("the system gives no random bytes for a key: {0}")]
    Random(getrandom::Error),
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        let kind = match error {
            KeyFileError::File { .. } | KeyFileError::Random(_) => Kind::Failed,
            KeyFileError::Missing { .. }
            | KeyFileError::Exists { .. }
            | KeyFileError::OthersCanRead { .. }
            | KeyFileError::Bad { .. } => Kind::Usage,
        };
        // The sources are part of the messages already; as causes they would be said twice.
        Self::new(kind, anyhow::anyhow!("{error}"))
    }
}

/// A new key from the system's randomness.
pub fn generate() -> Result<SecretKey, KeyFileError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(KeyFileError::Random)?;
    Ok(SecretKey::from_seed(&seed))
}

/// Writes a key. An existing file is an error unless `force`.
pub fn write(path: &Path, key: &SecretKey, force: bool) -> Result<(), KeyFileError> {
    let (pem, path) = (key.to_pem(), path.to_owned());
    let write = if force { files::replace } else { files::create };
    match write(&path, pem.as_bytes(), Readers::Owner) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(KeyFileError::Exists { path }),
        Err(source) => Err(KeyFileError::File { path, action: "written", source }),
    }
}

/// Reads a key. A file that others can read is refused (on Unix).
pub fn read(path: &Path) -> Result<SecretKey, KeyFileError> {
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing { path: path.to_owned() },
        _ => KeyFileError::File { path: path.to_owned(), action: "read", source },
    };
    let file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.is_dir() {
        return Err(fail(io::ErrorKind::IsADirectory.into()));
    }
    // Of the open file, so that nobody puts another in its place in between.
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().map_err(fail)?) & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::OthersCanRead { path: path.to_owned(), mode });
        }
    }
    let mut pem = String::new();
    file.take(MAX_LEN).read_to_string(&mut pem).map_err(fail)?;
    SecretKey::from_pem(&pem).map_err(|source| KeyFileError::Bad { path: path.to_owned(), source })
}

/// Reads a key; makes and writes a new one if there is no file.
pub fn read_or_create(path: &Path) -> Result<SecretKey, KeyFileError> {
    match read(path) {
        Err(KeyFileError::Missing { .. }) => {
            let key = generate()?;
            write(path, &key, false)?;
            Ok(key)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        assert!(matches!(read(&path), Err(KeyFileError::Missing { .. })));
        let key = read_or_create(&path).unwrap();
        assert_eq!(read_or_create(&path).unwrap().account(), key.account());
        let other = generate().unwrap();
        assert!(matches!(write(&path, &other, false), Err(KeyFileError::Exists { .. })));
        assert_eq!(read(&path).unwrap().account(), key.account());
        write(&path, &other, true).unwrap();
        assert_eq!(read(&path).unwrap().account(), other.account());
    }

    #[test]
    fn a_directory_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let error = read(dir.path()).unwrap_err();
        assert!(matches!(error, KeyFileError::File { action: "read", .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn keys_that_others_can_read_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        write(&path, &generate().unwrap(), false).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).err().unwrap().to_string();
        assert!(error.contains("0640") && error.contains("chmod 600"), "{error}");
    }
}
