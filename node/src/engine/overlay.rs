//! Finding neighbours and keeping enough of them.
//!
//! The node keeps an address book of signed records learned from neighbours and dials random entries of it until it
//! has opened as many links as it should. Bootstrap addresses are used only while the book has nobody left to dial.
//! A node that should open none keeps its book for others, and dials nobody.

use std::{collections::BTreeMap, time::Duration};

use rand::{
    Rng,
    seq::{IndexedRandom, IteratorRandom},
};
use starling_wire::{BoundedVec, NodeId, Record, limits::MAX_RECORDS};

use super::{
    config::OverlayConfig,
    io::{Address, Direction, PeerRecord},
    peers::Peers,
    time::Time,
};

/// Nodes remembered. Far more than are ever dialled; a random one gives way.
const MAX_BOOK: usize = 1024;

/// Addresses kept for a node.
const MAX_ADDRESSES: usize = 8;

/// Wait between two looks for more links; doubles with each look that finds nobody to dial, up to [`REFRESH_EVERY`].
const SEEK_EVERY: Duration = Duration::from_millis(500);

/// How often a node asks a random neighbour for peers, once it has its links: keeps the book fresh.
const REFRESH_EVERY: Duration = Duration::from_secs(30);

/// Wait before a node that could not be reached, or turned us away, is dialled again; doubles each time.
const FIRST_BACKOFF: Duration = Duration::from_secs(2);

/// Longest wait between two dials of a node.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// What is known of a node that is not necessarily a neighbour.
#[derive(Debug)]
struct Known {
    record: PeerRecord,
    failures: u32,
    not_before: Time,
}

/// Somebody to connect to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) peer: Option<NodeId>,
    pub(super) addresses: Vec<Address>,
}

/// What to do now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) dial: Vec<Candidate>,
    pub(super) ask: Option<NodeId>,
}

/// The overlay's state.
#[derive(Debug)]
pub(super) struct Overlay {
    config: OverlayConfig,
    identity: NodeId,
    own: Option<PeerRecord>,
    book: BTreeMap<NodeId, Known>,
    /// Dials under way, with the time at which they count as failed should the driver stay silent.
    dialling: BTreeMap<NodeId, Time>,
    bootstrap_failures: u32,
    bootstrap_not_before: Time,
    /// When to look for more links; `None` while there are enough.
    next_look: Option<Time>,
    look_wait: Duration,
    next_refresh: Time,
}

impl Overlay {
    pub(super) fn new(config: OverlayConfig, identity: NodeId) -> Self {
        Self {
            config,
            identity,
            own: None,
            book: BTreeMap::new(),
            dialling: BTreeMap::new(),
            bootstrap_failures: 0,
            bootstrap_not_before: Time::ZERO,
            next_look: Some(Time::ZERO),
            look_wait: SEEK_EVERY,
            next_refresh: Time::ZERO + REFRESH_EVERY,
        }
    }

    /// This node's own record, for those who ask.
    pub(super) fn set_own(&mut self, record: PeerRecord) {
        self.own = Some(record);
    }

    /// Takes records learned from a peer. Of two records of one node the newer counts. Gives the nodes of
    /// which something new is known.
    pub(super) fn learn(&mut self, now: Time, records: Vec<PeerRecord>, rng: &mut impl Rng) -> Vec<NodeId> {
        let (mut learned, mut news) = (Vec::new(), false);
        for mut record in records {
            record.addresses.retain(|address| address.0.len() <= Address::MAX_LEN);
            record.addresses.truncate(MAX_ADDRESSES);
            if record.node == self.identity || record.addresses.is_empty() {
                continue;
            }
            if let Some(known) = self.book.get_mut(&record.node) {
                if record.seq > known.record.seq {
                    learned.push(record.node);
                    known.record = record;
                }
                continue;
            }
            if self.book.len() >= MAX_BOOK
                && let Some(victim) = self.book.keys().choose(rng).copied()
            {
                self.book.remove(&victim);
            }
            learned.push(record.node);
            self.book.insert(record.node, Known { record, failures: 0, not_before: now });
            news = true;
        }
        if news {
            self.look_soon(now);
        }
        learned
    }

    /// What is known of a node.
    pub(super) fn record(&self, peer: &NodeId) -> Option<&PeerRecord> {
        self.book.get(peer).map(|known| &known.record)
    }

