//! `starling peers`: a node's neighbours.

use clap::Subcommand;
use serde::Serialize;

use super::{
    failure::Failure,
    output::{Output, table},
    target::Target,
};
use crate::rpc::{ApiClient, PeerView};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The neighbours
    #[command(before_long_help = "Examples:\n  starling peers ls --data-dir ./node")]
    Ls {
        #[command(flatten)]
        target: Target,
    },
    /// Connect to a peer; the node must run with --rpc-admin
    #[command(before_long_help = "Examples:\n  starling peers add /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…")]
    Add {
        /// Where it listens, as a multiaddr
        address: String,
        #[command(flatten)]
        target: Target,
    },
    /// Ban a peer for ten minutes; the node must run with --rpc-admin
    #[command(before_long_help = "Examples:\n  starling peers ban 12D3KooW…")]
    Ban {
        /// Node id or libp2p peer id
        peer: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Serialize)]
struct Peers {
    peers: Vec<PeerView>,
}

/// What a command was about, when there is nothing else to say.
#[derive(Debug, Serialize)]
struct Done {
    peer: String,
}

pub(super) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Ls { target } => {
            let client = target.client()?;
            let peers = client.http().net_peers().await.map_err(|error| client.failure(error))?;
            let peers = Peers { peers };
            output.result("starling.peers/1", &peers, || {
                let titles = [
                    "peer id",
                    "direction",
                    "ready",
                    "network",
                    "rtt ms",
                    "phi",
                    "score",
                    "brought first",
                    "KiB in",
                    "KiB out",
                    "age s",
                ];
                table(titles, peers.peers.iter().map(row))
            })
        }
        Command::Add { address, target } => {
            let client = target.client()?;
            client.http().admin_add_peer(address.clone()).await.map_err(|error| client.failure(error))?;
            output.result("starling.peer-added/1", &Done { peer: address }, || "connecting".to_owned())
        }
        Command::Ban { peer, target } => {
            let client = target.client()?;
            client.http().admin_ban_peer(peer.clone()).await.map_err(|error| client.failure(error))?;
            output.result("starling.peer-banned/1", &Done { peer }, || "banned for ten minutes".to_owned())
        }
    }
}

fn row(peer: &PeerView) -> [String; 11] {
    [
        peer.peer_id.clone(),
        peer.direction.clone(),
        if peer.ready { "yes" } else { "no" }.to_owned(),
        peer.network.clone(),
        peer.rtt_ms.map_or_else(|| "-".to_owned(), |rtt| format!("{rtt:.1}")),
        format!("{:.1}", peer.phi),
        format!("{:.1}", peer.score),
        peer.first_deliveries.to_string(),
        (peer.bytes_in / 1024).to_string(),
        (peer.bytes_out / 1024).to_string(),
        format!("{:.0}", peer.age_s),
    ]
}
