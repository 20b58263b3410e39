//! The baseline that Starling's relay is measured against: a node that relays with libp2p's gossipsub.
//!
//! Everything but the relay is the Starling node's own: options, transport, limits on connections, signature checks,
//! pool, RPC, trace and counters. Its swarm and connections are polled as libp2p does it, as those of anybody who uses
//! gossipsub. What gossipsub needs to do its best is set in [`config`], with the reasons; nothing here may handicap it. It
//! relays transactions only: it makes and follows no blocks, bans nobody and looks for no neighbours beyond the addresses
//! it is given.

mod config;
mod driver;
mod node;
#[cfg(test)]
mod tests;
mod transform;

use std::{io, sync::Arc};

use libp2p::{
    Swarm,
    gossipsub::{self, MessageAuthenticity},
    identity::Keypair,
    swarm::{self, NetworkBehaviour},
};
use starling_node::net::{self, Base, BoxedTransport, Counters, NodeConfig, NodeHandle, StartError};
use tokio::task::JoinHandle;

use self::{driver::Driver, node::Node, transform::Counting};

/// All protocols of a baseline node.
#[derive(NetworkBehaviour)]
struct Behaviour {
    base: Base,
    gossipsub: gossipsub::Behaviour<Counting>,
}

/// Starts a baseline node and waits until it listens, as [`net::start`] does for a Starling node.
pub(crate) async fn start(
    config: NodeConfig,
    transport: impl FnOnce(&Keypair, &Arc<Counters>) -> io::Result<BoxedTransport>,
) -> Result<(NodeHandle<Node>, JoinHandle<()>), StartError> {
    if config.producer.is_some() {
        return Err(StartError::Unsupported("a gossipsub node makes no blocks; run it without --produce"));
    }
    if config.store.is_some() {
        return Err(StartError::Unsupported("a gossipsub node keeps nothing; run it with --store=false"));
    }
    let keypair = net::keypair(&config.key);
    let counters = Arc::new(Counters::default());
    let transport = transport(&keypair, &counters).map_err(StartError::Transport)?;
    let mut gossipsub = gossipsub::Behaviour::new_with_transform(
        MessageAuthenticity::Anonymous,
        config::gossipsub().map_err(|error| StartError::Transport(io::Error::other(error)))?,
        Counting::new(counters.clone()),
    )
    .map_err(|error| StartError::Transport(io::Error::other(error)))?;
    gossipsub.subscribe(&config::topic()).map_err(|error| StartError::Transport(io::Error::other(error)))?;
    let behaviour = Behaviour { base: Base::new(&keypair), gossipsub };
    let swarm_config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(config::IDLE_TIMEOUT);
    let mut swarm = Swarm::new(transport, behaviour, keypair.public().to_peer_id(), swarm_config);
    for address in config.external {
        swarm.add_external_address(address);
    }
    let listeners = net::listen(&mut swarm, config.listen).await?;
    let (handle, commands) = NodeHandle::new(config.key.node(), listeners, counters.clone());
    let node = Node::new(swarm, config.genesis, config.rules, config.pool, counters);
    let driver = Driver::new(node, config.bootstrap, config.trace, commands, handle.admissions().clone())?;
    Ok((handle, tokio::spawn(driver.run())))
}
