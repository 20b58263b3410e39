//! How far neighbours' chains go, as they say, and which of them are worth asking.

use std::{collections::BTreeMap, time::Duration};

use starling_mempool::{Allowance, Budget};
use starling_wire::NodeId;

use super::super::time::Time;

/// How long a neighbour that did not send what it claimed to have is not asked again. Each time in a row it is twice as
/// long, up to [`LONGEST_PAUSE`]: one that is late may yet be the only one that has it.
const PAUSE: Duration = Duration::from_secs(1);

/// See [`PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(64);

/// After so many times in a row a neighbour's claim counts no more while it is not asked: else whoever says that there are
/// blocks could keep a producer from making one. Fewer, and a producer might make another block for a height of which
/// a late neighbour has one.
const DOUBTED: u32 = 3;

/// For how many milliseconds claims may keep a producer from making a block while nobody sends one: eight seconds, and of
/// later ones a tenth. Whoever claims, goes and comes back is never asked in vain often enough to be doubted.
const HOLD: Allowance = Allowance { burst: 8_000, per_second: 100 };

/// What one neighbour said.
#[derive(Debug, Default)]
struct Claim {
    height: u64,
    /// Times in a row that it was asked in vain.
    failures: u32,
    /// Until then it is not asked.
    pause_ends: Time,
}

/// All of what neighbours said.
#[derive(Debug, Default)]
pub(super) struct Claims {
    claims: BTreeMap<NodeId, Claim>,
    /// The highest of those that may be asked.
    highest: u64,
    /// When the next pause ends.
    pause_ends: Option<Time>,
    /// When claims last kept this node from making a block, if the chain has not grown since.
    held_at: Option<Time>,
    /// What that has used up of [`HOLD`].
    held: Budget,
}

impl Claims {
    /// A neighbour told how far its chain goes.
    pub(super) fn claimed(&mut self, now: Time, peer: NodeId, height: u64) {
        let claim = self.claims.entry(peer).or_default();
        if height > claim.height {
            claim.height = height;
            self.look(now);
        }
    }

    /// Whether a neighbour is known to have the block at a height.
    pub(super) fn has(&self, peer: &NodeId, height: u64) -> bool {
        self.claims.get(peer).is_some_and(|claim| claim.height >= height)
    }

    /// Whether a neighbour is to be asked for the block at a height.
    pub(super) fn is_worth_asking(&self, now: Time, peer: &NodeId, height: u64) -> bool {
        self.claims.get(peer).is_some_and(|claim| claim.height >= height && claim.pause_ends <= now)
    }

    /// Whether somebody who may be asked has the block at a height.
    pub(super) fn reach(&self, height: u64) -> bool {
        self.highest >= height
    }

    /// Whether this node is not to make the block at a height because somebody has it who is to be believed.
    pub(super) fn hold_back(&mut self, now: Time, height: u64) -> bool {
        let is_believed = |claim: &Claim| claim.failures < DOUBTED || claim.pause_ends <= now;
        if !self.claims.values().any(|claim| claim.height >= height && is_believed(claim)) {
            self.held_at = None;
            return false;
        }
        if let Some(since) = self.held_at {
            self.held.spend(now.since_start(), (now - since).as_millis() as usize, HOLD);
        }
        self.held_at = self.held.wait(now.since_start(), 1, HOLD).is_some_and(|wait| wait.is_zero()).then_some(now);
        self.held_at.is_some()
    }

    /// The chain has a block more. While it goes on like that, nothing is held up.
    pub(super) fn grown(&mut self) {
        self.held_at = None;
    }

    /// A neighbour sent a block that was of use.
    pub(super) fn kept(&mut self, now: Time, peer: &NodeId) {
        if let Some(claim) = self.claims.get_mut(peer)
            && claim.failures > 0
        {
            (claim.failures, claim.pause_ends) = (0, now);
            self.look(now);
        }
    }

