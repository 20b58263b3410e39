//! Set differences at a cost that depends on the difference alone: a rateless invertible Bloom lookup table.
//!
//! Source: Yang, Gilad, Alizadeh, "Practical Rateless Set Reconciliation" (SIGCOMM 2024). Each id of a set is mixed into
//! coded [`Symbol`]s 0, 1, 2, …, into the first always and into symbol `i` with probability 1/(1 + i/2). Symbols of two
//! sets, subtracted from each other, are those of their difference; one in which a single id is left gives it away, and
//! taken out of all others leaves more such symbols. Some 1.35 symbols for each differing id are enough for many, 1.7 for
//! few. Which symbols an id is mixed into depends on a salt drawn for each comparison, so that nobody can prepare ids
//! that do not come apart.
//!
//! All arithmetic is on integers and on correctly rounded binary64 numbers, so that every machine makes the same symbols.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};
use siphasher::sip::SipHasher24;

use crate::{ids::ShortId, limits::MAX_SYMBOLS};

/// The second half of the key that salts are completed with.
const SALT_KEY: u64 = u64::from_le_bytes(*b"starling");

/// What is mixed into one position of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Symbol {
    /// Exclusive or of the ids.
    pub sum: [u8; 8],
    /// Exclusive or of the first bytes of their salted hashes. With the count, the position and what the decoder has
    /// itself it mistakes several ids for one less often than once in 2^24 times.
    pub check: [u8; 3],
    /// How many there are, modulo 256.
    pub count: u8,
}

impl Symbol {
    /// Bytes of an encoded symbol.
    pub const BYTES: usize = 12;

    fn mix(&mut self, id: ShortId, hash: u64, count: u8) {
        self.sum.iter_mut().zip(id.0).for_each(|(sum, byte)| *sum ^= byte);
        self.check.iter_mut().zip(check(hash)).for_each(|(check, byte)| *check ^= byte);
        self.count = self.count.wrapping_add(count);
    }

    /// What is left of the difference of two sets: ids of `self`'s set alone count 1, of the other's -1.
    fn minus(mut self, other: &Self) -> Self {
        self.sum.iter_mut().zip(other.sum).for_each(|(sum, byte)| *sum ^= byte);
        self.check.iter_mut().zip(other.check).for_each(|(check, byte)| *check ^= byte);
        self.count = self.count.wrapping_sub(other.count);
        self
    }
}

/// How an id is spread under a salt.
fn hash(salt: u64, id: ShortId) -> u64 {
    SipHasher24::new_with_keys(salt, SALT_KEY).hash(&id.0)
}

fn check(hash: u64) -> [u8; 3] {
    let [first, second, third, ..] = hash.to_be_bytes();
    [first, second, third]
}

/// The positions of one id, in order: 0 and then those that its hash leads to.
#[derive(Debug, Clone, Copy)]
struct Positions {
    state: u64,
    next: u64,
}

impl Positions {
    fn new(hash: u64) -> Self {
        Self { state: hash, next: 0 }
    }

    /// Goes on to the next position: a leap whose length has the distribution of the paper, section 4.2.
    fn advance(&mut self) {
        self.state = self.state.wrapping_mul(0xda94_2042_e4dd_58b5);
        let leap = (self.next as f64 + 1.5) * (4_294_967_296.0 / (self.state as f64 + 1.0).sqrt() - 1.0);
        // A conversion of too large a number gives the largest there is.
        self.next = self.next.saturating_add((leap.ceil() as u64).max(1));
    }

    /// Whether a position is one of those left.
    fn contain(mut self, position: u64) -> bool {
        let mut last = None;
        self.below(position.saturating_add(1), |at| last = Some(at));
        last == Some(position)
    }

    /// Gives the positions below `end` that are left.
    fn below(&mut self, end: u64, mut each: impl FnMut(u64)) {
        while self.next < end {
            each(self.next);
            self.advance();
        }
    }
}

/// One id with the positions it has not been mixed into yet.
#[derive(Debug, Clone, Copy)]
struct Item {
    id: ShortId,
    hash: u64,
    positions: Positions,
}

