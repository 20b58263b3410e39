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

use std::{collections::HashMap, io, path::Path};

use libp2p::{PeerId, Transport, core::muxing::StreamMuxerBox};
use starling_node::net::BoxedTransport;

pub(crate) use self::file::Wan;
use self::{line::Link, muxer::Delayed};
use crate::map::Rate;

/// The option of a node process that names its wan file; comes before all others.
pub(crate) const OPTION: &str = "--wan";

/// A transport with delays from all nodes of the wan file, which must have a place for this one. From others, strangers
/// that somebody connected by hand, there are none.
pub(crate) fn delayed(transport: BoxedTransport, here: &PeerId, file: &Path) -> io::Result<BoxedTransport> {
    let wan = Wan::read(file).map_err(to_io)?;
    let ways: HashMap<PeerId, u32> = wan.ways_to(here).map_err(to_io)?;
    let rate = Rate::mbit(wan.mbit());
    let delayed = transport.map(move |(peer, muxer), _| match ways.get(&peer) {
        Some(way) => (peer, StreamMuxerBox::new(Delayed::new(muxer, Link::new(*way, rate)))),
        None => (peer, muxer),
    });
    Ok(delayed.boxed())
}

/// With all of its reasons.
fn to_io(error: anyhow::Error) -> io::Error {
    io::Error::other(format!("{error:#}"))
}
