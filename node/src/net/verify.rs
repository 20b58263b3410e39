//! Checking signatures on all cores, off the swarm's task.
//!
//! While a checker is busy what comes gathers, and the next one to be free takes it as one batch: batches form by
//! themselves under load. A few transactions are checked on the spot while no checker is at work, as waking another thread
//! and being woken by it costs as much as checking one. That cannot keep the task from the network for long: while it is
//! busy so many gather that others check them.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZero,
    time::{Duration, Instant},
};

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use starling_wire::{NodeId, SignatureError, Unverified, Verified, verify_batch};
use tokio::task::JoinSet;

use crate::engine::Source;

/// Most signatures in one batch. Beyond it a larger one is no cheaper per signature, but everybody in it waits for its last:
/// some milliseconds.
const MAX_BATCH: usize = 256;

/// Signatures that are not divided between checkers. From so many on a batch takes a tenth less time for each, by Pippenger's
/// method; where they take turns on busy cores, two that have half of them each are no sooner done.
const UNDIVIDED: usize = 128;

/// Fewest signatures that a checker is woken for: a batch of so many takes a third less time per signature than one (`cargo
/// bench -p starling-wire --bench codec -- signatures`). Fewer take the task less than half a millisecond.
const MIN_BATCH: usize = 8;

/// How long a peer that spoiled a batch is checked apart from the others.
const SUSPICION: Duration = Duration::from_secs(60);

/// The answer for one item.
pub type Answer = (Source, Result<Verified, (Unverified, SignatureError)>);

/// Items that wait, and the checkers at work. Whoever pushes them bounds how many there are. Needs a tokio runtime.
#[derive(Debug)]
pub struct Verifier {
    waiting: VecDeque<(Source, Unverified)>,
    /// Items from peers that spoiled a batch lately: a batch of these spoils nobody else's.
    waiting_suspect: VecDeque<(Source, Unverified)>,
    suspects: BTreeMap<NodeId, Instant>,
    at_work: JoinSet<Vec<Answer>>,
    cores: usize,
    rng: ChaCha20Rng,
}

impl Verifier {
    /// Nothing to check yet. The seed blinds the batches and must be unpredictable.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            waiting: VecDeque::new(),
            waiting_suspect: VecDeque::new(),
            suspects: BTreeMap::new(),
            at_work: JoinSet::new(),
            cores: std::thread::available_parallelism().map_or(1, NonZero::get),
            rng: ChaCha20Rng::from_seed(seed),
        }
    }

    /// Takes an item in; it waits for [`Self::start`].
    pub fn push(&mut self, source: Source, item: Unverified) {
        let suspect = matches!(source, Source::Peer(peer) | Source::Fetched(peer) if self.suspects.contains_key(&peer));
        let queue = if suspect { &mut self.waiting_suspect } else { &mut self.waiting };
        queue.push_back((source, item));
    }

    /// Gives idle checkers what waits. What it checks on the spot instead it answers at once.
    #[must_use]
    pub fn start(&mut self) -> Vec<Answer> {
        let few = (1..MIN_BATCH).contains(&self.waiting.len()) && self.waiting_suspect.is_empty();
        if few && self.at_work.is_empty() {
            let answers = check(self.waiting.drain(..).collect(), ChaCha20Rng::from_rng(&mut self.rng));
            self.note_suspects(&answers);
            return answers;
        }
        while self.at_work.len() < self.cores {
            // A suspect's items come last and at most one batch of them runs at a time with others waiting.
            let queue = if self.waiting.is_empty() { &mut self.waiting_suspect } else { &mut self.waiting };
            if queue.is_empty() {
                break;
            }
            let free = self.cores - self.at_work.len();
            let share = queue.len().div_ceil(free).clamp(UNDIVIDED, MAX_BATCH).min(queue.len());
            let batch: Vec<_> = queue.drain(..share).collect();
            let rng = ChaCha20Rng::from_rng(&mut self.rng);
            self.at_work.spawn_blocking(move || check(batch, rng));
        }
        Vec::new()
    }

    /// Waits for the next answers; pending for ever while nothing is at work. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Vec<Answer> {
        match self.at_work.join_next().await {
            Some(Ok(answers)) => {
                self.note_suspects(&answers);
                answers
            }
            // The runtime is shutting down: nobody waits for the answers.
            Some(Err(_)) => Vec::new(),
            None => std::future::pending().await,
        }
    }

    fn note_suspects(&mut self, answers: &[Answer]) {
        let now = Instant::now();
        self.suspects.retain(|_, until| *until > now);
        for (source, verdict) in answers {
            if let (Source::Peer(peer) | Source::Fetched(peer), Err(_)) = (source, verdict) {
                self.suspects.insert(*peer, now + SUSPICION);
            }
        }
    }
}

