//! The relay: push to the neighbours that need it, announce to some others, pull what was announced.
//!
//! Which neighbours need a push is learned (see `routes`): a neighbour that had a transaction from others already answers a
//! push with PRUNE, one that was not pushed to and is missing it asks with IWANT, and silence after a push means that it was
//! of use, unless a PRUNE comes yet. On the way that a transaction's like has come before, it is then pushed on few links
//! and announced on some of the others. A second copy is welcome as a backup for small transactions, unless the first one's
//! way has proven dependable. When several neighbours fall silent or go at once (see `outage`), pushes go to more neighbours
//! until routes are learned anew. A neighbour whose queue is full is told ids only, and those wait until it drains.

mod fetch;
mod mail;
mod outage;
mod past;
mod routes;
mod seen;

use std::{collections::VecDeque, time::Duration};

use rand::{Rng, RngExt, seq::IteratorRandom};
use starling_mempool::Mempool;
use starling_wire::{BoundedVec, Labels, Message, NodeId, ShortId, SignedTx, TxId, VerifiedTx};

pub(super) use self::{fetch::Failover, mail::Mail, seen::Receipt};
use self::{
    fetch::{Fetch, ask_next},
    outage::Outage,
    routes::{LOCAL, Path, Routes, WORTH, WORTH_IN_OUTAGE},
    seen::{Seen, Worth},
};
use super::{
    config::GossipConfig,
    io::Output,
    peers::{Link, MAX_LINKS, Mask, Peers},
    time::Time,
};

/// How long announcements are collected before they are sent together. Longer saves messages and delays those that a
/// push did not reach: at 10 ms the last node of a transaction comes twice as late.
const BATCH_DELAY: Duration = Duration::from_millis(1);

/// How long prunes wait for a ride while ways are being learned.
const PRUNE_DELAY: Duration = Duration::from_millis(100);

/// How long they wait where the first copy's way has proven dependable: one more useless copy costs less than a packet for
/// each prune. On 50 real nodes at 20 transactions per second it saves a tenth of the CPU time; were all prunes to wait for a
/// second, the README's settled simulation would take 2.58 copies instead of 2.36.
const PATIENT_PRUNE_DELAY: Duration = Duration::from_millis(800);

/// A push that was not pruned for so long was of use. Longer than a slow round trip and [`PATIENT_PRUNE_DELAY`]; longer yet
/// only delays learning.
const EVIDENCE_AFTER: Duration = Duration::from_millis(1500);

/// For how long transactions are gathered that are old enough to be looked back at, so that many are learned from at once.
const LOOK_BACK_EVERY: Duration = Duration::from_millis(500);

/// While a transaction's way is new, neighbours that are not pushed it are told of it at once if a push is more likely
/// than this to be of use to them. In the README's simulation it shortens a cold start's last node from 1.21 to 1.14 times
/// the shortest path.
const ANNOUNCED_ABOVE: f32 = 0.02;

/// An announcement is hardly ever answered, but costs both nodes a wake-up, as much as a push does. So but for the most
/// likely ones, what was passed on is gathered for so long, in rounds as in lpbcast (Eugster et al. 2003), then rides with
/// the next pushes to [`ROUND_TARGETS`] neighbours, and is after one round more told to neighbours drawn at random where
/// too few pushes came. Shorter tells neighbours what they are about to be pushed by others (at 250 ms, 50 real nodes that
/// spread 20 transactions a second send half as many announcements more), longer delays those that nobody pushed to: the
/// last node of the README's frugal simulation (p95) comes after 2.1 times the shortest path, at 250 ms 1.9, at a second
/// 2.4.
const ROUND: Duration = Duration::from_millis(500);

/// See [`ROUND`]. With 3 of some 14 by each neighbour, one that nobody pushed to is told within a round in 19 of 20
/// cases; more make that surer and cost bytes.
const ROUND_TARGETS: u32 = 3;

/// Transactions longer than this, in bytes, are wanted once only: a backup copy would cost more than a rare wait for a
/// pull.
const BACKUP_UP_TO: usize = 1024;

