//! `starling mempool`: what waits for a block.

use clap::Subcommand;
use serde::Serialize;
use starling_wire::AccountId;

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
    #[command(before_long_help = "Examples:\n  starling mempool ls --limit 20\n  starling mempool ls --sender 0x…")]
    Ls {
        /// How many at most, up to 1000
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        /// Only this account's, by nonce
        #[arg(long, value_name = "ID")]
        sender: Option<AccountId>,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Serialize)]
struct Content {
    transactions: Vec<TxView>,
}

/// A pool as names and values.
pub(super) fn pool_facts(pool: &PoolView) -> [(&'static str, String); 5] {
    let PoolView { count, pending, queued, bytes, senders, floor, limits, refused } = pool;
    let refused: Vec<String> = refused.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    [
        ("transactions", format!("{count} of {} ({pending} pending, {queued} queued)", limits.count)),
        ("bytes", format!("{bytes} of {}", limits.bytes)),
        (
            "senders",
            format!("{senders}, each up to {} transactions or {} bytes", limits.sender_count, limits.sender_bytes),
        ),
        ("least fee now", format!("{floor} per byte")),
        ("refused from peers", if refused.is_empty() { "nothing".to_owned() } else { refused.join(", ") }),
    ]
}

pub(super) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Status { target } => {
            let client = target.client()?;
            let pool = client.http().txpool_status().await.map_err(|error| client.failure(error))?;
            output.result("starling.mempool/1", &pool, || facts(pool_facts(&pool)))
        }
        Command::Ls { limit, sender, target } => {
            let client = target.client()?;
            let transactions =
                client.http().txpool_content(Some(limit), sender).await.map_err(|error| client.failure(error))?;
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
