//! The program from outside: real nodes, real signals, and nothing left behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod measured;
mod running;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
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
