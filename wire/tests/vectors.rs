//! Checks the golden vectors in `vectors/` through the crate's public API, in both directions: the fields give the
//! bytes, and the bytes give the fields.
//!
//! Each file is also compared with what the generators below make, so that neither can change alone. To rewrite the
//! files after a deliberate change of the format, run the tests with `STARLING_BLESS=1` in the environment and review
//! the difference; without it the files are only compared.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken vector is a failed test")]

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use curve25519_dalek::{
    EdwardsPoint, Scalar,
    constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use starling_wire::{
    AccountId, Block, BlockId, BoundedVec, DecodeError, Digest, Figures, Fingerprint, FrameDecoder, GenesisId,
    GetBlocks, GetReports, GetSymbols, Goodbye, Hello, Kind, Message, NetworkId, NodeId, PROTOCOL_VERSION, Record,
    Report, ReportDigest, ReportList, SecretKey, ShortId, Signature, SignatureError, SignedBlock, SignedReport,
    SignedTx, Sketch, Slice, Transaction, TxId, Unverified,
    limits::{
        BLOCK_OVERHEAD, MAX_BLOCK, MAX_BLOCK_TXS, MAX_FILL, MAX_IDS, MAX_LISTED_REPORTS, MAX_PAYLOAD, MAX_RATE,
        MAX_RECORD, MAX_RECORDS, MAX_SYMBOLS, MAX_TX, REPORT, SAMPLE,
    },
    report,
    sketch::{Encoder, Symbol},
    verify, verify_batch,
};

/// The seed of RFC 8032's first test, so that the public key can be recognised.
const RFC_8032_SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

// ---- The form of the files ----

/// A byte string: `0x` and hex, or for one with long runs of equal bytes a list of such strings and of
/// `{"fill": "0xNN", "length": n}`, to be joined.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hex(Vec<u8>);

/// Runs of at least this many equal bytes are written as a fill.
const RUN: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Pieces {
    One(String),
    Many(Vec<Piece>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Piece {
    Text(String),
    Fill { fill: String, length: usize },
}

fn hex_text(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn from_hex_text(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.strip_prefix("0x").ok_or_else(|| format!("`{text}` does not start with 0x"))?;
    hex::decode(digits).map_err(|error| error.to_string())
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        for run in self.0.chunk_by(|a, b| a == b) {
            if run.len() < RUN {
                plain.extend_from_slice(run);
                continue;
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(hex_text(&std::mem::take(&mut plain))));
            }
            pieces.push(Piece::Fill { fill: hex_text(&run[..1]), length: run.len() });
        }
        if pieces.is_empty() {
            return Pieces::One(hex_text(&plain)).serialize(serializer);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(hex_text(&plain)));
        }
        Pieces::Many(pieces).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pieces = match Pieces::deserialize(deserializer)? {
            Pieces::One(text) => vec![Piece::Text(text)],
            Pieces::Many(pieces) => pieces,
        };
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => bytes.extend(from_hex_text(&text).map_err(serde::de::Error::custom)?),
                Piece::Fill { fill, length } => {
                    let fill = from_hex_text(&fill).map_err(serde::de::Error::custom)?;
                    let &[byte] = fill.as_slice() else {
                        return Err(serde::de::Error::custom("a fill is one byte"));
                    };
                    bytes.extend(std::iter::repeat_n(byte, length));
                }
            }
        }
        Ok(Self(bytes))
    }
}

/// A u64 in decimal as a string: a JSON number above 2^53 loses digits in many readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Dec(u64);

