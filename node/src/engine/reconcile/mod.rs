//! Anti-entropy: what neither push nor announcement brought is found by comparing pools.
//!
//! Once a second on average a node sends a random neighbour a digest of its pool. One that holds the same says nothing;
//! any other answers with coded symbols of its own pool (see [`starling_wire::sketch`]), of which the node that began
//! asks for more until it knows the difference in both directions: it then pulls what it lacks and announces what the
//! neighbour lacks. As most of a difference between nodes that relay is under way, it is given some time to arrive first.
//!
//! Where one of the two lacks most, sketches cost more than ids: the other announces its best transactions, and the
//! rest is compared slice by slice with different neighbours, so that the useful part comes first and nobody is asked for
//! all. The same happens where a difference turns out too large for one sketch.
//!
//! The relay does not depend on any of it: a comparison that is cut short leaves nothing behind but a time limit.

mod asking;
mod routing;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use rand::{
    Rng, RngExt,
    seq::{IteratorRandom, SliceRandom},
};
use starling_mempool::{Allowance, Budget, Mempool};
use starling_wire::{
    BoundedVec, Digest, GetSymbols, Message, NodeId, ShortId, Sketch, Slice,
    limits::{MAX_IDS, MAX_SYMBOLS},
    sketch::{Encoder, Symbol},
};

use self::asking::{Asking, Next};
use super::{io::Output, peers::Peers, time::Time};

/// Mean time between two comparisons that a node begins; each wait is drawn from half to one and a half of it. Shorter
/// finds losses sooner, and costs both nodes a wake-up.
const EVERY: Duration = Duration::from_secs(1);

/// Most ids a node compares at once of its own pool: a larger one is compared by slices drawn at random. It bounds what a
/// comparison costs at both ends to about a millisecond and half a megabyte.
const MAX_SLICE: usize = 8 * 1024;

/// Symbols in a first answer: enough for ten ids, as many as are under way between neighbours at 100 transactions a
/// second.
const FIRST_SYMBOLS: usize = 16;

/// Symbols of one comparison. A larger difference is divided into slices: that costs less work, and can be asked of several.
const MAX_SESSION: usize = 4096;

/// Ids that a slice should have, or that should differ in it, where a large difference is divided.
const PART: usize = 512;

/// A difference by less than this is never answered with ids alone.
const LEAST_OFFER: usize = 32;

/// How long an id that is missing may be under way before it is asked for, and how long ago one must have come before a
/// neighbour is told that it lacks it. Longer than most transactions take to all nodes: what comes by itself would be
/// sent twice.
const HOLD: Duration = Duration::from_millis(500);

/// Ids waiting so. Of more, later comparisons find them again.
const MAX_HELD: usize = 16 * 1024;

/// How long the other side may take to go on.
const PATIENCE: Duration = Duration::from_secs(10);

/// Comparisons in which this node answers, at one time; the oldest gives way. Each keeps half a megabyte at most.
const MAX_ANSWERING: usize = 16;

/// Slices waiting to be compared, and how many are at one time.
const MAX_TODO: usize = 1024;
pub(super) const MAX_AT_ONCE: usize = 4;

/// Bytes of symbols that one neighbour gets, and that this node asks for of all together. Pools that differ for good, as
/// full ones do, cost no more than this.
const SYMBOLS: Allowance = Allowance { burst: 1 << 20, per_second: 16 << 10 };

/// What a first answer costs of it, its symbols included: it looks at every id of a slice.
const ANSWER: usize = 4096;

/// Most symbols in a first answer.
const MAX_FIRST: usize = 256;
const _: () = assert!(MAX_FIRST * Symbol::BYTES <= ANSWER && MAX_FIRST <= MAX_SYMBOLS);

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The comparison goes on, or has ended without result.
    Nothing,
    /// Both hold the same in a slice.
    Equal(Slice),
    /// The difference in a slice is known.
    Different {
        slice: Slice,
        /// What this node alone holds.
        ours: Vec<ShortId>,
        /// What the neighbour alone holds.
        theirs: Vec<ShortId>,
    },
    /// It belongs to no comparison, or to one that has ended.
    Unasked,
    /// No set has such symbols.
    Impossible,
}

/// A comparison in which this node answers.
#[derive(Debug)]
struct Answering {
    salt: u64,
    encoder: Encoder,
    since: Time,
}

/// All comparisons.
#[derive(Debug)]
pub(super) struct Reconcile {
    next: Time,
    /// Those that this node began, one for each neighbour.
    asking: BTreeMap<NodeId, Asking>,
    /// Those in which it answers, one for each neighbour.
    answering: BTreeMap<NodeId, Answering>,
    /// Slices of a large difference that are still to be compared; with a certain neighbour, or with any.
    todo: VecDeque<(Option<NodeId>, Slice)>,
    /// Ids that a neighbour holds and this node lacks, in order of the time at which they are asked for.
    held: VecDeque<(Time, NodeId, ShortId)>,
    /// See [`SYMBOLS`].
    spent: Budget,
}

