//! Shortest paths through the overlay: what no relay can beat.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use super::topology::Topology;

/// No path leads there.
pub(crate) const UNREACHABLE: u32 = u32::MAX;

/// The delays of the shortest paths from a node to all others, in microseconds, over links between nodes for which
/// `open` holds.
pub(crate) fn dijkstra(topology: &Topology, from: usize, open: impl Fn(usize) -> bool) -> Vec<u32> {
    let mut best = vec![UNREACHABLE; topology.nodes()];
    let mut heap = BinaryHeap::new();
    if open(from) {
        best[from] = 0;
        heap.push(Reverse((0_u32, from as u32)));
    }
    while let Some(Reverse((delay, node))) = heap.pop() {
        if delay > best[node as usize] {
            continue;
        }
        for arc in topology.arcs_of(node as usize) {
            let (to, delay) = (arc.to as usize, delay.saturating_add(arc.delay_us));
            if delay < best[to] && open(to) {
                best[to] = delay;
                heap.push(Reverse((delay, arc.to)));
            }
        }
    }
    best
}

impl Topology {
    /// Whether every node can be reached from the first over links.
    pub(crate) fn is_connected(&self) -> bool {
        self.nodes() == 0 || !dijkstra(self, 0, |_| true).contains(&UNREACHABLE)
    }
}

/// Distances computed so far, shared by all runs over one overlay.
#[derive(Debug, Default)]
pub(crate) struct Distances {
    /// By origin, and whether the crashed nodes are out.
    known: BTreeMap<(usize, bool), Vec<u32>>,
}

impl Distances {
    /// From an origin to all nodes; without the `dead` ones if they are given.
    pub(crate) fn from(&mut self, topology: &Topology, origin: usize, dead: Option<&[bool]>) -> &[u32] {
        self.known
            .entry((origin, dead.is_some()))
            .or_insert_with(|| dijkstra(topology, origin, |node| dead.is_none_or(|dead| !dead[node])))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Place, *};

    #[test]
    fn shortest_paths_of_a_graph_made_by_hand() {
        // 0 - 1 - 2 is shorter than 0 - 2; 3 hangs on 2, faster there than back; 4 is alone.
        let links = [(0, 1, 10, 10), (1, 2, 15, 15), (0, 2, 40, 40), (2, 3, 5, 7)];
        let topology = Topology::new(5, &links, vec![Place { region: 0, access_us: 0 }; 5]);
        assert_eq!(dijkstra(&topology, 0, |_| true), [0, 10, 25, 30, UNREACHABLE]);
        assert!(!topology.is_connected());
        let joined = Topology::new(3, &links[..2], topology.places[..3].to_vec());
        assert!(joined.is_connected());
        assert_eq!(dijkstra(&topology, 3, |_| true), [32, 22, 7, 0, UNREACHABLE]);
        assert_eq!(dijkstra(&topology, 0, |node| node != 1), [0, UNREACHABLE, 40, 45, UNREACHABLE]);
        let mut distances = Distances::default();
        let dead = [false, true, false, false, false];
        assert_eq!(distances.from(&topology, 0, None)[2], 25);
        assert_eq!(distances.from(&topology, 0, Some(&dead))[2], 40);
        assert_eq!(distances.from(&topology, 0, None)[2], 25);
    }
}
