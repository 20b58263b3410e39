//! The neighbours: one link each, and a bit for each link in the masks the relay keeps.

use std::{collections::BTreeMap, time::Duration};

use starling_mempool::{Allowance, Budget, Rejection};
use starling_wire::NodeId;

use super::{gossip::Mail, io::Direction, overlay::Place, pulse::Pulse, time::Time};

/// Most links at one time: the bits of a [`Mask`].
pub(super) const MAX_LINKS: usize = 64;

/// Who came and has said nothing for so long goes when others find no room. Several round trips: most of a crowd that comes
/// at once have had the time to say hello by then, or are told of others.
const MAX_MUTE: Duration = Duration::from_secs(1);

/// Assumed round trip before a link's first measurement. Errs on the long side: too short asks twice.
const INITIAL_RTT: Duration = Duration::from_millis(200);

/// The longest round trip that is believed, above any between two places on Earth, satellites and full queues included. A
/// neighbour that delays its answers to pings sets by it how long it may delay all others.
const MAX_RTT: Duration = Duration::from_secs(2);

/// What a neighbour may have replaced in the pool, in bytes of what is replaced: that was relayed for nothing, and has only
/// been paid for once. Honest neighbours pass on what all senders of the network replace, each of which has a budget of its
/// own in the pool; with 250 bytes each this takes 260 replacements a second. Beyond it those of this neighbour are
/// refused without blame, as it need not be the one who replaces. Bounds what replacing costs this node, and makes it pass on,
/// to so much for each link.
const REPLACED_BY_PEER: Allowance = Allowance { burst: 4 << 20, per_second: 64 << 10 };

/// Bytes of blocks and their transactions that a neighbour gets because it asks, and of transactions that it asks for again and
/// again: more than all blocks that are kept, but for a single one of the longest transactions, and then as much as some
/// thousand transactions a second. What it asks for beyond that is not answered.
const GIVEN: Allowance = Allowance { burst: 96 << 20, per_second: 1 << 20 };

/// How many transactions that were refused a neighbour is asked for when it offers them again: a thousand at once, then so many
/// a second.
const SECOND_LOOKS: Allowance = Allowance { burst: 1024, per_second: 128 };

/// Transactions that a neighbour may ask for again and again to be charged once. One whose pool refuses what this one holds asks
/// for as many a second ([`SECOND_LOOKS`]); were it charged for each, honest nodes would ban each other.
const AGAIN: usize = 128;

/// A set of links, a bit for each [`Link::slot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mask(u64);

impl Mask {
    /// One link.
    pub(super) fn of(slot: u8) -> Self {
        Self(1 << slot)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn insert(&mut self, slot: u8) {
        self.0 |= 1 << slot;
    }

    pub(super) fn insert_all(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// How many are in it.
    pub(super) fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub(super) fn contains(self, slot: u8) -> bool {
        self.0 & (1 << slot) != 0
    }

    pub(super) fn remove(&mut self, slot: u8) {
        self.0 &= !(1 << slot);
    }

    /// The slots in it, in order.
    pub(super) fn slots(self) -> impl Iterator<Item = u8> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let slot = (left != 0).then(|| left.trailing_zeros() as u8);
            left &= left.wrapping_sub(1);
            slot
        })
    }
}

