//! What each method does.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jsonrpsee::{
    PendingSubscriptionSink, SendTimeoutError,
    core::{RpcResult, SubscriptionResult, async_trait},
    types::ErrorObjectOwned,
};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use starling_mempool::{AccountView as _, Admissible, Place, Rejection};
use starling_wire::{AccountId, NodeId, PROTOCOL_VERSION, SignedTx, TxId, VerifiedTx, limits::MAX_TX};
use tokio::sync::broadcast::error::RecvError;

use super::{
    api::{
        AccountView, ApiServer, BlockView, ChainView, Checked, NetworkView, NodeView, PeerView, PoolView, SenderView,
        Submitted, TxState, TxView,
    },
    errors::{admin_is_off, invalid_input, no_aggregates, no_bans, no_blocks, not_found, rejected, unavailable},
    metrics, openrpc,
    state::{Measured, State},
    views::{block_view, network_view, peer_view, pool_view, pooled_view, view},
};
use crate::{
    engine::{Chain, Included, Time},
    net::{NodeHandle, node_id, peer_id},
};

/// Transactions in the answer to `txpool_content`: without a limit given, and at most. The longest fit into an answer
/// only a few hundred at a time; the server then says that the answer is too large.
const CONTENT_DEFAULT: u32 = 100;
const CONTENT_MAX: u32 = 1_000;

/// How long a subscription waits for its reader to take one message.
const READER_PATIENCE: Duration = Duration::from_secs(10);

/// The methods over a running node.
pub(super) struct Server<S> {
    handle: NodeHandle<S>,
    admin: bool,
    since: Instant,
}

impl<S: State> Server<S> {
    pub(super) fn new(handle: NodeHandle<S>, admin: bool) -> Self {
        Self { handle, admin, since: Instant::now() }
    }

    async fn query<T: Send + 'static>(&self, question: impl FnOnce(&S, Time) -> T + Send + 'static) -> RpcResult<T> {
        self.handle.query(question).await.map_err(unavailable)
    }

    /// Asks about the blocks, if the node has any.
    async fn query_chain<T: Send + 'static>(
        &self,
        question: impl FnOnce(&S, &Chain) -> T + Send + 'static,
    ) -> RpcResult<T> {
        let answer = self.query(|state, _| state.chain().map(|chain| question(state, chain))).await?;
        answer.ok_or_else(no_blocks)
    }

    /// A transaction that a recent block includes, and the height of that block.
    async fn included(&self, id: TxId) -> RpcResult<Option<(u64, SignedTx)>> {
        let question = move |state: &S, _: Time| match state.chain()?.find(&id)? {
            Included::InMemory(height, tx) => Some((height, Some((**tx).clone()))),
            Included::Stored(height) => Some((height, None)),
        };
        let Some((height, in_memory)) = self.query(question).await? else { return Ok(None) };
        let tx = match in_memory {
            None => self.handle.stored_tx(height, id).await.map_err(unavailable)?,
            tx => tx,
        };
        Ok(tx.map(|tx| (height, tx)))
    }

    /// Fails with the rejection unless it comes of the transaction being in a block already: such a one has used its own
    /// nonce, and only what is looked at before the nonce can hide that.
    async fn expect_included(&self, id: TxId, rejection: &Rejection) -> RpcResult<()> {
        let is_likely =
            matches!(rejection, Rejection::NonceTooLow { .. } | Rejection::Expired { .. } | Rejection::Refused { .. });
        if is_likely && self.included(id).await?.is_some() { Ok(()) } else { Err(rejected(rejection)) }
    }

    fn require_admin(&self) -> RpcResult<()> {
        if self.admin { Ok(()) } else { Err(admin_is_off()) }
    }
}

#[async_trait]
impl<S: State> ApiServer for Server<S> {
    async fn tx_send_raw(&self, tx: String) -> RpcResult<Submitted> {
        let tx = parse_tx(&tx)?;
        let id = tx.id();
        match self.handle.submit(tx).await.map_err(unavailable)? {
            Ok(place) => Ok(Submitted { id, state: place.into() }),
            Err(rejection) => {
                self.expect_included(id, &rejection).await?;
                Ok(Submitted { id, state: TxState::Included })
            }
        }
    }

