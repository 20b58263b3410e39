//! The messages peers exchange, each in one frame: length (u32), kind (u8), body.

use bincode::{Decode, Encode};
use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    block::SignedBlock,
    codec::{self, BoundedVec, Slice},
    error::DecodeError,
    ids::{GenesisId, NetworkId, ShortId, TxId},
    limits::{
        BLOCK_OVERHEAD, LABELS, MAX_BLOCK, MAX_BLOCKS_PER_REQUEST, MAX_IDS, MAX_LISTED_REPORTS, MAX_RECORD,
        MAX_RECORDS, MAX_SYMBOLS, MAX_TX, REPORT, SAMPLE, TX_OVERHEAD,
    },
    reconcile::{Digest, GetSymbols, Sketch},
    report::SignedReport,
    sketch::Symbol,
    tx::SignedTx,
};

/// A message from one peer to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// First on every stream: who speaks which protocol for which network.
    Hello(Hello),
    /// Last on a stream that is closed on purpose.
    Goodbye(Goodbye),
    /// A transaction, sent unasked or in answer to an [`Message::IWant`].
    Push {
        /// The way it came: see [`Labels`].
        labels: Labels,
        /// The transaction.
        tx: SignedTx,
    },
    /// Transactions the sender has and offers.
    IHave(BoundedVec<ShortId, MAX_IDS>),
    /// Transactions the sender asks for, out of those announced to it.
    IWant(BoundedVec<ShortId, MAX_IDS>),
    /// Asks for [`Message::Peers`].
    GetPeers,
    /// Signed peer records (libp2p RFC 0002 and 0003 envelopes), unchecked.
    Peers(BoundedVec<Record, MAX_RECORDS>),
    /// A block, sent unasked or in answer to a [`Message::GetBlocks`].
    Block(SignedBlock),
    /// Asks for blocks by height.
    GetBlocks(GetBlocks),
    /// Asks for transactions of a block by their full ids.
    GetBlockTxs(GetBlockTxs),
    /// One transaction of a block, in answer to a [`Message::GetBlockTxs`].
    BlockTx(SignedTx),
    /// Transactions the receiver pushed that were not needed: others had brought them before.
    Prune(BoundedVec<ShortId, MAX_IDS>),
    /// The sender lives, and had nothing else to say for a while.
    Alive,
    /// In place of [`Message::Hello`], from who only wants to exchange [`Message::Peers`] and then closes.
    Probe(Hello),
    /// What the sender's pool holds, in short: begins a comparison.
    Digest(Digest),
    /// What the receiver of a [`Message::Digest`] holds, in coded symbols.
    Sketch(Sketch),
    /// Asks for further symbols of a [`Message::Sketch`].
    GetSymbols(GetSymbols),
    /// Which reports of an epoch the sender holds, in short: begins an exchange.
    ReportDigest(ReportDigest),
    /// The reports that the sender holds, in answer to a [`Message::ReportDigest`] that differs.
    ReportList(ReportList),
    /// Asks for reports of a [`Message::ReportList`].
    GetReports(GetReports),
    /// What nodes say about themselves.
    Reports(BoundedVec<SignedReport, SAMPLE>),
}

/// The last three hops of a transaction's way, newest first: each is the byte that the relay drew for the link on which
/// the transaction reached it. A byte means nothing to anybody but the relay that drew it; what makes it useful is that
/// it stays the same for transactions that come the same way.
pub type Labels = [u8; 3];

/// See [`Message::Hello`] and [`Message::Probe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// [`crate::PROTOCOL_VERSION`].
    pub version: u16,
    /// The network's number.
    pub network: NetworkId,
    /// The network's genesis.
    pub genesis: GenesisId,
    /// Height of the sender's last block, 0 for none.
    pub height: u64,
}

/// Why a link is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    /// The node stops.
    Shutdown,
    /// The node has as many links as it wants.
    TooManyPeers,
    /// The other side speaks for another network, genesis or protocol version.
    WrongNetwork,
    /// The other side broke the protocol too often.
    Misbehaviour,
}

/// See [`Message::GetBlocks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct GetBlocks {
    /// Height of the first block.
    pub from: u64,
    /// How many, at least 1 and at most [`MAX_BLOCKS_PER_REQUEST`].
    pub count: u16,
}

/// See [`Message::GetBlockTxs`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GetBlockTxs {
    /// Height of the block.
    pub height: u64,
    /// Which of its transactions.
    pub ids: BoundedVec<TxId, MAX_IDS>,
}

