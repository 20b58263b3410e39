//! Between Starling's names and libp2p's: node ids and peer ids, peer records and signed envelopes.

use bytes::Bytes;
use libp2p::{
    Multiaddr, PeerId,
    core::{PeerRecord as SignedRecord, SignedEnvelope},
    identity::{Keypair, PublicKey, ed25519},
    multiaddr::Protocol,
};
use starling_wire::{NodeId, Record, SecretKey, limits::MAX_RECORD};
use thiserror::Error;

use crate::engine::{Address, PeerRecord};

/// A peer that is not identified by an ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the peer is not identified by an ed25519 key")]
pub struct NotEd25519;

/// The libp2p form of a node's key.
pub fn keypair(key: &SecretKey) -> Keypair {
    #[expect(clippy::expect_used, reason = "any 32 bytes are an ed25519 seed")]
    Keypair::ed25519_from_bytes(*key.seed()).expect("a seed of 32 bytes")
}

/// The node of a peer id.
pub fn node_id(peer: &PeerId) -> Result<NodeId, NotEd25519> {
    // An ed25519 peer id is the public key itself, under the identity hash.
    let key = PublicKey::try_decode_protobuf(peer.as_ref().digest()).map_err(|_| NotEd25519)?;
    key.try_into_ed25519().map(|key| NodeId(key.to_bytes())).map_err(|_| NotEd25519)
}

/// The peer id of a node; `None` if the bytes are no key.
pub fn peer_id(node: &NodeId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&node.0).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The engine's form of an address.
pub(super) fn to_address(address: &Multiaddr) -> Address {
    Address(Bytes::copy_from_slice(address.as_ref()))
}

/// The address back from the engine; `None` if it never was one.
pub(super) fn from_address(address: &Address) -> Option<Multiaddr> {
    Multiaddr::try_from(address.0.to_vec()).ok()
}

/// Signs a record of where this node can be reached; `None` if there is no address or too many to fit.
pub(crate) fn sign_record(keypair: &Keypair, addresses: Vec<Multiaddr>) -> Option<PeerRecord> {
    if addresses.is_empty() {
        return None;
    }
    let record = SignedRecord::new_interop(keypair, addresses).ok()?;
    let envelope = Bytes::from(record.to_signed_envelope().into_protobuf_encoding());
    (envelope.len() <= MAX_RECORD).then(|| to_record(&record, envelope))?
}

/// Checks a record somebody sent.
pub(crate) fn check_record(record: &Record) -> Option<PeerRecord> {
    let envelope = SignedEnvelope::from_protobuf_encoding(record.envelope()).ok()?;
    let signed = SignedRecord::from_signed_envelope_interop(envelope).ok()?;
    // A copy: what came is part of a longer message, which would be kept with it.
    to_record(&signed, Bytes::copy_from_slice(record.envelope()))
}

fn to_record(record: &SignedRecord, envelope: Bytes) -> Option<PeerRecord> {
    let addresses = record.addresses().iter().map(to_address).collect();
    Some(PeerRecord { node: node_id(&record.peer_id()).ok()?, seq: record.seq(), addresses, envelope })
}

/// An address without the peer id at its end.
pub(super) fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().take_while(|protocol| !matches!(protocol, Protocol::P2p(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_convert_both_ways() {
        let key = SecretKey::from_seed(&[3; 32]);
        let peer = keypair(&key).public().to_peer_id();
        assert_eq!(node_id(&peer), Ok(key.node()));
        assert_eq!(peer_id(&key.node()), Some(peer));
        assert_eq!(node_id(&PeerId::random()), Err(NotEd25519));
    }

    #[test]
    fn records_are_checked() {
        let key = SecretKey::from_seed(&[3; 32]);
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
        let record = sign_record(&keypair(&key), vec![address.clone()]).unwrap();
        assert_eq!((record.node, from_address(&record.addresses[0])), (key.node(), Some(address)));
        let sent = Record::new(record.envelope.clone()).unwrap();
        assert_eq!(check_record(&sent), Some(record.clone()));
        for at in 0..record.envelope.len() {
            let mut bytes = record.envelope.to_vec();
            bytes[at] ^= 1;
            let forged = check_record(&Record::new(bytes.into()).unwrap());
            assert!(forged.is_none_or(|forged| forged.node == record.node && forged.addresses == record.addresses));
        }
    }
}
