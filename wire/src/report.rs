//! What a node says about itself once in an epoch, so that a few of these reports describe the whole network.
//!
//! A report belongs to a network by its hash: the genesis' id is signed with it and not sent.

use std::sync::Arc;

use bincode::{
    BorrowDecode, Decode, Encode,
    de::{BorrowDecoder, Decoder},
    error::DecodeError as BincodeDecodeError,
};

use crate::{
    codec,
    error::{DecodeError, SignatureError},
    ids::{GenesisId, NodeId},
    keys::SecretKey,
    limits::{MAX_FILL, MAX_RATE},
    signature::{Signature, Unverified, Verified, verify},
};

/// The report format this crate reads and writes.
const VERSION: u8 = 1;

/// How long an epoch lasts, in milliseconds; the first began with the year 1970. Longer is cheaper, shorter is more up to
/// date. All nodes of a network must agree on it.
pub const EPOCH_MS: u64 = 30_000;

/// Domain of a report's hash, which is both its id and what the node signs.
const ID_CONTEXT: &str = "starling 2026-11 report";

/// Domain of the hash that gives a node its place in an epoch.
const RANK_CONTEXT: &str = "starling 2026-11 report rank";

/// Domain of the hash over what a node holds of an epoch.
const DIGEST_CONTEXT: &str = "starling 2026-11 report digest";

/// What a node measured of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Figures {
    /// Neighbours that have said hello.
    pub links: u8,
    /// Transactions in the pool.
    pub pool_txs: u32,
    /// Their bytes; 2^32 - 1 for that many or more.
    pub pool_bytes: u32,
    /// How full the pool is by count or by bytes, whichever is more, in thousandths: at most [`MAX_FILL`].
    pub pool_fill: u16,
    /// Transactions admitted per second over the last epoch, in thousandths: at most [`MAX_RATE`].
    pub admitted: u32,
    /// Lowest fee per byte that would be admitted now, in thousandths; 2^32 - 1 for that much or more.
    pub floor: u32,
    /// Fee per byte that a tenth, half and nine tenths of the pool's transactions do not exceed, in thousandths, each not
    /// below the one before; zeros for an empty pool.
    pub fees: [u32; 3],
}

/// What a node says about itself in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Report {
    version: u8,
    /// Unix time in milliseconds divided by [`EPOCH_MS`].
    pub epoch: u32,
    /// Who says it.
    pub node: NodeId,
    /// The program's version: major, minor, patch.
    pub program: [u8; 3],
    /// What it measured.
    pub figures: Figures,
}

impl Report {
    /// Signs with the node's key.
    pub fn sign(
        epoch: u32,
        program: [u8; 3],
        figures: Figures,
        key: &SecretKey,
        genesis: &GenesisId,
    ) -> VerifiedReport {
        let report = Self { version: VERSION, epoch, node: key.node(), program, figures };
        let id = report.id(genesis);
        VerifiedReport(Arc::new(Inner { signed: SignedReport { report, signature: key.sign(&id) }, id }))
    }

    /// What is signed.
    fn id(&self, genesis: &GenesisId) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(ID_CONTEXT);
        *hasher.update(&genesis.0).update(&codec::encode(self)).finalize().as_bytes()
    }

    /// The node's place in the epoch: see [`rank`].
    pub fn rank(&self) -> u64 {
        rank(self.epoch, &self.node)
    }

    fn is_within_bounds(&self) -> bool {
        let Figures { pool_fill, admitted, fees, .. } = self.figures;
        self.version == VERSION && pool_fill <= MAX_FILL && admitted <= MAX_RATE && fees.is_sorted()
    }
}

/// A node's place in an epoch: a number that is as good as drawn from 0 to 2^64 - 1, and the same for everybody. The
/// nodes with the lowest are a sample of all.
pub fn rank(epoch: u32, node: &NodeId) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(RANK_CONTEXT);
    let hash = hasher.update(&epoch.to_le_bytes()).update(&node.0).finalize();
    hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Eight bytes that differ for sets that differ. The ids come in the order of their nodes' ranks.
pub fn digest<'a>(ids: impl Iterator<Item = &'a [u8; 32]>) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
    for id in ids {
        hasher.update(id);
    }
    hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default()
}

/// A report with a signature that nobody has checked; its fields are within their bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode)]
pub struct SignedReport {
    /// The report.
    pub report: Report,
    /// The node's signature.
    pub signature: Signature,
}

impl SignedReport {
    /// The id, which is also what the node signed.
    pub fn id(&self, genesis: &GenesisId) -> [u8; 32] {
        self.report.id(genesis)
    }

    /// The bytes that travel.
    pub fn bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a report and checks its bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }

    /// Checks the signature.
    pub fn verify(self, genesis: GenesisId) -> Result<VerifiedReport, SignatureError> {
        match verify(Unverified::Report(self, genesis))? {
            Verified::Report(report) => Ok(report),
            _ => unreachable!("verifying keeps the kind"),
        }
    }
}

impl<Context> Decode<Context> for SignedReport {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, BincodeDecodeError> {
        let signed = Self { report: Report::decode(decoder)?, signature: Signature::decode(decoder)? };
        if signed.report.is_within_bounds() {
            Ok(signed)
        } else {
            Err(BincodeDecodeError::Other("a report of an unknown version, or with a value out of bounds"))
        }
    }
}

