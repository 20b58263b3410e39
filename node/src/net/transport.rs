//! The transports a node listens and dials on: TCP with noise and yamux, and QUIC.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, future::Either};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, OrTransport, PortUse, TransportError, TransportEvent},
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
    let tcp = NewPorts(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)))
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

/// Dials from a port of its own each time, where libp2p would use the one that the node listens on.
///
/// Two nodes that dialled each other at once from there would have one TCP connection between them (simultaneous open, RFC 9293
/// §3.5) in which both are the dialling side: both handshakes fail. Only those who punch holes into NATs need that port.
struct NewPorts<T>(T);

impl<T: Transport + Unpin> Transport for NewPorts<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        self.0.dial(address, DialOpts { port_use: PortUse::New, ..options })
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use libp2p::core::{Endpoint, multiaddr::Protocol};

    use super::*;

    fn port(address: &Multiaddr) -> u16 {
        let port = |part| if let Protocol::Tcp(port) = part { Some(port) } else { None };
        address.iter().find_map(port).unwrap()
    }

    type Tcp = NewPorts<tcp::tokio::Transport>;

    async fn next(tcp: &mut Tcp) -> TransportEvent<<Tcp as Transport>::ListenerUpgrade, <Tcp as Transport>::Error> {
        poll_fn(|cx| Pin::new(&mut *tcp).poll(cx)).await
    }

    async fn listening() -> (Tcp, Multiaddr) {
        let mut tcp = NewPorts(tcp::tokio::Transport::default());
        tcp.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let TransportEvent::NewAddress { listen_addr, .. } = next(&mut tcp).await else { panic!("no address") };
        (tcp, listen_addr)
    }

    #[tokio::test]
    async fn a_dial_does_not_come_from_the_port_that_is_listened_on() {
        let ((mut here, here_at), (mut there, there_at)) = (listening().await, listening().await);
        let dial = here.dial(there_at, DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse }).unwrap();
        let (dialled, event) = futures::join!(dial, next(&mut there));
        let TransportEvent::Incoming { send_back_addr, .. } = event else { panic!("{event:?}") };
        assert!(dialled.is_ok());
        assert_ne!(port(&send_back_addr), port(&here_at));
    }
}
