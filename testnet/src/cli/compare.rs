//! `compare`: Starling's relay and gossipsub by turns, under the same load on the same overlay.

use anyhow::anyhow;
use clap::Args;
use starling_node::cli::{Failure, Kind};

use super::{
    experiment::{Experiment, Trial},
    interrupt::Interrupt,
    load::tell_if_late,
    output,
    saturate::Saturate,
    say,
};
use crate::{
    launch::Relay,
    measure::{Comparison, Threshold},
};

/// Most rounds.
const MAX_ROUNDS: i64 = 100;

/// `starling-testnet compare`.
#[derive(Debug, Args)]
#[command(mut_arg("duration", |arg| arg.default_value("80s")))]
#[command(before_long_help = "Examples:
  starling-testnet compare
  starling-testnet compare --nodes 50 --rounds 5
  starling-testnet compare --nodes 50 --duration 20s --settle 0s
  starling-testnet compare --saturate --rounds 1
  starling-testnet compare --threshold 'wire_bytes<0.5' --threshold 'latency_p99<=1' --json

Each round measures both relays as `measure` does, one after the other on fresh nodes, and the next round the other way \
round. All rounds have the same overlay and the same transactions. A ratio is Starling's figure divided by gossipsub's \
of the same round; where ratios of some rounds are above 1 and of others below, there is no difference to be seen.

What is compared is how they do once they know the network: only the last quarter of each load counts, unless --settle \
says otherwise. With --settle 0s all of it does, while Starling learns ways and gossipsub meshes form. The rates that \
--saturate tries count in full, after half of each for as long.

Ratios that --threshold bounds, each by its median over the rounds: wire_bytes copies cpu rss latency_p50 latency_p95 \
latency_p99 coverage_p95 (time until all nodes have a transaction) and, with --saturate, saturation.")]
pub(super) struct Options {
    #[command(flatten)]
    trial: Trial,
    /// How often both are measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=MAX_ROUNDS))]
    rounds: u32,
    #[command(flatten)]
    saturate: Saturate,
    /// Fail with exit code 99 if a ratio is not within a bound, such as wire_bytes<0.5; may be repeated
    #[arg(long, value_name = "NAME<VALUE", value_parser = Threshold::of_ratio)]
    threshold: Vec<Threshold>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let trial = options.trial.settled()?;
    let (ours, theirs) = (trial.experiment(Relay::Starling, None)?, trial.experiment(Relay::Gossipsub, None)?);
    options.saturate.check(&ours, &options.threshold)?;
    let (mut rounds, mut incomplete) = (Vec::new(), Vec::new());
    let mut measure = async |round: u32, experiment: &Experiment| {
        let relay = experiment.testnet.relay.name();
        say(format_args!("round {round} of {}: {relay}", options.rounds));
        let measured = options.saturate.measure(experiment, &mut interrupt).await?;
        tell_if_late(measured.late);
        if let Err(failure) = measured.is_complete() {
            incomplete.push(format!("round {round}, {relay}: {failure}"));
        }
        measured.rest.map(|()| measured.report)
    };
    let ended = async {
        for round in 1..=options.rounds {
            // Neither is always the one that finds the machine as the other left it.
            let [first, second] = if round % 2 == 1 { [&ours, &theirs] } else { [&theirs, &ours] };
            rounds.push([measure(round, first).await?, measure(round, second).await?]);
        }
        Ok::<_, Failure>(())
    }
    .await;
    if rounds.is_empty() {
        return ended;
    }
    let done = rounds.len();
    let comparison = Comparison::new(rounds);
    output::result(options.json, &comparison, || comparison.table())?;
    if ended.is_err() {
        say(format_args!("only {done} of {} rounds were finished", options.rounds));
    }
    ended?;
    if !incomplete.is_empty() {
        return Err(Failure::new(Kind::Timeout, anyhow!("{}", incomplete.join("; "))));
    }
    Threshold::all_met(&options.threshold, |figure| comparison.ratio(figure))
        .map_err(|missed| Failure::new(Kind::Threshold, anyhow!("{missed}")))
}
