//! Testnets that run until they are ended, and what is done to them meanwhile.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use jsonrpsee::core::ClientError;
use serde_json::Value;
use starling_node::rpc::{self, ApiClient, PeerView};
use starling_wire::{NetworkId, SecretKey, Transaction};
use tempfile::TempDir;

use crate::{assert_code, assert_nothing_left, json, processes_in, program, run, wait_for};

/// The first transaction of a testnet's account, in hex.
fn signed(account: usize, fee: u64) -> String {
    let key = SecretKey::insecure_from_name(1, &format!("account-{account}"));
    let tx = Transaction {
        network: NetworkId(1337),
        sender: key.account(),
        nonce: 0,
        fee,
        recipient: key.account(),
        amount: 1,
        valid_until: None,
        payload: Default::default(),
    };
    let bytes = tx.sign(&key).unwrap().bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("0x{bytes}")
}

#[test]
fn a_baseline_testnet_answers_what_it_can_and_says_what_it_cannot() {
    let dir = TempDir::new().unwrap();
    let _down = Down(&dir);
    let output = run(dir.path(), &["up", "--relay", "gossipsub", "--nodes", "3", "--detach", "--json"]);
    assert_code(&output, 0);
    let manifest = json(&output);
    assert_eq!((&manifest["relay"], &manifest["block_interval_ms"]), (&"gossipsub".into(), &Value::Null));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = rpc::connect(manifest["nodes"][0]["rpc"].as_str().unwrap(), None).unwrap();
        let peers = client.net_peers().await.unwrap();
        assert!(peers.len() == 2 && peers.iter().all(|peer| peer.ready), "{peers:?}");
        let error = |result: Result<_, ClientError>| match result.unwrap_err() {
            ClientError::Call(error) => (error.code(), error.message().to_owned()),
            other => panic!("{other}"),
        };
        let too_cheap = signed(0, 0);
        assert_eq!(error(client.tx_send_raw(too_cheap).await.map(drop)).0, rpc::code::REJECTED);
        let (code, message) = error(client.block_latest().await.map(drop));
        assert!(code == -32601 && message.contains("no blocks"), "{code} {message}");
    });
    let load = run(dir.path(), &["load", "--rate", "50", "--duration", "1s", "--json"]);
    assert_code(&load, 0);
    assert_eq!((&json(&load)["submitted"], &json(&load)["rejected"]), (&50.into(), &0.into()));
    let full = || {
        let status = json(&run(dir.path(), &["status", "--json"]));
        let nodes = status["nodes"].as_array().unwrap().clone();
        nodes.iter().all(|node| node["pool"] == 50 && node["height"].is_null()).then_some(())
    };
    wait_for("all transactions in all pools", full);
    assert_code(&run(dir.path(), &["down"]), 0);
    wait_for("the end of all processes", || processes_in(dir.path()).is_empty().then_some(()));
}

/// Ends the detached testnet in a directory, also when a test fails.
struct Down<'a>(&'a TempDir);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        run(self.0.path(), &["down"]);
    }
}

/// The neighbours of a node.
fn peers_of(rpc: &str) -> Vec<PeerView> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { rpc::connect(rpc, None).unwrap().net_peers().await.unwrap() })
}

