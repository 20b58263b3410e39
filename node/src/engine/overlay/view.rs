//! Who a node knows of: a sample of the network that nobody can fill.
//!
//! Basalt (Auvolat, Bromberg, Frey, Taïani: BASALT: A Rock-Solid Foundation for Epidemic Consensus Algorithms in Very
//! Large, Very Open Networks, 2021). Each slot has a seed, which nobody else knows, and holds the node that ranks first
//! under it among all that were ever heard of. Naming a node more often does not make it rank better: whoever sends more
//! gets no more slots. Ranks are by network first (see [`Place`]), so that many keys in few networks get few slots.
//! Slots are given new seeds in turn; who is in one until then is a sample of the network, drawn at random.
//!
//! How often slots change hands says how much there is left to hear of: of a network of n nodes of which a node has heard
//! of k, the next one changes `SLOTS / k` slots, and more identities in one hand than others have change them no more than
//! the logarithm of their number says.
//!
//! In a testnet all nodes have the address 127.0.0.1, so that all networks tie and the key alone decides.

use std::{cmp::Reverse, collections::VecDeque};

use rand::{Rng, seq::IndexedRandom};
use starling_wire::NodeId;

use super::{
    super::time::Time,
    place::{NETWORKS, Place},
};

/// Slots: more know more and converge slower. The paper has 100 to 200; with 128 and a fifth of the nodes hostile, the
/// chance of a view without honest nodes is 10^-89.
pub(super) const SLOTS: usize = 128;

/// Ranks are compared network by network, the widest first, and by key in the end.
const LEVELS: usize = NETWORKS + 1;

type Rank = [u64; LEVELS];

#[derive(Debug, Clone, Copy)]
struct Holder {
    node: NodeId,
    rank: Rank,
    since: Time,
    /// It ranks first of all that were ever heard of, not only of those that were remembered when the slot was filled anew.
    /// Where more are heard of than are remembered this is so until the slot gets its second seed, 21 minutes at most.
    of_all: bool,
}

/// The slots.
#[derive(Debug)]
pub(super) struct View {
    key: [u8; 32],
    /// The slot of seed s is `s % SLOTS`; seeds are `base` to `base + SLOTS - 1`.
    slots: [Option<Holder>; SLOTS],
    base: u64,
    /// When slots whose holders were first of all last got better ones, as many times as there are slots in half of the
    /// view, the oldest first. Others get better ones with nothing new in the network.
    changes: VecDeque<Time>,
}

/// One node's ranks: those of one level under all seeds come out of one keyed hash, worked out when it is needed.
struct Ranks<'a> {
    key: &'a [u8; 32],
    node: &'a NodeId,
    place: &'a Place,
    levels: [Option<u64>; LEVELS],
}

impl<'a> Ranks<'a> {
    fn new(view: &'a View, node: &'a NodeId, place: &'a Place) -> Self {
        Self { key: &view.key, node, place, levels: [None; LEVELS] }
    }

    fn of(&mut self, level: usize, seed: u64) -> u64 {
        let hash = *self.levels[level].get_or_insert_with(|| {
            let named = if level < NETWORKS { self.place.network(level) } else { &self.node.0 };
            hash(self.key, level as u8, named)
        });
        mix(hash.wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// A number that nobody can foresee who does not have the key.
fn hash(key: &[u8; 32], purpose: u8, of: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&[purpose]).update(of);
    hasher.finalize().as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): numbers in a row become as good as random ones.
fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

impl View {
    /// Empty slots; the key must be unpredictable to others.
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, slots: [None; SLOTS], base: 0, changes: VecDeque::new() }
    }

    /// A node was heard of. Says whether it ranks first anywhere.
    pub(super) fn offer(&mut self, now: Time, node: &NodeId, place: &Place) -> bool {
        let mut taken = Vec::new();
        let mut ranks = Ranks::new(self, node, place);
        for seed in self.base..self.base + SLOTS as u64 {
            let slot = (seed % SLOTS as u64) as usize;
            if let Some(rank) = beats(&self.slots[slot], seed, &mut ranks) {
                let of_all = self.slots[slot].is_none_or(|holder| holder.of_all);
                taken.push((slot, Holder { node: *node, rank, since: now, of_all }));
            }
        }
        let first = !taken.is_empty();
        for (slot, holder) in taken {
            self.slots[slot] = Some(holder);
            if holder.of_all {
                self.changes.push_back(now);
            }
            if self.changes.len() > SLOTS / 2 {
                self.changes.pop_front();
            }
        }
        first
    }

    /// When somebody new last took a slot from whoever was first of all.
    pub(super) fn changed_at(&self) -> Option<Time> {
        self.changes.back().copied()
    }

