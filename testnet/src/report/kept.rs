//! What `measure --keep` keeps beside manifest, logs and traces, so that the page can be made from it later.
//!
//! `measure.json` is the document that `measure --json` prints, but for `--saturate`. `run.json` is a [`Run`]: one JSON
//! object with the fields below. The rest of what the page tells is in `manifest.json` and in the nodes' traces, where the line that ends in
//! `local` says when and where a transaction entered.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use starling_node::cli::Failure;
use starling_wire::ShortId;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::{
    map::Topology,
    measure::{Report, Sample},
};

/// The measure document's file.
const MEASURE: &str = "measure.json";

/// The file of a [`Run`].
const RUN: &str = "run.json";

/// Most transactions that are named, 20 bytes of JSON each. A pool holds fewer, so that only runs with blocks come near.
const MAX_TRANSACTIONS: usize = 200_000;

/// Most bytes that a file is read with: far more than 1,000 nodes with 32 dials and the most transactions take.
const MAX_FILE: u64 = 64 << 20;

/// What is known of a measured run beside its figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// [`Self::SCHEMA`].
    schema: String,
    /// The program and its version, and how it was built.
    pub(crate) program: String,
    /// The command line.
    pub(crate) command: String,
    /// When figures were taken, RFC 3339.
    pub(crate) ended: String,
    /// The machine.
    pub(crate) host: Host,
    /// The planned links: the number of the node that opens it and of the other, and the delays there and back in
    /// microseconds, jitter not included; 0 in a run without delays.
    pub(crate) links: Vec<(u32, u32, u32, u32)>,
    /// What each node used while the transactions that count were under way, in the order of the manifest.
    pub(crate) nodes: Vec<Usage>,
    /// Short ids of the transactions that count, in their order; of more than 200,000 the first, which makes them a
    /// sample: ids are hashes.
    pub(crate) transactions: BTreeSet<ShortId>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Host {
    /// Operating system with its version.
    pub(crate) os: String,
    /// Version of the kernel.
    pub(crate) kernel: String,
    /// Architecture.
    pub(crate) arch: String,
    /// The processor's name.
    pub(crate) cpu: String,
    /// Cores that the system has, virtual ones included.
    pub(crate) cores: usize,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// Processes that ran or waited for a core, on average over the run's last minute.
    pub(crate) load: f64,
}

/// What a node used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Full copies of transactions received.
    pub(crate) copies: u64,
    /// Bytes of messages received, by their kind.
    pub(crate) bytes_in: BTreeMap<String, u64>,
    /// Bytes received on TCP sockets, encryption and multiplexing included.
    pub(crate) socket_bytes_in: u64,
    /// CPU time in microseconds.
    pub(crate) cpu_us: u64,
    /// Memory in RAM in the end, in bytes.
    pub(crate) resident: u64,
}

impl Host {
    /// This machine.
    fn look() -> Self {
        let what = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        // What the system does not tell does not spoil a measurement.
        let system = System::new_with_specifics(what).ok();
        let system = system.as_ref();
        let unknown = || "unknown".to_owned();
        Self {
            os: System::long_os_version().unwrap_or_else(|_| unknown()),
            kernel: System::kernel_version().unwrap_or_else(|_| unknown()),
            arch: System::cpu_arch(),
            cpu: system.and_then(|all| all.cpus().first()).map_or_else(unknown, |cpu| cpu.brand().trim().to_owned()),
            cores: system.map_or(0, |all| all.cpus().len()),
            memory_mib: system.map_or(0, |all| all.total_memory() >> 20),
            load: System::load_average().map_or(0.0, |load| load.one),
        }
    }
}

impl Usage {
    fn between(before: &Sample, after: &Sample) -> Self {
        let bytes = after.frame_bytes_in.iter().map(|(kind, bytes)| {
            let earlier = before.frame_bytes_in.get(kind).copied().unwrap_or_default();
            (kind.clone(), bytes.saturating_sub(earlier))
        });
        Self {
            copies: after.pushes_in.saturating_sub(before.pushes_in),
            bytes_in: bytes.filter(|(_, bytes)| *bytes > 0).collect(),
            socket_bytes_in: after.socket_bytes_in.saturating_sub(before.socket_bytes_in),
            cpu_us: after.cpu.saturating_sub(before.cpu).as_micros() as u64,
            resident: after.resident,
        }
    }
}

