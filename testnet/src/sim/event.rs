//! What happens in the simulated world, and the order of what happens at one time.

/// Something that happens at one node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// The nodes that are to crash do.
    Crash,
    /// The halves lose each other, or find each other again.
    Partition { apart: bool },
    /// A link comes up at the end that a direction leads away from.
    Connect { arc: u32 },
    /// A link that was up in this generation goes down there.
    Cut { arc: u32, generation: u32 },
    /// A transaction enters.
    Submit { tx: u32 },
    /// A message arrives. `sequence` is its number on its way.
    Arrive { arc: u32, sequence: u32, flight: u32 },
    /// A node has checked a signature.
    Verified { node: u32 },
    /// A lane that was congested may be so no longer.
    Relief { arc: u32, generation: u32 },
    /// A node's deadline may have come.
    Timer { node: u32 },
}

/// Bits below an event's class: the direction's number, or the node's, and a sequence.
const CLASS: u32 = 59;

impl Event {
    /// The order of events at one time. It depends on what happens alone, and not on who put it into which queue when:
    /// so runs are equal over any number of threads.
    pub(super) fn order(&self) -> u64 {
        let (class, what, sequence) = match *self {
            Self::Crash => (0, 0, 0),
            Self::Partition { .. } => (1, 0, 0),
            Self::Connect { arc } => (2, arc, 0),
            Self::Cut { arc, generation } => (3, arc, generation),
            Self::Submit { tx } => (4, tx, 0),
            Self::Arrive { arc, sequence, .. } => (5, arc, sequence),
            Self::Verified { node } => (6, node, 0),
            Self::Relief { arc, generation } => (7, arc, generation),
            Self::Timer { node } => (8, node, 0),
        };
        class << CLASS | u64::from(what) << 32 | u64::from(sequence)
    }
}

/// Spreads the bits of a number over all 64: neighbouring numbers give unrelated ones. It serves for draws that belong to
/// a place rather than to a moment, and for digests.
///
/// Source: the finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// A number drawn from 0 to 1 that is decided by another one.
pub(super) fn share(number: u64) -> f64 {
    (mix(number) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_time_have_an_order_of_their_own() {
        let ordered = [
            Event::Crash,
            Event::Connect { arc: 3 },
            Event::Connect { arc: 4 },
            Event::Arrive { arc: 1, sequence: u32::MAX, flight: 9 },
            Event::Arrive { arc: 2, sequence: 0, flight: 1 },
            Event::Arrive { arc: 2, sequence: 1, flight: 0 },
            Event::Verified { node: 0 },
            Event::Timer { node: u32::MAX >> 5 },
        ];
        assert!(ordered.windows(2).all(|pair| pair[0].order() < pair[1].order()));
    }

    #[test]
    fn draws_are_spread_evenly() {
        let mut buckets = [0; 10];
        (0..100_000).for_each(|number| buckets[(share(number) * 10.0) as usize] += 1);
        assert!(buckets.iter().all(|count| (9_500..10_500).contains(count)), "{buckets:?}");
    }
}
