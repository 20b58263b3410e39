//! The figures, each from a run to a picture with its caption, or to why there is none.

mod bytes;
mod coverage;
mod latency;
mod layout;
mod nodes;
mod overlay;
mod stretch;

use super::{data::Data, html::Figure};

/// A figure, or why there is none.
type Maybe = Result<Figure, &'static str>;

/// Why a run of a lone node has fewer figures.
const ALONE: &str = "the latency between nodes: no transaction got to another node than its first";

/// All figures of a run but those of a single transaction, and what is missing.
pub(super) fn of_all(data: &Data<'_>) -> Vec<Maybe> {
    vec![
        latency::distribution(data),
        latency::tail(data),
        coverage::over_time(data),
        stretch::distribution(data),
        bytes::by_kind(data),
        nodes::used(data),
    ]
}

pub(super) use self::overlay::{Choices, chooser};

/// The figures of a single transaction.
pub(super) fn of_one(data: &Data<'_>, choices: &Choices) -> Vec<Maybe> {
    vec![overlay::graph(data, choices), overlay::times(data, choices)]
}