/// See [`Message::ReportDigest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ReportDigest {
    /// The epoch.
    pub epoch: u32,
    /// The first four bytes of the highest rank that the sender has a use for.
    pub ceiling: u32,
    /// Digest of all it holds of the epoch.
    pub digest: [u8; 8],
}

/// See [`Message::ReportList`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReportList {
    /// The epoch.
    pub epoch: u32,
    /// The first four bytes of the highest rank that the sender has a use for.
    pub ceiling: u32,
    /// What the prints are made with, drawn for this message.
    pub salt: u64,
    /// A print for each report up to the other side's ceiling.
    pub prints: BoundedVec<u16, MAX_LISTED_REPORTS>,
}

/// See [`Message::GetReports`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GetReports {
    /// The epoch.
    pub epoch: u32,
    /// The list's.
    pub salt: u64,
    /// Prints out of the list.
    pub prints: BoundedVec<u16, MAX_LISTED_REPORTS>,
}

/// One signed peer record, at most [`MAX_RECORD`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record(Bytes);

impl Record {
    /// Takes an encoded envelope; `None` if it is too long.
    pub fn new(envelope: Bytes) -> Option<Self> {
        (envelope.len() <= MAX_RECORD).then_some(Self(envelope))
    }

    /// The encoded envelope.
    pub fn envelope(&self) -> &Bytes {
        &self.0
    }
}

impl Encode for Record {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        Slice::<MAX_RECORD>(&self.0).encode(encoder)
    }
}

impl<Context> Decode<Context> for Record {
    fn decode<D: bincode::de::Decoder<Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        codec::decode_bytes(decoder, MAX_RECORD).map(|bytes| Self(bytes.into()))
    }
}

/// The kinds of message; the number is the second field of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is described at its Message")]
pub enum Kind {
    Hello = 0,
    Goodbye = 1,
    Push = 2,
    IHave = 3,
    IWant = 4,
    GetPeers = 5,
    Peers = 6,
    Block = 7,
    GetBlocks = 8,
    GetBlockTxs = 9,
    BlockTx = 10,
    Prune = 11,
    Digest = 20,
    Sketch = 21,
    GetSymbols = 22,
    Alive = 40,
    Probe = 41,
    ReportDigest = 50,
    ReportList = 51,
    GetReports = 52,
    Reports = 53,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 21] = [
        Self::Hello,
        Self::Goodbye,
        Self::Push,
        Self::IHave,
        Self::IWant,
        Self::GetPeers,
        Self::Peers,
        Self::Block,
        Self::GetBlocks,
        Self::GetBlockTxs,
        Self::BlockTx,
        Self::Prune,
        Self::Digest,
        Self::Sketch,
        Self::GetSymbols,
        Self::Alive,
        Self::Probe,
        Self::ReportDigest,
        Self::ReportList,
        Self::GetReports,
        Self::Reports,
    ];

    /// The place in [`Self::ALL`]; numbers have gaps.
    pub fn index(self) -> usize {
        // All are in it.
        Self::ALL.iter().position(|kind| *kind == self).unwrap_or_default()
    }

    /// The name used in metrics and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Goodbye => "goodbye",
            Self::Push => "push",
            Self::IHave => "ihave",
            Self::IWant => "iwant",
            Self::GetPeers => "get_peers",
            Self::Peers => "peers",
            Self::Block => "block",
            Self::GetBlocks => "get_blocks",
            Self::GetBlockTxs => "get_block_txs",
            Self::BlockTx => "block_tx",
            Self::Prune => "prune",
            Self::Digest => "digest",
            Self::Sketch => "sketch",
            Self::GetSymbols => "get_symbols",
            Self::Alive => "alive",
            Self::Probe => "probe",
            Self::ReportDigest => "report_digest",
            Self::ReportList => "report_list",
            Self::GetReports => "get_reports",
            Self::Reports => "reports",
        }
    }

    /// The shortest and the longest body, in bytes. A frame outside them is refused before its body is read.
    pub(crate) fn body_range(self) -> (usize, usize) {
        match self {
            Self::Hello | Self::Probe => (46, 46),
            Self::Goodbye => (1, 1),
            Self::Push => (LABELS + TX_OVERHEAD, LABELS + MAX_TX),
            Self::BlockTx => (TX_OVERHEAD, MAX_TX),
            Self::IHave | Self::IWant | Self::Prune => (4, 4 + 8 * MAX_IDS),
            Self::GetPeers | Self::Alive => (0, 0),
            Self::Peers => (4, 4 + MAX_RECORDS * (4 + MAX_RECORD)),
            Self::Block => (BLOCK_OVERHEAD, MAX_BLOCK),
            Self::GetBlocks => (10, 10),
            Self::GetBlockTxs => (12, 12 + 32 * MAX_IDS),
            Self::Digest => (33, 33),
            Self::Sketch => (20, 20 + Symbol::BYTES * MAX_SYMBOLS),
            Self::GetSymbols => (14, 14),
            Self::ReportDigest => (16, 16),
            Self::ReportList => (20, 20 + 2 * MAX_LISTED_REPORTS),
            Self::GetReports => (16, 16 + 2 * MAX_LISTED_REPORTS),
            Self::Reports => (4, 4 + REPORT * SAMPLE),
        }
    }
}

