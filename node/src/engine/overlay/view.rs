//! Who a node knows of: a sample of the network that nobody can fill.
//!
//! Basalt (Auvolat, Bromberg, Frey, Taïani: BASALT: A Rock-Solid Foundation for Epidemic Consensus Algorithms in Very
//! Large, Very Open Networks, 2021). Each slot has a seed, which nobody else knows, and holds the node that ranks first
//! under it among all that were ever heard of. Naming a node more often does not make it rank better: whoever sends more
//! gets no more slots. Ranks are by network first (see [`Place`]), so that many keys in few networks get few slots.
//! Slots are given new seeds in turn; who is in one until then is a sample of the network, drawn at random.
//!
//! In a testnet all nodes have the address 127.0.0.1, so that all networks tie and the key alone decides.

use starling_wire::NodeId;

use super::place::{NETWORKS, Place};

/// Slots: more know more and converge slower. The paper has 100 to 200; with 128 and a fifth of the nodes hostile, the
/// chance of a view without honest nodes is 10^-89.
pub(super) const SLOTS: usize = 128;

/// Ranks are compared network by network, the widest first, and by key in the end.
const LEVELS: usize = NETWORKS + 1;

type Rank = [u64; LEVELS];

#[derive(Debug, Clone, Copy)]
struct Holder {
    node: NodeId,
    place: Place,
    rank: Rank,
}

/// The slots.
#[derive(Debug)]
pub(super) struct View {
    key: [u8; 32],
    /// The slot of seed s is `s % SLOTS`; seeds are `base` to `base + SLOTS - 1`.
    slots: [Option<Holder>; SLOTS],
    base: u64,
}

/// One node's ranks under all seeds, by level; levels are worked out when they are needed.
struct Ranks<'a> {
    key: &'a [u8; 32],
    base: u64,
    node: &'a NodeId,
    place: &'a Place,
    levels: [Option<Box<[u64; SLOTS]>>; LEVELS],
}

impl<'a> Ranks<'a> {
    fn new(view: &'a View, node: &'a NodeId, place: &'a Place) -> Self {
        Self { key: &view.key, base: view.base, node, place, levels: [const { None }; LEVELS] }
    }

    fn of(&mut self, level: usize, seed: u64) -> u64 {
        let (key, base) = (self.key, self.base);
        let ranks = self.levels[level].get_or_insert_with(|| {
            // All seeds of one level come out of one keyed hash: that of seed s stands at the s-th eight bytes.
            let mut bytes = [0; SLOTS * 8];
            output(key, level, self.node, self.place, base, &mut bytes);
            let mut ranks = Box::new([0; SLOTS]);
            for (rank, bytes) in ranks.iter_mut().zip(bytes.as_chunks().0) {
                *rank = u64::from_le_bytes(*bytes);
            }
            ranks
        });
        ranks[(seed - base) as usize]
    }
}

fn output(key: &[u8; 32], level: usize, node: &NodeId, place: &Place, seed: u64, out: &mut [u8]) {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&[level as u8]);
    hasher.update(if level < NETWORKS { place.network(level) } else { &node.0 });
    let mut reader = hasher.finalize_xof();
    reader.set_position(seed * 8);
    reader.fill(out);
}

