//! `logs`: the log of a node.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use starling_node::cli::Failure;

use super::{interrupt::Interrupt, options::Which, output};

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Most bytes from the end of a log that are searched for its last lines.
const MAX_TAIL: u64 = 4 << 20;

/// `starling-testnet logs`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet logs 3
  starling-testnet logs node-03 --follow")]
pub(super) struct Options {
    /// The node, such as 3 or node-03
    node: String,
    #[command(flatten)]
    which: Which,
    /// Lines from the end of the log
    #[arg(long, value_name = "N", default_value_t = 50)]
    lines: usize,
    /// Go on with what is added, until interrupted
    #[arg(long)]
    follow: bool,
}

/// Does it.
pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let manifest = options.which.manifest()?;
    let log = &manifest.node(&options.node)?.log;
    let cannot = || format!("the log {} cannot be read", log.display());
    let mut file = File::open(log).with_context(cannot)?;
    let length = file.metadata().with_context(cannot)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_TAIL))).with_context(cannot)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).with_context(cannot)?;
    output::write(last_lines(&bytes, options.lines))?;
    if !options.follow {
        return Ok(());
    }
    let follow = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            bytes.clear();
            file.read_to_end(&mut bytes).with_context(cannot)?;
            output::write(&bytes)?;
        }
    };
    interrupt.unless(follow).await
}

fn last_lines(bytes: &[u8], lines: usize) -> &[u8] {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let starts = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let start = match lines {
        0 => bytes.len(),
        lines => starts.chain([0]).nth(lines - 1).unwrap_or(0),
    };
    &bytes[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines() {
        for (text, lines, last) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 2, "a\nb\n"),
            ("a\nb\n", 9, "a\nb\n"),
            ("a\n\n", 1, "\n"),
            ("a\n", 0, ""),
            ("", 3, ""),
        ] {
            assert_eq!(last_lines(text.as_bytes(), lines), last.as_bytes(), "{text:?} {lines}");
        }
    }
}