impl Run {
    /// The name and version of its form.
    pub(crate) const SCHEMA: &str = "starling.run/1";

    /// Of the run that this process has just made: which transactions count, and what nodes had used before and after.
    pub(crate) fn new(
        topology: &Topology,
        wan: bool,
        ids: &BTreeSet<ShortId>,
        samples: (&[Sample], &[Sample]),
    ) -> Self {
        let links = topology.arcs.iter().filter(|arc| arc.outgoing).map(|arc| {
            let back = topology.arcs[arc.reverse as usize].delay_us;
            if wan { (arc.from, arc.to, arc.delay_us, back) } else { (arc.from, arc.to, 0, 0) }
        });
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        Self {
            schema: Self::SCHEMA.to_owned(),
            program: format!("starling-testnet {} ({build} build)", env!("CARGO_PKG_VERSION")),
            command: command_line(std::env::args_os()),
            ended: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            host: Host::look(),
            links: links.collect(),
            nodes: samples.0.iter().zip(samples.1).map(|(before, after)| Usage::between(before, after)).collect(),
            transactions: ids.iter().take(MAX_TRANSACTIONS).copied().collect(),
        }
    }

    /// Writes it and the measure document into a testnet's directory.
    pub(crate) fn write(&self, root: &Path, document: &impl Serialize) -> anyhow::Result<()> {
        let measure = serde_json::to_vec_pretty(document).context("the figures cannot be written as JSON")?;
        let run = serde_json::to_vec(self).context("the run cannot be written as JSON")?;
        for (name, text) in [(MEASURE, measure), (RUN, run)] {
            let path = root.join(name);
            fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(())
    }

    /// The measure document and the run that were written into a directory.
    pub(crate) fn read<D: DeserializeOwned>(root: &Path) -> Result<(D, Self), Failure> {
        Ok((read(&root.join(MEASURE), Report::SCHEMA)?, read(&root.join(RUN), Self::SCHEMA)?))
    }
}

/// The directory of a kept run: the one that `--keep` named holds it as `name`, and it may be named itself.
pub(crate) fn root_of(dir: &Path, name: &str) -> Result<PathBuf, Failure> {
    [dir.join(name), dir.to_owned()].into_iter().find(|root| root.join(RUN).is_file()).ok_or_else(|| {
        Failure::usage(format!(
            "there is no measured run in {dir}: neither it nor its `{name}` has a file {RUN}. Make one with \
             `starling-testnet measure --keep {dir}`",
            dir = dir.display()
        ))
    })
}

/// A file is there and is not what it should be.
pub(super) fn foreign(path: &Path, why: &str) -> Failure {
    anyhow!("{} is of no measured run: {why}. Measure again with --keep", path.display()).into()
}

fn read<T: DeserializeOwned>(path: &Path, schema: &str) -> Result<T, Failure> {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    let unreadable = |error: io::Error| anyhow!("{} cannot be read: {error}", path.display());
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(foreign(path, &format!("it has more than {} MiB", MAX_FILE >> 20)));
    }
    let text = fs::read(path).map_err(unreadable)?;
    let bad = |error: serde_json::Error| foreign(path, &error.to_string());
    // First, as another version's fields are others.
    let head: Head = serde_json::from_slice(&text).map_err(bad)?;
    if head.schema != schema {
        return Err(foreign(path, &format!("its schema is `{}`, not `{schema}`", head.schema)));
    }
    serde_json::from_slice(&text).map_err(bad)
}

/// Arguments as a shell takes them. What is no text in them, as a file's name need not be, is shown as `�`.
fn command_line(args: impl IntoIterator<Item = OsString>) -> String {
    args.into_iter().map(|arg| quoted(&arg.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// An argument as a shell takes it.
fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) { arg.to_owned() } else { format!("'{}'", arg.replace('\'', "'\\''")) }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_command_line_is_told_whatever_its_arguments_are() {
        let args = [OsString::from("measure"), "it's".into(), OsString::from_vec(b"/tmp/\xff".to_vec())];
        assert_eq!(command_line(args), "measure 'it'\\''s' '/tmp/\u{fffd}'");
    }
}
