//! Real node processes cut into two parts, and joined again: in the transport they are given, as a firewall would do it
//! that drops everything. No root, no kernel, any system.
//!
//! A [`Partition`] is a small file that names the nodes of one part; there is none while the testnet is whole. Each node
//! looks for it now and then. While it is there, nothing comes in from nodes of the other part: what they send waits,
//! unread, in the connection, and whoever has not given up by then gets it after the parts were joined. Nobody is told
//! that a link is gone; to notice that is up to the nodes. New connections between the parts are refused.

mod file;
mod gate;
mod stream;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future;
use libp2p::{PeerId, Transport, core::muxing::StreamMuxerBox};
use starling_node::net::BoxedTransport;

pub(crate) use self::file::Partition;
use self::{
    gate::{Gate, Parts},
    stream::Gated,
};

/// The option of a node process that names its partition file; comes before all others but [`crate::wan::OPTION`].
pub(crate) const OPTION: &str = "--partition";

/// How often nodes look for the file.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A transport for the node `here` that is cut as the file says. To be called in a tokio runtime; the file is looked at
/// for as long as that runs.
pub(crate) fn severable(transport: BoxedTransport, here: PeerId, file: PathBuf) -> BoxedTransport {
    let parts = Arc::new(Parts::new(here));
    tokio::spawn(follow(parts.clone(), file));
    let severable = transport.and_then(move |(peer, muxer), _| {
        let gate = Gate::new(parts, peer);
        future::ready(match gate.is_open() {
            true => Ok((peer, StreamMuxerBox::new(Gated::new(muxer, gate)))),
            false => Err(io::Error::new(io::ErrorKind::HostUnreachable, format!("{peer} is in the other part"))),
        })
    });
    severable.boxed()
}

/// Keeps the parts as the file has them.
async fn follow(parts: Arc<Parts>, file: PathBuf) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut told = None;
    loop {
        look.tick().await;
        told = match side(&file) {
            Ok(side) => {
                parts.set(side);
                None
            }
            Err(error) => {
                // Once, not four times a second.
                let error = format!("{error:#}");
                if told.as_ref() != Some(&error) {
                    tracing::warn!("the parts of the testnet stay as they are: {error}");
                }
                Some(error)
            }
        }
    }
}

fn side(file: &Path) -> anyhow::Result<Option<BTreeSet<PeerId>>> {
    Partition::read(file)?.map(|partition| partition.side()).transpose()
}
