//! What a load did to a testnet: counters and traces in, figures out.

mod collect;
mod report;
mod spread;
mod threshold;

pub(crate) use self::{
    collect::{Sample, Settled, account_nonces, read_traces, sample, settle_chain, settle_relay},
    report::{Chain, Load, Report},
    spread::Spread,
    threshold::Threshold,
};
