//! The shapes of answers, made from what a node's state holds.

use std::collections::BTreeMap;

use starling_mempool::{Place, PoolConfig, PoolStatus};
use starling_wire::{SignedBlock, SignedTx, VerifiedTx};

use super::{
    api::{
        BlockView, EstimateView, NetworkView, PeerView, PoolLimits, PoolView, ProofView, SpreadView, TxState, TxView,
    },
    state::Neighbour,
};
use crate::{
    engine::{Direction, Estimate, Network, Proof, Spread, Time},
    net::peer_id,
};

pub(super) fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Outgoing => "outgoing",
        Direction::Incoming => "incoming",
    }
}

pub(super) fn peer_view(neighbour: &Neighbour, now: Time) -> PeerView {
    PeerView {
        id: neighbour.id,
        peer_id: peer_id(&neighbour.id).map(|peer| peer.to_string()).unwrap_or_default(),
        direction: direction_name(neighbour.direction).to_owned(),
        ready: neighbour.ready,
        rtt_ms: neighbour.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
        score: neighbour.score,
        first_deliveries: neighbour.first_deliveries,
        age_s: (now - neighbour.since).as_secs_f64(),
        network: neighbour.network.clone(),
        phi: (neighbour.phi * 100.0).round() / 100.0,
        bytes_in: neighbour.bytes.0,
        bytes_out: neighbour.bytes.1,
    }
}

pub(super) fn pool_view(status: &PoolStatus, config: &PoolConfig, refused: &BTreeMap<&'static str, u64>) -> PoolView {
    PoolView {
        count: status.count as u64,
        pending: status.pending as u64,
        queued: status.queued as u64,
        bytes: status.bytes as u64,
        senders: status.senders as u64,
        floor: status.floor,
        limits: PoolLimits {
            count: config.max_count as u64,
            bytes: config.max_bytes as u64,
            sender_count: config.max_per_sender as u64,
            sender_bytes: config.max_bytes_per_sender as u64,
            nonce_gap: config.max_nonce_gap,
            lifetime_s: config.lifetime.as_secs(),
            local_lifetime_s: config.local_lifetime.as_secs(),
        },
        refused: refused.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
    }
}

pub(super) fn pooled_view(tx: &VerifiedTx, place: Option<Place>) -> TxView {
    view(tx, place.map_or(TxState::Pending, TxState::from), None)
}

pub(super) fn view(tx: &SignedTx, state: TxState, height: Option<u64>) -> TxView {
    let transaction = tx.transaction().clone();
    TxView { id: tx.id(), state, height, bytes: tx.bytes().len() as u32, transaction }
}

pub(super) fn block_view(block: &SignedBlock) -> BlockView {
    let header = block.header();
    BlockView {
        id: block.id(),
        height: header.height,
        parent: header.parent,
        producer: header.producer,
        timestamp_ms: header.timestamp_ms,
        tx_ids: block.tx_ids().to_vec(),
    }
}

pub(super) fn network_view(network: Network, proofs: &[Proof], untimely: u64) -> NetworkView {
    let version = |[major, minor, patch]: [u8; 3]| format!("{major}.{minor}.{patch}");
    let Estimate { value, low, high } = network.size;
    NetworkView {
        epoch: network.epoch,
        settled: network.settled,
        exact: network.exact,
        reports: network.reports as u32,
        nodes: EstimateView { value, low, high },
        rank_error: network.rank_error,
        figures: network.figures.iter().map(|(of, spread)| (of.name().to_owned(), spread_view(spread))).collect(),
        versions: network.versions.into_iter().map(|(program, share)| (version(program), share)).collect(),
        liars: network.liars,
        proofs: proofs.iter().map(proof_view).collect(),
        untimely,
    }
}

fn spread_view(spread: &Spread) -> SpreadView {
    let Spread { mean, mean_error, middle_mean, sum, min, p10, p50, p90, max, own, own_rank } = *spread;
    SpreadView { mean, mean_error, middle_mean, sum, min, p10, p50, p90, max, own, own_rank }
}

fn proof_view(proof: &Proof) -> ProofView {
    let [first, _] = proof;
    ProofView {
        node: first.report().node,
        epoch: first.report().epoch,
        reports: proof.each_ref().map(|report| format!("0x{}", hex::encode(report.signed().bytes()))),
    }
}
