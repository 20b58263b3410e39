//! Brings testnets up and takes them down: files from a seed, one process per node, and a manifest that says where
//! everything is.

mod manifest;
mod process;
mod spec;
mod testnet;

pub(crate) use self::{
    manifest::{Manifest, NodeEntry},
    process::{Processes, end_processes, log_tail},
    spec::{NETWORK, Spec, Transport, account_key},
    testnet::{Testnet, links_of, remove_dir},
};
