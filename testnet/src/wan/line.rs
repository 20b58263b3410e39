//! Bytes under way: one end of a link, and the lines of its streams.

use std::{
    collections::VecDeque,
    io::{self, Read},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use crate::map::{Lane, Rate, link::jittered};

/// Bytes under way on one stream at most. Beyond it nothing is taken from the connection, whose flow control then slows
/// the sender down (after 256 KiB more, yamux' first window). A stream that is full all the time carries this much per
/// way: more than 20 Mbit/s do over any way of up to 400 ms, which is twice the longest on earth.
pub(super) const MAX_UNDER_WAY: usize = 1 << 20;

/// A buffer that grew larger than this is given back when it is empty.
const KEEP: usize = 16 * 1024;

/// The incoming direction of a connection; its streams share it.
#[derive(Debug)]
pub(super) struct Link {
    start: Instant,
    delay_us: u32,
    rate: Rate,
    lane: Mutex<(Lane, ChaCha8Rng)>,
}

/// Gives each link other jitter. It depends on the order in which links come up and is no more repeatable than they are.
static LINKS: AtomicU64 = AtomicU64::new(0);

impl Link {
    /// An idle link of so many microseconds.
    pub(super) fn new(delay_us: u32, rate: Rate) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(LINKS.fetch_add(1, Ordering::Relaxed));
        Self { start: Instant::now(), delay_us, rate, lane: Mutex::new((Lane::default(), rng)) }
    }

    /// Microseconds since the link came up, rounded down.
    pub(super) fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// A time of [`Self::now`].
    pub(super) fn instant(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }

    /// When something of so many bytes that was sent just now comes out; never before what was sent earlier.
    pub(super) fn arrival(&self, bytes: usize) -> u64 {
        // The state is consistent between any two statements, so a panic elsewhere does no harm.
        let (lane, rng) = &mut *self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        // Rounded up, so that nothing comes out too early.
        lane.send(self.now() + 1, bytes as u64, jittered(self.delay_us, rng.random()), self.rate)
    }
}

/// What is under way on one stream: first in, first out.
#[derive(Debug, Default)]
pub(super) struct Line {
    bytes: VecDeque<u8>,
    /// When each chunk of `bytes` comes out, and its length.
    chunks: VecDeque<(u64, usize)>,
    /// When the stream ends and how; behind all chunks.
    end: Option<(u64, Result<(), io::ErrorKind>)>,
}

impl Line {
    /// How many bytes more may be put in.
    pub(super) fn room(&self) -> usize {
        if self.end.is_some() { 0 } else { MAX_UNDER_WAY.saturating_sub(self.bytes.len()) }
    }

    /// Puts a chunk in, no longer than there is room for.
    pub(super) fn push(&mut self, arrival: u64, bytes: &[u8]) {
        self.bytes.extend(bytes);
        match self.chunks.back_mut() {
            Some((last, len)) if *last == arrival => *len += bytes.len(),
            _ => self.chunks.push_back((arrival, bytes.len())),
        }
    }

    /// Nothing more comes: the stream was closed, or has failed.
    pub(super) fn end(&mut self, arrival: u64, how: Result<(), io::ErrorKind>) {
        self.end = Some((arrival, how));
    }

    /// When there is something to take; `None` if nothing is under way.
    pub(super) fn due(&self) -> Option<u64> {
        self.chunks.front().map(|(due, _)| *due).or(self.end.as_ref().map(|(due, _)| *due))
    }

    /// Takes what has come out by a time, which must be no earlier than [`Self::due`], as far as the buffer has room.
    /// Gives 0, or the error, at the end and ever after.
    pub(super) fn take(&mut self, now: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while let Some((_, len)) = self.chunks.front_mut().filter(|(due, _)| *due <= now)
            && count < buffer.len()
        {
            let part = (*len).min(buffer.len() - count);
            *len -= part;
            count += part;
            if *len == 0 {
                self.chunks.pop_front();
            }
        }
        self.bytes.read_exact(&mut buffer[..count])?;
        if self.bytes.is_empty() && self.bytes.capacity() > KEEP {
            self.bytes = VecDeque::new();
        }
        match &self.end {
            Some((_, Err(kind))) if count == 0 => Err((*kind).into()),
            _ => Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_when_they_are_due() {
        let mut line = Line::default();
        assert_eq!(line.due(), None);
        line.push(10, b"abc");
        line.push(10, b"d");
        line.push(20, b"efgh");
        let mut buffer = [0; 3];
        let mut take = |line: &mut Line, now| line.take(now, &mut buffer).map(|count| buffer[..count].to_vec());
        assert_eq!((line.due(), take(&mut line, 15).unwrap()), (Some(10), b"abc".to_vec()));
        assert_eq!((line.due(), take(&mut line, 15).unwrap()), (Some(10), b"d".to_vec()), "no more than is due");
        assert_eq!((line.due(), take(&mut line, 20).unwrap()), (Some(20), b"efg".to_vec()));
        line.end(30, Err(io::ErrorKind::ConnectionReset));
        assert_eq!(line.room(), 0);
        assert_eq!((line.due(), take(&mut line, 25).unwrap()), (Some(20), b"h".to_vec()));
        assert_eq!(line.due(), Some(30));
        for _ in 0..2 {
            assert_eq!(take(&mut line, 30).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    }

    #[test]
    fn a_line_is_full_at_its_bound_and_gives_memory_back() {
        let mut line = Line::default();
        let chunk = vec![7; 64 * 1024];
        while line.room() > 0 {
            line.push(1, &chunk);
        }
        assert_eq!((line.bytes.len(), line.chunks.len()), (MAX_UNDER_WAY, 1));
        let mut buffer = vec![0; MAX_UNDER_WAY];
        assert_eq!(line.take(1, &mut buffer).unwrap(), MAX_UNDER_WAY);
        assert_eq!((line.room(), line.bytes.capacity()), (MAX_UNDER_WAY, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn links_are_as_slow_as_they_should_be_and_keep_the_order() {
        // One byte takes a microsecond.
        let link = Link::new(50_000, Rate::mbit(8.0));
        let first = link.arrival(1_000);
        assert!((51_000..=53_502).contains(&first), "{first}");
        let mut last = first;
        for sent in 2..200 {
            let next = link.arrival(1_000);
            assert!(next >= last && next >= sent * 1_000 + 50_000 && next <= sent * 1_000 + 52_502, "{sent}: {next}");
            last = next;
        }
        let end = link.arrival(0);
        assert!(end >= last, "an end overtakes nothing");
    }
}
