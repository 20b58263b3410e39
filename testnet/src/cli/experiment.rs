//! One measurement, whoever asks for it: a testnet comes up, is loaded, is measured and goes again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use clap::Args;
use starling_mempool::PoolConfig;
use starling_node::{
    cli::{Failure, Kind},
    net::Delivery,
};
use starling_wire::TxId;

use super::{
    interrupt::Interrupt,
    options::{Shape, Traffic},
    report::write_page,
    say,
};
use crate::{
    launch::{Relay, Spec, Testnet},
    load::{self, LoadSpec, Outcome, Sender},
    measure::{self, Chain, Clocks, Due, Load, Punctuality, Report, Sample, Settled, Spread},
    report::{self, Data},
    sim,
};

/// How long the last transactions of a load may take to reach every node.
const PATIENCE: Duration = Duration::from_secs(30);

/// The testnet's name, and its directory's in that of `--keep`.
pub(super) const NAME: &str = "measure";

/// What is measured.
#[derive(Debug, Args)]
pub(super) struct Trial {
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    traffic: Traffic,
    /// Transactions from then on count, and bytes and CPU time from then on; from the start of the load [default: 0s for
    /// `measure`, three quarters of --duration for `compare`]
    #[arg(long, value_name = "TIME", value_parser = sim::time)]
    settle: Option<Duration>,
    /// Starling's nodes keep their state on the disk, as they do when nobody measures
    #[arg(long)]
    store: bool,
}

impl Trial {
    /// Leaves out the first three quarters of the load unless told otherwise, and never its last transaction.
    pub(super) fn settled(mut self) -> Result<Self, Failure> {
        let last = load::last_at(&self.traffic.spec(self.shape.seed)?);
        self.settle.get_or_insert(last.min(self.traffic.duration * 3 / 4));
        Ok(self)
    }

    /// With a relay, and blocks if it is to have any. Fails if this cannot be measured: a load that ends before figures
    /// start, and, as every transaction stays in every pool without blocks, one that does not fit there.
    pub(super) fn experiment(&self, relay: Relay, block_interval: Option<Duration>) -> Result<Experiment, Failure> {
        let load = self.traffic.spec(self.shape.seed)?;
        let settle = self.settle.unwrap_or_default();
        if settle > load::last_at(&load) {
            return Err(Failure::usage(
                "--settle must be before the last transaction of the load (see --duration and --rate)",
            ));
        }
        let (total, limits) = (load.total(), PoolConfig::default());
        if block_interval.is_none() && total > pool_room(load.tx_size) {
            return Err(Failure::usage(format!(
                "{total} transactions of {} bytes do not fit into a node's pool ({} transactions, {} bytes). Choose a \
                 lower --rate or a shorter --duration, or let --block-interval of `measure` empty the pools",
                load.tx_size, limits.max_count, limits.max_bytes
            )));
        }
        let testnet = Spec {
            name: NAME.to_owned(),
            relay,
            nodes: self.shape.nodes as usize,
            dials: self.shape.dials,
            seed: self.shape.seed,
            transport: self.shape.transport,
            wan: self.shape.wan("earth")?,
            planned: true,
            severable: false,
            block_interval,
            store: self.store && relay == Relay::Starling,
            accounts: load::accounts_for(load.total()),
        };
        Ok(Experiment { testnet, warm_up: None, load, settle, patience: PATIENCE, keep: None, page: None })
    }
}

/// How many transactions of a size a node's pool holds.
pub(super) fn pool_room(tx_size: usize) -> usize {
    let limits = PoolConfig::default();
    limits.max_count.min(limits.max_bytes / tx_size)
}

