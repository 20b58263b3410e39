//! Puts transactions into a testnet: planned beforehand from a seed, offered at fixed times.

mod plan;
mod run;

pub(crate) use self::{
    plan::{LoadSpec, MIN_TX_SIZE, Sender, accounts_for, last_at, plan, senders, signed},
    run::{Outcome, run},
};