/// A second copy that comes later than this after a dependable first one is of no use as a backup: a pull would have been
/// about as fast.
const BACKUP_WITHIN: Duration = Duration::from_millis(5);

/// How long labels stay the same. Long enough to learn by, short enough that they link little.
const LABEL_EPOCH: Duration = Duration::from_secs(600);

/// A transaction of which neighbours are to be told that were not pushed it.
#[derive(Debug, Clone, Copy)]
struct Rumour {
    id: ShortId,
    /// How many, those told already included.
    targets: u32,
}

/// The relay's state.
#[derive(Debug)]
pub(super) struct Gossip {
    config: GossipConfig,
    seen: Seen,
    fetch: Fetch,
    routes: Routes,
    outage: Outage,
    /// This node's bytes for its links, by slot.
    labels: [u8; MAX_LINKS],
    /// What its own transactions carry.
    own_labels: Labels,
    epoch_ends: Time,
    /// When silence about pushes becomes evidence, in order of time.
    evidence: VecDeque<(Time, ShortId)>,
    /// When the first neighbour's mail is due, or before.
    mail_at: Option<Time>,
    /// Transactions of this round of which neighbours are to be told.
    round: Vec<Rumour>,
    /// Those of the last one of which too few were.
    last_round: Vec<Rumour>,
    round_at: Option<Time>,
}

impl Gossip {
    pub(super) fn new(config: GossipConfig, rng: &mut impl Rng) -> Self {
        Self {
            config,
            seen: Seen::new(),
            fetch: Fetch::default(),
            routes: Routes::default(),
            outage: Outage::new(),
            labels: rng.random(),
            own_labels: rng.random(),
            epoch_ends: Time::ZERO + LABEL_EPOCH,
            evidence: VecDeque::new(),
            mail_at: None,
            round: Vec::new(),
            last_round: Vec::new(),
            round_at: None,
        }
    }

    /// A message of any kind came.
    pub(super) fn heard(&mut self, now: Time, slot: u8) {
        self.outage.heard(now, slot);
    }

    /// A transaction was submitted here.
    pub(super) fn submitted(&mut self, now: Time, id: ShortId) {
        self.fetch.found(id);
        self.seen.submitted(now, id);
    }

    /// A neighbour brought a transaction. A node that is `busy` with others has no use for a second copy:
    /// it would only make all wait longer.
    pub(super) fn received(
        &mut self,
        now: Time,
        (peer, link): (NodeId, &mut Link),
        labels: Labels,
        tx: &SignedTx,
        busy: bool,
        pool: &Mempool,
    ) -> Receipt {
        let id = tx.short_id();
        let pulled = self.fetch.arrived(now, id, peer, tx.bytes().len());
        let path = Path { ingress: link.slot, labels };
        let (receipt, entry) = self.seen.receive(now, id, path, || pool.get_short(&id).is_some());
        match receipt {
            Receipt::New => self.routes.came_first(path, pulled),
            Receipt::Duplicate => {
                let wanted = if busy || tx.bytes().len() > BACKUP_UP_TO { 1 } else { self.config.redundancy };
                let late = now - entry.since > BACKUP_WITHIN;
                let dependable = self.routes.is_dependable(entry.path);
                let spare = entry.copies > wanted || (late && dependable);
                if spare && !pulled {
                    let until = now + if dependable { PATIENT_PRUNE_DELAY } else { PRUNE_DELAY };
                    link.mail.prune(id, until);
                    note(&mut self.mail_at, until);
                }
                self.routes.came_later(path);
            }
            Receipt::Invalid => {}
        }
        receipt
    }

    /// A transaction was refused, for good (`invalid`) or for now.
    pub(super) fn refused(&mut self, now: Time, id: ShortId, invalid: bool) {
        self.seen.refused(now, id, invalid);
    }

    /// Transactions were in the pool for as long as they may. Neighbours that still have them offer them in vain for a while.
    pub(super) fn expired(&mut self, now: Time, ids: &[TxId]) {
        ids.iter().for_each(|id| self.seen.expired(now, id.short()));
    }

    /// A block includes a transaction: nobody needs it any more, and whoever was asked for it may not have it.
    pub(super) fn included(&mut self, now: Time, id: ShortId) {
        self.fetch.found(id);
        self.seen.included(now, id);
    }

