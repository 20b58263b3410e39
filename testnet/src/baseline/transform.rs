//! Counts the copies of transactions that come in, before gossipsub sorts out which are new.

use std::{io, sync::Arc};

use libp2p::gossipsub::{DataTransform, Message, RawMessage, TopicHash};
use starling_node::net::{Counters, Flow};
use starling_wire::Kind;

/// Changes nothing; counts each message received as a PUSH, which is what it is to Starling.
#[derive(Debug)]
pub(super) struct Counting {
    counters: Arc<Counters>,
}

impl Counting {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters }
    }
}

impl DataTransform for Counting {
    fn inbound_transform(&self, raw: RawMessage) -> io::Result<Message> {
        self.counters.frame(Flow::In, Kind::Push, raw.data.len());
        Ok(Message { source: raw.source, data: raw.data, sequence_number: raw.sequence_number, topic: raw.topic })
    }

    fn outbound_transform(&self, _topic: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}