impl<'de, Context> BorrowDecode<'de, Context> for SignedReport {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(decoder: &mut D) -> Result<Self, BincodeDecodeError> {
        <Self as Decode<Context>>::decode(decoder)
    }
}

/// A report whose signature was checked, or that was signed here. Nothing else makes one. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReport(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    signed: SignedReport,
    id: [u8; 32],
}

impl VerifiedReport {
    pub(crate) fn assume_checked(signed: SignedReport, genesis: &GenesisId) -> Self {
        Self(Arc::new(Inner { signed, id: signed.id(genesis) }))
    }

    /// The report.
    pub fn report(&self) -> &Report {
        &self.0.signed.report
    }

    /// The report as it travels.
    pub fn signed(&self) -> &SignedReport {
        &self.0.signed
    }

    /// The id. It does not cover the signature: a node says the same with any signature of the same fields.
    pub fn id(&self) -> &[u8; 32] {
        &self.0.id
    }

    /// Two bytes that tell the report from a few others, for lists.
    pub fn print(&self, salt: u64) -> u16 {
        print(&self.0.id, salt)
    }
}

/// Multiply-shift hashing of an id's first eight bytes (Dietzfelbinger, Hagerup, Katajainen, Penttonen: A reliable
/// randomized algorithm for the closest-pair problem, 1997): for a random salt, two ids have the same print with a
/// probability of 2^-15 at most, whoever chose them.
fn print(id: &[u8; 32], salt: u64) -> u16 {
    let number = id.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    (number.wrapping_mul(salt | 1) >> 48) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REPORT;
    use proptest::prelude::*;

    const GENESIS: GenesisId = GenesisId([7; 32]);

    fn figures() -> impl Strategy<Value = Figures> {
        let small = (any::<u8>(), any::<u32>(), any::<u32>(), 0..=MAX_FILL);
        (small, 0..=MAX_RATE, any::<u32>(), any::<[u32; 3]>()).prop_map(|(small, admitted, floor, mut fees)| {
            fees.sort_unstable();
            let (links, pool_txs, pool_bytes, pool_fill) = small;
            Figures { links, pool_txs, pool_bytes, pool_fill, admitted, floor, fees }
        })
    }

    fn signed(epoch: u32, figures: Figures) -> SignedReport {
        *Report::sign(epoch, [0, 1, 0], figures, &SecretKey::from_seed(&[1; 32]), &GENESIS).signed()
    }

    proptest! {
        #[test]
        fn encoding_round_trips(epoch in any::<u32>(), figures in figures()) {
            let report = signed(epoch, figures);
            let bytes = report.bytes();
            prop_assert_eq!(bytes.len(), REPORT);
            prop_assert_eq!(SignedReport::decode(&bytes), Ok(report));
            prop_assert!(report.verify(GENESIS).is_ok());
        }

        #[test]
        fn a_changed_byte_never_passes(figures in figures(), at in 0..REPORT, flip in 1_u8..) {
            let mut bytes = signed(9, figures).bytes();
            bytes[at] ^= flip;
            let passes = SignedReport::decode(&bytes).is_ok_and(|report| report.verify(GENESIS).is_ok());
            prop_assert!(!passes);
        }
    }

    #[test]
    fn reports_are_of_one_network_and_within_bounds() {
        let report = signed(3, Figures::default());
        assert!(report.verify(GENESIS).is_ok());
        assert_eq!(report.verify(GenesisId([8; 32])), Err(SignatureError::Mismatch));
        let refused = |figures| {
            let bytes = signed(3, figures).bytes();
            matches!(SignedReport::decode(&bytes), Err(DecodeError::Invalid(_)))
        };
        assert!(refused(Figures { pool_fill: MAX_FILL + 1, ..Figures::default() }));
        assert!(refused(Figures { admitted: MAX_RATE + 1, ..Figures::default() }));
        assert!(refused(Figures { fees: [2, 1, 3], ..Figures::default() }));
    }

    #[test]
    fn ranks_are_spread_evenly_and_differ_between_epochs() {
        let mean = |epoch: u32| {
            let ranks = (0..4096_u32).map(|number| {
                let mut node = NodeId([0; 32]);
                node.0[..4].copy_from_slice(&number.to_le_bytes());
                rank(epoch, &node) as f64 / u64::MAX as f64
            });
            ranks.sum::<f64>() / 4096.0
        };
        assert!((0.48..0.52).contains(&mean(1)) && (0.48..0.52).contains(&mean(2)));
        assert_ne!(rank(1, &NodeId([1; 32])), rank(2, &NodeId([1; 32])));
    }

    #[test]
    fn prints_seldom_collide() {
        let ids: Vec<[u8; 32]> = (0_u32..200).map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes()).collect();
        let mut collisions = 0;
        for salt in 0..100_u64 {
            let salt = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let prints: std::collections::BTreeSet<u16> = ids.iter().map(|id| print(id, salt)).collect();
            collisions += ids.len() - prints.len();
        }
        // 19,900 pairs, 100 salts: some 30 if prints were random, some 60 at worst.
        assert!(collisions < 80, "{collisions}");
    }
}
