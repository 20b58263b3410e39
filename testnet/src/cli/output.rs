//! Results on standard output: tables for people, one JSON document for programs.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use comfy_table::{Table, presets};
use serde::Serialize;
use starling_node::cli::Failure;

/// Writes a result as a JSON document or as text.
pub(super) fn result<T: Serialize>(json: bool, document: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
    let mut text = if json {
        serde_json::to_string_pretty(document).context("the result cannot be written as JSON")?
    } else {
        text()
    };
    text.push('\n');
    write(text.as_bytes())
}

/// Writes to standard output. A reader that has gone away has read what it wanted.
pub(super) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output").into())
        }
        _ => Ok(()),
    }
}

/// A table with a line of titles.
pub(super) fn table<const N: usize>(titles: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(titles).add_rows(rows);
    table.trim_fmt()
}
