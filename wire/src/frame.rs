//! Cutting a stream of bytes into messages.

use bytes::{Buf, BytesMut};

use crate::{
    error::DecodeError,
    limits::{FRAME_HEADER, MAX_BODY},
    message::{Kind, Message},
};

/// Collects bytes as they come and gives out messages as they complete.
///
/// It holds at most one incomplete frame (see [`crate::limits::MAX_BODY`]) besides what one `extend` adds, as long as
/// the caller takes all messages before it adds more. After an error the stream is beyond repair: close it.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: BytesMut,
}

impl FrameDecoder {
    /// Adds bytes that were read from the stream.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message with its frame's length in bytes, or `None` until more bytes come.
    pub fn next_message(&mut self) -> Result<Option<(Message, usize)>, DecodeError> {
        let Some((&header, rest)) = self.buffer.split_first_chunk::<FRAME_HEADER>() else {
            return Ok(None);
        };
        let [a, b, c, d, kind] = header;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        let kind = Kind::try_from(kind)?;
        let (min, max) = kind.body_range();
        if len > max.min(MAX_BODY) {
            return Err(DecodeError::TooLong { what: kind.name(), len, max });
        }
        if len < min {
            return Err(DecodeError::Truncated);
        }
        let Some(body) = rest.get(..len) else {
            return Ok(None);
        };
        let message = Message::decode(kind, body)?;
        let frame = FRAME_HEADER + len;
        self.buffer.advance(frame);
        if self.buffer.is_empty() {
            // A block's frame must not leave its buffer behind on every link.
            self.buffer = BytesMut::new();
        }
        Ok(Some((message, frame)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BoundedVec, Goodbye, ShortId};
    use proptest::prelude::*;

    fn ids(count: usize) -> Message {
        Message::IHave(BoundedVec::new((0..count).map(|i| ShortId([i as u8; 8])).collect()).unwrap())
    }

    proptest! {
        #[test]
        fn messages_survive_any_cutting(counts in prop::collection::vec(0usize..50, 1..10), chunk in 1usize..100) {
            let messages: Vec<_> = counts.into_iter().map(ids).collect();
            let mut bytes = BytesMut::new();
            let lengths: Vec<_> = messages.iter().map(|message| message.encode(&mut bytes)).collect();
            let mut decoder = FrameDecoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(chunk) {
                decoder.extend(piece);
                while let Some(message) = decoder.next_message().unwrap() {
                    found.push(message);
                }
            }
            prop_assert_eq!(found, messages.into_iter().zip(lengths).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = FrameDecoder::default();
            decoder.extend(&bytes);
            while let Ok(Some((message, len))) = decoder.next_message() {
                let mut again = BytesMut::new();
                prop_assert_eq!(message.encode(&mut again), len);
            }
        }
    }

    #[test]
    fn lengths_and_kinds_are_refused_before_the_body_comes() {
        let refuse = |header: &[u8]| {
            let mut decoder = FrameDecoder::default();
            decoder.extend(header);
            decoder.next_message().unwrap_err()
        };
        assert_eq!(refuse(&[0, 0, 0, 0, 99]), DecodeError::UnknownKind(99));
        assert!(matches!(refuse(&[0xff, 0xff, 0xff, 0xff, 2]), DecodeError::TooLong { what: "push", .. }));
        assert!(matches!(refuse(&[2, 0, 0, 0, 1]), DecodeError::TooLong { what: "goodbye", .. }));
        assert_eq!(refuse(&[1, 0, 0, 0, 2]), DecodeError::Truncated);
        assert!(matches!(refuse(&[1, 0, 0, 0, 1, 200]), DecodeError::Invalid(_)));
        let mut bytes = BytesMut::new();
        Message::Goodbye(Goodbye::TooManyPeers).encode(&mut bytes);
        assert_eq!(&bytes[..], [1, 0, 0, 0, 1, 1]);
    }
}
