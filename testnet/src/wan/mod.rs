//! Wide-area delays between real node processes, made in the transport they are given: no root, no kernel, any system.
//!
//! A [`Wan`] is a small file that says where each node is. A node's transport wraps every authenticated connection, so
//! that it works for TCP and QUIC alike, and lets what comes in on it wait ([`mod@line`]): for its turn on a link of limited
//! bandwidth, and then for as long as the way from the other node takes, with jitter, and never out of order.
//!
//! The waiting is done where bytes come in, not where they go out. Either way there is one more wake-up of a task for
//! each chunk, that of its timer. But here the timer belongs to somebody who waits for these bytes anyhow, while bytes
//! that wait to go out need somebody who carries them on after their writer has gone; and writes stay what they are, so
//! flushing, closing and the order of what is written mean exactly what they mean without delays. What comes from the
//! other side is late as a whole: bytes, the end of a stream, and the end of the connection.
//!
//! What stays as fast as the machine: setting a connection up until both sides know each other, the credit of flow
//! control, and the news that a write failed. Delays are never shorter than asked for; they are longer by the millisecond
//! or two of the system's timers, which figures such as stretch include.

mod file;
mod line;
mod muxer;
mod stream;

use std::{collections::HashMap, ffi::OsString, io, iter, path::Path, process::ExitCode, sync::Arc};

use libp2p::{PeerId, Transport, core::muxing::StreamMuxerBox, identity::Keypair};
use starling_node::{
    cli,
    net::{self, BoxedTransport, Counters},
};

pub(crate) use self::file::Wan;
use self::{line::Link, muxer::Delayed};
use crate::map::Rate;

/// The option of a node process that names its wan file; comes before all others.
pub(crate) const OPTION: &str = "--wan";

/// A node process: runs `starling` with some arguments (without the program's name), after [`OPTION`] and a file in the
/// world which that describes.
pub(crate) fn node(mut args: Vec<OsString>) -> ExitCode {
    let file = (args.len() > 1 && args[0] == OPTION).then(|| args.drain(..2).nth(1)).flatten();
    let args = iter::once("starling".into()).chain(args);
    match file {
        None => cli::main(args),
        Some(file) => cli::main_with(args, |keypair: &Keypair, counters: &Arc<Counters>| {
            let wan = Wan::read(Path::new(&file)).map_err(to_io)?;
            transport(&wan, keypair, counters)
        }),
    }
}

/// The usual transport of a node, with delays from all nodes of a [`Wan`], which must have a place for this one. From
/// others, strangers that somebody connected by hand, there are none.
fn transport(wan: &Wan, keypair: &Keypair, counters: &Arc<Counters>) -> io::Result<BoxedTransport> {
    let here = keypair.public().to_peer_id();
    let ways: HashMap<PeerId, u32> = wan.ways_to(&here).map_err(to_io)?;
    let rate = Rate::mbit(wan.mbit());
    let delayed = net::transport(keypair, counters)?.map(move |(peer, muxer), _| match ways.get(&peer) {
        Some(way) => (peer, StreamMuxerBox::new(Delayed::new(muxer, Link::new(*way, rate)))),
        None => (peer, muxer),
    });
    Ok(delayed.boxed())
}

/// With all of its reasons.
fn to_io(error: anyhow::Error) -> io::Error {
    io::Error::other(format!("{error:#}"))
}