impl Item {
    fn new(salt: u64, id: ShortId) -> Self {
        let hash = hash(salt, id);
        Self { id, hash, positions: Positions::new(hash) }
    }
}

/// Makes the symbols of a set, one batch after another. Keeps 32 bytes for each id.
#[derive(Debug)]
pub struct Encoder {
    items: Vec<Item>,
    made: u64,
}

impl Encoder {
    /// The symbols of these ids, each given once.
    pub fn new(salt: u64, ids: impl IntoIterator<Item = ShortId>) -> Self {
        Self { items: ids.into_iter().map(|id| Item::new(salt, id)).collect(), made: 0 }
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Symbols made so far.
    pub fn made(&self) -> usize {
        self.made as usize
    }

    /// The next symbols. Looks at every id once.
    pub fn next_symbols(&mut self, count: usize) -> Vec<Symbol> {
        let (start, end) = (self.made, self.made + count as u64);
        let mut symbols = vec![Symbol::default(); count];
        for Item { id, hash, positions } in &mut self.items {
            positions.below(end, |at| symbols[(at - start) as usize].mix(*id, *hash, 1));
        }
        self.made = end;
        symbols
    }
}

/// Symbols that are mostly enough for so many differing ids: for 20 three times in four, for 200 nine times in ten, and more
/// often for more. Some 1.36 are needed for each and 0.8 times the root, give or take the root (measured from 5 to 2,000).
pub fn enough_for(differing: usize) -> usize {
    differing.saturating_mul(11) / 8 + 2 * differing.isqrt()
}

/// How far a [`Decoder`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The difference is known.
    Done,
    /// More symbols are needed.
    More,
    /// The symbols are not those of any set: more would not help.
    Broken,
}

/// The difference of two sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// What only this node has.
    pub ours: Vec<ShortId>,
    /// What only the other node has.
    pub theirs: Vec<ShortId>,
}

/// Finds the difference between a set of this node and another node's, of which it gets the symbols.
///
/// The work is bounded by the symbols taken in, whatever they are: no more ids are taken out than there are symbols, and
/// none twice.
#[derive(Debug)]
pub struct Decoder {
    own: Encoder,
    salt: u64,
    /// What the ids found so far do not explain.
    symbols: Vec<Symbol>,
    /// Those, each with what takes it out of the count of a symbol.
    found: Vec<(Item, u8)>,
    seen: BTreeSet<ShortId>,
    difference: Difference,
    /// Ids that the other set has more than this one, as it says.
    surplus: i64,
    /// See [`Self::estimate`].
    spread: f64,
    broken: bool,
}

impl Decoder {
    /// A comparison of these ids with a set that has `size` ids, as its owner says, under the salt of its symbols.
    pub fn new(salt: u64, ids: impl IntoIterator<Item = ShortId>, size: usize) -> Self {
        let mut own = Encoder::new(salt, ids);
        own.items.sort_unstable_by_key(|item| item.id);
        Self {
            surplus: size as i64 - own.len() as i64,
            own,
            salt,
            symbols: Vec::new(),
            found: Vec::new(),
            seen: BTreeSet::new(),
            difference: Difference::default(),
            spread: 0.0,
            broken: false,
        }
    }

    /// Symbols taken in so far.
    pub fn taken(&self) -> usize {
        self.symbols.len()
    }

    /// About how many ids differ: how much the counts of symbols differ from what the surplus alone would make of them is
    /// the sum of as many draws (as in the sketch of Alon, Matias and Szegedy, 1996). Each symbol says as much as any
    /// other, so that the standard error after n symbols is √(2/n) of the difference: 35 % after 16, 9 % after 256.
    pub fn estimate(&self) -> usize {
        // All ids are in the first symbol, which says no more than the surplus.
        let draws = self.taken().saturating_sub(1).max(1);
        self.surplus.unsigned_abs().max((self.spread / draws as f64) as u64) as usize
    }

