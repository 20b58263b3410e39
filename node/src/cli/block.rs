//! `starling block`: the recent blocks.

use clap::Subcommand;
use serde::Serialize;

use super::{
    failure::Failure,
    output::{Output, facts, table},
    target::{Target, is_not_found},
};
use crate::rpc::{ApiClient, BlockView};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The last blocks, the latest first
    #[command(before_long_help = "Examples:\n  starling block ls --limit 5")]
    Ls {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1024))]
        limit: u64,
        #[command(flatten)]
        target: Target,
    },
    /// A recent block and the ids of its transactions
    #[command(before_long_help = "Examples:\n  starling block get 1")]
    Get {
        /// Its height; the first block has 1
        height: u64,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Serialize)]
struct Blocks {
    height: u64,
    blocks: Vec<BlockView>,
}

pub(super) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Ls { limit, target } => {
            let client = target.client()?;
            let height = client.http().block_latest().await.map_err(|error| client.failure(error))?.height;
            let mut blocks = Vec::new();
            for height in (height.saturating_sub(limit) + 1..=height).rev() {
                match client.http().block_get(height).await {
                    Ok(block) => blocks.push(block),
                    // Older ones are no longer kept, either.
                    Err(error) if is_not_found(&error) => break,
                    Err(error) => return Err(client.failure(error)),
                }
            }
            let blocks = Blocks { height, blocks };
            output.result("starling.blocks/1", &blocks, || {
                table(["height", "id", "transactions", "producer"], blocks.blocks.iter().map(row))
            })
        }
        Command::Get { height, target } => {
            let client = target.client()?;
            let block = client.http().block_get(height).await.map_err(|error| client.failure(error))?;
            output.result("starling.block/1", &block, || {
                let mut rows = vec![
                    ("height", block.height.to_string()),
                    ("id", block.id.to_string()),
                    ("parent", block.parent.to_string()),
                    ("producer", block.producer.to_string()),
                    ("time, ms since 1970", block.timestamp_ms.to_string()),
                ];
                rows.extend(block.tx_ids.iter().map(|id| ("transaction", id.to_string())));
                facts(rows)
            })
        }
    }
}

fn row(block: &BlockView) -> [String; 4] {
    [block.height.to_string(), block.id.to_string(), block.tx_ids.len().to_string(), block.producer.to_string()]
}
