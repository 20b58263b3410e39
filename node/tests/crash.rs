//! A node killed with SIGKILL under load, again and again: whatever it acknowledged is there when it comes back.

#![cfg(all(feature = "net", unix))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[allow(dead_code, reason = "shared with the other tests of the program")]
mod cli_support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use cli_support::{PATIENCE, World};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use serde_json::{Value, json};
use starling_wire::{AccountId, NetworkId, SecretKey, SignedTx, Transaction};

/// Those who submit at the same time, each from an account of its own.
const SENDERS: u64 = 6;

/// How often the node is killed.
const ROUNDS: u64 = 100;

/// Draws the moments of death and the load.
const SEED: u64 = 1;

fn account(number: u64) -> SecretKey {
    SecretKey::insecure_from_name(number, "crash")
}

fn transfer(sender: u64, nonce: u64, fee: u64) -> SignedTx {
    let key = account(sender);
    let tx = Transaction {
        network: NetworkId(7),
        sender: key.account(),
        nonce,
        fee,
        recipient: AccountId([9; 32]),
        amount: 1,
        valid_until: None,
        payload: Default::default(),
    };
    tx.sign(&key).unwrap()
}

/// Asks and gives the answer; `None` if the node is gone.
fn call(connection: &mut BufReader<TcpStream>, request: &Value) -> Option<Value> {
    let body = request.to_string();
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    connection.get_mut().write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer).ok()?;
    serde_json::from_slice(&answer).ok()
}

fn connect(rpc: &str) -> Option<BufReader<TcpStream>> {
    let stream = TcpStream::connect(rpc.strip_prefix("http://")?).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(BufReader::new(stream))
}

fn request(method: &str, parameter: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": [parameter]})
}

/// Submits until the node dies; gives the ids that were acknowledged.
fn submit(rpc: &str, sender: u64, seed: u64) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut acknowledged = Vec::new();
    let mut run = || -> Option<()> {
        let mut connection = connect(rpc)?;
        let id = account(sender).account().to_string();
        let mut nonce = call(&mut connection, &request("account_get", &id))?["result"]["next_nonce"].as_u64()?;
        loop {
            // Now and then one that replaces the one before, or is refused because that is in a block by now.
            let replaces = nonce > 0 && rng.random_range(0..5) == 0;
            let (at, fee) = if replaces { (nonce - 1, 2_000) } else { (nonce, 1_000) };
            let tx = transfer(sender, at, fee);
            let answer = call(&mut connection, &request("tx_sendRaw", &format!("0x{}", hex::encode(tx.bytes()))))?;
            if answer["result"].is_object() {
                assert_eq!(answer["result"]["id"], tx.id().to_string());
                acknowledged.push(tx.id().to_string());
            } else {
                let reason = answer["error"]["data"]["reason"].as_str();
                match reason {
                    Some("nonce-too-low" | "underpriced") if replaces => {}
                    // As many as one sender may have: the next block makes room.
                    Some("sender-limit" | "nonce-too-high") => thread::sleep(Duration::from_millis(1)),
                    _ => panic!("{answer}"),
                }
                continue;
            }
            nonce += u64::from(!replaces);
        }
    };
    let _gone: Option<()> = run();
    acknowledged
}

/// Those of the ids that the node knows, in its pool or in a block.
fn known(rpc: &str, ids: &BTreeSet<String>) -> BTreeSet<String> {
    let mut connection = connect(rpc).unwrap();
    let mut found = BTreeSet::new();
    for some in ids.iter().collect::<Vec<_>>().chunks(50) {
        let batch: Vec<Value> = some.iter().map(|id| request("tx_get", id)).collect();
        for answer in call(&mut connection, &batch.into()).unwrap().as_array().unwrap() {
            found.extend(answer["result"]["id"].as_str().map(str::to_owned));
        }
    }
    found
}

#[test]
fn what_is_acknowledged_survives_being_killed() {
    let world = World::new();
    let producer = world.key("producer.pem");
    let mut genesis = vec!["genesis", "new", "g.toml", "--network", "7", "--producer", &producer];
    let accounts: Vec<String> =
        (0..SENDERS).map(|sender| format!("{}=1000000000000", account(sender).account())).collect();
    accounts.iter().for_each(|account| genesis.extend(["--account", account]));
    world.run(&genesis).ok();

    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    // By id, the round in which it was acknowledged.
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    let mut log = String::new();
    let (mut heights, mut displaced) = (0, 0);
    for round in 0..=ROUNDS {
        let run = ["--genesis", "g.toml", "--listen", "/ip4/127.0.0.1/tcp/0", "--produce", "60ms"];
        let mut node = world.node("d", &[&run[..], &["--producer-key", "producer.pem"]].concat());
        let rpc = node.file().rpc.clone();
        // Of the last round each time, and of all in the end.
        let wanted: BTreeSet<String> = acknowledged
            .iter()
            .filter(|(_, of)| **of + 1 == round || round == ROUNDS)
            .map(|(id, _)| id.clone())
            .collect();
        let found = known(&rpc, &wanted);
        log += &fs::read_to_string(world.path("d.log")).unwrap();
        let told: BTreeSet<&str> = log
            .lines()
            // It was replaced; if the node died before it had kept that, it says so when it comes back with both.
            .filter(|line| line.contains("left the pool: displaced") || line.contains("at the restart: displaced id="))
            .filter_map(|line| line.split("id=").nth(1)?.split_whitespace().next())
            .collect();
        for id in wanted.difference(&found) {
            assert!(told.contains(id.as_str()), "round {round}, seed {SEED}: {id} was acknowledged and is gone\n{log}");
        }
        displaced = told.len();
        if round == ROUNDS {
            let answer =
                call(&mut connect(&rpc).unwrap(), &json!({"jsonrpc": "2.0", "id": 1, "method": "block_latest"}));
            heights = answer.unwrap()["result"]["height"].as_u64().unwrap();
            break;
        }
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (rpc, seed) = (rpc.clone(), round * SENDERS + sender);
                thread::spawn(move || submit(&rpc, sender, seed))
            })
            .collect();
        // The moment is drawn: nothing is waited for.
        thread::sleep(Duration::from_micros(rng.random_range(5_000..250_000)));
        node.signal(Signal::KILL);
        node.ended();
        // It could not do so itself, and the next one's is waited for.
        fs::remove_file(node.dir().join("node.json")).unwrap();
        for sender in senders {
            acknowledged.extend(sender.join().unwrap().into_iter().map(|id| (id, round)));
        }
        // The next start begins it anew.
        log += &fs::read_to_string(world.path("d.log")).unwrap();
    }
    assert!(acknowledged.len() as u64 > 10 * ROUNDS, "the load was none: {}", acknowledged.len());
    assert!(heights > ROUNDS / 2, "only {heights} blocks");
    println!("{ROUNDS} kills: {} acknowledged, {displaced} replaced, {heights} blocks", acknowledged.len());
}
