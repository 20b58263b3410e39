//! How a network measures itself, from the simulator's command line.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use assert_cmd::Command;
use serde_json::Value;

/// Runs `aggregate` with some arguments and reads its JSON document.
fn aggregate(args: &str) -> Value {
    let mut command = Command::cargo_bin("starling-testnet").unwrap();
    let output = command.arg("aggregate").args(args.split_whitespace()).arg("--json").output().unwrap();
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn fifty_nodes_count_themselves_exactly() {
    let report = aggregate("--nodes 50 --epochs 4 --churn 0 --liars 0");
    let size = &report["size"];
    assert_eq!((&report["schema"], number(&report["loss"])), (&"starling.aggregate/1".into(), 0.01));
    assert_eq!((number(&size["estimate"]), number(&size["exact"]), number(&size["within"])), (50.0, 1.0, 1.0));
    assert_eq!((number(&size["low"]), number(&size["high"]), number(&size["unknown"])), (50.0, 50.0, 0.0));
    for row in report["links"].as_array().unwrap() {
        assert!((number(&row["truth"]) - number(&row["estimate"])).abs() < 0.01, "{row}");
    }
    assert_eq!(report["banned"], 0);
}

#[test]
fn three_hundred_nodes_that_come_and_go_are_estimated() {
    let report = aggregate("--nodes 300 --epochs 6");
    let (size, cost) = (&report["size"], &report["cost"]);
    assert!(number(&size["estimate"]) > 200.0 && number(&size["estimate"]) < 420.0, "{size}");
    assert!(number(&size["low"]) < number(&size["estimate"]) && number(&size["estimate"]) < number(&size["high"]));
    // Who came or went in the last seconds of an epoch is not known to all: with other seeds 0.83 to 0.98 agree.
    assert!(number(&size["epochs_within"]) >= 0.8 && number(&size["agree"]) > 0.8, "{size}");
    // With liars, whose reports are passed on like others' until they are caught.
    assert!(number(&cost["bytes_per_node_and_s"]) < 600.0, "{cost}");
    assert_eq!(report["banned"], 0);
    let same = aggregate("--nodes 300 --epochs 6");
    assert_eq!(same["size"], report["size"], "a seed decides a run");
}

#[test]
fn costs_are_those_of_the_nodes_that_are_up() {
    let messages = |churn: &str| {
        let report = aggregate(&format!("--nodes 100 --epochs 6 --liars 0 --churn {churn}"));
        number(&report["cost"]["messages_per_node"])
    };
    // Half of the places are empty, few nodes stay for an epoch, and whoever comes asks for all that the others have.
    let (steady, restless) = (messages("0"), messages("0.5"));
    assert!(restless < 3.0 * steady, "{restless} and {steady}");
    // So few that all of them leave now and then.
    for seed in 0..8 {
        aggregate(&format!("--nodes 5 --churn 0.5 --seed {seed}"));
    }
}

#[test]
fn clocks_that_are_wrong_by_more_than_makes_sense_are_refused() {
    let mut command = Command::cargo_bin("starling-testnet").unwrap();
    let output = command.args(["aggregate", "--skew", "11s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--skew"));
}
