//! The delivery trace: one line for each transaction that entered the pool, for measuring how transactions spread.
//!
//! A line has three fields separated by spaces: Unix time in microseconds, the transaction's short id, and the node that
//! brought it first (`local` if it was submitted here).

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
    str::FromStr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use starling_wire::{NodeId, ShortId};

use super::StartError;
use crate::engine::Time;

/// One line of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// When the transaction entered the pool, in microseconds since 1970.
    pub unix_us: u64,
    /// Which.
    pub id: ShortId,
    /// Who brought it; `None` if it was submitted here.
    pub from: Option<NodeId>,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => write!(f, "{} {} {from}", self.unix_us, self.id),
            None => write!(f, "{} {} local", self.unix_us, self.id),
        }
    }
}

impl FromStr for Delivery {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let bad = || format!("`{line}` is no line of a trace (time, short id, node or `local`)");
        let mut fields = line.split(' ');
        let (Some(time), Some(id), Some(from), None) = (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(bad());
        };
        Ok(Self {
            unix_us: time.parse().map_err(|_| bad())?,
            id: id.parse().map_err(|_| bad())?,
            from: if from == "local" { None } else { Some(from.parse().map_err(|_| bad())?) },
        })
    }
}

/// A node's clock: its own time and the world's, read together once so that they never drift apart.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    unix_start: Duration,
}

impl Clock {
    /// A clock at [`Time::ZERO`].
    pub fn start() -> Self {
        let unix_start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), unix_start }
    }

    /// The node's time.
    pub fn now(&self) -> Time {
        Time::after(self.start.elapsed())
    }

    pub(super) fn instant(&self, time: Time) -> Instant {
        self.start + time.since_start()
    }

    pub(super) fn unix_start_ms(&self) -> u64 {
        self.unix_start.as_millis() as u64
    }

    /// What [`Self::unix_start_ms`] would be by the world's clock as it is now.
    pub(super) fn unix_start_ms_now(&self) -> u64 {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        unix.saturating_sub(self.start.elapsed()).as_millis() as u64
    }

    fn unix_us(&self, time: Time) -> u64 {
        (self.unix_start + time.since_start()).as_micros() as u64
    }
}

/// Writes a trace, if there is to be one. When it cannot be written any more the log says so and it ends there.
#[derive(Debug)]
pub struct Trace {
    file: Option<BufWriter<File>>,
    clock: Clock,
}

impl Trace {
    /// Within how long lines should be flushed.
    pub const FLUSH_EVERY: Duration = Duration::from_secs(1);

    /// Begins the file `path`; without one, nothing is written.
    pub fn create(path: Option<PathBuf>, clock: Clock) -> Result<Self, StartError> {
        let create = |path: PathBuf| match File::create(&path) {
            Ok(file) => Ok(BufWriter::with_capacity(64 * 1024, file)),
            Err(source) => Err(StartError::Trace { path, source }),
        };
        Ok(Self { file: path.map(create).transpose()?, clock })
    }

    /// Adds a line: a transaction entered the pool, brought by a neighbour or (`None`) submitted here.
    pub fn delivered(&mut self, now: Time, id: ShortId, from: Option<NodeId>) {
        let delivery = Delivery { unix_us: self.clock.unix_us(now), id, from };
        self.write(|file| writeln!(file, "{delivery}"));
    }

    /// Hands what was added to the system.
    pub fn flush(&mut self) {
        self.write(BufWriter::flush);
    }

    fn write(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if let Some(Err(error)) = self.file.as_mut().map(write) {
            tracing::error!(%error, "cannot write the trace; tracing stops here");
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_round_trip() {
        for from in [None, Some(NodeId([7; 32]))] {
            let delivery = Delivery { unix_us: 1_700_000_000_000_001, id: ShortId([1; 8]), from };
            assert_eq!(delivery.to_string().parse(), Ok(delivery));
        }
        for bad in ["", "1", "1 0x0101010101010101", "x 0x0101010101010101 local", "1 0x0101010101010101 local 2"] {
            assert!(bad.parse::<Delivery>().is_err(), "{bad}");
        }
    }
}