    async fn tx_check(&self, tx: String) -> RpcResult<Checked> {
        let tx = parse_tx(&tx)?;
        let id = tx.id();
        let known = |state| Checked { id, state, replaced_bytes: 0, displaced: 0 };
        let unchecked = tx.clone();
        let found = self.query(move |state, now| look_at(state, now, &unchecked)).await?;
        let Admissible { place, replaced_bytes, displaced } = match found {
            Found::Pooled(place) => return Ok(known(place.into())),
            Found::New(Ok(admissible)) => admissible,
            Found::New(Err(rejection)) => {
                self.expect_included(id, &rejection).await?;
                return Ok(known(TxState::Included));
            }
        };
        tx.verify().map_err(|error| rejected(&Rejection::BadSignature(error)))?;
        Ok(Checked { id, state: place.into(), replaced_bytes: replaced_bytes as u64, displaced: displaced as u64 })
    }

    async fn tx_subscribe(&self, pending: PendingSubscriptionSink) -> SubscriptionResult {
        let mut admissions = self.handle.admissions().subscribe();
        let sink = pending.accept().await?;
        loop {
            let admission = tokio::select! {
                () = sink.closed() => return Ok(()),
                admission = admissions.recv() => admission,
            };
            let (tx, place) = admission.map_err(|error| match error {
                RecvError::Lagged(missed) => {
                    format!("read too slowly: {missed} transactions were missed; subscribe again, and look at txpool_content")
                }
                RecvError::Closed => "the node is stopping".to_owned(),
            })?;
            let message = serde_json::value::to_raw_value(&pooled_view(&tx, Some(place)))?;
            // Meanwhile what is admitted waits, up to a bound.
            match sink.send_timeout(message, READER_PATIENCE).await {
                Ok(()) => {}
                Err(SendTimeoutError::Closed(_)) => return Ok(()),
                Err(SendTimeoutError::Timeout(_)) => Err("read too slowly: nothing was taken for 10 seconds")?,
            }
        }
    }

    async fn tx_get(&self, id: TxId) -> RpcResult<TxView> {
        let pooled = move |state: &S, _: Time| {
            let pool = state.pool();
            pool.get(&id).map(|tx| pooled_view(tx, pool.place(&id)))
        };
        if let Some(found) = self.query(pooled).await? {
            return Ok(found);
        }
        let found = self.included(id).await?.map(|(height, tx)| view(&tx, TxState::Included, Some(height)));
        found.ok_or_else(|| {
            not_found(format!(
                "no transaction {id} in the pool or in a recent block; it never came, was displaced, or is long included"
            ))
        })
    }

    async fn txpool_status(&self) -> RpcResult<PoolView> {
        let question = |state: &S, now: Time| {
            let pool = state.pool();
            (pool.status(now.since_start()), pool.config().clone(), state.stats().refused.clone())
        };
        let (status, config, refused) = self.query(question).await?;
        Ok(pool_view(&status, &config, &refused))
    }

    async fn txpool_content(&self, limit: Option<u32>, sender: Option<AccountId>) -> RpcResult<Vec<TxView>> {
        let limit = limit.unwrap_or(CONTENT_DEFAULT);
        if limit > CONTENT_MAX {
            return Err(invalid_input(format!("the limit is {limit}; ask for {CONTENT_MAX} at most")));
        }
        // Cheap clones on the node's task; the text is made here.
        let txs: Vec<(VerifiedTx, Option<Place>)> = self
            .query(move |state, _| {
                let pool = state.pool();
                let with_place = |tx: &VerifiedTx| (tx.clone(), pool.place(&tx.id()));
                match sender {
                    None => pool.iter().take(limit as usize).map(with_place).collect(),
                    Some(id) => pool.by_sender(&id).take(limit as usize).map(with_place).collect(),
                }
            })
            .await?;
        Ok(txs.iter().map(|(tx, place)| pooled_view(tx, *place)).collect())
    }

    async fn txpool_sender(&self, id: AccountId) -> RpcResult<SenderView> {
        self.query(move |state, _| {
            let (pool, ledger) = (state.pool(), state.ledger());
            let status = pool.sender_status(&id);
            SenderView {
                id,
                balance: ledger.account(&id).balance,
                next_nonce: pool.next_nonce(&id, ledger),
                pending: status.pending as u64,
                queued: status.queued as u64,
                bytes: status.bytes as u64,
                // It never exceeds a balance.
                cost: u64::try_from(status.cost).unwrap_or(u64::MAX),
            }
        })
        .await
    }

