//! What a pool is told, and what it answers.

use starling_wire::TxId;

/// Who handed a transaction in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A user of this node. Kept for [`crate::PoolConfig::local_lifetime`]; in all else treated as any other, so that being
    /// submitted here is no way round fees and limits.
    Local,
    /// A peer. Kept for [`crate::PoolConfig::lifetime`].
    Peer,
}

/// Whether the next blocks could include a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// No nonce is missing between the account's and its own.
    Pending,
    /// Some nonce before its own is missing.
    Queued,
}

/// What an insertion would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admissible {
    /// Where the transaction would be.
    pub place: Place,
    /// Bytes of the transaction it would replace, which was relayed for nothing; 0 if it would replace none. To be held
    /// against whoever hands it in; the pool holds it against the sender.
    pub replaced_bytes: usize,
    /// How many would leave the pool, the replaced one counted.
    pub displaced: usize,
}

/// What an insertion did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inserted {
    /// Where the transaction is now.
    pub place: Place,
    /// What it replaced, and what was evicted to make room for it.
    pub removed: Vec<TxId>,
}

/// A pool in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Transactions held.
    pub count: usize,
    /// Those that are [`Place::Pending`].
    pub pending: usize,
    /// Those that are [`Place::Queued`].
    pub queued: usize,
    /// Bytes of all encoded transactions.
    pub bytes: usize,
    /// How many senders have transactions here.
    pub senders: usize,
    /// Lowest fee per byte with which a small transaction without a nonce gap is admitted now, in the network's
    /// smallest unit: the network's minimum, for some minutes after something was evicted for its price more than that
    /// paid, and in a full pool with nothing queued to evict what is above the cheapest; rounded up to a whole unit. A
    /// transaction of many bytes can need more, as more has to make room for it, and a sender's earlier transactions
    /// must pay it too.
    pub floor: u64,
}

/// One sender's transactions in numbers. The default is that of somebody without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderStatus {
    /// Those that are [`Place::Pending`].
    pub pending: usize,
    /// Those that are [`Place::Queued`].
    pub queued: usize,
    /// Bytes of all encoded transactions.
    pub bytes: usize,
    /// Amounts and fees of all.
    pub cost: u128,
}