    /// A transaction could not be looked at: as though it had never come.
    pub(super) fn forget(&mut self, id: ShortId) {
        self.seen.forget(id);
    }

    /// Passes an admitted transaction on.
    pub(super) fn relay(&mut self, now: Time, tx: &VerifiedTx, peers: &mut Peers, out: &mut impl FnMut(Output)) {
        let id = tx.short_id();
        let Some(entry) = self.seen.get(id) else { return };
        let estimates = self.routes.estimate(entry.path);
        let message =
            Message::Push { labels: onward(id, entry.path, &self.labels, self.own_labels), tx: (**tx).clone() };
        let worth = if self.outage.is_on(now) { WORTH_IN_OUTAGE } else { WORTH };
        let (mut pushed, mut left_out) = (Mask::default(), 0);
        for (_, link) in peers.iter_mut().filter(|(_, link)| link.is_ready()) {
            if entry.holders.contains(link.slot) {
                continue;
            }
            let useful = estimates.of(link.slot);
            if useful <= worth {
                left_out += 1;
                if useful > ANNOUNCED_ABOVE && !estimates.way_is_known {
                    link.mail.announce(id, now + BATCH_DELAY);
                    note(&mut self.mail_at, now + BATCH_DELAY);
                }
            } else if link.congested {
                link.mail.announce(id, now);
            } else {
                pushed.insert(link.slot);
            }
        }
        entry.holders.insert_all(pushed);
        (entry.pushed, entry.credited) = (pushed, false);
        for (peer, link) in peers.iter_mut().filter(|(_, link)| pushed.contains(link.slot)) {
            out(Output::Send { peer: *peer, message: message.clone() });
            self.send_mail(now, *peer, link, true, out);
        }
        if left_out > 0 {
            self.round.push(Rumour { id, targets: ROUND_TARGETS.min(left_out) });
            self.round_at.get_or_insert(now + ROUND);
        }
        self.evidence.push_back((now + EVIDENCE_AFTER, id));
    }

    /// Tells all neighbours of a transaction as though none had heard of it: nothing that was pushed is known to have come
    /// anywhere.
    pub(super) fn announce_again(&mut self, now: Time, id: ShortId, peers: &mut Peers) {
        if let Some(entry) = self.seen.get(id) {
            (entry.holders, entry.told, entry.pushed) = Default::default();
        }
        for (_, link) in peers.iter_mut().filter(|(_, link)| link.is_ready()) {
            link.mail.announce(id, now + BATCH_DELAY);
            note(&mut self.mail_at, now + BATCH_DELAY);
        }
    }

    /// A push of a transaction that a neighbour asked for.
    pub(super) fn answer(&mut self, tx: &VerifiedTx) -> Message {
        let id = tx.short_id();
        let path = self.seen.get(id).map_or(Path::UNKNOWN, |entry| entry.path);
        Message::Push { labels: onward(id, path, &self.labels, self.own_labels), tx: (**tx).clone() }
    }

    /// A neighbour turned out to lack transactions: tells it of those that came at least so long ago, whatever it was sent
    /// and told before. Gives how many should have come there lately.
    pub(super) fn lacking(
        &mut self,
        now: Time,
        peer: NodeId,
        slot: u8,
        mut ids: Vec<ShortId>,
        age: Duration,
        out: &mut impl FnMut(Output),
    ) -> usize {
        let mut lost = 0;
        ids.retain(|id| {
            let Some(entry) = self.seen.get(*id) else { return true };
            let settled = now - entry.since >= age;
            if settled {
                entry.lacks(slot);
                lost += 1;
            }
            settled
        });
        for ids in BoundedVec::chunks(&ids) {
            out(Output::Send { peer, message: Message::IHave(ids) });
        }
        lost
    }

    /// A neighbour that served this node is gone, or carries nothing.
    pub(super) fn neighbour_lost(&mut self, now: Time) {
        self.outage.neighbour_lost(now);
    }

    /// A connection is gone that never became a link.
    pub(super) fn forget_voice(&mut self, slot: u8) {
        self.outage.forget(slot);
    }

