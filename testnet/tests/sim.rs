//! The simulator from its command line: same seed, same run; and figures that are known beforehand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use assert_cmd::Command;
use serde_json::Value;

/// Runs `sim` with some arguments and reads its JSON document.
fn sim(args: &str) -> Value {
    let mut command = Command::cargo_bin("starling-testnet").unwrap();
    let output = command.arg("sim").args(args.split_whitespace()).arg("--json").output().unwrap();
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What must be equal in equal runs.
fn without_wall(mut document: Value) -> Value {
    document.as_object_mut().unwrap().remove("wall_s");
    document
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_seed_decides_a_run_to_the_last_event() {
    let (labels, late) = ("starling --hostile false-labels@0.2", "starling --hostile late@0.2");
    for relay in ["starling", labels, late, "gossipsub", "plumtree", "ethereum", "bitcoin", "push", "push-pull"] {
        let args = |seed: u64| format!("--relay {relay} --nodes 30 --dials 4 --rate 20 --duration 2s --seed {seed}");
        let first = without_wall(sim(&args(1)));
        assert_eq!(first, without_wall(sim(&args(1))), "{relay}");
        assert_ne!(first["digest"], sim(&args(2))["digest"], "{relay}");
    }
}

#[test]
fn threads_change_nothing_but_the_time_it_takes() {
    let scenario =
        "--nodes 40 --dials 4 --rate 20 --duration 4s --crash 0.2@1s --partition 2s..3s --detect 300ms --loss 0.01";
    for relay in ["starling", "plumtree"] {
        let on = |threads: &str| {
            let mut command = Command::cargo_bin("starling-testnet").unwrap();
            command.arg("sim").args(scenario.split_whitespace()).args(["--relay", relay, "--json"]);
            let output = command.env("RAYON_NUM_THREADS", threads).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            without_wall(serde_json::from_slice(&output.stdout).unwrap())
        };
        assert_eq!(on("1"), on("3"), "{relay}");
    }
}

#[test]
fn flooding_is_as_fast_as_the_overlay_and_uses_every_link() {
    let report = sim("--relay flood --nodes 60 --dials 4 --rate 20 --duration 5s --settle 0");
    assert_eq!(report["schema"], "starling.sim/1");
    assert_eq!((&report["delivery_ratio"], &report["counted"]), (&1.0.into(), &100.into()));
    // A copy over every link but the one it came on, save where two cross: a degree of 8, less one.
    let copies = number(&report["copies_per_node"]);
    assert!((6.0..=7.5).contains(&copies), "{copies}");
    assert!(number(&report["stretch"]["p50"]) < 1.06 && number(&report["stretch"]["p99"]) < 1.15, "{report}");
    assert!(number(&report["stretch"]["p50"]) >= 1.0);
    assert!(number(&report["full_stretch"]["p95"]) < 1.1, "{report}");
}

#[test]
fn the_engine_reaches_everybody() {
    let report = sim("--nodes 60 --rate 20 --duration 5s --settle 0 --timeline");
    assert_eq!((&report["delivery_ratio"], &report["submitted"]), (&1.0.into(), &100.into()));
    assert_eq!((&report["rejected"], &report["refused"], &report["banned"]), (&0.into(), &0.into(), &0.into()));
    // Everybody gets it once at least, but where it entered.
    assert!(number(&report["copies_per_node"]) > 0.9);
    assert!(number(&report["wire_bytes_per_payload_byte"]) > number(&report["copies_per_node"]));
    assert!(report["bytes_by_kind"]["push"].as_u64().unwrap() > 60 * 99 * 250);
    assert_eq!(report["timeline"][0]["transactions"], 100);
}

#[test]
fn what_a_living_node_has_gets_to_all_that_live() {
    // Without loss every announcement comes, so nothing may be missing; the failed requests go to the next announcer.
    let report = sim("--nodes 60 --rate 20 --duration 10s --crash 0.2@5s --detect 1s --settle 0");
    assert_eq!((&report["crashed"], &report["delivery_ratio"]), (&12.into(), &1.0.into()));
    assert!(report["submitted"].as_u64().unwrap() < 200, "dead nodes submit nothing");
    assert_eq!(report["banned"], 0);
    // Where messages vanish, one can be lost on every link that leads to a node; at 1 % and a dozen links it is not.
    let report = sim("--nodes 60 --rate 20 --duration 5s --loss 0.01 --settle 0");
    assert_eq!((&report["delivery_ratio"], &report["loss"]), (&1.0.into(), &0.01.into()));
}

#[test]
fn what_pushes_and_announcements_lose_comparing_pools_finds_within_five_seconds() {
    let report = sim("--nodes 60 --rate 20 --duration 10s --loss 0.2 --loss-of push,ihave --settle 0");
    assert_eq!((&report["delivery_ratio"], &report["banned"]), (&1.0.into(), &0.into()), "{report}");
    assert!(number(&report["latency_ms"]["max"]) < 5000.0, "{report}");
    let asked = report["frames_by_kind"]["sketch"].as_u64().unwrap();
    assert!(asked > 60 * 2, "{asked} sketches");
}

#[test]
fn comparing_pools_costs_little() {
    let report = sim("--nodes 60 --rate 20 --duration 20s");
    let bytes = |kind: &str| report["bytes_by_kind"][kind].as_u64().unwrap_or_default() as f64;
    let compared: f64 = ["digest", "sketch", "get_symbols"].into_iter().map(bytes).sum();
    let all: f64 = report["bytes_by_kind"].as_object().unwrap().keys().map(|kind| bytes(kind)).sum();
    assert!(compared > 0.0 && compared < 0.1 * (all - compared), "{report}");
}

#[test]
fn halves_that_find_each_other_again_exchange_what_they_missed() {
    let report = sim("--nodes 40 --rate 20 --duration 6s --partition 1s..4s --detect 1s --settle 0");
    assert_eq!(report["delivery_ratio"], 1.0, "{report}");
}

/// A network small enough for a test, for long enough that routes are learned.
fn attacked(more: &str) -> Value {
    sim(&format!("--nodes 100 --rate 40 --duration 20s {more}"))
}

/// The same without hostile nodes.
static HONEST: LazyLock<Value> = LazyLock::new(|| attacked(""));

/// With every twentieth node hostile, the others get everything and in time. Gives the report with every second node
/// hostile, in which the attack must show.
fn stands(attack: &str) -> Value {
    let report = attacked(&format!("--hostile {attack}@0.05"));
    assert_eq!((&report["hostile"], &report["attack"], &report["crashed"]), (&5.into(), &attack.into(), &0.into()));
    assert!(report["submitted"].as_u64().unwrap() < 800, "hostile nodes submit nothing");
    assert_eq!(report["delivery_ratio"], 1.0, "{report}");
    assert!(number(&report["stretch"]["p95"]) < 1.5, "{report}");
    attacked(&format!("--hostile {attack}@0.5"))
}

/// Messages of a kind that an honest node gets for each transaction.
fn frames(report: &Value, kind: &str) -> f64 {
    let honest = number(&report["nodes"]) - number(&report["hostile"]);
    number(&report["frames_by_kind"][kind]) / honest / number(&report["counted"])
}

/// Prunes for each push.
fn prunes(report: &Value) -> f64 {
    frames(report, "prune") / frames(report, "push")
}

#[test]
fn false_labels_do_not_get_in_the_way() {
    let half = stands("false-labels");
    assert!(prunes(&half) > 1.15 * prunes(&HONEST), "where nothing can be learned, much is in vain: {half}");
}

#[test]
fn prunes_of_everything_do_not_get_in_the_way() {
    let half = stands("prune-all");
    assert!(prunes(&half) > 1.5 * prunes(&HONEST), "{half}");
}

#[test]
fn prunes_of_nothing_do_not_get_in_the_way() {
    let half = stands("never-prune");
    assert!(prunes(&half) < 0.7 * prunes(&HONEST), "{half}");
}

#[test]
fn promises_that_are_never_kept_do_not_get_in_the_way() {
    let half = stands("withhold");
    assert!(frames(&half, "ihave") > 1.8 * frames(&HONEST, "ihave"), "{half}");
    assert!(frames(&half, "push") < 0.95 * frames(&HONEST, "push"), "{half}");
    assert!(number(&half["stretch"]["p95"]) > 1.5, "{half}");
}

#[test]
fn pushes_that_come_late_do_not_get_in_the_way() {
    let half = stands("late");
    assert!(number(&half["stretch"]["p95"]) > 1.5, "{half}");
    // Late is not never: nobody has to be told of what was pushed to him.
    assert!(frames(&half, "ihave") < 1.5 * frames(&HONEST, "ihave"), "{half}");
}

#[test]
fn several_relays_make_one_table_over_one_overlay() {
    let set = sim("--relay flood,push --nodes 30 --dials 4 --rate 20 --duration 2s");
    assert_eq!(set["schema"], "starling.sim.set/1");
    let runs = set["runs"].as_array().unwrap();
    assert_eq!((&runs[0]["relay"], &runs[1]["relay"]), (&"flood".into(), &"push".into()));
    let mut command = Command::cargo_bin("starling-testnet").unwrap();
    let page = tempfile::NamedTempFile::new().unwrap();
    let args = "sim --relay flood,push --nodes 30 --rate 20 --duration 2s --timeline --timeline-html";
    let output = command.args(args.split(' ')).arg(page.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("│ flood") && text.contains("│ push") && text.contains("0 s"), "{text}");
    let html = std::fs::read_to_string(page.path()).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.matches("<svg").count() == 5 && html.contains("polyline"));
}

#[test]
fn what_makes_no_sense_is_refused_with_code_2() {
    for args in [
        "--duration 10s --settle 10s",
        "--duration 0",
        "--relay fast",
        "--regions /nowhere.toml",
        "--crash 2@1s",
        "--crash 0.2@10s --duration 10s",
        "--partition 5s..11s --duration 10s",
        "--hostile late",
        "--hostile late@2",
        "--hostile polite@0.1",
        "--hostile late@0.1 --relay flood",
        "--hostile late@0.1 --relay all",
        "--loss 1.5",
        "--rate 10000 --duration 1h",
    ] {
        let mut command = Command::cargo_bin("starling-testnet").unwrap();
        let output = command.arg("sim").args(args.split(' ')).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
