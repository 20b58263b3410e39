//! What is noted while a run goes on, in flat arrays: a run has millions of deliveries.

use std::collections::BTreeMap;

use super::{Scenario, event::mix, shard::LOAD_START};

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

/// The nodes that one of several equal parts of the world holds: every so many-th.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Which part, from 0.
    pub(super) number: usize,
    /// How many parts there are.
    pub(super) of: usize,
}

impl Part {
    /// All of it.
    const WHOLE: Self = Self { number: 0, of: 1 };

    /// Whether a node belongs to it.
    pub(super) fn holds(self, node: usize) -> bool {
        node % self.of == self.number
    }

    /// A node's place among those of its part.
    pub(super) fn place(self, node: usize) -> usize {
        node / self.of
    }

    /// How many of all nodes belong to it.
    fn count(self, nodes: usize) -> usize {
        (nodes + self.of - 1 - self.number) / self.of
    }
}

/// The notes of one run, or of what happened at some of its nodes.
#[derive(Debug)]
pub(crate) struct Recorder {
    part: Part,
    /// Nodes of the part.
    nodes: usize,
    /// Nodes that the figures are about; what others receive and send does not count.
    counted: Vec<bool>,
    /// When each transaction enters, from the start of the load.
    at: Vec<u64>,
    /// From when on figures count, from the start of the load.
    settle: u64,
    /// By transaction and then node of the part: microseconds from its submission to its delivery, or [`NOT`].
    times: Vec<u32>,
    /// Full copies of each transaction that nodes received.
    pub(crate) copies: Vec<u32>,
    /// Names of the kinds.
    pub(crate) kinds: Vec<&'static str>,
    /// What counts, received, by kind.
    pub(crate) counts: Vec<Count>,
    /// What counts, received and sent, by node; nothing for nodes that do not count.
    pub(crate) loads: Vec<u64>,
    /// What happened at each node, in short.
    digests: Vec<u64>,
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
}

impl Recorder {
    /// Nothing is noted yet.
    pub(super) fn new(scenario: &Scenario, kinds: Vec<&'static str>, part: Part) -> Self {
        let all = scenario.topology.nodes();
        let (nodes, txs) = (part.count(all), scenario.catalog.len());
        let bins = scenario.load.duration.as_micros() as u64 / BIN_US + 1;
        Self {
            part,
            nodes,
            counted: scenario.victims.counted.clone(),
            at: scenario.catalog.entries.iter().map(|entry| entry.at).collect(),
            settle: scenario.settle.as_micros() as u64,
            times: vec![NOT; nodes * txs],
            copies: vec![0; txs],
            counts: vec![Count::default(); kinds.len()],
            kinds,
            loads: vec![0; all],
            digests: vec![0; all],
            bin_bytes: vec![0; bins as usize],
            submitted: vec![false; txs],
            rejected: BTreeMap::new(),
            refused: 0,
            banned: 0,
            events: 0,
        }
    }

    /// The notes of all parts as those of the whole.
    pub(super) fn whole(parts: Vec<Self>) -> Option<Self> {
        let nodes = parts.iter().map(|part| part.nodes).sum();
        let mut parts = parts.into_iter();
        let first = parts.next()?;
        if first.part == Part::WHOLE {
            return Some(first);
        }
        let times = vec![NOT; nodes * first.at.len()];
        let (part, count) = (first.part, first.nodes);
        let mut whole = Self { part: Part::WHOLE, nodes, ..first };
        let own = std::mem::replace(&mut whole.times, times);
        whole.fill(part, count, &own);
        for part in parts {
            whole.fill(part.part, part.nodes, &part.times);
            add(&mut whole.copies, &part.copies);
            add(&mut whole.loads, &part.loads);
            add(&mut whole.digests, &part.digests);
            add(&mut whole.bin_bytes, &part.bin_bytes);
            for (sum, count) in whole.counts.iter_mut().zip(&part.counts) {
                sum.frames += count.frames;
                sum.bytes += count.bytes;
            }
            for (sum, submitted) in whole.submitted.iter_mut().zip(&part.submitted) {
                *sum |= submitted;
            }
            for (reason, count) in part.rejected {
                *whole.rejected.entry(reason).or_default() += count;
            }
            whole.refused += part.refused;
            whole.banned += part.banned;
            whole.events += part.events;
        }
        Some(whole)
    }

    /// Enters the times of a part with so many nodes.
    fn fill(&mut self, part: Part, nodes: usize, times: &[u32]) {
        for (row, times) in self.times.chunks_mut(self.nodes.max(1)).zip(times.chunks(nodes.max(1))) {
            row.iter_mut().skip(part.number).step_by(part.of).zip(times).for_each(|(to, from)| *to = *from);
        }
    }

    /// A digest over everything that happened: equal for equal runs.
    pub(crate) fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        self.digests.iter().for_each(|digest| {
            hasher.update(&digest.to_le_bytes());
        });
        hasher.finalize().to_hex().to_string()
    }

    /// Whether a transaction counts.
    pub(crate) fn counts(&self, tx: usize) -> bool {
        self.at[tx] >= self.settle
    }

    /// Microseconds from a transaction's submission to its delivery at each node, or [`NOT`].
    pub(crate) fn times_of(&self, tx: usize) -> &[u32] {
        &self.times[tx * self.nodes..(tx + 1) * self.nodes]
    }

    /// Something happened at a node.
    pub(super) fn happened(&mut self, now: u64, node: usize, tag: u8, what: u64, more: u64) {
        self.events += 1;
        let digest = &mut self.digests[node];
        for word in [now << 8 | u64::from(tag), what, more] {
            *digest = mix(*digest ^ word);
        }
    }

    pub(super) fn submitted(&mut self, tx: u32) {
        self.submitted[tx as usize] = true;
    }

    pub(super) fn rejected(&mut self, reason: &'static str) {
        *self.rejected.entry(reason).or_default() += 1;
    }

    pub(super) fn delivered(&mut self, now: u64, tx: u32, node: usize) {
        let tx = tx as usize;
        let time = &mut self.times[tx * self.nodes + self.part.place(node)];
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

    /// Whether nodes have a transaction, and whether some lack it, of those of the part for which `matters` holds.
    pub(super) fn has_and_lacks(&self, tx: usize, matters: impl Fn(usize) -> bool) -> (bool, bool) {
        let times = self.times_of(tx).iter().enumerate();
        let mattering = times.filter(|(place, _)| matters(place * self.part.of + self.part.number));
        mattering.fold((false, false), |(has, lacks), (_, time)| (has || *time != NOT, lacks || *time == NOT))
    }
}

fn add<T: Copy + std::ops::AddAssign>(sums: &mut [T], values: &[T]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += *value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_all_nodes_once() {
        for (nodes, of) in [(1, 1), (10, 3), (11, 3), (12, 3), (2, 4)] {
            let parts: Vec<Part> = (0..of).map(|number| Part { number, of }).collect();
            assert_eq!(parts.iter().map(|part| part.count(nodes)).sum::<usize>(), nodes);
            for node in 0..nodes {
                let holders: Vec<&Part> = parts.iter().filter(|part| part.holds(node)).collect();
                assert!(holders.len() == 1 && holders[0].place(node) < holders[0].count(nodes));
            }
        }
    }
}
