//! The program `starling`: a node, and the commands to use one.

use std::process::ExitCode;

fn main() -> ExitCode {
    starling_node::cli::main(std::env::args_os())
}
