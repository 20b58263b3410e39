//! `node.json`: where a running node can be reached, for the commands and supervisors on the same machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use starling_wire::NodeId;
use thiserror::Error;

use crate::files::{self, Readers};

/// What a running node writes into its data directory once it is up, and removes at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFile {
    /// [`Self::SCHEMA`].
    pub schema: String,
    /// The node id.
    pub id: NodeId,
    /// The libp2p peer id.
    pub peer_id: String,
    /// Where it listens, each with the peer id at its end.
    pub addresses: Vec<Multiaddr>,
    /// The URL of its JSON-RPC, such as `http://127.0.0.1:8080`.
    pub rpc: String,
    /// The process.
    pub pid: u32,
}

/// Why a node's file cannot be used.
#[derive(Debug, Error)]
pub enum NodeFileError {
    /// There is none.
    #[error("no node is running in {dir}: there is no {name} in it", name = NodeFile::NAME)]
    Missing {
        /// The data directory.
        dir: PathBuf,
    },
    /// It cannot be read or written.
    #[error("{path} cannot be {action}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what a node of this version writes.
    #[error("{path} is no description of a node ({why}). Start the node again with this version")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl NodeFile {
    /// The file's name in a data directory.
    pub const NAME: &str = "node.json";

    /// The name and version of its form.
    pub const SCHEMA: &str = "starling.node/1";

    /// Reads the file of the node that runs in a data directory.
    pub fn read(dir: &Path) -> Result<Self, NodeFileError> {
        let path = dir.join(Self::NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(NodeFileError::Missing { dir: dir.to_owned() });
            }
            Err(source) => return Err(NodeFileError::File { path, action: "read", source }),
        };
        match serde_json::from_str::<Self>(&text) {
            Ok(file) if file.schema == Self::SCHEMA => Ok(file),
            Ok(file) => Err(NodeFileError::Form { path, why: format!("its schema is `{}`", file.schema) }),
            Err(error) => Err(NodeFileError::Form { path, why: error.to_string() }),
        }
    }

    /// Writes the file into a data directory in one step: whoever sees it sees all of it.
    pub fn write(&self, dir: &Path) -> Result<(), NodeFileError> {
        let path = dir.join(Self::NAME);
        let written = serde_json::to_vec_pretty(self)
            .map_err(io::Error::other)
            .and_then(|bytes| files::replace(&path, &bytes, Readers::Anybody));
        written.map_err(|source| NodeFileError::File { path, action: "written", source })
    }

    /// Removes the file, if there is one.
    pub fn remove(dir: &Path) -> Result<(), NodeFileError> {
        let path = dir.join(Self::NAME);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(NodeFileError::File { path, action: "removed", source })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(NodeFile::read(dir.path()), Err(NodeFileError::Missing { .. })));
        let file = NodeFile {
            schema: NodeFile::SCHEMA.into(),
            id: NodeId([1; 32]),
            peer_id: "12D3".into(),
            addresses: vec!["/ip4/127.0.0.1/tcp/4001".parse().unwrap()],
            rpc: "http://127.0.0.1:1".into(),
            pid: 7,
        };
        file.write(dir.path()).unwrap();
        assert_eq!(NodeFile::read(dir.path()).unwrap(), file);
        NodeFile { schema: "starling.node/2".into(), ..file }.write(dir.path()).unwrap();
        assert!(matches!(NodeFile::read(dir.path()), Err(NodeFileError::Form { .. })));
        NodeFile::remove(dir.path()).unwrap();
        NodeFile::remove(dir.path()).unwrap();
    }
}
