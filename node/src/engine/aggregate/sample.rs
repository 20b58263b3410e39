//! The reports of one epoch that a node keeps: those of the nodes with the lowest ranks.
//!
//! A rank is a hash of the node's id and the epoch, so these nodes are a uniform sample of all that report. Nothing that
//! happens on the way biases it: what comes twice, late or in another order changes nothing, and two samples together
//! give the same whoever puts them together.

use std::collections::{BTreeMap, BTreeSet};

use starling_wire::{NodeId, SignedReport, VerifiedReport, limits::SAMPLE, report};

use super::super::time::Time;

/// What is held of a node.
#[derive(Debug, Clone)]
enum Entry {
    /// What it says.
    Said(VerifiedReport),
    /// Two different reports: a proof that it lies.
    Lied(Box<[VerifiedReport; 2]>),
}

impl Entry {
    fn reports(&self) -> &[VerifiedReport] {
        match self {
            Self::Said(report) => std::slice::from_ref(report),
            Self::Lied(both) => both.as_slice(),
        }
    }

    fn is_lie(&self) -> bool {
        matches!(self, Self::Lied(_))
    }
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Insertion {
    /// It is in the sample now.
    Added,
    /// With one that is in the sample it proves that its node lies.
    Lie([VerifiedReport; 2]),
    /// It is there already, or others are better.
    Nothing,
}

/// The sample of one epoch: at most [`SAMPLE`] reports, and as many proofs of lies.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    epoch: u32,
    /// By rank.
    entries: BTreeMap<(u64, NodeId), Entry>,
    /// The lowest rank at which the sample was ever full: below it, and only there, nothing was dropped.
    horizon: Option<u64>,
    digest: [u8; 8],
    /// When it was begun, and when it last changed.
    since: Time,
    changed: Time,
}

