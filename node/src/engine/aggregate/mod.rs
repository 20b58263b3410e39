//! The network measures itself: in each epoch of 30 seconds every node signs one report about itself, and neighbours
//! exchange reports until all have the same sample of them, which [`estimate`] turns into figures of the whole network.
//!
//! * **Exchange.** A node with news asks one neighbour a second, drawn at random, whether it holds the same, by a digest of
//!   its sample. If not, the neighbour lists what it holds, two bytes for each report, and both send what the other lacks.
//!   Without news the pause doubles, up to 8 seconds.
//! * **Only what can enter the sample travels**, and is checked. A node that the last epoch's sample shows to be far from
//!   it waits before it signs a report, and by then sees that its own is not needed.
//! * **Clocks** need to agree to some seconds: reports of an epoch are taken from 5 seconds before it begins to 5 seconds
//!   after it ends.
//! * **Lies.** A report is of its node alone, as it is signed. Two different ones of one node and epoch prove a lie; both
//!   are passed on, and neither counts. A lie about oneself cannot be seen, only bounded: see [`Spread`]. Keys cost
//!   nothing, so one machine can report as many.
//!
//! This part knows no clock and no pool: the time, the world's time and the figures are handed in.

mod estimate;
mod report;
mod routing;
mod sample;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use rand::{Rng, RngExt, seq::IteratorRandom};
use rand_chacha::ChaCha8Rng;
use starling_mempool::Allowance;
use starling_wire::{
    BoundedVec, EPOCH_MS, Figures, GenesisId, GetReports, Message, NodeId, Report, ReportDigest, ReportList, SecretKey,
    SignedReport, Unverified, VerifiedReport, limits::SAMPLE, report::rank,
};

pub use self::estimate::{Estimate, Figure, Network, Spread};
use self::sample::{Insertion, Sample};
use super::{
    io::Output,
    peers::{Link, Peers},
    time::Time,
};

/// How far clocks may be apart, in milliseconds. More makes reports useful that are older, less excludes more nodes.
const TOLERANCE_MS: u64 = 5_000;

/// Pause between two exchanges while there is news. Shorter spreads faster, and has more reports come twice.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause, without news: what a node may miss when all around it have stopped to exchange.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// A sample that has not changed for so long is taken for complete: clocks that are behind by all that is allowed, and
/// some exchanges.
const SETTLED: Duration = Duration::from_millis(TOLERANCE_MS + 3_000);

/// A sample of an epoch that ended so soon after the node joined it says less than that of the next.
const WITNESSED: Duration = Duration::from_secs(10);

/// How long a new node listens to its first neighbour before it reports: what that one holds tells whether a report is
/// needed, and whether the node has made one before a restart that it does not remember.
const LISTEN: Duration = Duration::from_secs(2);

/// How long into an epoch a node waits whose rank would have been the last in the sample of the epoch before: ranks come in
/// in their order then, and nearly all reports that travel stay.
const SPREAD: Duration = Duration::from_secs(4);

/// How much longer one waits whose rank is higher: until the others have spread, so that it sees whether its report is needed.
const PATIENCE: Duration = Duration::from_secs(7);

/// The longest wait of all. It comes to that when the network is not half as large as it was.
const LONGEST_WAIT: Duration = Duration::from_secs(16);

/// Signatures that are checked for one neighbour: four samples at once, and more than half a sample each second epoch, for
/// ever. An honest one brings hardly more than a sample in an epoch.
const CHECKS: Allowance = Allowance { burst: 4 * SAMPLE as u64, per_second: 4 };

/// Reports sent to one neighbour that asks for them.
const ANSWERS: Allowance = Allowance { burst: 8 * SAMPLE as u64, per_second: 8 };

/// Signatures of reports being checked at one time.
const MAX_CHECKING: usize = 4 * SAMPLE;

/// Proofs of lies that are kept when their epoch is over; the oldest go.
const MAX_PROOFS: usize = 64;

