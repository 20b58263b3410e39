//! Polling only what was woken.
//!
//! A task polls all that it consists of when any part is woken. On a connection that is every protocol for every packet,
//! several times over: yamux wakes the task that it runs in for each frame that it hands to a stream or takes from one. Most
//! of those polls find nothing to do, and where many nodes share a machine, what they look at is in no cache.
//!
//! yamux itself is polled always: to have it polled only when it was woken saved nothing that could be measured. (Whoever
//! does that must poll it once more after a stream was opened, as it wakes nobody to listen to that.)

mod behaviour;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

pub(super) use self::behaviour::OnWake;

/// The waker of one part of a task, which remembers whether it was woken.
pub(super) struct Alarm {
    state: Arc<State>,
    waker: Waker,
}

struct State {
    is_set: AtomicBool,
    task: AtomicWaker,
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Alarm {
    /// For a part that was never polled: its alarm is set.
    pub(super) fn new() -> Self {
        let state = Arc::new(State { is_set: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { waker: state.clone().into(), state }
    }

    /// Has the part polled next time, after something was done to it that it does not wake anybody for.
    pub(super) fn set(&self) {
        self.state.is_set.store(true, Ordering::Release);
    }

    /// Polls the part if it was woken since it was last pending.
    pub(super) fn poll<T>(&self, cx: &Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        // Before looking: who wakes it just then wakes this task.
        self.state.task.register(cx.waker());
        if !self.state.is_set.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let polled = poll(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            self.set();
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_woken_is_polled_and_its_task_is_woken() {
        let task = Arc::new(State { is_set: AtomicBool::new(false), task: AtomicWaker::new() });
        let task_waker = Waker::from(task.clone());
        let cx = &Context::from_waker(&task_waker);
        let alarm = Alarm::new();
        let poll = |answer: Poll<()>| {
            let mut inner = None;
            let polled = alarm.poll(cx, |cx| {
                inner = Some(cx.waker().clone());
                answer
            });
            (inner, polled)
        };
        assert!(poll(Poll::Ready(())).1.is_ready(), "it was never polled");
        let (inner, polled) = poll(Poll::Pending);
        assert!(inner.is_some() && polled.is_pending(), "after one thing there may be another");
        assert!(poll(Poll::Ready(())).0.is_none(), "nobody woke it");
        assert!(!task.is_set.load(Ordering::Acquire));
        inner.unwrap().wake();
        assert!(task.is_set.swap(false, Ordering::AcqRel));
        assert!(poll(Poll::Pending).0.is_some() && poll(Poll::Pending).0.is_none());
        alarm.set();
        assert!(poll(Poll::Pending).0.is_some());
        assert!(!task.is_set.load(Ordering::Acquire), "whoever sets it polls it anyway");
    }
}
