//! What crosses the wire, counted where it crosses.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use starling_wire::Kind;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// To this node.
    In,
    /// From this node.
    Out,
}

impl Flow {
    /// The name used in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

#[derive(Debug, Default)]
struct Cell {
    frames: AtomicU64,
    bytes: AtomicU64,
}

/// Counters of one node, shared by all its connections.
#[derive(Debug, Default)]
pub struct Counters {
    frames: [[Cell; Kind::ALL.len()]; 2],
    socket: [AtomicU64; 2],
}

/// The frames of one kind that went one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameCount {
    /// The kind.
    pub kind: Kind,
    /// The way.
    pub flow: Flow,
    /// How many.
    pub frames: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
}

impl Counters {
    /// Counts a frame of a kind and so many bytes.
    pub fn frame(&self, flow: Flow, kind: Kind, bytes: usize) {
        let cell = &self.frames[flow as usize][kind.index()];
        cell.frames.fetch_add(1, Relaxed);
        cell.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn socket(&self, flow: Flow, bytes: usize) {
        self.socket[flow as usize].fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes that TCP sockets carried, encryption and multiplexing included; QUIC is not counted here.
    pub fn socket_bytes(&self, flow: Flow) -> u64 {
        self.socket[flow as usize].load(Relaxed)
    }

    /// The frames of every kind, both ways.
    pub fn frames(&self) -> impl Iterator<Item = FrameCount> + '_ {
        [Flow::In, Flow::Out].into_iter().flat_map(move |flow| {
            Kind::ALL.into_iter().map(move |kind| {
                let cell = &self.frames[flow as usize][kind.index()];
                FrameCount { kind, flow, frames: cell.frames.load(Relaxed), bytes: cell.bytes.load(Relaxed) }
            })
        })
    }
}
