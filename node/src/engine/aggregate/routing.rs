//! Where the engine hands over to the aggregates.

use starling_wire::{Figures, Message, NodeId, SecretKey, SignedReport, VerifiedReport};

use super::{Network, Proof, Reaction, report};
use crate::engine::{Engine, io::Source, score::Blame, time::Time};

impl Engine {
    /// Has the node report about itself, signed with its key. Without it, it only passes on what others report.
    #[must_use]
    pub fn reporting(mut self, key: SecretKey) -> Self {
        self.aggregates.set_key(key);
        self
    }

    /// What the network is like, as far as this node knows.
    pub fn network(&self, now: Time) -> Network {
        self.aggregates.network(now, &self.figures(now))
    }

    /// Nodes caught with two different reports for one epoch, lately.
    pub fn proofs(&self) -> impl Iterator<Item = &Proof> {
        self.aggregates.proofs()
    }

    /// Reports and questions for reports that were passed over because they were of another time. Many mean that a clock is
    /// wrong, here or at a neighbour.
    pub fn untimely_reports(&self) -> u64 {
        self.aggregates.untimely()
    }

    fn figures(&self, now: Time) -> Figures {
        let links = self.peers.ready().count();
        report::figures(&self.pool, now, links, self.aggregates.rate(now, self.stats.admitted))
    }

    /// Does what is due.
    pub(in crate::engine) fn aggregate(&mut self, now: Time) {
        self.aggregates.turn(now, self.unix_ms(now), self.stats.admitted);
        if self.aggregates.is_report_due(now) {
            let figures = self.figures(now);
            self.aggregates.report(now, figures);
        }
        let out = &mut |output| self.outputs.push_back(output);
        self.aggregates.exchange(now, &self.peers, &mut self.rng, out);
    }

    /// Takes in a message about reports.
    pub(in crate::engine) fn report_message(&mut self, now: Time, peer: NodeId, message: &Message) {
        let wall = self.unix_ms(now);
        self.aggregates.turn(now, wall, self.stats.admitted);
        let Some(link) = self.peers.get_mut(&peer) else { return };
        let mut answers = Vec::new();
        let send = &mut |message| answers.push(message);
        let reaction = match message {
            Message::ReportDigest(digest) => {
                self.aggregates.digest(now, wall, *digest, &mut self.rng, send);
                Reaction::Nothing
            }
            Message::ReportList(list) => self.aggregates.list(now, wall, peer, list, send),
            Message::GetReports(request) => self.aggregates.wanted(now, wall, link, request, send),
            Message::Reports(reports) => self.aggregates.reports(now, wall, link, reports),
            _ => Reaction::Nothing,
        };
        answers.into_iter().for_each(|message| self.send(peer, message));
        match reaction {
            Reaction::Nothing => {}
            Reaction::Waste => self.blame(now, peer, Blame::Waste),
            Reaction::Check(items) => items.into_iter().for_each(|item| self.verify(Source::Peer(peer), item)),
        }
    }

    pub(in crate::engine) fn verified_report(&mut self, now: Time, report: VerifiedReport) {
        if self.aggregates.verified(now, report) {
            self.stats.liars += 1;
        }
    }

    pub(in crate::engine) fn forged_report(&mut self, now: Time, source: Source, signed: &SignedReport) {
        self.aggregates.forged(signed);
        if let Source::Peer(peer) = source {
            self.blame(now, peer, Blame::InvalidItem);
        }
    }
}
