//! The JSON-RPC methods and the shapes of what they take and give. The server and the client are made from this one
//! description.

use std::collections::BTreeMap;

use jsonrpsee::{
    core::{RpcResult, SubscriptionResult},
    proc_macros::rpc,
};
use serde::{Deserialize, Serialize};
use starling_mempool::Place;
use starling_wire::{AccountId, BlockId, GenesisId, NetworkId, NodeId, Transaction, TxId};

/// Methods of a node. Ids are `0x` and hex, amounts are plain numbers.
#[rpc(server, client)]
pub trait Api {
    /// Submits a signed transaction, `0x` and the hex of its bytes; answered when it is on the node's disk, if the node
    /// keeps anything. One that is known already is a success.
    #[method(name = "tx_sendRaw")]
    async fn tx_send_raw(&self, tx: String) -> RpcResult<Submitted>;

    /// Whether a signed transaction would be admitted now, signature included. Nothing is done with it.
    #[method(name = "tx_check")]
    async fn tx_check(&self, tx: String) -> RpcResult<Checked>;

    /// Every transaction that enters the pool from now on (WebSocket only). Whoever reads too slowly is told so, and told
    /// no more.
    #[subscription(name = "tx_subscribe" => "tx_admitted", unsubscribe = "tx_unsubscribe", item = TxView)]
    async fn tx_subscribe(&self) -> SubscriptionResult;

    /// A transaction in the pool or in a recent block.
    #[method(name = "tx_get")]
    async fn tx_get(&self, id: TxId) -> RpcResult<TxView>;

    /// How full the pool is.
    #[method(name = "txpool_status")]
    async fn txpool_status(&self) -> RpcResult<PoolView>;

    /// The pool's transactions, highest fee per byte first, or one sender's by nonce: at most `limit` (100 if not given,
    /// 1,000 at most).
    #[method(name = "txpool_content")]
    async fn txpool_content(&self, limit: Option<u32>, sender: Option<AccountId>) -> RpcResult<Vec<TxView>>;

    /// What one sender has in the pool, in numbers.
    #[method(name = "txpool_sender")]
    async fn txpool_sender(&self, id: AccountId) -> RpcResult<SenderView>;

    /// An account after the last applied block. One that was never heard of is empty.
    #[method(name = "account_get")]
    async fn account_get(&self, id: AccountId) -> RpcResult<AccountView>;

    /// The end of the chain.
    #[method(name = "block_latest")]
    async fn block_latest(&self) -> RpcResult<ChainView>;

    /// A recent block by its height.
    #[method(name = "block_get")]
    async fn block_get(&self, height: u64) -> RpcResult<BlockView>;

    /// The neighbours.
    #[method(name = "net_peers")]
    async fn net_peers(&self) -> RpcResult<Vec<PeerView>>;

    /// How many neighbours there are.
    #[method(name = "net_peerCount")]
    async fn net_peer_count(&self) -> RpcResult<u32>;

    /// What the whole network is like, as this node estimates it from a sample of the reports that nodes make about
    /// themselves.
    #[method(name = "net_aggregates")]
    async fn net_aggregates(&self) -> RpcResult<NetworkView>;

    /// Who the node is.
    #[method(name = "node_info")]
    async fn node_info(&self) -> RpcResult<NodeView>;

    /// Everything the node counts, by the names that `/metrics` uses.
    #[method(name = "node_counters")]
    async fn node_counters(&self) -> RpcResult<BTreeMap<String, u64>>;

    /// Connects to a peer (multiaddr). Off unless the node was started with `--rpc-admin`.
    #[method(name = "admin_addPeer")]
    async fn admin_add_peer(&self, address: String) -> RpcResult<()>;

    /// Bans a peer (node id or libp2p peer id) for ten minutes. Off unless the node was started with `--rpc-admin`.
    #[method(name = "admin_banPeer")]
    async fn admin_ban_peer(&self, peer: String) -> RpcResult<()>;