impl TryFrom<u8> for Kind {
    type Error = DecodeError;

    fn try_from(number: u8) -> Result<Self, DecodeError> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number).ok_or(DecodeError::UnknownKind(number))
    }
}

impl Message {
    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Goodbye(_) => Kind::Goodbye,
            Self::Push { .. } => Kind::Push,
            Self::IHave(_) => Kind::IHave,
            Self::IWant(_) => Kind::IWant,
            Self::GetPeers => Kind::GetPeers,
            Self::Peers(_) => Kind::Peers,
            Self::Block(_) => Kind::Block,
            Self::GetBlocks(_) => Kind::GetBlocks,
            Self::GetBlockTxs(_) => Kind::GetBlockTxs,
            Self::BlockTx(_) => Kind::BlockTx,
            Self::Prune(_) => Kind::Prune,
            Self::Digest(_) => Kind::Digest,
            Self::Sketch(_) => Kind::Sketch,
            Self::GetSymbols(_) => Kind::GetSymbols,
            Self::Alive => Kind::Alive,
            Self::Probe(_) => Kind::Probe,
            Self::ReportDigest(_) => Kind::ReportDigest,
            Self::ReportList(_) => Kind::ReportList,
            Self::GetReports(_) => Kind::GetReports,
            Self::Reports(_) => Kind::Reports,
        }
    }

    /// The length of the message's frame in bytes.
    pub fn frame_len(&self) -> usize {
        let body = match self {
            Self::Hello(_) | Self::Probe(_) => 46,
            Self::Goodbye(_) => 1,
            Self::Push { tx, .. } => LABELS + tx.bytes().len(),
            Self::BlockTx(tx) => tx.bytes().len(),
            Self::IHave(ids) | Self::IWant(ids) | Self::Prune(ids) => 4 + 8 * ids.len(),
            Self::GetPeers | Self::Alive => 0,
            Self::Peers(records) => 4 + records.iter().map(|record| 4 + record.0.len()).sum::<usize>(),
            Self::Block(block) => block.bytes().len(),
            Self::GetBlocks(_) => 10,
            Self::GetBlockTxs(request) => 12 + 32 * request.ids.len(),
            Self::Digest(_) => 33,
            Self::Sketch(sketch) => 20 + Symbol::BYTES * sketch.symbols.len(),
            Self::GetSymbols(_) => 14,
            Self::ReportDigest(_) => 16,
            Self::ReportList(list) => 20 + 2 * list.prints.len(),
            Self::GetReports(request) => 16 + 2 * request.prints.len(),
            Self::Reports(reports) => 4 + REPORT * reports.len(),
        };
        crate::limits::FRAME_HEADER + body
    }

    /// Appends the message's frame to `out` and returns its length.
    pub fn encode(&self, out: &mut BytesMut) -> usize {
        match self {
            Self::Hello(hello) | Self::Probe(hello) => self.put(out, &[&codec::encode(hello)]),
            Self::Goodbye(reason) => self.put(out, &[&[*reason as u8]]),
            Self::Push { labels, tx } => self.put(out, &[labels, tx.bytes()]),
            Self::BlockTx(tx) => self.put(out, &[tx.bytes()]),
            Self::IHave(ids) | Self::IWant(ids) | Self::Prune(ids) => self.put(out, &[&codec::encode(ids)]),
            Self::GetPeers | Self::Alive => self.put(out, &[]),
            Self::Peers(records) => self.put(out, &[&codec::encode(records)]),
            Self::Block(block) => self.put(out, &[block.bytes()]),
            Self::GetBlocks(request) => self.put(out, &[&codec::encode(request)]),
            Self::GetBlockTxs(request) => self.put(out, &[&codec::encode(request)]),
            Self::Digest(digest) => self.put(out, &[&codec::encode(digest)]),
            Self::Sketch(sketch) => self.put(out, &[&codec::encode(sketch)]),
            Self::GetSymbols(request) => self.put(out, &[&codec::encode(request)]),
            Self::ReportDigest(digest) => self.put(out, &[&codec::encode(digest)]),
            Self::ReportList(list) => self.put(out, &[&codec::encode(list)]),
            Self::GetReports(request) => self.put(out, &[&codec::encode(request)]),
            Self::Reports(reports) => self.put(out, &[&codec::encode(reports)]),
        }
    }

    /// Appends a frame whose body is the given parts.
    fn put(&self, out: &mut BytesMut, parts: &[&[u8]]) -> usize {
        let body: usize = parts.iter().map(|part| part.len()).sum();
        out.put_u32_le(body as u32);
        out.put_u8(self.kind() as u8);
        parts.iter().for_each(|part| out.put_slice(part));
        crate::limits::FRAME_HEADER + body
    }

    pub(crate) fn decode(kind: Kind, body: &[u8]) -> Result<Self, DecodeError> {
        Ok(match kind {
            Kind::Hello => Self::Hello(codec::decode(body)?),
            Kind::Goodbye => Self::Goodbye(Goodbye::try_from(codec::decode::<u8>(body)?)?),
            Kind::Push => {
                let (labels, tx) = body.split_first_chunk::<LABELS>().ok_or(DecodeError::Truncated)?;
                Self::Push { labels: *labels, tx: SignedTx::decode(tx)? }
            }
            Kind::IHave => Self::IHave(codec::decode(body)?),
            Kind::IWant => Self::IWant(codec::decode(body)?),
            Kind::GetPeers => Self::GetPeers,
            Kind::Peers => Self::Peers(codec::decode(body)?),
            Kind::Block => Self::Block(SignedBlock::decode(body)?),
            Kind::GetBlocks => {
                let request: GetBlocks = codec::decode(body)?;
                if !(1..=MAX_BLOCKS_PER_REQUEST).contains(&request.count) {
                    return Err(DecodeError::Invalid("a request for no block, or for too many"));
                }
                Self::GetBlocks(request)
            }
            Kind::GetBlockTxs => Self::GetBlockTxs(codec::decode(body)?),
            Kind::BlockTx => Self::BlockTx(SignedTx::decode(body)?),
            Kind::Prune => Self::Prune(codec::decode(body)?),
            Kind::Digest => {
                let digest: Digest = codec::decode(body)?;
                if usize::from(digest.wanted) > MAX_SYMBOLS {
                    return Err(DecodeError::Invalid("a digest that wants too many symbols"));
                }
                Self::Digest(digest)
            }
            Kind::Sketch => Self::Sketch(codec::decode(body)?),
            Kind::GetSymbols => {
                let request: GetSymbols = codec::decode(body)?;
                if !(1..=MAX_SYMBOLS).contains(&usize::from(request.count)) {
                    return Err(DecodeError::Invalid("a request for no symbol, or for too many"));
                }
                Self::GetSymbols(request)
            }
            Kind::Alive => Self::Alive,
            Kind::Probe => Self::Probe(codec::decode(body)?),
            Kind::ReportDigest => Self::ReportDigest(codec::decode(body)?),
            Kind::ReportList => Self::ReportList(codec::decode(body)?),
            Kind::GetReports => Self::GetReports(codec::decode(body)?),
            Kind::Reports => Self::Reports(codec::decode(body)?),
        })
    }
}

impl TryFrom<u8> for Goodbye {
    type Error = DecodeError;

    fn try_from(code: u8) -> Result<Self, DecodeError> {
        [Self::Shutdown, Self::TooManyPeers, Self::WrongNetwork, Self::Misbehaviour]
            .get(usize::from(code))
            .copied()
            .ok_or(DecodeError::Invalid("a goodbye for an unknown reason"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocols_table_has_every_kind_with_its_number_and_lengths() {
        let protocol = include_str!("../PROTOCOL.md");
        for kind in Kind::ALL {
            let first = format!("| {} | {} |", kind.name().to_uppercase(), kind as u8);
            let row = protocol.lines().find(|line| line.starts_with(&first)).expect(&first);
            let lengths: Vec<String> = row.split(" | ").skip(3).take(2).map(|cell| cell.replace(' ', "")).collect();
            let (shortest, longest) = kind.body_range();
            assert_eq!(lengths, [shortest.to_string(), longest.to_string()], "{row}");
        }
    }
}