/// Two different reports of one node for one epoch, both well signed.
pub type Proof = [VerifiedReport; 2];

/// What is to be done about a message.
#[derive(Debug)]
pub(super) enum Reaction {
    /// Nothing.
    Nothing,
    /// The neighbour asked or sent what nobody needs.
    Waste,
    /// These signatures are to be checked.
    Check(Vec<Unverified>),
}

/// The samples of the last, the current and the next epoch.
#[derive(Debug)]
pub(super) struct Aggregates {
    genesis: GenesisId,
    /// Signs this node's reports; without it the node only passes on those of others.
    key: Option<SecretKey>,
    /// In the order of their epochs: the last, the current one, and the next if neighbours are ahead.
    samples: VecDeque<Sample>,
    epoch: u32,
    /// When the next epoch begins.
    turn: Time,
    /// When this node's report is to be made.
    report_at: Option<Time>,
    /// Neither has an epoch begun since the start nor a link come up: see [`LISTEN`].
    is_new: bool,
    /// The first neighbour has not been asked yet what it holds.
    is_to_ask: bool,
    /// The next exchange, and the pause after it.
    exchange_at: Time,
    pause: Duration,
    /// Whom a digest was sent to, and of which epoch.
    asked: Option<(NodeId, u32)>,
    /// Ids of reports whose signatures are being checked.
    checking: BTreeSet<[u8; 32]>,
    proofs: VecDeque<Proof>,
    /// Transactions admitted when the epoch began, and then.
    admitted: (u64, Time),
    /// Transactions admitted per second over the epoch before, in thousandths.
    rate: Option<u32>,
    /// Messages about epochs too far from this node's.
    untimely: u64,
}

impl Aggregates {
    /// `wall` is Unix time in milliseconds at [`Time::ZERO`].
    pub(super) fn new(genesis: GenesisId, wall: u64) -> Self {
        Self {
            genesis,
            key: None,
            samples: VecDeque::new(),
            epoch: epoch_of(wall),
            turn: Time::ZERO + Duration::from_millis(EPOCH_MS - wall % EPOCH_MS),
            report_at: None,
            is_new: true,
            is_to_ask: false,
            exchange_at: Time::ZERO,
            pause: PAUSE,
            asked: None,
            checking: BTreeSet::new(),
            proofs: VecDeque::new(),
            admitted: (0, Time::ZERO),
            rate: None,
            untimely: 0,
        }
    }

    pub(super) fn set_key(&mut self, key: SecretKey) {
        self.key = Some(key);
    }

    /// The node ran before, and may have reported in this epoch.
    pub(super) fn skip_epoch(&mut self) {
        self.is_new = false;
    }

    /// Proofs of lies, of the last epochs.
    pub(super) fn proofs(&self) -> impl Iterator<Item = &Proof> {
        self.proofs.iter()
    }

    /// Messages passed over because they were about epochs too far from this node's: many mean that its clock, or a
    /// neighbour's, is wrong.
    pub(super) fn untimely(&self) -> u64 {
        self.untimely
    }

    /// What the network is like. The current epoch's sample counts once it is settled, before that the last one's.
    pub(super) fn network(&self, now: Time, own: &Figures) -> Network {
        let of = |epoch: u32| self.samples.iter().find(|sample| sample.epoch() == epoch && !sample.is_empty());
        let current = of(self.epoch);
        if let Some(sample) = current.filter(|sample| now - sample.changed() >= SETTLED) {
            return Network::of(sample, true, own);
        }
        let ended = Time::after(self.turn.since_start().saturating_sub(Duration::from_millis(EPOCH_MS)));
        let last = of(self.epoch.wrapping_sub(1)).filter(|sample| ended - sample.since() >= WITNESSED);
        match (last, current) {
            (Some(sample), _) => Network::of(sample, true, own),
            (None, Some(sample)) => Network::of(sample, false, own),
            (None, None) => Network::of(&Sample::new(self.epoch, now), false, own),
        }
    }