/// What is tried.
#[derive(Debug)]
pub(super) struct Experiment {
    /// The testnet.
    pub(super) testnet: Spec,
    /// What is sent before, if anything. It does not count.
    warm_up: Option<LoadSpec>,
    /// What is sent.
    pub(super) load: LoadSpec,
    /// From when on figures count, from the start of the load.
    settle: Duration,
    /// How long the last transactions may take to reach every node.
    patience: Duration,
    /// Where logs, traces and the manifest are left; nowhere if `None`.
    pub(super) keep: Option<PathBuf>,
    /// Where the page with the figures is written; nowhere if `None`.
    pub(super) page: Option<PathBuf>,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Measured {
    /// The figures.
    pub(super) report: Report,
    /// How the load was kept up with, by when its transactions were due.
    pub(super) kept: Punctuality,
    /// The most by which a transaction was sent too late.
    pub(super) late: Duration,
    /// What not every node has, if so.
    missing: Option<String>,
    /// What else was asked for and could not be done, such as a page: no reason to lose the figures.
    pub(super) rest: Result<(), Failure>,
}

impl Measured {
    /// Fails unless every node got every transaction.
    pub(super) fn is_complete(&self) -> Result<(), Failure> {
        match &self.missing {
            Some(missing) => Err(Failure::new(Kind::Timeout, anyhow!("{missing}"))),
            None => Ok(()),
        }
    }
}

/// What is known when the nodes have stopped.
struct Run {
    outcome: Outcome,
    /// When and where each transaction was to enter.
    due: BTreeMap<TxId, Due>,
    /// The accepted ones that figures are about.
    counted: BTreeSet<TxId>,
    before: Vec<Sample>,
    after: Vec<Sample>,
    chain: Option<Chain>,
    settled: Settled,
}

impl Experiment {
    /// The same testnet with another load, all of whose transactions count, after one that warms it up.
    pub(super) fn with_loads(&self, warm_up: LoadSpec, load: LoadSpec, patience: Duration) -> Self {
        let testnet = Spec { accounts: load::accounts_for(warm_up.total() + load.total()), ..self.testnet.clone() };
        Self { testnet, warm_up: Some(warm_up), load, settle: Duration::ZERO, patience, keep: None, page: None }
    }

    /// Does it, and leaves nothing behind but what is to be kept.
    pub(super) async fn run(&self, interrupt: &mut Interrupt) -> Result<Measured, Failure> {
        let temporary = match &self.keep {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("starling-testnet-").tempdir().map_err(|error| {
                anyhow!("no temporary directory can be made: {error}. Set TMPDIR to another place")
            })?),
        };
        let dir = temporary.as_ref().map(|dir| dir.path().to_owned()).or_else(|| self.keep.clone()).unwrap_or_default();
        let mut testnet = Testnet::create(&dir, self.testnet.clone(), false)?;
        if self.keep.is_some() {
            testnet.keep_files();
        }
        let senders = load::senders(self.load.seed, self.testnet.seed, self.testnet.accounts, self.testnet.nodes);
        let run = interrupt.unless(self.drive(senders, &mut testnet)).await;
        // In order, so that the traces are complete.
        let down = interrupt.down(&mut testnet).await;
        let run = run?;
        down?;
        let traces = measure::read_traces(&testnet.manifest().nodes)?;
        testnet.remove()?;
        self.figures(&testnet, run, &traces)
    }