    /// Records for somebody who asks: this node's own and a random choice of the others.
    pub(super) fn sample(&self, rng: &mut impl Rng) -> BoundedVec<Record, MAX_RECORDS> {
        let own = self.own.as_ref().map(|own| own.envelope.clone());
        let known: Vec<_> = self.book.values().map(|known| known.record.envelope.clone()).collect();
        let records = own
            .into_iter()
            .chain(known.sample(rng, MAX_RECORDS - 1).cloned())
            .filter_map(Record::new)
            .collect::<Vec<_>>();
        BoundedVec::new(records).unwrap_or_else(|_| unreachable!("one and at most MAX_RECORDS - 1"))
    }

    /// This node's own record alone, for a new neighbour.
    pub(super) fn own(&self) -> Option<BoundedVec<Record, MAX_RECORDS>> {
        let record = Record::new(self.own.as_ref()?.envelope.clone())?;
        BoundedVec::new(vec![record]).ok()
    }

    /// Whether one more incoming link is welcome.
    pub(super) fn accepts(&self, peers: &Peers) -> bool {
        peers.count(Direction::Incoming) <= self.config.max_incoming
    }

    /// A connection came up.
    pub(super) fn connected(&mut self, peer: &NodeId) {
        self.dialling.remove(peer);
        self.bootstrap_failures = 0;
        if let Some(known) = self.book.get_mut(peer) {
            known.failures = 0;
        }
    }

    /// A node could not be reached, or does not want us: leaves it alone for a while.
    pub(super) fn failed(&mut self, now: Time, peer: Option<&NodeId>) {
        match peer {
            None => {
                self.bootstrap_not_before = now + backoff(self.bootstrap_failures);
                self.bootstrap_failures += 1;
            }
            Some(peer) => {
                self.dialling.remove(peer);
                if let Some(known) = self.book.get_mut(peer) {
                    known.not_before = now + backoff(known.failures);
                    known.failures += 1;
                }
            }
        }
    }

    /// A link is gone: looks for another at once.
    pub(super) fn link_lost(&mut self, now: Time) {
        self.look_soon(now);
    }

    /// Whom to dial and whom to ask for more, if it is time to.
    pub(super) fn timeout(
        &mut self,
        now: Time,
        peers: &Peers,
        banned: impl Fn(&NodeId) -> bool,
        rng: &mut impl Rng,
    ) -> Plan {
        let mut plan = Plan::default();
        if now >= self.next_refresh {
            self.next_refresh = now + REFRESH_EVERY;
            plan.ask = peers.ready().map(|(peer, _)| *peer).choose(rng);
        }
        if self.next_look.is_none_or(|at| at > now) {
            return plan;
        }
        let outgoing = peers.count(Direction::Outgoing);
        self.next_look = (outgoing < self.config.dials).then(|| now + self.look_wait);
        self.dialling.retain(|_, until| *until > now);
        let missing = self.config.dials.saturating_sub(outgoing + self.dialling.len());
        if missing == 0 {
            return plan;
        }
        let open: Vec<_> = self
            .book
            .iter()
            .filter(|(peer, known)| {
                known.not_before <= now
                    && peers.get(peer).is_none()
                    && !self.dialling.contains_key(peer)
                    && !banned(peer)
            })
            .collect();
        for (peer, known) in open.sample(rng, missing) {
            self.dialling.insert(**peer, now + MAX_DIAL_TIME);
            plan.dial.push(Candidate { peer: Some(**peer), addresses: known.record.addresses.clone() });
        }
        if plan.dial.len() < missing {
            plan.ask = plan.ask.or_else(|| peers.ready().map(|(peer, _)| *peer).choose(rng));
            if outgoing == 0
                && self.dialling.is_empty()
                && now >= self.bootstrap_not_before
                && let Some(address) = self.config.bootstrap.choose(rng)
            {
                self.bootstrap_not_before = now + FIRST_BACKOFF;
                plan.dial.push(Candidate { peer: None, addresses: vec![address.clone()] });
            }
        }
        self.look_wait = if plan.dial.is_empty() { (self.look_wait * 2).min(REFRESH_EVERY) } else { SEEK_EVERY };
        plan
    }

    /// When [`Self::timeout`] next has work.
    pub(super) fn deadline(&self) -> Time {
        self.next_look.map_or(self.next_refresh, |look| look.min(self.next_refresh))
    }

    fn look_soon(&mut self, now: Time) {
        self.look_wait = SEEK_EVERY;
        self.next_look = Some(self.next_look.map_or(now, |look| look.min(now)));
    }
}

