//! Node processes: started from this very program, looked at and ended.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use sysinfo::{ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

use super::manifest::NodeEntry;

/// How long nodes have to end in order before they are killed.
const GRACE: Duration = Duration::from_secs(5);

/// How often it is looked whether processes have ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Bytes at the end of a log shown when a node does not come up.
const TAIL: usize = 2_000;

/// Starts a node. Its standard error goes to its log. Unless it is detached it ends when this process does, however
/// that ends: the child holds the pipe that keeps it alive.
pub(super) fn spawn(node: &NodeEntry, args: &[OsString], detached: bool) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("this program's own file is not known")?;
    let log = File::create(&node.log).with_context(|| format!("{} cannot be written", node.log.display()))?;
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(if detached { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::null())
        .stderr(log)
        // A Ctrl-C in the terminal is for the testnet as a whole, which ends its nodes in order.
        .process_group(0);
    if !detached {
        command.arg("--until-stdin-closes");
    }
    // What the user has set for nodes of his own is not meant for these.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STARLING_") {
            command.env_remove(name);
        }
    }
    command.spawn().with_context(|| format!("{} cannot be started", node.name))
}

/// The last lines of a node's log, for an error message.
pub(crate) fn log_tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]).trim().to_owned();
    if text.is_empty() { "its log is empty".to_owned() } else { format!("the end of its log:\n{text}") }
}

/// What the system knows about nodes' processes. Only processes that run a node in its own data directory count: a
/// number in a manifest may belong to somebody else by now.
#[derive(Debug)]
pub(crate) struct Processes {
    system: System,
}

impl Processes {
    /// Looks at the processes of some nodes.
    pub(crate) fn look(nodes: &[NodeEntry]) -> anyhow::Result<Self> {
        let system = System::new().map_err(|error| anyhow!("processes cannot be looked at: {error:?}"))?;
        let mut processes = Self { system };
        processes.look_again(nodes);
        Ok(processes)
    }

    fn look_again(&mut self, nodes: &[NodeEntry]) {
        let pids: Vec<_> =
            nodes.iter().filter(|node| node.pid != 0).map(|node| sysinfo::Pid::from_u32(node.pid)).collect();
        let what = ProcessRefreshKind::nothing().without_tasks().with_cmd(UpdateKind::Always).with_cpu().with_memory();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, what);
    }

    fn process(&self, node: &NodeEntry) -> Option<&sysinfo::Process> {
        self.system.process(sysinfo::Pid::from_u32(node.pid)).filter(|process| {
            !matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead)
                && process.cmd().iter().any(|arg| Path::new(arg) == node.data_dir)
        })
    }

    /// Whether a node's process runs.
    pub(crate) fn is_alive(&self, node: &NodeEntry) -> bool {
        self.process(node).is_some()
    }

    /// CPU time a node has used since it started, user and system.
    pub(crate) fn cpu_time(&self, node: &NodeEntry) -> Option<Duration> {
        self.process(node).map(|process| Duration::from_millis(process.accumulated_cpu_time()))
    }

    /// Memory of a node that is in RAM, in bytes.
    pub(crate) fn resident_bytes(&self, node: &NodeEntry) -> Option<u64> {
        self.process(node).map(sysinfo::Process::memory)
    }

    /// Sends a signal to a node's process; one that is no more is passed over.
    pub(crate) fn signal(&self, node: &NodeEntry, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(node.pid).ok().and_then(Pid::from_raw);
        let (Some(pid), true) = (pid, self.is_alive(node)) else { return Ok(()) };
        match kill_process(pid, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            result => result.map_err(Into::into),
        }
    }
}

/// Ends nodes: asks, waits five seconds, and kills those that remain. `reap` is called while waiting; the parent of
/// the processes collects its children there. Says how many had to be killed.
pub(crate) async fn end_processes(nodes: &[NodeEntry], mut reap: impl FnMut()) -> anyhow::Result<usize> {
    let mut processes = Processes::look(nodes)?;
    for node in nodes {
        processes.signal(node, Signal::TERM).with_context(|| format!("{} cannot be told to stop", node.name))?;
    }
    let deadline = Instant::now() + GRACE;
    let mut alive = nodes.iter().filter(|node| processes.is_alive(node)).count();
    while alive > 0 && Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
        reap();
        processes.look_again(nodes);
        alive = nodes.iter().filter(|node| processes.is_alive(node)).count();
    }
    let killed = alive;
    kill_processes(nodes)?;
    let deadline = Instant::now() + GRACE;
    while alive > 0 {
        if Instant::now() >= deadline {
            return Err(anyhow!("{alive} nodes do not end even when killed; see their pids in the manifest"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        reap();
        processes.look_again(nodes);
        alive = nodes.iter().filter(|node| processes.is_alive(node)).count();
    }
    Ok(killed)
}

/// Kills nodes at once.
fn kill_processes(nodes: &[NodeEntry]) -> anyhow::Result<()> {
    let processes = Processes::look(nodes)?;
    for node in nodes {
        processes.signal(node, Signal::KILL).with_context(|| format!("{} cannot be killed", node.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_processes_of_the_data_directory_are_ended() {
        let dir = tempfile::tempdir().unwrap();
        // A shell that waits for its input, with the directory as one of its arguments.
        let mut child =
            Command::new("sh").args(["-c", "read line"]).arg(dir.path()).stdin(Stdio::piped()).spawn().unwrap();
        let (ours, other) =
            (NodeEntry::of_test(child.id(), dir.path()), NodeEntry::of_test(child.id(), Path::new("/elsewhere")));
        // For a moment after its start a process shows no command line.
        let deadline = Instant::now() + GRACE;
        let mut processes = Processes::look(std::slice::from_ref(&ours)).unwrap();
        while !processes.is_alive(&ours) {
            assert!(Instant::now() < deadline);
            processes.look_again(std::slice::from_ref(&ours));
        }
        assert!(!processes.is_alive(&other));
        assert!(processes.resident_bytes(&ours).unwrap() > 0);
        assert_eq!(end_processes(&[other], || {}).await.unwrap(), 0);
        assert!(child.try_wait().unwrap().is_none(), "left alone");
        assert_eq!(end_processes(&[ours], || {}).await.unwrap(), 0);
        assert!(!child.wait().unwrap().success(), "ended by the signal");
    }

    #[test]
    fn tails_of_logs() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert!(log_tail(&log).contains("empty"));
        fs::write(&log, format!("first\n{}\nlast\n", "x".repeat(TAIL))).unwrap();
        let tail = log_tail(&log);
        assert!(tail.ends_with("last") && !tail.contains("first"), "{tail}");
    }
}
