//! The program from outside: real nodes, real signals, and nothing left behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use jsonrpsee::core::ClientError;
use serde_json::Value;
use starling_node::rpc::{self, ApiClient, PeerView};
use starling_wire::{NetworkId, SecretKey, Transaction};
use tempfile::TempDir;

/// How long anything here may take before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(60);

/// The program, with its temporary files in `dir`.
fn program(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("starling-testnet"));
    command.args(args).env("TMPDIR", dir).current_dir(dir);
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    program(dir, args).output().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)))
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Command lines of running processes that name something in `dir`.
fn processes_in(dir: &Path) -> Vec<String> {
    let dir = fs::canonicalize(dir).unwrap();
    let dir = dir.to_str().unwrap();
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(dir)).collect()
}

/// Waits until `what` gives something.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn assert_nothing_left(dir: &TempDir) {
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.is_empty(), "{files:?}");
    wait_for("the end of all processes", || processes_in(dir.path()).is_empty().then_some(()));
}

#[test]
fn a_measurement_has_its_figures_and_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let args = ["measure", "--nodes", "5", "--rate", "20", "--duration", "3s", "--json"];
    let output = run(dir.path(), &[&args[..], &["--threshold", "delivery>=1", "--threshold", "p50<1us"]].concat());
    assert_code(&output, 99);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("p50<1us was missed") && !stderr.contains("delivery"), "{stderr}");
    let report = json(&output);
    assert_eq!(report["schema"], "starling.measure/1");
    assert_eq!((&report["submitted"], &report["rejected"]), (&60.into(), &0.into()));
    assert_eq!(report["delivery_ratio"], 1.0);
    assert_eq!(report["relay"], "starling");
    assert_eq!(report["wire_bytes_counted"], "socket");
    for figure in ["copies_per_node", "wire_bytes_per_payload_byte"] {
        assert!(report[figure].as_f64().unwrap() >= 0.8, "{figure}: {report}");
    }
    for figure in ["/latency_ms/p50", "/coverage_ms/p100/max", "/cpu_us_per_node_per_tx", "/rss_mib_per_node/max"] {
        assert!(report.pointer(figure).unwrap().as_f64().unwrap() > 0.0, "{figure}: {report}");
    }
    assert_nothing_left(&dir);
}

#[test]
fn the_baseline_is_measured_like_starling() {
    let dir = TempDir::new().unwrap();
    let args = ["measure", "--relay", "gossipsub", "--nodes", "6", "--rate", "20", "--duration", "3s", "--json"];
    let output = run(dir.path(), &[&args[..], &["--threshold", "copies>1"]].concat());
    assert_code(&output, 0);
    let report = json(&output);
    assert_eq!(
        (&report["relay"], &report["delivery_ratio"], &report["dropped"]),
        (&"gossipsub".into(), &1.0.into(), &0.into())
    );
    assert_eq!((&report["submitted"], &report["rejected"]), (&60.into(), &0.into()));
    for figure in ["copies_per_node", "wire_bytes_per_payload_byte"] {
        assert!(report[figure].as_f64().unwrap() > 1.0, "{figure}: {report}");
    }
    for figure in ["/latency_ms/p50", "/coverage_ms/p100/max", "/cpu_us_per_node_per_tx", "/rss_mib_per_node/max"] {
        assert!(report.pointer(figure).unwrap().as_f64().unwrap() > 0.0, "{figure}: {report}");
    }
    assert_nothing_left(&dir);
}