    /// This interface as an OpenRPC document.
    #[method(name = "rpc.discover")]
    async fn discover(&self) -> RpcResult<serde_json::Value>;
}

/// Whether a transaction in the pool could be included now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TxState {
    /// In the pool, all of the sender's earlier nonces present.
    Pending,
    /// In the pool, waiting for an earlier nonce.
    Queued,
    /// In a block.
    Included,
}

impl From<Place> for TxState {
    fn from(place: Place) -> Self {
        match place {
            Place::Pending => Self::Pending,
            Place::Queued => Self::Queued,
        }
    }
}

/// Answer to `tx_sendRaw`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// The transaction.
    pub id: TxId,
    /// Where it is now.
    pub state: TxState,
}

/// Answer to `tx_check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The transaction.
    pub id: TxId,
    /// Where it would be, or is already.
    pub state: TxState,
    /// Bytes of the transaction it would replace, 0 if none.
    pub replaced_bytes: u64,
    /// How many would leave the pool, the replaced one counted.
    pub displaced: u64,
}

/// A transaction as shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxView {
    /// Its id.
    pub id: TxId,
    /// Where it is.
    pub state: TxState,
    /// The block that includes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// Its encoded length in bytes.
    pub bytes: u32,
    /// Its fields.
    pub transaction: Transaction,
}

/// Answer to `txpool_status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolView {
    /// Transactions in all.
    pub count: u64,
    /// Those that could be included now.
    pub pending: u64,
    /// Those that wait for an earlier nonce.
    pub queued: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// How many senders have transactions.
    pub senders: u64,
    /// Lowest fee per byte that would be admitted now.
    pub floor: u64,
    /// The limits.
    pub limits: PoolLimits,
    /// Transactions from neighbours that were refused since the start, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// The limits of a pool, in the answer to `txpool_status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolLimits {
    /// Most transactions.
    pub count: u64,
    /// Most bytes of all of them.
    pub bytes: u64,
    /// Most transactions of one sender.
    pub sender_count: u64,
    /// Most bytes of one sender's.
    pub sender_bytes: u64,
    /// How far a nonce may be above the account's.
    pub nonce_gap: u64,
    /// How long a neighbour's transaction may stay, in seconds.
    pub lifetime_s: u64,
    /// The same for one submitted at this node.
    pub local_lifetime_s: u64,
}

/// Answer to `txpool_sender`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderView {
    /// The sender.
    pub id: AccountId,
    /// What its account has.
    pub balance: u64,
    /// The nonce its next transaction should carry, with those in the pool counted.
    pub next_nonce: u64,
    /// Its transactions that could be included now.
    pub pending: u64,
    /// Those that wait for an earlier nonce.
    pub queued: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Amounts and fees of all of them. With the balance it says what else can be sent.
    pub cost: u64,
}

/// Answer to `account_get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// The account.
    pub id: AccountId,
    /// What it has.
    pub balance: u64,
    /// Its transactions in blocks so far.
    pub nonce: u64,
    /// The nonce its next transaction should carry, with those in the pool counted.
    pub next_nonce: u64,
}

/// Answer to `block_latest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainView {
    /// Height of the last applied block, 0 for none.
    pub height: u64,
    /// Its id, all zero for none.
    pub id: BlockId,
    /// Digest of all balances and nonces after it, `0x` and hex.
    pub account_digest: String,
}

/// Answer to `block_get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Its id.
    pub id: BlockId,
    /// Its height.
    pub height: u64,
    /// The block before it.
    pub parent: BlockId,
    /// Who made it.
    pub producer: AccountId,
    /// When, in milliseconds since 1970 by the producer's clock.
    pub timestamp_ms: u64,
    /// Its transactions, in order.
    pub tx_ids: Vec<TxId>,
}

