//! Reads counters, processes and traces of a testnet, and waits until a load has reached every node.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use futures::{StreamExt, future::join_all, stream};
use jsonrpsee::http_client::HttpClient;
use starling_node::{net::Delivery, rpc::ApiClient};
use starling_wire::AccountId;

use crate::{
    launch::{NodeEntry, Processes, log_tail},
    progress,
};

/// How often it is looked whether all nodes have everything.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Questions to one node at a time.
const AT_ONCE: usize = 32;

/// What one node had counted, and used, at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Transactions that entered the pool.
    pub(crate) admitted: u64,
    /// PUSH frames received.
    pub(crate) pushes_in: u64,
    /// Bytes of the frames received, by their kind.
    pub(crate) frame_bytes_in: BTreeMap<String, u64>,
    /// Bytes received on TCP sockets.
    pub(crate) socket_bytes_in: u64,
    /// Transactions it was too busy to check, and messages it was too busy to send.
    pub(crate) dropped: u64,
    /// CPU time used.
    pub(crate) cpu: Duration,
    /// Memory in RAM, in bytes.
    pub(crate) resident: u64,
}

impl Sample {
    fn new(node: &NodeEntry, counters: &BTreeMap<String, u64>, processes: &Processes) -> anyhow::Result<Self> {
        let value =
            |name: &str| counters.get(name).copied().with_context(|| format!("{} does not count `{name}`", node.name));
        let gone = || format!("{} has ended; {}", node.name, log_tail(&node.log));
        Ok(Self {
            admitted: value("starling_admitted_total")?,
            pushes_in: value("starling_frames_total{kind=\"push\",flow=\"in\"}")?,
            frame_bytes_in: counters
                .iter()
                .filter_map(|(name, value)| {
                    let kind =
                        name.strip_prefix("starling_frame_bytes_total{kind=\"")?.strip_suffix("\",flow=\"in\"}")?;
                    Some((kind.to_owned(), *value))
                })
                .collect(),
            socket_bytes_in: value("starling_socket_bytes_total{flow=\"in\"}")?,
            // Only gossipsub drops messages; Starling tells a busy neighbour ids instead.
            dropped: value("starling_passed_over_total")?
                + counters.get("gossipsub_dropped_total").copied().unwrap_or_default(),
            cpu: processes.cpu_time(node).with_context(gone)?,
            resident: processes.resident_bytes(node).with_context(gone)?,
        })
    }

    /// Bytes of all frames received.
    pub(crate) fn frame_bytes_in(&self) -> u64 {
        self.frame_bytes_in.values().sum()
    }
}

/// A sample of every node.
pub(crate) async fn sample(nodes: &[NodeEntry], clients: &[HttpClient]) -> anyhow::Result<Vec<Sample>> {
    let counters = all(nodes, clients, |client| client.node_counters()).await?;
    let processes = Processes::look(nodes)?;
    nodes.iter().zip(&counters).map(|(node, counters)| Sample::new(node, counters, &processes)).collect()
}

/// Whether a testnet came to rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Every node has everything.
    Yes,
    /// Not by the deadline; says who lacks what.
    No(String),
}

