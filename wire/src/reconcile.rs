//! What peers say when they compare their pools.

use std::ops::RangeInclusive;

use bincode::{Decode, Encode};

use crate::{
    codec::BoundedVec,
    ids::{ShortId, TxId},
    limits::MAX_SYMBOLS,
    sketch::Symbol,
};

/// A part of all short ids: those whose first `bits` bits are `prefix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode)]
pub struct Slice {
    bits: u8,
    prefix: u16,
}

impl Slice {
    /// All ids.
    pub const ALL: Self = Self { bits: 0, prefix: 0 };

    /// Most bits of a prefix.
    pub const MAX_BITS: u8 = 16;

    /// The ids with a prefix; `None` if it has more than [`Self::MAX_BITS`] bits, or is too large for them.
    pub fn new(bits: u8, prefix: u16) -> Option<Self> {
        (bits <= Self::MAX_BITS && u32::from(prefix) >> bits == 0).then_some(Self { bits, prefix })
    }

    /// Its number of bits.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// The first and the last id that may be in it.
    pub fn range(self) -> RangeInclusive<ShortId> {
        let shift = 64 - u32::from(self.bits);
        let first = u64::from(self.prefix).checked_shl(shift).unwrap_or(0);
        let rest = u64::MAX.checked_shr(self.bits.into()).unwrap_or(0);
        ShortId(first.to_be_bytes())..=ShortId((first | rest).to_be_bytes())
    }

    /// Whether an id is in it.
    pub fn contains(self, id: &ShortId) -> bool {
        self.range().contains(id)
    }

    /// Its parts with so many bits more, in order; no more than [`Self::MAX_BITS`] in all.
    pub fn parts(self, more: u8) -> impl Iterator<Item = Self> {
        let bits = self.bits.saturating_add(more).min(Self::MAX_BITS);
        let more = bits - self.bits;
        (0..1_u32 << more).filter_map(move |low| {
            let prefix = u32::from(self.prefix) << more | low;
            Self::new(bits, u16::try_from(prefix).ok()?)
        })
    }
}

impl<Context> Decode<Context> for Slice {
    fn decode<D: bincode::de::Decoder<Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        let (bits, prefix) = (u8::decode(decoder)?, u16::decode(decoder)?);
        Self::new(bits, prefix).ok_or(bincode::error::DecodeError::Other("a slice whose prefix does not fit its bits"))
    }
}

bincode::impl_borrow_decode!(Slice);

/// What a set of transactions is, in short: equal for equal sets, and different for others unless somebody has taken pains
/// to find transactions that make it equal. It is cheap to keep up with a set that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Fingerprint {
    /// How many there are.
    pub count: u32,
    /// The sum of the last 16 bytes of their ids, each a little-endian number, modulo 2^128.
    pub sum: u128,
}

impl Fingerprint {
    /// That of one transaction.
    pub fn of(id: &TxId) -> Self {
        Self { count: 1, sum: u128::from_le_bytes(std::array::from_fn(|i| id.0[16 + i])) }
    }

    /// That of two sets without common transactions together.
    pub fn and(self, other: Self) -> Self {
        Self { count: self.count.wrapping_add(other.count), sum: self.sum.wrapping_add(other.sum) }
    }

    /// That of what is left of a set when some of its transactions are taken out.
    pub fn without(self, other: Self) -> Self {
        Self { count: self.count.wrapping_sub(other.count), sum: self.sum.wrapping_sub(other.sum) }
    }
}

/// See [`crate::Message::Digest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Digest {
    /// Drawn for this comparison. It salts the symbols, and answers name it.
    pub salt: u64,
    /// What is compared.
    pub slice: Slice,
    /// What the sender has in it.
    pub holds: Fingerprint,
    /// How many symbols it would like to have in the first answer, at most [`MAX_SYMBOLS`]; 0 if it knows nothing.
    pub wanted: u16,
}

/// See [`crate::Message::Sketch`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Sketch {
    /// That of the [`Digest`] which it answers.
    pub salt: u64,
    /// How many ids the sender has in the digest's slice.
    pub count: u32,
    /// The position of the first symbol.
    pub from: u32,
    /// Their symbols from there on. None at all if so much differs that the sender announces ids instead.
    pub symbols: BoundedVec<Symbol, MAX_SYMBOLS>,
}

/// See [`crate::Message::GetSymbols`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct GetSymbols {
    /// That of the [`Digest`] which began the comparison.
    pub salt: u64,
    /// The position of the first symbol that is wanted: how many the sender of this has.
    pub from: u32,
    /// How many, at least 1 and at most [`MAX_SYMBOLS`].
    pub count: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_of_a_set_however_it_came_about() {
        let of = |n: u8| Fingerprint::of(&TxId([n; 32]));
        let all = of(1).and(of(200)).and(of(255));
        assert_eq!(all, of(255).and(of(1)).and(of(7)).and(of(200)).without(of(7)));
        assert_eq!(all.without(of(200)), of(1).and(of(255)));
        assert_eq!((all.count, Fingerprint::default().count), (3, 0));
        let mut id = TxId([0; 32]);
        (id.0[16], id.0[31]) = (2, 1);
        assert_eq!(Fingerprint::of(&id).sum, 2 + (1 << 120));
    }

    #[test]
    fn slices_divide_all_ids() {
        assert_eq!(Slice::ALL.range(), ShortId([0; 8])..=ShortId([0xff; 8]));
        for bits in [0, 1, 5, 16] {
            let parts: Vec<Slice> = Slice::ALL.parts(bits).collect();
            assert_eq!(parts.len(), 1 << bits);
            for id in
                [0, 1, 0x8000_0000_0000_0000, 0x1234_5678_9abc_def0, u64::MAX].map(|n: u64| ShortId(n.to_be_bytes()))
            {
                assert_eq!(parts.iter().filter(|part| part.contains(&id)).count(), 1, "{bits} bits, {id}");
            }
        }
        let part = Slice::new(4, 0xa).unwrap();
        assert!(part.contains(&ShortId([0xab; 8])) && !part.contains(&ShortId([0xba; 8])));
        assert_eq!(part.parts(1).collect::<Vec<_>>(), [Slice::new(5, 0x14).unwrap(), Slice::new(5, 0x15).unwrap()]);
        assert_eq!(part.parts(100).count(), 1 << 12);
        assert!(Slice::new(17, 0).is_none() && Slice::new(0, 1).is_none() && Slice::new(15, 0x8000).is_none());
    }
}
