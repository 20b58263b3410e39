//! What is known of who needs which push, learned from what neighbours said to earlier ones.
//!
//! Transactions that come the same way are needed by the same neighbours. The way of one is the link it came by first
//! and the labels it carried (see [`starling_wire::Labels`]), and it is looked at at four depths: the link alone, and with
//! one, two or three labels. For each depth and each outgoing link a running mean says how often such a push was of use.
//! An estimate starts from a prior and backs off like a language model's (Jelinek and Mercer 1980): each deeper context
//! that has been seen corrects the one before by the weight of its evidence.
//!
//! Each incoming link has tables of its own, so that one neighbour's labels, true or false, can neither change nor push
//! out what was learned about another's.

use lru::LruCache;
use starling_wire::Labels;

use super::super::peers::{MAX_LINKS, Mask};

/// The way a transaction came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    /// The slot of the link it came by first; [`LOCAL`] if it was submitted here.
    pub(super) ingress: u8,
    /// The labels it carried.
    pub(super) labels: Labels,
}

impl Path {
    /// That of a transaction of which nobody knows any more how it came.
    pub(super) const UNKNOWN: Self = Self { ingress: LOST, labels: [0; 3] };

    /// Whether a neighbour brought it that is still there.
    pub(super) fn is_from_neighbour(self) -> bool {
        self.ingress < LOCAL
    }
}

/// The ingress of this node's own transactions.
pub(super) const LOCAL: u8 = MAX_LINKS as u8;

/// The ingress of transactions from a link that is gone. Nothing is learned from them any more.
pub(super) const LOST: u8 = LOCAL + 1;

/// Usefulness assumed of a push nothing is known about. High: what is pushed in vain is pruned and learned from, what is
/// not pushed in need comes late.
const PRIOR: f32 = 0.5;

/// Weight of the shallower contexts' estimate against a deeper context's evidence, in samples. More generalises longer,
/// less trusts a single sample: 0.5 settles sooner (2.5 copies instead of 2.8 after a minute of the README's simulation) and
/// makes the last node of a cold start wait (2.0 instead of 1.3 times the shortest path, 95th percentile). 0.25 to 2.
const BACKOFF: f32 = 1.0;

/// Most samples a mean is weighted with, by depth (the link alone, and with one, two, three labels): afterwards old
/// samples fade. Few follow a change at once, many are steady.
const MAX_WEIGHT: [u8; 4] = [50, 50, 4, 4];

/// A push that is useful less often is not worth its bytes: the neighbour is told the id instead. A node that stops
/// pushing learns of its mistake by a pull, so this may be well below one half; 0.05 to 0.3.
pub(super) const WORTH: f32 = 0.15;

/// The same while several neighbours are missing: many whom they served now need what they did not need before. With 20 %
/// of the nodes crashing at once, the last node (95th percentile over the next 40 s) comes after 1.31 times the shortest
/// path instead of 1.66 times, for 4.9 copies instead of 2.7 in the first ten of them (1.11 times if each transaction is
/// announced at once; then 0.06 cost 4.1 copies and gave 1.15).
pub(super) const WORTH_IN_OUTAGE: f32 = 0.03;

/// Contexts remembered for each incoming link, besides the link alone. Some hundred bytes each. About three are needed
/// for each origin whose transactions come by that link.
const MAX_CONTEXTS: usize = 1024;

/// After so many first copies in a row from one context, it is taken to be dependable. Fewer give up the backup sooner,
/// while routes still change.
const DEPENDABLE_AFTER: u8 = 8;

/// The evidence for one outgoing link.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    useful: f32,
    weight: u8,
}

/// The evidence of one context, by the slot of the outgoing link.
#[derive(Debug, Default)]
struct Row {
    cells: Vec<Cell>,
    /// First copies in a row that this context brought unasked.
    firsts: u8,
}

impl Row {
    fn learn(&mut self, slots: Mask, sample: f32, max_weight: u8) {
        slots.slots().for_each(|slot| self.learn_one(slot.into(), sample, max_weight));
    }

    fn learn_one(&mut self, slot: usize, sample: f32, max_weight: u8) {
        if self.cells.len() <= slot {
            self.cells.resize(slot + 1, Cell::default());
        }
        let cell = &mut self.cells[slot];
        cell.weight = (cell.weight + 1).min(max_weight);
        cell.useful += (sample - cell.useful) / f32::from(cell.weight);
    }

    /// Makes nothing of a sample of 1.
    fn take_back(&mut self, slot: usize) {
        if let Some(cell) = self.cells.get_mut(slot).filter(|cell| cell.weight > 0) {
            cell.useful = (cell.useful - 1.0 / f32::from(cell.weight)).max(0.0);
        }
    }

