//! Signature checking under one acceptance rule, singly and in batches with the same verdict.
//!
//! The rule is ZIP 215 (<https://zips.z.cash/zip-0215>): the cofactored equation over any encoding of A and R that
//! decodes, with a canonical S. It is the rule under which a batch and a single check cannot disagree; a rule that
//! let them would allow an attacker to have honest relays punished for what they forwarded. Keys of small order, for
//! which anybody can make signatures, are refused on top by comparing bytes.

use bincode::{Decode, Encode};
use ed25519_zebra::{VerificationKeyBytes, batch};
use rand_core::CryptoRng;

use crate::{
    block::{SignedBlock, VerifiedBlock},
    error::SignatureError,
    ids::GenesisId,
    report::{SignedReport, VerifiedReport},
    tx::{SignedTx, VerifiedTx},
};

/// An ed25519 signature (RFC 8032), R then S.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Signature(pub [u8; 64]);

/// Something whose signature nobody has checked yet.
#[derive(Debug, Clone)]
pub enum Unverified {
    /// A transaction.
    Tx(SignedTx),
    /// A block.
    Block(SignedBlock),
    /// A node's report about itself, and the network it must be of.
    Report(SignedReport, GenesisId),
}

/// Something whose signature was checked and found good.
#[derive(Debug, Clone)]
pub enum Verified {
    /// A transaction.
    Tx(VerifiedTx),
    /// A block.
    Block(VerifiedBlock),
    /// A node's report about itself.
    Report(VerifiedReport),
}

impl Unverified {
    /// The signer's public key, what was signed, and the signature.
    fn parts(&self) -> ([u8; 32], [u8; 32], Signature) {
        match self {
            Self::Tx(tx) => (tx.sender().0, tx.signing_hash(), *tx.signature()),
            Self::Block(block) => (block.header().producer.0, block.id().0, *block.signature()),
            Self::Report(signed, genesis) => (signed.report.node.0, signed.id(genesis), signed.signature),
        }
    }

    fn batch_item(&self) -> Result<batch::Item, SignatureError> {
        let (key, hash, signature) = self.parts();
        if is_small_order(&key) {
            return Err(SignatureError::SmallOrderKey);
        }
        let signature = ed25519_zebra::Signature::from_bytes(&signature.0);
        Ok(batch::Item::from((VerificationKeyBytes::from(key), signature, &hash)))
    }

    fn into_verified(self) -> Verified {
        match self {
            Self::Tx(tx) => Verified::Tx(VerifiedTx::assume_checked(tx)),
            Self::Block(block) => Verified::Block(VerifiedBlock::assume_checked(block)),
            Self::Report(signed, genesis) => Verified::Report(VerifiedReport::assume_checked(signed, &genesis)),
        }
    }
}

/// Checks one signature.
pub fn verify(item: Unverified) -> Result<Verified, SignatureError> {
    item.batch_item()?.verify_single().map_err(|_| SignatureError::Mismatch)?;
    Ok(item.into_verified())
}

/// Checks many signatures at once, at about half the cost of one by one from a few dozen on. The verdicts are those
/// of [`verify`], in the order of the items: when the batch as a whole fails, each is checked alone. `rng` blinds the
/// batch and must not be predictable by whoever made the signatures.
pub fn verify_batch(items: Vec<Unverified>, rng: impl CryptoRng) -> Vec<Result<Verified, SignatureError>> {
    if items.len() == 1 {
        // As a batch it would take a third longer.
        return items.into_iter().map(verify).collect();
    }
    let checked: Vec<_> = items.iter().map(Unverified::batch_item).collect();
    let mut batch = batch::Verifier::new();
    for item in checked.iter().flatten() {
        batch.queue(item.clone());
    }
    let all_good = batch.verify(rng).is_ok();
    items
        .into_iter()
        .zip(checked)
        .map(|(item, checked)| {
            let checked = checked?;
            if all_good || checked.verify_single().is_ok() {
                Ok(item.into_verified())
            } else {
                Err(SignatureError::Mismatch)
            }
        })
        .collect()
}

