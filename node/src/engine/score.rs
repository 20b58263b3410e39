//! Blame adds up and decays; a peer with too much of it is banned for a time.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use lru::LruCache;
use starling_wire::NodeId;

use super::time::Time;

/// Points at which a peer is banned.
const BAN_AT: f64 = 100.0;

/// After this long without new blame, half of it is forgiven. Longer remembers slow attacks, shorter forgives a node
/// that was broken for a moment.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// How long a ban lasts. Long enough that coming back is not worth it, short enough that a repaired node is not lost.
pub(super) const BAN: Duration = Duration::from_secs(600);

/// Peers whose blame is remembered, connected or not; the least recently blamed give way.
const CAPACITY: usize = 4096;

/// What a peer did wrong, by how often an honest one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// Never: bytes that are no message, or a message where the protocol has none.
    Violation(&'static str),
    /// Never on purpose: an item that no honest node can have admitted.
    InvalidItem,
    /// Now and then: something announced and not sent in time.
    BrokenPromise,
    /// Often, around lost links and restarts: a request for what was sent, an answer nobody asked for.
    Waste,
}

impl Blame {
    /// A violation bans at once, five invalid items in quick succession do; promises may be broken about once in two
    /// seconds and waste may come about twice a second without end: the sum then stays under the threshold.
    fn points(self) -> f64 {
        match self {
            Self::Violation(_) => BAN_AT,
            Self::InvalidItem => 25.0,
            Self::BrokenPromise => 2.0,
            Self::Waste => 0.5,
        }
    }

    pub(super) fn describe(self) -> String {
        match self {
            Self::Violation(what) => format!("broke the protocol: {what}"),
            Self::InvalidItem => "sent too many invalid items".into(),
            Self::BrokenPromise => "announced too much that it did not send".into(),
            Self::Waste => "asked for or sent too much that was not needed".into(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    points: f64,
    at: Time,
}

impl Record {
    fn points(&self, now: Time) -> f64 {
        self.points * 0.5f64.powf((now - self.at).as_secs_f64() / HALF_LIFE.as_secs_f64())
    }
}

/// The blame of all peers.
#[derive(Debug)]
pub(super) struct Scores {
    records: LruCache<NodeId, Record>,
    banned: BTreeSet<NodeId>,
    /// When each ban ends; in order, as all last equally long.
    ends: VecDeque<(Time, NodeId)>,
}

impl Scores {
    pub(super) fn new() -> Self {
        Self { records: LruCache::unbounded(), banned: BTreeSet::new(), ends: VecDeque::new() }
    }

    /// Adds blame; says whether the peer is banned from now on.
    pub(super) fn blame(&mut self, now: Time, peer: NodeId, blame: Blame) -> bool {
        if self.records.len() >= CAPACITY && !self.records.contains(&peer) {
            self.records.pop_lru();
        }
        let record = self.records.get_or_insert_mut(peer, || Record { points: 0.0, at: now });
        *record = Record { points: record.points(now) + blame.points(), at: now };
        record.points >= BAN_AT && self.ban(now, peer)
    }

    /// Bans a peer; says whether it was not banned already.
    pub(super) fn ban(&mut self, now: Time, peer: NodeId) -> bool {
        let fresh = self.banned.insert(peer);
        if fresh {
            self.ends.push_back((now + BAN, peer));
        }
        fresh
    }

    /// Whether a peer is banned.
    pub(super) fn is_banned(&self, peer: &NodeId) -> bool {
        self.banned.contains(peer)
    }

    /// The score shown to people: 0 for a peer without blame, down to -100 and below for a banned one.
    pub(super) fn score(&self, now: Time, peer: &NodeId) -> f64 {
        self.records.peek(peer).map_or(0.0, |record| -record.points(now))
    }

    /// Ends the bans whose time is up, or that are too many to remember, and names them.
    pub(super) fn timeout(&mut self, now: Time) -> Vec<NodeId> {
        let mut ended = Vec::new();
        while let Some(&(end, peer)) = self.ends.front()
            && (end <= now || self.ends.len() > CAPACITY)
        {
            self.ends.pop_front();
            self.banned.remove(&peer);
            self.records.pop(&peer);
            ended.push(peer);
        }
        ended
    }

    /// When [`Self::timeout`] next has work.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.ends.front().map(|(end, _)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId([1; 32]);

    #[test]
    fn blame_adds_up_decays_and_bans_for_a_time() {
        let mut scores = Scores::new();
        for _ in 0..3 {
            assert!(!scores.blame(Time::ZERO, PEER, Blame::InvalidItem));
        }
        assert_eq!(scores.score(Time::ZERO, &PEER), -75.0);
        let later = Time::ZERO + HALF_LIFE;
        assert_eq!(scores.score(later, &PEER), -37.5);
        assert!(!scores.blame(later, PEER, Blame::InvalidItem));
        assert!(scores.blame(later, PEER, Blame::Violation("test")));
        assert!(!scores.blame(later, PEER, Blame::Violation("test")), "banned once");
        assert!(scores.is_banned(&PEER));
        assert_eq!(scores.deadline(), Some(later + BAN));
        assert_eq!(scores.timeout(later), []);
        assert_eq!(scores.timeout(later + BAN), [PEER]);
        assert!(!scores.is_banned(&PEER));
    }

    #[test]
    fn stated_rates_are_tolerated_for_ever() {
        for (blame, every) in
            [(Blame::BrokenPromise, Duration::from_secs(2)), (Blame::Waste, Duration::from_millis(500))]
        {
            let mut scores = Scores::new();
            let mut now = Time::ZERO;
            for _ in 0..10_000 {
                assert!(!scores.blame(now, PEER, blame), "{blame:?}");
                now = now + every;
            }
        }
    }
}
