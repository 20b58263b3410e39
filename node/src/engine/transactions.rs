//! Transactions: from a submission or a push to the signature check, the pool and the relay.

use std::time::Duration;

use starling_mempool::{Origin, Place, Rejection};
use starling_wire::{Labels, NodeId, ShortId, SignatureError, SignedTx, TxId, Unverified, Verified, VerifiedTx};

use super::{Change, Engine, Event, MAX_ANSWER, Output, Removal, Source, Ticket, Time, gossip, score::Blame};

/// Signatures being checked at one time for one neighbour, and in all. Beyond it, what comes is passed over; it comes
/// again from others, or is pulled. Bounds memory (a transaction is at most 32 KiB) while the verifier is behind.
const MAX_CHECKING_PER_PEER: usize = 1024;
const MAX_CHECKING: usize = 8 * 1024;

/// Signatures being checked from which on the node counts as busy: one that keeps up has one or two.
const BUSY: usize = 8;

/// How late its timer has to be for the node to count as busy, or the machine that it shares. Where there is time it is
/// late by one or two milliseconds.
const LATE: Duration = Duration::from_millis(20);

impl Engine {
    pub(super) fn submit(&mut self, now: Time, ticket: Ticket, tx: SignedTx) {
        self.stats.submitted += 1;
        let result = match self.pool.place(&tx.id()) {
            Some(place) => {
                self.vouched(now, &tx.id());
                Ok(place)
            }
            None => match self.check(now, &tx) {
                Ok(_) => return self.verify(Source::Local(ticket), Unverified::Tx(tx)),
                Err(rejection) => Err(rejection),
            },
        };
        self.event(Event::Submitted { ticket, result });
    }

    pub(super) fn push(&mut self, now: Time, peer: NodeId, labels: Labels, tx: SignedTx) {
        let busy = self.is_busy();
        let Some(link) = self.peers.get_mut(&peer) else { return };
        let id = tx.short_id();
        self.locals.seen(&id);
        match self.gossip.received(now, (peer, link), labels, &tx, busy, &self.pool) {
            gossip::Receipt::Duplicate => self.stats.duplicates += 1,
            // Another may have the same short id: somebody can make such pairs, to have honest neighbours blamed.
            gossip::Receipt::Invalid => {
                if self.check(now, &tx).is_err_and(|rejection| rejection.peer_is_to_blame()) {
                    self.blame(now, peer, Blame::InvalidItem);
                }
            }
            gossip::Receipt::New if link.checking >= MAX_CHECKING_PER_PEER || self.checking >= MAX_CHECKING => {
                self.stats.passed_over += 1;
                self.gossip.forget(id);
            }
            gossip::Receipt::New => {
                let checked = self.pool.check(now.since_start(), &tx, self.chain.height(), &self.ledger);
                match checked.and_then(|admissible| link.replaces(now, admissible.replaced_bytes)) {
                    Ok(()) => {
                        link.checking += 1;
                        link.first_deliveries += 1;
                        self.verify(Source::Peer(peer), Unverified::Tx(tx));
                    }
                    Err(rejection) => self.refuse(now, peer, &tx, rejection),
                }
            }
        }
    }

    /// Whether the node is behind with its work.
    pub(super) fn is_busy(&self) -> bool {
        self.checking >= BUSY || self.is_late()
    }

    /// Whether the node, or the machine, was held up: what came meanwhile may wait to be looked at.
    pub(super) fn is_late(&self) -> bool {
        self.lag >= LATE
    }

    pub(super) fn refuse(&mut self, now: Time, peer: NodeId, tx: &SignedTx, rejection: Rejection) {
        let invalid = rejection.peer_is_to_blame();
        self.gossip.refused(now, tx.short_id(), invalid);
        *self.stats.refused.entry(rejection.reason()).or_default() += 1;
        if invalid {
            self.blame(now, peer, Blame::InvalidItem);
        }
        self.event(Event::Refused { id: tx.id(), from: peer, rejection });
    }

