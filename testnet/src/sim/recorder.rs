//! What is noted while a run goes on, in flat arrays: a run has millions of deliveries.

use std::collections::BTreeMap;

use super::{Scenario, world::LOAD_START};

/// Not delivered.
pub(crate) const NOT: u32 = u32::MAX;

/// The time span of one entry of a timeline, in microseconds.
pub(crate) const BIN_US: u64 = 10_000_000;

/// Messages of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    /// How many.
    pub(crate) frames: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// The notes of one run.
#[derive(Debug)]
pub(crate) struct Recorder {
    nodes: usize,
    /// Nodes that the figures are about; what others receive and send does not count.
    counted: Vec<bool>,
    /// When each transaction enters, from the start of the load.
    at: Vec<u64>,
    /// From when on figures count, from the start of the load.
    settle: u64,
    /// By transaction and then node: microseconds from its submission to its delivery, or [`NOT`].
    times: Vec<u32>,
    /// Full copies of each transaction that nodes received.
    pub(crate) copies: Vec<u32>,
    /// Names of the kinds.
    pub(crate) kinds: Vec<&'static str>,
    /// What counts, received, by kind.
    pub(crate) counts: Vec<Count>,
    /// What counts, received and sent, by node; nothing for nodes that do not count.
    pub(crate) loads: Vec<u64>,
    /// Bytes received per [`BIN_US`] of the load: a transaction's when it entered, others when they came.
    pub(crate) bin_bytes: Vec<u64>,
    /// Whether each transaction was submitted: its origin was alive and honest.
    pub(crate) submitted: Vec<bool>,
    /// Submissions refused, by reason.
    pub(crate) rejected: BTreeMap<&'static str, u64>,
    /// Transactions that nodes that count refused of neighbours.
    pub(crate) refused: u64,
    /// Neighbours that nodes that count banned.
    pub(crate) banned: u64,
    /// Events.
    pub(crate) events: u64,
    /// Digest over them.
    pub(crate) digest: String,
}

impl Recorder {
    /// Nothing is noted yet.
    pub(crate) fn new(scenario: &Scenario, kinds: Vec<&'static str>) -> Self {
        let (nodes, txs) = (scenario.topology.nodes(), scenario.catalog.len());
        let bins = scenario.load.duration.as_micros() as u64 / BIN_US + 1;
        Self {
            nodes,
            counted: scenario.victims.counted.clone(),
            at: scenario.catalog.entries.iter().map(|entry| entry.at).collect(),
            settle: scenario.settle.as_micros() as u64,
            times: vec![NOT; nodes * txs],
            copies: vec![0; txs],
            counts: vec![Count::default(); kinds.len()],
            kinds,
            loads: vec![0; nodes],
            bin_bytes: vec![0; bins as usize],
            submitted: vec![false; txs],
            rejected: BTreeMap::new(),
            refused: 0,
            banned: 0,
            events: 0,
            digest: String::new(),
        }
    }

    /// Whether a transaction counts.
    pub(crate) fn counts(&self, tx: usize) -> bool {
        self.at[tx] >= self.settle
    }

    /// Microseconds from a transaction's submission to its delivery at each node, or [`NOT`].
    pub(crate) fn times_of(&self, tx: usize) -> &[u32] {
        &self.times[tx * self.nodes..(tx + 1) * self.nodes]
    }

    pub(super) fn submitted(&mut self, tx: u32) {
        self.submitted[tx as usize] = true;
    }

    pub(super) fn rejected(&mut self, reason: &'static str) {
        *self.rejected.entry(reason).or_default() += 1;
    }

    pub(super) fn delivered(&mut self, now: u64, tx: u32, node: usize) {
        let tx = tx as usize;
        let time = &mut self.times[tx * self.nodes + node];
        if *time == NOT {
            *time = (now - LOAD_START - self.at[tx]).min(u64::from(NOT) - 1) as u32;
        }
    }

    /// A message came. Those with transactions count with the first of these, others by the time.
    pub(super) fn received(&mut self, now: u64, node: usize, kind: usize, bytes: usize, payloads: &[u32]) {
        if !self.counted[node] {
            return;
        }
        for tx in payloads {
            self.copies[*tx as usize] += 1;
        }
        let Some(since) = now.checked_sub(LOAD_START) else { return };
        let since = payloads.first().map_or(since, |tx| self.at[*tx as usize]);
        if let Some(bin) = self.bin_bytes.get_mut((since / BIN_US) as usize) {
            *bin += bytes as u64;
        }
        if since >= self.settle {
            let count = &mut self.counts[kind];
            count.frames += 1;
            count.bytes += bytes as u64;
            self.loads[node] += bytes as u64;
        }
    }

    pub(super) fn sent(&mut self, now: u64, node: usize, bytes: usize) {
        if now >= LOAD_START + self.settle && self.counted[node] {
            self.loads[node] += bytes as u64;
        }
    }

    pub(super) fn refused(&mut self, node: usize) {
        self.refused += u64::from(self.counted[node]);
    }

    pub(super) fn banned(&mut self, node: usize) {
        self.banned += u64::from(self.counted[node]);
    }

    /// Whether all nodes for which `matters` holds have a transaction, or none does.
    pub(super) fn is_everywhere(&self, tx: u32, matters: impl Fn(usize) -> bool) -> bool {
        let mut states = self.times_of(tx as usize).iter().enumerate().filter(|(node, _)| matters(*node));
        let first = states.next().is_some_and(|(_, time)| *time != NOT);
        states.all(|(_, time)| (*time != NOT) == first)
    }

    pub(super) fn finish(&mut self, events: u64, digest: String) {
        self.events = events;
        self.digest = digest;
    }
}
