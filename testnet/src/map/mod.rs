//! The one map of the world: where nodes are, how long the ways between them are, who is linked with whom, and what a
//! link carries. The simulator (`sim`) and the delays between real processes (`wan`) both go by it, so that equal seeds
//! give both the same places, ways and links.

mod distance;
pub(crate) mod link;
mod regions;
mod shape;
mod topology;

pub(crate) use self::{
    distance::{Distances, UNREACHABLE},
    link::{Lane, Rate},
    regions::{Place, Regions},
    shape::Shape,
    topology::{Arc, MAX_DEGREE, Topology},
};