    fn correct(&self, estimates: &mut Estimates) {
        for (cell, estimate) in self.cells.iter().zip(&mut estimates.useful) {
            // Without a sample it stays as it is.
            let weight = f32::from(cell.weight);
            *estimate = (weight * cell.useful + BACKOFF * *estimate) / (weight + BACKOFF);
        }
    }

    fn forget(&mut self, slot: u8) {
        if let Some(cell) = self.cells.get_mut(usize::from(slot)) {
            *cell = Cell::default();
        }
    }
}

/// How useful a push would be.
#[derive(Debug)]
pub(super) struct Estimates {
    /// By the slot of the outgoing link.
    useful: [f32; MAX_LINKS],
    /// Whether transactions have come the very same way, with the same three labels, and were learned from.
    pub(super) way_is_known: bool,
}

impl Estimates {
    /// The probability that a push on a link is of use.
    pub(super) fn of(&self, slot: u8) -> f32 {
        self.useful[usize::from(slot)]
    }
}

/// A context below the link itself: how many labels count, and those.
type Context = (u8, Labels);

/// The contexts of a path, from one label to three.
fn contexts(labels: Labels) -> [Context; 3] {
    let [a, b, c] = labels;
    [(1, [a, 0, 0]), (2, [a, b, 0]), (3, [a, b, c])]
}

/// What was learned about transactions from one link.
#[derive(Debug)]
struct Ingress {
    any: Row,
    contexts: LruCache<Context, Row>,
}

impl Ingress {
    fn new() -> Self {
        Self { any: Row::default(), contexts: LruCache::unbounded() }
    }

    fn context(&mut self, context: Context) -> &mut Row {
        if self.contexts.len() >= MAX_CONTEXTS && !self.contexts.contains(&context) {
            self.contexts.pop_lru();
        }
        self.contexts.get_or_insert_mut(context, Row::default)
    }
}

/// All that was learned.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// By the slot of the incoming link, with [`LOCAL`] and [`LOST`] after the last.
    ingresses: Vec<Option<Box<Ingress>>>,
}

impl Routes {
    fn ingress(&mut self, slot: u8) -> &mut Ingress {
        let slot = usize::from(slot);
        if self.ingresses.len() <= slot {
            self.ingresses.resize_with(slot + 1, || None);
        }
        self.ingresses[slot].get_or_insert_with(|| Box::new(Ingress::new()))
    }

    /// How useful pushes of a transaction would be that came this way.
    pub(super) fn estimate(&mut self, path: Path) -> Estimates {
        let mut estimates = Estimates { useful: [PRIOR; MAX_LINKS], way_is_known: false };
        let ingress = self.ingress(path.ingress);
        ingress.any.correct(&mut estimates);
        for context in contexts(path.labels) {
            if let Some(row) = ingress.contexts.get(&context) {
                row.correct(&mut estimates);
                estimates.way_is_known = context.0 == 3 && !row.cells.is_empty();
            }
        }
        estimates
    }

    /// Takes in whether pushes on some links, of a transaction that came this way, were of use.
    pub(super) fn learn(&mut self, path: Path, slots: Mask, useful: bool) {
        if path.ingress == LOST || slots.is_empty() {
            return;
        }
        let sample = if useful { 1.0 } else { 0.0 };
        let ingress = self.ingress(path.ingress);
        ingress.any.learn(slots, sample, MAX_WEIGHT[0]);
        for (context, max_weight) in contexts(path.labels).into_iter().zip(&MAX_WEIGHT[1..]) {
            ingress.context(context).learn(slots, sample, *max_weight);
        }
    }

    /// A push that was taken to be of use, of a transaction that came this way, was not: its sample becomes one of 0.
    pub(super) fn take_back(&mut self, path: Path, slot: u8) {
        if path.ingress == LOST {
            return;
        }
        let ingress = self.ingress(path.ingress);
        ingress.any.take_back(slot.into());
        for context in contexts(path.labels) {
            if let Some(row) = ingress.contexts.get_mut(&context) {
                row.take_back(slot.into());
            }
        }
    }

    /// The first copy of a transaction came this way, unasked or pulled.
    pub(super) fn came_first(&mut self, path: Path, pulled: bool) {
        let row = self.ingress(path.ingress).context(contexts(path.labels)[1]);
        row.firsts = if pulled { 0 } else { row.firsts.saturating_add(1) };
    }

    /// A later copy came this way: it cannot be relied on to be first.
    pub(super) fn came_later(&mut self, path: Path) {
        if let Some(row) = self.ingress(path.ingress).contexts.get_mut(&contexts(path.labels)[1]) {
            row.firsts = 0;
        }
    }

