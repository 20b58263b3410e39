//! The options of `starling run`, written once for the command line, the environment and the configuration file.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Args;
use libp2p::Multiaddr;
use serde::{Deserialize, Deserializer, de::Error as _};
use starling_mempool::PoolConfig;

use super::failure::{Failure, Kind};
use crate::engine::OverlayConfig;

/// Options of a node as they were given. In the configuration file they have the same names, without the dashes in
/// front: `data-dir = "/var/lib/starling"`, `dials = 8`, `produce = "2s"`. Relative paths are from the working
/// directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(before_long_help = "Examples:
  starling run --genesis genesis.toml
  starling run --data-dir ./a --listen /ip4/127.0.0.1/tcp/4001 --rpc 127.0.0.1:8080
  starling run --data-dir ./b --bootstrap /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW…
  starling run --config node.toml --produce 2s --producer-key producer.pem
  starling run --data-dir ./a --repair")]
pub struct RunOptions {
    /// Options in a TOML file, by the same names
    #[arg(long, value_name = "FILE", env = "STARLING_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Where the node keeps its files; one node each [default: starling in the user's data directory]
    #[arg(long, value_name = "DIR", env = "STARLING_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The start of the network [default: genesis.toml in the data directory]
    #[arg(long, value_name = "FILE", env = "STARLING_GENESIS")]
    pub genesis: Option<PathBuf>,
    /// The node's private key, made if it is missing [default: node.pem in the data directory]
    #[arg(long, value_name = "FILE", env = "STARLING_IDENTITY")]
    pub identity: Option<PathBuf>,
    /// Where to listen for peers; port 0 lets the system choose [default: /ip4/127.0.0.1/tcp/0 and
    /// /ip4/127.0.0.1/udp/0/quic-v1]
    #[arg(long, value_name = "MULTIADDR", env = "STARLING_LISTEN", value_delimiter = ',')]
    pub listen: Option<Vec<Multiaddr>>,
    /// Where peers reach this node from outside, if that is not where it listens
    #[arg(long, value_name = "MULTIADDR", env = "STARLING_EXTERNAL", value_delimiter = ',')]
    pub external: Option<Vec<Multiaddr>>,
    /// Where to find the first peers
    #[arg(long, value_name = "MULTIADDR", env = "STARLING_BOOTSTRAP", value_delimiter = ',')]
    pub bootstrap: Option<Vec<Multiaddr>>,
    /// Links that this node opens by itself, 0 to 32; with 0 it has only those that come in and those it is told to make
    /// [default: 8]
    #[arg(long, value_name = "N", env = "STARLING_DIALS")]
    pub dials: Option<u8>,
    /// Links that others may open to this node, 0 to 64; those of both kinds are 64 at most [default: 24]
    #[arg(long, value_name = "N", env = "STARLING_MAX_INCOMING")]
    pub max_incoming: Option<u8>,
    /// Where to serve JSON-RPC; beyond loopback the cookie in the data directory is needed to use it [default:
    /// 127.0.0.1:0]
    #[arg(long, value_name = "ADDR", env = "STARLING_RPC_LISTEN")]
    pub rpc: Option<SocketAddr>,
    /// Serve the methods that change the node's neighbours, too
    #[arg(
        long, value_name = "BOOL", env = "STARLING_RPC_ADMIN", num_args = 0..=1, default_missing_value = "true",
        require_equals = true,
    )]
    pub rpc_admin: Option<bool>,
    /// Write a line here for each transaction that enters the pool
    #[arg(long, value_name = "FILE", env = "STARLING_TRACE")]
    pub trace: Option<PathBuf>,
    /// Make a block this often, if it is this node's turn and there is something to include, e.g. 2s; needs
    /// --producer-key
    #[arg(long, value_name = "DURATION", env = "STARLING_PRODUCE", value_parser = humantime::parse_duration)]
    #[serde(deserialize_with = "duration")]
    pub produce: Option<Duration>,
    /// Private key that signs the blocks; its account must be among the genesis' producers
    #[arg(long, value_name = "FILE", env = "STARLING_PRODUCER_KEY")]
    pub producer_key: Option<PathBuf>,
    /// Most transactions in the pool [default: 100000]
    #[arg(long, value_name = "N", env = "STARLING_POOL_MAX_COUNT")]
    pub pool_max_count: Option<usize>,
    /// Most bytes of transactions in the pool [default: 67108864]
    #[arg(long, value_name = "BYTES", env = "STARLING_POOL_MAX_BYTES")]
    pub pool_max_bytes: Option<usize>,
    /// Keep the pool, accounts, blocks and peers in the data directory, so that a restart goes on from them; without it
    /// everything but the key is gone when the node ends [default: true]
    #[arg(
        long, value_name = "BOOL", env = "STARLING_STORE", num_args = 0..=1, default_missing_value = "true",
        require_equals = true,
    )]
    pub store: Option<bool>,
    /// If what was kept cannot be read, put it aside under another name and begin anew with what can
    #[arg(long)]
    #[serde(skip)]
    pub repair: bool,
    /// What to log, e.g. debug or starling_node=debug,libp2p=warn [default: info]
    #[arg(long, value_name = "FILTER", env = "STARLING_LOG")]
    pub log: Option<String>,
    /// Stop when standard input ends: a node so never outlives the supervisor that holds the other end
    #[arg(long)]
    #[serde(skip)]
    pub until_stdin_closes: bool,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
}

