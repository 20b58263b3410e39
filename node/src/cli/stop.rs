//! When a node is to stop: signals, and the end of standard input.

use std::{
    io::{self, Read},
    thread,
};

use tokio::{signal, sync::mpsc};

/// Why a node was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// SIGINT (Ctrl-C) or SIGTERM.
    Signal,
    /// Standard input ended.
    StdinClosed,
}

/// Reports every request to stop. The first may come before anybody waits.
pub(super) struct Stop {
    reasons: mpsc::Receiver<Reason>,
    /// Keeps the channel open.
    _sender: mpsc::Sender<Reason>,
}

impl Stop {
    /// Starts to listen. Must be called on a runtime.
    pub(super) fn listen(until_stdin_closes: bool) -> io::Result<Self> {
        let (sender, reasons) = mpsc::channel(4);
        signals(sender.clone())?;
        if until_stdin_closes {
            let sender = sender.clone();
            // A thread of its own: reading cannot be interrupted, and a runtime would wait for it.
            thread::Builder::new().name("stdin".into()).spawn(move || {
                read_to_the_end();
                let _stopping = sender.blocking_send(Reason::StdinClosed);
            })?;
        }
        Ok(Self { reasons, _sender: sender })
    }

    /// The next request.
    pub(super) async fn next(&mut self) -> Reason {
        match self.reasons.recv().await {
            Some(reason) => reason,
            // The sender is kept, so the channel does not close.
            None => std::future::pending().await,
        }
    }

    /// The next signal, whatever standard input does.
    pub(super) async fn signal(&mut self) {
        while self.next().await != Reason::Signal {}
    }
}

#[cfg(unix)]
fn signals(sender: mpsc::Sender<Reason>) -> io::Result<()> {
    use signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send(Reason::Signal).await.is_err() {
                break;
            }
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn signals(sender: mpsc::Sender<Reason>) -> io::Result<()> {
    tokio::spawn(async move { while signal::ctrl_c().await.is_ok() && sender.send(Reason::Signal).await.is_ok() {} });
    Ok(())
}

fn read_to_the_end() {
    let mut buffer = [0; 1024];
    loop {
        match io::stdin().lock().read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
            _ => {}
        }
    }
}
