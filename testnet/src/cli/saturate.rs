//! `--saturate`: looks for the highest rate that a testnet holds.

use std::time::Duration;

use clap::Args;
use starling_node::cli::{Failure, Kind};

use super::{
    experiment::{Experiment, Measured, pool_room},
    interrupt::Interrupt,
    options::{MAX_RATE, duration, rate},
    say,
};
use crate::{
    load::{self, LoadSpec},
    measure::{Saturation, Search, SignatureLimit, Step, Threshold},
};

/// How long the nodes have after a load before they are ended. What takes longer is late by any measure.
const PATIENCE: Duration = Duration::from_secs(5);

/// Signatures of whose checking the median is taken.
const VERIFICATIONS: usize = 2_000;

/// The first rate tried, by what signatures alone allow: one that is held for certain, and not far from the highest.
const FIRST: f64 = 0.1;

/// Whether and how the highest rate is looked for.
#[derive(Debug, Args)]
pub(super) struct Saturate {
    /// Look for the highest rate held, too: 99.9 % delivered, and 99 % within a second of when they were due
    #[arg(long)]
    saturate: bool,
    /// How long each rate is tried, on fresh nodes that have had half of it for as long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, requires = "saturate")]
    step: Duration,
    /// The highest rate tried [default: what fits into a node's pool]
    #[arg(long, value_name = "N", value_parser = rate, requires = "saturate")]
    max_rate: Option<f64>,
}

impl Saturate {
    /// Fails if the options make no sense for what is measured, or with thresholds.
    pub(super) fn check(&self, experiment: &Experiment, thresholds: &[Threshold]) -> Result<(), Failure> {
        if !self.saturate {
            return match thresholds.iter().any(Threshold::is_of_saturation) {
                true => Err(Failure::usage("a --threshold of saturation needs --saturate")),
                false => Ok(()),
            };
        }
        if experiment.testnet.nodes < 2 {
            return Err(Failure::usage("--saturate is about what nodes pass on: choose two --nodes at least"));
        }
        let room = self.room(experiment.load.tx_size);
        match self.max_rate {
            Some(rate) if rate > room => Err(Failure::usage(format!(
                "{rate} transactions a second for {} s, and half as many for as long before, do not fit into a node's pool: \
                 {room:.0} a second do. Choose a lower --max-rate or a shorter --step",
                self.step.as_secs_f64()
            ))),
            _ => Ok(()),
        }
    }

    /// The rate at which a step fills a node's pool: without blocks, every transaction stays there.
    fn room(&self, tx_size: usize) -> f64 {
        let with_warm_up = self.step * 3 / 2;
        (pool_room(tx_size) as f64 / with_warm_up.as_secs_f64()).floor().clamp(1.0, MAX_RATE)
    }

    /// Does an experiment and, if it is asked for, adds the highest rate held on the same testnet to the figures. If that
    /// fails there are still those of the experiment.
    pub(super) async fn measure(
        &self,
        experiment: &Experiment,
        interrupt: &mut Interrupt,
    ) -> Result<Measured, Failure> {
        let mut measured = experiment.run(interrupt).await?;
        if self.saturate {
            match self.search(experiment, interrupt).await {
                Ok(saturation) => measured.report.saturation = Some(saturation),
                Err(failure) => measured.rest = measured.rest.and(Err(failure)),
            }
        }
        Ok(measured)
    }

    async fn search(&self, experiment: &Experiment, interrupt: &mut Interrupt) -> Result<Saturation, Failure> {
        let limit = signature_limit(experiment)?;
        let most = self.max_rate.unwrap_or_else(|| self.room(experiment.load.tx_size));
        let (mut search, mut steps, mut failed) = (Search::new(limit.tps * FIRST, most), Vec::new(), false);
        while let Some(rate) = search.next() {
            let load = LoadSpec { rate, duration: self.step, ..experiment.load };
            // Nodes that know nothing of each other do more for each transaction than they would go on doing.
            let warm_up = LoadSpec { rate: rate / 2.0, ..load };
            let tried = match experiment.with_loads(warm_up, load, PATIENCE).run(interrupt).await {
                // Nodes are driven to where they may be too busy to answer whoever measures them. That the clock was
                // set says nothing of the rate, either.
                Err(failure) if !failed && failure.kind() != Kind::Interrupted => {
                    failed = true;
                    say(format_args!("{}: {rate} tx/s: {failure}; once more", experiment.testnet.relay.name()));
                    continue;
                }
                tried => tried?,
            };
            failed = false;
            let step = Step::new(rate, tried.kept, tried.late);
            say(format_args!("{}: {step}", experiment.testnet.relay.name()));
            search.note(rate, step.held);
            steps.push(step);
        }
        Ok(Saturation::new(&search, steps, &limit))
    }
}

/// Checks transactions like those of the load one by one. No node runs meanwhile.
fn signature_limit(experiment: &Experiment) -> anyhow::Result<SignatureLimit> {
    let load = LoadSpec { rate: VERIFICATIONS as f64, duration: Duration::from_secs(1), ..experiment.load };
    let mut senders = load::senders(load.seed, experiment.testnet.seed, load::accounts_for(load.total()), 1);
    let transactions = load::signed(&load, &mut senders)?
        .map(|signed| signed.map(|(_, tx)| tx))
        .collect::<anyhow::Result<Vec<_>>>()?;
    SignatureLimit::measure(experiment.testnet.nodes, transactions)
}
