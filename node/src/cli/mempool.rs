//! `starling mempool`: what waits for a block.

use clap::Subcommand;
use serde::Serialize;

use super::{
    failure::Failure,
    output::{Output, facts, table},
    target::Target,
};
use crate::rpc::{ApiClient, PoolView, TxState, TxView};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// How full the pool is
    #[command(before_long_help = "Examples:\n  starling mempool status --data-dir ./node")]
    Status {
        #[command(flatten)]
        target: Target,
    },
    /// The pool's transactions, highest fee per byte first
    #[command(before_long_help = "Examples:\n  starling mempool ls --limit 20")]
    Ls {
        /// How many at most, up to 1000
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Serialize)]
struct Content {
    transactions: Vec<TxView>,
}

/// A pool as names and values.
pub(super) fn pool_facts(pool: &PoolView) -> [(&'static str, String); 3] {
    [
        ("transactions", format!("{} ({} pending, {} queued)", pool.count, pool.pending, pool.queued)),
        ("bytes", pool.bytes.to_string()),
        ("least fee now", format!("{} per byte", pool.floor)),
    ]
}

pub(super) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Status { target } => {
            let client = target.client()?;
            let pool = client.http().txpool_status().await.map_err(|error| client.failure(error))?;
            output.result("starling.mempool/1", &pool, || facts(pool_facts(&pool)))
        }
        Command::Ls { limit, target } => {
            let client = target.client()?;
            let transactions =
                client.http().txpool_content(Some(limit)).await.map_err(|error| client.failure(error))?;
            let content = Content { transactions };
            output.result("starling.mempool-content/1", &content, || {
                table(["id", "state", "bytes", "fee", "nonce", "sender"], content.transactions.iter().map(row))
            })
        }
    }
}

fn row(view: &TxView) -> [String; 6] {
    let state = match view.state {
        TxState::Pending => "pending",
        TxState::Queued => "queued",
        TxState::Included => "included",
    };
    let tx = &view.transaction;
    [
        view.id.to_string(),
        state.to_owned(),
        view.bytes.to_string(),
        tx.fee.to_string(),
        tx.nonce.to_string(),
        tx.sender.to_string(),
    ]
}
