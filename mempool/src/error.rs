//! Why a transaction, a block or a genesis was refused, in words for people and names for metrics.

use std::time::Duration;

use starling_wire::{AccountId, NetworkId, SignatureError, TxId};
use thiserror::Error;

/// Why a transaction was not admitted. Fees, balances and costs are in the network's smallest unit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The pool holds it already.
    #[error("the transaction is in the pool already; nothing needs to be done")]
    AlreadyKnown,
    /// It was signed for another network.
    #[error("the transaction is for network {found} and this is network {expected}; sign it for network {expected}")]
    WrongNetwork {
        /// This node's network.
        expected: NetworkId,
        /// The transaction's network.
        found: NetworkId,
    },
    /// Its encoding is longer than the network allows.
    #[error("the transaction has {bytes} bytes and the network allows {max}; shorten the payload")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The longest allowed, in bytes.
        max: usize,
    },
    /// Its signature does not hold.
    #[error("the signature is not valid: {0}; sign with the sender's key")]
    BadSignature(SignatureError),
    /// Its fee is below the network's minimum for its length.
    #[error("the fee of {fee} is below the network's minimum for this length; pay at least {required}")]
    FeeTooLow {
        /// The fee it pays.
        fee: u64,
        /// The least fee for its length.
        required: u64,
    },
    /// A transaction with this nonce was applied already.
    #[error("the nonce {nonce} is used already; the sender's next is {expected}")]
    NonceTooLow {
        /// Its nonce.
        nonce: u64,
        /// The account's next nonce.
        expected: u64,
    },
    /// Its nonce is too far above the account's.
    #[error("the nonce {nonce} is too far ahead; up to {max} is accepted now, so send the ones before it first")]
    NonceTooHigh {
        /// Its nonce.
        nonce: u64,
        /// The highest accepted now.
        max: u64,
    },
    /// The account cannot pay for it together with the sender's other transactions in the pool.
    #[error(
        "the balance of {balance} does not cover {required}, the amounts and fees of this and the sender's other \
         transactions in the pool; add funds or wait for those to be included"
    )]
    InsufficientBalance {
        /// The sender's balance.
        balance: u64,
        /// Amounts and fees of all the sender's transactions, this one included.
        required: u128,
    },
    /// The next block is past the last that may include it.
    #[error("valid until block {valid_until} only, and block {height} is applied; sign it with a later limit")]
    Expired {
        /// The last block that may include it.
        valid_until: u64,
        /// Height of the last applied block.
        height: u64,
    },
    /// It does not pay enough more than the one with the same sender and nonce.
    #[error("a transaction with this nonce is in the pool; to replace it pay at least {required} instead of {fee}")]
    Underpriced {
        /// The fee it pays.
        fee: u64,
        /// The least fee with which a transaction of its length replaces the other; `u64::MAX` if that is beyond u64.
        required: u64,
    },
    /// The sender has as many transactions in the pool as it may.
    #[error("the sender has {max} transactions in the pool, the most allowed; wait for some to be included")]
    SenderLimit {
        /// The most a sender may have.
        max: usize,
    },
    /// The sender's transactions in the pool would have too many bytes.
    #[error("the sender's transactions in the pool may have {max} bytes; wait for some to be included")]
    SenderBytes {
        /// The most a sender's may have together.
        max: usize,
    },
    /// So much was replaced lately, of the sender's or by the peer that brought this, or so much of the sender's was in no block
    /// while it was valid, that no more may be now. What replaces nothing and is valid without end is not meant.
    #[error("too many transactions were replaced lately, or were in no block while they were valid; wait {} s, or make one that \
        replaces none and has no valid_until",
        wait.as_secs().saturating_add(1))]
    ReplacedTooOften {
        /// How long until it may be taken in.
        wait: Duration,
    },
    /// The application that runs the node refuses it.
    #[error("the application refuses the transaction: {why}; make one that it accepts")]
    Refused {
        /// The application's words.
        why: String,
        /// Whether it would be refused at any time and by every node. Whoever relays it is then to blame.
        for_good: bool,
    },
    /// The pool is full of transactions that pay at least as much per byte.
    #[error("the pool is full; pay at least {required} per byte, for the sender's earlier transactions too, or wait")]
    PoolFull {
        /// Fee per byte, rounded up to a whole unit, that is above all which would have to make room; `u64::MAX` if
        /// no fee makes enough room.
        required: u64,
    },
    /// The pool is nearly full and earlier nonces are missing.
    #[error("the pool is nearly full and takes nothing with a nonce gap; send the sender's missing nonces first")]
    GappedPoolBusy,
}

impl Rejection {
    /// All that [`Self::reason`] returns.
    pub const REASONS: &[&str] = &[
        "already-known",
        "wrong-network",
        "too-large",
        "bad-signature",
        "fee-too-low",
        "nonce-too-low",
        "nonce-too-high",
        "insufficient-balance",
        "expired",
        "underpriced",
        "sender-limit",
        "sender-bytes",
        "replaced-too-often",
        "refused",
        "pool-full",
        "gapped-pool-busy",
    ];

