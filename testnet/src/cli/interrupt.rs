//! Ctrl-C and SIGTERM, and the orderly end of a testnet that they must not get in the way of.

use std::io;

use anyhow::{Context, anyhow};
use starling_node::cli::{Failure, Kind};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::say;
use crate::launch::Testnet;

/// Reports requests to stop, from the moment it is made.
pub(super) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// Starts to listen. Must be called on a runtime.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = || -> io::Result<Self> {
            Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
        };
        listen().context("cannot listen for signals")
    }

    /// Waits for the next request.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Does some work unless interrupted in the midst of it.
    pub(super) async fn unless<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            result = work => result,
            () = self.next() => Err(Failure::new(Kind::Interrupted, anyhow!("interrupted"))),
        }
    }

    /// Ends a testnet's nodes in order; at once when interrupted again.
    pub(super) async fn down(&mut self, testnet: &mut Testnet) -> Result<(), Failure> {
        tokio::select! {
            killed = testnet.down() => {
                let killed = killed?;
                if killed > 0 {
                    say(format_args!("{killed} nodes did not end within five seconds and were killed"));
                }
                Ok(())
            }
            // The nodes are killed when the testnet is dropped.
            () = self.next() => Err(Failure::new(Kind::Interrupted, anyhow!("interrupted; the nodes were killed"))),
        }
    }
}