    /// When an epoch, a report or an exchange is next due, in no hurry.
    pub(super) fn deadline(&self) -> Time {
        let exchanges = self.is_to_ask || self.samples.iter().any(|sample| !sample.is_empty());
        let exchange = exchanges.then_some(self.exchange_at);
        [self.report_at, exchange].into_iter().flatten().fold(self.turn, Time::min)
    }

    /// A link came up: it may lead to nodes that were out of reach.
    pub(super) fn link_up(&mut self, now: Time) {
        if std::mem::take(&mut self.is_new) && self.key.is_some() {
            (self.report_at, self.is_to_ask) = (Some(now + LISTEN), true);
        }
        self.news(now);
    }

    /// Begins a new epoch if its time has come. `wall` is Unix time in milliseconds, `admitted` how many transactions this
    /// node has admitted since its start.
    pub(super) fn turn(&mut self, now: Time, wall: u64, admitted: u64) {
        let epoch = epoch_of(wall);
        if epoch == self.epoch && now < self.turn {
            return;
        }
        let begun = wall - wall % EPOCH_MS;
        self.turn = now + Duration::from_millis(begun + EPOCH_MS - wall);
        if epoch == self.epoch {
            // The clock was set.
            return;
        }
        if self.epoch.wrapping_add(1) == epoch {
            self.rate = Some(rate(admitted - self.admitted.0, now - self.admitted.1));
        }
        self.admitted = (admitted, now);
        self.epoch = epoch;
        self.is_new = false;
        // One that begins late has waited already.
        let wait = self.wait().saturating_sub(Duration::from_millis(wall - begun));
        self.report_at = self.key.is_some().then(|| now + wait);
        let kept = epoch.saturating_sub(1)..=epoch.saturating_add(1);
        self.samples.retain(|sample| kept.contains(&sample.epoch()));
        self.news(now);
    }

    /// How long after the epoch's beginning this node reports.
    fn wait(&self) -> Duration {
        // A neighbour whose clock is ahead may have told of the new epoch already.
        let last = self.samples.iter().rev().find(|sample| sample.epoch() < self.epoch);
        let (Some(key), Some(last)) = (&self.key, last) else { return Duration::ZERO };
        let Some(horizon) = last.horizon() else { return Duration::ZERO };
        let share = rank(self.epoch, &key.node()) as f64 / horizon.max(1) as f64;
        let patience = if share > 1.0 { PATIENCE } else { Duration::ZERO };
        (SPREAD.mul_f64(share.min(1e3)) + patience).min(LONGEST_WAIT)
    }

    /// Whether this node's report is to be made now.
    pub(super) fn is_report_due(&mut self, now: Time) -> bool {
        let due = self.report_at.is_some_and(|at| at <= now);
        if due {
            self.report_at = None;
        }
        let Some(key) = self.key.as_ref().filter(|_| due) else { return false };
        // One that is there already was signed before a clock was set back, or a restart: another would be a lie.
        let mut samples = self.samples.iter();
        samples.find(|sample| sample.epoch() == self.epoch).is_none_or(|sample| sample.lacks(&key.node()))
    }

    /// Transactions admitted per second lately, in thousandths.
    pub(super) fn rate(&self, now: Time, admitted: u64) -> u32 {
        self.rate.unwrap_or_else(|| rate(admitted - self.admitted.0, now - self.admitted.1))
    }

    /// Makes this node's report.
    pub(super) fn report(&mut self, now: Time, figures: Figures) {
        if let Some(key) = &self.key {
            let report = Report::sign(self.epoch, report::program(), figures, key, &self.genesis);
            self.verified(now, report);
        }
    }