#[test]
fn nodes_on_two_continents_are_as_far_apart_as_these() {
    let dir = TempDir::new().unwrap();
    let _down = Down(&dir);
    for transport in ["tcp", "quic"] {
        let up = ["up", "--nodes", "2", "--wan", "earth", "--transport", transport, "--detach", "--json"];
        let output = run(dir.path(), &up);
        assert_code(&output, 0);
        let manifest = json(&output);
        let nodes = manifest["nodes"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        assert_eq!(["eu-central", "us-east"].map(Value::from), [0, 1].map(|node| nodes[node]["region"].clone()));
        let wan: toml::Table = fs::read_to_string(text(&manifest["wan"]["file"])).unwrap().parse().unwrap();
        let access = |node: &Value| wan["nodes"][node["peer_id"].as_str().unwrap()]["access_us"].as_integer().unwrap();
        // 46 ms between the regions, and both lines of access.
        let way_ms = 46.0 + (access(&nodes[0]) + access(&nodes[1])) as f64 / 1000.0;
        for node in nodes {
            let rtt = wait_for("a measured round trip", || peers_of(&text(&node["rpc"])).first()?.rtt_ms);
            // A busy machine may add hundreds of milliseconds; how exact delays are is for the tests of their module.
            assert!(rtt >= 2.0 * way_ms && rtt < 2.0 * way_ms + 1000.0, "{transport}: {rtt} for twice {way_ms} ms");
        }
        assert_code(&run(dir.path(), &["down"]), 0);
    }
}

#[test]
fn a_detached_testnet_is_seen_used_and_ended() {
    let dir = TempDir::new().unwrap();
    let _down = Down(&dir);
    let up = ["up", "--nodes", "3", "--detach", "--json"];
    let output = run(dir.path(), &up);
    assert_code(&output, 0);
    let manifest = json(&output);
    let root = dir.path().join("testnet-data/default");
    assert_eq!(manifest, serde_json::from_slice::<Value>(&fs::read(root.join("manifest.json")).unwrap()).unwrap());
    assert!(root.join("keys/account-15.pem").exists());
    let again = run(dir.path(), &up);
    assert_code(&again, 2);
    assert!(String::from_utf8_lossy(&again.stderr).contains("starling-testnet down"));

    let load = run(dir.path(), &["load", "--rate", "50", "--duration", "1s", "--json"]);
    assert_code(&load, 0);
    assert_eq!((&json(&load)["submitted"], &json(&load)["rejected"]), (&50.into(), &0.into()));
    let more = run(dir.path(), &["load", "--rate", "50", "--duration", "1s", "--json"]);
    assert_eq!(json(&more)["rejected"], 0, "goes on where the accounts stand");
    let log = run(dir.path(), &["logs", "1"]);
    assert!(String::from_utf8_lossy(&log.stdout).contains("link up"));

    wait_for("estimates of the network that are true", || {
        let network = json(&run(dir.path(), &["status", "--json"]))["network"].clone();
        let nodes = &network["rows"][0];
        assert_eq!((&nodes["figure"], &nodes["truth"]), (&"nodes".into(), &3.0.into()), "{network}");
        (network["within"] == 3 && nodes["lowest"] == 3.0 && nodes["highest"] == 3.0).then_some(())
    });
    let shown = run(dir.path(), &["status"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("3 of 3 nodes have the number"));

    let pid = manifest["nodes"][1]["pid"].to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    let alive = |status: &Value| -> Vec<bool> {
        status["nodes"].as_array().unwrap().iter().map(|node| node["alive"].as_bool().unwrap()).collect()
    };
    wait_for("the killed node in the status", || {
        let status = json(&run(dir.path(), &["status", "--json"]));
        (alive(&status) == [true, false, true]).then_some(())
    });
    assert_code(&run(dir.path(), &["down"]), 0);
    assert!(!root.exists());
    wait_for("the end of all processes", || processes_in(dir.path()).is_empty().then_some(()));
    for command in ["down", "status", "load"] {
        assert_code(&run(dir.path(), &[command]), 2);
    }
}

#[test]
fn a_testnet_cut_in_two_relays_in_both_parts_and_is_joined_again() {
    let dir = TempDir::new().unwrap();
    let _down = Down(&dir);
    let output = run(dir.path(), &["up", "--nodes", "6", "--block-interval", "none", "--detach", "--json"]);
    assert_code(&output, 0);
    let manifest = json(&output);
    let rpcs: Vec<&str> = manifest["nodes"].as_array().unwrap().iter().map(|n| n["rpc"].as_str().unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clients: Vec<_> = rpcs.iter().map(|rpc| rpc::connect(rpc, None).unwrap()).collect();
    let submit =
        |node: usize, account: usize| runtime.block_on(clients[node].tx_send_raw(signed(account, 10_000))).unwrap().id;
    let who_has =
        |id| -> Vec<usize> { (0..6).filter(|node| runtime.block_on(clients[*node].tx_get(id)).is_ok()).collect() };
    let reaches = |id, nodes: &[usize]| wait_for("its coming", || (who_has(id) == nodes).then_some(()));
    reaches(submit(0, 0), &[0, 1, 2, 3, 4, 5]);

    assert_code(&run(dir.path(), &["partition"]), 0);
    // What is submitted before a node has seen the file may still come through.
    let parts = |account: usize| {
        let (near, far) = (submit(1, account), submit(4, account + 1));
        wait_for("its coming", || who_has(near).starts_with(&[0, 1, 2]).then_some(()));
        wait_for("its coming", || who_has(far).ends_with(&[3, 4, 5]).then_some(()));
        (near, far)
    };
    let mut accounts = (1..).step_by(2);
    let (near, far) = wait_for("two parts", || {
        let (near, far) = parts(accounts.next().unwrap());
        (who_has(near) == [0, 1, 2] && who_has(far) == [3, 4, 5]).then_some((near, far))
    });

    // Each part gives the other up.
    let components = || status(dir.path())["overlay"]["components"].clone();
    wait_for("two components", || (components() == serde_json::json!([3, 3])).then_some(()));

    assert_code(&run(dir.path(), &["heal"]), 0);
    let healed = Instant::now();
    wait_for("one component", || (components() == serde_json::json!([6])).then_some(()));
    reaches(near, &[0, 1, 2, 3, 4, 5]);
    reaches(far, &[0, 1, 2, 3, 4, 5]);
    assert!(healed.elapsed() < Duration::from_secs(20), "{:?}", healed.elapsed());
    let again = run(dir.path(), &["heal"]);
    assert_code(&again, 0);
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing to heal"));
    assert_code(&run(dir.path(), &["partition", "6"]), 2);

    let mut cut = program(dir.path(), &["partition", "5", "--duration", "1h"]).stderr(Stdio::null()).spawn().unwrap();
    let file = dir.path().join("testnet-data/default/partition.toml");
    wait_for("the partition", || file.exists().then_some(()));
    assert!(Command::new("kill").args(["-INT", &cut.id().to_string()]).status().unwrap().success());
    assert_eq!(cut.wait().unwrap().code(), Some(130));
    assert!(!file.exists(), "whoever is interrupted joins what it cut");
}

/// The answer of `status --json`.
fn status(dir: &Path) -> Value {
    let output = run(dir, &["status", "--json"]);
    assert_code(&output, 0);
    json(&output)
}

/// Counts of all nodes that run: how often the others were taken for dead.
fn suspicions(status: &Value, manifest: &Value) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let alive = status["nodes"].as_array().unwrap().iter().zip(manifest["nodes"].as_array().unwrap());
    alive
        .filter(|(node, _)| node["links"].is_u64())
        .map(|(_, entry)| {
            let client = rpc::connect(entry["rpc"].as_str().unwrap(), None).unwrap();
            runtime.block_on(client.node_counters()).unwrap()["starling_suspected_total"]
        })
        .sum()
}

#[test]
fn a_halted_node_is_noticed_and_taken_back_and_a_killed_half_leaves_one_network() {
    let dir = TempDir::new().unwrap();
    let up = ["up", "--nodes", "10", "--dials", "3", "--block-interval", "none", "--detach"];
    assert_code(&run(dir.path(), &up), 0);
    let manifest: Value =
        serde_json::from_slice(&fs::read(dir.path().join("testnet-data/default/manifest.json")).unwrap()).unwrap();
    assert_eq!(status(dir.path())["overlay"]["components"], serde_json::json!([10]));
    let before = suspicions(&status(dir.path()), &manifest);
    assert_code(&run(dir.path(), &["stop", "4"]), 0);
    // It does not answer: its neighbours' counts are asked for at their own addresses.
    let others: Vec<String> = manifest["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != 4)
        .map(|(_, node)| node["rpc"].as_str().unwrap().to_owned())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let halted = manifest["nodes"][4]["id"].as_str().unwrap().to_owned();
    let ready_links_to_it = || {
        others
            .iter()
            .filter(|url| {
                let peers = runtime.block_on(rpc::connect(url, None).unwrap().net_peers()).unwrap();
                peers.iter().any(|peer| peer.ready && serde_json::json!(peer.id) == halted.as_str())
            })
            .count()
    };
    let since = Instant::now();
    wait_for("its neighbours to notice", || (ready_links_to_it() == 0).then_some(()));
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    assert_code(&run(dir.path(), &["cont", "4"]), 0);
    wait_for("the halted node to be back", || {
        (status(dir.path())["overlay"]["components"] == serde_json::json!([10])).then_some(())
    });
    assert!(suspicions(&status(dir.path()), &manifest) > before);
    // The first one, which all others found each other by, is among those that are killed.
    assert_code(&run(dir.path(), &["kill", "--half"]), 0);
    let since = Instant::now();
    wait_for("the rest to be one network", || {
        (status(dir.path())["overlay"]["components"] == serde_json::json!([5])).then_some(())
    });
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    assert_code(&run(dir.path(), &["kill", "0"]), 2);
    assert_code(&run(dir.path(), &["down"]), 0);
    fs::remove_dir(dir.path().join("testnet-data")).unwrap();
    assert_nothing_left(&dir);
}
