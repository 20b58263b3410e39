//! `starling account`: what an account has.

use clap::Subcommand;
use starling_wire::AccountId;

use super::{
    failure::Failure,
    output::{Output, facts},
    target::Target,
};
use crate::rpc::ApiClient;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// An account after the last applied block
    #[command(before_long_help = "Examples:\n  starling account get 0x…")]
    Get {
        /// The account
        id: AccountId,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    let Command::Get { id, target } = command;
    let client = target.client()?;
    let account = client.http().account_get(id).await.map_err(|error| client.failure(error))?;
    output.result("starling.account/1", &account, || {
        facts([
            ("account", account.id.to_string()),
            ("balance", account.balance.to_string()),
            ("nonce", account.nonce.to_string()),
            ("next nonce, with the pool", account.next_nonce.to_string()),
        ])
    })
}
