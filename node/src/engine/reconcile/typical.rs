//! How much neighbours' pools differ lately, and so how many symbols a comparison is likely to need.

use starling_wire::{Slice, limits::MAX_SYMBOLS, sketch::enough_for};

/// Ids that differ between this node's whole pool and a neighbour's, as comparisons of late have found it: the mean of what
/// the last one found and what was typical before.
///
/// A round trip costs some 150 bytes and two wake-ups, besides the time; a symbol too many costs 12 bytes. So it pays to ask
/// at once for what is mostly needed. A large difference that stays alone makes later comparisons ask for too much, but for
/// half as much each time: for no more in all than it took itself.
#[derive(Debug, Default)]
pub(super) struct Typical(usize);

impl Typical {
    /// A comparison of a slice has found so many ids that differ. They are no more than the symbols it took, so that they
    /// are few enough to reckon with.
    pub(super) fn found(&mut self, slice: Slice, differing: usize) {
        self.0 = (self.0 + (differing << slice.bits())) / 2;
    }

    /// Symbols to wish for in the first answer about a slice, at most [`MAX_SYMBOLS`]; 0 where nothing is known to differ.
    pub(super) fn symbols(&self, slice: Slice) -> u16 {
        enough_for(self.0 >> slice.bits()).min(MAX_SYMBOLS) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_every_time_is_soon_reckoned_with() {
        let mut typical = Typical::default();
        assert_eq!(typical.symbols(Slice::ALL), 0);
        (0..8).for_each(|_| typical.found(Slice::ALL, 200));
        assert_eq!(usize::from(typical.symbols(Slice::ALL)), enough_for(199));
        typical.found(Slice::ALL, 100_000);
        assert_eq!(usize::from(typical.symbols(Slice::ALL)), MAX_SYMBOLS);
    }

    #[test]
    fn what_differed_once_is_soon_forgotten() {
        let mut typical = Typical::default();
        typical.found(Slice::ALL, 512);
        let mut in_vain = 0;
        while typical.symbols(Slice::ALL) > 0 {
            in_vain += usize::from(typical.symbols(Slice::ALL));
            typical.found(Slice::ALL, 0);
        }
        assert!(in_vain < enough_for(512) * 5 / 4, "{in_vain}");
    }

    #[test]
    fn a_slice_has_its_share() {
        let slice = Slice::new(3, 5).unwrap();
        let mut typical = Typical::default();
        (0..8).for_each(|_| typical.found(slice, 25));
        assert_eq!(usize::from(typical.symbols(Slice::ALL)), enough_for(199));
        assert_eq!(usize::from(typical.symbols(slice)), enough_for(24));
    }
}
