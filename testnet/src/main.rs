//! `starling-testnet`: brings up testnets of real node processes on this machine, loads them and measures them.
//!
//! [`launch`] makes and ends testnets, [`load`] puts transactions in, [`measure`] turns what the nodes counted and
//! traced into figures, [`report`] makes pictures of them, [`cli`] joins them into commands. The nodes are this very program, started with the hidden
//! command `node` or, for a [`baseline`] to compare with, `node-gossipsub`, so that one build is all it takes.

mod baseline;
mod cli;
mod figures;
mod launch;
mod load;
mod map;
mod measure;
mod partition;
mod progress;
mod report;
mod sim;
mod wan;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(std::env::args_os())
}
