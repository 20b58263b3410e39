//! Results on standard output: tables for people, one JSON document for programs.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use comfy_table::{Table, presets};
use serde::Serialize;

use super::failure::Failure;

/// How results are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

/// A result with the name of its form.
#[derive(Serialize)]
struct Document<'a, T> {
    schema: &'static str,
    #[serde(flatten)]
    result: &'a T,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Writes a result, which must be an object in JSON. `schema` is the name and the version of that.
    pub(super) fn result<T: Serialize>(
        self,
        schema: &'static str,
        result: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let mut text = if self.json {
            serde_json::to_string_pretty(&Document { schema, result })
                .context("the result cannot be written as JSON")?
        } else {
            text()
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        write(text.as_bytes())
    }
}

/// Writes to standard output. A reader that has gone away has read what it wanted.
pub fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output").into())
        }
        _ => Ok(()),
    }
}

/// A table with a line of titles.
pub fn table<const N: usize>(titles: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(titles).add_rows(rows);
    table.trim_fmt()
}

/// A table of names and values.
pub(super) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.add_rows(facts.into_iter().map(|(name, value)| [name.to_owned(), value]));
    table.trim_fmt()
}
