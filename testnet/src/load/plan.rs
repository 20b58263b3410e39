//! What is sent when, from whom and to which node. Equal seeds give equal plans.

use std::time::Duration;

use anyhow::Context;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use starling_wire::{SecretKey, SignedTx, Transaction, TxId, limits};

use crate::{launch::account_key, progress};

/// Shortest transaction, in bytes.
pub(crate) const MIN_TX_SIZE: usize = limits::TX_OVERHEAD;

/// Transactions per sender that are aimed at. Far below the pool's 64 slots per sender, so that none is refused for
/// lack of one.
const PER_SENDER: usize = 8;

/// Fewest and most senders.
const SENDERS: (usize, usize) = (16, 100_000);

/// Signatures made before other tasks have a turn: some milliseconds.
const AT_A_TIME: usize = 128;

/// Fee per byte of a transaction, drawn from this range.
const FEE_PER_BYTE: std::ops::RangeInclusive<u64> = 1..=8;

/// What a load is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadSpec {
    /// Decides everything that is drawn.
    pub(crate) seed: u64,
    /// Transactions per second.
    pub(crate) rate: f64,
    /// For how long.
    pub(crate) duration: Duration,
    /// Bytes of each transaction, signature included.
    pub(crate) tx_size: usize,
}

impl LoadSpec {
    /// Transactions in all, one at least.
    pub(crate) fn total(&self) -> usize {
        ((self.rate * self.duration.as_secs_f64()).round() as usize).max(1)
    }
}

/// When the last transaction of a load is sent, from its start.
pub(crate) fn last_at(spec: &LoadSpec) -> Duration {
    sent_at(spec, spec.total() - 1)
}

/// When a transaction is sent, by its number.
fn sent_at(spec: &LoadSpec, number: usize) -> Duration {
    Duration::from_secs_f64(number as f64 / spec.rate)
}

/// How many senders a load of so many transactions needs.
pub(crate) fn accounts_for(total: usize) -> usize {
    (total / PER_SENDER).clamp(SENDERS.0, SENDERS.1)
}

/// Somebody who sends.
#[derive(Debug)]
pub(crate) struct Sender {
    key: SecretKey,
    /// The node its transactions enter at: always the same one, so that they arrive in the order of their nonces.
    pub(crate) node: usize,
    /// Its next nonce.
    pub(crate) nonce: u64,
}

/// The first so many funded accounts as senders; the nodes they enter at are drawn with the seed.
pub(crate) fn senders(seed: u64, account_seed: u64, count: usize, nodes: usize) -> Vec<Sender> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|number| Sender { key: account_key(account_seed, number), node: rng.random_range(0..nodes), nonce: 0 })
        .collect()
}

impl Sender {
    /// Its account.
    pub(crate) fn account(&self) -> starling_wire::AccountId {
        self.key.account()
    }
}

/// One transaction to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    /// When, from the start of the load.
    pub(crate) at: Duration,
    /// The node it enters at.
    pub(crate) node: usize,
    /// Its id.
    pub(crate) id: TxId,
    /// Its bytes, as `tx_sendRaw` takes them.
    pub(crate) raw: String,
}

/// All of them, in the order of their times.
pub(crate) type Plan = Vec<Planned>;

/// Plans a load: the senders take turns, each with consecutive nonces from where it stands. Other tasks run meanwhile.
pub(crate) async fn plan(spec: &LoadSpec, senders: &mut [Sender]) -> anyhow::Result<Plan> {
    let bar = progress::bar(spec.total() as u64, "signing transactions");
    let mut plan = Vec::with_capacity(spec.total());
    for (number, tx) in signed(spec, senders)?.enumerate() {
        let (node, tx) = tx?;
        plan.push(Planned { at: sent_at(spec, number), node, id: tx.id(), raw: hex(tx.bytes()) });
        if number % AT_A_TIME == 0 {
            bar.set_position(number as u64);
            tokio::task::yield_now().await;
        }
    }
    bar.finish_and_clear();
    Ok(plan)
}