    async fn drive(&self, mut senders: Vec<Sender>, testnet: &mut Testnet) -> Result<Run, Failure> {
        // First, as it takes a moment: the nodes' figures are not to be those of a machine that is busy with this.
        let warm_up = match &self.warm_up {
            Some(load) => Some(load::plan(load, &mut senders).await?),
            None => None,
        };
        let plan = load::plan(&self.load, &mut senders).await?;
        let due: BTreeMap<TxId, Due> =
            plan.iter().map(|planned| (planned.id, Due { at: planned.at, node: planned.node })).collect();
        let clocks = Clocks::now();
        testnet.start().await?;
        testnet.settle().await?;
        let (nodes, clients) = (&testnet.manifest().nodes, testnet.clients()?);
        let start = measure::sample(nodes, &clients).await?;
        let warm_up = match warm_up {
            Some(plan) => load::run(plan, &clients).await.accepted.len(),
            None => 0,
        };
        let settled = async {
            if self.settle.is_zero() && self.warm_up.is_none() {
                return Ok(start.clone());
            }
            tokio::time::sleep(self.settle).await;
            measure::sample(nodes, &clients).await
        };
        // From here on nobody reads the world's clock any more.
        clocks.check(Clocks::now()).map_err(|set| Failure::new(Kind::Failed, set))?;
        let (outcome, before) = tokio::join!(load::run(plan, &clients), settled);
        let before = before?;
        let accepted = (warm_up + outcome.accepted.len()) as u64;
        let late_enough = |id: &&TxId| due.get(*id).is_some_and(|due| due.at >= self.settle);
        let counted: BTreeSet<TxId> = outcome.accepted.iter().filter(late_enough).copied().collect();
        if counted.is_empty() {
            return Err(anyhow!("no transaction that counts was accepted: {}", outcome.reasons()).into());
        }
        let deadline = Instant::now() + self.patience;
        let (settled, chain) = match self.testnet.block_interval {
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
        Ok(Run { outcome, due, counted, before, after, chain, settled })
    }

    /// Computes the figures.
    fn figures(&self, testnet: &Testnet, run: Run, traces: &[Vec<Delivery>]) -> Result<Measured, Failure> {
        let Run { outcome, due, counted, before, after, chain, settled } = run;
        let ids: BTreeSet<_> = counted.iter().map(TxId::short).collect();
        let manifest = testnet.manifest();
        let spread = Spread::new(traces, &ids, manifest.wan.as_ref().map(|_| testnet.topology()))?;
        let load = Load {
            relay: self.testnet.relay,
            nodes: traces.len(),
            dials: self.testnet.dials,
            seed: self.testnet.seed,
            transport: self.testnet.transport,
            wan: manifest.wan.as_ref().map_or("none", |wan| &wan.name),
            tx_size: self.load.tx_size,
            duration: self.load.duration,
            settle: self.settle,
            rate: self.load.rate,
            submitted: due.len() as u64,
            counted: counted.len() as u64,
        };
        let chain = chain.map(|chain| {
            // A node that agrees on accounts has every transaction; those not in its trace it first saw in a block.
            let missing = (load.nodes as u64 * load.counted).saturating_sub(spread.pairs);
            Chain { first_seen_in_block: if chain.agreed { missing } else { 0 }, ..chain }
        });
        let report = Report::new(&load, outcome.rejected, (&before, &after), &spread, chain);
        let run = report::Run::new(testnet.topology(), manifest.wan.is_some(), &ids, (&before, &after));
        let rest = self.write(testnet, run, &report, traces);
        let due = due.into_iter().map(|(id, due)| (id.short(), due)).collect();
        let kept = Punctuality::new(traces, &due, outcome.start_unix_us);
        let missing = match settled {
            Settled::No(why) => Some(format!(
                "not every node has every transaction {} s after the load: {why}",
                self.patience.as_secs()
            )),
            Settled::Yes if report.delivery_ratio < 1.0 => Some(format!(
                "the traces do not show every transaction at every node: delivery {}",
                report.delivery_ratio
            )),
            Settled::Yes => None,
        };
        Ok(Measured { report, kept, late: outcome.latest, missing, rest })
    }

    /// Writes what is to be kept, and the page.
    fn write(
        &self,
        testnet: &Testnet,
        run: report::Run,
        report: &Report,
        traces: &[Vec<Delivery>],
    ) -> Result<(), Failure> {
        if self.keep.is_some() {
            run.write(testnet.root(), report)?;
        }
        if let Some(file) = &self.page {
            let document = serde_json::to_value(report).and_then(serde_json::from_value);
            let document = document.context("the figures cannot be read as JSON")?;
            write_page(file, &Data::new(document, run, testnet.manifest(), traces)?)?;
        }
        Ok(())
    }
}