/// What the engine keeps about one neighbour.
#[derive(Debug)]
pub struct Link {
    /// The neighbour's bit in masks.
    pub(super) slot: u8,
    pub(super) direction: Direction,
    /// When the connection came up.
    pub(super) since: Time,
    /// Whether the neighbour has said hello.
    pub(super) ready: bool,
    /// Whether goodbye was said: nothing more is sent or taken.
    pub(super) closing: bool,
    pub(super) congested: bool,
    /// Smoothed round-trip time (RFC 6298: 7/8 old, 1/8 new).
    srtt: Option<Duration>,
    /// What it is to be told.
    pub(super) mail: Mail,
    /// Transactions from this neighbour whose signatures are being checked.
    pub(super) checking: usize,
    /// What was replaced by what it brought.
    replaced: Budget,
    /// Where it is, as far as the connection tells.
    pub(super) place: Place,
    /// Whether the connection only serves to exchange peers: no hello is said by who made it.
    pub(super) probe: bool,
    /// Signs of life.
    pub(super) pulse: Pulse,
    /// Since when it is taken for dead.
    pub(super) suspected: Option<Time>,
    /// Symbols that it got in comparisons of pools.
    pub(super) symbols: Budget,
    /// What it got because it asked.
    given: Budget,
    /// Transactions that it was asked for although they had been refused.
    second_looks: Budget,
    /// Transactions that it asked for again and again since it was last charged for that.
    again: usize,
    /// Reports of nodes that were sent because it asked for them, and that were checked because it brought them.
    pub(super) reports_sent: Budget,
    pub(super) reports_checked: Budget,
    /// When it may next ask for peers without blame.
    pub(super) next_get_peers: Time,
    /// When it may next tell of peers unasked without blame.
    pub(super) next_peers: Time,
    /// Questions for peers that it has not answered.
    pub(super) peers_asked: u32,
    /// Bytes of messages from and to it.
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Transactions it was the first to bring.
    pub(super) first_deliveries: u64,
}

impl Link {
    /// Who opened the link.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// When the connection came up.
    pub fn since(&self) -> Time {
        self.since
    }

    /// Smoothed round-trip time, once measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.srtt
    }

    /// Transactions this neighbour was the first to bring.
    pub fn first_deliveries(&self) -> u64 {
        self.first_deliveries
    }

    /// Whether messages may be exchanged: both sides have said hello, and it is not taken for dead.
    pub fn is_ready(&self) -> bool {
        self.ready && !self.closing && self.suspected.is_none()
    }

    /// How unlikely its present silence is, as a negative power of ten: from 8 on it is taken for dead.
    pub fn phi(&self, now: Time) -> f64 {
        self.pulse.phi(now)
    }

    /// The network that the connection comes from or leads to, a /16 of IPv4 or a /32 of IPv6, for people.
    pub fn network(&self) -> String {
        self.place.to_string()
    }

    /// Bytes of messages that came from it and went to it, frame headers included.
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_in, self.bytes_out)
    }

    /// It brings a transaction that would replace so many bytes.
    pub(super) fn replaces(&mut self, now: Time, bytes: usize) -> Result<(), Rejection> {
        if bytes == 0 {
            return Ok(());
        }
        let wait = self.replaced.wait(now.since_start(), bytes, REPLACED_BY_PEER).unwrap_or(Duration::MAX);
        if !wait.is_zero() {
            return Err(Rejection::ReplacedTooOften { wait });
        }
        self.replaced.spend(now.since_start(), bytes, REPLACED_BY_PEER);
        Ok(())
    }

    /// Whether it may be given more of what it asks for.
    pub(super) fn may_be_given(&self, now: Time) -> bool {
        self.given.wait(now.since_start(), 1, GIVEN) == Some(Duration::ZERO)
    }

    /// It was given so many bytes because it asked.
    pub(super) fn was_given(&mut self, now: Time, bytes: usize) {
        self.given.spend(now.since_start(), bytes, GIVEN);
    }

    /// It asked for so many transactions again and again. Says how often it is to be charged for that.
    pub(super) fn asked_again(&mut self, count: usize) -> usize {
        let again = self.again + count;
        self.again = again % AGAIN;
        again / AGAIN
    }

    /// Whether it may be asked for a transaction that was refused.
    pub(super) fn may_have_second_look(&self, now: Time) -> bool {
        self.second_looks.wait(now.since_start(), 1, SECOND_LOOKS) == Some(Duration::ZERO)
    }

    /// It is asked for a transaction that was refused.
    pub(super) fn has_second_look(&mut self, now: Time) {
        self.second_looks.spend(now.since_start(), 1, SECOND_LOOKS);
    }

    pub(super) fn measured(&mut self, rtt: Duration) {
        let rtt = rtt.min(MAX_RTT);
        self.srtt = Some(self.srtt.map_or(rtt, |old| (old * 7 + rtt) / 8));
    }

    /// The round trip to reckon with.
    pub(super) fn expected_rtt(&self) -> Duration {
        self.srtt.unwrap_or(INITIAL_RTT)
    }
}

/// All neighbours, in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct Peers {
    links: BTreeMap<NodeId, Link>,
    used: u64,
}

