//! Anti-entropy: what neither push nor announcement brought is found by comparing pools.
//!
//! Once a second on average, less often while nothing happens or gets lost or there is much else to do, a node sends a random
//! neighbour a digest of its pool. One that holds the same says nothing; any other answers with coded symbols of its own pool
//! (see [`starling_wire::sketch`]), as many as the digest wishes for: what comparisons of late have found says how many are
//! mostly enough. If they are not, the node that began asks for more. Once it knows the difference in both directions it pulls
//! what it lacks and announces what the neighbour lacks. As most of a difference between nodes that relay is under way, it is
//! given some time to arrive first.
//!
//! Where one of the two lacks most, sketches cost more than ids: the other announces its best transactions, and the
//! rest is compared slice by slice with different neighbours, so that the useful part comes first and nobody is asked for
//! all. The same happens where a difference turns out too large for one sketch.
//!
//! The relay does not depend on any of it: a comparison that is cut short leaves nothing behind but a time limit.

mod answering;
mod asking;
mod routing;
mod typical;

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
    Digest, Fingerprint, GetSymbols, Message, NodeId, ShortId, Sketch, Slice,
    sketch::{Difference, Symbol},
};

use self::{
    answering::{Answer, Answers},
    asking::{Asking, Next},
    typical::Typical,
};
use super::{io::Output, peers::Peers, time::Time};

/// Mean time between two comparisons that a node begins; each wait is drawn from half to one and a half of it. Shorter
/// finds losses sooner, and costs both nodes a wake-up.
const EVERY: Duration = Duration::from_secs(1);

/// The same in a node that has found nothing lost in [`ENOUGH`] comparisons: what differed was under way and came by itself.
/// A first loss is found so much later.
const EVERY_IN_ORDER: Duration = Duration::from_secs(4);

/// The same in a node whose pool has not changed for [`ENOUGH`] comparisons: whoever got something that it lacks has a pool
/// that did change, and asks sooner.
const EVERY_IN_CALM: Duration = Duration::from_secs(8);

/// How long a node that is behind with its work puts off a comparison: both ends look at all their ids for it, and mostly find
/// what is under way. With some thousand in each pool that was an eighth of the work of a busy machine.
const PUT_OFF: Duration = EVERY_IN_CALM;

/// See [`EVERY_IN_CALM`]. In so many every neighbour of a node with 16 links will have been asked by some other but for one
/// in 170.
const ENOUGH: u32 = 8;

/// Most ids a node compares at once of its own pool: a larger one is compared by slices drawn at random. It bounds what a
/// comparison costs at both ends to about a millisecond and half a megabyte.
const MAX_SLICE: usize = 16 * 1024;

/// Symbols of one comparison. A larger difference is divided into slices: that costs less work, and can be asked of several.
const MAX_SESSION: usize = 4096;

/// Ids that a slice should have, or that should differ in it, where a large difference is divided.
const PART: usize = 512;

/// How long an id that is missing may be under way before it is asked for, and how long ago one must have come before a
/// neighbour is told that it lacks it. Longer than most transactions take to all nodes: what comes by itself would be
/// sent twice.
const HOLD: Duration = Duration::from_millis(500);

/// Ids waiting so. Of more, later comparisons find them again.
const MAX_HELD: usize = 16 * 1024;

/// How long an answer to a digest may take. Silence mostly means that there is no difference.
const SILENCE: Duration = Duration::from_millis(800);

/// How long either side waits for the other to go on once there was an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a comparison goes on at most: some fifty round trips, which the largest takes, round the world.
const LONGEST: Duration = Duration::from_secs(30);

/// Slices waiting to be compared, and how many comparisons a node begins with them at one time.
const MAX_TODO: usize = 256;
const MAX_AT_ONCE: usize = 4;

/// Bytes of symbols that one neighbour gets, and that this node asks for of all together. Pools that differ for good, as
/// full ones do, cost no more than this. Work counts as bytes: to mix an id into its first symbols, some 60 ns, as one, so
/// that a neighbour gets about a millisecond a second; and to begin with a part of a large difference as [`PART`].
const SYMBOLS: Allowance = Allowance { burst: 1 << 20, per_second: 16 << 10 };

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

