//! Everything the page tells, from a run that is just over or one that was kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, bail};
use serde::Deserialize;
use starling_node::{cli::Failure, net::Delivery};
use starling_wire::NodeId;

use super::kept::{Run, foreign};
use crate::{
    figures::Quantiles,
    launch::{Manifest, NodeEntry},
    map::{Place, Topology},
    measure::{Chain, Coverage, Journey, Latency, Memory, Spread, journeys, read_traces},
};

/// What the page takes from the measure document.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Document {
    pub(crate) relay: String,
    pub(crate) nodes: usize,
    pub(crate) dials: u8,
    pub(crate) seed: u64,
    pub(crate) transport: String,
    pub(crate) wan: String,
    pub(crate) tx_size: usize,
    pub(crate) duration_s: f64,
    pub(crate) offered_tps: f64,
    pub(crate) settle_s: f64,
    pub(crate) submitted: u64,
    pub(crate) rejected: u64,
    pub(crate) rejected_by_reason: BTreeMap<String, u64>,
    pub(crate) counted: u64,
    pub(crate) delivery_ratio: f64,
    pub(crate) latency_ms: Option<Latency>,
    pub(crate) coverage_ms: Coverage,
    pub(crate) stretch: Option<Quantiles>,
    pub(crate) full_stretch: Option<Quantiles>,
    pub(crate) copies_per_node: f64,
    pub(crate) wire_bytes_per_payload_byte: f64,
    pub(crate) wire_bytes_counted: String,
    pub(crate) dropped: u64,
    pub(crate) cpu_us_per_node_per_tx: f64,
    pub(crate) rss_mib_per_node: Memory,
    pub(crate) chain: Option<Chain>,
}

/// A node as the page names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// `None` without delays.
    pub(crate) region: Option<String>,
}

/// A measured run.
#[derive(Debug)]
pub(crate) struct Data<'a> {
    pub(crate) document: Document,
    pub(crate) run: Run,
    pub(crate) nodes: Vec<Node>,
    /// The links; their delays are 0 if there were none.
    pub(crate) topology: Topology,
    /// Whether there were delays.
    pub(crate) wan: bool,
    pub(crate) spread: Spread,
    /// The transactions that count, by id.
    pub(crate) journeys: Vec<Journey<'a>>,
    numbers: BTreeMap<NodeId, usize>,
}

/// The files of a kept run, for [`Data::new`].
pub(crate) struct Files {
    pub(crate) document: Document,
    pub(crate) run: Run,
    pub(crate) manifest: Manifest,
    pub(crate) traces: Vec<Vec<Delivery>>,
}

impl Files {
    /// Reads those in `root`, which may have been moved since they were written.
    pub(crate) fn read(root: &Path) -> Result<Self, Failure> {
        let (document, run) = Run::read(root)?;
        if !root.join(Manifest::NAME).is_file() {
            return Err(foreign(&root.join(Manifest::NAME), "there is no such file"));
        }
        let manifest = Manifest::read(root, "")?;
        let moved = |entry: &NodeEntry| -> Option<NodeEntry> {
            let trace = root.join(entry.data_dir.file_name()?).join(entry.trace.file_name()?);
            Some(NodeEntry { trace, ..entry.clone() })
        };
        let nodes: Option<Vec<NodeEntry>> = manifest.nodes.iter().map(moved).collect();
        let nodes = nodes.ok_or_else(|| foreign(&root.join(Manifest::NAME), "a node's trace has no name"))?;
        Ok(Self { document, run, manifest, traces: read_traces(&nodes)? })
    }
}

impl<'a> Data<'a> {
    /// From one trace per node of the manifest. Fails if the parts do not fit together.
    pub(crate) fn new(
        document: Document,
        run: Run,
        manifest: &Manifest,
        traces: &'a [Vec<Delivery>],
    ) -> anyhow::Result<Self> {
        let count = manifest.nodes.len();
        if count == 0 || [document.nodes, run.nodes.len(), traces.len()] != [count; 3] {
            bail!(
                "figures, usage and traces are of {}, {} and {} nodes, the manifest is of {count}",
                document.nodes,
                run.nodes.len(),
                traces.len()
            );
        }
        if run.links.iter().any(|(from, to, ..)| (*from).max(*to) as usize >= count || from == to) {
            bail!("a link leads to a node that there is not");
        }
        let topology = Topology::new(count, &run.links, vec![Place { region: 0, access_us: 0 }; count]);
        let wan = manifest.wan.is_some();
        let spread = Spread::new(traces, &run.transactions, wan.then_some(&topology)).context("no figures")?;
        let (journeys, _) = journeys(traces, &run.transactions);
        let node = |entry: &NodeEntry| Node { name: entry.name.clone(), region: entry.region.clone() };
        let numbers = manifest.nodes.iter().enumerate().map(|(number, entry)| (entry.id, number)).collect();
        let nodes = manifest.nodes.iter().map(node).collect();
        Ok(Self { document, run, nodes, topology, wan, spread, journeys, numbers })
    }

    /// The number of a node.
    pub(crate) fn number(&self, id: &NodeId) -> Option<usize> {
        self.numbers.get(id).copied()
    }

    /// Whether a transaction got to all nodes.
    pub(crate) fn is_complete(&self, journey: &Journey<'_>) -> bool {
        journey.arrivals.len() == self.nodes.len()
    }

    /// The regions that nodes are in, by name; one without a name where there are no delays.
    pub(crate) fn regions(&self) -> BTreeSet<&str> {
        self.nodes.iter().map(|node| node.region.as_deref().unwrap_or_default()).collect()
    }
}
