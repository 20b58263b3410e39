//! The overlay: which nodes there are, where they are, and who is linked with whom.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::regions::{Place, Regions};

/// Links a node has at most, those opened by others included: what an engine keeps, and what nodes of a planned overlay
/// are told to accept.
pub(crate) const MAX_DEGREE: usize = 64;

/// One direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arc {
    /// Where it comes from.
    pub(crate) from: u32,
    /// Where it goes.
    pub(crate) to: u32,
    /// The other direction.
    pub(crate) reverse: u32,
    /// How long a message of no size is under way, in microseconds, without jitter.
    pub(crate) delay_us: u32,
    /// Whether `from` opened the link.
    pub(crate) outgoing: bool,
}

/// Nodes and links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topology {
    /// All directions of all links, those from one node next to each other.
    pub(crate) arcs: Vec<Arc>,
    /// Where each node's begin in `arcs`, and the end.
    first: Vec<u32>,
    /// Where each node is.
    pub(crate) places: Vec<Place>,
}

impl Topology {
    /// Nodes placed in regions by weight, each of which opens `dials` links to random others; two nodes have one link
    /// at most.
    pub(crate) fn random(regions: &Regions, nodes: usize, dials: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let places = regions.places(nodes, &mut rng);
        let mut neighbours: Vec<Vec<u32>> = vec![Vec::new(); nodes];
        let mut links = Vec::with_capacity(nodes * dials);
        for node in 0..nodes {
            let mut missing = dials.min(nodes.saturating_sub(1));
            // In a network too small or too full for it, a node makes do with fewer.
            for _ in 0..100 * dials {
                if missing == 0 || neighbours[node].len() >= MAX_DEGREE {
                    break;
                }
                let other = rng.random_range(0..nodes);
                let taken = neighbours[node].contains(&(other as u32)) || neighbours[other].len() >= MAX_DEGREE;
                if other == node || taken {
                    continue;
                }
                neighbours[node].push(other as u32);
                neighbours[other].push(node as u32);
                let way = |from: usize, to: usize| regions.way_us(places[from], places[to]);
                links.push((node as u32, other as u32, way(node, other), way(other, node)));
                missing -= 1;
            }
        }
        Self::new(nodes, &links, places)
    }

    /// From links, each given as opener, other end, and the delays there and back in microseconds.
    pub(crate) fn new(nodes: usize, links: &[(u32, u32, u32, u32)], places: Vec<Place>) -> Self {
        let mut degree = vec![0_u32; nodes];
        for (a, b, ..) in links {
            degree[*a as usize] += 1;
            degree[*b as usize] += 1;
        }
        let mut first = vec![0; nodes + 1];
        for node in 0..nodes {
            first[node + 1] = first[node] + degree[node];
        }
        let mut next = first.clone();
        let mut take = |node: u32| {
            let at = next[node as usize];
            next[node as usize] += 1;
            at
        };
        let mut arcs = vec![Arc { from: 0, to: 0, reverse: 0, delay_us: 0, outgoing: false }; 2 * links.len()];
        for &(a, b, there, back) in links {
            let (at, reverse) = (take(a), take(b));
            arcs[at as usize] = Arc { from: a, to: b, reverse, delay_us: there, outgoing: true };
            arcs[reverse as usize] = Arc { from: b, to: a, reverse: at, delay_us: back, outgoing: false };
        }
        Self { arcs, first, places }
    }

    /// The links, each by who opens it and the other end.
    pub(crate) fn links(&self) -> impl Iterator<Item = (usize, usize)> {
        self.arcs.iter().filter(|arc| arc.outgoing).map(|arc| (arc.from as usize, arc.to as usize))
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.first.len() - 1
    }

    /// The directions that lead away from a node.
    pub(crate) fn arcs_of(&self, node: usize) -> &[Arc] {
        &self.arcs[self.first[node] as usize..self.first[node + 1] as usize]
    }

    /// The direction that leads away from a node by its `slot`th link.
    pub(crate) fn arc(&self, node: usize, slot: usize) -> usize {
        self.first[node] as usize + slot
    }

    /// Which link of its origin a direction is.
    pub(crate) fn slot(&self, arc: usize) -> usize {
        arc - self.first[self.arcs[arc].from as usize] as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_node_opens_its_links_and_no_two_join_the_same_pair() {
        let earth = Regions::earth().unwrap();
        let topology = Topology::random(&earth, 200, 8, 7);
        assert_eq!(topology.arcs.len(), 2 * 8 * 200);
        let pairs: BTreeSet<_> = topology.arcs.iter().map(|arc| (arc.from, arc.to)).collect();
        assert_eq!(pairs.len(), topology.arcs.len());
        for node in 0..200 {
            let arcs = topology.arcs_of(node);
            assert_eq!(arcs.iter().filter(|arc| arc.outgoing).count(), 8);
            for (slot, arc) in arcs.iter().enumerate() {
                assert_eq!((arc.from as usize, topology.slot(topology.arc(node, slot))), (node, slot));
                let back = topology.arcs[arc.reverse as usize];
                assert_eq!((back.to as usize, back.from), (node, arc.to));
                assert!(arc.delay_us == back.delay_us && back.outgoing != arc.outgoing && arc.to != arc.from);
            }
        }
        assert_eq!(
            topology.places.iter().map(|place| place.region).collect::<BTreeSet<_>>().len(),
            8,
            "every region has a node"
        );
    }

    #[test]
    fn equal_seeds_give_equal_overlays_and_small_ones_work() {
        let earth = Regions::earth().unwrap();
        let of = |nodes, seed| Topology::random(&earth, nodes, 8, seed);
        assert_eq!(of(50, 1), of(50, 1));
        assert_ne!(of(50, 1), of(50, 2));
        assert_eq!(of(1, 1).arcs.len(), 0);
        assert_eq!(of(3, 1).arcs.len(), 6, "all with all");
    }
}
