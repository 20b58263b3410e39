//! The errors methods answer with.

use jsonrpsee::types::{
    ErrorObjectOwned,
    error::{INTERNAL_ERROR_CODE, METHOD_NOT_FOUND_CODE},
};
use serde::{Deserialize, Serialize};
use starling_mempool::Rejection;

use crate::net::Unavailable;

/// The codes of errors, besides those of JSON-RPC itself (-32700 and -32600 to -32603).
pub mod code {
    /// What was passed makes no sense.
    pub const INVALID_INPUT: i32 = -32000;
    /// There is no such thing.
    pub const NOT_FOUND: i32 = -32001;
    /// The node cannot answer (any more).
    pub const NOT_READY: i32 = -32002;
    /// The transaction was refused; [`super::RejectionData`] says why.
    pub const REJECTED: i32 = -32003;
    /// A limit was reached; later it may work.
    pub const LIMIT: i32 = -32005;
}

/// `data` of an error with [`code::REJECTED`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectionData {
    /// Why, in kebab case: one of [`Rejection::REASONS`].
    pub reason: String,
}

pub(super) fn invalid_input(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code::INVALID_INPUT, message, None::<()>)
}

pub(super) fn not_found(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code::NOT_FOUND, message, None::<()>)
}

pub(super) fn unavailable(error: Unavailable) -> ErrorObjectOwned {
    let code = match error {
        Unavailable::Busy => code::LIMIT,
        Unavailable::Stopped => code::NOT_READY,
        Unavailable::NotStored | Unavailable::Unreadable => INTERNAL_ERROR_CODE,
    };
    ErrorObjectOwned::owned(code, error.to_string(), None::<()>)
}

pub(super) fn rejected(rejection: &Rejection) -> ErrorObjectOwned {
    let data = RejectionData { reason: rejection.reason().to_owned() };
    ErrorObjectOwned::owned(code::REJECTED, rejection.to_string(), Some(data))
}

/// A method about blocks, of a node that has none.
pub(super) fn no_blocks() -> ErrorObjectOwned {
    let message = "method not found: this node relays transactions only and follows no blocks";
    ErrorObjectOwned::owned(METHOD_NOT_FOUND_CODE, message, None::<()>)
}

/// A method about the whole network, of a node that does not measure it.
pub(super) fn no_aggregates() -> ErrorObjectOwned {
    let message = "method not found: this node relays transactions only and measures no network";
    ErrorObjectOwned::owned(METHOD_NOT_FOUND_CODE, message, None::<()>)
}

/// A method that bans, of a node that cannot.
pub(super) fn no_bans() -> ErrorObjectOwned {
    let message = "method not found: this node cannot ban peers";
    ErrorObjectOwned::owned(METHOD_NOT_FOUND_CODE, message, None::<()>)
}

/// A method that the node was not started with.
pub(super) fn admin_is_off() -> ErrorObjectOwned {
    let message = "method not found: admin methods are off; start the node with --rpc-admin to have them";
    ErrorObjectOwned::owned(METHOD_NOT_FOUND_CODE, message, None::<()>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_carry_their_reason() {
        let error = rejected(&Rejection::GappedPoolBusy);
        assert_eq!(error.code(), code::REJECTED);
        let data: RejectionData = serde_json::from_str(error.data().unwrap().get()).unwrap();
        assert_eq!(data.reason, "gapped-pool-busy");
    }

    #[test]
    fn a_busy_node_and_a_stopped_one_differ() {
        assert_eq!(unavailable(Unavailable::Busy).code(), code::LIMIT);
        assert_eq!(unavailable(Unavailable::Stopped).code(), code::NOT_READY);
    }
}
