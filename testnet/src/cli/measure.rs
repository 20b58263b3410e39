//! `measure`: a testnet, a load, the figures, and nothing left behind.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use clap::Args;
use starling_mempool::PoolConfig;
use starling_node::{
    cli::{Failure, Kind},
    net::Delivery,
};
use starling_wire::TxId;

use super::{
    interrupt::Interrupt,
    load::tell_if_late,
    options::{Shape, Traffic, block_interval},
    output, say,
};
use crate::{
    launch::{Spec, Testnet},
    load::{self, LoadSpec, Outcome, Sender},
    measure::{self, Chain, Load, Report, Sample, Settled, Spread, Threshold},
    sim,
};

/// How long the last transactions may take to reach every node.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The testnet's name, and its directory's in that of `--keep`.
const NAME: &str = "measure";

/// `starling-testnet measure`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet measure
  starling-testnet measure --nodes 50 --rate 100 --duration 30s
  starling-testnet measure --nodes 50 --duration 60s --settle 30s --wan earth
  starling-testnet measure --wan none
  starling-testnet measure --relay gossipsub
  starling-testnet measure --block-interval 1s --threshold 'p99<500ms' --threshold 'delivery>=1' --json

Nodes have the places, delays and links that `sim` gives those of the same --nodes, --dials and --seed. With delays, \
stretch is the time a transaction takes to a node by the delay of the shortest path there through the overlay, of \
nodes 10 ms apart or more; the machine's own time is in it, too.

Figures that --threshold bounds: p50 p90 p95 p99 max (latency: from the node a transaction enters at to another node; \
us, ms or s), coverage (time until all nodes have a transaction, met by 95 % of the transactions), delivery (ratio or \
%), copies (full copies of a transaction that a node receives), wire_bytes (bytes received per byte of transactions), \
cpu (per node and transaction; us or ms), rss (of the largest node; MiB or GiB).")]
pub(super) struct Options {
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    traffic: Traffic,
    /// Transactions from then on count, and bytes and CPU time from then on; from the start of the load
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = sim::time)]
    settle: Duration,
    /// Make a block this often, by up to three of the nodes [default: no blocks]
    #[arg(long, value_name = "TIME", value_parser = block_interval)]
    block_interval: Option<Duration>,
    /// Fail with exit code 99 if a figure is not within a bound, such as p99<500ms; may be repeated
    #[arg(long, value_name = "NAME<VALUE")]
    threshold: Vec<Threshold>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Keep logs, traces and the manifest in DIR/measure
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// What is known when the nodes have stopped.
struct Run {
    outcome: Outcome,
    submitted: u64,
    /// The accepted ones that figures are about.
    counted: BTreeSet<TxId>,
    before: Vec<Sample>,
    after: Vec<Sample>,
    chain: Option<Chain>,
    settled: Settled,
}

/// Does it.
pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    options.shape.allows_blocks(options.block_interval)?;
    let spec = options.traffic.spec(options.shape.seed);
    check(&options, &spec)?;
    let temporary =
        match &options.keep {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("starling-testnet-").tempdir().map_err(|error| {
                anyhow!("no temporary directory can be made: {error}. Set TMPDIR to another place")
            })?),
        };
    let dir = temporary.as_ref().map(|dir| dir.path().to_owned()).or_else(|| options.keep.clone()).unwrap_or_default();
    let accounts = load::accounts_for(spec.total());
    let testnet = Spec {
        name: NAME.to_owned(),
        relay: options.shape.relay,
        nodes: options.shape.nodes as usize,
        dials: options.shape.dials,
        seed: options.shape.seed,
        transport: options.shape.transport,
        wan: options.shape.wan("earth")?,
        planned: true,
        block_interval: options.block_interval,
        accounts,
    };
    let mut testnet = Testnet::create(&dir, testnet, false)?;
    if options.keep.is_some() {
        testnet.keep_files();
    }
    let senders = load::senders(spec.seed, options.shape.seed, accounts, testnet.manifest().nodes.len());
    let run = interrupt.unless(drive(&options, &spec, senders, &mut testnet)).await;
    // In order, so that the traces are complete.
    let down = interrupt.down(&mut testnet).await;
    let run = run?;
    down?;
    let traces = measure::read_traces(&testnet.manifest().nodes)?;
    testnet.remove()?;
    finish(&options, &testnet, run, &traces)
}

/// What cannot be measured: a load that ends before figures start, and, as every transaction stays in every pool without
/// blocks, one that does not fit there.
fn check(options: &Options, spec: &LoadSpec) -> Result<(), Failure> {
    if options.settle > load::last_at(spec) {
        return Err(Failure::usage(
            "--settle must be before the last transaction of the load (see --duration and --rate)",
        ));
    }
    let (total, limits) = (spec.total(), PoolConfig::default());
    if options.block_interval.is_none()
        && (total > limits.max_count || total.saturating_mul(spec.tx_size) > limits.max_bytes)
    {
        return Err(Failure::usage(format!(
            "{total} transactions of {} bytes do not fit into a node's pool ({} transactions, {} bytes). Choose a lower \
             --rate or a shorter --duration, or let --block-interval empty the pools",
            spec.tx_size, limits.max_count, limits.max_bytes
        )));
    }
    Ok(())
}

