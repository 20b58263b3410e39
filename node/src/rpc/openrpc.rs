//! The interface as an OpenRPC document, from one table of methods. A test holds the table against the methods that
//! are really registered, and another the schemas against what is really sent.

use serde_json::{Value, json};

use super::errors::code;

/// A parameter of a method.
struct Param {
    name: &'static str,
    about: &'static str,
    schema: fn() -> Value,
    required: bool,
}

/// A method.
struct Method {
    name: &'static str,
    about: &'static str,
    params: &'static [Param],
    result: fn() -> Value,
    /// Codes it may answer with, besides those of JSON-RPC itself.
    errors: &'static [i32],
}

/// What any method answers when the node is busy or stopping.
const USUAL: &[i32] = &[code::NOT_READY, code::LIMIT];

const METHODS: &[Method] = &[
    Method {
        name: "tx_sendRaw",
        about: "Submits a signed transaction, and answers when it is on the node's disk. One that is known already is a success.",
        params: &[Param { name: "tx", about: "The transaction's bytes", schema: hex_bytes, required: true }],
        result: || reference("Submitted"),
        errors: &[code::INVALID_INPUT, code::NOT_READY, code::REJECTED, code::LIMIT],
    },
    Method {
        name: "tx_check",
        about: "Whether a signed transaction would be admitted now, signature included. Nothing is done with it.",
        params: &[Param { name: "tx", about: "The transaction's bytes", schema: hex_bytes, required: true }],
        result: || reference("Checked"),
        errors: &[code::INVALID_INPUT, code::NOT_READY, code::REJECTED, code::LIMIT],
    },
    Method {
        name: "tx_subscribe",
        about: "Notifies by tx_admitted, on this WebSocket, of every transaction that enters the pool from now on, as a Tx. \
                Whoever reads too slowly is sent an error in place of a result, and nothing more.",
        params: &[],
        result: || json!({"type": ["string", "integer"], "description": "The subscription's id"}),
        errors: &[],
    },
    Method {
        name: "tx_unsubscribe",
        about: "Ends a subscription.",
        params: &[Param {
            name: "subscription",
            about: "Its id",
            schema: || json!({"type": ["string", "integer"]}),
            required: true,
        }],
        result: || json!({"type": "boolean"}),
        errors: &[],
    },
    Method {
        name: "tx_get",
        about: "A transaction in the pool or in a recent block.",
        params: &[Param { name: "id", about: "The transaction's id", schema: id, required: true }],
        result: || reference("Tx"),
        errors: &[code::NOT_FOUND, code::NOT_READY, code::LIMIT],
    },
    Method {
        name: "txpool_status",
        about: "How full the pool is.",
        params: &[],
        result: || reference("Pool"),
        errors: USUAL,
    },
    Method {
        name: "txpool_content",
        about: "The pool's transactions, highest fee per byte first, or one sender's by nonce.",
        params: &[
            Param {
                name: "limit",
                about: "How many at most: 100 if not given, 1,000 at most",
                schema: || json!({"type": "integer", "minimum": 0, "maximum": 1000}),
                required: false,
            },
            Param { name: "sender", about: "Only this account's", schema: id, required: false },
        ],
        result: || list(reference("Tx")),
        errors: &[code::INVALID_INPUT, code::NOT_READY, code::LIMIT],
    },
    Method {
        name: "txpool_sender",
        about: "What one sender has in the pool, in numbers.",
        params: &[Param { name: "id", about: "The account's id", schema: id, required: true }],
        result: || reference("Sender"),
        errors: USUAL,
    },
    Method {
        name: "account_get",
        about: "An account after the last applied block. One that was never heard of is empty.",
        params: &[Param { name: "id", about: "The account's id", schema: id, required: true }],
        result: || reference("Account"),
        errors: USUAL,
    },
    Method {
        name: "block_latest",
        about: "The end of the chain.",
        params: &[],
        result: || reference("Chain"),
        errors: USUAL,
    },
    Method {
        name: "block_get",
        about: "A recent block by its height.",
        params: &[Param { name: "height", about: "1 for the first block", schema: number, required: true }],
        result: || reference("Block"),
        errors: &[code::NOT_FOUND, code::NOT_READY, code::LIMIT],
    },
    Method {
        name: "net_peers",
        about: "The neighbours.",
        params: &[],
        result: || list(reference("Peer")),
        errors: USUAL,
    },
    Method {
        name: "net_peerCount",
        about: "How many neighbours there are.",
        params: &[],
        result: number,
        errors: USUAL,
    },
    Method {
        name: "net_aggregates",
        about: "What the whole network is like, as this node estimates it from a sample of the reports that nodes make about \
                themselves.",
        params: &[],
        result: || reference("Network"),
        errors: USUAL,
    },
    Method { name: "node_info", about: "Who the node is.", params: &[], result: || reference("Node"), errors: USUAL },
    Method {
        name: "node_counters",
        about: "Everything the node counts, by the names that /metrics uses.",
        params: &[],
        result: || json!({"type": "object", "additionalProperties": number()}),
        errors: USUAL,
    },
    Method {
        name: "admin_addPeer",
        about: "Connects to a peer. Off unless the node was started with --rpc-admin.",
        params: &[Param { name: "address", about: "A multiaddr", schema: text, required: true }],
        result: || json!({"type": "null"}),
        errors: &[code::INVALID_INPUT, code::NOT_READY, code::LIMIT],
    },
    Method {
        name: "admin_banPeer",
        about: "Bans a peer for ten minutes. Off unless the node was started with --rpc-admin.",
        params: &[Param { name: "peer", about: "Node id or libp2p peer id", schema: text, required: true }],
        result: || json!({"type": "null"}),
        errors: &[code::INVALID_INPUT, code::NOT_READY, code::LIMIT],
    },
    Method {
        name: "rpc.discover",
        about: "This interface as an OpenRPC document.",
        params: &[],
        result: || json!({"type": "object"}),
        errors: &[],
    },
];

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn id() -> Value {
    json!({"type": "string", "pattern": "^0x[0-9a-f]{64}$"})
}