#[test]
fn relays_are_compared_and_bounds_are_on_their_ratios() {
    let dir = TempDir::new().unwrap();
    let args = ["compare", "--nodes", "4", "--rate", "20", "--duration", "2s", "--settle", "0s", "--wan", "none"];
    let args = [&args[..], &["--rounds", "1", "--json"]].concat();
    let output = run(dir.path(), &[&args[..], &["--threshold", "copies>0", "--threshold", "wire_bytes>1000"]].concat());
    assert_code(&output, 99);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("wire_bytes>1000 was missed") && !stderr.contains("copies"), "{stderr}");
    let document = json(&output);
    assert_eq!((&document["schema"], &document["rounds"]), (&"starling.compare/1".into(), &1.into()));
    let runs = document["runs"].as_array().unwrap();
    assert_eq!(runs.iter().map(|run| run["relay"].as_str().unwrap()).collect::<Vec<_>>(), ["starling", "gossipsub"]);
    for run in runs {
        assert_eq!((&run["schema"], &run["delivery_ratio"]), (&"starling.measure/1".into(), &1.0.into()));
        assert_eq!((&run["nodes"], &run["seed"], &run["submitted"]), (&4.into(), &1.into(), &40.into()));
    }
    let ratios = document["ratios"].as_object().unwrap();
    for (name, figure) in [
        ("wire_bytes", "/wire_bytes_per_payload_byte"),
        ("copies", "/copies_per_node"),
        ("cpu", "/cpu_us_per_node_per_tx"),
        ("rss", "/rss_mib_per_node/max"),
        ("latency_p50", "/latency_ms/p50"),
        ("latency_p95", "/latency_ms/p95"),
        ("latency_p99", "/latency_ms/p99"),
        ("coverage_p95", "/coverage_ms/p100/p95"),
    ] {
        let of = |run: usize| runs[run].pointer(figure).unwrap().as_f64().unwrap();
        for which in ["median", "min", "max"] {
            let ratio = ratios[name][which].as_f64().unwrap();
            assert!((ratio - of(0) / of(1)).abs() < 0.001, "{name} {which}: {document}");
        }
    }
    assert_eq!(ratios.len(), 8);
    assert_nothing_left(&dir);
}