impl RunOptions {
    /// Takes what is not given from the configuration file, if one is named.
    pub fn with_config_file(self) -> Result<Self, Failure> {
        let Some(path) = &self.config else { return Ok(self) };
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read the configuration {}", path.display()));
        let text = text.map_err(|error| Failure::new(Kind::Usage, error))?;
        let file: Self = toml::from_str(&text).map_err(|error| {
            Failure::usage(format!("the configuration {} cannot be used:\n{error}", path.display()))
        })?;
        Ok(self.or(file))
    }

    /// What is given here, and the rest from `other`.
    fn or(self, other: Self) -> Self {
        Self {
            config: self.config.or(other.config),
            data_dir: self.data_dir.or(other.data_dir),
            genesis: self.genesis.or(other.genesis),
            identity: self.identity.or(other.identity),
            listen: self.listen.or(other.listen),
            external: self.external.or(other.external),
            bootstrap: self.bootstrap.or(other.bootstrap),
            dials: self.dials.or(other.dials),
            max_incoming: self.max_incoming.or(other.max_incoming),
            rpc: self.rpc.or(other.rpc),
            rpc_admin: self.rpc_admin.or(other.rpc_admin),
            trace: self.trace.or(other.trace),
            produce: self.produce.or(other.produce),
            producer_key: self.producer_key.or(other.producer_key),
            pool_max_count: self.pool_max_count.or(other.pool_max_count),
            pool_max_bytes: self.pool_max_bytes.or(other.pool_max_bytes),
            store: self.store.or(other.store),
            repair: self.repair || other.repair,
            log: self.log.or(other.log),
            until_stdin_closes: self.until_stdin_closes || other.until_stdin_closes,
        }
    }

    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), Failure> {
        if let Some(dials) = self.dials
            && dials > 32
        {
            return Err(Failure::usage(format!("dials is {dials}; set it to 32 at most")));
        }
        if let Some(max_incoming) = self.max_incoming
            && max_incoming > 64
        {
            return Err(Failure::usage(format!("max-incoming is {max_incoming}; set it to 64 at most")));
        }
        if self.dials == Some(0) && self.bootstrap.as_ref().is_some_and(|bootstrap| !bootstrap.is_empty()) {
            return Err(Failure::usage(
                "with dials 0 the node looks for nobody, and bootstrap addresses are of no use; leave one of them out",
            ));
        }
        if self.repair && !self.store() {
            return Err(Failure::usage(
                "without a store there is nothing to repair; leave out --repair or store = false",
            ));
        }
        match (&self.produce, &self.producer_key) {
            (Some(interval), _) if interval.is_zero() => {
                Err(Failure::usage("produce is 0; say how often a block is made, e.g. --produce 2s"))
            }
            (Some(_), None) => {
                Err(Failure::usage("produce needs a key to sign blocks with; name it with --producer-key FILE"))
            }
            (None, Some(_)) => Err(Failure::usage(
                "a producer key is given, but not how often to make blocks; say it, e.g. --produce 2s",
            )),
            _ if self.pool_max_count == Some(0) || self.pool_max_bytes == Some(0) => {
                Err(Failure::usage("a pool of size 0 refuses every transaction; allow at least 1"))
            }
            _ => Ok(()),
        }
    }

    /// Links this node opens by itself.
    pub fn dials(&self) -> usize {
        self.dials.unwrap_or(8).into()
    }

    /// Links that others may open to this node.
    pub fn max_incoming(&self) -> usize {
        self.max_incoming.map_or(OverlayConfig::default().max_incoming, usize::from)
    }

    /// Limits of the pool.
    pub fn pool(&self) -> PoolConfig {
        let default = PoolConfig::default();
        PoolConfig {
            max_count: self.pool_max_count.unwrap_or(default.max_count),
            max_bytes: self.pool_max_bytes.unwrap_or(default.max_bytes),
            ..default
        }
    }

    /// Whether the node's state is kept over restarts.
    pub fn store(&self) -> bool {
        self.store.unwrap_or(true)
    }

    /// Where to serve RPC.
    pub fn rpc(&self) -> SocketAddr {
        self.rpc.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Where to listen for peers.
    pub fn listen(&self) -> Result<Vec<Multiaddr>, Failure> {
        match &self.listen {
            Some(listen) => Ok(listen.clone()),
            None => ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]
                .into_iter()
                .map(|address| address.parse().map_err(|error| Failure::new(Kind::Failed, anyhow::anyhow!("{error}"))))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        run: RunOptions,
    }

    fn parse(args: &[&str]) -> RunOptions {
        Program::parse_from(["x"].iter().chain(args)).run
    }

    fn with_file(text: &str, args: &[&str]) -> Result<RunOptions, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        fs::write(&path, text).unwrap();
        let mut args = args.to_vec();
        args.extend(["--config", path.to_str().unwrap()]);
        parse(&args).with_config_file().map_err(|failure| failure.to_string())
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file = "dials = 3\nproduce = \"1500ms\"\nlisten = [\"/ip4/127.0.0.1/tcp/1\"]\nrpc-admin = true\n\
                    rpc = \"127.0.0.1:9\"\npool-max-count = 5";
        let options = with_file(file, &["--dials", "4", "--rpc-admin=false"]).unwrap();
        assert_eq!((options.dials(), options.rpc_admin), (4, Some(false)));
        assert_eq!(options.produce, Some(Duration::from_millis(1500)));
        assert_eq!(options.listen().unwrap(), ["/ip4/127.0.0.1/tcp/1".parse().unwrap()]);
        assert_eq!((options.rpc().port(), options.pool().max_count), (9, 5));
        assert_eq!(options.pool().max_bytes, PoolConfig::default().max_bytes);
        let options = with_file("", &["--rpc-admin"]).unwrap();
        assert_eq!((options.dials(), options.rpc_admin), (8, Some(true)));
    }

    #[test]
    fn mistakes_in_the_file_are_shown() {
        for (text, sign) in [("dails = 3", "dails"), ("produce = \"soon\"", "soon"), ("dials = \"x\"", "dials")] {
            let error = with_file(text, &[]).unwrap_err();
            assert!(error.contains(sign) && error.contains("node.toml"), "{error}");
        }
        let error = parse(&["--config", "/nowhere"]).with_config_file().unwrap_err().to_string();
        assert!(error.contains("/nowhere"), "{error}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for args in [
            &["--dials", "33"][..],
            &["--dials", "0", "--bootstrap", "/ip4/127.0.0.1/tcp/1"],
            &["--max-incoming", "65"],
            &["--produce", "2s"],
            &["--producer-key", "x"],
            &["--produce", "0s", "--producer-key", "x"],
            &["--pool-max-count", "0"],
            &["--store=false", "--repair"],
        ] {
            assert_eq!(parse(args).check().unwrap_err().kind(), Kind::Usage, "{args:?}");
        }
        assert!(parse(&["--produce", "2s", "--producer-key", "x"]).check().is_ok());
        let passive = parse(&["--dials", "0", "--max-incoming", "64"]);
        assert!(passive.check().is_ok());
        assert_eq!((passive.dials(), passive.max_incoming(), parse(&[]).max_incoming()), (0, 64, 24));
    }
}
