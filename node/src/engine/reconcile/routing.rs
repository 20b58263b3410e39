//! What the engine does with what comparisons find.

use std::collections::BTreeSet;

use starling_wire::{Digest, GetSymbols, NodeId, ShortId, Sketch};

use super::{
    super::{Engine, score::Blame, time::Time},
    Outcome,
};

impl Engine {
    /// Begins comparisons that are due, and asks for what earlier ones found missing.
    pub(in super::super) fn reconcile(&mut self, now: Time) {
        let busy = self.is_busy();
        let out = &mut |output| self.outputs.push_back(output);
        let due = self.reconcile.timeout(now, busy, &self.peers, &self.pool, &mut self.rng, out);
        for (peer, ids) in due {
            let asked = self.gossip.announced(now, peer, &ids, &mut self.peers, &self.pool, out);
            self.stats.found_missing += asked as u64;
            if asked > 0 {
                self.reconcile.lost(now);
            }
        }
    }

    pub(in super::super) fn digest(&mut self, now: Time, peer: NodeId, digest: &Digest) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        let out = &mut |output| self.outputs.push_back(output);
        let budget = &mut link.symbols;
        let outcome = self.reconcile.digest(now, peer, digest, budget, &self.pool, &mut self.rng, out);
        self.compared(now, peer, outcome);
    }

    pub(in super::super) fn get_symbols(&mut self, now: Time, peer: NodeId, request: &GetSymbols) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        let out = &mut |output| self.outputs.push_back(output);
        let outcome = self.reconcile.get_symbols(now, peer, request, &mut link.symbols, out);
        self.compared(now, peer, outcome);
    }

    pub(in super::super) fn sketch(&mut self, now: Time, peer: NodeId, sketch: &Sketch) {
        let out = &mut |output| self.outputs.push_back(output);
        let outcome = self.reconcile.sketch(now, peer, sketch, &self.pool, &mut self.rng, out);
        if outcome != Outcome::Unasked && !self.reconcile.is_asking(&peer) {
            self.reconcile.go_on(now, &self.peers, &self.pool, &mut self.rng, out);
        }
        self.compared(now, peer, outcome);
    }

    fn compared(&mut self, now: Time, peer: NodeId, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Unasked => self.blame(now, peer, Blame::Waste),
            Outcome::Impossible => self.blame(now, peer, Blame::InvalidItem),
            Outcome::Equal(slice) => self.locals.seen_all(|id| slice.contains(id)),
            Outcome::Different { slice, ours, theirs } => {
                let lacking: BTreeSet<&ShortId> = ours.iter().collect();
                self.locals.seen_all(|id| slice.contains(id) && !lacking.contains(id));
                let missing = theirs.into_iter().filter(|id| self.pool.get_short(id).is_none());
                self.reconcile.hold(now, peer, missing);
                if let Some(link) = self.peers.get(&peer) {
                    let out = &mut |output| self.outputs.push_back(output);
                    if self.gossip.lacking(now, peer, link.slot, ours, super::HOLD, out) > 0 {
                        self.reconcile.lost(now);
                    }
                }
            }
        }
    }
}