async fn drive(
    options: &Options,
    spec: &LoadSpec,
    mut senders: Vec<Sender>,
    testnet: &mut Testnet,
) -> Result<Run, Failure> {
    // First, as it takes a moment: the nodes' figures are not to be those of a machine that is busy with this.
    let plan = load::plan(spec, &mut senders)?;
    let submitted = plan.len() as u64;
    let late: BTreeSet<TxId> =
        plan.iter().filter(|planned| planned.at >= options.settle).map(|planned| planned.id).collect();
    testnet.start().await?;
    testnet.settle().await?;
    let (nodes, clients) = (&testnet.manifest().nodes, testnet.clients()?);
    let start = measure::sample(nodes, &clients).await?;
    let settled = async {
        if options.settle.is_zero() {
            return Ok(start.clone());
        }
        tokio::time::sleep(options.settle).await;
        measure::sample(nodes, &clients).await
    };
    let (outcome, before) = tokio::join!(load::run(plan, &clients), settled);
    let before = before?;
    tell_if_late(&outcome);
    let accepted = outcome.accepted.len() as u64;
    let counted: BTreeSet<TxId> = outcome.accepted.intersection(&late).copied().collect();
    if counted.is_empty() {
        return Err(anyhow!("no transaction that counts was accepted: {}", outcome.reasons()).into());
    }
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let (settled, chain) = match options.block_interval {
        None => (measure::settle_relay(nodes, &clients, &start, accepted, deadline).await?, None),
        Some(interval) => {
            let (height, account_digest, settled) =
                measure::settle_chain(nodes, &clients, deadline + 4 * interval).await?;
            let accounts = senders.iter().map(Sender::account).collect();
            let included = measure::account_nonces(&clients[0], accounts).await?;
            let agreed = settled == Settled::Yes && included == accepted;
            let settled = match settled {
                Settled::Yes if !agreed => Settled::No(format!("{included} of {accepted} are in blocks")),
                settled => settled,
            };
            (settled, Some(Chain { height, account_digest, agreed, included, first_seen_in_block: 0 }))
        }
    };
    let after = measure::sample(nodes, &clients).await?;
    if let Some(lost) = testnet.lost_links().await? {
        say(format_args!("warning: {lost}; shortest paths are longer than reckoned"));
    }
    Ok(Run { outcome, submitted, counted, before, after, chain, settled })
}

/// Computes the figures, prints them, and judges them.
fn finish(options: &Options, testnet: &Testnet, run: Run, traces: &[Vec<Delivery>]) -> Result<(), Failure> {
    let Run { outcome, submitted, counted, before, after, chain, settled } = run;
    let ids: BTreeSet<_> = counted.iter().map(TxId::short).collect();
    let manifest = testnet.manifest();
    let spread = Spread::new(traces, &ids, manifest.wan.as_ref().map(|_| testnet.topology()))?;
    let load = Load {
        relay: options.shape.relay,
        nodes: traces.len(),
        dials: options.shape.dials,
        seed: options.shape.seed,
        transport: options.shape.transport,
        wan: manifest.wan.as_ref().map_or("none", |wan| &wan.name),
        tx_size: options.traffic.tx_size,
        duration: options.traffic.duration,
        settle: options.settle,
        rate: options.traffic.rate,
        submitted,
        counted: counted.len() as u64,
    };
    let chain = chain.map(|chain| {
        // A node that agrees on accounts has every transaction; those not in its trace it first saw in a block.
        let missing = (load.nodes as u64 * load.counted).saturating_sub(spread.pairs);
        Chain { first_seen_in_block: if chain.agreed { missing } else { 0 }, ..chain }
    });
    let report = Report::new(&load, outcome.rejected, (&before, &after), &spread, chain);
    output::result(options.json, &report, || report.table())?;
    if let Some(dir) = &options.keep {
        say(format_args!("logs and traces are in {}", dir.join(NAME).display()));
    }
    if let Settled::No(why) = settled {
        let error =
            anyhow!("not every node has every transaction {} s after the load: {why}", SETTLE_TIMEOUT.as_secs());
        return Err(Failure::new(Kind::Timeout, error));
    }
    if report.delivery_ratio < 1.0 {
        let error =
            anyhow!("the traces do not show every transaction at every node: delivery {}", report.delivery_ratio);
        return Err(Failure::new(Kind::Timeout, error));
    }
    let missed: Vec<String> = options
        .threshold
        .iter()
        .filter_map(|threshold| threshold.missed(&report).map(|what| format!("{threshold} was missed: {what}")))
        .collect();
    if missed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Kind::Threshold, anyhow!("{}", missed.join("; "))))
}
