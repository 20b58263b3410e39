//! What all nodes of a network agree on before the first block: who produces, what is valid, who owns what.

use std::{collections::BTreeMap, fmt::Write};

use serde::{Deserialize, Serialize};
use starling_wire::{
    AccountId, GenesisId, NetworkId,
    limits::{MAX_BLOCK_TXS, MAX_TX, TX_OVERHEAD},
};

use crate::error::GenesisError;

/// Domain of [`Genesis::id`].
const ID_CONTEXT: &str = "starling 2026-11 genesis";

/// The start of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The network's number, which every transaction names.
    pub network: NetworkId,
    /// Who makes blocks, in the order of their turns; see [`Self::producer_at`]. None at all is a network that only
    /// relays.
    #[serde(default)]
    pub producers: Vec<AccountId>,
    /// What is valid.
    #[serde(default)]
    pub limits: Limits,
    /// The accounts that own something at the start.
    #[serde(default)]
    pub accounts: Vec<GenesisAccount>,
}

/// What an account owns at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// The account.
    pub id: AccountId,
    /// Its balance, in the network's smallest unit.
    pub balance: u64,
}

/// Validity limits every node of the network shares. A peer that sends what is beyond them is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest encoded transaction, in bytes. The default is also the most; [`TX_OVERHEAD`] is the least.
    pub max_tx_bytes: u32,
    /// Least fee per byte of the encoded transaction, in the network's smallest unit; 1 by default. 0 makes flooding
    /// free. The fee for the longest transaction must fit into 64 bits.
    pub min_fee_per_byte: u64,
    /// Most transactions in a block. The default is also the most; 1 is the least.
    pub max_block_txs: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_tx_bytes: MAX_TX as u32, min_fee_per_byte: 1, max_block_txs: MAX_BLOCK_TXS as u32 }
    }
}

impl Limits {
    fn validate(&self) -> Result<(), GenesisError> {
        let ranges = [
            ("max_tx_bytes", u64::from(self.max_tx_bytes), TX_OVERHEAD as u64, MAX_TX as u64),
            ("min_fee_per_byte", self.min_fee_per_byte, 0, u64::MAX / MAX_TX as u64),
            ("max_block_txs", u64::from(self.max_block_txs), 1, MAX_BLOCK_TXS as u64),
        ];
        for (limit, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                return Err(GenesisError::LimitOutOfRange { limit, value, min, max });
            }
        }
        Ok(())
    }
}

impl Genesis {
    /// Reads and validates TOML.
    pub fn from_toml(text: &str) -> Result<Self, GenesisError> {
        let genesis: Self = toml::from_str(text).map_err(|error| GenesisError::Toml(error.to_string()))?;
        genesis.validate()?;
        Ok(genesis)
    }

    /// Checks what [`Self::from_toml`] checks, for a genesis made otherwise: limits in their ranges, no account and no
    /// producer twice, and balances whose sum fits into 64 bits.
    pub fn validate(&self) -> Result<(), GenesisError> {
        self.limits.validate()?;
        if let Some((id, first, second)) = duplicate(&self.producers) {
            return Err(GenesisError::DuplicateProducer { id, first, second });
        }
        let ids: Vec<_> = self.accounts.iter().map(|account| account.id).collect();
        if let Some((id, first, second)) = duplicate(&ids) {
            return Err(GenesisError::DuplicateAccount { id, first, second });
        }
        let mut total = 0_u64;
        for (at, account) in self.accounts.iter().enumerate() {
            total = total
                .checked_add(account.balance)
                .ok_or(GenesisError::TotalTooLarge { id: account.id, entry: at + 1 })?;
        }
        Ok(())
    }

    /// Writes TOML that [`Self::from_toml`] reads back to the same.
    pub fn to_toml(&self) -> String {
        // By hand, as it cannot fail this way and keeps the list of producers readable.
        let Limits { max_tx_bytes, min_fee_per_byte, max_block_txs } = self.limits;
        let mut text = format!("network = {}\nproducers = [\n", self.network);
        for producer in &self.producers {
            // Writing to a String does not fail.
            let _ = writeln!(text, "    \"{producer}\",");
        }
        let _ = write!(
            text,
            "]\n\n[limits]\nmax_tx_bytes = {max_tx_bytes}\nmin_fee_per_byte = {min_fee_per_byte}\nmax_block_txs = \
             {max_block_txs}\n"
        );
        for GenesisAccount { id, balance } in &self.accounts {
            let _ = write!(text, "\n[[accounts]]\nid = \"{id}\"\nbalance = {balance}\n");
        }
        text
    }

