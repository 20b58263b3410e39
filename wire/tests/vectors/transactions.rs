//! `transactions.json`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use starling_wire::{AccountId, NetworkId, SecretKey, ShortId, SignedTx, Transaction, TxId, limits::MAX_PAYLOAD};

use super::golden::{Dec, Hex, RFC_8032_SEED, array, golden, secret};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TxVector {
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
    pub(super) encoded: Hex,
    pub(super) id: TxId,
    pub(super) short_id: ShortId,
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

pub(super) fn transactions() -> Vec<TxVector> {
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
