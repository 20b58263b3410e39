//! `invalid.json`: bytes that do not decode.

use serde::{Deserialize, Serialize};
use starling_wire::{DecodeError, FrameDecoder, SignedBlock, SignedTx, limits::BLOCK_OVERHEAD};

use super::{
    blocks::blocks,
    golden::{Hex, golden},
    reports::reports,
    transactions::transactions,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
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
    add("peers that counts 33 records", Frame, TooLong, counted(6, 33, &[0; 4 * 33]));
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
    add("get_block_txs of 1025 ids, refused at the header", Frame, TooLong, header(12 + 32 * 1025, 9));
    let one_id = [&1u64.to_le_bytes()[..], &1u32.to_le_bytes(), &[7; 31]].concat();
    add("get_block_txs that counts 1 id and has 31 bytes", Frame, Truncated, framed(9, &one_id));
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
