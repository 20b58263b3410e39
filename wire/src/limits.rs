//! Size limits of everything that crosses the wire. A value over its limit is refused before it is stored.

/// Longest transaction payload, in bytes. Bounds what one signature can make every node of a network store and
/// forward; larger data belongs elsewhere, with its hash in the payload.
pub const MAX_PAYLOAD: usize = 32 * 1024;

/// Bytes of an encoded transaction besides its payload, without the optional expiry:
/// version 1, network 4, sender 32, nonce 8, fee 8, recipient 32, amount 8, expiry tag 1, payload length 4,
/// signature 64.
pub const TX_OVERHEAD: usize = 1 + 4 + 32 + 8 + 8 + 32 + 8 + 1 + 4 + 64;

/// Longest encoded transaction, in bytes (the optional expiry takes eight more than [`TX_OVERHEAD`]).
pub const MAX_TX: usize = TX_OVERHEAD + 8 + MAX_PAYLOAD;

/// Most transactions in one block.
pub const MAX_BLOCK_TXS: usize = 4096;

/// Bytes of an encoded block besides its transaction ids: version 1, network 4, height 8, parent 32, producer 32,
/// time 8, transaction root 32, signature 64, count 4.
pub const BLOCK_OVERHEAD: usize = 1 + 4 + 8 + 32 + 32 + 8 + 32 + 64 + 4;

/// Longest encoded block, in bytes.
pub const MAX_BLOCK: usize = BLOCK_OVERHEAD + 32 * MAX_BLOCK_TXS;

/// Path labels before the transaction of a PUSH, in bytes.
pub const LABELS: usize = 3;

/// Most ids in one IHAVE, IWANT, PRUNE or GET_BLOCK_TXS. A longer list is sent as several messages.
pub const MAX_IDS: usize = 1024;

/// Most coded symbols in one SKETCH.
pub const MAX_SYMBOLS: usize = 1024;

/// Most blocks asked for in one GET_BLOCKS.
pub const MAX_BLOCKS_PER_REQUEST: u16 = 16;

/// Most peer records in one PEERS.
pub const MAX_RECORDS: usize = 32;

/// Longest signed peer record, in bytes. A libp2p envelope with a handful of addresses takes 200 to 400.
pub const MAX_RECORD: usize = 1024;

/// Bytes of an encoded report: version 1, epoch 4, node 32, program 3, links 1, pool 4 + 4 + 2, admitted 4, floor 4,
/// fees 12, signature 64.
pub const REPORT: usize = 1 + 4 + 32 + 3 + 1 + 4 + 4 + 2 + 4 + 4 + 12 + 64;

/// Reports that a node keeps of an epoch: those of the nodes with the lowest ranks. The error of what is estimated falls
/// with its root: 64 give the number of nodes to about an eighth (one standard deviation); the cost is proportional.
pub const SAMPLE: usize = 64;

/// Most reports in one list: a sample, and as many pairs of reports that prove a lie.
pub const MAX_LISTED_REPORTS: usize = 3 * SAMPLE;

/// A pool that is full, in the thousandths in which a report says it.
pub const MAX_FILL: u16 = 1000;

/// Most transactions admitted per second that a report may claim, in thousandths: a million.
pub const MAX_RATE: u32 = 1_000_000_000;

/// Bytes before a frame's body: length 4, kind 1.
pub const FRAME_HEADER: usize = 5;

/// Longest frame body of any kind, in bytes.
pub const MAX_BODY: usize = MAX_BLOCK;

const _: () = assert!(MAX_BODY >= LABELS + MAX_TX);
const _: () = assert!(MAX_BODY >= 12 + 32 * MAX_IDS);
const _: () = assert!(MAX_BODY >= 4 + MAX_RECORDS * (4 + MAX_RECORD));