/// After this long without an answer from the driver a dial counts as failed.
const MAX_DIAL_TIME: Duration = Duration::from_secs(30);

fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << failures.min(16)).min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn node(i: u16) -> NodeId {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&i.to_be_bytes());
        NodeId(id)
    }

    fn record(i: u16, seq: u64) -> PeerRecord {
        let addresses = vec![Address(vec![i as u8; 8].into())];
        PeerRecord { node: node(i), seq, addresses, envelope: vec![i as u8; 100].into() }
    }

    fn overlay() -> (Overlay, ChaCha8Rng) {
        let config = OverlayConfig { bootstrap: vec![Address(vec![9].into())], ..Default::default() };
        (Overlay::new(config, node(0)), ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn bootstraps_then_dials_what_it_learned() {
        let (mut overlay, mut rng) = overlay();
        let mut peers = Peers::default();
        let plan = overlay.timeout(Time::ZERO, &peers, |_| false, &mut rng);
        assert_eq!(plan.dial, [Candidate { peer: None, addresses: vec![Address(vec![9].into())] }]);
        peers.insert(Time::ZERO, node(1), Direction::Outgoing);
        overlay.connected(&node(1));
        overlay.learn(Time::ZERO, (0..20).map(|i| record(i, 1)).collect(), &mut rng);
        let plan = overlay.timeout(Time::ZERO, &peers, |peer| *peer == node(5), &mut rng);
        assert_eq!(plan.dial.len(), 7);
        let dialled: Vec<_> = plan.dial.iter().filter_map(|candidate| candidate.peer).collect();
        for never in [0, 1, 5] {
            assert!(!dialled.contains(&node(never)), "itself, a neighbour, a banned node");
        }
        let later = Time::ZERO + SEEK_EVERY;
        assert_eq!(overlay.timeout(later, &peers, |_| false, &mut rng), Plan::default(), "all under way");
        overlay.failed(later, Some(&dialled[0]));
        let plan = overlay.timeout(later + SEEK_EVERY, &peers, |_| false, &mut rng);
        assert_eq!(plan.dial.len(), 1);
        assert_ne!(plan.dial[0].peer, Some(dialled[0]), "backs off");
    }

    #[test]
    fn without_dials_it_looks_for_nobody() {
        let (Overlay { config, .. }, mut rng) = overlay();
        let mut overlay = Overlay::new(OverlayConfig { dials: 0, ..config }, node(0));
        let mut peers = Peers::default();
        overlay.learn(Time::ZERO, (0..20).map(|i| record(i, 1)).collect(), &mut rng);
        for direction in [Direction::Incoming, Direction::Outgoing] {
            assert_eq!(overlay.timeout(Time::ZERO, &peers, |_| false, &mut rng), Plan::default());
            assert!(overlay.deadline() > Time::ZERO, "and is not called for nothing");
            peers.insert(Time::ZERO, node(direction as u16 + 1), direction);
            overlay.connected(&node(direction as u16 + 1));
            overlay.link_lost(Time::ZERO);
        }
        assert!(overlay.accepts(&peers));
        assert_eq!(overlay.sample(&mut rng).len(), MAX_RECORDS - 1, "others are told of those it knows");
    }

    #[test]
    fn the_book_is_bounded_and_newer_records_win() {
        let (mut overlay, mut rng) = overlay();
        overlay.learn(Time::ZERO, vec![record(1, 5), record(1, 4)], &mut rng);
        assert_eq!(overlay.book[&node(1)].record.seq, 5);
        overlay.learn(Time::ZERO, vec![record(1, 6)], &mut rng);
        assert_eq!(overlay.book[&node(1)].record.seq, 6);
        overlay.learn(Time::ZERO, (1..3000).map(|i| record(i, 1)).collect(), &mut rng);
        assert_eq!(overlay.book.len(), MAX_BOOK);
        assert_eq!(overlay.sample(&mut rng).len(), MAX_RECORDS - 1, "no own record yet");
        overlay.set_own(record(0, 1));
        assert_eq!(overlay.sample(&mut rng).len(), MAX_RECORDS);
    }

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        assert_eq!(backoff(0), FIRST_BACKOFF);
        assert_eq!(backoff(1), FIRST_BACKOFF * 2);
        assert_eq!(backoff(u32::MAX), MAX_BACKOFF);
    }
}