    /// The id: a blake3 `derive_key` hash over, in little-endian, the network (u32), the number of producers (u64) and
    /// each in its turn, `max_tx_bytes` (u32), `min_fee_per_byte` (u64), `max_block_txs` (u32), the number of
    /// accounts (u64) and, by id, each one's id and balance (u64). So it depends neither on the layout of the TOML
    /// nor on the order of the accounts.
    pub fn id(&self) -> GenesisId {
        let Limits { max_tx_bytes, min_fee_per_byte, max_block_txs } = self.limits;
        let mut hasher = blake3::Hasher::new_derive_key(ID_CONTEXT);
        hasher.update(&self.network.0.to_le_bytes()).update(&(self.producers.len() as u64).to_le_bytes());
        for producer in &self.producers {
            hasher.update(&producer.0);
        }
        hasher.update(&max_tx_bytes.to_le_bytes()).update(&min_fee_per_byte.to_le_bytes());
        hasher.update(&max_block_txs.to_le_bytes());
        let mut accounts: Vec<_> = self.accounts.iter().map(|account| (account.id, account.balance)).collect();
        accounts.sort_unstable();
        hasher.update(&(accounts.len() as u64).to_le_bytes());
        for (id, balance) in accounts {
            hasher.update(&id.0).update(&balance.to_le_bytes());
        }
        GenesisId(*hasher.finalize().as_bytes())
    }

    /// Whose turn a height is; the producers take turns from height 1 on. `None` if there are no producers, and for
    /// height 0, which is the genesis itself.
    pub fn producer_at(&self, height: u64) -> Option<AccountId> {
        let turn = height.checked_sub(1)?.checked_rem(self.producers.len() as u64)?;
        self.producers.get(turn as usize).copied()
    }
}

