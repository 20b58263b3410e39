//! Results on standard output: tables for people, one JSON document for programs.

use anyhow::Context;
use serde::Serialize;
use starling_node::cli::Failure;
pub(super) use starling_node::cli::{table, write};

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