    async fn account_get(&self, id: AccountId) -> RpcResult<AccountView> {
        self.query(move |state, _| {
            let account = state.ledger().account(&id);
            let next_nonce = state.pool().next_nonce(&id, state.ledger());
            AccountView { id, balance: account.balance, nonce: account.nonce, next_nonce }
        })
        .await
    }

    async fn block_latest(&self) -> RpcResult<ChainView> {
        self.query_chain(|state, chain| ChainView {
            height: chain.height(),
            id: chain.head(),
            account_digest: format!("0x{}", hex::encode(state.ledger().digest())),
        })
        .await
    }

    async fn block_get(&self, height: u64) -> RpcResult<BlockView> {
        let (found, kept, head) = self
            .query_chain(move |_, chain| {
                let found = chain.block(height).map(|applied| block_view(&applied.block));
                (found, chain.keeps(height), chain.height())
            })
            .await?;
        let found = match found {
            None if kept => Some(block_view(&self.handle.stored_block(height).await.map_err(unavailable)?)),
            found => found,
        };
        found.ok_or_else(|| {
            not_found(match height {
                0 => "height 0 is the genesis, which is no block; the first block has height 1".to_owned(),
                _ if height > head => format!("no block {height} yet; the last one is {head}"),
                _ => format!("block {height} is no longer kept; only recent ones are, up to {head}"),
            })
        })
    }

    async fn net_peers(&self) -> RpcResult<Vec<PeerView>> {
        let (neighbours, now) = self.query(|state, now| (state.neighbours(now), now)).await?;
        Ok(neighbours.iter().map(|neighbour| peer_view(neighbour, now)).collect())
    }

    async fn net_peer_count(&self) -> RpcResult<u32> {
        self.query(|state, now| state.neighbours(now).len() as u32).await
    }

    async fn net_aggregates(&self) -> RpcResult<NetworkView> {
        let Measured { network, proofs, untimely } =
            self.query(|state, now| state.network(now)).await?.ok_or_else(no_aggregates)?;
        Ok(network_view(network, &proofs, untimely))
    }

    async fn node_info(&self) -> RpcResult<NodeView> {
        let (network, genesis) = self.query(|state, _| (state.genesis().network, state.genesis().id())).await?;
        let id = self.handle.id();
        Ok(NodeView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL_VERSION,
            id,
            peer_id: peer_id(&id).map(|peer| peer.to_string()).unwrap_or_default(),
            addresses: self.handle.listeners().iter().map(Multiaddr::to_string).collect(),
            network,
            genesis,
            uptime_s: self.since.elapsed().as_secs_f64(),
        })
    }

    async fn node_counters(&self) -> RpcResult<BTreeMap<String, u64>> {
        let metrics = metrics::collect(&self.handle).await.map_err(unavailable)?;
        Ok(metrics::flat(&metrics))
    }

    async fn admin_add_peer(&self, address: String) -> RpcResult<()> {
        self.require_admin()?;
        let address: Multiaddr = address.parse().map_err(|error| {
            invalid_input(format!("`{address}` is no multiaddr, such as /ip4/1.2.3.4/tcp/4001: {error}"))
        })?;
        if let Some(Protocol::P2p(peer)) = address.iter().last()
            && node_id(&peer).is_err()
        {
            return Err(invalid_input(format!("the peer {peer} of the address is not identified by an ed25519 key")));
        }
        self.handle.add_peer(address).map_err(unavailable)
    }

    async fn admin_ban_peer(&self, peer: String) -> RpcResult<()> {
        self.require_admin()?;
        if !S::BANS {
            return Err(no_bans());
        }
        self.handle.ban_peer(parse_peer(&peer)?).map_err(unavailable)
    }

    async fn discover(&self) -> RpcResult<serde_json::Value> {
        Ok(openrpc::document())
    }
}

/// Reads a transaction's hex; errors say what is wrong and at which digit.
fn parse_tx(text: &str) -> Result<SignedTx, ErrorObjectOwned> {
    let Some(digits) = text.strip_prefix("0x") else {
        return Err(invalid_input("the transaction must be 0x and hex digits; 0x is missing at its start"));
    };
    if digits.len() > 2 * MAX_TX {
        return Err(invalid_input(format!(
            "the transaction has {} bytes; at most {MAX_TX} are allowed",
            digits.len().div_ceil(2)
        )));
    }
    let bytes = hex::decode(digits).map_err(|error| match error {
        hex::FromHexError::InvalidHexCharacter { c, index } => invalid_input(format!(
            "the transaction has `{}` at digit {}, which is no hex",
            c.escape_default(),
            index + 1
        )),
        hex::FromHexError::OddLength => invalid_input(format!(
            "the transaction has {} hex digits, an odd number; the last byte is incomplete",
            digits.len()
        )),
        hex::FromHexError::InvalidStringLength => invalid_input(error.to_string()),
    })?;
    SignedTx::decode(&bytes)
        .map_err(|error| invalid_input(format!("the {} bytes are no transaction: {error}", bytes.len())))
}

