//! `messages.json`, and frames at every limit.

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use starling_wire::{
    Block, BlockId, Digest, Fingerprint, FrameDecoder, GenesisId, GetBlockTxs, GetBlocks, GetReports, GetSymbols,
    Goodbye, Hello, Kind, Message, NetworkId, PROTOCOL_VERSION, Record, ReportDigest, ReportList, SecretKey, ShortId,
    SignedBlock, SignedReport, SignedTx, Sketch, Slice, TxId,
    limits::{
        MAX_BLOCK, MAX_BLOCK_TXS, MAX_IDS, MAX_LISTED_REPORTS, MAX_RECORD, MAX_RECORDS, MAX_SYMBOLS, MAX_TX, SAMPLE,
    },
    sketch::{Encoder, Symbol},
};

use super::{
    blocks::blocks,
    golden::{Dec, Hex, array, golden, list},
    reports::{REPORT_SALT, prints, report_digest, reports},
    transactions::transactions,
};

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
        height: Dec,
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
            Self::GetBlockTxs { height, ids } => {
                Message::GetBlockTxs(GetBlockTxs { height: height.0, ids: list(ids.clone()) })
            }
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

pub(super) fn frame(message: &Message) -> Vec<u8> {
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
pub(super) fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &uvarint(value.len() as u64), value].concat()
}

/// A signed peer record as PROTOCOL.md describes it. The wire crate does not look into it.
pub(super) fn record(seed: u8, seq: u64, addresses: &[&[u8]]) -> Vec<u8> {
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
            Fields::GetBlockTxs { height: Dec(3), ids: transactions[1..3].iter().map(|tx| tx.id).collect() },
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
        (Message::Peers(list(records)), 32_900),
        (Message::Block(block), 131_257),
        (Message::GetBlockTxs(GetBlockTxs { height: 1, ids: list(ids(MAX_IDS).collect()) }), 32_780),
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