    /// A neighbour did not send in time what it claimed to have, or something else.
    pub(super) fn broken(&mut self, now: Time, peer: &NodeId) {
        if let Some(claim) = self.claims.get_mut(peer) {
            claim.pause_ends = now + PAUSE.saturating_mul(1 << claim.failures.min(16)).min(LONGEST_PAUSE);
            claim.failures = claim.failures.saturating_add(1);
            self.look(now);
        }
    }

    pub(super) fn link_lost(&mut self, now: Time, peer: &NodeId) {
        self.claims.remove(peer);
        self.look(now);
    }

    /// Ends the pauses that are over.
    pub(super) fn timeout(&mut self, now: Time) {
        if self.pause_ends.is_some_and(|at| at <= now) {
            self.look(now);
        }
    }

    /// When [`Self::timeout`] next has work.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.pause_ends
    }

    fn look(&mut self, now: Time) {
        let (may, paused): (Vec<_>, Vec<_>) = self.claims.values().partition(|claim| claim.pause_ends <= now);
        self.highest = may.iter().map(|claim| claim.height).max().unwrap_or_default();
        self.pause_ends = paused.iter().map(|claim| claim.pause_ends).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: NodeId = NodeId([1; 32]);
    const OTHER: NodeId = NodeId([2; 32]);

    #[test]
    fn who_does_not_keep_its_word_is_asked_again_later_and_later() {
        let (mut claims, mut now) = (Claims::default(), Time::ZERO);
        claims.claimed(now, LATE, 9);
        claims.claimed(now, OTHER, 5);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 64] {
            assert!(claims.is_worth_asking(now, &LATE, 9) && claims.reach(9));
            claims.broken(now, &LATE);
            assert!(!claims.is_worth_asking(now, &LATE, 1) && claims.has(&LATE, 9), "it may have it all the same");
            assert!(claims.reach(5) && !claims.reach(6));
            now = now + Duration::from_secs(seconds);
            assert_eq!(claims.deadline(), Some(now));
            claims.timeout(now);
        }
        claims.broken(now, &LATE);
        claims.kept(now, &LATE);
        assert!(claims.is_worth_asking(now, &LATE, 9) && claims.reach(9) && claims.deadline().is_none());
        claims.broken(now, &LATE);
        assert_eq!(claims.deadline(), Some(now + PAUSE), "it starts anew");
        claims.link_lost(now, &LATE);
        assert!(!claims.has(&LATE, 1) && claims.deadline().is_none());
    }

    #[test]
    fn one_late_answer_does_not_make_a_claim_incredible_but_some_in_a_row_do() {
        let (mut claims, now) = (Claims::default(), Time::ZERO);
        claims.claimed(now, LATE, 9);
        claims.broken(now, &LATE);
        claims.broken(now, &LATE);
        assert!(claims.hold_back(now, 9) && !claims.hold_back(now, 10));
        claims.broken(now, &LATE);
        assert!(!claims.hold_back(now, 9));
        let pause_ends = claims.deadline().unwrap();
        assert!(claims.hold_back(pause_ends, 9), "until it was asked once more");
        claims.claimed(now, OTHER, 8);
        assert!(claims.hold_back(now, 8));
    }

    #[test]
    fn claims_that_nobody_proves_hold_back_for_a_tenth_of_the_time() {
        let (mut claims, mut held) = (Claims::default(), 0);
        for second in 0..800 {
            let now = Time::after(Duration::from_secs(second));
            // Never the same for long.
            claims.link_lost(now, if second % 2 == 0 { &LATE } else { &OTHER });
            claims.claimed(now, if second % 2 == 0 { LATE } else { OTHER }, u64::MAX);
            held += u64::from(claims.hold_back(now, 1));
        }
        assert!((80..100).contains(&held), "{held} of 800 seconds");
        // Whoever catches up is not to make a block before it has, however long that takes.
        let mut now = Time::after(Duration::from_secs(1000));
        for height in 1..100 {
            assert!(claims.hold_back(now, height));
            claims.grown();
            now = now + Duration::from_secs(1);
        }
    }
}
