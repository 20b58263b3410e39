//! A comparison that this node began: what it asks for next.

use starling_mempool::Mempool;
use starling_wire::{
    Sketch, Slice,
    sketch::{Decoder, Difference, Progress},
};

use super::{LONGEST, MAX_SESSION, PATIENCE, SILENCE, Time};

/// What follows from an answer.
#[derive(Debug)]
pub(super) enum Next {
    /// So many more symbols are to be asked for.
    Ask(u16),
    /// The difference is known.
    Done(Difference),
    /// About so much differs, or is to be compared: too much for one sketch.
    Divide(usize),
    /// It is not what was asked for.
    Unasked,
    /// No set has such symbols.
    Impossible,
}

/// One comparison.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) salt: u64,
    pub(super) slice: Slice,
    since: Time,
    /// When it last asked for something.
    last: Time,
    /// From the first answer on.
    decoder: Option<Decoder>,
    /// How many symbols must come; the first answer says itself how many it has.
    expected: Option<usize>,
}

impl Asking {
    /// A digest was sent. Its answer says how much the pools differ, and so how many symbols it has.
    pub(super) fn new(now: Time, salt: u64, slice: Slice) -> Self {
        Self { salt, slice, since: now, last: now, decoder: None, expected: None }
    }

    /// Whether an answer can still be hoped for. Equal pools give none.
    pub(super) fn is_going_on(&self, now: Time) -> bool {
        let patience = if self.decoder.is_some() { PATIENCE } else { SILENCE };
        now - self.last < patience && now - self.since < LONGEST
    }

    /// Symbols taken in so far.
    pub(super) fn taken(&self) -> usize {
        self.decoder.as_ref().map_or(0, Decoder::taken)
    }

    /// Takes in an answer.
    pub(super) fn add(&mut self, now: Time, sketch: &Sketch, pool: &Mempool) -> Next {
        let count = sketch.count as usize;
        let is_expected = self.expected.is_none_or(|expected| sketch.symbols.len() == expected);
        if sketch.from as usize != self.taken() || !is_expected {
            return Next::Unasked;
        }
        self.last = now;
        if sketch.symbols.is_empty() {
            // It announces its best instead, and those alone are few.
            return Next::Divide(count);
        }
        let ids = || pool.short_ids(self.slice.range());
        let decoder = self.decoder.get_or_insert_with(|| Decoder::new(self.salt, ids(), count));
        match decoder.add(&sketch.symbols) {
            Progress::Broken => Next::Impossible,
            Progress::Done => {
                let decoder = self.decoder.take();
                Next::Done(decoder.map(Decoder::into_difference).unwrap_or_default())
            }
            Progress::More => {
                let (taken, estimate, more) = (decoder.taken(), decoder.estimate(), decoder.wanted());
                if estimate > MAX_SESSION / 2 || taken + more > MAX_SESSION {
                    return Next::Divide(estimate.max(taken / 2));
                }
                self.expected = Some(more);
                Next::Ask(more as u16)
            }
        }
    }
}
