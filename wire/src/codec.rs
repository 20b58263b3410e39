//! The one place that knows bincode.
//!
//! Integers are fixed-width and little-endian, lists and byte strings carry a u32 count, options a 0/1 tag. Every
//! value so has exactly one encoding: bincode's variable-width integers, which accept longer forms of small numbers,
//! are off, and bytes after the value are refused. Nothing is allocated for a count that is above its limit or above the
//! number of bytes that are left.

use bincode::{
    BorrowDecode, Decode, Encode,
    config::{Configuration, Fixint, Limit, LittleEndian},
    de::{
        BorrowDecoder, Decoder,
        read::{BorrowReader, Reader},
    },
    enc::Encoder,
    error::{DecodeError as BincodeDecodeError, EncodeError},
};

use crate::{error::DecodeError, limits::MAX_BODY};

const CONFIG: Configuration<LittleEndian, Fixint, Limit<MAX_BODY>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<MAX_BODY>();

/// Encodes a value whose parts are within their limits.
pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "encoding into a Vec fails only for types this crate does not put on the wire"
    )]
    bincode::encode_to_vec(value, CONFIG).expect("encoding into memory")
}

/// Decodes a value that must fill `bytes` exactly.
pub(crate) fn decode<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let (value, used) = bincode::borrow_decode_from_slice(bytes, CONFIG).map_err(|error| translate(&error))?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(DecodeError::Trailing(left)),
    }
}

fn translate(error: &BincodeDecodeError) -> DecodeError {
    match error {
        BincodeDecodeError::UnexpectedEnd { .. } => DecodeError::Truncated,
        BincodeDecodeError::LimitExceeded => DecodeError::TooLong { what: "message", len: MAX_BODY + 1, max: MAX_BODY },
        BincodeDecodeError::ArrayLengthMismatch { required, found } => {
            DecodeError::TooLong { what: "list", len: *found, max: *required }
        }
        BincodeDecodeError::Other(what) => DecodeError::Invalid(what),
        _ => DecodeError::Invalid("a tag that has no meaning"),
    }
}

/// Reads a u32 count, refuses one over `max`, and one that promises more than the bytes that are left (every item
/// takes at least a byte).
fn read_count<D: Decoder>(decoder: &mut D, max: usize) -> Result<usize, BincodeDecodeError> {
    let count = u32::decode(decoder)? as usize;
    if count > max {
        return Err(BincodeDecodeError::ArrayLengthMismatch { required: max, found: count });
    }
    if decoder.reader().peek_read(count).is_none() {
        return Err(BincodeDecodeError::UnexpectedEnd { additional: count });
    }
    Ok(count)
}

/// A byte string of at most `max` bytes, copied out of the message it stands in.
pub(crate) fn decode_bytes<D: Decoder>(decoder: &mut D, max: usize) -> Result<Vec<u8>, BincodeDecodeError> {
    let count = read_count(decoder, max)?;
    decoder.claim_bytes_read(count)?;
    let mut bytes = vec![0; count];
    decoder.reader().read(&mut bytes)?;
    Ok(bytes)
}

/// A list of at most `MAX` items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundedVec<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for BoundedVec<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> BoundedVec<T, MAX> {
    /// Takes a list; gives it back if it has more than `MAX` items.
    pub fn new(items: Vec<T>) -> Result<Self, Vec<T>> {
        if items.len() <= MAX { Ok(Self(items)) } else { Err(items) }
    }

    /// Cuts a list of any length into lists within the bound.
    pub fn chunks(items: &[T]) -> impl Iterator<Item = Self> + '_
    where
        T: Clone,
    {
        items.chunks(MAX).map(|chunk| Self(chunk.to_vec()))
    }

    /// The items.
    pub fn into_inner(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> std::ops::Deref for BoundedVec<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Encode, const MAX: usize> Encode for BoundedVec<T, MAX> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.len() as u32).encode(encoder)?;
        self.0.iter().try_for_each(|item| item.encode(encoder))
    }
}

impl<Context, T: Decode<Context>, const MAX: usize> Decode<Context> for BoundedVec<T, MAX> {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, BincodeDecodeError> {
        let count = read_count(decoder, MAX)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(T::decode(decoder)?);
        }
        Ok(Self(items))
    }
}

impl<'de, Context, T: Decode<Context>, const MAX: usize> BorrowDecode<'de, Context> for BoundedVec<T, MAX> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(decoder: &mut D) -> Result<Self, BincodeDecodeError> {
        Self::decode(decoder)
    }
}

/// A byte string of at most `MAX` bytes, borrowed from the message it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slice<'a, const MAX: usize>(pub(crate) &'a [u8]);

impl<const MAX: usize> Encode for Slice<'_, MAX> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        use bincode::enc::write::Writer;
        (self.0.len() as u32).encode(encoder)?;
        encoder.writer().write(self.0)
    }
}

impl<'de, Context, const MAX: usize> BorrowDecode<'de, Context> for Slice<'de, MAX> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(decoder: &mut D) -> Result<Self, BincodeDecodeError> {
        let count = read_count(decoder, MAX)?;
        decoder.claim_bytes_read(count)?;
        decoder.borrow_reader().take_bytes(count).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type List = BoundedVec<u16, 3>;

    #[test]
    fn one_form_per_value() {
        let list = List::new(vec![1, 2]).unwrap();
        let bytes = encode(&list);
        assert_eq!(bytes, [2, 0, 0, 0, 1, 0, 2, 0]);
        assert_eq!(decode::<List>(&bytes), Ok(list));
        assert_eq!(decode::<List>(&[&bytes[..], &[0]].concat()), Err(DecodeError::Trailing(1)));
        assert_eq!(decode::<List>(&bytes[..7]), Err(DecodeError::Truncated));
        assert!(matches!(decode::<Option<u8>>(&[2, 0]), Err(DecodeError::Invalid(_))));
    }

    #[test]
    fn counts_are_refused_before_anything_is_allocated() {
        let over = [4, 0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0];
        assert_eq!(decode::<List>(&over), Err(DecodeError::TooLong { what: "list", len: 4, max: 3 }));
        let huge = u32::MAX.to_le_bytes();
        assert!(matches!(decode::<Slice<'_, { usize::MAX }>>(&huge), Err(DecodeError::Truncated)));
        assert_eq!(List::new(vec![0; 4]), Err(vec![0; 4]));
    }
}