    /// The last time before which nearly half of the view was another: who was drawn by then was drawn out of fewer.
    pub(super) fn outdated_at(&self) -> Option<Time> {
        (self.changes.len() >= SLOTS / 2).then(|| self.changes.front().copied()).flatten()
    }

    /// Who is in the view, once each, the latest to enter it first.
    pub(super) fn newest(&self) -> Vec<NodeId> {
        let mut members: Vec<_> =
            self.slots.iter().flatten().map(|holder| (&holder.node, Reverse(holder.since))).collect();
        members.sort_unstable();
        members.dedup_by_key(|(node, _)| *node);
        members.sort_by_key(|(_, since)| *since);
        members.into_iter().map(|(node, _)| *node).collect()
    }

    /// Gives the slot whose turn it is a new seed, and those who rank first under it among the ones known; `all` says
    /// that those are all that were ever heard of. Who was in it is a sample.
    pub(super) fn renew<'a>(
        &mut self,
        now: Time,
        known: impl Iterator<Item = (&'a NodeId, &'a Place)>,
        all: bool,
    ) -> Option<NodeId> {
        let slot = (self.base % SLOTS as u64) as usize;
        let seed = self.base + SLOTS as u64;
        self.base += 1;
        let sample = self.slots[slot].take().map(|holder| holder.node);
        self.fill(now, slot, seed, known, all);
        sample
    }

    /// A node is no more: others take its slots, as in [`Self::renew`].
    pub(super) fn forget<'a>(
        &mut self,
        now: Time,
        node: &NodeId,
        known: impl Iterator<Item = (&'a NodeId, &'a Place)> + Clone,
        all: bool,
    ) {
        for seed in self.base..self.base + SLOTS as u64 {
            let slot = (seed % SLOTS as u64) as usize;
            if self.slots[slot].as_ref().is_some_and(|holder| holder.node == *node) {
                self.slots[slot] = None;
                self.fill(now, slot, seed, known.clone(), all);
            }
        }
    }

    fn fill<'a>(
        &mut self,
        now: Time,
        slot: usize,
        seed: u64,
        known: impl Iterator<Item = (&'a NodeId, &'a Place)>,
        of_all: bool,
    ) {
        let mut best = None;
        for (node, place) in known {
            if let Some(rank) = beats(&best, seed, &mut Ranks::new(self, node, place)) {
                best = Some(Holder { node: *node, rank, since: now, of_all });
            }
        }
        self.slots[slot] = best;
    }

    /// Who is in a slot, slot by slot: one node may be in several.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.slots.iter().flatten().map(|holder| &holder.node)
    }

    /// Who is in a random slot.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Option<&NodeId> {
        self.slots.choose(rng)?.as_ref().map(|holder| &holder.node)
    }

    /// Whether a node is in a slot.
    pub(super) fn holds(&self, node: &NodeId) -> bool {
        self.nodes().any(|other| other == node)
    }

    /// A number for a network that others cannot foresee.
    pub(super) fn draw_for(&self, network: &[u8]) -> u64 {
        hash(&self.key, u8::MAX, network)
    }
}

