//! A connection on which what comes in takes its time.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent};
use tokio::time::{Sleep, sleep_until};

use super::{line::Link, stream::DelayedStream};

/// A delayed connection.
pub(super) struct Delayed<M = StreamMuxerBox> {
    inner: M,
    link: Arc<Link>,
    /// The connection is gone, which is not known here until the timer fires: what was sent before is still under way.
    lost: Option<(Pin<Box<Sleep>>, io::Error)>,
}

impl<M> Delayed<M> {
    pub(super) fn new(inner: M, link: Link) -> Self {
        Self { inner, link: Arc::new(link), lost: None }
    }

    /// Asks the connection for something, unless it is gone. That it is gone comes out when all that was sent before
    /// has.
    fn ask<T>(
        &mut self,
        cx: &mut Context<'_>,
        what: impl FnOnce(Pin<&mut M>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>>
    where
        M: Unpin,
    {
        if self.lost.is_none() {
            match what(Pin::new(&mut self.inner), cx) {
                Poll::Ready(Err(error)) => {
                    let at = self.link.instant(self.link.arrival(0));
                    self.lost = Some((Box::pin(sleep_until(at)), error));
                }
                other => return other,
            }
        }
        let Some((timer, error)) = &mut self.lost else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        let kind = error.kind();
        Poll::Ready(Err(std::mem::replace(error, kind.into())))
    }
}

impl<M: StreamMuxer<Error = io::Error> + Unpin> StreamMuxer for Delayed<M>
where
    M::Substream: Unpin,
{
    type Substream = DelayedStream<M::Substream>;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        let this = self.get_mut();
        let stream = ready!(this.ask(cx, M::poll_inbound))?;
        Poll::Ready(Ok(DelayedStream::new(stream, this.link.clone())))
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        let this = self.get_mut();
        let stream = ready!(this.ask(cx, M::poll_outbound))?;
        Poll::Ready(Ok(DelayedStream::new(stream, this.link.clone())))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What this side has written is on its way already; what is still under way to it is no longer wanted.
        Pin::new(&mut self.get_mut().inner).poll_close(cx)
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.get_mut().ask(cx, M::poll)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use libp2p::core::muxing::StreamMuxerExt;
    use tokio::time::Instant;

    use super::{super::stream::tests::Source, *};
    use crate::map::Rate;

    /// A connection that is gone.
    struct Gone;

    impl StreamMuxer for Gone {
        type Substream = Source;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Source>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }

        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Source>> {
            Poll::Ready(Ok(Source::default()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_connection_comes_after_what_is_under_way() {
        let start = Instant::now();
        let link = Link::new(30_000, Rate::mbit(8.0));
        // 100 ms worth of bytes are under way.
        let last = link.arrival(100_000);
        let mut muxer = Delayed::new(Gone, link);
        let error = std::future::poll_fn(|cx| {
            assert!(start.elapsed() >= Duration::from_millis(130) || muxer.poll_inbound_unpin(cx).is_pending());
            muxer.poll_unpin(cx)
        })
        .await
        .unwrap_err();
        // The first that was told; afterwards only the kind is left.
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(start.elapsed() >= Duration::from_micros(last), "{:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_millis(140), "{:?}", start.elapsed());
        let again = std::future::poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.map(|_| ());
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        std::future::poll_fn(|cx| muxer.poll_close_unpin(cx)).await.unwrap();
    }
}
