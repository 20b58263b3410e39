//! A comparison that this node began: what it asks for next.

use starling_mempool::Mempool;
use starling_wire::{
    Sketch, Slice,
    limits::MAX_SYMBOLS,
    sketch::{Decoder, Difference, Progress},
};

use super::{FIRST_SYMBOLS, MAX_SESSION, Time};

/// Least symbols asked for at a time.
const LEAST: usize = 8;

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
    pub(super) since: Time,
    /// From the first answer on.
    decoder: Option<Decoder>,
    /// How many symbols may come at most.
    expected: usize,
}

impl Asking {
    /// A digest was sent. Its answer says how much the pools differ, and so how many symbols it has.
    pub(super) fn new(now: Time, salt: u64, slice: Slice) -> Self {
        Self { salt, slice, since: now, decoder: None, expected: MAX_SYMBOLS }
    }

    /// Whether there was an answer.
    pub(super) fn is_answered(&self) -> bool {
        self.decoder.is_some()
    }

    /// Symbols taken in so far.
    pub(super) fn taken(&self) -> usize {
        self.decoder.as_ref().map_or(0, Decoder::taken)
    }

    /// Takes in an answer.
    pub(super) fn add(&mut self, sketch: &Sketch, pool: &Mempool) -> Next {
        let count = sketch.count as usize;
        if sketch.from as usize != self.taken() || sketch.symbols.len() > self.expected {
            return Next::Unasked;
        }
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
                let (taken, estimate) = (decoder.taken(), decoder.estimate());
                let more = further(taken, estimate);
                if estimate > MAX_SESSION / 2 || taken + more > MAX_SESSION {
                    return Next::Divide(estimate.max(taken / 2));
                }
                self.expected = more;
                Next::Ask(more as u16)
            }
        }
    }
}

/// How many symbols to ask for after `taken` that were too few, where about so many ids differ. The first guess is kept
/// low, as what comes too much is wasted; from then on it grows by an eighth at a time.
fn further(taken: usize, estimate: usize) -> usize {
    let guess = if taken <= 4 * FIRST_SYMBOLS { (estimate * 11 / 10).saturating_sub(taken) } else { 0 };
    guess.max(taken / 8).clamp(LEAST, MAX_SYMBOLS)
}
