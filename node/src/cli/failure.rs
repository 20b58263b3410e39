//! How a program ends when it does not end well: an exit code and a message that says what, where and what to do.

use std::{fmt, process::ExitCode};

/// Why a program ends, by its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Something failed.
    Failed = 1,
    /// The command line or a file named on it is wrong.
    Usage = 2,
    /// The node refused the transaction.
    Rejected = 3,
    /// The node cannot be reached.
    Connect = 4,
    /// It took too long, or the nodes did not come to agree.
    Timeout = 5,
    /// A `--threshold` was missed.
    Threshold = 99,
    /// The user interrupted.
    Interrupted = 130,
}

/// An error on its way to the user.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    error: anyhow::Error,
}

impl Failure {
    /// An error of a kind. `error` is a message or an error with its causes.
    pub fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self { kind, error: error.into() }
    }

    /// The command line or a file named on it is wrong.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, anyhow::anyhow!("{message}"))
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Kind::Failed, error)
    }
}

impl fmt::Display for Failure {
    /// The message and its causes on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}