/// The rank of a node that takes a slot from its holder. Equal networks have equal ranks, so none are compared by name.
fn beats(holder: &Option<Holder>, seed: u64, ranks: &mut Ranks<'_>) -> Option<Rank> {
    if let Some(holder) = holder {
        let level = (0..LEVELS).find(|level| ranks.of(*level, seed) != holder.rank[*level])?;
        if ranks.of(level, seed) > holder.rank[level] {
            return None;
        }
    }
    Some(std::array::from_fn(|level| ranks.of(level, seed)))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        time::Duration,
    };

    use super::{super::super::io::Address, *};

    fn node(i: u32) -> NodeId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&i.to_be_bytes());
        NodeId(id)
    }

    fn place(ip: [u8; 4]) -> Place {
        Place::of(&Address([&[4][..], &ip].concat().into()))
    }

    const HERE: [u8; 4] = [127, 0, 0, 1];

    fn count(view: &View, which: impl Fn(u32) -> bool) -> usize {
        view.nodes().filter(|node| which(u32::from_be_bytes(*node.0.first_chunk().unwrap()))).count()
    }

    #[test]
    fn the_order_and_the_number_of_offers_do_not_matter() {
        let (mut forwards, mut backwards) = (View::new([1; 32]), View::new([1; 32]));
        let ip = |i: u32| place([i as u8 % 7, i as u8 % 3, 1, 1]);
        for i in 0..500 {
            forwards.offer(Time::ZERO, &node(i), &ip(i));
            let i = 499 - i;
            (0..=i % 5).for_each(|_| _ = backwards.offer(Time::ZERO, &node(i), &ip(i)));
        }
        assert!(forwards.nodes().eq(backwards.nodes()));
        let known: BTreeMap<NodeId, Place> = (0..500).map(|i| (node(i), ip(i))).collect();
        for slot in 0..2 * SLOTS as u64 {
            forwards.renew(Time::ZERO, known.iter(), true);
            assert_eq!(forwards.base, slot + 1);
        }
        let mut offered = View::new([1; 32]);
        offered.base = forwards.base;
        known.iter().for_each(|(node, place)| _ = offered.offer(Time::ZERO, node, place));
        assert!(forwards.nodes().eq(offered.nodes()), "renewed slots are as if all had been offered");
    }

    #[test]
    fn one_address_is_shared_fairly() {
        let mut view = View::new([2; 32]);
        (0..1000).for_each(|i| _ = view.offer(Time::ZERO, &node(i), &place(HERE)));
        let distinct: BTreeSet<_> = view.nodes().collect();
        assert!(distinct.len() > 100, "{} nodes in {SLOTS} slots", distinct.len());
        let attackers = count(&view, |i| i < 200);
        assert!((10..45).contains(&attackers), "a fifth of them has {attackers} slots");
    }

    #[test]
    fn one_network_gets_the_slots_of_one_network() {
        let mut view = View::new([3; 32]);
        for i in 0..200 {
            view.offer(Time::ZERO, &node(i), &place([i as u8, 1, 1, 1]));
        }
        // Many keys and many addresses in one /16.
        for i in 200..5000 {
            view.offer(Time::ZERO, &node(i), &place([7, 9, (i % 256) as u8, (i / 256) as u8]));
        }
        let attackers = count(&view, |i| i >= 200);
        assert!(attackers < SLOTS / 20, "{attackers} of {SLOTS}");
    }

    #[test]
    fn changes_become_rare_and_the_latest_come_first() {
        let mut view = View::new([5; 32]);
        let at = |second: u32| Time::after(Duration::from_secs(second.into()));
        let changing = |view: &mut View, nodes: std::ops::Range<u32>| {
            nodes.filter(|i| view.offer(at(*i), &node(*i), &place(HERE))).collect::<Vec<_>>()
        };
        assert_eq!(view.outdated_at(), None);
        assert!(changing(&mut view, 0..100).len() > 80);
        changing(&mut view, 100..900);
        let mut late = changing(&mut view, 900..1000);
        assert!((5..40).contains(&late.len()), "{late:?}");
        // Of 128 slots, half change while the number of nodes grows by two thirds.
        let outdated = view.outdated_at().unwrap();
        assert!((at(450)..at(750)).contains(&outdated), "{outdated:?}");
        let newest = view.newest();
        // Some of the late ones have given way to later ones.
        late.retain(|i| view.holds(&node(*i)));
        let (first, all) = (&newest[..late.len()], view.nodes().collect::<BTreeSet<_>>());
        assert!(first.iter().eq(late.iter().rev().map(|i| node(*i)).collect::<Vec<_>>().iter()));
        assert_eq!(newest.iter().collect::<BTreeSet<_>>(), all);
        assert_eq!(newest.len(), all.len());
    }

    #[test]
    fn what_was_forgotten_is_no_news() {
        let known: BTreeMap<NodeId, Place> = (0..500).map(|i| (node(i), place(HERE))).collect();
        let some = known.iter().take(100);
        let later = Time::after(Duration::from_secs(1));
        for all in [true, false] {
            let mut view = View::new([6; 32]);
            for slot in 0..SLOTS {
                view.renew(Time::ZERO, some.clone(), all);
                assert_eq!((view.base, view.changed_at()), (slot as u64 + 1, None));
            }
            let first = known.iter().filter(|(node, place)| view.offer(later, node, place)).count();
            assert!(first > 50, "{first}");
            assert_eq!(
                (view.changed_at(), view.outdated_at()),
                if all { (Some(later), Some(later)) } else { (None, None) }
            );
        }
    }

    #[test]
    fn samples_are_given_in_turn_and_who_is_gone_is_replaced() {
        let mut view = View::new([4; 32]);
        let known: BTreeMap<NodeId, Place> = (0..50).map(|i| (node(i), place(HERE))).collect();
        known.iter().for_each(|(node, place)| _ = view.offer(Time::ZERO, node, place));
        let before: Vec<NodeId> = view.nodes().copied().collect();
        let samples: Vec<NodeId> = (0..SLOTS).filter_map(|_| view.renew(Time::ZERO, known.iter(), true)).collect();
        assert_eq!(samples, before);
        assert!(view.holds(&node(7)));
        view.forget(Time::ZERO, &node(7), known.iter().filter(|(id, _)| **id != node(7)), true);
        assert!(!view.holds(&node(7)));
        assert_eq!(view.nodes().count(), SLOTS);
    }
}
