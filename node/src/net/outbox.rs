//! The queue of encoded frames between the engine's driver and a connection's task.
//!
//! Frames are appended to one buffer, and the connection writes as much of it as the stream takes: an idle link sends
//! at once, a busy one sends everything that gathered meanwhile with one write.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, BytesMut};
use starling_wire::Message;

use super::counters::{Counters, Flow};

/// Bytes queued from which on a link counts as congested. A few round trips' worth on a slow link; pushing into a
/// longer queue delays more than asking elsewhere.
const HIGH: usize = 256 * 1024;

/// Bytes queued from which on it no longer does.
const LOW: usize = 64 * 1024;

/// Bytes queued at most. A peer that lets more gather (it asks and does not read) is disconnected.
const MAX: usize = 4 << 20;

/// A buffer that grew larger than this is given back when it is empty.
const KEEP: usize = 16 * 1024;

#[derive(Debug, Default)]
struct State {
    buffer: BytesMut,
    congested: bool,
    closing: bool,
    said_goodbye: bool,
    waker: Option<Waker>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queued {
    /// It waits in line.
    Fine,
    /// It waits in line, and with it the link became congested.
    Congested,
    /// There is no room; the link is beyond help.
    Overflow,
}

/// One connection's queue; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    state: Arc<Mutex<State>>,
    counters: Arc<Counters>,
}

impl Outbox {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { state: Arc::default(), counters }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements, so a panic elsewhere does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a message.
    pub(super) fn push(&self, message: &Message) -> Queued {
        let mut state = self.lock();
        if state.closing {
            return Queued::Fine;
        }
        if state.buffer.len() > MAX {
            return Queued::Overflow;
        }
        let bytes = message.encode(&mut state.buffer);
        self.counters.frame(Flow::Out, message.kind(), bytes);
        state.said_goodbye |= matches!(message, Message::Goodbye(_));
        let waker = state.waker.take();
        let queued = if !state.congested && state.buffer.len() > HIGH {
            state.congested = true;
            Queued::Congested
        } else {
            Queued::Fine
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        queued
    }

    /// Takes no more messages; the connection ends when the queue is empty.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Whether the queue is closed and empty.
    pub(super) fn is_finished(&self) -> bool {
        let state = self.lock();
        state.closing && state.buffer.is_empty()
    }

    /// Whether the last message told the peer to hang up.
    pub(super) fn said_goodbye(&self) -> bool {
        self.lock().said_goodbye
    }

    /// Lets `write` take bytes off the front until it has no room or nothing is left. `Ready` with a count of zero
    /// says that nothing waited; the task is woken when something does.
    pub(super) fn poll_drain(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&mut Context<'_>, &[u8]) -> Poll<std::io::Result<usize>>,
    ) -> Poll<std::io::Result<usize>> {
        let mut state = self.lock();
        let mut written = 0;
        while !state.buffer.is_empty() {
            match write(cx, &state.buffer) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    state.buffer.advance(count);
                    written += count;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if state.buffer.is_empty() && state.buffer.capacity() > KEEP {
            state.buffer = BytesMut::new();
        }
        state.waker = Some(cx.waker().clone());
        if written == 0 && !state.buffer.is_empty() { Poll::Pending } else { Poll::Ready(Ok(written)) }
    }

    /// Whether the link was congested and no longer is; says so once.
    pub(super) fn take_relief(&self) -> bool {
        let mut state = self.lock();
        let relief = state.congested && state.buffer.len() < LOW;
        state.congested &= !relief;
        relief
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_wire::{BoundedVec, ShortId, limits::MAX_IDS};

    fn big() -> Message {
        Message::IHave(BoundedVec::new(vec![ShortId([0; 8]); MAX_IDS]).unwrap())
    }

    #[test]
    fn congestion_is_told_once_each_way_and_the_queue_is_bounded() {
        let outbox = Outbox::new(Arc::default());
        let mut told = 0;
        let queued = loop {
            match outbox.push(&big()) {
                Queued::Fine => {}
                Queued::Congested => told += 1,
                Queued::Overflow => break outbox.lock().buffer.len(),
            }
        };
        assert_eq!(told, 1);
        assert!(queued <= MAX + 16 * 1024);
        assert!(!outbox.take_relief());
        let cx = &mut Context::from_waker(Waker::noop());
        let drained = outbox.poll_drain(cx, |_, bytes| Poll::Ready(Ok(bytes.len().min(1000))));
        assert!(matches!(drained, Poll::Ready(Ok(bytes)) if bytes == queued));
        assert!(outbox.take_relief() && !outbox.take_relief());
        assert_eq!(outbox.push(&big()), Queued::Fine);
        outbox.close();
        assert!(!outbox.is_finished());
        assert!(outbox.poll_drain(cx, |_, _| Poll::Pending).is_pending());
        assert!(outbox.poll_drain(cx, |_, bytes| Poll::Ready(Ok(bytes.len()))).is_ready());
        assert!(outbox.is_finished());
    }
}