#[test]
fn the_highest_rate_held_is_told_with_every_rate_tried() {
    let dir = TempDir::new().unwrap();
    let args = ["measure", "--nodes", "2", "--rate", "20", "--duration", "1s", "--wan", "none", "--json"];
    let more = ["--saturate", "--step", "1s", "--max-rate", "40", "--threshold", "saturation>=40"];
    let output = run(dir.path(), &[&args[..], &more].concat());
    assert_code(&output, 0);
    let report = json(&output);
    assert_eq!((&report["submitted"], &report["offered_tps"]), (&20.into(), &20.0.into()));
    let found = &report["saturation"];
    assert_eq!((&found["held_tps"], &found["capped"]), (&40.0.into(), &true.into()));
    let steps = found["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &steps[0]["offered_tps"], &steps[0]["held"]), (1, &40.0.into(), &true.into()), "{found}");
    assert_eq!(steps[0]["delivery_ratio"], 1.0);
    assert!(steps[0]["p99_ms"].as_f64().unwrap() > 0.0);
    let of = |name: &str| found[name].as_f64().unwrap();
    assert!(of("verify_us") > 5.0 && of("signature_limit_tps") > 40.0, "{found}");
    assert!((of("share") - 40.0 / of("signature_limit_tps")).abs() < 0.001, "{found}");
    assert_nothing_left(&dir);
}

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

#[test]
fn with_blocks_all_nodes_agree_in_the_end() {
    let dir = TempDir::new().unwrap();
    let args = ["measure", "--nodes", "4", "--rate", "20", "--duration", "3s", "--block-interval", "500ms", "--json"];
    let more = ["--transport", "quic", "--settle", "1s", "--wan", "none"];
    let output = run(dir.path(), &[&args[..], &more].concat());
    assert_code(&output, 0);
    let report = json(&output);
    assert_eq!(report["chain"]["agreed"], true);
    assert_eq!(report["chain"]["included"], 60);
    assert!(report["chain"]["height"].as_u64().unwrap() > 0);
    assert_eq!((&report["delivery_ratio"], &report["wire_bytes_counted"]), (&1.0.into(), &"frames".into()));
    assert_eq!((&report["submitted"], &report["counted"], &report["settle_s"]), (&60.into(), &40.into(), &1.0.into()));
    assert_eq!((&report["wan"], &report["stretch"]), (&"none".into(), &Value::Null));
    assert_nothing_left(&dir);
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
fn no_transaction_is_faster_than_its_way() {
    let dir = TempDir::new().unwrap();
    let world = "name = 'far'\n[[regions]]\nname = 'only'\nweight = 1\n[delays]\none_way_ms = [[150]]\n";
    let file = dir.path().join("far.toml");
    fs::write(&file, world).unwrap();
    let args = ["measure", "--nodes", "2", "--rate", "20", "--duration", "2s", "--json", "--wan"];
    let output = run(dir.path(), &[&args[..], &[file.to_str().unwrap()]].concat());
    assert_code(&output, 0);
    let report = json(&output);
    assert_eq!((&report["wan"], &report["delivery_ratio"]), (&"far".into(), &1.0.into()));
    let latency = |name: &str| report["latency_ms"][name].as_f64().unwrap();
    // With two milliseconds of access at least. The machine may be busy, hence the room above.
    assert!(latency("p50") >= 152.0 && latency("p50") < 1000.0, "{report}");
    let stretch = |name: &str, which: &str| report[name][which].as_f64().unwrap();
    for name in ["stretch", "full_stretch"] {
        assert!(stretch(name, "p50") >= 1.0 && stretch(name, "p50") < 6.0, "{report}");
    }
    fs::remove_file(file).unwrap();
    assert_nothing_left(&dir);
}

#[test]
fn a_kept_measurement_gives_its_page_again() {
    let dir = TempDir::new().unwrap();
    let args =
        ["measure", "--nodes", "4", "--rate", "20", "--duration", "2s", "--keep", "kept", "--report", "one.html"];
    let output = run(dir.path(), &[&args[..], &["--json"]].concat());
    assert_code(&output, 0);
    let kept = fs::read_to_string(dir.path().join("kept/measure/measure.json")).unwrap();
    assert_eq!(json(&output), serde_json::from_str::<Value>(&kept).unwrap());
    // Wherever it is now.
    fs::rename(dir.path().join("kept"), dir.path().join("moved")).unwrap();
    let report = ["report", "moved", "--output", "two.html", "--csv", "deliveries.csv", "--hgrm", "latency.hgrm"];
    assert_code(&run(dir.path(), &report), 0);
    let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
    assert_eq!(read("one.html"), read("two.html"));
    assert!(read("one.html").contains("<h1>starling on 4 nodes</h1>"));
    assert_eq!(read("deliveries.csv").lines().count(), 1 + 4 * 40);
    assert!(read("latency.hgrm").contains("Total count    =          120]"));
    let output = run(dir.path(), &["report", "moved", "--output", "nowhere/x.html"]);
    assert_code(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere/x.html cannot be written"));
    // What is kept is not overwritten.
    let output = run(dir.path(), &["measure", "--keep", "moved"]);
    assert_code(&output, 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("moved/measure is there already"));
}

#[test]
fn figures_are_told_even_if_their_page_cannot_be_written() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("page")).unwrap();
    let args = ["measure", "--nodes", "2", "--rate", "20", "--duration", "1s", "--wan", "none", "--report", "page"];
    let output = run(dir.path(), &[&args[..], &["--json"]].concat());
    assert_code(&output, 1);
    assert_eq!(json(&output)["delivery_ratio"], 1.0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("page cannot be written"));
    fs::remove_dir(dir.path().join("page")).unwrap();
    assert_nothing_left(&dir);
}

/// Who has had links with whom, by the logs of a measurement.
fn links_in_logs(dir: &Path) -> BTreeSet<(usize, String)> {
    let log = |node: usize| fs::read_to_string(dir.join(format!("measure/node-{node:02}/node.log"))).unwrap();
    let of = |node: usize| {
        let lines: Vec<String> = log(node).lines().filter(|line| line.contains("link up")).map(String::from).collect();
        lines.into_iter().map(move |line| (node, line.split("peer=").nth(1).unwrap().trim().to_owned()))
    };
    (0..8).flat_map(of).collect()
}

#[test]
fn equal_seeds_are_measured_on_equal_overlays() {
    let dir = TempDir::new().unwrap();
    let links: Vec<_> = ["1", "1", "2"]
        .iter()
        .enumerate()
        .map(|(at, seed)| {
            let keep = dir.path().join(at.to_string());
            let args = ["measure", "--nodes", "8", "--dials", "2", "--duration", "1s", "--wan", "none"];
            let more = ["--seed", seed, "--keep", keep.to_str().unwrap()];
            assert_code(&run(dir.path(), &[&args[..], &more].concat()), 0);
            links_in_logs(&keep)
        })
        .collect();
    assert_eq!(links[0].len(), 2 * 2 * 8, "two for each node, seen from both ends");
    assert_eq!(links[0], links[1]);
    assert_ne!(links[0], links[2]);
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

/// Starts the program and waits until `nodes` of its nodes run.
fn start(dir: &TempDir, args: &[&str], nodes: usize) -> Child {
    let child = program(dir.path(), args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the start of the nodes", || (processes_in(dir.path()).len() >= nodes).then_some(()));
    child
}

#[test]
fn whatever_ends_the_program_ends_its_nodes() {
    let dir = TempDir::new().unwrap();
    let mut measure = start(&dir, &["measure", "--nodes", "3", "--duration", "1m"], 3);
    assert!(Command::new("kill").args(["-TERM", &measure.id().to_string()]).status().unwrap().success());
    assert_eq!(measure.wait().unwrap().code(), Some(130));
    assert_nothing_left(&dir);

    let mut compare = start(&dir, &["compare", "--nodes", "3", "--duration", "1m"], 3);
    assert!(Command::new("kill").args(["-INT", &compare.id().to_string()]).status().unwrap().success());
    assert_eq!(compare.wait().unwrap().code(), Some(130));
    assert_nothing_left(&dir);

    let mut up = start(&dir, &["up", "--nodes", "3"], 3);
    up.kill().unwrap();
    up.wait().unwrap();
    wait_for("the end of all processes", || processes_in(dir.path()).is_empty().then_some(()));
    assert_code(&run(dir.path(), &["down"]), 0);
    assert!(!dir.path().join("testnet-data/default").exists());
}

#[test]
fn wrong_command_lines_are_refused_before_anything_is_started() {
    let dir = TempDir::new().unwrap();
    for args in [
        &["measure", "--tx-size", "161"][..],
        &["measure", "--rate", "0"],
        &["measure", "--rate", "10000", "--duration", "20s"],
        &["measure", "--rate", "10000", "--duration", "1h", "--block-interval", "1s"],
        &["measure", "--nodes", "0"],
        &["measure", "--threshold", "p98<5ms"],
        &["measure", "--threshold", "p99"],
        &["measure", "--transport", "pigeon"],
        &["measure", "--wan", "mars"],
        &["measure", "--duration", "10s", "--settle", "10s"],
        &["measure", "--nodes", "30", "--dials", "1", "--seed", "2"],
        &["measure", "--relay", "pigeon"],
        &["measure", "--relay", "gossipsub", "--block-interval", "1s"],
        &["up", "--relay", "gossipsub", "--block-interval", "1s"],
        &["measure", "--threshold", "saturation>5"],
        &["measure", "--step", "1s"],
        &["measure", "--saturate", "--nodes", "1"],
        &["measure", "--saturate", "--block-interval", "1s"],
        &["measure", "--saturate", "--max-rate", "90000"],
        &["compare", "--relay", "gossipsub"],
        &["compare", "--block-interval", "1s"],
        &["compare", "--rounds", "0"],
        &["compare", "--threshold", "p99<5ms"],
        &["compare", "--duration", "10s", "--settle", "10s"],
        &["up", "--name", "../x"],
        &["up", "--dials", "33"],
        &["logs", "0"],
        &["report"],
        &["report", "nowhere"],
        &["measure", "--report", "nowhere/report.html"],
        &["nothing"],
        &[],
    ] {
        let output = run(dir.path(), args);
        assert_code(&output, 2);
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
    for help in ["-h", "--help", "--version"] {
        assert_code(&run(dir.path(), &[help]), 0);
    }
    assert_nothing_left(&dir);
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