impl Reconcile {
    pub(super) fn new() -> Self {
        Self {
            next: Time::ZERO + EVERY,
            asking: BTreeMap::new(),
            answering: BTreeMap::new(),
            todo: VecDeque::new(),
            held: VecDeque::new(),
            spent: Budget::default(),
        }
    }

    /// A link that this node opened is ready: compares the whole pool with the new neighbour, or a large one slice by slice.
    pub(super) fn link_up(
        &mut self,
        now: Time,
        peer: NodeId,
        pool: &Mempool,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) {
        let mut parts: Vec<Slice> = Slice::ALL.parts(bits_for(pool.len(), MAX_SLICE)).collect();
        parts.shuffle(rng);
        let Some(first) = parts.pop() else { return };
        self.divide(parts.into_iter().map(|part| (Some(peer), part)));
        self.open(now, peer, first, pool, rng, out);
    }

    pub(super) fn link_lost(&mut self, peer: &NodeId) {
        self.asking.remove(peer);
        self.answering.remove(peer);
    }

    /// Begins what is due. Gives what is to be asked for now, by neighbour.
    pub(super) fn timeout(
        &mut self,
        now: Time,
        peers: &Peers,
        pool: &Mempool,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) -> BTreeMap<NodeId, Vec<ShortId>> {
        let mut due: BTreeMap<NodeId, Vec<ShortId>> = BTreeMap::new();
        while let Some((_, peer, id)) = self.held.pop_front_if(|(at, ..)| *at <= now) {
            due.entry(peer).or_default().push(id);
        }
        if now >= self.next {
            self.next = now + EVERY.mul_f64(rng.random_range(0.5..1.5));
            self.asking.retain(|_, asking| now - asking.since < PATIENCE);
            self.answering.retain(|_, answering| now - answering.since < PATIENCE);
            if self.todo.is_empty() {
                let bits = bits_for(pool.len(), MAX_SLICE);
                let slice = Slice::ALL.parts(bits).choose(rng).unwrap_or(Slice::ALL);
                if let Some(peer) = self.choose(peers, rng) {
                    self.open(now, peer, slice, pool, rng, out);
                }
            } else {
                self.go_on(now, 1, peers, pool, rng, out);
            }
        }
        due
    }

    /// When [`Self::timeout`] next has work.
    pub(super) fn deadline(&self) -> Time {
        self.held.front().map_or(self.next, |(at, ..)| self.next.min(*at))
    }

    /// Asks for an id later, if it is still missing then.
    pub(super) fn hold(&mut self, now: Time, peer: NodeId, ids: impl IntoIterator<Item = ShortId>) {
        for id in ids {
            if self.held.len() < MAX_HELD {
                self.held.push_back((now + HOLD, peer, id));
            }
        }
    }

    /// A neighbour begins a comparison, and has the budget for it.
    pub(super) fn digest(
        &mut self,
        now: Time,
        peer: NodeId,
        digest: &Digest,
        pool: &Mempool,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) -> Outcome {
        let Digest { salt, slice, count, symbol } = *digest;
        let range = || pool.short_ids(slice.range());
        let (own, theirs) = (range().count(), count as usize);
        let larger = own.max(theirs);
        if own.abs_diff(theirs) >= (larger / 2).max(LEAST_OFFER) || larger > 4 * MAX_SLICE {
            if own < theirs {
                // Whoever holds more announces.
                self.open(now, peer, slice, pool, rng, out);
            } else {
                let best = pool.iter().map(|tx| tx.short_id()).filter(|id| slice.contains(id)).take(MAX_IDS).collect();
                out(send(peer, sketch(salt, own, 0, Vec::new())));
                if let Ok(best) = BoundedVec::new(best) {
                    out(send(peer, Message::IHave(best)));
                }
            }
            return Outcome::Nothing;
        }
        let mut encoder = Encoder::new(salt, range());
        if own == theirs && encoder.digest() == symbol {
            return Outcome::Equal(slice);
        }
        let first = (own.abs_diff(theirs) * 5 / 4).clamp(FIRST_SYMBOLS, MAX_FIRST);
        let symbols = encoder.next_symbols(first);
        out(send(peer, sketch(salt, own, 0, symbols)));
        if self.answering.len() >= MAX_ANSWERING
            && let Some((oldest, _)) = self.answering.iter().min_by_key(|(_, answering)| answering.since)
        {
            let oldest = *oldest;
            self.answering.remove(&oldest);
        }
        self.answering.insert(peer, Answering { salt, encoder, since: now });
        Outcome::Nothing
    }

    /// A neighbour asks for more symbols. `budget` is what it has used up of [`SYMBOLS`].
    pub(super) fn get_symbols(
        &mut self,
        now: Time,
        peer: NodeId,
        request: &GetSymbols,
        budget: &mut Budget,
        out: &mut impl FnMut(Output),
    ) -> Outcome {
        let (from, count) = (request.from as usize, usize::from(request.count));
        let Some(answering) = self.answering.get_mut(&peer).filter(|answering| {
            let made = answering.encoder.made();
            answering.salt == request.salt && made == from && made + count <= MAX_SESSION
        }) else {
            return Outcome::Unasked;
        };
        if spend(budget, now, count * Symbol::BYTES) {
            let symbols = answering.encoder.next_symbols(count);
            out(send(peer, sketch(request.salt, answering.encoder.len(), from, symbols)));
        }
        Outcome::Nothing
    }