impl TryFrom<String> for Dec {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<Dec> for String {
    fn from(number: Dec) -> Self {
        number.0.to_string()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<T> {
    about: String,
    vectors: Vec<T>,
}

/// Compares a file with what its generator makes (or rewrites it, see the top), then checks each vector as read back
/// from the file.
fn golden<T: Serialize + DeserializeOwned>(name: &str, about: &str, vectors: Vec<T>, check: impl Fn(&T)) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    let text = serde_json::to_string_pretty(&File { about: about.to_owned(), vectors }).unwrap() + "\n";
    if std::env::var_os("STARLING_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == text, "{name} differs from its generator; see the top of tests/vectors.rs");
    let file: File<T> = serde_json::from_str(&found).unwrap();
    file.vectors.iter().for_each(check);
}

fn secret(seed: &Hex) -> SecretKey {
    SecretKey::from_seed(&array(&seed.0))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

fn list<T, const MAX: usize>(items: Vec<T>) -> BoundedVec<T, MAX> {
    BoundedVec::new(items).unwrap_or_else(|_| panic!("a list over its limit"))
}

// ---- Transactions ----

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TxVector {
    name: String,
    seed: Hex,
    network: u32,
    sender: AccountId,
    nonce: Dec,
    fee: Dec,
    recipient: AccountId,
    amount: Dec,
    valid_until: Option<Dec>,
    payload: Hex,
    signing_hash: Hex,
    signature: Hex,
    encoded: Hex,
    id: TxId,
    short_id: ShortId,
}

impl TxVector {
    fn new(name: &str, seed: &[u8; 32], transaction: Transaction) -> Self {
        let signed = transaction.clone().sign(&SecretKey::from_seed(seed)).unwrap();
        Self {
            name: name.to_owned(),
            seed: Hex(seed.to_vec()),
            network: transaction.network.0,
            sender: transaction.sender,
            nonce: Dec(transaction.nonce),
            fee: Dec(transaction.fee),
            recipient: transaction.recipient,
            amount: Dec(transaction.amount),
            valid_until: transaction.valid_until.map(Dec),
            payload: Hex(transaction.payload.to_vec()),
            signing_hash: Hex(transaction.signing_hash().unwrap().to_vec()),
            signature: Hex(signed.signature().0.to_vec()),
            encoded: Hex(signed.bytes().to_vec()),
            id: signed.id(),
            short_id: signed.short_id(),
        }
    }

    fn transaction(&self) -> Transaction {
        Transaction {
            network: NetworkId(self.network),
            sender: self.sender,
            nonce: self.nonce.0,
            fee: self.fee.0,
            recipient: self.recipient,
            amount: self.amount.0,
            valid_until: self.valid_until.map(|height| height.0),
            payload: self.payload.0.clone().into(),
        }
    }

    fn check(&self) {
        let name = &self.name;
        let transaction = self.transaction();
        assert_eq!(secret(&self.seed).account(), self.sender, "{name}");
        assert_eq!(transaction.signing_hash().unwrap()[..], self.signing_hash.0, "{name}");
        let signed = transaction.clone().sign(&secret(&self.seed)).unwrap();
        assert_eq!(signed.bytes(), &self.encoded.0, "{name}");
        assert_eq!(signed.signature().0[..], self.signature.0, "{name}");

        let decoded = SignedTx::decode(&self.encoded.0).unwrap();
        assert_eq!(decoded.transaction(), &transaction, "{name}");
        assert_eq!(decoded.signature().0[..], self.signature.0, "{name}");
        assert_eq!(decoded.id(), self.id, "{name}");
        assert_eq!(decoded.short_id(), self.short_id, "{name}");
        assert!(decoded.verify().is_ok(), "{name}");
    }
}

fn transactions() -> Vec<TxVector> {
    let vector = |name, seed: [u8; 32], edit: &dyn Fn(&mut Transaction)| {
        let mut transaction = Transaction {
            network: NetworkId(1),
            sender: SecretKey::from_seed(&seed).account(),
            nonce: 0,
            fee: 10,
            recipient: SecretKey::from_seed(&[2; 32]).account(),
            amount: 1000,
            valid_until: None,
            payload: Bytes::new(),
        };
        edit(&mut transaction);
        TxVector::new(name, &seed, transaction)
    };
    vec![
        vector("empty payload, no expiry", [1; 32], &|_| {}),
        vector("empty payload, with expiry", [1; 32], &|tx| {
            (tx.nonce, tx.valid_until) = (1, Some(1000));
        }),
        vector("short payload, no expiry", [1; 32], &|tx| {
            (tx.nonce, tx.payload) = (2, Bytes::from_static(b"starling"));
        }),
        vector("short payload, with expiry", [1; 32], &|tx| {
            (tx.nonce, tx.valid_until, tx.payload) = (3, Some(0x0102_0304_0506_0708), Bytes::from_static(b"starling"));
        }),
        vector("every field distinct", array(&hex::decode(RFC_8032_SEED).unwrap()), &|tx| {
            tx.network = NetworkId(0x0403_0201);
            tx.nonce = 0x1817_1615_1413_1211;
            tx.fee = 0x2827_2625_2423_2221;
            tx.recipient = AccountId(std::array::from_fn(|i| 0x40 + i as u8));
            tx.amount = 0x3837_3635_3433_3231;
            tx.valid_until = Some(0x4847_4645_4443_4241);
            tx.payload = (0..=255).collect();
        }),
        vector("every number at its maximum", [2; 32], &|tx| {
            tx.network = NetworkId(u32::MAX);
            (tx.nonce, tx.fee, tx.amount, tx.valid_until) = (u64::MAX, u64::MAX, u64::MAX, Some(u64::MAX));
            tx.recipient = AccountId([0xff; 32]);
        }),
        vector("every number zero", [2; 32], &|tx| {
            tx.network = NetworkId(0);
            (tx.fee, tx.amount, tx.valid_until) = (0, 0, Some(0));
            tx.recipient = AccountId([0; 32]);
        }),
        vector("longest payload, no expiry", [1; 32], &|tx| {
            (tx.nonce, tx.payload) = (4, vec![0x5a; MAX_PAYLOAD].into());
        }),
        vector("longest payload, with expiry: the longest transaction", [1; 32], &|tx| {
            (tx.nonce, tx.valid_until, tx.payload) = (5, Some(7), vec![0xa5; MAX_PAYLOAD].into());
        }),
    ]
}

#[test]
fn transactions_json() {
    let about = "Transactions: `encoded` is the signed part followed by `signature`. `seed` is the RFC 8032 private \
                 key of `sender`.";
    golden("transactions.json", about, transactions(), TxVector::check);
}

// ---- Blocks ----

/// Bytes of a header: everything before the signature.
const HEADER: usize = BLOCK_OVERHEAD - 64 - 4;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockVector {
    name: String,
    seed: Hex,
    network: u32,
    height: Dec,
    parent: BlockId,
    producer: AccountId,
    timestamp_ms: Dec,
    tx_ids: Vec<TxId>,
    tx_root: Hex,
    header: Hex,
    id: BlockId,
    signature: Hex,
    encoded: Hex,
}

impl BlockVector {
    fn new(name: &str, seed: &[u8; 32], block: Block) -> Self {
        let signed = block.clone().sign(&SecretKey::from_seed(seed));
        Self {
            name: name.to_owned(),
            seed: Hex(seed.to_vec()),
            network: block.network.0,
            height: Dec(block.height),
            parent: block.parent,
            producer: signed.header().producer,
            timestamp_ms: Dec(block.timestamp_ms),
            tx_ids: block.tx_ids.to_vec(),
            tx_root: Hex(signed.bytes()[HEADER - 32..HEADER].to_vec()),
            header: Hex(signed.bytes()[..HEADER].to_vec()),
            id: signed.id(),
            signature: Hex(signed.signature().0.to_vec()),
            encoded: Hex(signed.bytes().to_vec()),
        }
    }

    fn check(&self) {
        let name = &self.name;
        assert_eq!(secret(&self.seed).account(), self.producer, "{name}");
        let signed = Block {
            network: NetworkId(self.network),
            height: self.height.0,
            parent: self.parent,
            timestamp_ms: self.timestamp_ms.0,
            tx_ids: list(self.tx_ids.clone()),
        }
        .sign(&secret(&self.seed));
        assert_eq!(signed.bytes(), &self.encoded.0, "{name}");

        let decoded = SignedBlock::decode(&self.encoded.0).unwrap();
        assert_eq!(decoded, signed, "{name}");
        let header = decoded.header();
        assert_eq!(
            (header.network.0, header.height, header.parent, header.producer, header.timestamp_ms),
            (self.network, self.height.0, self.parent, self.producer, self.timestamp_ms.0),
            "{name}"
        );
        assert_eq!(decoded.tx_ids(), self.tx_ids, "{name}");
        assert_eq!(decoded.id(), self.id, "{name}");
        assert_eq!(decoded.signature().0[..], self.signature.0, "{name}");
        assert!(verify(Unverified::Block(decoded)).is_ok(), "{name}");

        // The hashes, spelled out.
        let root = blake3::derive_key("starling 2026-11 block transactions", &concat(&self.tx_ids));
        assert_eq!(root[..], self.tx_root.0, "{name}");
        assert_eq!(self.header.0, self.encoded.0[..HEADER], "{name}");
        assert_eq!(self.header.0[HEADER - 32..], root, "{name}");
        assert_eq!(blake3::derive_key("starling 2026-11 block", &self.header.0), self.id.0, "{name}");
    }
}

fn concat(ids: &[TxId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0).collect()
}

fn blocks() -> Vec<BlockVector> {
    let ids: Vec<_> = transactions().iter().map(|vector| vector.id).collect();
    let block = |height, parent, timestamp_ms, tx_ids| Block {
        network: NetworkId(1),
        height,
        parent,
        timestamp_ms,
        tx_ids: list(tx_ids),
    };
    let first =
        BlockVector::new("first block, no transactions", &[3; 32], block(1, BlockId::ZERO, 1_767_225_600_000, vec![]));
    let second = BlockVector::new(
        "second block, one transaction",
        &[4; 32],
        block(2, first.id, 1_767_225_602_000, vec![ids[0]]),
    );
    let third = BlockVector::new(
        "third block, the first two producers taking turns, three transactions",
        &[3; 32],
        block(3, second.id, 1_767_225_604_000, ids[1..4].to_vec()),
    );
    let extreme = BlockVector::new(
        "every number at its maximum",
        &[5; 32],
        Block {
            network: NetworkId(u32::MAX),
            ..block(u64::MAX, BlockId([0xee; 32]), u64::MAX, vec![TxId([0xff; 32])])
        },
    );
    vec![first, second, third, extreme]
}

#[test]
fn blocks_json() {
    let about = "Blocks: `encoded` is `header`, `signature`, the count of ids and `tx_ids`. `seed` is the RFC 8032 \
                 private key of `producer`; what it signs is `id`.";
    golden("blocks.json", about, blocks(), BlockVector::check);
}

// ---- Messages ----

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageVector {
    name: String,
    kind: u8,
    body_length: usize,
    message: Fields,
    frame: Hex,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Fields {
    Hello {
        version: u16,
        network: u32,
        genesis: GenesisId,
        height: Dec,
    },
    Goodbye {
        reason: u8,
    },
    Push {
        labels: [u8; 3],
        transaction: Hex,
    },
    #[serde(rename = "ihave")]
    IHave {
        short_ids: Vec<ShortId>,
    },
    #[serde(rename = "iwant")]
    IWant {
        short_ids: Vec<ShortId>,
    },
    GetPeers {},
    Peers {
        records: Vec<Hex>,
    },
    Block {
        block: Hex,
    },
    GetBlocks {
        from: Dec,
        count: u16,
    },
    GetBlockTxs {
        ids: Vec<TxId>,
    },
    BlockTx {
        transaction: Hex,
    },
    Prune {
        short_ids: Vec<ShortId>,
    },
    ReportDigest {
        epoch: u32,
        ceiling: u32,
        digest: Hex,
    },
    ReportList {
        epoch: u32,
        ceiling: u32,
        salt: Dec,
        prints: Vec<u16>,
    },
    GetReports {
        epoch: u32,
        salt: Dec,
        prints: Vec<u16>,
    },
    Reports {
        reports: Vec<Hex>,
    },
    Alive {},
    Probe {
        version: u16,
        network: u32,
        genesis: GenesisId,
        height: Dec,
    },
    Digest {
        salt: Dec,
        slice_bits: u8,
        slice_prefix: u16,
        count: u32,
        sum: Hex,
        wanted: u16,
    },
    Sketch {
        salt: Dec,
        count: u32,
        from: u32,
        symbols: Vec<Coded>,
    },
    GetSymbols {
        salt: Dec,
        from: u32,
        count: u16,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Coded {
    sum: ShortId,
    check: Hex,
    count: u8,
}

impl Coded {
    fn new(symbol: &Symbol) -> Self {
        Self { sum: ShortId(symbol.sum), check: Hex(symbol.check.to_vec()), count: symbol.count }
    }

    fn symbol(&self) -> Symbol {
        Symbol { sum: self.sum.0, check: self.check.0[..].try_into().unwrap(), count: self.count }
    }
}

impl Fields {
    fn message(&self) -> Message {
        match self {
            Self::Hello { version, network, genesis, height } => Message::Hello(Hello {
                version: *version,
                network: NetworkId(*network),
                genesis: *genesis,
                height: height.0,
            }),
            Self::Goodbye { reason } => Message::Goodbye(Goodbye::try_from(*reason).unwrap()),
            Self::Push { labels, transaction } => {
                Message::Push { labels: *labels, tx: SignedTx::decode(&transaction.0).unwrap() }
            }
            Self::IHave { short_ids } => Message::IHave(list(short_ids.clone())),
            Self::IWant { short_ids } => Message::IWant(list(short_ids.clone())),
            Self::GetPeers {} => Message::GetPeers,
            Self::Peers { records } => Message::Peers(list(
                records.iter().map(|record| Record::new(record.0.clone().into()).unwrap()).collect(),
            )),
            Self::Block { block } => Message::Block(SignedBlock::decode(&block.0).unwrap()),
            Self::GetBlocks { from, count } => Message::GetBlocks(GetBlocks { from: from.0, count: *count }),
            Self::GetBlockTxs { ids } => Message::GetBlockTxs(list(ids.clone())),
            Self::BlockTx { transaction } => Message::BlockTx(SignedTx::decode(&transaction.0).unwrap()),
            Self::Prune { short_ids } => Message::Prune(list(short_ids.clone())),
            Self::Alive {} => Message::Alive,
            Self::Probe { version, network, genesis, height } => Message::Probe(Hello {
                version: *version,
                network: NetworkId(*network),
                genesis: *genesis,
                height: height.0,
            }),
            Self::Digest { salt, slice_bits, slice_prefix, count, sum, wanted } => Message::Digest(Digest {
                salt: salt.0,
                slice: Slice::new(*slice_bits, *slice_prefix).unwrap(),
                holds: Fingerprint { count: *count, sum: u128::from_le_bytes(sum.0[..].try_into().unwrap()) },
                wanted: *wanted,
            }),
            Self::Sketch { salt, count, from, symbols } => Message::Sketch(Sketch {
                salt: salt.0,
                count: *count,
                from: *from,
                symbols: list(symbols.iter().map(Coded::symbol).collect()),
            }),
            Self::GetSymbols { salt, from, count } => {
                Message::GetSymbols(GetSymbols { salt: salt.0, from: *from, count: *count })
            }
            Self::ReportDigest { epoch, ceiling, digest } => {
                Message::ReportDigest(ReportDigest { epoch: *epoch, ceiling: *ceiling, digest: array(&digest.0) })
            }
            Self::ReportList { epoch, ceiling, salt, prints } => Message::ReportList(ReportList {
                epoch: *epoch,
                ceiling: *ceiling,
                salt: salt.0,
                prints: list(prints.clone()),
            }),
            Self::GetReports { epoch, salt, prints } => {
                Message::GetReports(GetReports { epoch: *epoch, salt: salt.0, prints: list(prints.clone()) })
            }
            Self::Reports { reports } => {
                Message::Reports(list(reports.iter().map(|report| SignedReport::decode(&report.0).unwrap()).collect()))
            }
        }
    }
}

impl MessageVector {
    fn new(name: &str, message: Fields) -> Self {
        let frame = frame(&message.message());
        Self { name: name.to_owned(), kind: frame[4], body_length: frame.len() - 5, message, frame: Hex(frame) }
    }

    fn check(&self) {
        let name = &self.name;
        let message = self.message.message();
        assert_eq!(frame(&message), self.frame.0, "{name}");
        assert_eq!(message.kind() as u8, self.kind, "{name}");
        assert_eq!(self.body_length + 5, self.frame.0.len(), "{name}");
        assert_eq!(message.frame_len(), self.frame.0.len(), "{name}");

        // Whole, and cut anywhere.
        for cut in [0, 1, 4, self.frame.0.len() - 1] {
            let mut decoder = FrameDecoder::default();
            decoder.extend(&self.frame.0[..cut]);
            assert_eq!(decoder.next_message(), Ok(None), "{name}");
            decoder.extend(&self.frame.0[cut..]);
            assert_eq!(decoder.next_message(), Ok(Some((message.clone(), self.frame.0.len()))), "{name}");
            assert_eq!(decoder.next_message(), Ok(None), "{name}");
        }
    }
}

fn frame(message: &Message) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let len = message.encode(&mut bytes);
    assert_eq!(len, bytes.len());
    bytes.to_vec()
}

fn uvarint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A length-delimited protobuf field.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &uvarint(value.len() as u64), value].concat()
}

/// A signed peer record as PROTOCOL.md describes it. The wire crate does not look into it.
fn record(seed: u8, seq: u64, addresses: &[&[u8]]) -> Vec<u8> {
    use ed25519_dalek::{Signer, SigningKey};
    let key = SigningKey::from_bytes(&[seed; 32]);
    let public = [&[0x08, 0x01, 0x12, 0x20][..], key.verifying_key().as_bytes()].concat();
    let peer_id = [&[0x00, 0x24][..], &public].concat();
    let addresses: Vec<u8> = addresses.iter().flat_map(|address| field(3, &field(1, address))).collect();
    let payload = [field(1, &peer_id), [&[0x10][..], &uvarint(seq)].concat(), addresses].concat();
    let (domain, payload_type) = (b"libp2p-peer-record", &[0x03, 0x01]);
    let signed: Vec<u8> = [&domain[..], payload_type, &payload]
        .iter()
        .flat_map(|part| [&uvarint(part.len() as u64)[..], part].concat())
        .collect();
    let signature = key.sign(&signed).to_bytes();
    [field(1, &public), field(2, payload_type), field(3, &payload), field(5, &signature)].concat()
}

/// The set that the vectors of sketches are about.
fn sketched() -> Encoder {
    Encoder::new(7, transactions()[..3].iter().map(|tx| tx.short_id))
}

fn messages() -> Vec<MessageVector> {
    let (transactions, blocks) = (transactions(), blocks());
    let tx = |index: usize| transactions[index].encoded.clone();
    let short_ids = |range: std::ops::Range<usize>| transactions[range].iter().map(|tx| tx.short_id).collect();
    let goodbye = |name, reason| MessageVector::new(name, Fields::Goodbye { reason });
    let hello = |name, network, genesis, height| {
        MessageVector::new(name, Fields::Hello { version: PROTOCOL_VERSION, network, genesis, height: Dec(height) })
    };
    // /ip4/192.0.2.7/tcp/4001 and /ip4/192.0.2.7/udp/4001/quic-v1
    let tcp = [0x04, 192, 0, 2, 7, 0x06, 0x0f, 0xa1];
    let quic = [0x04, 192, 0, 2, 7, 0x91, 0x02, 0x0f, 0xa1, 0xcd, 0x03];
    let first_three = transactions[..3].iter().fold(Fingerprint::default(), |all, tx| all.and(Fingerprint::of(&tx.id)));
    let records = vec![Hex(record(6, 1_767_225_600, &[&tcp, &quic])), Hex(record(7, 1, &[&tcp]))];
    vec![
        hello("hello, no block yet", 1, GenesisId([0x11; 32]), 0),
        hello(
            "hello, every field distinct",
            0x0403_0201,
            GenesisId(std::array::from_fn(|i| i as u8)),
            0x1817_1615_1413_1211,
        ),
        goodbye("goodbye, shutdown", 0),
        goodbye("goodbye, too many peers", 1),
        goodbye("goodbye, wrong network", 2),
        goodbye("goodbye, misbehaviour", 3),
        MessageVector::new("push, the shortest transaction", Fields::Push { labels: [1, 2, 3], transaction: tx(0) }),
        MessageVector::new(
            "push, the longest transaction",
            Fields::Push { labels: [0xff, 0, 0x80], transaction: tx(8) },
        ),
        MessageVector::new("ihave, no ids", Fields::IHave { short_ids: vec![] }),
        MessageVector::new("ihave, three ids", Fields::IHave { short_ids: short_ids(0..3) }),
        MessageVector::new("iwant, two ids", Fields::IWant { short_ids: short_ids(1..3) }),
        MessageVector::new("prune, one id", Fields::Prune { short_ids: short_ids(0..1) }),
        MessageVector::new("get_peers", Fields::GetPeers {}),
        MessageVector::new("peers, none", Fields::Peers { records: vec![] }),
        MessageVector::new(
            "peers, two records: seeds 32 times 06 and 07, sequence 1767225600 and 1",
            Fields::Peers { records },
        ),
        MessageVector::new("block, no transactions", Fields::Block { block: blocks[0].encoded.clone() }),
        MessageVector::new("block, three transactions", Fields::Block { block: blocks[2].encoded.clone() }),
        MessageVector::new("get_blocks, one block", Fields::GetBlocks { from: Dec(1), count: 1 }),
        MessageVector::new(
            "get_blocks, the most blocks",
            Fields::GetBlocks { from: Dec(0x1817_1615_1413_1211), count: 16 },
        ),
        MessageVector::new(
            "get_block_txs, two ids",
            Fields::GetBlockTxs { ids: transactions[1..3].iter().map(|tx| tx.id).collect() },
        ),
        MessageVector::new("block_tx", Fields::BlockTx { transaction: tx(3) }),
        MessageVector::new("alive", Fields::Alive {}),
        MessageVector::new(
            "probe",
            Fields::Probe { version: PROTOCOL_VERSION, network: 1, genesis: GenesisId([0x11; 32]), height: Dec(0) },
        ),
        MessageVector::new(
            "digest, the first three transactions",
            Fields::Digest {
                salt: Dec(7),
                slice_bits: 0,
                slice_prefix: 0,
                count: 3,
                sum: Hex(first_three.sum.to_le_bytes().to_vec()),
                wanted: 24,
            },
        ),
        MessageVector::new(
            "digest, nothing in a narrow slice",
            Fields::Digest {
                salt: Dec(u64::MAX),
                slice_bits: 16,
                slice_prefix: 0xabcd,
                count: 0,
                sum: Hex(vec![0; 16]),
                wanted: 0,
            },
        ),
        MessageVector::new(
            "sketch, the first 24 symbols of these three ids",
            Fields::Sketch {
                salt: Dec(7),
                count: 3,
                from: 0,
                symbols: sketched().next_symbols(24).iter().map(Coded::new).collect(),
            },
        ),
        MessageVector::new(
            "sketch, none",
            Fields::Sketch { salt: Dec(8), count: 10_000, from: 0, symbols: Vec::new() },
        ),
        MessageVector::new("get_symbols", Fields::GetSymbols { salt: Dec(7), from: 24, count: 6 }),
        MessageVector::new(
            "report_digest, of the reports of reports.json",
            Fields::ReportDigest { epoch: 58_907_520, ceiling: u32::MAX, digest: report_digest() },
        ),
        MessageVector::new(
            "report_list, of the reports of reports.json",
            Fields::ReportList { epoch: 58_907_520, ceiling: 0x0fff_ffff, salt: Dec(REPORT_SALT), prints: prints(2) },
        ),
        MessageVector::new(
            "get_reports, the first of the list",
            Fields::GetReports { epoch: 58_907_520, salt: Dec(REPORT_SALT), prints: prints(1) },
        ),
        MessageVector::new(
            "reports, those of reports.json",
            Fields::Reports { reports: reports().iter().map(|vector| vector.encoded.clone()).collect() },
        ),
    ]
}

#[test]
fn messages_json() {
    let about = "One frame or more of every message kind. The ids, transactions and blocks in them are those of \
                 transactions.json and blocks.json.";
    let vectors = messages();
    for kind in Kind::ALL {
        assert!(vectors.iter().any(|vector| vector.kind == kind as u8), "no vector of {}", kind.name());
    }
    let stream: Vec<u8> = vectors.iter().flat_map(|vector| vector.frame.0.clone()).collect();
    let mut decoder = FrameDecoder::default();
    decoder.extend(&stream);
    for vector in &vectors {
        assert_eq!(decoder.next_message().unwrap().unwrap().0, vector.message.message(), "{}", vector.name);
    }
    golden("messages.json", about, vectors, MessageVector::check);
}

/// Frames at every limit, which are too large for a file.
#[test]
fn the_largest_of_every_kind_is_accepted() {
    let key = SecretKey::from_seed(&[1; 32]);
    let ids = |count| (0..count).map(|i| TxId(*blake3::hash(&[i as u8, (i >> 8) as u8]).as_bytes()));
    let short_ids = || list(ids(MAX_IDS).map(|id| id.short()).collect());
    let block = Block {
        network: NetworkId(1),
        height: 1,
        parent: BlockId::ZERO,
        timestamp_ms: 0,
        tx_ids: list(ids(MAX_BLOCK_TXS).collect()),
    }
    .sign(&key);
    assert_eq!(block.bytes().len(), MAX_BLOCK);
    let records = vec![Record::new(vec![7; MAX_RECORD].into()).unwrap(); MAX_RECORDS];
    let most_prints = || list(vec![7; MAX_LISTED_REPORTS]);
    let tx = SignedTx::decode(&transactions()[8].encoded.0).unwrap();
    assert_eq!(tx.bytes().len(), MAX_TX);
    let messages = [
        (Message::Push { labels: [7; 3], tx: tx.clone() }, 32_941),
        (Message::IHave(short_ids()), 8_196),
        (Message::IWant(short_ids()), 8_196),
        (Message::Prune(short_ids()), 8_196),
        (Message::Peers(list(records)), 16_452),
        (Message::Block(block), 131_257),
        (Message::GetBlockTxs(list(ids(MAX_IDS).collect())), 32_772),
        (Message::BlockTx(tx), 32_938),
        (
            Message::Sketch(Sketch {
                salt: 1,
                count: 2,
                from: 3,
                symbols: list(vec![Symbol { sum: [7; 8], check: [8; 3], count: 9 }; MAX_SYMBOLS]),
            }),
            12_308,
        ),
        (Message::ReportList(ReportList { epoch: 1, ceiling: 1, salt: 1, prints: most_prints() }), 404),
        (Message::GetReports(GetReports { epoch: 1, salt: 1, prints: most_prints() }), 400),
        (Message::Reports(list(vec![SignedReport::decode(&reports()[0].encoded.0).unwrap(); SAMPLE])), 8_644),
    ];
    for (message, body) in messages {
        let bytes = frame(&message);
        assert_eq!(bytes.len(), 5 + body);
        let mut decoder = FrameDecoder::default();
        decoder.extend(&bytes);
        assert_eq!(decoder.next_message(), Ok(Some((message, bytes.len()))));
    }
}

// ---- Reports ----

/// The genesis that the reports are signed for.
const REPORT_GENESIS: GenesisId = GenesisId([0x22; 32]);

/// What the prints are made with.
const REPORT_SALT: u64 = 0x1817_1615_1413_1211;

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportVector {
    name: String,
    seed: Hex,
    genesis: GenesisId,
    epoch: u32,
    node: NodeId,
    program: [u8; 3],
    links: u8,
    pool_txs: u32,
    pool_bytes: u32,
    pool_fill: u16,
    admitted: u32,
    floor: u32,
    fees: [u32; 3],
    id: Hex,
    rank: Dec,
    salt: Dec,
    print: u16,
    signature: Hex,
    encoded: Hex,
}

impl ReportVector {
    fn new(name: &str, seed: u8, program: [u8; 3], figures: Figures) -> Self {
        let key = SecretKey::from_seed(&[seed; 32]);
        let report = Report::sign(58_907_520, program, figures, &key, &REPORT_GENESIS);
        let Figures { links, pool_txs, pool_bytes, pool_fill, admitted, floor, fees } = figures;
        Self {
            name: name.to_owned(),
            seed: Hex(vec![seed; 32]),
            genesis: REPORT_GENESIS,
            epoch: report.report().epoch,
            node: key.node(),
            program,
            links,
            pool_txs,
            pool_bytes,
            pool_fill,
            admitted,
            floor,
            fees,
            id: Hex(report.id().to_vec()),
            rank: Dec(report.report().rank()),
            salt: Dec(REPORT_SALT),
            print: report.print(REPORT_SALT),
            signature: Hex(report.signed().signature.0.to_vec()),
            encoded: Hex(report.signed().bytes()),
        }
    }

    fn figures(&self) -> Figures {
        let Self { links, pool_txs, pool_bytes, pool_fill, admitted, floor, fees, .. } = *self;
        Figures { links, pool_txs, pool_bytes, pool_fill, admitted, floor, fees }
    }

    fn check(&self) {
        let name = &self.name;
        let signed = Report::sign(self.epoch, self.program, self.figures(), &secret(&self.seed), &self.genesis);
        assert_eq!(signed.signed().bytes(), self.encoded.0, "{name}");
        assert_eq!(self.encoded.0.len(), REPORT, "{name}");
        let decoded = SignedReport::decode(&self.encoded.0).unwrap();
        assert_eq!((decoded.report.node, decoded.report.figures), (self.node, self.figures()), "{name}");
        assert_eq!(decoded.id(&self.genesis).to_vec(), self.id.0, "{name}");
        assert_eq!(decoded.signature.0.to_vec(), self.signature.0, "{name}");
        let verified = decoded.verify(self.genesis).unwrap();
        assert_eq!((verified.report().rank(), verified.print(self.salt.0)), (self.rank.0, self.print), "{name}");
    }
}

/// In the order of their ranks.
fn reports() -> Vec<ReportVector> {
    let most = Figures {
        links: u8::MAX,
        pool_txs: u32::MAX,
        pool_bytes: u32::MAX,
        pool_fill: MAX_FILL,
        admitted: MAX_RATE,
        floor: u32::MAX,
        fees: [u32::MAX; 3],
    };
    let distinct = Figures {
        links: 16,
        pool_txs: 0x0403_0201,
        pool_bytes: 0x0807_0605,
        pool_fill: 0x0109,
        admitted: 0x0e0d_0c0b,
        floor: 0x1211_100f,
        fees: [0x1615_1413, 0x1a19_1817, 0x1e1d_1c1b],
    };
    let mut vectors = vec![
        ReportVector::new("an empty pool", 1, [0, 1, 0], Figures::default()),
        ReportVector::new("every field distinct", 2, [1, 2, 3], distinct),
        ReportVector::new("the most that can be said", 3, [255, 255, 255], most),
    ];
    vectors.sort_by_key(|vector| vector.rank.0);
    vectors
}

fn report_digest() -> Hex {
    let ids: Vec<[u8; 32]> = reports().iter().map(|vector| array(&vector.id.0)).collect();
    Hex(report::digest(ids.iter()).to_vec())
}

fn prints(count: usize) -> Vec<u16> {
    reports().iter().take(count).map(|vector| vector.print).collect()
}

#[test]
fn reports_json() {
    let about =
        "Reports of one epoch, in the order of their ranks: fields, id, rank, print with a salt, signature and bytes.";
    golden("reports.json", about, reports(), ReportVector::check);
}

// ---- Refusals ----

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Transaction,
    Block,
    Frame,
}

/// What the bytes are refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Refusal {
    Truncated,
    Trailing,
    TooLong,
    UnknownKind,
    UnknownVersion,
    Invalid,
    /// No refusal yet: a frame that waits for more bytes.
    Incomplete,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InvalidVector {
    name: String,
    form: Form,
    refusal: Refusal,
    bytes: Hex,
}

impl InvalidVector {
    fn check(&self) {
        let error = match self.form {
            Form::Transaction => SignedTx::decode(&self.bytes.0).err(),
            Form::Block => SignedBlock::decode(&self.bytes.0).err(),
            Form::Frame => {
                let mut decoder = FrameDecoder::default();
                decoder.extend(&self.bytes.0);
                match decoder.next_message() {
                    Ok(Some((message, _))) => panic!("{} gives {message:?}", self.name),
                    Ok(None) => None,
                    Err(error) => Some(error),
                }
            }
        };
        let found = match error {
            None => {
                assert_eq!(self.form, Form::Frame, "{} is accepted", self.name);
                Refusal::Incomplete
            }
            Some(DecodeError::Truncated) => Refusal::Truncated,
            Some(DecodeError::Trailing(_)) => Refusal::Trailing,
            Some(DecodeError::TooLong { .. }) => Refusal::TooLong,
            Some(DecodeError::UnknownKind(_)) => Refusal::UnknownKind,
            Some(DecodeError::UnknownVersion(_)) => Refusal::UnknownVersion,
            Some(DecodeError::Invalid(_)) => Refusal::Invalid,
        };
        assert_eq!(found, self.refusal, "{}", self.name);
    }
}

/// Offset of a transaction's expiry tag.
const TAG: usize = 93;

/// Offset of the payload's count in a transaction without expiry; with one it stands eight bytes later.
const COUNT: usize = 94;

/// Offset of the ids in a block; their count stands before them.
const IDS: usize = BLOCK_OVERHEAD;

fn invalid() -> Vec<InvalidVector> {
    use {Form::*, Refusal::*};

    let mut vectors = Vec::new();
    let mut add = |name: &str, form, refusal, bytes: Vec<u8>| {
        vectors.push(InvalidVector { name: name.to_owned(), form, refusal, bytes: Hex(bytes) });
    };
    let edit = |bytes: &Hex, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.0.clone();
        edit(&mut bytes);
        bytes
    };
    let set_count = |at: usize, count: u32| {
        move |bytes: &mut Vec<u8>| {
            bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
        }
    };
    let (transactions, blocks) = (transactions(), blocks());

    let (plain, expiring) = (&transactions[2].encoded, &transactions[3].encoded);
    add("no bytes", Transaction, Truncated, vec![]);
    add("only a version", Transaction, Truncated, vec![1]);
    add("the last byte is missing", Transaction, Truncated, edit(plain, &|b| b.truncate(b.len() - 1)));
    add("a byte follows", Transaction, Trailing, edit(plain, &|b| b.push(0)));
    add("version 0", Transaction, UnknownVersion, edit(plain, &|b| b[0] = 0));
    add("version 2", Transaction, UnknownVersion, edit(plain, &|b| b[0] = 2));
    add("expiry tag 2", Transaction, Invalid, edit(expiring, &|b| b[TAG] = 2));
    add("expiry tag 255", Transaction, Invalid, edit(expiring, &|b| b[TAG] = 255));
    add("payload count one too high", Transaction, Truncated, edit(plain, &set_count(COUNT, 9)));
    add("payload count one too low", Transaction, Trailing, edit(plain, &set_count(COUNT, 7)));
    add("payload count over the limit", Transaction, TooLong, edit(plain, &set_count(COUNT, 32_769)));
    add("payload count 2^32 - 1", Transaction, TooLong, edit(plain, &set_count(COUNT, u32::MAX)));
    let over = edit(&transactions[8].encoded, &|b| {
        set_count(COUNT + 8, 32_769)(b);
        b.insert(200, 0xa5);
    });
    add("a payload of 32769 bytes", Transaction, TooLong, over);

    let block = &blocks[2].encoded;
    add("no bytes", Block, Truncated, vec![]);
    add("the last byte is missing", Block, Truncated, edit(block, &|b| b.truncate(b.len() - 1)));
    add("cut in the header", Block, Truncated, edit(block, &|b| b.truncate(100)));
    add("a byte follows", Block, Trailing, edit(block, &|b| b.push(0)));
    add("version 2", Block, UnknownVersion, edit(block, &|b| b[0] = 2));
    add("ids exchanged under the header", Block, Invalid, edit(block, &|b| b[IDS..IDS + 64].rotate_left(32)));
    add("one id replaced under the header", Block, Invalid, edit(block, &|b| b[IDS..IDS + 32].fill(0x77)));
    let fewer = edit(block, &|b| {
        set_count(IDS - 4, 2)(b);
        b.truncate(b.len() - 32);
    });
    add("one id left out under the header", Block, Invalid, fewer);
    add("count one too high", Block, Truncated, edit(block, &set_count(IDS - 4, 4)));
    add("count one too low", Block, Trailing, edit(block, &set_count(IDS - 4, 2)));
    add("count over the limit", Block, TooLong, edit(block, &set_count(IDS - 4, 4097)));
    let over = edit(block, &|b| {
        set_count(IDS - 4, 4097)(b);
        b.resize(IDS + 32 * 4097, 0x77);
    });
    add("4097 ids", Block, TooLong, over);

    let header = |len: u32, kind: u8| [&len.to_le_bytes()[..], &[kind]].concat();
    let framed = |kind: u8, body: &[u8]| [&header(body.len() as u32, kind)[..], body].concat();
    let counted = |kind: u8, count: u32, rest: &[u8]| framed(kind, &[&count.to_le_bytes()[..], rest].concat());
    add("half a header", Frame, Incomplete, vec![1, 0, 0]);
    add("a header without its body", Frame, Incomplete, header(46, 0));
    add("a body without its last byte", Frame, Incomplete, edit(&Hex(framed(0, &[0; 46])), &|b| b.truncate(50)));
    add("kind 12, refused at the header", Frame, UnknownKind, header(0, 12));
    add("kind 19, refused at the header", Frame, UnknownKind, header(31, 19));
    add("kind 42, refused at the header", Frame, UnknownKind, header(0, 42));
    add("kind 255, refused at the header", Frame, UnknownKind, header(u32::MAX, 255));
    add("hello of 45 bytes, refused at the header", Frame, Truncated, header(45, 0));
    add("hello of 47 bytes, refused at the header", Frame, TooLong, header(47, 0));
    let digest = |bits: u8, prefix: u16, wanted: u16| {
        framed(20, &[&[7; 8][..], &[bits], &prefix.to_le_bytes(), &[0; 20], &wanted.to_le_bytes()].concat())
    };
    add("digest of a slice with 17 bits", Frame, Invalid, digest(17, 0, 0));
    add("digest of a slice whose prefix does not fit its bits", Frame, Invalid, digest(3, 8, 0));
    add("digest that wants 1025 symbols", Frame, Invalid, digest(0, 0, 1025));
    add("digest of 32 bytes, refused at the header", Frame, Truncated, header(32, 20));
    add("sketch with 1025 symbols", Frame, TooLong, header(20 + 12 * 1025, 21));
    let get = |count: u16| framed(22, &[&[7; 12][..], &count.to_le_bytes()].concat());
    add("get_symbols for none", Frame, Invalid, get(0));
    add("get_symbols for 1025", Frame, Invalid, get(1025));
    add("goodbye of 0 bytes", Frame, Truncated, header(0, 1));
    add("goodbye of 2 bytes, refused at the header", Frame, TooLong, header(2, 1));
    add("goodbye for reason 4", Frame, Invalid, framed(1, &[4]));
    add("push of 164 bytes, refused at the header", Frame, Truncated, header(164, 2));
    add("push of 32942 bytes, refused at the header", Frame, TooLong, header(32_942, 2));
    add("push of 2^32 - 1 bytes, refused at the header", Frame, TooLong, header(u32::MAX, 2));
    let labelled = |tx: &[u8]| [&[1, 2, 3], tx].concat();
    let expiring_tag_2 = edit(expiring, &|b| b[TAG] = 2);
    add("push of a transaction with expiry tag 2", Frame, Invalid, framed(2, &labelled(&expiring_tag_2)));
    add("push of a transaction and a byte", Frame, Trailing, framed(2, &labelled(&edit(plain, &|b| b.push(0)))));
    add("ihave of 3 bytes, refused at the header", Frame, Truncated, header(3, 3));
    add("ihave of 1025 ids, refused at the header", Frame, TooLong, header(4 + 8 * 1025, 3));
    add("ihave that counts 1025 ids and has one", Frame, TooLong, counted(3, 1025, &[7; 8]));
    add("ihave that counts 2 ids and has one", Frame, Truncated, counted(3, 2, &[7; 8]));
    add("ihave that counts 1 id and has two", Frame, Trailing, counted(3, 1, &[7; 16]));
    add("ihave that counts 1 id and has seven bytes", Frame, Truncated, counted(3, 1, &[7; 7]));
    add("iwant that counts 1 id and has a byte more", Frame, Trailing, counted(4, 1, &[7; 9]));
    add("get_peers of 1 byte, refused at the header", Frame, TooLong, header(1, 5));
    add("peers that counts 17 records", Frame, TooLong, counted(6, 17, &[0; 4 * 17]));
    let long_record = [&1025u32.to_le_bytes()[..], &[7; 1025]].concat();
    add("peers with a record of 1025 bytes", Frame, TooLong, counted(6, 1, &long_record));
    add("peers with a record that ends too early", Frame, Truncated, counted(6, 1, &[3, 0, 0, 0, 7, 7]));
    add("peers with a byte after its last record", Frame, Trailing, counted(6, 1, &[1, 0, 0, 0, 7, 7]));
    add("block of 184 bytes, refused at the header", Frame, Truncated, header(184, 7));
    add("block of 131258 bytes, refused at the header", Frame, TooLong, header(131_258, 7));
    let exchanged = edit(block, &|b| b[IDS..IDS + 64].rotate_left(32));
    add("block with ids exchanged under its header", Frame, Invalid, framed(7, &exchanged));
    let get_blocks = |count: u16| framed(8, &[&1u64.to_le_bytes()[..], &count.to_le_bytes()].concat());
    add("get_blocks of no block", Frame, Invalid, get_blocks(0));
    add("get_blocks of 17 blocks", Frame, Invalid, get_blocks(17));
    add("get_blocks of 9 bytes, refused at the header", Frame, Truncated, header(9, 8));
    add("get_block_txs of 1025 ids, refused at the header", Frame, TooLong, header(4 + 32 * 1025, 9));
    add("get_block_txs that counts 1 id and has 31 bytes", Frame, Truncated, counted(9, 1, &[7; 31]));
    add("block_tx of a transaction of version 2", Frame, UnknownVersion, framed(10, &edit(plain, &|b| b[0] = 2)));
    add("prune that counts 1 id and has a byte more", Frame, Trailing, counted(11, 1, &[7; 9]));
    add("report_digest of 15 bytes, refused at the header", Frame, Truncated, header(15, 50));
    add("report_list of 193 prints, refused at the header", Frame, TooLong, header(20 + 2 * 193, 51));
    add(
        "get_reports that counts 1 print and has none",
        Frame,
        Truncated,
        framed(52, &[&[7; 12], &[1, 0, 0, 0][..]].concat()),
    );
    let report = &reports()[0].encoded;
    add("reports of 65 reports, refused at the header", Frame, TooLong, header(4 + 135 * 65, 53));
    add("reports that counts 2 reports and has one", Frame, Truncated, counted(53, 2, &report.0));
    add("a report of version 2", Frame, Invalid, counted(53, 1, &edit(report, &|b| b[0] = 2)));
    let fill = edit(report, &|b| b[49..51].copy_from_slice(&1001_u16.to_le_bytes()));
    add("a report of a pool filled to 1001 thousandths", Frame, Invalid, counted(53, 1, &fill));
    let admitted = edit(report, &|b| b[51..55].copy_from_slice(&1_000_000_001_u32.to_le_bytes()));
    add("a report of more than a million transactions per second", Frame, Invalid, counted(53, 1, &admitted));
    let fees = edit(report, &|b| b[59..71].copy_from_slice(&[2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]));
    add("a report with fees that do not ascend", Frame, Invalid, counted(53, 1, &fees));
    vectors
}

#[test]
fn invalid_json() {
    let about = "Bytes that do not decode. That they are refused is part of the protocol; `refusal` names what this \
                 implementation meets first. `incomplete` frames are not refused but wait for more bytes, and are \
                 an error only if the stream ends there.";
    golden("invalid.json", about, invalid(), InvalidVector::check);
}

// ---- Signatures ----

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Valid,
    Mismatch,
    SmallOrderKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureVector {
    name: String,
    form: Form,
    verdict: Verdict,
    bytes: Hex,
}

impl SignatureVector {
    fn check(&self) {
        use rand::SeedableRng;
        let item = match self.form {
            Form::Transaction => Unverified::Tx(SignedTx::decode(&self.bytes.0).unwrap()),
            Form::Block => Unverified::Block(SignedBlock::decode(&self.bytes.0).unwrap()),
            Form::Frame => panic!("frames are not signed"),
        };
        let verdict = |result: Result<_, SignatureError>| match result {
            Ok(_) => Verdict::Valid,
            Err(SignatureError::Mismatch) => Verdict::Mismatch,
            Err(SignatureError::SmallOrderKey) => Verdict::SmallOrderKey,
        };
        assert_eq!(verdict(verify(item.clone())), self.verdict, "{}", self.name);
        let rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        for result in verify_batch(vec![item.clone(), item], rng) {
            assert_eq!(verdict(result), self.verdict, "{} in a batch", self.name);
        }
    }
}

/// A transaction signed by hand: S = r + k·a for the given encodings of A and R.
fn forge(a: Scalar, a_bytes: [u8; 32], r: Scalar, r_bytes: [u8; 32]) -> SignedTx {
    use sha2::{Digest, Sha512};
    let transaction = Transaction {
        network: NetworkId(1),
        sender: AccountId(a_bytes),
        nonce: 0,
        fee: 1,
        recipient: AccountId([9; 32]),
        amount: 1,
        valid_until: None,
        payload: Bytes::new(),
    };
    let hash = transaction.signing_hash().unwrap();
    let k = Scalar::from_hash(Sha512::new().chain_update(r_bytes).chain_update(a_bytes).chain_update(hash));
    let signature = [r_bytes, (r + k * a).to_bytes()].concat();
    transaction.with_signature(Signature(array(&signature))).unwrap()
}

/// Adds the group order to S.
fn add_order(signature: &mut [u8]) {
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut carry = 0;
    for (byte, l) in signature[32..].iter_mut().zip(&order) {
        let sum = u16::from(*byte) + u16::from(*l) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

fn signatures() -> Vec<SignatureVector> {
    use {Form::*, Verdict::*};

    let mut vectors = Vec::new();
    let mut add = |name: &str, form, verdict, bytes: &[u8]| {
        vectors.push(SignatureVector { name: name.to_owned(), form, verdict, bytes: Hex(bytes.to_vec()) });
    };
    let (transactions, blocks) = (transactions(), blocks());
    let changed = |bytes: &Hex, end: usize, edit: &dyn Fn(&mut [u8])| {
        let mut bytes = bytes.0.clone();
        edit(&mut bytes[end - 64..end]);
        bytes
    };
    let tx = &transactions[0].encoded;
    let in_tx = |edit: &dyn Fn(&mut [u8])| changed(tx, tx.0.len(), edit);
    let in_block = |edit: &dyn Fn(&mut [u8])| changed(&blocks[1].encoded, HEADER + 64, edit);

    add("made by the sender", Transaction, Valid, &tx.0);
    add("made by the producer", Block, Valid, &blocks[1].encoded.0);
    add("S plus the group order", Transaction, Mismatch, &in_tx(&add_order));
    add("S plus the group order", Block, Mismatch, &in_block(&add_order));
    add("S with its top three bits set", Transaction, Mismatch, &in_tx(&|s| s[63] |= 0xe0));
    add("R changed", Transaction, Mismatch, &in_tx(&|s| s[0] ^= 1));
    add("S changed", Block, Mismatch, &in_block(&|s| s[40] ^= 1));
    let no_point: [u8; 32] = std::array::from_fn(|i| if i == 0 { 2 } else { 0 });
    add("R is no point (y = 2)", Transaction, Mismatch, &in_tx(&|s| s[..32].copy_from_slice(&no_point)));
    let mut other = tx.0.clone();
    other[1] = 2;
    add("for another network", Transaction, Mismatch, &other);
    let mut other = tx.0.clone();
    other[5..37].copy_from_slice(&no_point);
    add("the sender is no point (y = 2)", Transaction, Mismatch, &other);

    // Scalars that anybody can see: these keys belong to nobody.
    let (a, r) = (Scalar::from(0x5eed_u64), Scalar::from(0xf00d_u64));
    let torsion = EIGHT_TORSION[1];
    let (key, nonce) = ((a * B).compress().0, (r * B).compress().0);
    let (mixed_key, mixed_nonce) = ((a * B + torsion).compress().0, (r * B + torsion).compress().0);
    let hand = [
        ("key and R of prime order", key, r, nonce),
        ("key with a component of order 8", mixed_key, r, nonce),
        ("R with a component of order 8", key, r, mixed_nonce),
        ("key and R with components of order 8", mixed_key, r, mixed_nonce),
        ("R of order 8, S = k·a", key, Scalar::ZERO, torsion.compress().0),
        ("R is the identity, S = k·a", key, Scalar::ZERO, EdwardsPoint::default().compress().0),
    ];
    for (name, key, r, nonce) in hand {
        add(&format!("{name} (ZIP 215)"), Transaction, Valid, forge(a, key, r, nonce).bytes());
    }
    let near_p = |first: u8, last: u8| -> [u8; 32] {
        std::array::from_fn(|i| match i {
            0 => first,
            31 => last,
            _ => 0xff,
        })
    };
    for (name, nonce) in [
        ("y = p", near_p(0xed, 0x7f)),
        ("y = p, sign bit set", near_p(0xed, 0xff)),
        ("y = p + 1", near_p(0xee, 0x7f)),
        ("y = p + 1, sign bit set", near_p(0xee, 0xff)),
    ] {
        let name = format!("R not canonical, {name} (ZIP 215)");
        add(&name, Transaction, Valid, forge(a, key, Scalar::ZERO, nonce).bytes());
    }

    // The seven encodings of y, with either sign bit; each signature satisfies the equation.
    let hex32 = |digits| array::<32>(&hex::decode(digits).unwrap());
    let order_8 = [
        hex32("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        hex32("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ];
    let one: [u8; 32] = std::array::from_fn(|i| u8::from(i == 0));
    let small = [
        ("y = 0", [0; 32]),
        ("y = 1", one),
        ("y = p - 1", near_p(0xec, 0x7f)),
        ("y = p", near_p(0xed, 0x7f)),
        ("y = p + 1", near_p(0xee, 0x7f)),
        ("first y of order 8", order_8[0]),
        ("second y of order 8", order_8[1]),
    ];
    let identity = EdwardsPoint::default().compress().0;
    for (name, mut key) in small {
        add(
            &format!("sender of small order, {name}"),
            Transaction,
            SmallOrderKey,
            forge(Scalar::ZERO, key, Scalar::ZERO, identity).bytes(),
        );
        key[31] |= 0x80;
        add(
            &format!("sender of small order, {name}, sign bit set"),
            Transaction,
            SmallOrderKey,
            forge(Scalar::ZERO, key, Scalar::ZERO, identity).bytes(),
        );
    }
    vectors
}

#[test]
fn signatures_json() {
    let about = "Transactions and blocks that decode, and whether their signature is accepted. `mismatch` and \
                 `small_order_key` are both refusals.";
    golden("signatures.json", about, signatures(), SignatureVector::check);
}
