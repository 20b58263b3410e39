//! Brings testnets up and takes them down: files from a seed, one process per node, and a manifest that says where
//! everything is.

mod links;
mod manifest;
mod process;
mod spec;
mod testnet;

pub(crate) use rustix::process::Signal;

pub(crate) use self::{
    links::links_of,
    manifest::{Manifest, NodeEntry},
    process::{Processes, end_processes, log_tail},
    spec::{NETWORK, Relay, Spec, Transport, account_key},
    testnet::{Testnet, remove_dir},
};
