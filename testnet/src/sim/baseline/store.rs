//! What every model keeps: its links, what it has, and who else has it.

use std::collections::VecDeque;

use super::{
    super::relay::{Action, Cx},
    Packet,
};

/// What a node knows of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Checking,
    Had,
}

/// Links that are up, transactions, and which neighbours are known to have them.
#[derive(Debug)]
pub(super) struct Store {
    up: Vec<bool>,
    outgoing: Vec<bool>,
    states: Vec<State>,
    /// A bit for each slot.
    known: Vec<u64>,
    /// Signatures being checked, oldest first, and who brought them.
    checking: VecDeque<(u32, Option<usize>)>,
}

impl Store {
    pub(super) fn new(txs: usize, degree: usize) -> Self {
        Self {
            up: vec![false; degree],
            outgoing: vec![false; degree],
            states: vec![State::Unknown; txs],
            known: vec![0; txs],
            checking: VecDeque::new(),
        }
    }

    pub(super) fn connected(&mut self, slot: usize, outgoing: bool) {
        self.up[slot] = true;
        self.outgoing[slot] = outgoing;
    }

    pub(super) fn disconnected(&mut self, slot: usize) {
        self.up[slot] = false;
    }

    /// The links that are up.
    pub(super) fn links(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.up.len()).filter(|slot| self.up[*slot])
    }

    pub(super) fn is_up(&self, slot: usize) -> bool {
        self.up[slot]
    }

    pub(super) fn is_outgoing(&self, slot: usize) -> bool {
        self.outgoing[slot]
    }

    /// Takes a copy, from a neighbour or the node's user; says whether it is the first, which is then checked.
    pub(super) fn receive(&mut self, cx: &mut Cx<'_, Packet>, tx: u32, from: Option<usize>) -> bool {
        if let Some(slot) = from {
            cx.carries(tx);
            self.note(tx, slot);
        }
        let state = &mut self.states[tx as usize];
        if *state != State::Unknown {
            return false;
        }
        *state = State::Checking;
        self.checking.push_back((tx, from));
        cx.act(Action::Verify);
        true
    }

    /// The oldest check is done: the transaction is delivered.
    pub(super) fn verified(&mut self, cx: &mut Cx<'_, Packet>) -> Option<(u32, Option<usize>)> {
        let (tx, from) = self.checking.pop_front()?;
        self.states[tx as usize] = State::Had;
        cx.act(Action::Delivered { tx });
        Some((tx, from))
    }

    /// Whether a copy came, checked or not.
    pub(super) fn has_seen(&self, tx: u32) -> bool {
        self.states[tx as usize] != State::Unknown
    }

    /// Whether it can be passed on.
    pub(super) fn has(&self, tx: u32) -> bool {
        self.states[tx as usize] == State::Had
    }

    /// Notes that a neighbour has it, or is sent it.
    pub(super) fn note(&mut self, tx: u32, slot: usize) {
        self.known[tx as usize] |= 1 << slot;
    }

    pub(super) fn is_known_to(&self, tx: u32, slot: usize) -> bool {
        self.known[tx as usize] & (1 << slot) != 0
    }

    /// The links that are up to neighbours not known to have it.
    pub(super) fn lacking(&self, tx: u32) -> Vec<usize> {
        self.links().filter(|slot| !self.is_known_to(tx, *slot)).collect()
    }
}
