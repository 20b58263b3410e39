//! Files written so that nobody ever sees half of one, or reads what is private.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Whoever the process's umask lets.
    Anybody,
    /// Its owner only (mode 0600 on Unix).
    Owner,
}

/// Writes a file that must not exist yet, in one step; [`io::ErrorKind::AlreadyExists`] if it does.
pub(crate) fn create(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let temporary = write_beside(path, bytes, readers)?;
    // Unlike renaming, this takes no other file's place.
    let linked = fs::hard_link(&temporary, path);
    let _gone = fs::remove_file(&temporary);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // Some file systems have no links. Whoever is killed just now leaves half a file.
            write_new(path, bytes, readers)
        }
        linked => linked,
    }
}

fn write_new(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mut file = open_new(path, readers)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file is worse than none, and it is certain that this process made it.
        let _gone = fs::remove_file(path);
    }
    written
}

/// Writes a file in one step, in place of any that is there.
pub(crate) fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let temporary = write_beside(path, bytes, readers)?;
    fs::rename(&temporary, path).inspect_err(|_| {
        let _gone = fs::remove_file(&temporary);
    })
}

/// Writes a temporary file in the same directory.
fn write_beside(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<PathBuf> {
    let temporary = beside(path);
    // What a process that died has left behind.
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    write_new(&temporary, bytes, readers)?;
    Ok(temporary)
}

/// A name in the same directory, so that renaming stays on one file system.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

fn open_new(path: &Path, readers: Readers) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _everybody_alike = readers;
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_once_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create(&path, b"one", Readers::Owner).unwrap();
        assert_eq!(create(&path, b"two", Readers::Owner).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"three", Readers::Owner).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