    pub(super) fn wanted(&mut self, now: Time, peer: NodeId, ids: &[ShortId]) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        let (mut left, mut again) = (MAX_ANSWER, 0);
        for id in ids {
            let Some(tx) = self.pool.get_short(id) else { continue };
            let Some(rest) = left.checked_sub(tx.bytes().len()) else { break };
            if self.gossip.asked(now, *id, link.slot) {
                // It was sent already, or came from there.
                again += 1;
                if !link.may_be_given(now) {
                    continue;
                }
                link.was_given(now, tx.bytes().len());
            }
            left = rest;
            self.outputs.push_back(Output::Send { peer, message: self.gossip.answer(tx) });
        }
        (0..link.asked_again(again)).for_each(|_| self.blame(now, peer, Blame::Waste));
    }

    pub(super) fn verify(&mut self, source: Source, item: Unverified) {
        self.checking += 1;
        self.outputs.push_back(Output::Verify { source, item });
    }

    pub(super) fn verified(
        &mut self,
        now: Time,
        source: Source,
        verdict: Result<Verified, (Unverified, SignatureError)>,
    ) {
        self.checking = self.checking.saturating_sub(1);
        match verdict {
            Ok(Verified::Tx(tx)) => self.verified_tx(now, source, tx),
            Ok(Verified::Block(block)) => self.verified_block(now, source, block),
            Ok(Verified::Report(report)) => self.verified_report(now, report),
            Err((Unverified::Report(signed, _), _)) => self.forged_report(now, source, &signed),
            Err((Unverified::Tx(tx), error)) => {
                let rejection = Rejection::BadSignature(error);
                self.pool.remember(tx.id(), &rejection);
                match source {
                    Source::Peer(peer) => {
                        self.checked_for(&peer);
                        self.refuse(now, peer, &tx, rejection);
                    }
                    Source::Fetched(peer) => self.blame(now, peer, Blame::InvalidItem),
                    Source::Local(ticket) => self.event(Event::Submitted { ticket, result: Err(rejection) }),
                    Source::Own => {}
                }
            }
            Err((Unverified::Block(block), _)) => {
                self.chain.bad_signature(block.id());
                if let Source::Peer(peer) = source {
                    self.blame(now, peer, Blame::InvalidItem);
                }
            }
        }
    }

    fn checked_for(&mut self, peer: &NodeId) {
        if let Some(link) = self.peers.get_mut(peer) {
            link.checking = link.checking.saturating_sub(1);
        }
    }

    fn verified_tx(&mut self, now: Time, source: Source, tx: VerifiedTx) {
        self.chain.offer(&tx);
        match source {
            Source::Peer(peer) => {
                self.checked_for(&peer);
                match self.admit(now, &tx, Origin::Peer) {
                    Ok(place) => self.admitted(now, &tx, Some(peer), place),
                    Err(Rejection::AlreadyKnown) => {}
                    Err(rejection) => self.refuse(now, peer, &tx, rejection),
                }
            }
            Source::Local(ticket) => {
                let result = match self.admit(now, &tx, Origin::Local) {
                    Ok(place) => {
                        self.gossip.submitted(now, tx.short_id());
                        self.locals.submitted(now, tx.short_id());
                        self.admitted(now, &tx, None, place);
                        Ok(place)
                    }
                    // It came from a neighbour while its signature was being checked.
                    Err(Rejection::AlreadyKnown) => {
                        self.vouched(now, &tx.id());
                        Ok(self.pool.place(&tx.id()).unwrap_or(Place::Pending))
                    }
                    Err(rejection) => Err(rejection),
                };
                self.event(Event::Submitted { ticket, result });
            }
            Source::Fetched(_) | Source::Own => {}
        }
        self.advance(now);
    }

    /// Somebody here submits what a neighbour brought before: it is kept as what is submitted here.
    fn vouched(&mut self, now: Time, id: &TxId) {
        if let Some(tx) = self.pool.vouch(now.since_start(), id).cloned() {
            self.outputs.push_back(Output::Store(Change::Added { tx, origin: Origin::Local }));
        }
    }

    pub(super) fn admit(&mut self, now: Time, tx: &VerifiedTx, origin: Origin) -> Result<Place, Rejection> {
        let height = self.chain.height();
        let inserted = self.pool.insert(now.since_start(), tx.clone(), origin, height, &self.ledger)?;
        self.stats.admitted += 1;
        self.stats.displaced += inserted.removed.len() as u64;
        for id in &inserted.removed {
            // Should it be offered again when there is room, it is looked at again.
            self.gossip.refused(now, id.short(), false);
        }
        // In this order: whoever keeps only the first of them has too much rather than too little.
        self.outputs.push_back(Output::Store(Change::Added { tx: tx.clone(), origin }));
        self.store_removed(inserted.removed, Removal::Displaced);
        Ok(inserted.place)
    }

    /// Announces again what was submitted here and has not come back from anybody.
    pub(super) fn announce_locals(&mut self, now: Time) {
        for id in self.locals.timeout(now) {
            if self.pool.get_short(&id).is_some() {
                self.stats.announced_again += 1;
                self.gossip.announce_again(now, id, &mut self.peers);
            } else {
                self.locals.seen(&id);
            }
        }
    }

    fn admitted(&mut self, now: Time, tx: &VerifiedTx, from: Option<NodeId>, place: Place) {
        let out = &mut |output| self.outputs.push_back(output);
        self.gossip.relay(now, tx, &mut self.peers, out);
        self.event(Event::Admitted { tx: tx.clone(), from, place });
    }
}