/// A neighbour, in the answer to `net_peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its node id.
    pub id: NodeId,
    /// Its libp2p peer id.
    pub peer_id: String,
    /// `outgoing` or `incoming`.
    pub direction: String,
    /// Whether both sides have said hello.
    pub ready: bool,
    /// Smoothed round-trip time in milliseconds, once measured.
    pub rtt_ms: Option<f64>,
    /// Its score: 0 at best, banned at -100.
    pub score: f64,
    /// Transactions it was the first to bring.
    pub first_deliveries: u64,
    /// Seconds since the connection came up.
    pub age_s: f64,
    /// The network it is in: a /16 of IPv4 or a /32 of IPv6.
    #[serde(default)]
    pub network: String,
    /// How unlikely its present silence is, as a negative power of ten: from 8 on it is taken for dead.
    #[serde(default)]
    pub phi: f64,
    /// Bytes of messages that came from it.
    #[serde(default)]
    pub bytes_in: u64,
    /// Bytes of messages that went to it.
    #[serde(default)]
    pub bytes_out: u64,
}

/// Answer to `net_aggregates`. Fees are per byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkView {
    /// The epoch it is about: Unix time divided by 30 seconds.
    pub epoch: u32,
    /// Whether the reports of that epoch are all in.
    pub settled: bool,
    /// Whether every node is in the sample, so that nothing is estimated.
    pub exact: bool,
    /// Reports in the sample.
    pub reports: u32,
    /// The number of nodes.
    pub nodes: EstimateView,
    /// By how much the true rank of a quantile may differ from its name: 0.1 says that `p50` may be anything from the 40th
    /// to the 60th percentile.
    pub rank_error: f64,
    /// Each figure over the network: `links`, `pool_txs`, `pool_bytes`, `pool_fill` (0 to 1), `admitted_per_s`, `floor`,
    /// `fee_p10`, `fee_p50` and `fee_p90` (of each node's pool).
    pub figures: BTreeMap<String, SpreadView>,
    /// The share of the nodes that run each version of the program.
    pub versions: BTreeMap<String, f64>,
    /// Nodes in the sample that signed two different reports for the epoch. They are not counted.
    pub liars: Vec<NodeId>,
    /// Nodes caught at that in the last epochs, as far as they are remembered.
    pub proofs: Vec<ProofView>,
    /// Messages passed over because they were about another time: if there are many, a clock is wrong.
    pub untimely: u64,
}

/// An estimate, in the answer to `net_aggregates`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EstimateView {
    /// The best guess.
    pub value: f64,
    /// The least and the most it may be, in 98 of 100 cases.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// One figure over all nodes, in the answer to `net_aggregates`. A share s of liars moves a quantile q at most to those from
/// (q - s) / (1 - s) to q / (1 - s) of honest nodes; `mean` and `sum` have no such protection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SpreadView {
    /// The mean.
    pub mean: f64,
    /// How far the true mean may be from it, in 98 of 100 cases.
    pub mean_error: f64,
    /// The mean of the middle half of the nodes.
    pub middle_mean: f64,
    /// All nodes' together.
    pub sum: f64,
    /// Lowest in the sample.
    pub min: f64,
    /// Not exceeded by a tenth of the nodes.
    pub p10: f64,
    /// By half.
    pub p50: f64,
    /// By nine tenths.
    pub p90: f64,
    /// Highest in the sample.
    pub max: f64,
    /// This node's own.
    pub own: f64,
    /// Share of the nodes that have less than this one, those that have as much counted half.
    pub own_rank: f64,
}

/// A node that signed two different reports for one epoch, in the answer to `net_aggregates`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofView {
    /// The node.
    pub node: NodeId,
    /// The epoch.
    pub epoch: u32,
    /// Both reports as they came, `0x` and hex.
    pub reports: [String; 2],
}

/// Answer to `node_info`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// The program's version.
    pub version: String,
    /// The peer protocol's version.
    pub protocol: u16,
    /// The node id.
    pub id: NodeId,
    /// The libp2p peer id.
    pub peer_id: String,
    /// Where it listens, each with the peer id at its end.
    pub addresses: Vec<String>,
    /// The network's number.
    pub network: NetworkId,
    /// The network's genesis.
    pub genesis: GenesisId,
    /// Seconds since the start.
    pub uptime_s: f64,
}