    /// A neighbour answers.
    pub(super) fn sketch(
        &mut self,
        now: Time,
        peer: NodeId,
        sketch: &Sketch,
        pool: &Mempool,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) -> Outcome {
        let Some(asking) = self.asking.get_mut(&peer).filter(|asking| asking.salt == sketch.salt) else {
            return Outcome::Unasked;
        };
        let slice = asking.slice;
        let next = asking.add(sketch, pool);
        let outcome = match next {
            Next::Unasked => return Outcome::Unasked,
            Next::Ask(count) if spend(&mut self.spent, now, usize::from(count) * Symbol::BYTES) => {
                let request = GetSymbols { salt: sketch.salt, from: asking.taken() as u32, count };
                out(send(peer, Message::GetSymbols(request)));
                return Outcome::Nothing;
            }
            Next::Ask(_) => Outcome::Nothing,
            Next::Divide(differing) => {
                let mut parts: Vec<Slice> = slice.parts(bits_for(differing, PART)).collect();
                parts.shuffle(rng);
                if parts.len() > 1 {
                    self.divide(parts.into_iter().map(|part| (None, part)));
                }
                Outcome::Nothing
            }
            Next::Impossible => Outcome::Impossible,
            Next::Done(difference) => Outcome::Different { slice, ours: difference.ours, theirs: difference.theirs },
        };
        self.asking.remove(&peer);
        outcome
    }

    /// Whether a comparison with a neighbour goes on that this node began.
    pub(super) fn is_asking(&self, peer: &NodeId) -> bool {
        self.asking.contains_key(peer)
    }

    /// Slices are to be compared.
    fn divide(&mut self, slices: impl Iterator<Item = (Option<NodeId>, Slice)>) {
        for slice in slices {
            if self.todo.len() < MAX_TODO && !self.todo.contains(&slice) {
                self.todo.push_back(slice);
            }
        }
    }

    /// Begins to compare so many of the slices that wait.
    pub(super) fn go_on(
        &mut self,
        now: Time,
        count: usize,
        peers: &Peers,
        pool: &Mempool,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) {
        for _ in 0..count {
            let Some((wanted, slice)) = self.todo.front().copied() else { return };
            let wanted = wanted.filter(|peer| peers.get(peer).is_some_and(|link| link.is_ready()));
            let peer = match wanted {
                // It is asked one thing at a time.
                Some(peer) if self.asking.contains_key(&peer) => return,
                Some(peer) => Some(peer),
                None => self.choose(peers, rng),
            };
            let Some(peer) = peer else { return };
            self.todo.pop_front();
            self.open(now, peer, slice, pool, rng, out);
        }
    }

    /// A random neighbour that is not being asked.
    fn choose(&self, peers: &Peers, rng: &mut impl Rng) -> Option<NodeId> {
        let free = peers.ready().filter(|(peer, link)| !link.congested && !self.is_busy(peer));
        free.map(|(peer, _)| *peer).choose(rng)
    }

    /// Whether a comparison with a neighbour has been answered and goes on.
    fn is_busy(&self, peer: &NodeId) -> bool {
        self.asking.get(peer).is_some_and(Asking::is_answered)
    }

    fn open(
        &mut self,
        now: Time,
        peer: NodeId,
        slice: Slice,
        pool: &Mempool,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) {
        let salt = rng.random();
        let encoder = Encoder::new(salt, pool.short_ids(slice.range()));
        let digest = Digest { salt, slice, count: encoder.len() as u32, symbol: encoder.digest() };
        self.asking.insert(peer, Asking::new(now, salt, slice));
        out(send(peer, Message::Digest(digest)));
    }
}

/// Bits by which so many ids are divided into parts of no more than `each`, on average.
fn bits_for(ids: usize, each: usize) -> u8 {
    ids.div_ceil(each).next_power_of_two().trailing_zeros().min(Slice::MAX_BITS.into()) as u8
}

/// Uses up bytes, if they are left.
fn spend(budget: &mut Budget, now: Time, bytes: usize) -> bool {
    let left = budget.wait(now.since_start(), bytes, SYMBOLS).is_some_and(|wait| wait.is_zero());
    if left {
        budget.spend(now.since_start(), bytes, SYMBOLS);
    }
    left
}

fn sketch(salt: u64, count: usize, from: usize, symbols: Vec<Symbol>) -> Message {
    // Both callers keep to the limit.
    let symbols = BoundedVec::chunks(&symbols).next().unwrap_or_default();
    Message::Sketch(Sketch { salt, count: count as u32, from: from as u32, symbols })
}

fn send(peer: NodeId, message: Message) -> Output {
    Output::Send { peer, message }
}