impl Sample {
    pub(super) fn new(epoch: u32, now: Time) -> Self {
        let (entries, digest) = (BTreeMap::new(), report::digest([].into_iter()));
        Self { epoch, entries, horizon: None, digest, since: now, changed: now }
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Digest of all that is held. Of a liar it matters only that it lied: there may be many proofs.
    pub(super) fn digest(&self) -> [u8; 8] {
        self.digest
    }

    pub(super) fn since(&self) -> Time {
        self.since
    }

    pub(super) fn changed(&self) -> Time {
        self.changed
    }

    /// The reports that count, by rank.
    pub(super) fn reports(&self) -> impl Iterator<Item = &VerifiedReport> {
        self.entries.values().filter(|entry| !entry.is_lie()).flat_map(Entry::reports)
    }

    /// The nodes that lied.
    pub(super) fn liars(&self) -> impl Iterator<Item = &NodeId> {
        self.entries.iter().filter(|(_, entry)| entry.is_lie()).map(|((_, node), _)| node)
    }

    /// See the field.
    pub(super) fn horizon(&self) -> Option<u64> {
        self.horizon
    }

    /// The highest rank there is a use for.
    fn highest(&self) -> u64 {
        let of = |lie| {
            let ranks = self.entries.iter().filter(move |(_, entry)| entry.is_lie() == lie).map(|((rank, _), _)| *rank);
            ranks.take(SAMPLE).enumerate().find(|(at, _)| at + 1 == SAMPLE).map_or(u64::MAX, |(_, rank)| rank)
        };
        of(false).min(of(true))
    }

    /// The first four bytes of the highest rank there is a use for.
    pub(super) fn ceiling(&self) -> u32 {
        top(self.highest())
    }

    /// Whether a node that is not in the sample would be.
    pub(super) fn lacks(&self, node: &NodeId) -> bool {
        let rank = report::rank(self.epoch, node);
        rank < self.highest() && !self.entries.contains_key(&(rank, *node))
    }

    /// Whether a report with that id would change anything.
    pub(super) fn wants(&self, signed: &SignedReport, id: &[u8; 32]) -> bool {
        let rank = signed.report.rank();
        match self.entries.get(&(rank, signed.report.node)) {
            Some(Entry::Lied(_)) => false,
            Some(Entry::Said(known)) => known.id() != id,
            None => rank < self.highest(),
        }
    }

    /// Takes in a report of the epoch.
    pub(super) fn insert(&mut self, now: Time, report: VerifiedReport) -> Insertion {
        if !self.wants(report.signed(), report.id()) {
            return Insertion::Nothing;
        }
        let key = (report.report().rank(), report.report().node);
        let insertion = match self.entries.get_mut(&key) {
            Some(entry) => {
                let Entry::Said(known) = entry else { return Insertion::Nothing };
                let both = [known.clone(), report];
                *entry = Entry::Lied(Box::new(both.clone()));
                Insertion::Lie(both)
            }
            None => {
                self.entries.insert(key, Entry::Said(report));
                Insertion::Added
            }
        };
        self.trim();
        self.changed = now;
        let ids = self.entries.iter().map(|((_, node), entry)| match entry {
            Entry::Said(report) => report.id(),
            Entry::Lied(_) => &node.0,
        });
        self.digest = report::digest(ids);
        insertion
    }

    fn trim(&mut self) {
        let highest = self.highest();
        if highest < u64::MAX {
            self.horizon = Some(self.horizon.map_or(highest, |horizon| horizon.min(highest)));
            while self.entries.last_key_value().is_some_and(|((rank, _), _)| *rank > highest) {
                self.entries.pop_last();
            }
        }
    }

    /// A print of each report that the other side has a use for.
    pub(super) fn prints(&self, salt: u64, ceiling: u32) -> Vec<u16> {
        self.up_to(ceiling).map(|report| report.print(salt)).collect()
    }

    /// The reports whose prints are asked for.
    pub(super) fn with_prints(&self, salt: u64, prints: &[u16]) -> Vec<SignedReport> {
        let prints: BTreeSet<u16> = prints.iter().copied().collect();
        self.up_to(u32::MAX)
            .filter(|report| prints.contains(&report.print(salt)))
            .map(|report| *report.signed())
            .collect()
    }

    /// Holds a list against the sample: what the other side lacks, and the prints of what this one does.
    pub(super) fn compare(&self, salt: u64, ceiling: u32, prints: &[u16]) -> (Vec<SignedReport>, Vec<u16>) {
        let theirs: BTreeSet<u16> = prints.iter().copied().collect();
        let own: BTreeSet<u16> = self.prints(salt, u32::MAX).into_iter().collect();
        let lacking = self.up_to(ceiling).filter(|report| !theirs.contains(&report.print(salt)));
        (lacking.map(|report| *report.signed()).collect(), theirs.difference(&own).copied().collect())
    }

    fn up_to(&self, ceiling: u32) -> impl Iterator<Item = &VerifiedReport> {
        let entries = self.entries.iter().take_while(move |((rank, _), _)| top(*rank) <= ceiling);
        entries.flat_map(|(_, entry)| entry.reports())
    }
}

fn top(rank: u64) -> u32 {
    (rank >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use starling_wire::{Figures, GenesisId, Report, SecretKey};

    use super::*;

    const EPOCH: u32 = 5;

    /// Reports of many nodes, and a second one of some of them.
    static REPORTS: LazyLock<Vec<VerifiedReport>> = LazyLock::new(|| {
        let mut reports: Vec<_> = (0..300).map(|node| report(node, 1)).collect();
        reports.extend((0..30).map(|node| report(node * 7, 2)));
        reports
    });

    fn report(node: u64, links: u8) -> VerifiedReport {
        let key = SecretKey::insecure_from_name(node, "sample");
        Report::sign(EPOCH, [0, 1, 0], Figures { links, ..Figures::default() }, &key, &GenesisId([1; 32]))
    }

    fn sample(reports: &[VerifiedReport]) -> Sample {
        let mut sample = Sample::new(EPOCH, Time::ZERO);
        for report in reports {
            sample.insert(Time::ZERO, report.clone());
        }
        sample
    }

    fn merge(mut to: Sample, from: &Sample) -> Sample {
        from.up_to(u32::MAX).for_each(|report| drop(to.insert(Time::ZERO, report.clone())));
        to
    }

    fn lowest(count: usize) -> Vec<VerifiedReport> {
        let mut all = REPORTS[..300].to_vec();
        all.sort_by_key(|report| report.report().rank());
        all.truncate(count);
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Order and repetition change nothing.
        #[test]
        fn the_lowest_ranks_are_kept_whatever_the_order(order in Just((0..600).collect::<Vec<usize>>()).prop_shuffle()) {
            let reports: Vec<_> = order.into_iter().map(|at| REPORTS[at % 300].clone()).collect();
            let sample = sample(&reports);
            let kept: Vec<_> = sample.reports().cloned().collect();
            prop_assert_eq!(kept, lowest(SAMPLE));
        }

        /// Samples of any parts of the reports, lies among them, put together either way, are one.
        #[test]
        fn merging_is_commutative_and_idempotent(parts in prop::collection::vec(0_u8..4, 330)) {
            let part = |of: u8| {
                let chosen = REPORTS.iter().zip(&parts).filter(|(_, part)| **part == of || **part == 3);
                sample(&chosen.map(|(report, _)| report.clone()).collect::<Vec<_>>())
            };
            let (a, b) = (part(0), part(1));
            let (mut ab, mut ba) = (merge(a.clone(), &b), merge(b, &a));
            // What one dropped while a liar still counted comes back from the other, and may show another liar: like nodes
            // they exchange until nothing changes, which is once for each lie at most.
            for _ in 0..30 {
                (ab, ba) = (merge(ab.clone(), &ba), merge(ba, &ab));
            }
            prop_assert_eq!(ab.digest(), ba.digest());
            prop_assert_eq!(merge(ab.clone(), &ab).digest(), ab.digest());
        }
    }

    #[test]
    fn two_reports_of_one_node_are_a_proof_and_do_not_count() {
        let mut sample = sample(&lowest(3));
        let node = lowest(1)[0].report().node;
        let liar = (0..300).find(|seed| report(*seed, 1).report().node == node).unwrap();
        let Insertion::Lie(both) = sample.insert(Time::ZERO, report(liar, 9)) else { panic!("no lie") };
        assert_eq!(both[0].report().node, both[1].report().node);
        assert_eq!((sample.reports().count(), sample.liars().count()), (2, 1));
        let digest = sample.digest();
        // A third one is of no use to anybody, and another pair proves the same.
        assert_eq!(sample.insert(Time::ZERO, report(liar, 10)), Insertion::Nothing);
        let mut other = self::sample(&lowest(3)[1..]);
        other.insert(Time::ZERO, report(liar, 10));
        other.insert(Time::ZERO, report(liar, 11));
        assert_eq!(other.digest(), digest);
    }

    #[test]
    fn a_lie_leaves_a_gap_but_no_certainty() {
        let mut full = sample(&lowest(SAMPLE));
        assert!(full.horizon().is_some());
        let node = lowest(1)[0].report().node;
        let liar = (0..300).find(|seed| report(*seed, 1).report().node == node).unwrap();
        full.insert(Time::ZERO, report(liar, 9));
        assert_eq!(full.reports().count(), SAMPLE - 1);
        assert_eq!(full.horizon(), Some(lowest(SAMPLE)[SAMPLE - 1].report().rank()), "it is not the whole network");
        assert_eq!(full.ceiling(), u32::MAX, "there is room for the next");
    }

    #[test]
    fn proofs_are_bounded() {
        let mut full = Sample::new(EPOCH, Time::ZERO);
        for node in 0..200 {
            for links in 0..3 {
                full.insert(Time::ZERO, report(node, links));
            }
        }
        assert!(full.entries.len() <= 2 * SAMPLE, "{}", full.entries.len());
        assert!(full.up_to(u32::MAX).count() <= 3 * SAMPLE);
        assert_eq!(full.liars().count(), SAMPLE);
    }

    #[test]
    fn lists_find_the_difference() {
        let all = lowest(SAMPLE);
        let (a, b) = (sample(&all[..40]), sample(&all[20..]));
        let salt = 0x1234_5678_9abc_def1;
        let (lacking, wanted) = a.compare(salt, b.ceiling(), &b.prints(salt, a.ceiling()));
        assert_eq!(lacking.len(), 20);
        assert_eq!(b.with_prints(salt, &wanted).len(), 24);
        // Who has a full sample has no use for higher ranks.
        let full = sample(&all);
        let more = sample(&lowest(SAMPLE + 20)[30..]);
        let (lacking, _) = more.compare(salt, full.ceiling(), &full.prints(salt, more.ceiling()));
        assert!(lacking.is_empty());
    }
}
