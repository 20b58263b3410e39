//! Which links to give up: an incoming one for a newcomer, and now and then the outgoing one of least use.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use rand::{Rng, seq::IteratorRandom};
use starling_wire::NodeId;

use super::{
    super::{
        io::Direction,
        peers::{Link, Peers},
        time::Time,
    },
    view::View,
};

/// A younger incoming link is not given up for a newcomer: bounds how often links change.
const MIN_AGE: Duration = Duration::from_secs(30);

/// Incoming links spared for each merit. With four merits, and half of the rest for their age, six of 24 may go.
const SPARED: usize = 4;

/// A younger outgoing link has had no time to be of use.
const MIN_TRIAL: Duration = Duration::from_secs(60);

/// The incoming link that gives way to a newcomer, if there is one that may.
///
/// As Bitcoin Core does it (`SelectNodeToEvict`): spared are those in networks that an attacker cannot choose, the
/// nearest, those that brought most, and the oldest half of the rest. Of what is left, the youngest of the network with
/// the most links goes: an attacker who comes with many displaces himself.
pub(super) fn to_evict(now: Time, peers: &Peers, view: &View) -> Option<NodeId> {
    let mut left: Vec<(&NodeId, &Link)> = peers
        .ready()
        .filter(|(_, link)| link.direction == Direction::Incoming && now - link.since >= MIN_AGE)
        .collect();
    let owner = |link: &Link| link.place.owner().unwrap_or_default().to_vec();
    spare(&mut left, |link| view.draw_for(&owner(link)));
    spare(&mut left, |link| link.rtt().unwrap_or(Duration::MAX));
    spare(&mut left, |link| Reverse(link.first_deliveries));
    left.sort_by_key(|(_, link)| link.since);
    left.drain(..left.len().div_ceil(2));
    let mut owners: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    left.iter().for_each(|(_, link)| *owners.entry(owner(link)).or_default() += 1);
    left.into_iter().max_by_key(|(_, link)| (owners[&owner(link)], link.since)).map(|(peer, _)| *peer)
}

/// Takes out those of most merit: the lowest values.
fn spare<K: Ord>(left: &mut Vec<(&NodeId, &Link)>, merit: impl Fn(&Link) -> K) {
    left.sort_by_key(|(_, link)| merit(link));
    left.drain(..SPARED.min(left.len()));
}

/// The outgoing link that was of least use for its age; anchors stay.
pub(super) fn to_rotate(now: Time, peers: &Peers, anchors: &[NodeId], rng: &mut impl Rng) -> Option<NodeId> {
    let use_of = |link: &Link| link.first_deliveries as f64 / (now - link.since).as_secs_f64().max(1.0);
    let tried: Vec<_> = peers
        .ready()
        .filter(|(peer, link)| {
            link.direction == Direction::Outgoing && now - link.since >= MIN_TRIAL && !anchors.contains(peer)
        })
        .collect();
    let least = tried.iter().map(|(_, link)| use_of(link)).min_by(f64::total_cmp)?;
    tried.iter().filter(|(_, link)| use_of(link) <= least).map(|(peer, _)| **peer).choose(rng)
}

/// The outgoing links that have stood for longest, so many at most.
pub(super) fn oldest(peers: &Peers, count: usize) -> Vec<NodeId> {
    let mut outgoing: Vec<_> = peers.ready().filter(|(_, link)| link.direction == Direction::Outgoing).collect();
    outgoing.sort_by_key(|(_, link)| link.since);
    outgoing.into_iter().take(count).map(|(peer, _)| *peer).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::{
        super::{super::io::Address, place::Place},
        *,
    };

    fn node(i: u8) -> NodeId {
        NodeId([i; 32])
    }

    fn at(seconds: u64) -> Time {
        Time::after(Duration::from_secs(seconds))
    }

    /// Links to nodes 1, 2, …, one second after the other, each in a /16 of its own.
    fn peers(count: u8, direction: Direction) -> Peers {
        let mut peers = Peers::default();
        for i in 1..=count {
            let place = Place::of(&Address(vec![4, 50, i, 1, 1].into()));
            peers.insert(at(i.into()), node(i), direction, place);
            peers.get_mut(&node(i)).unwrap().ready = true;
        }
        peers
    }

    #[test]
    fn an_attacker_with_many_links_displaces_himself() {
        let view = View::new([1; 32]);
        let mut links = peers(24, Direction::Incoming);
        assert_eq!(to_evict(at(30), &links, &view), None, "all are young");
        for i in 1..=12 {
            let link = links.get_mut(&node(i)).unwrap();
            link.first_deliveries = 100;
            link.measured(Duration::from_millis(20));
        }
        // The later ones are all of one network.
        for i in 13..=24 {
            links.get_mut(&node(i)).unwrap().place = Place::of(&Address(vec![4, 60, 1, i, 1].into()));
        }
        let mut gone = Vec::new();
        while let Some(victim) = to_evict(at(100), &links, &view) {
            links.remove(&victim);
            gone.push(victim);
        }
        assert!(gone.len() >= 6 && gone[..6].iter().all(|victim| victim.0[0] > 12), "{gone:?}");
    }

    #[test]
    fn the_least_useful_is_rotated_and_anchors_stay() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut links = peers(8, Direction::Outgoing);
        assert_eq!(to_rotate(at(30), &links, &[], &mut rng), None, "all are new");
        for i in 1..=8 {
            links.get_mut(&node(i)).unwrap().first_deliveries = if i == 1 || i == 5 { 1 } else { 50 };
        }
        assert_eq!(to_rotate(at(100), &links, &oldest(&links, 2), &mut rng), Some(node(5)));
        assert_eq!(oldest(&links, 2), [node(1), node(2)]);
        assert_eq!(to_evict(at(100), &links, &View::new([1; 32])), None, "none came in");
    }
}