impl View {
    /// Empty slots; the key must be unpredictable to others.
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, slots: [None; SLOTS], base: 0 }
    }

    /// A node was heard of.
    pub(super) fn offer(&mut self, node: &NodeId, place: &Place) {
        let mut taken = Vec::new();
        let mut ranks = Ranks::new(self, node, place);
        for seed in self.base..self.base + SLOTS as u64 {
            let slot = (seed % SLOTS as u64) as usize;
            if let Some(rank) = beats(&self.slots[slot], seed, &mut ranks) {
                taken.push((slot, Holder { node: *node, place: *place, rank }));
            }
        }
        for (slot, holder) in taken {
            self.slots[slot] = Some(holder);
        }
    }

    /// Gives the slot whose turn it is a new seed, and those who rank first under it among the ones known. Who was in it
    /// is a sample.
    pub(super) fn renew<'a>(&mut self, known: impl Iterator<Item = (&'a NodeId, &'a Place)>) -> Option<NodeId> {
        let slot = (self.base % SLOTS as u64) as usize;
        let seed = self.base + SLOTS as u64;
        self.base += 1;
        let sample = self.slots[slot].take().map(|holder| holder.node);
        self.fill(slot, seed, known);
        sample
    }

    /// A node is no more: others take its slots.
    pub(super) fn forget<'a>(&mut self, node: &NodeId, known: impl Iterator<Item = (&'a NodeId, &'a Place)> + Clone) {
        for seed in self.base..self.base + SLOTS as u64 {
            let slot = (seed % SLOTS as u64) as usize;
            if self.slots[slot].as_ref().is_some_and(|holder| holder.node == *node) {
                self.slots[slot] = None;
                self.fill(slot, seed, known.clone());
            }
        }
    }

    fn fill<'a>(&mut self, slot: usize, seed: u64, known: impl Iterator<Item = (&'a NodeId, &'a Place)>) {
        let mut best: Option<Holder> = None;
        for (node, place) in known {
            let rank = self.rank(seed, node, place, best.as_ref());
            if best.as_ref().is_none_or(|best| rank < best.rank) {
                best = Some(Holder { node: *node, place: *place, rank });
            }
        }
        self.slots[slot] = best;
    }

    /// A node's rank under one seed; only as far as it is needed to compare it with the best one so far.
    fn rank(&self, seed: u64, node: &NodeId, place: &Place, best: Option<&Holder>) -> Rank {
        let mut rank = [u64::MAX; LEVELS];
        for level in 0..LEVELS {
            rank[level] = match best {
                // The same network has the same rank.
                Some(best) if level < NETWORKS && best.place.network(level) == place.network(level) => best.rank[level],
                _ => {
                    let mut bytes = [0; 8];
                    output(&self.key, level, node, place, seed, &mut bytes);
                    u64::from_le_bytes(bytes)
                }
            };
            // What comes after a difference decides nothing; but whoever is ahead needs a whole rank.
            if best.is_some_and(|best| rank[..=level] > best.rank[..=level]) {
                break;
            }
        }
        rank
    }

    /// Who is in a slot, slot by slot: one node may be in several.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.slots.iter().flatten().map(|holder| &holder.node)
    }

    /// Whether a node is in a slot.
    pub(super) fn holds(&self, node: &NodeId) -> bool {
        self.nodes().any(|other| other == node)
    }

    /// A number for a network that others cannot foresee.
    pub(super) fn draw_for(&self, network: &[u8]) -> u64 {
        let hash = blake3::keyed_hash(&self.key, &[&[u8::MAX], network].concat());
        hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// The rank of a node that takes a slot from its holder.
fn beats(holder: &Option<Holder>, seed: u64, ranks: &mut Ranks<'_>) -> Option<Rank> {
    if let Some(holder) = holder {
        let level = (0..LEVELS).find(|level| match *level < NETWORKS {
            true => holder.place.network(*level) != ranks.place.network(*level),
            false => holder.node != *ranks.node,
        })?;
        if ranks.of(level, seed) >= holder.rank[level] {
            return None;
        }
    }
    let mut rank = [0; LEVELS];
    for (level, rank) in rank.iter_mut().enumerate() {
        *rank = ranks.of(level, seed);
    }
    Some(rank)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

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
            forwards.offer(&node(i), &ip(i));
            let i = 499 - i;
            (0..=i % 5).for_each(|_| backwards.offer(&node(i), &ip(i)));
        }
        assert!(forwards.nodes().eq(backwards.nodes()));
        let known: BTreeMap<NodeId, Place> = (0..500).map(|i| (node(i), ip(i))).collect();
        for slot in 0..2 * SLOTS as u64 {
            forwards.renew(known.iter());
            assert_eq!(forwards.base, slot + 1);
        }
        let mut offered = View::new([1; 32]);
        offered.base = forwards.base;
        known.iter().for_each(|(node, place)| offered.offer(node, place));
        assert!(forwards.nodes().eq(offered.nodes()), "renewed slots are as if all had been offered");
    }

    #[test]
    fn one_address_is_shared_fairly() {
        let mut view = View::new([2; 32]);
        (0..1000).for_each(|i| view.offer(&node(i), &place(HERE)));
        let distinct: BTreeSet<_> = view.nodes().collect();
        assert!(distinct.len() > 100, "{} nodes in {SLOTS} slots", distinct.len());
        let attackers = count(&view, |i| i < 200);
        assert!((10..45).contains(&attackers), "a fifth of them has {attackers} slots");
    }

    #[test]
    fn one_network_gets_the_slots_of_one_network() {
        let mut view = View::new([3; 32]);
        for i in 0..200 {
            view.offer(&node(i), &place([i as u8, 1, 1, 1]));
        }
        // Many keys and many addresses in one /16.
        for i in 200..5000 {
            view.offer(&node(i), &place([7, 9, (i % 256) as u8, (i / 256) as u8]));
        }
        let attackers = count(&view, |i| i >= 200);
        assert!(attackers < SLOTS / 20, "{attackers} of {SLOTS}");
    }

    #[test]
    fn samples_are_given_in_turn_and_who_is_gone_is_replaced() {
        let mut view = View::new([4; 32]);
        let known: BTreeMap<NodeId, Place> = (0..50).map(|i| (node(i), place(HERE))).collect();
        known.iter().for_each(|(node, place)| view.offer(node, place));
        let before: Vec<NodeId> = view.nodes().copied().collect();
        let samples: Vec<NodeId> = (0..SLOTS).filter_map(|_| view.renew(known.iter())).collect();
        assert_eq!(samples, before);
        assert!(view.holds(&node(7)));
        view.forget(&node(7), known.iter().filter(|(id, _)| **id != node(7)));
        assert!(!view.holds(&node(7)));
        assert_eq!(view.nodes().count(), SLOTS);
    }
}
