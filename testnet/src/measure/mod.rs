//! What a load did to a testnet: counters and traces in, figures out.

mod clock;
mod collect;
mod comparison;
mod figure;
mod punctuality;
mod report;
mod saturation;
mod search;
mod spread;
mod threshold;

pub(crate) use self::{
    clock::Clocks,
    collect::{Sample, Settled, account_nonces, read_traces, sample, settle_chain, settle_relay},
    comparison::Comparison,
    punctuality::{Due, Punctuality},
    report::{Chain, Coverage, CoverageTimes, Latency, Load, Memory, Report},
    saturation::{Saturation, SignatureLimit, Step},
    search::Search,
    spread::{Journey, Spread, Times, journeys},
    threshold::Threshold,
};