fn hex_bytes() -> Value {
    json!({"type": "string", "pattern": "^0x([0-9a-fA-F]{2})*$"})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn number() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn float() -> Value {
    json!({"type": "number"})
}

/// An object whose properties are all there, but for those named.
fn object(properties: Value, optional: &[&str]) -> Value {
    let required: Vec<&String> = properties
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .filter(|name| !optional.contains(&name.as_str()))
        .collect();
    json!({"type": "object", "required": required, "properties": properties})
}

fn schemas() -> Value {
    let state = json!({"enum": ["pending", "queued", "included"]});
    json!({
        "Submitted": object(json!({"id": id(), "state": state}), &[]),
        "Checked": object(json!({
            "id": id(), "state": state, "replaced_bytes": number(), "displaced": number(),
        }), &[]),
        "Transaction": object(json!({
            "network": number(), "sender": id(), "nonce": number(), "fee": number(), "recipient": id(),
            "amount": number(), "valid_until": number(), "payload": hex_bytes(),
        }), &["valid_until"]),
        "Tx": object(json!({
            "id": id(), "state": state, "height": number(), "bytes": number(),
            "transaction": reference("Transaction"),
        }), &["height"]),
        "Pool": object(json!({
            "count": number(), "pending": number(), "queued": number(), "bytes": number(), "senders": number(),
            "floor": number(), "limits": reference("PoolLimits"),
            "refused": {"type": "object", "additionalProperties": number()},
        }), &[]),
        "PoolLimits": object(json!({
            "count": number(), "bytes": number(), "sender_count": number(), "sender_bytes": number(),
            "nonce_gap": number(), "lifetime_s": number(), "local_lifetime_s": number(),
        }), &[]),
        "Sender": object(json!({
            "id": id(), "balance": number(), "next_nonce": number(), "pending": number(), "queued": number(),
            "bytes": number(), "cost": number(),
        }), &[]),
        "Account": object(json!({
            "id": id(), "balance": number(), "nonce": number(), "next_nonce": number(),
        }), &[]),
        "Chain": object(json!({"height": number(), "id": id(), "account_digest": id()}), &[]),
        "Block": object(json!({
            "id": id(), "height": number(), "parent": id(), "producer": id(), "timestamp_ms": number(),
            "tx_ids": list(id()),
        }), &[]),
        "Peer": object(json!({
            "id": id(), "peer_id": text(), "direction": {"enum": ["outgoing", "incoming"]},
            "ready": {"type": "boolean"}, "rtt_ms": {"type": ["number", "null"]}, "score": float(),
            "first_deliveries": number(), "age_s": float(),
            "network": text(), "phi": float(), "bytes_in": number(), "bytes_out": number(),
        }), &[]),
        "Network": object(json!({
            "epoch": number(), "settled": {"type": "boolean"}, "exact": {"type": "boolean"}, "reports": number(),
            "nodes": reference("Estimate"), "rank_error": float(),
            "figures": {"type": "object", "additionalProperties": reference("Spread")},
            "versions": {"type": "object", "additionalProperties": float()},
            "liars": list(id()), "proofs": list(reference("Proof")), "untimely": number(),
        }), &[]),
        "Estimate": object(json!({"value": float(), "low": float(), "high": float()}), &[]),
        "Spread": object(json!({
            "mean": float(), "mean_error": float(), "middle_mean": float(), "sum": float(), "min": float(),
            "p10": float(), "p50": float(), "p90": float(), "max": float(), "own": float(), "own_rank": float(),
        }), &[]),
        "Proof": object(json!({
            "node": id(), "epoch": number(),
            "reports": {"type": "array", "items": hex_bytes(), "minItems": 2, "maxItems": 2},
        }), &[]),
        "Node": object(json!({
            "version": text(), "protocol": number(), "id": id(), "peer_id": text(), "addresses": list(text()),
            "network": number(), "genesis": id(), "uptime_s": float(),
        }), &[]),
    })
}

fn error(code: i32) -> Value {
    let message = match code {
        code::INVALID_INPUT => "invalid input",
        code::NOT_FOUND => "not found",
        code::NOT_READY => "not ready",
        code::REJECTED => "rejected; data.reason says why",
        code::LIMIT => "limit reached",
        _ => "error",
    };
    json!({"code": code, "message": message})
}

/// The document.
pub(super) fn document() -> Value {
    let methods: Vec<Value> = METHODS
        .iter()
        .map(|method| {
            let params: Vec<Value> = method
                .params
                .iter()
                .map(|param| {
                    json!({
                        "name": param.name, "description": param.about, "schema": (param.schema)(),
                        "required": param.required,
                    })
                })
                .collect();
            json!({
                "name": method.name, "summary": method.about, "paramStructure": "either", "params": params,
                "result": {"name": "result", "schema": (method.result)()},
                "errors": method.errors.iter().copied().map(error).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "openrpc": "1.3.2",
        "info": {"title": "Starling node", "version": env!("CARGO_PKG_VERSION")},
        "methods": methods,
        "components": {"schemas": schemas()},
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use jsonrpsee::{
        PendingSubscriptionSink,
        core::{RpcResult, SubscriptionResult, async_trait},
    };
    use serde::Serialize;
    use starling_wire::{AccountId, BlockId, GenesisId, NetworkId, NodeId, Transaction, TxId};

    use super::*;
    use crate::rpc::api::{
        AccountView, ApiServer, BlockView, ChainView, Checked, EstimateView, NetworkView, NodeView, PeerView,
        PoolLimits, PoolView, ProofView, SenderView, SpreadView, Submitted, TxState, TxView,
    };

    /// Methods that are never called: only their names are looked at.
    struct Nothing;

    #[async_trait]
    impl ApiServer for Nothing {
        async fn tx_send_raw(&self, _: String) -> RpcResult<Submitted> {
            unreachable!()
        }
        async fn tx_check(&self, _: String) -> RpcResult<Checked> {
            unreachable!()
        }
        async fn tx_subscribe(&self, _: PendingSubscriptionSink) -> SubscriptionResult {
            unreachable!()
        }
        async fn tx_get(&self, _: TxId) -> RpcResult<TxView> {
            unreachable!()
        }
        async fn txpool_status(&self) -> RpcResult<PoolView> {
            unreachable!()
        }
        async fn txpool_sender(&self, _: AccountId) -> RpcResult<SenderView> {
            unreachable!()
        }
        async fn txpool_content(&self, _: Option<u32>, _: Option<AccountId>) -> RpcResult<Vec<TxView>> {
            unreachable!()
        }
        async fn account_get(&self, _: AccountId) -> RpcResult<AccountView> {
            unreachable!()
        }
        async fn block_latest(&self) -> RpcResult<ChainView> {
            unreachable!()
        }
        async fn block_get(&self, _: u64) -> RpcResult<BlockView> {
            unreachable!()
        }
        async fn net_peers(&self) -> RpcResult<Vec<PeerView>> {
            unreachable!()
        }
        async fn net_peer_count(&self) -> RpcResult<u32> {
            unreachable!()
        }
        async fn net_aggregates(&self) -> RpcResult<NetworkView> {
            unreachable!()
        }
        async fn node_info(&self) -> RpcResult<NodeView> {
            unreachable!()
        }
        async fn node_counters(&self) -> RpcResult<BTreeMap<String, u64>> {
            unreachable!()
        }
        async fn admin_add_peer(&self, _: String) -> RpcResult<()> {
            unreachable!()
        }
        async fn admin_ban_peer(&self, _: String) -> RpcResult<()> {
            unreachable!()
        }
        async fn discover(&self) -> RpcResult<Value> {
            unreachable!()
        }
    }

    #[test]
    fn the_table_has_the_registered_methods() {
        let registered: BTreeSet<&str> = Nothing.into_rpc().method_names().collect();
        let listed: BTreeSet<&str> = METHODS.iter().map(|method| method.name).collect();
        assert_eq!(listed, registered);
        assert_eq!(METHODS.len(), registered.len());
    }

    fn check(name: &str, value: &impl Serialize) {
        let sent = serde_json::to_value(value).unwrap();
        let schema = &document()["components"]["schemas"][name];
        let sent: BTreeSet<&String> = sent.as_object().unwrap().keys().collect();
        let described: BTreeSet<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(sent, described, "{name}");
    }

    #[test]
    fn the_schemas_have_the_fields_that_are_sent() {
        let transaction = Transaction {
            network: NetworkId(1),
            sender: AccountId([1; 32]),
            nonce: 0,
            fee: 1,
            recipient: AccountId([2; 32]),
            amount: 1,
            valid_until: Some(9),
            payload: Default::default(),
        };
        let id = TxId([1; 32]);
        check("Submitted", &Submitted { id, state: TxState::Pending });
        check("Transaction", &transaction);
        check("Tx", &TxView { id, state: TxState::Included, height: Some(1), bytes: 1, transaction });
        check("Checked", &Checked { id, state: TxState::Pending, replaced_bytes: 0, displaced: 0 });
        let limits = PoolLimits {
            count: 1,
            bytes: 1,
            sender_count: 1,
            sender_bytes: 1,
            nonce_gap: 1,
            lifetime_s: 1,
            local_lifetime_s: 1,
        };
        check("PoolLimits", &limits);
        let (count, pending, queued, bytes, senders, floor) = (0, 0, 0, 0, 0, 0);
        let refused = BTreeMap::new();
        check("Pool", &PoolView { count, pending, queued, bytes, senders, floor, limits, refused });
        let (id, balance, next_nonce, cost) = (AccountId([1; 32]), 0, 0, 0);
        check("Sender", &SenderView { id, balance, next_nonce, pending, queued, bytes, cost });
        check("Account", &AccountView { id: AccountId([1; 32]), balance: 0, nonce: 0, next_nonce: 0 });
        check("Chain", &ChainView { height: 0, id: BlockId::ZERO, account_digest: String::new() });
        check(
            "Block",
            &BlockView {
                id: BlockId::ZERO,
                height: 1,
                parent: BlockId::ZERO,
                producer: AccountId([1; 32]),
                timestamp_ms: 0,
                tx_ids: vec![],
            },
        );
        check(
            "Peer",
            &PeerView {
                id: NodeId([1; 32]),
                peer_id: String::new(),
                direction: "incoming".into(),
                ready: true,
                rtt_ms: None,
                score: 0.0,
                first_deliveries: 0,
                network: String::new(),
                phi: 0.0,
                bytes_in: 0,
                bytes_out: 0,
                age_s: 0.0,
            },
        );
        let (mean, mean_error, middle_mean, sum, min, max, own, own_rank) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        let (p10, p50, p90) = (0.0, 0.0, 0.0);
        check("Spread", &SpreadView { mean, mean_error, middle_mean, sum, min, p10, p50, p90, max, own, own_rank });
        let nodes = EstimateView { value: 0.0, low: 0.0, high: 0.0 };
        check("Estimate", &nodes);
        check("Proof", &ProofView { node: NodeId([1; 32]), epoch: 0, reports: Default::default() });
        check(
            "Network",
            &NetworkView {
                epoch: 0,
                settled: true,
                exact: true,
                reports: 0,
                nodes,
                rank_error: 0.0,
                figures: BTreeMap::new(),
                versions: BTreeMap::new(),
                liars: vec![],
                proofs: vec![],
                untimely: 0,
            },
        );
        check(
            "Node",
            &NodeView {
                version: String::new(),
                protocol: 1,
                id: NodeId([1; 32]),
                peer_id: String::new(),
                addresses: vec![],
                network: NetworkId(1),
                genesis: GenesisId([1; 32]),
                uptime_s: 0.0,
            },
        );
    }

    #[test]
    fn references_lead_somewhere() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
