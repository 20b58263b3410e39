//! The command line of `starling`: what can be asked, who does it, and how it ends.
//!
//! Results go to standard output, everything else to standard error. Each noun has a module with its commands.

mod account;
mod block;
mod data_dir;
mod failure;
mod genesis;
pub mod keyfile;
mod keys;
mod mempool;
mod node_file;
mod options;
mod output;
mod peers;
mod run;
mod status;
mod stop;
mod target;
mod tx;

use std::{
    ffi::OsString,
    future::Future,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::output::Output;
pub use self::{
    data_dir::{DataDir, DataDirError, default_data_dir},
    failure::{Failure, Kind},
    genesis::{GenesisFileError, read_genesis},
    node_file::{NodeFile, NodeFileError},
    options::RunOptions,
    output::{table, write},
    run::Start,
};
use crate::{net, rpc::State};

/// A node that passes signed transactions on, and the commands to use one.
#[derive(Debug, Parser)]
#[command(
    name = "starling",
    version,
    propagate_version = true,
    before_long_help = "Examples:
  starling keys new alice.pem
  starling genesis new genesis.toml --network 1 --account 0x…=1000000
  starling run --data-dir ./node --genesis genesis.toml
  starling status --data-dir ./node
  starling tx send --key alice.pem --to 0x… --amount 5 --data-dir ./node",
    after_long_help = "Exit codes: 0 done, 1 failed, 2 wrong command line or file, 3 transaction rejected, 4 cannot connect, \
                       5 timed out, 130 interrupted.\n\nOptions come from the command line, else from the environment \
                       (STARLING_*), else from --config where there is one, else they have their defaults."
)]
struct Cli {
    /// Print one JSON document instead of a table
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until it is told to stop
    Run(Box<RunOptions>),
    /// Make and look at private keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Make and look at the file that starts a network
    #[command(subcommand)]
    Genesis(genesis::Command),
    /// Make, sign, submit and look up transactions
    #[command(subcommand)]
    Tx(tx::Command),
    /// Look at a node's transaction pool
    #[command(subcommand)]
    Mempool(mempool::Command),
    /// Look at a node's neighbours, and change them
    #[command(subcommand)]
    Peers(peers::Command),
    /// Look at accounts
    #[command(subcommand)]
    Account(account::Command),
    /// Look at blocks
    #[command(subcommand)]
    Block(block::Command),
    /// How a node is: who it is, its neighbours, pool and chain
    Status(target::Target),
    /// Print a completion script for a shell
    #[command(
        before_long_help = "Examples:\n  starling completions bash > ~/.local/share/bash-completion/completions/starling"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// A program that is a node and nothing else.
#[derive(Debug, Parser)]
struct Node {
    #[command(flatten)]
    options: RunOptions,
}

/// Runs the program. `args` starts with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_program(args, dispatch)
}

/// Runs a program that takes the options of `starling run` and is the node that `start` brings up. `args` starts with
/// the program's name.
pub fn node_main<S: State>(args: impl IntoIterator<Item = OsString>, start: impl Start<S>) -> ExitCode {
    run_program(args, |node: Node| run::run(node.options, start))
}

fn run_program<P: Parser>(
    args: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(P) -> Result<(), Failure>,
) -> ExitCode {
    quiet_panics();
    let cli = match P::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // With nobody left to read it there is nobody to tell, either.
            let _printed = error.print();
            return ExitCode::from(if error.use_stderr() { Kind::Usage as u8 } else { 0 });
        }
    };
    match catch_unwind(AssertUnwindSafe(|| run(cli))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        // The hook has said what happened.
        Err(_fault) => ExitCode::from(Kind::Failed as u8),
        Ok(Err(failure)) => {
            let _told = writeln!(std::io::stderr(), "error: {failure}");
            failure.exit_code()
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let output = Output::new(cli.json);
    match cli.command {
        Command::Run(options) => run::run(*options, async |config| net::start(config, net::transport).await),
        Command::Keys(command) => keys::run(command, output),
        Command::Genesis(command) => genesis::run(command, output),
        Command::Tx(command) => block_on(tx::run(command, output)),
        Command::Mempool(command) => block_on(mempool::run(command, output)),
        Command::Peers(command) => block_on(peers::run(command, output)),
        Command::Account(command) => block_on(account::run(command, output)),
        Command::Block(command) => block_on(block::run(command, output)),
        Command::Status(target) => block_on(status::run(target, output)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "starling", &mut script);
            output::write(&script)
        }
    }
}

/// Runs a client's command. One thread is enough for it.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the system gives no resources to start with")?;
    runtime.block_on(command)
}

/// A fault in the program is said in one line.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("unknown");
        let _told =
            writeln!(std::io::stderr(), "error: a fault in the program itself, please report it: {what} ({place})");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