    /// Begins an exchange with a neighbour, if one is due.
    pub(super) fn exchange(&mut self, now: Time, peers: &Peers, rng: &mut ChaCha8Rng, out: &mut dyn FnMut(Output)) {
        if now < self.exchange_at {
            return;
        }
        // Neighbours do not all ask at once.
        self.exchange_at = now + self.pause.mul_f64(rng.random_range(0.75..1.25));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let epoch = self.epoch;
        // Whoever holds nothing has nothing to tell, but may have told it all before a restart.
        if !self.is_to_ask && !self.samples.iter().any(|sample| sample.epoch() == epoch && !sample.is_empty()) {
            return;
        }
        let Some((peer, _)) = peers.ready().filter(|(_, link)| !link.congested).choose(rng) else { return };
        self.is_to_ask = false;
        let Some(sample) = self.sample_of(now, epoch) else { return };
        let digest = ReportDigest { epoch, ceiling: sample.ceiling(), digest: sample.digest() };
        self.asked = Some((*peer, epoch));
        out(Output::Send { peer: *peer, message: Message::ReportDigest(digest) });
    }

    /// A neighbour asks whether this node holds the same.
    pub(super) fn digest(
        &mut self,
        now: Time,
        wall: u64,
        digest: ReportDigest,
        rng: &mut ChaCha8Rng,
        send: &mut dyn FnMut(Message),
    ) {
        let Some(sample) = self.sample(now, wall, digest.epoch) else { return };
        if sample.digest() == digest.digest {
            return;
        }
        let salt = rng.next_u64();
        let (epoch, ceiling) = (digest.epoch, sample.ceiling());
        // A sample never holds more than a list.
        if let Ok(prints) = BoundedVec::new(sample.prints(salt, digest.ceiling)) {
            send(Message::ReportList(ReportList { epoch, ceiling, salt, prints }));
        }
    }

    /// A neighbour's sample differs, and this is what it holds.
    pub(super) fn list(
        &mut self,
        now: Time,
        wall: u64,
        peer: NodeId,
        list: &ReportList,
        send: &mut dyn FnMut(Message),
    ) -> Reaction {
        if self.asked.take_if(|asked| *asked == (peer, list.epoch)).is_none() {
            return Reaction::Waste;
        }
        let Some(sample) = self.sample(now, wall, list.epoch) else { return Reaction::Nothing };
        let (lacking, wanted) = sample.compare(list.salt, list.ceiling, &list.prints);
        if !wanted.is_empty()
            && let Ok(prints) = BoundedVec::new(wanted)
        {
            send(Message::GetReports(GetReports { epoch: list.epoch, salt: list.salt, prints }));
        }
        BoundedVec::chunks(&lacking).for_each(|reports| send(Message::Reports(reports)));
        Reaction::Nothing
    }

    /// A neighbour asks for reports.
    pub(super) fn wanted(
        &mut self,
        now: Time,
        wall: u64,
        link: &mut Link,
        request: &GetReports,
        send: &mut dyn FnMut(Message),
    ) -> Reaction {
        let Some(sample) = self.sample(now, wall, request.epoch) else { return Reaction::Nothing };
        let reports = sample.with_prints(request.salt, &request.prints);
        if !link.reports_sent.take(now.since_start(), reports.len(), ANSWERS) {
            return Reaction::Waste;
        }
        BoundedVec::chunks(&reports).for_each(|reports| send(Message::Reports(reports)));
        Reaction::Nothing
    }

    /// Reports came: gives those of use to be checked, as many as the neighbour may bring.
    pub(super) fn reports(&mut self, now: Time, wall: u64, link: &mut Link, reports: &[SignedReport]) -> Reaction {
        let genesis = self.genesis;
        let mut checks = Vec::new();
        for signed in reports {
            let id = signed.id(&genesis);
            let is_new = !self.checking.contains(&id);
            let Some(sample) = self.sample(now, wall, signed.report.epoch) else { continue };
            let may_check = is_new && sample.wants(signed, &id) && self.checking.len() < MAX_CHECKING;
            if may_check && link.reports_checked.take(now.since_start(), 1, CHECKS) {
                self.checking.insert(id);
                checks.push(Unverified::Report(*signed, genesis));
            }
        }
        if checks.is_empty() { Reaction::Waste } else { Reaction::Check(checks) }
    }

