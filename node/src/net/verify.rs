//! Checking signatures on all cores, off the swarm's task.
//!
//! While a checker is busy what comes gathers, and the next one to be free takes it as one batch: batches form by
//! themselves under load, and an idle node checks at once.

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

/// Most signatures in one batch. Beyond a few dozen a larger one is hardly cheaper per signature, but everybody in it
/// waits for its last.
const MAX_BATCH: usize = 64;

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

    /// Gives idle checkers what waits.
    pub fn start(&mut self) {
        while self.at_work.len() < self.cores {
            // A suspect's items come last and at most one batch of them runs at a time with others waiting.
            let queue = if self.waiting.is_empty() { &mut self.waiting_suspect } else { &mut self.waiting };
            if queue.is_empty() {
                return;
            }
            let free = self.cores - self.at_work.len();
            let share = queue.len().div_ceil(free).min(MAX_BATCH);
            let batch: Vec<_> = queue.drain(..share).collect();
            let rng = ChaCha20Rng::from_rng(&mut self.rng);
            self.at_work.spawn_blocking(move || check(batch, rng));
        }
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
