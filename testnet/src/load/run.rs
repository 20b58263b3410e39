//! Offers a plan to nodes, open-loop: each transaction at its time, whatever became of those before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jsonrpsee::{core::ClientError, http_client::HttpClient};
use serde::Deserialize;
use starling_node::rpc::{ApiClient, code};
use starling_wire::TxId;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::plan::Plan;
use crate::progress;

/// Submissions under way at one time. Beyond it a transaction is not sent but counted as rejected: a system that is
/// behind must not slow its load down, and answers that are waited for take memory. Every node answers far more.
const MAX_IN_FLIGHT: usize = 1024;

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
    let start = Instant::now() + LEAD;
    for planned in plan {
        let due = start + planned.at;
        sleep_until(due).await;
        outcome.latest = outcome.latest.max(due.elapsed());
        bar.inc(1);
        while let Some(answer) = under_way.try_join_next() {
            count(&mut outcome, answer);
        }
        if under_way.len() >= MAX_IN_FLIGHT {
            outcome.count(planned.id, Err("too-many-in-flight".into()));
            continue;
        }
        let client = clients[planned.node].clone();
        under_way.spawn(async move {
            let result = client.tx_send_raw(planned.raw).await;
            (planned.id, result.map(|_| ()).map_err(|error| reason(&error)))
        });
    }
    while let Some(answer) = under_way.join_next().await {
        count(&mut outcome, answer);
    }
    bar.finish_and_clear();
    outcome
}

fn count(outcome: &mut Outcome, answer: Result<(TxId, Result<(), String>), tokio::task::JoinError>) {
    match answer {
        Ok((id, result)) => outcome.count(id, result),
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
        _ => "cannot-connect".into(),
    }
}

#[cfg(test)]
mod tests {
    use jsonrpsee::types::ErrorObject;

    use super::*;

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