fn check(batch: Vec<(Source, Unverified)>, rng: ChaCha20Rng) -> Vec<Answer> {
    let (sources, items): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    // Items are handles, so keeping them for the answer costs no copy of their bytes.
    let verdicts = verify_batch(items.clone(), rng);
    sources
        .into_iter()
        .zip(items)
        .zip(verdicts)
        .map(|((source, item), verdict)| (source, verdict.map_err(|error| (item, error))))
        .collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use starling_wire::{AccountId, NetworkId, SecretKey, SignedTx, Transaction};

    use super::*;
    use crate::engine::Ticket;

    fn tx(nonce: u64) -> SignedTx {
        let key = SecretKey::from_seed(&[7; 32]);
        let (network, recipient) = (NetworkId(7), AccountId([1; 32]));
        let fields = Transaction {
            network,
            sender: key.account(),
            recipient,
            nonce,
            amount: 1,
            fee: 500,
            valid_until: None,
            payload: vec![].into(),
        };
        fields.sign(&key).unwrap()
    }

    fn forged() -> SignedTx {
        let mut bytes = tx(0).bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        SignedTx::decode(&bytes).unwrap()
    }

    #[tokio::test]
    async fn a_few_are_checked_at_once_and_many_by_others() {
        let mut verifier = Verifier::new([1; 32]);
        for nonce in 0..MIN_BATCH as u64 - 1 {
            verifier.push(Source::Local(Ticket(nonce)), Unverified::Tx(tx(nonce)));
        }
        let answers = verifier.start();
        assert!(answers.len() == MIN_BATCH - 1 && answers.iter().all(|(_, verdict)| verdict.is_ok()));
        for nonce in 1..600 {
            verifier.push(Source::Local(Ticket(nonce)), Unverified::Tx(tx(nonce)));
        }
        let mut answered = Vec::new();
        while answered.len() < 599 {
            answered.extend(verifier.start());
            assert!(verifier.at_work.len() <= verifier.cores);
            let Some(answers) = verifier.next().now_or_never() else {
                tokio::task::yield_now().await;
                continue;
            };
            assert!((1..=MAX_BATCH).contains(&answers.len()));
            answered.extend(answers);
        }
        assert!(answered.iter().all(|(_, verdict)| verdict.is_ok()));
        assert!(verifier.next().now_or_never().is_none(), "nothing is left");
    }

    #[tokio::test]
    async fn who_sends_a_forgery_is_checked_apart() {
        let mut verifier = Verifier::new([1; 32]);
        let (bad, good) = (NodeId([1; 32]), NodeId([2; 32]));
        verifier.push(Source::Peer(bad), Unverified::Tx(forged()));
        assert!(matches!(verifier.start()[..], [(_, Err((Unverified::Tx(_), _)))]));
        verifier.push(Source::Peer(bad), Unverified::Tx(tx(1)));
        verifier.push(Source::Peer(good), Unverified::Tx(tx(2)));
        assert_eq!((verifier.waiting.len(), verifier.waiting_suspect.len()), (1, 1));
        for _ in 0..2 {
            assert!(verifier.start().is_empty());
            let answers = verifier.next().await;
            assert!(matches!(answers[..], [(Source::Peer(_), Ok(_))]), "two batches of one");
        }
    }
}
