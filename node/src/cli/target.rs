//! Which node a command talks to, and what its answers mean for how the command ends.

use std::{env, path::PathBuf};

use anyhow::anyhow;
use clap::Args;
use jsonrpsee::{
    core::ClientError,
    http_client::{HttpClient, transport},
    types::{ErrorObjectOwned, error::INVALID_PARAMS_CODE},
};

use super::{
    data_dir::default_data_dir,
    failure::{Failure, Kind},
    node_file::{NodeFile, NodeFileError},
};
use crate::rpc::{self, Cookie, RejectionData, code};

/// What to do without a node.
const ADVICE: &str = "Start one with `starling run`, or name one with --rpc URL or --data-dir DIR";

/// The node a command is for. Flags win over the environment, whichever of the two they are.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Target {
    /// The node's RPC, such as http://127.0.0.1:8080 [env: STARLING_RPC]
    #[arg(long, value_name = "URL")]
    rpc: Option<String>,
    /// The node that runs in this data directory, if no URL is given [env: STARLING_DATA_DIR] [default: starling in the
    /// user's data directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Target {
    /// A client for the node. Nothing is sent yet.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let from_env = |name| env::var_os(name).filter(|value| !value.is_empty());
        let in_dir = |dir: PathBuf| Client::of_dir(dir);
        match (&self.rpc, &self.data_dir) {
            (Some(url), _) => Client::new(url, None),
            (None, Some(dir)) => in_dir(dir.clone()),
            (None, None) => match (from_env("STARLING_RPC"), from_env("STARLING_DATA_DIR")) {
                (Some(url), _) => Client::new(&url.to_string_lossy(), None),
                (None, Some(dir)) => in_dir(dir.into()),
                (None, None) => in_dir(default_data_dir().map_err(|error| Failure::new(Kind::Usage, error))?),
            },
        }
    }
}

/// A client for one node.
pub(super) struct Client {
    http: HttpClient,
    url: String,
}

impl Client {
    fn new(url: &str, cookie: Option<&Cookie>) -> Result<Self, Failure> {
        let http = rpc::connect(url, cookie).map_err(|error| Failure::new(Kind::Usage, error))?;
        Ok(Self { http, url: url.to_owned() })
    }

    fn of_dir(dir: PathBuf) -> Result<Self, Failure> {
        let file = NodeFile::read(&dir).map_err(|error| match error {
            NodeFileError::Missing { .. } => Failure::new(Kind::Connect, anyhow!("{error}. {ADVICE}")),
            error => Failure::new(Kind::Failed, anyhow!("{error}")),
        })?;
        let cookie = Cookie::read(&dir.join(Cookie::FILE_NAME)).map_err(|error| anyhow!("{error}"))?;
        Self::new(&file.rpc, cookie.as_ref())
    }

    /// For calling methods; errors go through [`Self::failure`].
    pub(super) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// How a call's error ends the command.
    pub(super) fn failure(&self, error: ClientError) -> Failure {
        let url = &self.url;
        match error {
            ClientError::Call(error) => of_answer(&error),
            ClientError::RequestTimeout => {
                Failure::new(Kind::Timeout, anyhow!("the node at {url} does not answer in time; see its log"))
            }
            ClientError::Transport(error) => of_transport(url, error),
            ClientError::ParseError(error) => {
                Failure::new(Kind::Failed, anyhow!("what answers at {url} is no node of this version: {error}"))
            }
            error => Failure::new(Kind::Failed, anyhow!("the call to {url} failed: {error}")),
        }
    }
}

fn of_transport(url: &str, error: jsonrpsee::core::BoxError) -> Failure {
    match error.downcast_ref::<transport::Error>() {
        Some(transport::Error::Rejected { status_code: 401 }) => Failure::new(
            Kind::Connect,
            anyhow!(
                "the node at {url} wants its cookie. Name its data directory with --data-dir instead of its URL, as \
                 the user it runs as"
            ),
        ),
        Some(transport::Error::Rejected { status_code: 429 }) => {
            Failure::new(Kind::Failed, anyhow!("the node at {url} is busy; try again in a moment"))
        }
        Some(transport::Error::Rejected { status_code }) => {
            Failure::new(Kind::Connect, anyhow!("what answers at {url} refuses the call (HTTP status {status_code})"))
        }
        Some(transport::Error::RequestTooLarge) => {
            Failure::new(Kind::Usage, anyhow!("the request is larger than the node takes (1 MiB)"))
        }
        _ => {
            let causes = anyhow!(error);
            Failure::new(Kind::Connect, anyhow!("cannot reach a node at {url} ({causes:#}). {ADVICE}"))
        }
    }
}

fn of_answer(error: &ErrorObjectOwned) -> Failure {
    let message = error.message();
    let data = error.data().map(|data| data.get());
    match error.code() {
        code::REJECTED => {
            let reason = data.and_then(|data| serde_json::from_str::<RejectionData>(data).ok());
            let reason = reason.map_or_else(String::new, |data| format!(" ({})", data.reason));
            Failure::new(Kind::Rejected, anyhow!("rejected{reason}: {message}"))
        }
        code::INVALID_INPUT => Failure::usage(message),
        INVALID_PARAMS_CODE => Failure::usage(format!("{message} {}", data.unwrap_or_default())),
        _ => Failure::new(Kind::Failed, anyhow!("{message}")),
    }
}

/// Whether the node knows no such thing.
pub(super) fn is_not_found(error: &ClientError) -> bool {
    matches!(error, ClientError::Call(error) if error.code() == code::NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: i32, data: Option<RejectionData>) -> Failure {
        of_answer(&ErrorObjectOwned::owned(code, "why", data))
    }

    #[test]
    fn answers_end_commands_differently() {
        let rejected = kind(code::REJECTED, Some(RejectionData { reason: "pool-full".into() }));
        assert_eq!(rejected.kind(), Kind::Rejected);
        assert_eq!(rejected.to_string(), "rejected (pool-full): why");
        assert_eq!(kind(code::INVALID_INPUT, None).kind(), Kind::Usage);
        assert_eq!(kind(INVALID_PARAMS_CODE, None).kind(), Kind::Usage);
        assert_eq!(kind(code::NOT_FOUND, None).kind(), Kind::Failed);
    }
}
