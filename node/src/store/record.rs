//! How transactions, peers and blocks stand in the file.
//!
//! Transactions and peers begin with a mark of eight bytes, so that they are found even in a file whose tables cannot
//! be read any more. Numbers are little-endian; lengths are 4 bytes before what they measure.

use bytes::Bytes;
use starling_mempool::Origin;
use starling_wire::{SignedBlock, SignedTx, limits::MAX_RECORD};

/// Begins a transaction.
pub(super) const TX_MARK: [u8; 8] = *b"\x9eST tx\x01\x0a";

/// Begins a peer.
pub(super) const PEER_MARK: [u8; 8] = *b"\x9eST pr\x01\x0a";

/// A transaction of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TxRecord {
    pub(super) origin: Origin,
    /// When it entered the pool, in milliseconds since 1970.
    pub(super) since_ms: u64,
    pub(super) tx: SignedTx,
}

/// By how much a clock may have been set back since a peer was reached: an hour.
const CLOCK_ERROR_MS: u64 = 3_600_000;

/// A node that could be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredPeer {
    /// When it last could, in milliseconds since 1970.
    pub(super) since_ms: u64,
    /// Its signed record.
    pub(super) envelope: Bytes,
}

impl TxRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let origin = match self.origin {
            Origin::Local => 1,
            Origin::Peer => 0,
        };
        let mut bytes = [&TX_MARK[..], &[origin], &self.since_ms.to_le_bytes()].concat();
        put(&mut bytes, self.tx.bytes());
        bytes
    }

    /// Reads one at the beginning of `bytes`; what follows it does not matter.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes.strip_prefix(&TX_MARK)?);
        let origin = match reader.take(1)? {
            [0] => Origin::Peer,
            [1] => Origin::Local,
            _ => return None,
        };
        Some(Self { origin, since_ms: reader.u64()?, tx: SignedTx::decode(reader.counted()?).ok()? })
    }
}

impl StoredPeer {
    /// Orders peers by when they were reached. Those of a time to come, when a clock was wrong, come before all others.
    pub(super) fn recency(&self, now_ms: u64) -> (bool, u64) {
        (self.since_ms <= now_ms.saturating_add(CLOCK_ERROR_MS), self.since_ms)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = [&PEER_MARK[..], &self.since_ms.to_le_bytes()].concat();
        put(&mut bytes, &self.envelope);
        bytes
    }

    /// Reads one at the beginning of `bytes`; what follows it does not matter.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes.strip_prefix(&PEER_MARK)?);
        let (since_ms, envelope) = (reader.u64()?, reader.counted()?);
        // Before it is copied: whoever mends a file looks at everything that begins like a peer, payloads included.
        (envelope.len() <= MAX_RECORD).then(|| Self { since_ms, envelope: Bytes::copy_from_slice(envelope) })
    }
}

/// A block with its transactions.
pub(super) fn encode_block<'a>(block: &SignedBlock, txs: impl IntoIterator<Item = &'a SignedTx>) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, block.bytes());
    for tx in txs {
        put(&mut bytes, tx.bytes());
    }
    bytes
}

/// The block back without its transactions, which are not looked at.
pub(super) fn decode_block_alone(bytes: &[u8]) -> Option<SignedBlock> {
    SignedBlock::decode(Reader(bytes).counted()?).ok()
}

/// The block back, if all of it is there: its transactions are those it names, in their order.
pub(super) fn decode_block(bytes: &[u8]) -> Option<(SignedBlock, Vec<SignedTx>)> {
    let mut reader = Reader(bytes);
    let block = SignedBlock::decode(reader.counted()?).ok()?;
    let txs = block.tx_ids().iter().map(|id| {
        let tx = SignedTx::decode(reader.counted()?).ok()?;
        (tx.id() == *id).then_some(tx)
    });
    let txs = txs.collect::<Option<Vec<_>>>()?;
    reader.0.is_empty().then_some((block, txs))
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    // Everything that is kept came in a message, which is far shorter than 4 GiB.
    bytes.extend((part.len() as u32).to_le_bytes());
    bytes.extend(part);
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(count as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{block, tx};

    #[test]
    fn records_round_trip_and_no_part_of_one_is_one() {
        let record = TxRecord { origin: Origin::Local, since_ms: 7, tx: (*tx(0, 0)).clone() };
        let peer = StoredPeer { since_ms: 9, envelope: Bytes::from_static(b"signed") };
        let (txs, encoded_tx, encoded_peer) = ([tx(0, 0), tx(1, 0)], record.encode(), peer.encode());
        let signed = block(1, None, &txs);
        let encoded_block = encode_block(&signed, txs.iter().map(|tx| &**tx));
        assert_eq!(TxRecord::decode(&[&encoded_tx[..], b"more"].concat()), Some(record));
        assert_eq!(StoredPeer::decode(&encoded_peer), Some(peer));
        let (decoded, contents) = decode_block(&encoded_block).unwrap();
        assert_eq!(decode_block_alone(&encoded_block), Some(decoded.clone()));
        assert_eq!((decoded, contents), ((*signed).clone(), txs.iter().map(|tx| (**tx).clone()).collect()));
        assert!((0..encoded_tx.len()).all(|end| TxRecord::decode(&encoded_tx[..end]).is_none()));
        assert!((0..encoded_peer.len()).all(|end| StoredPeer::decode(&encoded_peer[..end]).is_none()));
        assert!((0..encoded_block.len()).all(|end| decode_block(&encoded_block[..end]).is_none()));
        assert!(decode_block(&encode_block(&signed, txs.iter().rev().map(|tx| &**tx))).is_none(), "another order");
        assert!(decode_block(&[&encoded_block[..], &[0]].concat()).is_none());
    }
}