/// All comparisons.
#[derive(Debug)]
pub(super) struct Reconcile {
    /// When to begin the next comparison.
    next: Time,
    /// When the last one began.
    last: Time,
    /// The wait for it, in units of its mean.
    drawn: f64,
    /// What the pool holds.
    holds: Fingerprint,
    /// Comparisons begun since it changed.
    calm: u32,
    /// Comparisons begun since something was found lost, or a neighbour was.
    in_order: u32,
    /// What one is likely to find.
    typical: Typical,
    /// Those that this node began, one for each neighbour.
    asking: BTreeMap<NodeId, Asking>,
    /// Those in which it answers.
    answers: Answers,
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
            last: Time::ZERO,
            drawn: 1.0,
            holds: Fingerprint::default(),
            calm: 0,
            in_order: 0,
            typical: Typical::default(),
            asking: BTreeMap::new(),
            answers: Answers::default(),
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
        let mut parts = divided(Slice::ALL, pool.len(), MAX_SLICE, rng);
        let Some(first) = parts.pop() else { return };
        self.later(Some(peer), parts);
        let wanted = self.first(now, first);
        self.open(now, peer, first, wanted, pool, rng, out);
    }

    pub(super) fn link_lost(&mut self, peer: &NodeId) {
        self.asking.remove(peer);
        self.answers.forget(peer);
    }

    /// Something was lost, or a neighbour with what it was about to send.
    pub(super) fn lost(&mut self, now: Time) {
        self.in_order = 0;
        self.next = self.next.min(now + self.mean().mul_f64(self.drawn));
    }

    /// Mean time between two comparisons.
    fn mean(&self) -> Duration {
        if self.calm >= ENOUGH {
            EVERY_IN_CALM
        } else if self.in_order >= ENOUGH {
            EVERY_IN_ORDER
        } else {
            EVERY
        }
    }

    /// Begins what is due, if the node is not too busy. Gives what is to be asked for now, by neighbour.
    pub(super) fn timeout(
        &mut self,
        now: Time,
        busy: bool,
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
            self.drawn = rng.random_range(0.5..1.5);
            for (_, ended) in self.asking.extract_if(.., |_, asking| !asking.is_going_on(now)) {
                if ended.taken() == 0 {
                    // Silence mostly means that there is no difference.
                    self.typical.found(ended.slice, 0);
                }
            }
            self.answers.expire(now);
            if busy && now - self.last < PUT_OFF {
                self.next = (now + EVERY.mul_f64(self.drawn)).min(self.last + PUT_OFF);
            } else {
                self.begin(now, peers, pool, rng, out);
            }
            self.go_on(now, peers, pool, rng, out);
        }
        due
    }

    /// Compares all there is with some neighbour, or a part of what is too much at once.
    fn begin(&mut self, now: Time, peers: &Peers, pool: &Mempool, rng: &mut impl Rng, out: &mut impl FnMut(Output)) {
        self.calm = self.calm.saturating_add(1);
        self.in_order = self.in_order.saturating_add(1);
        self.last = now;
        self.next = now + self.mean().mul_f64(self.drawn);
        if let Some(peer) = self.choose(now, peers, rng)
            && let Some(slice) = divided(Slice::ALL, pool.len(), MAX_SLICE, rng).pop()
        {
            let wanted = self.first(now, slice);
            self.open(now, peer, slice, wanted, pool, rng, out);
        }
    }

    /// Something may have changed the pool.
    pub(super) fn observe(&mut self, now: Time, pool: &Mempool) {
        let holds = pool.fingerprint(Slice::ALL);
        if holds != self.holds {
            (self.holds, self.calm) = (holds, 0);
            self.next = self.next.min(now + self.mean().mul_f64(self.drawn));
        }
    }

    /// When [`Self::timeout`] next has work, which is in no hurry.
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

    /// A neighbour begins a comparison. `budget` is what it has used up of [`SYMBOLS`].
    #[expect(clippy::too_many_arguments, reason = "parts of the engine, which it must not know as a whole")]
    pub(super) fn digest(
        &mut self,
        now: Time,
        peer: NodeId,
        digest: &Digest,
        budget: &mut Budget,
        pool: &Mempool,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) -> Outcome {
        match self.answers.digest(now, peer, digest, budget, pool, out) {
            Answer::Equal => return Outcome::Equal(digest.slice),
            // Whoever holds more announces, so that no symbols are wished for.
            Answer::Ask => self.open(now, peer, digest.slice, 0, pool, rng, out),
            Answer::Given => {}
        }
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
        let is_asked = self.answers.get_symbols(now, peer, request, budget, out);
        if is_asked { Outcome::Nothing } else { Outcome::Unasked }
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
        let next = asking.add(now, sketch, pool);
        let outcome = match next {
            Next::Unasked => return Outcome::Unasked,
            Next::Ask(count) if self.spent.take(now.since_start(), usize::from(count) * Symbol::BYTES, SYMBOLS) => {
                let request = GetSymbols { salt: sketch.salt, from: asking.taken() as u32, count };
                out(send(peer, Message::GetSymbols(request)));
                return Outcome::Nothing;
            }
            Next::Ask(_) => Outcome::Nothing,
            Next::Divide(differing) => {
                // A part is not divided again, whatever its size is said to be, and a division that goes on covers all. So little
                // would be one part, the same again; whoever sends no symbols for it announces all of it.
                let is_part = slice.bits() > bits_for(pool.len(), MAX_SLICE);
                if differing > PART && !is_part && !self.todo.iter().any(|(peer, _)| peer.is_none()) {
                    self.later(None, divided(slice, differing, PART, rng));
                }
                Outcome::Nothing
            }
            Next::Impossible => Outcome::Impossible,
            Next::Done(Difference { ours, theirs }) => {
                self.typical.found(slice, ours.len() + theirs.len());
                Outcome::Different { slice, ours, theirs }
            }
        };
        self.asking.remove(&peer);
        outcome
    }

    /// Whether a comparison with a neighbour goes on that this node began.
    pub(super) fn is_asking(&self, peer: &NodeId) -> bool {
        self.asking.contains_key(peer)
    }

    /// Slices are to be compared, with one neighbour or with any.
    fn later(&mut self, peer: Option<NodeId>, slices: Vec<Slice>) {
        for todo in slices.into_iter().map(|slice| (peer, slice)) {
            if self.todo.len() < MAX_TODO && !self.todo.contains(&todo) {
                self.todo.push_back(todo);
            }
        }
    }

    /// Begins to compare slices that wait, as many as may be compared at one time.
    pub(super) fn go_on(
        &mut self,
        now: Time,
        peers: &Peers,
        pool: &Mempool,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) {
        self.todo.retain(|(peer, _)| peer.is_none_or(|peer| peers.get(&peer).is_some_and(|link| link.is_ready())));
        while self.asking.values().filter(|asking| asking.is_going_on(now)).count() < MAX_AT_ONCE {
            let next = self.todo.iter().position(|(peer, _)| peer.is_none_or(|peer| self.is_free(now, &peer)));
            let Some(next) = next else { return };
            let (with, slice) = self.todo[next];
            let Some(peer) = with.or_else(|| self.choose(now, peers, rng)) else { return };
            if !self.spent.take(now.since_start(), PART, SYMBOLS) {
                return;
            }
            self.todo.remove(next);
            let wanted = self.first(now, slice);
            self.open(now, peer, slice, wanted, pool, rng, out);
        }
    }

    /// A random neighbour that is not being asked: of two the one that was sent nothing for longer, as the comparison is a
    /// sign of life as well.
    fn choose(&self, now: Time, peers: &Peers, rng: &mut impl Rng) -> Option<NodeId> {
        let free = peers.ready().filter(|(peer, link)| !link.congested && self.is_free(now, peer));
        free.sample(rng, 2).into_iter().min_by_key(|(_, link)| link.pulse.last_sent()).map(|(peer, _)| *peer)
    }

    /// Whether no comparison with a neighbour goes on that this node began.
    fn is_free(&self, now: Time, peer: &NodeId) -> bool {
        self.asking.get(peer).is_none_or(|asking| !asking.is_going_on(now))
    }

    /// Symbols to wish for in a first answer about a slice: those that this node may ask for.
    fn first(&mut self, now: Time, slice: Slice) -> u16 {
        let symbols = self.typical.symbols(slice);
        let may = self.spent.take(now.since_start(), usize::from(symbols) * Symbol::BYTES, SYMBOLS);
        if may { symbols } else { 0 }
    }

    #[expect(clippy::too_many_arguments, reason = "parts of the engine, which it must not know as a whole")]
    fn open(
        &mut self,
        now: Time,
        peer: NodeId,
        slice: Slice,
        wanted: u16,
        pool: &Mempool,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) {
        let salt = rng.random();
        self.asking.insert(peer, Asking::new(now, salt, slice));
        out(send(peer, Message::Digest(Digest { salt, slice, holds: pool.fingerprint(slice), wanted })));
    }
}

/// The parts of a slice that have no more than `each` of so many ids, on average, in random order. No more than
/// [`MAX_TODO`].
fn divided(slice: Slice, ids: usize, each: usize, rng: &mut impl Rng) -> Vec<Slice> {
    let mut parts: Vec<Slice> = slice.parts(bits_for(ids, each)).collect();
    parts.shuffle(rng);
    parts
}

/// Bits by which so many ids are divided into parts of no more than `each`, on average; see [`MAX_TODO`].
fn bits_for(ids: usize, each: usize) -> u8 {
    ids.div_ceil(each).clamp(1, MAX_TODO).next_power_of_two().trailing_zeros() as u8
}

fn send(peer: NodeId, message: Message) -> Output {
    Output::Send { peer, message }
}
