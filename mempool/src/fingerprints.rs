//! What a pool holds, in short, kept up to date with each change: so that comparing two pools costs next to nothing while
//! they are equal.

use starling_wire::{Fingerprint, ShortId, Slice, TxId};

/// Bits of an id that tell which part it is in. More make more slices known without looking at ids, and take memory: 32
/// bytes for each part. Slices of more bits have few ids in any pool.
pub(crate) const BITS: u8 = 6;

/// Fingerprints of everything and of the parts with equal first bits.
#[derive(Debug)]
pub(crate) struct Fingerprints {
    all: Fingerprint,
    parts: [Fingerprint; 1 << BITS],
}

impl Default for Fingerprints {
    fn default() -> Self {
        Self { all: Fingerprint::default(), parts: [Fingerprint::default(); 1 << BITS] }
    }
}

impl Fingerprints {
    /// A transaction came.
    pub(crate) fn add(&mut self, id: &TxId) {
        self.change(id, Fingerprint::and);
    }

    /// A transaction that had come left.
    pub(crate) fn remove(&mut self, id: &TxId) {
        self.change(id, Fingerprint::without);
    }

    /// That of a slice; `None` if it is narrower than the parts.
    pub(crate) fn of(&self, slice: Slice) -> Option<Fingerprint> {
        if slice == Slice::ALL {
            return Some(self.all);
        }
        let (first, last) = slice.range().into_inner();
        let parts = (slice.bits() <= BITS).then(|| &self.parts[part(&first)..=part(&last)])?;
        Some(parts.iter().copied().fold(Fingerprint::default(), Fingerprint::and))
    }

    fn change(&mut self, id: &TxId, how: fn(Fingerprint, Fingerprint) -> Fingerprint) {
        let (one, part) = (Fingerprint::of(id), &mut self.parts[part(&id.short())]);
        (self.all, *part) = (how(self.all, one), how(*part, one));
    }
}

fn part(id: &ShortId) -> usize {
    usize::from(id.0[0] >> (8 - BITS))
}
