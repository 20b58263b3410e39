//! Where nodes are drawn: each region a disc of its nodes, the discs on a circle, near ones next to each other.

use std::{collections::BTreeMap, f64::consts::TAU};

use crate::{
    map::{Distances, UNREACHABLE},
    report::data::Data,
};

/// Nodes of a single region that are drawn on a circle; more of them fill a disc.
const RING: usize = 80;

/// A region as it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Disc {
    /// Its name; empty without regions.
    pub(super) name: String,
    pub(super) centre: (f64, f64),
    pub(super) radius: f64,
    /// The numbers of its nodes.
    pub(super) nodes: Vec<usize>,
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) discs: Vec<Disc>,
    /// By the numbers of the nodes.
    pub(super) nodes: Vec<(f64, f64)>,
    /// How large a node is drawn.
    pub(super) node_radius: f64,
}

/// Places all nodes on a square of so many pixels.
pub(super) fn layout(data: &Data<'_>, side: f64) -> Layout {
    let groups = in_order(data);
    let node_radius = (90.0 / (data.nodes.len() as f64).sqrt()).clamp(2.5, 11.0);
    let middle = side / 2.0;
    let room = side / 2.0 - 40.0;
    let mut nodes = vec![(middle, middle); data.nodes.len()];
    if let [(name, only)] = &groups[..] {
        for (place, node) in only.iter().enumerate() {
            let (angle, far) = if only.len() <= RING {
                (TAU * place as f64 / only.len() as f64, if only.len() > 1 { room } else { 0.0 })
            } else {
                spiral(place, only.len(), room)
            };
            nodes[*node] = (middle + far * angle.sin(), middle - far * angle.cos());
        }
        let disc = Disc { name: name.clone(), centre: (middle, middle), radius: room, nodes: only.clone() };
        return Layout { discs: vec![disc], nodes, node_radius };
    }
    // Each disc has an area by its nodes, and an angle by its radius.
    let spacing = node_radius * 2.7;
    let radius = |count: usize| spacing * 0.62 * (count as f64).sqrt() + node_radius;
    let around: f64 = groups.iter().map(|(_, nodes)| radius(nodes.len()) + 14.0).sum();
    let widest = groups.iter().map(|(_, nodes)| radius(nodes.len())).fold(0.0, f64::max);
    let ring = (room - widest).max(room * 0.45);
    let mut angle = 0.0;
    let mut discs = Vec::new();
    for (name, members) in groups {
        let part = TAU * (radius(members.len()) + 14.0) / around;
        let at = angle + part / 2.0;
        angle += part;
        let centre = (middle + ring * at.sin(), middle - ring * at.cos());
        let size = radius(members.len()).min(ring * (part / 2.0).sin().max(0.05));
        for (place, node) in members.iter().enumerate() {
            let (turn, far) = spiral(place, members.len(), size - node_radius);
            nodes[*node] = (centre.0 + far * turn.sin(), centre.1 - far * turn.cos());
        }
        discs.push(Disc { name, centre, radius: size + 4.0, nodes: members });
    }
    Layout { discs, nodes, node_radius }
}

/// The angle and the distance of a place in a disc that is evenly filled (Vogel 1979).
fn spiral(place: usize, count: usize, radius: f64) -> (f64, f64) {
    let far = if count == 1 { 0.0 } else { ((place as f64 + 0.5) / count as f64).sqrt() * radius };
    (place as f64 * TAU * 0.381_966, far)
}

/// The regions with their nodes, beginning with the largest, each followed by the nearest that is left.
fn in_order(data: &Data<'_>) -> Vec<(String, Vec<usize>)> {
    let mut left: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, node) in data.nodes.iter().enumerate() {
        left.entry(node.region.as_deref().unwrap_or_default()).or_default().push(number);
    }
    let largest = left.iter().max_by_key(|(name, nodes)| (nodes.len(), std::cmp::Reverse(**name)));
    let mut next = largest.map(|(name, _)| *name);
    let mut distances = Distances::default();
    let mut order = Vec::with_capacity(left.len());
    while let Some((name, nodes)) = next.and_then(|name| left.remove_entry(name)) {
        let ways = distances.from(&data.topology, nodes[0], None);
        let near = |members: &[usize]| members.iter().map(|node| ways[*node]).min().unwrap_or(UNREACHABLE);
        next = left.iter().min_by_key(|(_, members)| near(members)).map(|(name, _)| *name);
        order.push((name.to_owned(), nodes));
    }
    order
}