impl Peers {
    /// Adds a link; `None` if there are [`MAX_LINKS`] already or one to this peer.
    pub(super) fn insert(&mut self, now: Time, peer: NodeId, direction: Direction, place: Place) -> Option<&mut Link> {
        let slot = (!self.used).trailing_zeros();
        if slot as usize >= MAX_LINKS || self.links.contains_key(&peer) {
            return None;
        }
        self.used |= 1 << slot;
        let link = Link {
            slot: slot as u8,
            direction,
            since: now,
            ready: false,
            closing: false,
            congested: false,
            srtt: None,
            mail: Mail::default(),
            checking: 0,
            replaced: Budget::default(),
            place,
            probe: false,
            pulse: Pulse::new(now),
            suspected: None,
            symbols: Budget::default(),
            given: Budget::default(),
            second_looks: Budget::default(),
            again: 0,
            reports_sent: Budget::default(),
            reports_checked: Budget::default(),
            next_get_peers: now,
            next_peers: now,
            peers_asked: 0,
            bytes_in: 0,
            bytes_out: 0,
            first_deliveries: 0,
        };
        Some(self.links.entry(peer).or_insert(link))
    }

    pub(super) fn remove(&mut self, peer: &NodeId) -> Option<Link> {
        let link = self.links.remove(peer)?;
        self.used &= !(1 << link.slot);
        Some(link)
    }

    pub(super) fn get(&self, peer: &NodeId) -> Option<&Link> {
        self.links.get(peer)
    }

    pub(super) fn get_mut(&mut self, peer: &NodeId) -> Option<&mut Link> {
        self.links.get_mut(peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Link)> {
        self.links.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&NodeId, &mut Link)> {
        self.links.iter_mut()
    }

    pub(super) fn ready(&self) -> impl Iterator<Item = (&NodeId, &Link)> {
        self.links.iter().filter(|(_, link)| link.is_ready())
    }

    /// Connections that came in and are not about to be closed, whatever has become of them.
    pub(super) fn incoming(&self) -> usize {
        self.links.values().filter(|link| link.direction == Direction::Incoming && !link.closing).count()
    }

    /// Of those the one that has been no link for longest, and for too long to keep others out: its node said nothing, or
    /// asked for peers only.
    pub(super) fn oldest_mute(&self, now: Time) -> Option<NodeId> {
        let is_mute = |link: &Link| link.direction == Direction::Incoming && !link.closing && !link.ready;
        let mute = self.links.iter().filter(|(_, link)| is_mute(link) && now - link.since >= MAX_MUTE);
        mute.min_by_key(|(_, link)| link.since).map(|(peer, _)| *peer)
    }

    /// Links of a direction in use: of the incoming those that are ready, of the outgoing also those that are about to be.
    pub(super) fn count(&self, direction: Direction) -> usize {
        let in_use = |link: &&Link| {
            let counts = link.ready || link.direction == Direction::Outgoing;
            link.direction == direction && counts && !link.closing && !link.probe && link.suspected.is_none()
        };
        self.links.values().filter(in_use).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_distinct_bounded_and_reused() {
        let mut peers = Peers::default();
        let id = |i: usize| NodeId([i as u8; 32]);
        for i in 0..MAX_LINKS {
            assert_eq!(
                peers.insert(Time::ZERO, id(i), Direction::Incoming, Place::default()).unwrap().slot as usize,
                i
            );
        }
        assert!(peers.insert(Time::ZERO, id(99), Direction::Incoming, Place::default()).is_none());
        assert_eq!(peers.remove(&id(17)).unwrap().slot, 17);
        assert_eq!(peers.insert(Time::ZERO, id(99), Direction::Outgoing, Place::default()).unwrap().slot, 17);
        assert_eq!(peers.count(Direction::Outgoing), 1);
    }

    #[test]
    fn masks_hold_every_slot() {
        let mut mask = Mask::default();
        mask.insert(63);
        mask.insert(0);
        mask.remove(0);
        assert!(mask.contains(63) && !mask.contains(0));
        mask.insert(5);
        assert_eq!(mask.slots().collect::<Vec<_>>(), [5, 63]);
        assert!(Mask::default().is_empty() && !Mask::of(0).is_empty());
    }
}