/// The first id that stands twice, with the numbers, from 1, of its entries.
fn duplicate(ids: &[AccountId]) -> Option<(AccountId, usize, usize)> {
    let mut seen = BTreeMap::new();
    ids.iter().enumerate().find_map(|(at, id)| seen.insert(*id, at + 1).map(|first| (*id, first, at + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(byte: u8) -> AccountId {
        AccountId([byte; 32])
    }

    fn account(byte: u8, balance: u64) -> GenesisAccount {
        GenesisAccount { id: id(byte), balance }
    }

    fn genesis() -> Genesis {
        Genesis {
            network: NetworkId(7),
            producers: vec![id(9), id(8)],
            limits: Limits { min_fee_per_byte: 2, ..Limits::default() },
            accounts: vec![account(1, 1_000_000), account(2, u64::MAX - 1_000_000)],
        }
    }

    #[test]
    fn toml_round_trips_and_defaults_fill_in() {
        let genesis = genesis();
        assert_eq!(Genesis::from_toml(&genesis.to_toml()), Ok(genesis.clone()), "{}", genesis.to_toml());
        let least = Genesis::from_toml("network = 3").unwrap();
        assert_eq!((least.network, least.limits, least.accounts), (NetworkId(3), Limits::default(), vec![]));
        let partly = Genesis::from_toml("network = 3\n[limits]\nmax_block_txs = 5").unwrap();
        assert_eq!(partly.limits, Limits { max_block_txs: 5, ..Limits::default() });
    }

    #[test]
    fn the_id_covers_every_field_but_not_the_layout() {
        let original = genesis();
        let mut swapped = original.clone();
        swapped.accounts.reverse();
        assert_eq!(original.id(), swapped.id());
        let loose = format!("# a comment\n{}", original.to_toml().replace(" = ", "="));
        assert_eq!(Genesis::from_toml(&loose).unwrap().id(), original.id());

        let changes: [fn(&mut Genesis); 8] = [
            |g| g.network = NetworkId(8),
            |g| g.producers.reverse(),
            |g| g.producers.truncate(1),
            |g| g.limits.max_tx_bytes -= 1,
            |g| g.limits.min_fee_per_byte += 1,
            |g| g.limits.max_block_txs -= 1,
            |g| g.accounts[0].balance -= 1,
            |g| g.accounts.truncate(1),
        ];
        let mut ids = vec![original.id()];
        for change in changes {
            let mut changed = original.clone();
            change(&mut changed);
            ids.push(changed.id());
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 9);
    }

    /// Nodes of different builds must agree on it, so it is pinned.
    #[test]
    fn the_id_does_not_change() {
        let mut bytes = vec![7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([[9; 32], [8; 32]].concat());
        bytes.extend((MAX_TX as u32).to_le_bytes());
        bytes.extend([2, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(
            [&[1; 32][..], &1_000_000_u64.to_le_bytes(), &[2; 32], &(u64::MAX - 1_000_000).to_le_bytes()].concat(),
        );
        let id = genesis().id();
        assert_eq!(id.0, blake3::derive_key("starling 2026-11 genesis", &bytes));
        assert_eq!(id.to_string(), "0x27e53e36ed9ca5dc94272cb19f09fd4bb32f0b2fb83cd5a3f93ea025f30bc182");
    }

    #[test]
    fn what_is_refused_is_named() {
        let refuse = |change: &dyn Fn(&mut Genesis)| {
            let mut changed = genesis();
            change(&mut changed);
            Genesis::from_toml(&changed.to_toml()).unwrap_err()
        };
        let twice = refuse(&|g| g.accounts.push(account(1, 5)));
        assert_eq!(twice, GenesisError::DuplicateAccount { id: id(1), first: 1, second: 3 });
        let twice = refuse(&|g| g.producers.push(id(8)));
        assert_eq!(twice, GenesisError::DuplicateProducer { id: id(8), first: 2, second: 3 });
        let total = refuse(&|g| g.accounts[0].balance += 1);
        assert_eq!(total, GenesisError::TotalTooLarge { id: id(2), entry: 2 });
        for change in [
            (|g| g.limits.max_tx_bytes = MAX_TX as u32 + 1) as fn(&mut Genesis),
            |g| g.limits.max_tx_bytes = TX_OVERHEAD as u32 - 1,
            |g| g.limits.min_fee_per_byte = u64::MAX / MAX_TX as u64 + 1,
            |g| g.limits.max_block_txs = MAX_BLOCK_TXS as u32 + 1,
            |g| g.limits.max_block_txs = 0,
        ] {
            let error = refuse(&change);
            assert!(matches!(error, GenesisError::LimitOutOfRange { .. }), "{error}");
        }
        for text in [
            "",
            "network = 1\nproducer = []",
            "network = 1\n[limits]\nmax = 1",
            "network = 1\nproducers = [\"ab\"]",
            "network = 1\n[[accounts]]\nid = \"0x00\"\nbalance = 1",
            "network = 1\n[[accounts]]\nbalance = -1",
            "network = 4294967296",
        ] {
            let error = Genesis::from_toml(text).unwrap_err();
            assert!(matches!(error, GenesisError::Toml(_)), "{text}");
        }
        let error = Genesis::from_toml("network = 1\nproducer = []").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("`producers`"), "{error}");
    }

    #[test]
    fn producers_take_turns_from_the_first_height() {
        let genesis = genesis();
        let turns: Vec<_> = (0..5).map(|height| genesis.producer_at(height)).collect();
        assert_eq!(turns, [None, Some(id(9)), Some(id(8)), Some(id(9)), Some(id(8))]);
        assert_eq!(genesis.producer_at(u64::MAX), Some(id(9)));
        assert_eq!(Genesis { producers: vec![], ..genesis }.producer_at(1), None);
    }

    proptest! {
        #[test]
        fn every_valid_genesis_survives_toml(
            network in any::<u32>(), producers in prop::collection::btree_set(any::<[u8; 32]>(), 0..5),
            fee in 0..=u64::MAX / MAX_TX as u64, balances in prop::collection::btree_map(any::<u8>(), any::<u64>(), 0..5),
        ) {
            let genesis = Genesis {
                network: NetworkId(network),
                producers: producers.into_iter().map(AccountId).collect(),
                limits: Limits { min_fee_per_byte: fee, ..Limits::default() },
                accounts: balances.into_iter().map(|(byte, balance)| account(byte, balance / 5)).collect(),
            };
            prop_assert_eq!(Genesis::from_toml(&genesis.to_toml()), Ok(genesis));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,200}") {
            let _ = Genesis::from_toml(&text);
        }
    }
}
