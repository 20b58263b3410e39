//! What can be said of a graph: does it hang together, how far apart are its nodes, how clustered are they?

use std::collections::{BTreeSet, VecDeque};

use serde::Serialize;

/// Nodes from which distances are measured at most: enough for a diameter that is off by one at worst in practice.
const SOURCES: usize = 64;

/// An undirected graph's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Shape {
    /// Sizes of its components, the largest first.
    pub(crate) components: Vec<usize>,
    /// Mean number of neighbours.
    pub(crate) degree_mean: f64,
    /// Fewest and most neighbours.
    pub(crate) degree_min: usize,
    pub(crate) degree_max: usize,
    /// The longest of the shortest paths, in hops, within components.
    pub(crate) diameter: usize,
    /// How often two neighbours of a node are neighbours of each other.
    pub(crate) clustering: f64,
    /// The same in a random graph of as many nodes and links.
    pub(crate) clustering_random: f64,
}

impl Shape {
    /// Of the neighbours of each node; a link counts that one of its ends has.
    pub(crate) fn new(links: &[Vec<usize>]) -> Self {
        let mut all: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); links.len()];
        for (from, others) in links.iter().enumerate() {
            for to in others.iter().filter(|to| **to != from) {
                all[from].insert(*to);
                all[*to].insert(from);
            }
        }
        let degrees: Vec<usize> = all.iter().map(BTreeSet::len).collect();
        let nodes = links.len().max(1) as f64;
        let degree_mean = degrees.iter().sum::<usize>() as f64 / nodes;
        let every = links.len().div_ceil(SOURCES).max(1);
        let diameter = (0..links.len()).step_by(every).map(|from| farthest(&all, from)).max().unwrap_or(0);
        let (mut pairs, mut closed) = (0_u64, 0_u64);
        for others in &all {
            for one in others {
                pairs += others.len() as u64 - 1;
                closed += others.intersection(&all[*one]).count() as u64;
            }
        }
        Self {
            components: components(&all),
            degree_mean,
            degree_min: degrees.iter().copied().min().unwrap_or(0),
            degree_max: degrees.iter().copied().max().unwrap_or(0),
            diameter,
            clustering: if pairs == 0 { 0.0 } else { closed as f64 / pairs as f64 },
            clustering_random: degree_mean / (nodes - 1.0).max(1.0),
        }
    }
}

fn components(links: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut seen = vec![false; links.len()];
    let mut sizes = Vec::new();
    for start in 0..links.len() {
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let (mut size, mut open) = (0, vec![start]);
        while let Some(at) = open.pop() {
            size += 1;
            open.extend(links[at].iter().copied().filter(|next| !std::mem::replace(&mut seen[*next], true)));
        }
        sizes.push(size);
    }
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes
}

fn farthest(links: &[BTreeSet<usize>], from: usize) -> usize {
    let mut distance = vec![usize::MAX; links.len()];
    distance[from] = 0;
    let (mut open, mut most) = (VecDeque::from([from]), 0);
    while let Some(at) = open.pop_front() {
        most = distance[at];
        for next in &links[at] {
            if distance[*next] == usize::MAX {
                distance[*next] = most + 1;
                open.push_back(*next);
            }
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_small_graphs() {
        // A triangle with a tail, and somebody alone.
        let shape = Shape::new(&[vec![1, 2], vec![2], vec![3], vec![], vec![]]);
        assert_eq!(shape.components, [4, 1]);
        assert_eq!((shape.degree_min, shape.degree_max, shape.diameter), (0, 3, 2));
        assert!((shape.degree_mean - 8.0 / 5.0).abs() < 1e-9);
        assert!((shape.clustering - 6.0 / 10.0).abs() < 1e-9, "{}", shape.clustering);
        assert_eq!(Shape::new(&[vec![1], vec![]]).components, [2]);
    }
}
