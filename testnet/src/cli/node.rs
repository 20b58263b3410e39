//! The hidden commands `node` and `node-gossipsub`: this program as a node, in a world with delays or without.

use std::{ffi::OsString, io, iter, path::Path, process::ExitCode, sync::Arc};

use libp2p::identity::Keypair;
use starling_node::{
    cli,
    net::{self, BoxedTransport, Counters},
};

use crate::{baseline, launch::Relay, wan};

/// Runs a node. `args` are [`wan::OPTION`] with its file, if there are to be delays, and then the options of
/// `starling run`.
pub(super) fn main(relay: Relay, mut args: Vec<OsString>) -> ExitCode {
    let file = (args.len() > 1 && args[0] == wan::OPTION).then(|| args.drain(..2).nth(1)).flatten();
    let transport = |keypair: &Keypair, counters: &Arc<Counters>| -> io::Result<BoxedTransport> {
        let usual = net::transport(keypair, counters)?;
        match file {
            Some(file) => wan::delayed(usual, &keypair.public().to_peer_id(), Path::new(&file)),
            None => Ok(usual),
        }
    };
    let args = iter::once("starling".into()).chain(args);
    match relay {
        Relay::Starling => cli::node_main(args, async |config| net::start(config, transport).await),
        Relay::Gossipsub => cli::node_main(args, async |config| baseline::start(config, transport).await),
    }
}
