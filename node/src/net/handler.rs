//! One connection: a stream this node opened and writes to, and one the other side opened and this node reads.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    Stream, StreamProtocol,
    core::upgrade::ReadyUpgrade,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use starling_wire::{DecodeError, FrameDecoder, Message};

use super::{
    counters::{Counters, Flow},
    outbox::Outbox,
    records::Records,
};
use crate::engine::PeerRecord;

/// The stream protocol's name; its number is [`starling_wire::PROTOCOL_VERSION`].
const PROTOCOL: StreamProtocol = StreamProtocol::new("/starling/1");

/// Bytes read at a time: most often all that came. The buffer is cleared each time: for 8 KiB that took half a percent of
/// the CPU time of a node at 20 transactions a second.
const READ_SIZE: usize = 1024;

/// Messages handed over at a time. Bounds what a connection holds while the driver is busy; not reading on is what
/// slows a peer down that sends faster than this node takes.
const MAX_HANDOVER: usize = 256;

/// Something a peer sent.
#[derive(Debug)]
pub(super) enum Received {
    Message(Message),
    /// The records of a [`Message::Peers`], checked here so that nobody else has to wait for it.
    Records {
        records: Vec<PeerRecord>,
        bad: usize,
    },
}

/// What the connection tells the behaviour.
#[derive(Debug)]
pub(super) enum FromHandler {
    Received(Vec<Received>),
    /// The peer sent what is no message; nothing more is read.
    Malformed(DecodeError),
    /// The queue has room again.
    Relieved,
    /// The connection is of no more use: one of its streams is gone, or everything was sent before closing.
    Done,
}

enum Outgoing {
    Unasked,
    Asked,
    Open(Stream),
    Gone,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The peer sent what is no message; a goodbye may still be on its way.
    Malformed,
    Done,
}

pub(super) struct Handler {
    outbox: Outbox,
    counters: Arc<Counters>,
    records: Arc<Records>,
    outgoing: Outgoing,
    incoming: Option<Stream>,
    /// The peer opened its one stream already.
    incoming_seen: bool,
    decoder: FrameDecoder,
    received: Vec<Received>,
    /// What is told once `received` is handed over.
    end: Option<FromHandler>,
    stage: Stage,
    unflushed: bool,
}

impl Handler {
    pub(super) fn new(outbox: Outbox, counters: Arc<Counters>, records: Arc<Records>) -> Self {
        Self {
            outbox,
            counters,
            records,
            outgoing: Outgoing::Unasked,
            incoming: None,
            incoming_seen: false,
            decoder: FrameDecoder::default(),
            received: Vec::new(),
            end: None,
            stage: Stage::Open,
            unflushed: false,
        }
    }

    /// Nothing more is read; what is queued may still be sent.
    fn malformed(&mut self, error: DecodeError) {
        self.incoming = None;
        if self.stage == Stage::Open {
            self.stage = Stage::Malformed;
            self.end = Some(FromHandler::Malformed(error));
        }
    }

    fn done(&mut self) {
        self.incoming = None;
        if self.stage != Stage::Done {
            self.stage = Stage::Done;
            self.end.get_or_insert(FromHandler::Done);
        }
    }

    /// Sends what is queued, as far as the stream takes it.
    fn write(&mut self, cx: &mut Context<'_>) {
        let Outgoing::Open(stream) = &mut self.outgoing else { return };
        let mut stream = Pin::new(stream);
        match self.outbox.poll_drain(cx, |cx, bytes| stream.as_mut().poll_write(cx, bytes)) {
            Poll::Ready(Ok(written)) => self.unflushed |= written > 0,
            Poll::Ready(Err(_)) => return self.broken(),
            Poll::Pending => {}
        }
        if self.unflushed {
            match stream.as_mut().poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return self.broken(),
                Poll::Pending => return,
            }
        }
        if self.outbox.is_finished() && stream.poll_close(cx).is_ready() {
            self.outgoing = Outgoing::Gone;
            // After a goodbye the other side hangs up: hanging up here, too, could destroy the goodbye on its way. The
            // behaviour sees to it that this takes no longer than it may.
            if !self.outbox.said_goodbye() {
                self.done();
            }
        }
    }

    fn broken(&mut self) {
        self.outgoing = Outgoing::Gone;
        self.done();
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        let mut chunk = [0; READ_SIZE];
        while let Some(stream) = &mut self.incoming
            && self.received.len() < MAX_HANDOVER
        {
            match Pin::new(stream).poll_read(cx, &mut chunk) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => self.done(),
                Poll::Ready(Ok(count)) => {
                    self.decoder.extend(&chunk[..count]);
                    self.decode();
                }
                Poll::Pending => return,
            }
        }
    }

    fn decode(&mut self) {
        loop {
            match self.decoder.next_message() {
                Ok(Some((message, bytes))) => {
                    self.counters.frame(Flow::In, message.kind(), bytes);
                    self.received.push(match message {
                        Message::Peers(sent) => {
                            let records: Vec<_> = sent.iter().filter_map(|record| self.records.check(record)).collect();
                            let bad = sent.len() - records.len();
                            Received::Records { records, bad }
                        }
                        message => Received::Message(message),
                    });
                }
                Ok(None) => return,
                Err(error) => return self.malformed(error),
            }
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = std::convert::Infallible;
    type ToBehaviour = FromHandler;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn connection_keep_alive(&self) -> bool {
        // The engine decides when a link ends.
        self.stage != Stage::Done
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. }) => {
                if self.incoming_seen {
                    self.malformed(DecodeError::Invalid("a second stream on one connection"));
                } else {
                    self.incoming_seen = true;
                    self.incoming = Some(stream);
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, .. }) => {
                self.outgoing = Outgoing::Open(stream);
            }
            // The other side does not speak this protocol, or not in time.
            ConnectionEvent::DialUpgradeError(DialUpgradeError { .. }) => self.broken(),
            _ => {}
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if let Outgoing::Unasked = self.outgoing {
            self.outgoing = Outgoing::Asked;
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.write(cx);
        self.read(cx);
        let event = if !self.received.is_empty() {
            FromHandler::Received(std::mem::take(&mut self.received))
        } else if let Some(end) = self.end.take() {
            end
        } else if self.outbox.take_relief() {
            FromHandler::Relieved
        } else {
            return Poll::Pending;
        };
        Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event))
    }
}
