//! The transports a node listens and dials on: TCP with noise and yamux, and QUIC.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, future::Either};
use libp2p::{
    PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, OrTransport},
        upgrade::Version,
    },
    dns, identity, noise, quic, tcp, yamux,
};

use super::counters::{Counters, Flow};

/// What a node is given to listen and dial with.
pub type BoxedTransport = Boxed<(PeerId, StreamMuxerBox)>;

/// Builds a node's transport from its key and the counters that TCP's bytes are to be added to. Every such function is
/// one.
pub trait MakeTransport: FnOnce(&identity::Keypair, &Arc<Counters>) -> io::Result<BoxedTransport> {}

impl<F: FnOnce(&identity::Keypair, &Arc<Counters>) -> io::Result<BoxedTransport>> MakeTransport for F {}

/// TCP (noise, yamux) and QUIC, with names resolved by the system's DNS servers. TCP's bytes are counted below the
/// encryption.
pub fn transport(keypair: &identity::Keypair, counters: &Arc<Counters>) -> io::Result<BoxedTransport> {
    let counters = counters.clone();
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(move |stream, _| Counted { stream, counters })
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair).map_err(io::Error::other)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = quic::tokio::Transport::new(quic::Config::new(keypair))
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    let either = OrTransport::new(quic, tcp).map(|either, _| match either {
        Either::Left(quic) => quic,
        Either::Right(tcp) => tcp,
    });
    Ok(dns::tokio::Transport::system(either)?.boxed())
}

/// A stream whose bytes are counted.
struct Counted<S> {
    stream: S,
    counters: Arc<Counters>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(count)) = result {
            self.counters.socket(Flow::In, count);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = result {
            self.counters.socket(Flow::Out, count);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
