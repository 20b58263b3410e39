//! `signatures.json`: what decodes and is signed well or not.

use bytes::Bytes;
use curve25519_dalek::{
    EdwardsPoint, Scalar,
    constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION},
};
use serde::{Deserialize, Serialize};
use starling_wire::{
    AccountId, NetworkId, Signature, SignatureError, SignedBlock, SignedTx, Unverified, verify, verify_batch,
};

use super::{
    blocks::{HEADER, blocks},
    golden::{Hex, array, golden},
    invalid::Form,
    transactions::transactions,
};

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
    let transaction = starling_wire::Transaction {
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
