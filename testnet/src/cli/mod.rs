//! The command line of `starling-testnet`: what can be asked, who does it, and how it ends.
//!
//! Results go to standard output, everything else to standard error. Each command has a module.

mod aggregate;
mod compare;
mod down;
mod experiment;
mod interrupt;
mod load;
mod logs;
mod measure;
mod node;
mod options;
mod output;
mod overlay;
mod partition;
mod report;
mod saturate;
mod signal;
mod sim;
mod status;
mod up;

use std::{ffi::OsString, future::Future, io::Write, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use starling_node::cli::{Failure, Kind};

use crate::launch::{Relay, Signal};

/// Testnets of real nodes on this machine: bring them up, load them, measure them.
#[derive(Debug, Parser)]
#[command(
    name = "starling-testnet",
    version,
    propagate_version = true,
    before_long_help = "Examples:
  starling-testnet measure
  starling-testnet measure --nodes 50 --rate 100 --threshold 'p99<500ms' --json
  starling-testnet compare --nodes 32 --rounds 5
  starling-testnet up --nodes 8 --detach && starling-testnet status
  starling-testnet load --rate 50 && starling-testnet down",
    after_long_help = "Exit codes: 0 done, 1 failed, 2 wrong command line, 4 cannot connect, 5 timed out or not everything \
                       arrived, 99 a threshold was missed, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring a testnet up
    Up(up::Options),
    /// End a testnet and remove its files
    Down(down::Options),
    /// How the nodes of a testnet are
    Status(status::Options),
    /// Cut a testnet into two parts
    Partition(partition::Options),
    /// Join the parts of a testnet again
    Heal(partition::HealOptions),
    /// Kill nodes at once
    Kill(signal::Options),
    /// Halt nodes, as though they hung
    Stop(signal::Options),
    /// Let halted nodes go on
    Cont(signal::Options),
    /// Print the log of a node
    Logs(logs::Options),
    /// Put transactions into a testnet
    Load(load::Options),
    /// Bring up a testnet, load it, print the figures and leave nothing behind
    Measure(measure::Options),
    /// Measure Starling's relay and gossipsub by turns, and say who is better at what
    Compare(compare::Options),
    /// Write the page of a measured run that was kept
    Report(report::Options),
    /// Simulate thousands of nodes, and other relays beside Starling's
    Sim(Box<sim::Options>),
    /// Simulate nodes that find each other by themselves, come and go, or are attacked
    Overlay(Box<overlay::Options>),
    /// Simulate how a network measures itself, and hold that against the truth
    Aggregate(aggregate::Options),
}

/// Runs the program. `args` starts with the program's name.
pub(crate) fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    // For its own use: what makes this program a node, of one kind or the other.
    if let Some(relay) = args.get(1).and_then(|command| Relay::of_command(command)) {
        return node::main(relay, args.into_iter().skip(2).collect());
    }
    quiet_panics();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // With nobody left to read it there is nobody to tell, either.
            let _printed = error.print();
            return ExitCode::from(if error.use_stderr() { Kind::Usage as u8 } else { 0 });
        }
    };
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(format_args!("error: {failure}"));
            failure.exit_code()
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(options) => block_on(up::run(options)),
        Command::Down(options) => block_on(down::run(options)),
        Command::Status(options) => block_on(status::run(options)),
        Command::Partition(options) => block_on(partition::run(options)),
        Command::Heal(options) => partition::heal(&options),
        Command::Kill(options) => signal::run(&options, Signal::KILL),
        Command::Stop(options) => signal::run(&options, Signal::STOP),
        Command::Cont(options) => signal::run(&options, Signal::CONT),
        Command::Logs(options) => block_on(logs::run(options)),
        Command::Load(options) => block_on(load::run(options)),
        Command::Measure(options) => block_on(measure::run(options)),
        Command::Compare(options) => block_on(compare::run(options)),
        Command::Report(options) => report::run(&options),
        Command::Sim(options) => sim::run(&options),
        Command::Overlay(options) => overlay::run(&options),
        Command::Aggregate(options) => aggregate::run(&options),
    }
}

/// Runs a command. One thread is enough for it and leaves the machine to the nodes.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the system gives no resources to start with")?;
    runtime.block_on(command)
}

/// Tells the user something that is not the result.
fn say(message: impl std::fmt::Display) {
    // With nobody left to read it there is nobody to tell.
    let _told = writeln!(std::io::stderr(), "{message}");
}

/// A fault in the program is said in one line.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("unknown");
        say(format_args!("error: a fault in the program itself, please report it: {what} ({place})"));
    }));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
