//! `starling genesis`: the file that starts a network.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use serde::Serialize;
use starling_mempool::{Genesis, GenesisAccount, GenesisError, Limits};
use starling_wire::{AccountId, GenesisId, NetworkId};
use thiserror::Error;

use super::{
    failure::{Failure, Kind},
    output::{Output, facts},
};
use crate::files::{self, Readers};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a genesis file
    #[command(before_long_help = "Examples:
  starling genesis new genesis.toml --network 7 --account 0x…=1000000 --account 0x…=500 --producer 0x…")]
    New {
        /// Where to write it
        file: PathBuf,
        /// The network's number, which every transaction names
        #[arg(long, value_name = "N")]
        network: u32,
        /// An account and what it owns at the start; can be given again
        #[arg(long, value_name = "ID=BALANCE", value_parser = parse_account)]
        account: Vec<GenesisAccount>,
        /// An account that makes blocks, in the order of their turns; can be given again
        #[arg(long, value_name = "ID")]
        producer: Vec<AccountId>,
        /// Overwrite a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Check a genesis file and print what is in it
    #[command(before_long_help = "Examples:\n  starling genesis show genesis.toml")]
    Show {
        /// The genesis file
        file: PathBuf,
    },
}

/// Why a genesis file cannot be used.
#[derive(Debug, Error)]
pub enum GenesisFileError {
    /// There is none.
    #[error(
        "there is no genesis file {path}. Name one with --genesis, or make one with `starling genesis new {path} \
         --network 1 --account ID=BALANCE` (`starling keys new FILE` makes a key and prints its ID)"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is one that must not be lost.
    #[error("{path} exists already. Choose another name, or add --force to overwrite it")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("the genesis file {path} cannot be {action}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It says what makes no sense.
    #[error("{path}: {source}")]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GenesisError,
    },
}

impl From<GenesisFileError> for Failure {
    fn from(error: GenesisFileError) -> Self {
        let kind = match error {
            GenesisFileError::File { .. } => Kind::Failed,
            GenesisFileError::Missing { .. } | GenesisFileError::Exists { .. } | GenesisFileError::Bad { .. } => {
                Kind::Usage
            }
        };
        // The sources are part of the messages already; as causes they would be said twice.
        Self::new(kind, anyhow::anyhow!("{error}"))
    }
}

/// Reads and checks a genesis file.
pub fn read_genesis(path: &Path) -> Result<Genesis, GenesisFileError> {
    let path = path.to_owned();
    match fs::read_to_string(&path) {
        Ok(text) => Genesis::from_toml(&text).map_err(|source| GenesisFileError::Bad { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(GenesisFileError::Missing { path }),
        Err(source) => Err(GenesisFileError::File { path, action: "read", source }),
    }
}

fn write_genesis(path: &Path, genesis: &Genesis, force: bool) -> Result<(), GenesisFileError> {
    let path = path.to_owned();
    if let Err(source) = genesis.validate() {
        return Err(GenesisFileError::Bad { path, source });
    }
    let write = if force { files::replace } else { files::create };
    match write(&path, genesis.to_toml().as_bytes(), Readers::Anybody) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(GenesisFileError::Exists { path }),
        Err(source) => Err(GenesisFileError::File { path, action: "written", source }),
    }
}

fn parse_account(text: &str) -> Result<GenesisAccount, String> {
    let (id, balance) = text.split_once('=').ok_or("expected ID=BALANCE, such as 0x…=1000000")?;
    Ok(GenesisAccount {
        id: id.parse().map_err(|error| format!("{error}"))?,
        balance: balance.parse().map_err(|error| format!("the balance `{balance}`: {error}"))?,
    })
}

/// A genesis in numbers.
#[derive(Debug, Serialize)]
struct GenesisView {
    id: GenesisId,
    network: NetworkId,
    producers: Vec<AccountId>,
    limits: Limits,
    accounts: usize,
    total: u64,
}

impl GenesisView {
    fn new(genesis: &Genesis) -> Self {
        Self {
            id: genesis.id(),
            network: genesis.network,
            producers: genesis.producers.clone(),
            limits: genesis.limits.clone(),
            accounts: genesis.accounts.len(),
            // A valid genesis' balances have a sum.
            total: genesis.accounts.iter().fold(0, |sum, account| sum.saturating_add(account.balance)),
        }
    }

    fn table(&self) -> String {
        let mut rows = vec![
            ("genesis", self.id.to_string()),
            ("network", self.network.to_string()),
            ("accounts", self.accounts.to_string()),
            ("balances in all", self.total.to_string()),
            ("longest transaction", format!("{} bytes", self.limits.max_tx_bytes)),
            ("least fee", format!("{} per byte", self.limits.min_fee_per_byte)),
            ("largest block", format!("{} transactions", self.limits.max_block_txs)),
        ];
        rows.extend(self.producers.iter().map(|producer| ("producer", producer.to_string())));
        if self.producers.is_empty() {
            rows.push(("producer", "none: the network only relays".to_owned()));
        }
        facts(rows)
    }
}

pub(super) fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::New { file, network, account, producer, force } => {
            let genesis = Genesis {
                network: NetworkId(network),
                producers: producer,
                limits: Limits::default(),
                accounts: account,
            };
            write_genesis(&file, &genesis, force)?;
            let view = GenesisView::new(&genesis);
            output.result("starling.genesis/1", &view, || view.id.to_string())
        }
        Command::Show { file } => {
            let view = GenesisView::new(&read_genesis(&file)?);
            output.result("starling.genesis/1", &view, || view.table())
        }
    }
}