/// Reads a node id or a libp2p peer id.
fn parse_peer(text: &str) -> Result<NodeId, ErrorObjectOwned> {
    if let Ok(id) = text.parse::<NodeId>() {
        return Ok(id);
    }
    let bad = || invalid_input(format!("`{text}` is neither a node id (0x and 64 hex digits) nor a libp2p peer id"));
    let peer: PeerId = text.parse().map_err(|_| bad())?;
    node_id(&peer).map_err(|error| invalid_input(format!("{text}: {error}")))
}

/// What a transaction is to a node's pool.
enum Found {
    Pooled(Place),
    New(Result<Admissible, Rejection>),
}

fn look_at(state: &impl State, now: Time, tx: &SignedTx) -> Found {
    if let Some(place) = state.pool().place(&tx.id()) {
        return Found::Pooled(place);
    }
    let height = state.chain().map_or(0, Chain::height);
    Found::New(state.pool().check(now.since_start(), tx, height, state.ledger()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jsonrpsee::{core::EmptyServerParams, server::Methods};
    use starling_wire::{NetworkId, SecretKey, Transaction};

    use super::*;
    use crate::engine::Engine;

    fn transaction(nonce: u64) -> VerifiedTx {
        let key = SecretKey::from_seed(&[1; 32]);
        let tx = Transaction {
            network: NetworkId(1),
            sender: key.account(),
            nonce,
            fee: 1000,
            recipient: AccountId([9; 32]),
            amount: 1,
            valid_until: None,
            payload: Default::default(),
        };
        tx.sign(&key).unwrap().verify().unwrap()
    }

    #[tokio::test]
    async fn subscribers_are_told_until_they_fall_behind() {
        let (handle, _commands) = NodeHandle::<Engine>::new(NodeId([1; 32]), vec![], Arc::default());
        let methods: Methods = Server::new(handle.clone(), false).into_rpc().into();
        let mut quick = methods.subscribe("tx_subscribe", EmptyServerParams::new(), 4).await.unwrap();
        let mut slow = methods.subscribe("tx_subscribe", EmptyServerParams::new(), 4).await.unwrap();
        let txs: Vec<_> = (0..10).map(transaction).collect();
        for number in 0..2_000 {
            let tx = &txs[number % txs.len()];
            assert_eq!(handle.admissions().send((tx.clone(), Place::Queued)).unwrap(), 2, "both listen");
            let (view, _) = quick.next::<TxView>().await.unwrap().unwrap();
            assert_eq!((view.id, view.state), (tx.id(), TxState::Queued));
        }
        // The other has what waited for it, and then an end.
        let mut told = 0;
        while let Some(view) = slow.next::<TxView>().await {
            view.unwrap();
            told += 1;
        }
        assert!((1..20).contains(&told), "{told}");
        assert_eq!(handle.admissions().receiver_count(), 1);
    }

    fn message(text: &str) -> String {
        parse_tx(text).unwrap_err().message().to_owned()
    }

    #[test]
    fn bad_transactions_are_told_what_and_where() {
        assert!(message("00").contains("0x is missing"), "{}", message("00"));
        assert!(message("0x00gg").contains("`g` at digit 3"), "{}", message("0x00gg"));
        assert!(message("0x000").contains("odd"), "{}", message("0x000"));
        assert!(message("0x").contains("the 0 bytes are no transaction"), "{}", message("0x"));
        let long = format!("0x{}", "00".repeat(MAX_TX + 1));
        assert!(message(&long).contains("at most"), "{}", message(&long));
    }

    #[test]
    fn peers_have_two_names() {
        let node = starling_wire::SecretKey::from_seed(&[1; 32]).node();
        let peer = peer_id(&node).unwrap();
        assert_eq!(parse_peer(&node.to_string()).unwrap(), node);
        assert_eq!(parse_peer(&peer.to_string()).unwrap(), node);
        assert!(parse_peer("nobody").is_err());
        assert!(parse_peer(&PeerId::random().to_string()).is_err());
    }
}