    /// A signature was checked and found bad.
    pub(super) fn forged(&mut self, signed: &SignedReport) {
        self.checking.remove(&signed.id(&self.genesis));
    }

    /// A report is good. Says whether it proves a lie.
    pub(super) fn verified(&mut self, now: Time, report: VerifiedReport) -> bool {
        self.checking.remove(report.id());
        let Some(sample) = self.sample_of(now, report.report().epoch) else { return false };
        let insertion = sample.insert(now, report);
        if insertion == Insertion::Nothing {
            return false;
        }
        self.news(now);
        let Insertion::Lie(proof) = insertion else { return false };
        if self.proofs.len() >= MAX_PROOFS {
            self.proofs.pop_front();
        }
        self.proofs.push_back(proof);
        true
    }

    /// There is something to tell.
    fn news(&mut self, now: Time) {
        self.pause = PAUSE;
        self.exchange_at = self.exchange_at.min(now + PAUSE);
    }

    /// The sample of an epoch that a neighbour names, if its time is now, or nearly.
    fn sample(&mut self, now: Time, wall: u64, epoch: u32) -> Option<&mut Sample> {
        let near = epoch_of(wall.saturating_sub(TOLERANCE_MS))..=epoch_of(wall + TOLERANCE_MS);
        if !near.contains(&epoch) {
            self.untimely += 1;
            return None;
        }
        self.sample_of(now, epoch)
    }

    /// The sample of the last epoch, the current one or the next.
    fn sample_of(&mut self, now: Time, epoch: u32) -> Option<&mut Sample> {
        if epoch.abs_diff(self.epoch) > 1 {
            return None;
        }
        let at = self.samples.partition_point(|sample| sample.epoch() < epoch);
        if self.samples.get(at).is_none_or(|sample| sample.epoch() != epoch) {
            self.samples.insert(at, Sample::new(epoch, now));
        }
        self.samples.get_mut(at)
    }
}

/// The epoch at a Unix time in milliseconds.
fn epoch_of(wall: u64) -> u32 {
    u32::try_from(wall / EPOCH_MS).unwrap_or(u32::MAX)
}

/// So many over so long, per second, in thousandths.
fn rate(count: u64, over: Duration) -> u32 {
    let millis = u64::try_from(over.as_millis()).unwrap_or(u64::MAX).max(1000);
    let rate = count.saturating_mul(1_000_000) / millis;
    u32::try_from(rate).unwrap_or(u32::MAX).min(starling_wire::limits::MAX_RATE)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn who_hears_of_an_epoch_early_waits_for_its_turn_all_the_same() {
        const WALL: u64 = 1000 * EPOCH_MS;
        let (genesis, key) = (GenesisId([1; 32]), |name| SecretKey::insecure_from_name(name, "node"));
        let mut aggregates = Aggregates::new(genesis, WALL);
        // Of so many one in three has a rank below the horizon.
        for name in 0..200 {
            let report = Report::sign(1000, report::program(), Figures::default(), &key(name), &genesis);
            aggregates.verified(Time::ZERO, report);
        }
        let horizon = aggregates.samples[0].horizon().unwrap();
        let late = (0..).map(key).find(|key| rank(1001, &key.node()) > 2 * horizon).unwrap();
        aggregates.set_key(late);
        let early = ReportDigest { epoch: 1001, ceiling: u32::MAX, digest: [7; 8] };
        let (mut rng, end) = (ChaCha8Rng::seed_from_u64(1), Duration::from_millis(EPOCH_MS));
        let before = Time::after(end - Duration::from_secs(2));
        aggregates.digest(before, WALL + EPOCH_MS - 2000, early, &mut rng, &mut |_| ());
        assert_eq!(aggregates.samples.len(), 2);
        aggregates.turn(Time::after(end), WALL + EPOCH_MS, 0);
        assert!(!aggregates.is_report_due(Time::after(end + Duration::from_millis(100))));
        assert!(aggregates.is_report_due(Time::after(end + LONGEST_WAIT)));
    }
}