/// Waits until every node has taken `accepted` transactions more than in `before`.
pub(crate) async fn settle_relay(
    nodes: &[NodeEntry],
    clients: &[HttpClient],
    before: &[Sample],
    accepted: u64,
    deadline: Instant,
) -> anyhow::Result<Settled> {
    let bar = progress::spinner("waiting until every node has every transaction");
    loop {
        let counters = all(nodes, clients, |client| client.node_counters()).await?;
        let admitted = counters.iter().map(|all| all.get("starling_admitted_total").copied().unwrap_or_default());
        let behind: Vec<String> = nodes
            .iter()
            .zip(admitted.zip(before).map(|(after, before)| after.saturating_sub(before.admitted)))
            .filter(|(_, has)| *has < accepted)
            .map(|(node, has)| format!("{} has {has} of {accepted}", node.name))
            .collect();
        if behind.is_empty() || Instant::now() >= deadline {
            bar.finish_and_clear();
            return Ok(if behind.is_empty() { Settled::Yes } else { Settled::No(behind.join(", ")) });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until all pools are empty and all nodes are at the same height with the same accounts. Gives the first node's
/// height and account digest.
pub(crate) async fn settle_chain(
    nodes: &[NodeEntry],
    clients: &[HttpClient],
    deadline: Instant,
) -> anyhow::Result<(u64, String, Settled)> {
    let bar = progress::spinner("waiting until all transactions are in blocks");
    loop {
        let pools = all(nodes, clients, |client| client.txpool_status()).await?;
        let chains = all(nodes, clients, |client| client.block_latest()).await?;
        let first = chains.first().context("a testnet has nodes")?;
        let agreed = chains.iter().all(|chain| chain == first);
        let full = pools.iter().filter(|pool| pool.count > 0).count();
        if (agreed && full == 0) || Instant::now() >= deadline {
            bar.finish_and_clear();
            let mut heights: Vec<u64> = chains.iter().map(|chain| chain.height).collect();
            heights.sort_unstable();
            heights.dedup();
            let settled = match (agreed, full) {
                (true, 0) => Settled::Yes,
                (true, full) => Settled::No(format!("{full} pools are not empty")),
                (false, full) => {
                    Settled::No(format!("the nodes do not agree (heights {heights:?}), {full} pools are not empty"))
                }
            };
            return Ok((first.height, first.account_digest.clone(), settled));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How many transactions of some accounts are in blocks, by one node's account.
pub(crate) async fn account_nonces(client: &HttpClient, accounts: Vec<AccountId>) -> anyhow::Result<u64> {
    let answers: Vec<_> =
        stream::iter(accounts).map(|account| client.account_get(account)).buffer_unordered(AT_ONCE).collect().await;
    answers
        .into_iter()
        .map(|answer| Ok(answer.map_err(|error| anyhow!("an account cannot be read: {error}"))?.nonce))
        .sum()
}

/// The traces of nodes that have ended. A last line without an end is passed over: its node was killed, or the disk was
/// full, in the midst of writing it, and all lines before are as they should be.
pub(crate) fn read_traces(nodes: &[NodeEntry]) -> anyhow::Result<Vec<Vec<Delivery>>> {
    nodes
        .iter()
        .map(|node| {
            let text = fs::read_to_string(&node.trace)
                .with_context(|| format!("the trace {} cannot be read", node.trace.display()))?;
            let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            whole.map(|line| line.parse().map_err(|why| anyhow!("{}: {why}", node.trace.display()))).collect()
        })
        .collect()
}

/// The answers of all nodes to one question.
async fn all<'a, T, F>(
    nodes: &[NodeEntry],
    clients: &'a [HttpClient],
    question: impl Fn(&'a HttpClient) -> F,
) -> anyhow::Result<Vec<T>>
where
    F: Future<Output = Result<T, jsonrpsee::core::ClientError>>,
{
    let answers = join_all(clients.iter().map(question)).await;
    nodes
        .iter()
        .zip(answers)
        .map(|(node, answer)| {
            answer.map_err(|error| anyhow!("{} does not answer: {error}; {}", node.name, log_tail(&node.log)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::slice;

    use starling_wire::ShortId;

    use super::*;

    #[test]
    fn half_a_line_at_the_end_of_a_trace_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeEntry::of_test(0, dir.path());
        let line = |us: u64| Delivery { unix_us: us, id: ShortId([1; 8]), from: None };
        let read = |end: &str| {
            fs::write(&node.trace, format!("{}\n{}\n{end}", line(1), line(2))).unwrap();
            read_traces(slice::from_ref(&node))
        };
        // However much of it was written.
        for half in ["", "3", "3 0x01", "3 0x0101010101010101 lo", "3 0x0101010101010101 local"] {
            assert_eq!(read(half).unwrap(), [[line(1), line(2)]], "{half:?}");
        }
        for bad in ["3 0x01\n", "\n", "3 0x01\n4 0x01"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("trace: `"), "{error}");
        }
    }
}
