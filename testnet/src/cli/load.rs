//! `load`: puts transactions into a running testnet.

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use futures::{StreamExt, stream};
use jsonrpsee::http_client::HttpClient;
use serde::Serialize;
use starling_node::{
    cli::{Failure, Kind},
    rpc::{self, ApiClient},
};

use super::{
    interrupt::Interrupt,
    options::{Traffic, Which},
    output, say,
};
use crate::{
    launch::{Manifest, Processes},
    load::{self, Sender},
};

/// Questions about accounts at a time.
const AT_ONCE: usize = 32;

/// `starling-testnet load`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet load
  starling-testnet load --rate 200 --duration 1m --tx-size 1000")]
pub(super) struct Options {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    traffic: Traffic,
    /// Decides what is sent where
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON document instead of a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    submitted: u64,
    rejected: u64,
    rejected_by_reason: &'a std::collections::BTreeMap<String, u64>,
}

/// Does it.
pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let manifest = options.which.manifest()?;
    interrupt.unless(drive(&options, manifest)).await
}

async fn drive(options: &Options, mut manifest: Manifest) -> Result<(), Failure> {
    let processes = Processes::look(&manifest.nodes)?;
    // Nodes that have ended take part no more.
    manifest.nodes.retain(|node| processes.is_alive(node));
    if manifest.nodes.is_empty() {
        let error = anyhow!("no node of `{}` is alive. Bring it up anew: first `down`, then `up`", manifest.name);
        return Err(Failure::new(Kind::Connect, error));
    }
    let clients: Vec<HttpClient> = manifest
        .nodes
        .iter()
        .map(|node| rpc::connect(&node.rpc, None).with_context(|| format!("{} cannot be reached", node.name)))
        .collect::<anyhow::Result<_>>()?;
    let spec = options.traffic.spec(options.seed)?;
    let count = load::accounts_for(spec.total()).min(manifest.accounts.count);
    let mut senders = load::senders(spec.seed, manifest.accounts.seed, count, clients.len());
    look_up_nonces(&mut senders, &clients).await?;
    let plan = load::plan(&spec, &mut senders).await?;
    let submitted = plan.len() as u64;
    let outcome = load::run(plan, &clients).await;
    tell_if_late(outcome.latest);
    let rejected = outcome.rejections();
    let document = Document { schema: "starling.load/1", submitted, rejected, rejected_by_reason: &outcome.rejected };
    output::result(options.json, &document, || {
        let why = if rejected == 0 { String::new() } else { format!(" ({})", outcome.reasons()) };
        format!("{submitted} transactions submitted, {rejected} rejected{why}")
    })?;
    if rejected >= submitted {
        return Err(anyhow!("no transaction was accepted: {}", outcome.reasons()).into());
    }
    Ok(())
}

/// Starts each sender where its account stands on the node it uses.
async fn look_up_nonces(senders: &mut [Sender], clients: &[HttpClient]) -> Result<(), Failure> {
    let accounts: Vec<_> = senders.iter().map(|sender| (sender.node, sender.account())).collect();
    let answers: Vec<_> = stream::iter(accounts)
        .map(|(node, account)| clients[node].account_get(account))
        .buffered(AT_ONCE)
        .collect()
        .await;
    for (sender, answer) in senders.iter_mut().zip(answers) {
        let account =
            answer.map_err(|error| Failure::new(Kind::Connect, anyhow!("a node does not tell an account: {error}")))?;
        sender.nonce = account.next_nonce;
    }
    Ok(())
}

/// Says so if this machine could not keep the rate: the figures are then of another load than the one asked for.
pub(super) fn tell_if_late(latest: Duration) {
    if latest > Duration::from_millis(100) {
        say(format_args!(
            "warning: transactions were sent up to {} ms too late; the machine is too busy for this rate",
            latest.as_millis()
        ));
    }
}
