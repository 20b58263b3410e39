//! A connection's multiplexer that is polled only when it was woken.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use libp2p::core::{StreamMuxer, muxing::StreamMuxerEvent};

use super::Alarm;

/// Either of [`StreamMuxer::poll`] and [`StreamMuxer::poll_inbound`] of yamux drives the whole connection, with whatever
/// waker it was last given, so both share one.
pub(in super::super) struct OnWakeMuxer<M> {
    alarm: Alarm,
    /// Whether there may be a stream to be taken that nobody is woken for any more.
    has_inbound: bool,
    muxer: M,
}

impl<M> OnWakeMuxer<M> {
    pub(in super::super) fn new(muxer: M) -> Self {
        Self { alarm: Alarm::new(), has_inbound: true, muxer }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for OnWakeMuxer<M> {
    type Substream = M::Substream;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        let Self { alarm, has_inbound, muxer } = &mut *self;
        if *has_inbound {
            alarm.set();
        }
        let polled = alarm.poll(cx, |cx| Pin::new(muxer).poll_inbound(cx));
        *has_inbound = polled.is_ready();
        polled
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        let polled = Pin::new(&mut self.muxer).poll_outbound(cx);
        if polled.is_ready() {
            // What is written to a new stream wakes nobody before the connection has looked at it once.
            self.alarm.set();
        }
        polled
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.muxer).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        let Self { alarm, has_inbound, muxer } = &mut *self;
        let polled = alarm.poll(cx, |cx| Pin::new(muxer).poll(cx));
        // It wakes itself when it has put a stream aside for `poll_inbound`, which the swarm may be too busy to call now.
        *has_inbound |= alarm.is_set();
        polled
    }
}