    /// How many symbols to ask for next, 1 to [`MAX_SYMBOLS`]: what is enough if the difference is less than the estimate by
    /// some 0.7 standard errors, as what comes too much is wasted and what lacks can still be asked for. Once that is there
    /// it goes on in steps that grow with the root of what was taken, as the error of [`enough_for`] does; so that not even
    /// symbols that never come apart are asked for more than 64 times before there are 4,096.
    pub fn wanted(&self) -> usize {
        let (taken, estimate) = (self.taken(), self.estimate());
        let least = estimate - estimate / taken.isqrt().max(1);
        enough_for(least).saturating_sub(taken).max(2 * taken.isqrt()).clamp(1, MAX_SYMBOLS)
    }

    /// Takes in the other node's next symbols.
    pub fn add(&mut self, theirs: &[Symbol]) -> Progress {
        let start = self.symbols.len();
        let ours = self.own.next_symbols(theirs.len());
        for (symbol, own) in theirs.iter().zip(&ours) {
            let rest = symbol.minus(own);
            self.weigh(self.symbols.len(), rest.count);
            self.symbols.push(rest);
        }
        let (end, symbols) = (self.symbols.len() as u64, &mut self.symbols);
        for (Item { id, hash, positions }, out) in &mut self.found {
            positions.below(end, |at| symbols[at as usize].mix(*id, *hash, *out));
        }
        self.peel((start..end as usize).collect());
        if self.broken {
            Progress::Broken
        } else if self.symbols.iter().all(|symbol| *symbol == Symbol::default()) {
            Progress::Done
        } else {
            Progress::More
        }
    }

    /// The difference, as far as it is known.
    pub fn into_difference(self) -> Difference {
        self.difference
    }

    fn weigh(&mut self, at: usize, count: u8) {
        let share = 1.0 / (1.0 + at as f64 / 2.0);
        let expected = (self.surplus as f64 * share).round() as i64;
        let rest = f64::from((i64::from(count) - expected) as i8);
        self.spread += if at == 0 { 0.0 } else { rest * rest / (share * (1.0 - share)) };
    }

