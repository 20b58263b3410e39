//! Checks of one transaction: against the rules of the network, which need nothing else, and against its sender's
//! account. What depends on the rest of the pool is in [`crate::pool`].

use std::time::Duration;

use starling_wire::{NetworkId, SignedTx};

use crate::{error::Rejection, genesis::Limits, ledger::Account, ordering::FeeRate};

/// What holds at any time and on every node: network, length and minimum fee.
pub(crate) fn network_rules(tx: &SignedTx, network: NetworkId, limits: &Limits) -> Result<(), Rejection> {
    let (fields, bytes) = (tx.transaction(), tx.bytes().len());
    if fields.network != network {
        return Err(Rejection::WrongNetwork { expected: network, found: fields.network });
    }
    let max = limits.max_tx_bytes as usize;
    if bytes > max {
        return Err(Rejection::TooLarge { bytes, max });
    }
    let required = limits.min_fee_per_byte.saturating_mul(bytes as u64);
    if fields.fee < required {
        return Err(Rejection::FeeTooLow { fee: fields.fee, required });
    }
    Ok(())
}

/// Whether the block after `height` may include it.
pub(crate) fn not_expired(tx: &SignedTx, height: u64) -> Result<(), Rejection> {
    match tx.transaction().valid_until {
        Some(valid_until) if valid_until <= height => Err(Rejection::Expired { valid_until, height }),
        _ => Ok(()),
    }
}

/// Whether the nonce is unused and near enough to the account's.
pub(crate) fn nonce(tx: &SignedTx, account: &Account, max_gap: u64) -> Result<(), Rejection> {
    let nonce = tx.transaction().nonce;
    if nonce < account.nonce {
        return Err(Rejection::NonceTooLow { nonce, expected: account.nonce });
    }
    // The last nonce there is cannot be used: the account would have no next one.
    let max = account.nonce.saturating_add(max_gap).min(u64::MAX - 1);
    if nonce > max {
        return Err(Rejection::NonceTooHigh { nonce, max });
    }
    Ok(())
}

/// Whether it pays enough more than the transaction with the same sender and nonce.
pub(crate) fn replacement(tx: &SignedTx, old: FeeRate, percent: u64) -> Result<(), Rejection> {
    let fee = tx.transaction().fee;
    let required = old.raised(percent, tx.bytes().len());
    if u128::from(fee) < required {
        return Err(Rejection::Underpriced { fee, required: u64::try_from(required).unwrap_or(u64::MAX) });
    }
    Ok(())
}

/// Whether the sender may have as much relayed in vain as it might be; `wait` is what its budget says.
pub(crate) fn budget(wait: Option<Duration>) -> Result<(), Rejection> {
    match wait {
        Some(Duration::ZERO) => Ok(()),
        wait => Err(Rejection::ReplacedTooOften { wait: wait.unwrap_or(Duration::MAX) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NETWORK, Wallet};
    use starling_wire::limits::TX_OVERHEAD;

    #[test]
    fn network_rules_are_exact_at_their_edges() {
        let wallet = Wallet::new(1);
        let limits = Limits { min_fee_per_byte: 3, max_tx_bytes: TX_OVERHEAD as u32 + 1, ..Limits::default() };
        let least = 3 * TX_OVERHEAD as u64;
        assert_eq!(network_rules(&wallet.tx(0, least), NETWORK, &limits), Ok(()));
        let cheap = Rejection::FeeTooLow { fee: least - 1, required: least };
        assert_eq!(network_rules(&wallet.tx(0, least - 1), NETWORK, &limits), Err(cheap));
        let other = Rejection::WrongNetwork { expected: NetworkId(9), found: NETWORK };
        assert_eq!(network_rules(&wallet.tx(0, least), NetworkId(9), &limits), Err(other));
        let long = |bytes: usize| {
            let mut fields = wallet.fields(0, 10 * least);
            fields.payload = vec![0; bytes].into();
            wallet.sign(fields)
        };
        assert_eq!(network_rules(&long(1), NETWORK, &limits), Ok(()));
        let large = Rejection::TooLarge { bytes: TX_OVERHEAD + 2, max: TX_OVERHEAD + 1 };
        assert_eq!(network_rules(&long(2), NETWORK, &limits), Err(large));
    }

    #[test]
    fn nonces_and_expiry_are_exact_at_their_edges() {
        let wallet = Wallet::new(1);
        let account = Account { nonce: 5, balance: 0 };
        let check = |at: u64| nonce(&wallet.tx(at, 1000), &account, 2);
        assert_eq!(check(4), Err(Rejection::NonceTooLow { nonce: 4, expected: 5 }));
        assert_eq!((check(5), check(7)), (Ok(()), Ok(())));
        assert_eq!(check(8), Err(Rejection::NonceTooHigh { nonce: 8, max: 7 }));
        let last = Account { nonce: u64::MAX, balance: 0 };
        assert!(nonce(&wallet.tx(u64::MAX, 1000), &last, 2).is_err());

        let mut fields = wallet.fields(0, 1000);
        fields.valid_until = Some(7);
        let tx = wallet.sign(fields);
        assert_eq!(not_expired(&tx, 6), Ok(()));
        assert_eq!(not_expired(&tx, 7), Err(Rejection::Expired { valid_until: 7, height: 7 }));
    }

    #[test]
    fn replacing_takes_the_percentage_in_full() {
        let wallet = Wallet::new(1);
        let old = FeeRate::of(&wallet.tx(0, 1000));
        assert_eq!(replacement(&wallet.tx(0, 1100), old, 10), Ok(()));
        let rejection = Rejection::Underpriced { fee: 1099, required: 1100 };
        assert_eq!(replacement(&wallet.tx(0, 1099), old, 10), Err(rejection));
    }
}
