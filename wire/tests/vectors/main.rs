//! Checks the golden vectors in `vectors/` through the crate's public API, in both directions: the fields give the
//! bytes, and the bytes give the fields.
//!
//! Each file is also compared with what the generators below make, so that neither can change alone. To rewrite the
//! files after a deliberate change of the format, run the tests with `STARLING_BLESS=1` in the environment and review
//! the difference; without it the files are only compared. Each file has a module of its name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken vector is a failed test")]

mod blocks;
mod golden;
mod invalid;
mod messages;
mod reports;
mod signatures;
mod transactions;
