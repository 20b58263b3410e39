//! Offers a plan to nodes, open-loop: each transaction at its time, whatever became of those before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use jsonrpsee::{core::ClientError, http_client::HttpClient};
use serde::Deserialize;
use starling_node::rpc::{ApiClient, code};
use starling_wire::TxId;
use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use super::plan::Plan;
use crate::progress;

/// Submissions that are under way or wait for [`AT_ONE_NODE`]. Beyond it a transaction is not sent but counted as
/// rejected: a system that is behind must not slow its load down, and each takes about a kilobyte. Enough for a second of
/// what a machine can check.
const MAX_IN_FLIGHT: usize = 16_384;

/// Requests to one node at one time, each on a connection of its own. Half of the connections that a node accepts: those
/// beyond would be opened and never heard while the others are kept for the next request. Enough for 10,000 transactions
/// a second if an answer takes ten milliseconds.
const AT_ONE_NODE: usize = 128;

/// Between the call and the first transaction.
const LEAD: Duration = Duration::from_millis(20);

/// What became of a load.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Those that the nodes took.
    pub(crate) accepted: BTreeSet<TxId>,
    /// How many they did not take, by reason.
    pub(crate) rejected: BTreeMap<String, u64>,
    /// The most by which a transaction was sent too late.
    pub(crate) latest: Duration,
    /// When the load began, in microseconds since 1970, as traces tell the time.
    pub(crate) start_unix_us: u64,
}

impl Outcome {
    /// How many were not taken.
    pub(crate) fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// The reasons, for people.
    pub(crate) fn reasons(&self) -> String {
        self.rejected.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
    }

    fn count(&mut self, id: TxId, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.accepted.insert(id);
            }
            Err(reason) => *self.rejected.entry(reason).or_default() += 1,
        }
    }
}

/// Sends everything and waits for the last answer.
pub(crate) async fn run(plan: Plan, clients: &[HttpClient]) -> Outcome {
    let bar = progress::bar(plan.len() as u64, "sending transactions");
    let mut outcome = Outcome::default();
    let mut under_way = JoinSet::new();
    let doors: Vec<_> = clients.iter().map(|_| Arc::new(Semaphore::new(AT_ONE_NODE))).collect();
    let start = Instant::now() + LEAD;
    // A clock before 1970 is none to compare traces with; they would be at 0, too.
    let since_1970 = (SystemTime::now() + LEAD).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    outcome.start_unix_us = since_1970.as_micros() as u64;
    for planned in plan {
        let due = start + planned.at;
        sleep_until(due).await;
        bar.inc(1);
        while let Some(answer) = under_way.try_join_next() {
            count(&mut outcome, answer);
        }
        if under_way.len() >= MAX_IN_FLIGHT {
            outcome.count(planned.id, Err("too-many-in-flight".into()));
            continue;
        }
        let (client, door) = (clients[planned.node].clone(), Arc::clone(&doors[planned.node]));
        under_way.spawn(async move {
            // In the order they are due. Nobody closes a door, so there is always something to hold.
            let _open = door.acquire_owned().await;
            let late = due.elapsed();
            let result = client.tx_send_raw(planned.raw).await;
            Sent { id: planned.id, late, result: result.map(|_| ()).map_err(|error| reason(&error)) }
        });
    }
    while let Some(answer) = under_way.join_next().await {
        count(&mut outcome, answer);
    }
    bar.finish_and_clear();
    outcome
}

/// What became of one transaction.
struct Sent {
    id: TxId,
    late: Duration,
    result: Result<(), String>,
}

fn count(outcome: &mut Outcome, answer: Result<Sent, JoinError>) {
    match answer {
        Ok(sent) => {
            outcome.latest = outcome.latest.max(sent.late);
            outcome.count(sent.id, sent.result);
        }
        Err(error) => *outcome.rejected.entry(format!("fault in the load: {error}")).or_default() += 1,
    }
}

/// `data` of a node's error.
#[derive(Deserialize)]
struct Data {
    reason: String,
}

/// A few words for why a submission failed: the node's own in kebab case, if it refused.
fn reason(error: &ClientError) -> String {
    match error {
        ClientError::Call(call) if call.code() == code::REJECTED => call
            .data()
            .and_then(|data| serde_json::from_str::<Data>(data.get()).ok())
            .map_or_else(|| "rejected".into(), |data| data.reason),
        ClientError::Call(call) => call.message().to_owned(),
        ClientError::RequestTimeout => "no-answer-in-time".into(),
        ClientError::Transport(_) => "cannot-connect".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use jsonrpsee::types::ErrorObject;
    use starling_node::rpc;
    use tokio::{net::TcpListener, time::timeout};

    use super::*;
    use crate::load::plan::Planned;

    #[tokio::test]
    async fn a_node_that_answers_nothing_is_not_sent_more_than_it_accepts() {
        let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = rpc::connect(&format!("http://{}", node.local_addr().unwrap()), None).unwrap();
        let planned = |number: usize| Planned {
            at: Duration::ZERO,
            node: 0,
            id: TxId([number as u8; 32]),
            raw: "0x00".to_owned(),
        };
        let plan: Plan = (0..3 * AT_ONE_NODE).map(planned).collect();
        let clients = [client];
        let mut open = Vec::new();
        tokio::select! {
            _ = run(plan, &clients) => panic!("there was no answer"),
            () = async {
                while open.len() < AT_ONE_NODE {
                    open.push(node.accept().await.unwrap());
                }
                // One too many would be there by now, as it would have been sent with the others.
                let more = timeout(Duration::from_millis(300), node.accept()).await;
                assert!(more.is_err(), "the others wait");
            } => {}
        }
    }

    #[test]
    fn refusals_are_counted_by_the_nodes_reason() {
        let refused = ErrorObject::owned(code::REJECTED, "no", Some(serde_json::json!({ "reason": "nonce-too-low" })));
        let mut outcome = Outcome::default();
        for error in [ClientError::Call(refused.clone()), ClientError::Call(refused), ClientError::RequestTimeout] {
            outcome.count(TxId([1; 32]), Err(reason(&error)));
        }
        outcome.count(TxId([2; 32]), Ok(()));
        assert_eq!((outcome.accepted.len(), outcome.rejections()), (1, 3));
        assert_eq!(outcome.reasons(), "no-answer-in-time 1, nonce-too-low 2");
    }
}