    /// A link is gone: nothing is pushed, pulled or learned by it any more. Its slot gets a new label.
    pub(super) fn link_lost(
        &mut self,
        now: Time,
        peer: &NodeId,
        slot: u8,
        peers: &Peers,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) {
        self.outage.forget(slot);
        self.seen.link_lost(slot);
        self.routes.link_lost(slot);
        self.labels[usize::from(slot)] = rng.random();
        let failovers = self.fetch.link_lost(now, peer, peers);
        ask_next(&failovers, out);
    }

    /// A neighbour announced transactions: asks for those that are missing. Gives how many.
    pub(super) fn announced(
        &mut self,
        now: Time,
        peer: NodeId,
        ids: &[ShortId],
        peers: &mut Peers,
        pool: &Mempool,
        out: &mut impl FnMut(Output),
    ) -> usize {
        let Some(slot) = peers.get(&peer).map(|link| link.slot) else { return 0 };
        self.fetch.new_question();
        let mut is_wanted = |id: &ShortId| match self.seen.announced(now, *id, slot, || pool.get_short(id).is_some()) {
            Worth::Nothing => false,
            Worth::Asking => self.fetch.announced(now, *id, peer, peers),
            Worth::SecondLook => {
                let may = peers.get(&peer).is_some_and(|link| link.may_have_second_look(now));
                let asked = may && self.fetch.announced(now, *id, peer, peers);
                peers.get_mut(&peer).filter(|_| asked).map(|link| link.has_second_look(now)).is_some()
            }
        };
        let wanted: Vec<ShortId> = ids.iter().copied().filter(|id| is_wanted(id)).collect();
        for ids in BoundedVec::chunks(&wanted) {
            out(Output::Send { peer, message: Message::IWant(ids) });
        }
        wanted.len()
    }

    /// A neighbour asks for a transaction of the pool: a push would have been of use. Says whether it was sent it already,
    /// more than once: the first time it may have been lost.
    pub(super) fn asked(&mut self, now: Time, id: ShortId, slot: u8) -> bool {
        let entry = self.seen.recall(now, id);
        if entry.holders.contains(slot) {
            let again = entry.again.contains(slot);
            entry.again.insert(slot);
            return again;
        }
        entry.holders.insert(slot);
        self.routes.learn(entry.path, Mask::of(slot), true);
        false
    }

    /// A neighbour did not need what was pushed to it. What it says of anything else means nothing. One that is behind with
    /// its work says so late, when its silence was already taken for need: if that stood, all its neighbours would push
    /// everything to it, which would put it further behind.
    pub(super) fn pruned(&mut self, ids: &[ShortId], slot: u8) {
        for id in ids {
            let Some(entry) = self.seen.get(*id).filter(|entry| entry.pushed.contains(slot)) else { continue };
            entry.pushed.remove(slot);
            if entry.credited {
                self.routes.take_back(entry.path, slot);
            } else {
                self.routes.learn(entry.path, Mask::of(slot), false);
            }
        }
    }

    /// Does what is due. Gives the broken promises in unanswered requests.
    pub(super) fn timeout(
        &mut self,
        now: Time,
        peers: &mut Peers,
        rng: &mut impl Rng,
        out: &mut impl FnMut(Output),
    ) -> Vec<Failover> {
        self.look_back(now);
        self.end_round(now, peers, rng);
        if now >= self.epoch_ends {
            self.epoch_ends = now + LABEL_EPOCH;
            (self.labels, self.own_labels) = (rng.random(), rng.random());
        }
        if self.mail_at.take_if(|at| *at <= now).is_some() {
            for (peer, link) in peers.iter_mut().filter(|(_, link)| link.is_ready() && !link.congested) {
                match link.mail.due() {
                    Some(due) if due <= now => self.send_mail(now, *peer, link, false, out),
                    Some(due) => note(&mut self.mail_at, due),
                    None => {}
                }
            }
        }
        let failovers = self.fetch.expire(now, peers);
        ask_next(&failovers, out);
        failovers
    }