    /// Whether transactions that come this way have been coming first, and unasked, for some time.
    pub(super) fn is_dependable(&mut self, path: Path) -> bool {
        if path.ingress == LOST {
            return false;
        }
        let row = self.ingress(path.ingress).contexts.peek(&contexts(path.labels)[1]);
        row.is_some_and(|row| row.firsts >= DEPENDABLE_AFTER)
    }

    /// A link is gone: neither what came by it nor what went by it means anything any more.
    pub(super) fn link_lost(&mut self, slot: u8) {
        for (i, ingress) in self.ingresses.iter_mut().enumerate() {
            if i == usize::from(slot) {
                *ingress = None;
            } else if let Some(ingress) = ingress {
                ingress.any.forget(slot);
                ingress.contexts.iter_mut().for_each(|(_, row)| row.forget(slot));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAY: Path = Path { ingress: 3, labels: [1, 2, 3] };

    fn worth(routes: &mut Routes, path: Path, slot: u8) -> bool {
        routes.estimate(path).of(slot) > WORTH
    }

    #[test]
    fn what_is_unknown_is_pushed_and_what_is_pruned_is_not() {
        let mut routes = Routes::default();
        assert!(worth(&mut routes, WAY, 0));
        routes.learn(WAY, Mask::of(0), false);
        assert!(!worth(&mut routes, WAY, 0), "one sample settles a way");
        assert!(worth(&mut routes, WAY, 1));
        routes.learn(WAY, Mask::of(0), true);
        assert!(worth(&mut routes, WAY, 0), "and one pull reopens it");
    }

    #[test]
    fn what_is_always_taken_back_is_not_pushed() {
        let mut routes = Routes::default();
        routes.take_back(WAY, 0);
        assert!(worth(&mut routes, WAY, 0), "nothing was learned that could be");
        for _ in 0..100 {
            routes.learn(WAY, Mask::of(0), true);
            assert!(worth(&mut routes, WAY, 0));
            routes.take_back(WAY, 0);
        }
        assert!(!worth(&mut routes, WAY, 0));
        routes.take_back(WAY, 63);
    }

    #[test]
    fn ways_are_told_apart_and_unknown_ones_taken_as_their_like() {
        let mut routes = Routes::default();
        let other = Path { labels: [1, 2, 4], ..WAY };
        for _ in 0..20 {
            routes.learn(WAY, Mask::of(0), false);
            routes.learn(other, Mask::of(0), true);
        }
        assert!(!worth(&mut routes, WAY, 0));
        assert!(worth(&mut routes, other, 0));
        for _ in 0..100 {
            routes.learn(WAY, Mask::of(1), false);
        }
        assert!(!worth(&mut routes, Path { labels: [9, 9, 9], ..WAY }, 1), "the link alone says so");
        assert!(worth(&mut routes, Path { ingress: 4, ..WAY }, 1), "another link says nothing");
    }

    #[test]
    fn a_lost_link_is_forgotten_both_ways() {
        let mut routes = Routes::default();
        routes.learn(WAY, Mask::of(0), false);
        routes.learn(WAY, Mask::of(1), false);
        routes.link_lost(0);
        assert!(worth(&mut routes, WAY, 0) && !worth(&mut routes, WAY, 1));
        routes.link_lost(WAY.ingress);
        assert!(worth(&mut routes, WAY, 1));
    }

    #[test]
    fn contexts_are_bounded_and_one_neighbour_cannot_push_out_anothers() {
        let mut routes = Routes::default();
        routes.learn(WAY, Mask::of(0), false);
        for i in 0..5000u32 {
            let [a, b, c, _] = i.to_le_bytes();
            routes.learn(Path { ingress: 4, labels: [a, b, c] }, Mask::of(0), true);
        }
        assert_eq!(routes.ingress(4).contexts.len(), MAX_CONTEXTS);
        assert!(!worth(&mut routes, WAY, 0));
    }

    #[test]
    fn dependable_is_who_comes_first_often_enough_running_and_unasked() {
        let mut routes = Routes::default();
        for _ in 0..DEPENDABLE_AFTER {
            assert!(!routes.is_dependable(WAY));
            routes.came_first(WAY, false);
        }
        assert!(routes.is_dependable(WAY));
        routes.came_later(WAY);
        assert!(!routes.is_dependable(WAY));
        (0..DEPENDABLE_AFTER).for_each(|_| routes.came_first(WAY, false));
        routes.came_first(WAY, true);
        assert!(!routes.is_dependable(WAY));
    }
}
