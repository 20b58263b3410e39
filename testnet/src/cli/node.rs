//! The hidden commands `node` and `node-gossipsub`: this program as a node, in a world with delays or without.

use std::{ffi::OsString, io, iter, path::Path, process::ExitCode, sync::Arc};

use libp2p::identity::Keypair;
use starling_node::{
    cli,
    net::{self, BoxedTransport, Counters},
};

use crate::{baseline, launch::Relay, partition, wan};

/// By how much nodes give way to others: to those who load and watch them, above all. Fifty nodes that share two cores would
/// leave these a fiftieth, and what is measured would be how fast transactions can be submitted.
const NICE: i32 = 10;

/// Runs a node. `args` are [`wan::OPTION`] with its file, if there are to be delays, [`partition::OPTION`] with its file,
/// if it is to be cut off now and then, and then the options of `starling run`.
pub(super) fn main(relay: Relay, mut args: Vec<OsString>) -> ExitCode {
    // Before there are threads. Where it is refused nodes take what they can get.
    let _nicer = rustix::process::nice(NICE);
    let mut file = |option| (args.len() > 1 && args[0] == option).then(|| args.drain(..2).nth(1)).flatten();
    let (wan_file, partition_file) = (file(wan::OPTION), file(partition::OPTION));
    let transport = |keypair: &Keypair, counters: &Arc<Counters>| -> io::Result<BoxedTransport> {
        let (mut transport, here) = (net::transport(keypair, counters)?, keypair.public().to_peer_id());
        if let Some(file) = wan_file {
            transport = wan::delayed(transport, &here, Path::new(&file))?;
        }
        if let Some(file) = partition_file {
            transport = partition::severable(transport, here, file.into());
        }
        Ok(transport)
    };
    let args = iter::once("starling".into()).chain(args);
    match relay {
        Relay::Starling => cli::node_main(args, async |config| net::start(config, transport).await),
        Relay::Gossipsub => cli::node_main(args, async |config| baseline::start(config, transport).await),
    }
}
