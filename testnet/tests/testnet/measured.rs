//! Measurements and comparisons: a testnet comes up, is loaded and goes again.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::{assert_code, assert_nothing_left, json, run};

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