    /// Takes ids out of symbols that have only one left, starting with those at some positions.
    fn peel(&mut self, mut open: Vec<usize>) {
        while let Some(at) = open.pop() {
            let symbol = self.symbols[at];
            let id = ShortId(symbol.sum);
            if !matches!(symbol.count, 1 | u8::MAX) || symbol.check != check(hash(self.salt, id)) {
                continue;
            }
            let mut item = Item::new(self.salt, id);
            if !item.positions.contain(at as u64) {
                continue;
            }
            let is_ours = symbol.count == u8::MAX;
            let have = self.own.items.binary_search_by_key(&id, |item| item.id).is_ok();
            if have != is_ours || self.found.len() == self.symbols.len() || !self.seen.insert(id) {
                self.broken = true;
                return;
            }
            if is_ours {
                self.difference.ours.push(id)
            } else {
                self.difference.theirs.push(id)
            }
            let (hash, out, symbols) = (item.hash, symbol.count.wrapping_neg(), &mut self.symbols);
            item.positions.below(symbols.len() as u64, |at| {
                symbols[at as usize].mix(id, hash, out);
                open.push(at as usize);
            });
            self.found.push((item, out));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> ShortId {
        // Ids are parts of hashes.
        ShortId(blake3::hash(&number.to_le_bytes()).as_bytes()[..8].try_into().unwrap())
    }

    fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<ShortId> {
        numbers.into_iter().map(id).collect()
    }

    /// Compares two sets in batches of `step`; gives the difference and the symbols it took.
    fn compare(salt: u64, ours: &[ShortId], theirs: &[ShortId], step: usize) -> (Difference, usize) {
        let mut encoder = Encoder::new(salt, theirs.iter().copied());
        let mut decoder = Decoder::new(salt, ours.iter().copied(), theirs.len());
        loop {
            match decoder.add(&encoder.next_symbols(step)) {
                Progress::Done => break,
                Progress::More => assert!(decoder.taken() < 20 * (ours.len() + theirs.len() + 10), "it never ends"),
                Progress::Broken => panic!("honest symbols"),
            }
        }
        let taken = decoder.taken();
        (decoder.into_difference(), taken)
    }

    fn sorted(mut ids: Vec<ShortId>) -> Vec<ShortId> {
        ids.sort_unstable();
        ids
    }

    proptest! {
        #[test]
        fn any_two_sets_in_any_order_are_told_apart(
            salt: u64,
            common in proptest::collection::btree_set(0..5_000u64, 0..300),
            ours in proptest::collection::btree_set(5_000..10_000u64, 0..60),
            theirs in proptest::collection::btree_set(10_000..15_000u64, 0..60),
            step in 1..40usize,
        ) {
            let mine: Vec<u64> = ours.iter().chain(&common).copied().collect();
            let other: Vec<u64> = common.iter().chain(&theirs).copied().collect();
            let (difference, _) = compare(salt, &ids(mine), &ids(other), step);
            prop_assert_eq!(sorted(difference.ours), sorted(ids(ours)));
            prop_assert_eq!(sorted(difference.theirs), sorted(ids(theirs)));
        }

        #[test]
        fn whatever_comes_as_symbols_ends_and_costs_no_more_than_they(
            salt: u64,
            raw in proptest::collection::vec((any::<[u8; 8]>(), any::<[u8; 3]>(), 0..3u8), 1..200),
            pure in proptest::collection::vec((0..200usize, 0..20u64, any::<bool>()), 0..100),
            size: u32,
        ) {
            let mut symbols: Vec<Symbol> =
                raw.into_iter().map(|(sum, check, count)| Symbol { sum, check, count }).collect();
            // Many that look as though one id were left, often the same: crafted to be taken out again and again.
            for (at, number, ours) in pure {
                let at = at % symbols.len();
                let id = id(number);
                let count = if ours { u8::MAX } else { 1 };
                symbols[at] = Symbol { sum: id.0, check: check(hash(salt, id)), count };
            }
            let mut decoder = Decoder::new(salt, ids(0..10), size as usize);
            for batch in symbols.chunks(16) {
                if decoder.add(batch) == Progress::Broken {
                    break;
                }
            }
            prop_assert!(decoder.found.len() <= symbols.len());
        }
    }

    #[test]
    fn differences_cost_as_many_symbols_as_the_paper_says() {
        // Means over many salts, as a single run varies.
        for (difference, most) in [(1, 1.3), (10, 1.9), (200, 1.5), (2_000, 1.42)] {
            let (runs, mut taken) = (if difference > 200 { 3 } else { 30 }, 0);
            let (ours, theirs) = (ids(0..3_000), ids(difference / 2..3_000 + difference - difference / 2));
            for salt in 0..runs {
                let (found, symbols) = compare(salt, &ours, &theirs, 1 + difference as usize / 100);
                assert_eq!(found.ours.len() + found.theirs.len(), difference as usize);
                taken += symbols;
            }
            let each = taken as f64 / runs as f64 / difference as f64;
            assert!((1.0..most).contains(&each), "{each} for each of {difference}");
        }
    }

    #[test]
    fn the_estimate_is_of_the_right_size() {
        for (ours, theirs) in
            [(0..2_000, 100..2_100), (0..2_000, 0..2_200), (0..2_000, 1_000..3_000), (0..500, 10..500)]
        {
            let difference = ours.clone().chain(theirs.clone()).collect::<BTreeSet<_>>().len()
                - ours.clone().filter(|id| theirs.contains(id)).count();
            let mut good = 0;
            for salt in 0..40 {
                let mut decoder = Decoder::new(salt, ids(ours.clone()), theirs.clone().count());
                decoder.add(&Encoder::new(salt, ids(theirs.clone())).next_symbols(16));
                let estimate = decoder.estimate();
                good += usize::from(estimate * 2 >= difference && estimate <= difference * 2);
            }
            assert!(good >= 32, "{good} of 40 for {difference}");
        }
    }

    #[test]
    fn the_estimate_gets_better_with_every_symbol() {
        let (ours, theirs) = (ids(0..1_000), ids(100..1_100));
        let errors = (0..100).map(|salt| {
            let mut decoder = Decoder::new(salt, ours.iter().copied(), theirs.len());
            decoder.add(&Encoder::new(salt, theirs.iter().copied()).next_symbols(240));
            decoder.estimate() as f64 / 200.0 - 1.0
        });
        let error = (errors.map(|error| error * error).sum::<f64>() / 100.0).sqrt();
        assert!(error < 0.12, "{error}");
    }

    #[test]
    fn enough_is_mostly_enough_and_seldom_much_more() {
        for (difference, least) in [(10, 60), (20, 60), (200, 80), (1_000, 85)] {
            let (ours, theirs) = (ids(0..difference), ids(difference / 2..difference + difference / 2));
            let is_done = |salt, symbols| {
                let mut decoder = Decoder::new(salt, ours.iter().copied(), theirs.len());
                decoder.add(&Encoder::new(salt, theirs.iter().copied()).next_symbols(symbols)) == Progress::Done
            };
            let done = |symbols| (0..100).filter(|salt| is_done(*salt, symbols)).count();
            let enough = enough_for(difference as usize);
            let (share, of_less) = (done(enough), done(enough * 3 / 4));
            assert!(share >= least && of_less < share - 20, "{share} of 100 for {difference}, {of_less} with less");
        }
    }

    #[test]
    fn a_difference_is_known_in_few_round_trips_at_little_waste() {
        // Round trips and symbols by what a decoder wants, after the 16 that a first answer has.
        let (ours, theirs) = (ids(0..1_000), ids(100..1_100));
        let (mut trips, mut taken) = (0, 0);
        for salt in 0..50 {
            let mut encoder = Encoder::new(salt, theirs.iter().copied());
            let mut decoder = Decoder::new(salt, ours.iter().copied(), theirs.len());
            let mut count = 16;
            while decoder.add(&encoder.next_symbols(count)) == Progress::More {
                count = decoder.wanted();
                trips += 1;
            }
            taken += decoder.taken();
        }
        assert!(trips <= 50 * 3 && taken <= 50 * 325, "{trips} round trips, {taken} symbols in 50 comparisons");
    }

    #[test]
    fn symbols_that_never_come_apart_are_soon_given_up() {
        // By their counts nothing differs.
        let noise = Symbol { sum: [0x5a; 8], check: [0; 3], count: 0 };
        let (mut decoder, mut count, mut trips) = (Decoder::new(1, [], 0), 1, 0);
        while decoder.taken() < 4096 {
            assert_eq!(decoder.add(&vec![noise; count]), Progress::More);
            (count, trips) = (decoder.wanted(), trips + 1);
            assert!((1..=MAX_SYMBOLS).contains(&count));
        }
        assert!(trips <= 70, "{trips}");
    }

    #[test]
    fn ids_of_which_the_exclusive_or_is_nothing_do_not_hide_each_other() {
        let [a, b] = [id(1), id(2)];
        let hidden: Vec<u8> = a.0.iter().zip(b.0).map(|(a, b)| a ^ b).collect();
        let set = [a, b, ShortId(hidden.try_into().unwrap())];
        assert_eq!(Encoder::new(7, set).next_symbols(1)[0].sum, [0; 8]);
        assert_eq!(sorted(compare(7, &[], &set, 1).0.theirs), sorted(set.to_vec()));
    }

    #[test]
    fn what_no_set_makes_is_broken() {
        let (salt, known, other) = (3, id(1), id(2));
        let pure = |id: ShortId, count| Symbol { sum: id.0, check: check(hash(salt, id)), count };
        // One that this node has as though it had not, and one that it has not as though it had.
        let own = Encoder::new(salt, [known]).next_symbols(1)[0];
        for lie in [pure(known, 1), pure(other, u8::MAX)] {
            let mut symbol = own;
            symbol.mix(ShortId(lie.sum), hash(salt, ShortId(lie.sum)), lie.count);
            assert_eq!(Decoder::new(salt, [known], 1).add(&[symbol]), Progress::Broken);
        }
    }
}