/// The y coordinates, of any encoding, of the eight points of small order; the sign of x does not matter.
const SMALL_ORDER_Y: [[u8; 32]; 7] = {
    const fn near_p(last: u8) -> [u8; 32] {
        let mut bytes = [0xff; 32];
        bytes[0] = last;
        bytes[31] = 0x7f;
        bytes
    }
    let mut one = [0; 32];
    one[0] = 1;
    [
        // 0 (order 4) and 1 (the identity), and both again with p added.
        [0; 32],
        one,
        near_p(0xed),
        near_p(0xee),
        // p - 1 (order 2).
        near_p(0xec),
        // The two of order 8.
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ]
};

fn is_small_order(key: &[u8; 32]) -> bool {
    let mut y = *key;
    y[31] &= 0x7f;
    SMALL_ORDER_Y.contains(&y)
}

#[cfg(test)]
mod tests {
    //! The cases of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020), built from their definitions:
    //! every mix of torsion in A and R, non-canonical encodings, and S at and over its bounds.

    use curve25519_dalek::{
        EdwardsPoint, Scalar,
        constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION},
        edwards::CompressedEdwardsY,
        traits::IsIdentity,
    };
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::{NetworkId, SecretKey, Transaction};

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(1)
    }

    fn transaction(sender: [u8; 32], nonce: u64) -> Transaction {
        Transaction {
            network: NetworkId(1),
            sender: crate::AccountId(sender),
            nonce,
            fee: 1,
            recipient: crate::AccountId([9; 32]),
            amount: 1,
            valid_until: None,
            payload: Default::default(),
        }
    }

    /// k of RFC 8032 for a transaction's hash.
    fn challenge(r: &[u8; 32], a: &[u8; 32], hash: &[u8; 32]) -> Scalar {
        use sha2::{Digest, Sha512};
        Scalar::from_hash(Sha512::new().chain_update(r).chain_update(a).chain_update(hash))
    }

    /// A transaction signed by hand: key A = a·B + torsion, R = r·B + torsion, in the given encodings.
    fn forge(a: Scalar, a_bytes: [u8; 32], r: Scalar, r_bytes: [u8; 32], nonce: u64) -> SignedTx {
        let tx = transaction(a_bytes, nonce);
        let hash = tx.signing_hash().unwrap();
        let s = r + challenge(&r_bytes, &a_bytes, &hash) * a;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r_bytes);
        signature[32..].copy_from_slice(s.as_bytes());
        tx.with_signature(Signature(signature)).unwrap()
    }

    fn verdict(tx: &SignedTx) -> Result<(), SignatureError> {
        verify(Unverified::Tx(tx.clone())).map(|_| ())
    }

    /// The verdict of a batch in which the transaction stands between honest ones, and of one of nothing else.
    fn batch_verdicts(tx: &SignedTx) -> [Result<(), SignatureError>; 2] {
        let key = SecretKey::from_seed(&[1; 32]);
        let honest = |nonce| Unverified::Tx(transaction(key.account().0, nonce).sign(&key).unwrap());
        let mixed = verify_batch(vec![honest(0), Unverified::Tx(tx.clone()), honest(1)], rng());
        assert!(mixed[0].is_ok() && mixed[2].is_ok());
        let alone = verify_batch(vec![Unverified::Tx(tx.clone()); 2], rng());
        [mixed[1].as_ref().map(|_| ()).map_err(|e| *e), alone[0].as_ref().map(|_| ()).map_err(|e| *e)]
    }

    #[test]
    fn torsion_in_key_or_nonce_point_gets_one_verdict() {
        let (a, r) = (Scalar::from(0x5eed_u64), Scalar::from(0xf00d_u64));
        for (i, torsion_a) in EIGHT_TORSION.iter().enumerate() {
            for (j, torsion_r) in EIGHT_TORSION.iter().enumerate() {
                let a_bytes = (a * B + torsion_a).compress().0;
                let r_bytes = (r * B + torsion_r).compress().0;
                let tx = forge(a, a_bytes, r, r_bytes, (8 * i + j) as u64);
                // The cofactored equation holds whatever the torsion: ZIP 215 accepts all 64.
                assert_eq!(verdict(&tx), Ok(()), "A + {i}, R + {j}");
                assert_eq!(batch_verdicts(&tx), [Ok(()); 2], "A + {i}, R + {j}");
                // A small-order R with S = k·a is valid as well.
                let tx = forge(a, a_bytes, Scalar::ZERO, torsion_r.compress().0, 100);
                assert_eq!(verdict(&tx), Ok(()));
                assert_eq!(batch_verdicts(&tx), [Ok(()); 2]);
            }
        }
    }

    #[test]
    fn non_canonical_nonce_points_get_one_verdict() {
        let a = Scalar::from(0x5eed_u64);
        // y = p (that is 0) and y = p + 1 (that is 1), with either sign of x.
        for mut r_bytes in [SMALL_ORDER_Y[2], SMALL_ORDER_Y[3]] {
            for sign in [0, 0x80] {
                r_bytes[31] = (r_bytes[31] & 0x7f) | sign;
                let tx = forge(a, (a * B).compress().0, Scalar::ZERO, r_bytes, 0);
                assert_eq!(verdict(&tx), Ok(()), "{}", hex::encode(r_bytes));
                assert_eq!(batch_verdicts(&tx), [Ok(()); 2]);
            }
        }
    }

    #[test]
    fn small_order_keys_are_refused_in_every_encoding() {
        for y in SMALL_ORDER_Y {
            for sign in [0, 0x80] {
                let mut key = y;
                key[31] |= sign;
                let point = CompressedEdwardsY(key).decompress().expect("these decode under ZIP 215");
                assert!(point.is_small_order());
                let tx = forge(Scalar::ZERO, key, Scalar::ZERO, EdwardsPoint::default().compress().0, 0);
                assert_eq!(verdict(&tx), Err(SignatureError::SmallOrderKey));
                assert_eq!(batch_verdicts(&tx), [Err(SignatureError::SmallOrderKey); 2]);
            }
        }
        let seen: std::collections::BTreeSet<_> =
            SMALL_ORDER_Y.iter().filter_map(|y| CompressedEdwardsY(*y).decompress()).map(|p| p.compress().0).collect();
        assert_eq!(seen.len(), 5, "five distinct y cover all eight points");
        assert!(EIGHT_TORSION.iter().all(|point| (Scalar::from(8u64) * point).is_identity()));
        assert!(EIGHT_TORSION.iter().all(|point| is_small_order(&point.compress().0)));
        assert!(!is_small_order(&SecretKey::from_seed(&[3; 32]).account().0));
    }

    #[test]
    fn s_must_be_canonical_and_points_must_decode() {
        let key = SecretKey::from_seed(&[2; 32]);
        let good = transaction(key.account().0, 0).sign(&key).unwrap();
        let change = |edit: &dyn Fn(&mut [u8; 64])| {
            let mut signature = *good.signature();
            edit(&mut signature.0);
            good.transaction().clone().with_signature(signature).unwrap()
        };
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let add_order = |s: &mut [u8; 64]| {
            let mut carry = 0;
            for (byte, l) in s[32..].iter_mut().zip(&order) {
                let sum = u16::from(*byte) + u16::from(*l) + carry;
                *byte = sum as u8;
                carry = sum >> 8;
            }
        };
        let bad = [
            change(&add_order),
            change(&|s| s[63] |= 0xe0),
            change(&|s| s[0] ^= 1),
            change(&|s| {
                s[..32].copy_from_slice(&{
                    let mut no_point = [0; 32];
                    no_point[0] = 2;
                    no_point
                })
            }),
            change(&|s| s[40] ^= 1),
        ];
        assert_eq!(verdict(&good), Ok(()));
        for tx in bad {
            assert_eq!(verdict(&tx), Err(SignatureError::Mismatch));
            assert_eq!(batch_verdicts(&tx), [Err(SignatureError::Mismatch); 2]);
        }
    }
}
