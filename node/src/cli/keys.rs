//! `starling keys`: private keys in files.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use starling_wire::{AccountId, SecretKey};

use super::{
    failure::Failure,
    keyfile,
    output::{Output, facts},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a private key and print its account id
    #[command(before_long_help = "Examples:\n  starling keys new alice.pem")]
    New {
        /// Where to write it, as PKCS#8 PEM
        file: PathBuf,
        /// Overwrite a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Print the ids that belong to a private key
    #[command(before_long_help = "Examples:\n  starling keys show alice.pem")]
    Show {
        /// The key file
        file: PathBuf,
    },
}

/// The ids of a key.
#[derive(Debug, Serialize)]
struct KeyView {
    file: PathBuf,
    account: AccountId,
    /// As a node's identity.
    peer_id: String,
}

impl KeyView {
    fn new(file: PathBuf, key: &SecretKey) -> Self {
        Self { file, account: key.account(), peer_id: crate::net::keypair(key).public().to_peer_id().to_string() }
    }
}

pub(super) fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::New { file, force } => {
            let key = keyfile::generate()?;
            keyfile::write(&file, &key, force)?;
            let view = KeyView::new(file, &key);
            output.result("starling.key/1", &view, || view.account.to_string())
        }
        Command::Show { file } => {
            let view = KeyView::new(file.clone(), &keyfile::read(&file)?);
            output.result("starling.key/1", &view, || {
                facts([("account", view.account.to_string()), ("peer id", view.peer_id.clone())])
            })
        }
    }
}
