//! What messages, ids and signatures cost: `cargo bench -p starling-wire`.

#![expect(clippy::expect_used, reason = "a benchmark of wrong input is worth nothing")]

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use starling_wire::{
    AccountId, BoundedVec, FrameDecoder, Message, NetworkId, SecretKey, ShortId, SignedTx, Transaction, Unverified,
    limits::TX_OVERHEAD, verify, verify_batch,
};

/// A transaction of `bytes` bytes.
fn transaction(nonce: u64, bytes: usize) -> SignedTx {
    let key = SecretKey::insecure_from_name(nonce, "bench");
    let tx = Transaction {
        network: NetworkId(1),
        sender: key.account(),
        nonce,
        fee: 1000,
        recipient: AccountId([9; 32]),
        amount: 1,
        valid_until: None,
        payload: vec![7; bytes - TX_OVERHEAD].into(),
    };
    tx.sign(&key).expect("the key is the sender's")
}

fn messages(criterion: &mut Criterion) {
    let push = Message::Push { labels: [1, 2, 3], tx: transaction(0, 250) };
    let ids: Vec<ShortId> = (0..1000_u64).map(|id| ShortId(id.to_be_bytes())).collect();
    let announcement = Message::IHave(BoundedVec::new(ids).expect("not too many"));
    for (name, message) in [("push of 250 bytes", push), ("announcement of 1,000 ids", announcement)] {
        let mut frame = BytesMut::new();
        message.encode(&mut frame);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function("encode", |bencher| {
            let mut out = BytesMut::with_capacity(frame.len());
            bencher.iter(|| {
                out.clear();
                black_box(message.encode(&mut out))
            });
        });
        group.bench_function("decode", |bencher| {
            let mut decoder = FrameDecoder::default();
            bencher.iter(|| {
                decoder.extend(&frame);
                black_box(decoder.next_message()).expect("it was encoded").expect("all of it is there")
            });
        });
    }
}

fn transactions(criterion: &mut Criterion) {
    for bytes in [250, 32 * 1024] {
        let tx = transaction(0, bytes);
        let mut group = criterion.benchmark_group(format!("transaction of {bytes} bytes"));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function("id", |bencher| bencher.iter(|| SignedTx::id_of(black_box(tx.bytes()))));
        group.bench_function("decode", |bencher| bencher.iter(|| SignedTx::decode(black_box(tx.bytes()))));
    }
}

fn signatures(criterion: &mut Criterion) {
    let items: Vec<_> = (0..64).map(|nonce| Unverified::Tx(transaction(nonce, 250))).collect();
    let mut group = criterion.benchmark_group("signatures");
    group.throughput(Throughput::Elements(1));
    group.bench_function("verify one", |bencher| {
        bencher.iter_batched(|| items[0].clone(), |item| verify(item).expect("it is good"), BatchSize::SmallInput);
    });
    // The least that is a batch, and the sizes between which a node's checkers choose.
    for count in [2, 8, 64] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("verify a batch of {count}"), |bencher| {
            let mut rng = ChaCha20Rng::seed_from_u64(1);
            bencher.iter_batched(
                || items[..count].to_vec(),
                |items| assert!(verify_batch(items, &mut rng).iter().all(Result::is_ok)),
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(codec, messages, transactions, signatures);
criterion_main!(codec);
