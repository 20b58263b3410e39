//! A testnet from its first file to its last: up, settled, down.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use jsonrpsee::http_client::HttpClient;
use starling_node::{
    cli::{Failure, Kind, NodeFile},
    rpc::{self, ApiClient},
};
use starling_wire::NodeId;

use super::{
    links,
    manifest::{Manifest, NodeEntry},
    process,
    spec::{Spec, identity_file, producer_file},
};
use crate::{
    map::{MAX_DEGREE, Topology},
    partition, progress, wan,
};

/// How long a node may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How often nodes are looked at while they come up.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A testnet this process brings up. If it is dropped without [`Self::down`] or [`Self::detach`], its nodes are killed
/// and its directory is removed.
#[derive(Debug)]
pub(crate) struct Testnet {
    root: PathBuf,
    spec: Spec,
    topology: Topology,
    manifest: Manifest,
    children: Vec<Child>,
    detached: bool,
    keep: bool,
    over: bool,
}

impl Testnet {
    /// Makes the directory `dir`/NAME with everything the nodes need; none is started yet. `detached` nodes live on
    /// when this process ends.
    pub(crate) fn create(dir: &Path, spec: Spec, detached: bool) -> Result<Self, Failure> {
        let topology = spec.topology()?;
        if spec.planned && !topology.is_connected() {
            return Err(Failure::usage(format!(
                "the overlay of {} nodes with {} dials that seed {} gives does not hang together. Choose more --dials or \
                 another --seed",
                spec.nodes, spec.dials, spec.seed
            )));
        }
        fs::create_dir_all(dir).with_context(|| format!("the directory {} cannot be made", dir.display()))?;
        let dir = fs::canonicalize(dir).with_context(|| format!("the directory {} cannot be used", dir.display()))?;
        let root = dir.join(&spec.name);
        if let Err(error) = fs::create_dir(&root) {
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists if !root.join(Manifest::NAME).exists() => Manifest::missing(&root),
                io::ErrorKind::AlreadyExists => Failure::usage(format!(
                    "there is a testnet `{name}` in {dir} already. End it with `starling-testnet down --name {name} \
                     --dir {dir}`, or choose another --name",
                    name = spec.name,
                    dir = dir.display()
                )),
                _ => anyhow!("the directory {} cannot be made: {error}", root.display()).into(),
            });
        }
        let written = spec.write(&root, &topology).and_then(|manifest| manifest.write(&root).map(|()| manifest));
        match written {
            Ok(manifest) => {
                let children = Vec::new();
                Ok(Self { root, spec, topology, manifest, children, detached, keep: false, over: false })
            }
            Err(error) => {
                // This process has just made it.
                let _removed = fs::remove_dir_all(&root);
                Err(error.into())
            }
        }
    }

    /// Leaves the directory where it is at the end.
    pub(crate) fn keep_files(&mut self) {
        self.keep = true;
    }

    /// Where everything is.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where the nodes are, and who is linked with whom in a planned overlay.
    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The testnet's directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Starts all nodes and waits until each answers. Nodes that find their neighbours by themselves do so through the
    /// first, which is therefore up before the others; those that find none are started one by one.
    pub(crate) async fn start(&mut self) -> Result<(), Failure> {
        let count = self.manifest.nodes.len();
        let bar = progress::bar(count as u64, "starting nodes");
        let first = usize::from(!self.spec.planned);
        if first > 0 {
            self.spawn(0)?;
            self.ready(0).await?;
            bar.inc(1);
        }
        for number in first..count {
            self.spawn(number)?;
            if self.spec.one_by_one() {
                self.ready(number).await?;
                bar.inc(1);
            }
        }
        self.manifest.write(&self.root)?;
        for number in first..count {
            if !self.spec.one_by_one() {
                self.ready(number).await?;
                bar.inc(1);
            }
        }
        self.manifest.write(&self.root)?;
        bar.finish_and_clear();
        Ok(())
    }

    fn spawn(&mut self, number: usize) -> anyhow::Result<()> {
        let args = self.node_args(&self.manifest.nodes[number], number);
        let child = process::spawn(&self.manifest.nodes[number], &args, self.detached)?;
        self.manifest.nodes[number].pid = child.id();
        self.children.push(child);
        // While others wait for it, `down` is to find it; and always if it goes on when this process is killed. With
        // 1,000 nodes that is half a megabyte each time, some milliseconds: a node takes longer to start.
        if number == 0 || self.spec.one_by_one() || self.detached {
            self.manifest.write(&self.root)?;
        }
        Ok(())
    }

    fn node_args(&self, node: &NodeEntry, number: usize) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![self.spec.relay.command().into()];
        if let Some(wan) = &self.manifest.wan {
            args.extend([wan::OPTION.into(), wan.file.clone().into()]);
        }
        if let Some(partition) = &self.manifest.partition {
            args.extend([partition::OPTION.into(), partition.clone().into()]);
        }
        let mut option = |name: &str, value: OsString| args.extend([name.into(), value]);
        option("--data-dir", node.data_dir.clone().into());
        option("--genesis", self.manifest.genesis.clone().into());
        option("--identity", identity_file(&node.data_dir).into());
        option("--listen", self.spec.transport.listen().into());
        option("--rpc", "127.0.0.1:0".into());
        option("--trace", node.trace.clone().into());
        option("--log", "info".into());
        if self.spec.planned {
            // Links are told to it; how many it accepts is the same in the simulator.
            option("--dials", "0".into());
            option("--max-incoming", MAX_DEGREE.to_string().into());
        } else {
            option("--dials", self.spec.dials.to_string().into());
        }
        for first in self.spec.first_neighbours(number) {
            if let Some(address) = self.manifest.nodes[first].addresses.first() {
                option("--bootstrap", address.into());
            }
        }
        if let Some(interval) = self.spec.block_interval
            && number < self.spec.producers()
        {
            option("--produce", humantime::format_duration(interval).to_string().replace(' ', "").into());
            option("--producer-key", producer_file(&node.data_dir).into());
        }
        args.push(format!("--store={}", self.spec.store).into());
        if self.spec.planned {
            args.push("--rpc-admin".into());
        }
        args
    }

    /// Waits until a node has written where it is and answers there.
    async fn ready(&mut self, number: usize) -> Result<(), Failure> {
        let deadline = Instant::now() + START_TIMEOUT;
        let (node, child) = (&mut self.manifest.nodes[number], &mut self.children[number]);
        loop {
            if let Some(status) = child.try_wait().context("a node's process cannot be looked at")? {
                let tail = process::log_tail(&node.log);
                return Err(anyhow!("{} ended by itself ({status}); {tail}", node.name).into());
            }
            if let Ok(file) = NodeFile::read(&node.data_dir)
                && let Ok(client) = rpc::connect(&file.rpc, None)
                && client.node_info().await.is_ok_and(|info| info.id == node.id)
            {
                node.addresses = file.addresses.iter().map(ToString::to_string).collect();
                node.rpc = file.rpc;
                return Ok(());
            }
            if Instant::now() >= deadline {
                let tail = process::log_tail(&node.log);
                let seconds = START_TIMEOUT.as_secs();
                let error = anyhow!("{} did not come up within {seconds} s; {tail}", node.name);
                return Err(Failure::new(Kind::Timeout, error));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for the links: those that were planned, which it tells the nodes to make, or those that the nodes find.
    /// Gives the links of each node.
    pub(crate) async fn settle(&self) -> Result<Vec<Vec<NodeId>>, Failure> {
        let (nodes, clients) = (&self.manifest.nodes, self.clients()?);
        if self.spec.planned {
            links::make(nodes, &clients, &self.topology).await
        } else {
            links::settle(nodes, &clients, usize::from(self.spec.dials).min(nodes.len() - 1)).await
        }
    }

    /// Says so if there are planned links that there are no longer.
    pub(crate) async fn lost_links(&self) -> Result<Option<String>, Failure> {
        if !self.spec.planned {
            return Ok(None);
        }
        let all = links::of_all(&self.clients()?).await;
        let lost = links::missing(&self.manifest.nodes, &all, &self.topology);
        let message = format!("{} links were lost: {}", lost.len(), links::name(&self.manifest.nodes, &lost));
        Ok((!lost.is_empty()).then_some(message))
    }

    /// A client for each node.
    pub(crate) fn clients(&self) -> anyhow::Result<Vec<HttpClient>> {
        self.manifest.nodes.iter().map(|node| Ok(rpc::connect(&node.rpc, None)?)).collect()
    }

    /// The nodes that have ended since this was last asked, with how.
    pub(crate) fn newly_ended(&mut self, known: &mut BTreeSet<usize>) -> Vec<String> {
        let mut ended = Vec::new();
        for (number, child) in self.children.iter_mut().enumerate() {
            if let Ok(Some(status)) = child.try_wait()
                && known.insert(number)
            {
                let node = &self.manifest.nodes[number];
                // One that was killed had no time to write why.
                let why = status.code().map(|_| format!("; {}", process::log_tail(&node.log))).unwrap_or_default();
                ended.push(format!("{} has ended ({status}){why}", node.name));
            }
        }
        ended
    }

    /// Ends all nodes, those that do not end in order by force. Gives how many had to be killed.
    pub(crate) async fn down(&mut self) -> anyhow::Result<usize> {
        let children = &mut self.children;
        let killed = process::end_processes(&self.manifest.nodes, || {
            for child in &mut *children {
                // Only to collect those that have ended.
                let _running = child.try_wait();
            }
        })
        .await?;
        // One that was started a moment ago may not have shown yet whose it is; as a child it is known for certain.
        for child in &mut self.children {
            if let Ok(None) = child.try_wait() {
                child.kill().and_then(|()| child.wait()).context("a node cannot be killed")?;
            }
        }
        Ok(killed)
    }

    /// Removes the directory, unless it is to be kept. For after [`Self::down`].
    pub(crate) fn remove(&mut self) -> anyhow::Result<()> {
        self.over = true;
        if self.keep { Ok(()) } else { remove_dir(&self.root) }
    }

    /// Lets the nodes live on without this process.
    pub(crate) fn detach(mut self) {
        self.over = true;
    }
}

impl Drop for Testnet {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        for child in &mut self.children {
            // One that has ended already is what is wanted.
            let _ended = child.kill();
            let _collected = child.wait();
        }
        if !self.keep {
            let _removed = remove_dir(&self.root);
        }
    }
}

/// Removes a testnet's directory; one that is gone already is fine.
pub(crate) fn remove_dir(root: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(anyhow!("{} cannot be removed: {error}", root.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::spec::tests::spec, *};

    #[test]
    fn what_an_unfinished_up_has_left_is_told_with_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("x")).unwrap();
        let up = Testnet::create(dir.path(), spec(), true).unwrap_err();
        let down = Manifest::read(dir.path(), "x").unwrap_err();
        for failure in [up, down] {
            assert_eq!(failure.kind(), Kind::Usage);
            let told = failure.to_string();
            assert!(told.contains("rm -r") && !told.contains("`starling-testnet"), "{told}");
        }
    }

    #[test]
    fn detached_nodes_are_in_the_manifest_as_soon_as_they_run() {
        let dir = tempfile::tempdir().unwrap();
        let mut testnet = Testnet::create(dir.path(), spec(), true).unwrap();
        for number in 0..3 {
            // Of this test's own program, which does not know a node's options and ends at once.
            testnet.spawn(number).unwrap();
            let told = Manifest::read(dir.path(), "x").unwrap().nodes;
            let told: Vec<u32> = told.iter().take(number + 1).map(|node| node.pid).collect();
            let started: Vec<u32> = testnet.children.iter().map(Child::id).collect();
            assert_eq!(told, started);
        }
    }
}