/// The transactions of a load, one after the other, each with the node it enters at.
pub(crate) fn signed(
    spec: &LoadSpec,
    senders: &mut [Sender],
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<(usize, SignedTx)>>> {
    // Another stream than the one the nodes were drawn from.
    let mut rng = ChaCha8Rng::seed_from_u64(spec.seed);
    rng.set_stream(1);
    let accounts: Vec<_> = senders.iter().map(Sender::account).collect();
    let payload_len = spec.tx_size.checked_sub(MIN_TX_SIZE).context("the transaction size is below the least")?;
    let tx_size = spec.tx_size as u64;
    Ok((0..spec.total()).map(move |number| {
        let sender = &mut senders[number % accounts.len()];
        let mut payload = vec![0; payload_len];
        rng.fill_bytes(&mut payload);
        let tx = Transaction {
            network: crate::launch::NETWORK,
            sender: sender.account(),
            nonce: sender.nonce,
            fee: tx_size * rng.random_range(FEE_PER_BYTE),
            recipient: accounts[rng.random_range(0..accounts.len())],
            amount: 1,
            valid_until: None,
            payload: payload.into(),
        };
        sender.nonce += 1;
        Ok((sender.node, tx.sign(&sender.key).context("a transaction cannot be signed")?))
    }))
}

/// `0x` and lower-case hex.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)].into());
    ['0', 'x'].into_iter().chain(digits).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const SPEC: LoadSpec = LoadSpec { seed: 1, rate: 20.0, duration: Duration::from_secs(10), tx_size: 250 };

    fn planned(spec: LoadSpec) -> Plan {
        let mut senders = senders(spec.seed, 7, accounts_for(spec.total()), 5);
        made(plan(&spec, &mut senders)).unwrap()
    }

    fn made<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn decoded(planned: &Planned) -> SignedTx {
        let digits = planned.raw.strip_prefix("0x").unwrap();
        let bytes: Vec<u8> =
            (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
        SignedTx::decode(&bytes).unwrap()
    }

    #[test]
    fn equal_seeds_give_equal_plans() {
        assert_eq!(planned(SPEC), planned(SPEC));
        assert_ne!(planned(SPEC), planned(LoadSpec { seed: 2, ..SPEC }));
    }

    #[test]
    fn sizes_times_nonces_and_nodes_are_as_promised() {
        let plan = planned(SPEC);
        assert_eq!(plan.len(), 200);
        let (mut next, mut homes) = (BTreeMap::new(), BTreeMap::new());
        for (number, planned) in plan.iter().enumerate() {
            assert_eq!(planned.at, Duration::from_millis(50 * number as u64));
            assert!(planned.at <= last_at(&SPEC));
            let tx = decoded(planned);
            assert_eq!((tx.bytes().len(), tx.id()), (250, planned.id));
            let nonce: &mut u64 = next.entry(tx.sender()).or_default();
            assert_eq!(tx.transaction().nonce, *nonce, "consecutive");
            *nonce += 1;
            assert_eq!(*homes.entry(tx.sender()).or_insert(planned.node), planned.node, "one node per sender");
            tx.verify().unwrap();
        }
        assert_eq!(next.len(), 25);
        assert!(next.values().all(|count| *count <= 64));
        assert!(homes.values().collect::<BTreeSet<_>>().len() > 1);
        assert_eq!(plan.iter().map(|planned| planned.id).collect::<BTreeSet<_>>().len(), 200);
    }

    #[test]
    fn the_least_size_has_no_payload_and_less_is_refused() {
        let least = LoadSpec { tx_size: MIN_TX_SIZE, duration: Duration::from_millis(1), ..SPEC };
        let plan = planned(least);
        assert_eq!(plan.len(), 1, "one at least");
        assert!(decoded(&plan[0]).transaction().payload.is_empty());
        let mut senders = senders(1, 7, 1, 1);
        assert!(made(super::plan(&LoadSpec { tx_size: MIN_TX_SIZE - 1, ..SPEC }, &mut senders)).is_err());
    }

    #[test]
    fn no_sender_comes_near_its_limit() {
        for total in [1_usize, 128, 1_000, 99_999, 800_000] {
            assert!(total.div_ceil(accounts_for(total)) <= 9, "{total}");
        }
    }
}