    /// A stable name for metrics, logs and programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::AlreadyKnown => "already-known",
            Self::WrongNetwork { .. } => "wrong-network",
            Self::TooLarge { .. } => "too-large",
            Self::BadSignature(_) => "bad-signature",
            Self::FeeTooLow { .. } => "fee-too-low",
            Self::NonceTooLow { .. } => "nonce-too-low",
            Self::NonceTooHigh { .. } => "nonce-too-high",
            Self::InsufficientBalance { .. } => "insufficient-balance",
            Self::Expired { .. } => "expired",
            Self::Underpriced { .. } => "underpriced",
            Self::SenderLimit { .. } => "sender-limit",
            Self::SenderBytes { .. } => "sender-bytes",
            Self::ReplacedTooOften { .. } => "replaced-too-often",
            Self::Refused { .. } => "refused",
            Self::PoolFull { .. } => "pool-full",
            Self::GappedPoolBusy => "gapped-pool-busy",
        }
    }

    /// Whether no honest node with the same genesis could have relayed the transaction, whatever blocks it had seen
    /// and however it is configured. Everything else can come of messages crossing.
    pub fn peer_is_to_blame(&self) -> bool {
        match self {
            Self::WrongNetwork { .. } | Self::TooLarge { .. } | Self::BadSignature(_) | Self::FeeTooLow { .. } => true,
            Self::Refused { for_good, .. } => *for_good,
            Self::AlreadyKnown
            | Self::NonceTooLow { .. }
            | Self::NonceTooHigh { .. }
            | Self::InsufficientBalance { .. }
            | Self::Expired { .. }
            | Self::Underpriced { .. }
            | Self::SenderLimit { .. }
            | Self::SenderBytes { .. }
            | Self::ReplacedTooOften { .. }
            | Self::PoolFull { .. }
            | Self::GappedPoolBusy => false,
        }
    }

    /// Whether finding it out is dear and can never come out otherwise. What else is never valid is refused again sooner
    /// than it could be looked up.
    pub(crate) fn is_worth_remembering(&self) -> bool {
        matches!(self, Self::BadSignature(_) | Self::Refused { for_good: true, .. })
    }
}

/// Why a block's transactions do not apply. The ledger is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("transaction {tx} cannot be applied: {reason}")]
pub struct ApplyError {
    /// The first transaction that does not apply.
    pub tx: TxId,
    /// Why.
    pub reason: ApplyReason,
}

/// See [`ApplyError::reason`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyReason {
    /// The block has as many transactions as the network allows without it.
    #[error("the block has more than the {max} transactions the network allows")]
    TooMany {
        /// The most in one block.
        max: u32,
    },
    /// It is against the rules that hold at any time: the network's, or the embedder's on top of them.
    #[error(transparent)]
    NotAcceptable(Rejection),
    /// The block is past the last that may include it.
    #[error("it was valid until block {valid_until} and this is block {height}")]
    Expired {
        /// The last block that may include it.
        valid_until: u64,
        /// The block's height.
        height: u64,
    },
    /// Its nonce is not the account's next, or is the last there is, after which the account would have no next.
    #[error("its nonce is {nonce} and the account's next {expected}")]
    WrongNonce {
        /// Its nonce.
        nonce: u64,
        /// The account's next nonce.
        expected: u64,
    },
    /// The account cannot pay for it.
    #[error("it costs {required} and the account has {balance}")]
    InsufficientBalance {
        /// The sender's balance.
        balance: u64,
        /// Amount and fee.
        required: u128,
    },
}

/// Why a genesis was refused. Entries are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GenesisError {
    /// The text does not have a genesis' form.
    #[error("the genesis cannot be read; correct it at the place shown:\n{0}")]
    Toml(String),
    /// An account stands twice.
    #[error("account {id} of the genesis stands at both [[accounts]] {first} and {second}; remove one of them")]
    DuplicateAccount {
        /// The account.
        id: AccountId,
        /// Number of its first entry.
        first: usize,
        /// Number of its second entry.
        second: usize,
    },
    /// A producer stands twice.
    #[error("producer {id} of the genesis is both number {first} and {second} in `producers`; remove one of them")]
    DuplicateProducer {
        /// The producer.
        id: AccountId,
        /// Number of its first entry.
        first: usize,
        /// Number of its second entry.
        second: usize,
    },
    /// All balances together do not fit into 64 bits.
    #[error(
        "the balances of the genesis come to more than {max} at [[accounts]] {entry} ({id}); lower them",
        max = u64::MAX
    )]
    TotalTooLarge {
        /// The account at which the sum gets too large.
        id: AccountId,
        /// Number of its entry.
        entry: usize,
    },
    /// A limit is outside the range it may have.
    #[error("`{limit}` in [limits] of the genesis is {value}; set it to {min} at least and {max} at most")]
    LimitOutOfRange {
        /// Which.
        limit: &'static str,
        /// Its value.
        value: u64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_and_blame_is_narrow() {
        let all = [
            Rejection::AlreadyKnown,
            Rejection::WrongNetwork { expected: NetworkId(1), found: NetworkId(2) },
            Rejection::TooLarge { bytes: 2, max: 1 },
            Rejection::BadSignature(SignatureError::Mismatch),
            Rejection::FeeTooLow { fee: 1, required: 2 },
            Rejection::NonceTooLow { nonce: 1, expected: 2 },
            Rejection::NonceTooHigh { nonce: 2, max: 1 },
            Rejection::InsufficientBalance { balance: 1, required: 2 },
            Rejection::Expired { valid_until: 1, height: 2 },
            Rejection::Underpriced { fee: 1, required: 2 },
            Rejection::SenderLimit { max: 1 },
            Rejection::SenderBytes { max: 1 },
            Rejection::ReplacedTooOften { wait: Duration::ZERO },
            Rejection::Refused { why: "no".into(), for_good: false },
            Rejection::PoolFull { required: 1 },
            Rejection::GappedPoolBusy,
        ];
        let reasons: Vec<_> = all.iter().map(Rejection::reason).collect();
        assert_eq!(reasons, Rejection::REASONS);
        let blamed: Vec<_> = all.iter().filter(|r| r.peer_is_to_blame()).map(Rejection::reason).collect();
        assert_eq!(blamed, ["wrong-network", "too-large", "bad-signature", "fee-too-low"]);
        for rejection in &all {
            assert!(rejection.to_string().contains(';'), "says what and what to do: {rejection}");
        }
    }
}
