//! Looking for more links: whom to dial while some are missing, and when to look again.

use std::{collections::BTreeSet, time::Duration};

use rand::{
    Rng,
    seq::{IndexedRandom, IteratorRandom, SliceRandom},
};
use starling_wire::NodeId;

use super::{
    super::{io::Direction, peers::Peers, time::Time},
    Candidate, Overlay, Plan, SECOND_THOUGHT,
    book::FIRST_BACKOFF,
};

/// Wait between two looks for more links; doubles with each look that finds nobody to dial, up to [`MAX_LOOK_WAIT`].
pub(super) const SEEK_EVERY: Duration = Duration::from_millis(500);

/// Longest wait between two looks while links are missing.
const MAX_LOOK_WAIT: Duration = Duration::from_secs(30);

/// A dial that has not come up by then is not waited for: another is made.
pub(super) const SLOW_DIAL: Duration = Duration::from_secs(1);

/// After this long without an answer from the driver a dial counts as failed.
const MAX_DIAL_TIME: Duration = Duration::from_secs(30);

impl Overlay {
    /// Dials as many as are missing: samples first, then whoever is in the view; at first only such as belong to
    /// networks that no outgoing link leads to yet.
    pub(super) fn look(
        &mut self,
        now: Time,
        peers: &Peers,
        open: &mut impl FnMut(&NodeId, &Self) -> bool,
        plan: &mut Plan,
        rng: &mut impl Rng,
    ) {
        let outgoing = peers.count(Direction::Outgoing);
        self.next_look = (outgoing < self.config.dials).then(|| now + self.look_wait);
        self.forget_overdue(now);
        let awaited =
            self.dialling.iter().filter(|(peer, at)| now - **at < SLOW_DIAL && !self.probing.contains(*peer)).count();
        let mut missing = self.config.dials.saturating_sub(outgoing + awaited);
        if missing == 0 {
            return;
        }
        let mut members: Vec<NodeId> = self.view.nodes().copied().collect::<BTreeSet<_>>().into_iter().collect();
        members.shuffle(rng);
        let candidates: Vec<NodeId> = self.stream.iter().copied().chain(members).collect();
        let mut owners: BTreeSet<Vec<u8>> = peers
            .iter()
            .filter(|(_, link)| link.direction == Direction::Outgoing)
            .filter_map(|(_, link)| link.place.owner().map(<[u8]>::to_vec))
            .collect();
        for diverse in [true, false] {
            for peer in &candidates {
                if missing == 0 {
                    break;
                }
                let owner = self.book.get(peer).and_then(|known| known.place.owner()).map(<[u8]>::to_vec);
                if open(peer, self) && !(diverse && owner.as_ref().is_some_and(|owner| owners.contains(owner))) {
                    owners.extend(owner);
                    missing -= 1;
                    self.dial(now, *peer, plan);
                }
            }
        }
        let dialled = |peer: &NodeId| self.dialling.contains_key(peer);
        self.stream.retain(|peer| !dialled(peer) && peers.get(peer).is_none());
        if missing > 0 {
            plan.exchange = plan.exchange.or_else(|| peers.ready().map(|(peer, _)| *peer).choose(rng));
            if outgoing == 0 && self.dialling.is_empty() && now >= self.bootstrap_not_before {
                self.bootstrap(now, plan, rng);
            }
        }
        self.look_wait = if plan.dial.is_empty() { (self.look_wait * 2).min(MAX_LOOK_WAIT) } else { SEEK_EVERY };
    }

    fn forget_overdue(&mut self, now: Time) {
        let overdue: Vec<NodeId> =
            self.dialling.iter().filter(|(_, at)| now - **at >= MAX_DIAL_TIME).map(|(peer, _)| *peer).collect();
        for peer in overdue {
            self.dialling.remove(&peer);
            self.probing.remove(&peer);
        }
    }

    fn bootstrap(&mut self, now: Time, plan: &mut Plan, rng: &mut impl Rng) {
        let Some(address) = self.config.bootstrap.choose(rng) else { return };
        self.bootstrap_not_before = now + FIRST_BACKOFF;
        if now < Time::ZERO + SECOND_THOUGHT {
            self.second_thought = Some(Time::ZERO + SECOND_THOUGHT);
        }
        plan.dial.push(Candidate { peer: None, addresses: vec![address.clone()] });
    }

    pub(super) fn dial(&mut self, now: Time, peer: NodeId, plan: &mut Plan) {
        if let Some(known) = self.book.get(&peer) {
            plan.dial.push(Candidate { peer: Some(peer), addresses: known.record.addresses.clone() });
            self.dialling.insert(peer, now);
        }
    }

    /// Has the next look be now.
    pub(super) fn look_soon(&mut self, now: Time) {
        self.look_wait = SEEK_EVERY;
        self.next_look = Some(self.next_look.map_or(now, |look| look.min(now)));
    }
}