    /// A neighbour's queue drained: tells it what was held back.
    pub(super) fn decongested(&mut self, now: Time, peer: NodeId, peers: &mut Peers, out: &mut impl FnMut(Output)) {
        if let Some(link) = peers.get_mut(&peer) {
            self.send_mail(now, peer, link, false, out);
        }
    }

    /// When [`Self::timeout`] next has work that others wait for.
    pub(super) fn deadline(&self) -> Option<Time> {
        [self.mail_at, self.fetch.deadline()].into_iter().flatten().min()
    }

    /// When it next has work that is in no hurry.
    pub(super) fn leisurely_deadline(&self) -> Option<Time> {
        [self.round_at, self.look_back_at()].into_iter().flatten().min()
    }

    /// Tells some neighbours what found too few rides.
    fn end_round(&mut self, now: Time, peers: &mut Peers, rng: &mut impl Rng) {
        if self.round_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let ended = std::mem::replace(&mut self.last_round, std::mem::take(&mut self.round));
        if !self.last_round.is_empty() {
            self.round_at = Some(now + ROUND);
        }
        if ended.is_empty() {
            return;
        }
        let ready = peers.iter_mut().map(|(_, link)| link).filter(|link| link.is_ready());
        for link in ready.sample(rng, ROUND_TARGETS as usize) {
            // What the neighbour has by now is left out when its mail is sent.
            ended.iter().for_each(|rumour| link.mail.announce(rumour.id, now));
            note(&mut self.mail_at, now);
        }
    }

    /// Some time after it was passed on: whoever was pushed to and did not object needed it. Who was left out by chance
    /// finds it when pools are compared.
    fn look_back(&mut self, now: Time) {
        if self.look_back_at().is_none_or(|at| at > now) {
            return;
        }
        while let Some(&(at, id)) = self.evidence.front()
            && at <= now
        {
            self.evidence.pop_front();
            // Whatever was relayed twice is in the queue twice.
            let Some(entry) = self.seen.get(id).filter(|entry| !entry.credited) else { continue };
            entry.credited = true;
            self.routes.learn(entry.path, entry.pushed, true);
        }
    }

    fn look_back_at(&self) -> Option<Time> {
        self.evidence.front().map(|(at, _)| *at + LOOK_BACK_EVERY)
    }

    /// Sends a neighbour its mail, and what the last round has for it. If there is no packet that it `rides` with, nor
    /// anything to announce after all, prunes wait until they are due.
    fn send_mail(&mut self, now: Time, peer: NodeId, link: &mut Link, rides: bool, out: &mut impl FnMut(Output)) {
        let slot = link.slot;
        let mut ids = link.mail.take_announcements();
        // Some may have come from that very neighbour meanwhile.
        ids.retain(|id| self.seen.get(*id).is_none_or(|entry| entry.inform(slot)));
        self.last_round.retain(|Rumour { id, targets }| {
            let Some(entry) = self.seen.get(*id) else { return false };
            if entry.told.len() < *targets && entry.inform(slot) {
                ids.push(*id);
            }
            entry.told.len() < *targets
        });
        for ids in BoundedVec::chunks(&ids) {
            out(Output::Send { peer, message: Message::IHave(ids) });
        }
        if rides || !ids.is_empty() || link.mail.are_prunes_due(now) {
            for ids in BoundedVec::chunks(&link.mail.take_prunes()) {
                out(Output::Send { peer, message: Message::Prune(ids) });
            }
        } else if let Some(due) = link.mail.due() {
            note(&mut self.mail_at, due);
        }
    }
}

/// The labels to send a transaction on with. If nobody knows any more which way it came, they are like no others, so that
/// nothing is learned from it of those that come from here.
fn onward(id: ShortId, path: Path, labels: &[u8; MAX_LINKS], own: Labels) -> Labels {
    match labels.get(usize::from(path.ingress)) {
        Some(label) => [*label, path.labels[0], path.labels[1]],
        None if path.ingress == LOCAL => own,
        None => [id.0[0], id.0[1], id.0[2]],
    }
}

/// Keeps the earlier of two times.
fn note(earliest: &mut Option<Time>, at: Time) {
    *earliest = Some(earliest.map_or(at, |known| known.min(at)));
}
