//! Whether something may come in from a node now.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use libp2p::PeerId;

/// The parts that nodes are in.
#[derive(Debug)]
pub(super) struct Parts {
    here: PeerId,
    /// Saves a lock for each read while there is but one part.
    is_whole: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The nodes of one part; `None` if the testnet is whole.
    side: Option<BTreeSet<PeerId>>,
    /// Who waits for the parts to change: one for each connection that has something to read.
    waiting: Vec<Waker>,
}

impl Parts {
    /// One part.
    pub(super) fn new(here: PeerId) -> Self {
        Self { here, is_whole: AtomicBool::new(true), state: Mutex::default() }
    }

    /// Cuts the nodes of `side` off from all others, or nobody.
    pub(super) fn set(&self, side: Option<BTreeSet<PeerId>>) {
        let mut state = self.state();
        if state.side == side {
            return;
        }
        self.is_whole.store(side.is_none(), Ordering::Release);
        state.side = side;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements, so a panic elsewhere does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What lies between this node and one other.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    parts: Arc<Parts>,
    peer: PeerId,
}

impl Gate {
    pub(super) fn new(parts: Arc<Parts>, peer: PeerId) -> Self {
        Self { parts, peer }
    }

    /// Whether both are in the same part.
    pub(super) fn is_open(&self) -> bool {
        self.parts.is_whole.load(Ordering::Acquire) || self.lets_through(&self.parts.state())
    }

    /// Ready while both are in the same part.
    pub(super) fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        if self.parts.is_whole.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let mut state = self.parts.state();
        if self.lets_through(&state) {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lets_through(&self, state: &State) -> bool {
        state.side.as_ref().is_none_or(|side| side.contains(&self.peer) == side.contains(&self.parts.here))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_other_part_is_shut_out() {
        let [here, near, far] = [(); 3].map(|()| PeerId::random());
        let parts = Arc::new(Parts::new(here));
        let open = || [near, far].map(|peer| Gate::new(parts.clone(), peer).is_open());
        assert_eq!(open(), [true, true]);
        for side in [BTreeSet::from([here, near]), BTreeSet::from([far])] {
            parts.set(Some(side));
            assert_eq!(open(), [true, false]);
        }
        parts.set(None);
        assert_eq!(open(), [true, true]);
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_the_parts_are_joined() {
        let (here, far) = (PeerId::random(), PeerId::random());
        let parts = Arc::new(Parts::new(here));
        let gate = Gate::new(parts.clone(), far);
        parts.set(Some(BTreeSet::from([far])));
        let noop = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(gate.poll_open(&noop).is_pending());
        }
        assert_eq!(parts.state().waiting.len(), 1, "once for each task");
        let waiting = tokio::spawn(std::future::poll_fn(move |cx| gate.poll_open(cx)));
        while parts.state().waiting.len() < 2 {
            tokio::task::yield_now().await;
        }
        parts.set(None);
        waiting.await.unwrap();
    }
}
