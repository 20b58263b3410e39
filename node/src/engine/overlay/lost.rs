//! Neighbours that fell silent for good, and are tried again for a while. A node that crashed is not worth it, but the two
//! parts of a network that was cut each replace the links between them within seconds, and once it is whole again nobody
//! would look across for minutes.

use std::{collections::VecDeque, time::Duration};

use rand::{Rng, seq::IteratorRandom};
use starling_wire::NodeId;

use super::{super::time::Time, rhythm::about};

/// Time between two tries, on average: one dial in vain, as long as the network is cut, and half of this until the parts
/// of a healed one find each other.
const TRY_EVERY: Duration = Duration::from_secs(4);

/// How long they are tried. Longer than most cuts, and than a restart of a router.
const TRY_FOR: Duration = Duration::from_secs(15 * 60);

/// Neighbours remembered: as many as a node usually has. The oldest give way.
const MAX_LOST: usize = 32;

/// Those that are tried, in the order in which they were lost.
#[derive(Debug, Default)]
pub(super) struct Lost {
    nodes: VecDeque<(Time, NodeId)>,
    /// When the next is tried; `None` without any.
    next: Option<Time>,
}

impl Lost {
    /// A neighbour was given up.
    pub(super) fn add(&mut self, now: Time, peer: NodeId, rng: &mut impl Rng) {
        self.remove(&peer);
        if self.nodes.len() >= MAX_LOST {
            self.nodes.pop_front();
        }
        self.nodes.push_back((now + TRY_FOR, peer));
        self.next.get_or_insert(now + about(TRY_EVERY, rng));
    }

    /// It is back, or was reached.
    pub(super) fn remove(&mut self, peer: &NodeId) {
        self.nodes.retain(|(_, lost)| lost != peer);
    }

    /// Whether a node is tried again.
    pub(super) fn contains(&self, peer: &NodeId) -> bool {
        self.nodes.iter().any(|(_, lost)| lost == peer)
    }

    /// Whom to try now, if it is time to: one of those that are `open` to it.
    pub(super) fn draw(&mut self, now: Time, open: impl Fn(&NodeId) -> bool, rng: &mut impl Rng) -> Option<NodeId> {
        self.next.take_if(|at| *at <= now)?;
        while self.nodes.pop_front_if(|(until, _)| *until <= now).is_some() {}
        if !self.nodes.is_empty() {
            self.next = Some(now + about(TRY_EVERY, rng));
        }
        self.nodes.iter().map(|(_, peer)| *peer).filter(open).choose(rng)
    }

    /// When [`Self::draw`] next has work.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn node(i: u8) -> NodeId {
        NodeId([i; 32])
    }

    #[test]
    fn the_lost_are_tried_until_they_are_back_or_it_is_too_late() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut lost = Lost::default();
        assert_eq!((lost.deadline(), lost.draw(Time::ZERO, |_| true, &mut rng)), (None, None));
        lost.add(Time::ZERO, node(1), &mut rng);
        lost.add(Time::ZERO, node(1), &mut rng);
        lost.add(Time::ZERO, node(2), &mut rng);
        assert_eq!(lost.draw(Time::ZERO, |_| true, &mut rng), None, "not at once");
        let mut tried = Vec::new();
        while let Some(now) = lost.deadline() {
            assert!(now <= Time::ZERO + TRY_FOR + 2 * TRY_EVERY);
            if now > Time::after(Duration::from_secs(60)) {
                lost.remove(&node(2));
            }
            tried.extend(lost.draw(now, |peer| *peer != node(9), &mut rng).map(|peer| (now, peer)));
        }
        let of = |i: u8| tried.iter().filter(|(_, peer)| *peer == node(i)).count();
        assert!((180..260).contains(&of(1)) && (2..20).contains(&of(2)), "{} {}", of(1), of(2));
    }

    #[test]
    fn not_all_are_remembered() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut lost = Lost::default();
        (0..100).for_each(|i| lost.add(Time::ZERO, node(i), &mut rng));
        assert_eq!((lost.nodes.len(), lost.nodes[0].1), (MAX_LOST, node(100 - MAX_LOST as u8)));
        let now = lost.deadline().unwrap();
        assert_eq!(lost.draw(now, |_| false, &mut rng), None);
        assert!(lost.deadline().unwrap() > now, "they may be open later");
    }
}
