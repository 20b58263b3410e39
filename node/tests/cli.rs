//! The program as its users meet it: results, messages and exit codes, alone and against a running node.

#![cfg(all(feature = "net", unix))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod cli_support;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use cli_support::World;
use jsonrpsee::core::ClientError;
use rustix::process::Signal;
use serde_json::Value;
use starling_node::{
    cli::NodeFile,
    rpc::{self, ApiClient, Cookie, RejectionData, TxState, code},
};
use starling_wire::limits::{MAX_PAYLOAD, MAX_TX};

/// A world with a key that has money, and a genesis on network 7 in which it also makes blocks.
fn world() -> (World, String) {
    let world = World::new();
    let rich = world.key("rich.pem");
    let (account, network) = (format!("{rich}=1000000"), "7");
    world.run(&["genesis", "new", "g.toml", "--network", network, "--account", &account, "--producer", &rich]).ok();
    (world, rich)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn keys_are_made_shown_and_kept() {
    let world = World::new();
    let account = world.key("a.pem");
    assert_eq!(fs::metadata(world.path("a.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    let shown = json(&world.run(&["keys", "show", "a.pem", "--json"]).ok());
    assert_eq!((shown["schema"].as_str(), shown["account"].as_str()), (Some("starling.key/1"), Some(&*account)));
    assert!(world.run(&["keys", "show", "a.pem"]).ok().contains(&account));

    world.run(&["keys", "new", "a.pem"]).fails(2, &["a.pem exists already", "--force"]);
    assert!(world.run(&["keys", "show", "a.pem"]).ok().contains(&account));
    assert_ne!(world.run(&["keys", "new", "a.pem", "--force"]).ok(), account);

    fs::set_permissions(world.path("a.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    world.run(&["keys", "show", "a.pem"]).fails(2, &["others can read", "chmod 600 a.pem"]);
    world.run(&["keys", "show", "none.pem"]).fails(2, &["no key file none.pem", "starling keys new"]);
    world.run(&["keys", "new", "no/dir/a.pem"]).fails(1, &["no/dir/a.pem"]);
}

#[test]
fn a_genesis_is_made_and_shown() {
    let (world, rich) = world();
    let shown = json(&world.run(&["--json", "genesis", "show", "g.toml"]).ok());
    assert_eq!(shown["schema"], "starling.genesis/1");
    assert_eq!((&shown["network"], &shown["total"], &shown["accounts"]), (&7.into(), &1_000_000.into(), &1.into()));
    assert_eq!(shown["producers"][0], *rich);
    let id = shown["id"].as_str().unwrap();
    assert!(world.run(&["genesis", "show", "g.toml"]).ok().contains(id));

    world.run(&["genesis", "new", "g.toml", "--network", "7"]).fails(2, &["exists already"]);
    let account = format!("{rich}=1");
    let twice = ["genesis", "new", "h.toml", "--network", "7", "--account", &account, "--account", &account];
    world.run(&twice).fails(2, &["stands at both"]);
    assert!(!world.path("h.toml").exists());
    world.run(&["genesis", "new", "h.toml", "--network", "7", "--account", "x=1"]).fails(2, &["--account"]);
    fs::write(world.path("bad.toml"), "network = \"seven\"").unwrap();
    world.run(&["genesis", "show", "bad.toml"]).fails(2, &["bad.toml", "network"]);
}

#[test]
fn wrong_command_lines_are_told_so() {
    let world = World::new();
    world.run(&["run", "--dails", "3"]).fails(2, &["--dails", "--dials"]);
    world.run(&["run", "--dials", "99"]).fails(2, &["dials is 99", "32"]);
    world.run(&["run", "--listen", "localhost:1"]).fails(2, &["--listen"]);
    world.run(&["run", "--log", "=,="]).fails(2, &["log filter"]);
    world.run(&["tx", "get", "0x12"]).fails(2, &["64 hex digits"]);
    fs::write(world.path("c.toml"), "dails = 3").unwrap();
    world.run(&["run", "--config", "c.toml"]).fails(2, &["c.toml", "dails"]);
    // Flag, environment, file: the first that says something.
    fs::write(world.path("c.toml"), "dials = 3").unwrap();
    world.run_env(&["run", "--config", "c.toml"], "STARLING_DIALS", "99").fails(2, &["dials is 99"]);
    world.run_env(&["run", "--dials", "3"], "STARLING_DIALS", "99").fails(2, &["no genesis file"]);
    let (status, messages) = world.run_unread(&["completions", "bash"]);
    assert!(status.success() && messages.is_empty(), "{messages}");
    let help = world.run(&["tx", "send", "--help"]).ok();
    assert!(help.find("Examples:").unwrap() < help.find("Usage:").unwrap(), "{help}");
    assert!(world.run(&["completions", "bash"]).ok().contains("starling"));
}

#[test]
fn a_store_that_cannot_be_used_is_named_and_put_aside() {
    let (world, rich) = world();
    let mut node = world.node("d", &["--genesis", "g.toml"]);
    let rpc = node.file().rpc.clone();
    let send = |rpc: &str| ["tx", "send", "--rpc", rpc, "--key", "rich.pem", "--to", &rich].map(str::to_owned).to_vec();
    let sent = [send(&rpc), vec!["--amount".into(), "5".into()]].concat();
    let id = world.run(&sent.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    node.signal(Signal::TERM);
    assert!(node.ended().success());

    let run = ["run", "--data-dir", "d", "--genesis", "g.toml"];
    world.run(&["genesis", "new", "h.toml", "--network", "8", "--account", &format!("{rich}=1")]).ok();
    let other = ["run", "--data-dir", "d", "--genesis", "h.toml"];
    world.run(&other).fails(1, &["d/store.redb", "belongs to the network", "--data-dir", "--repair"]);

    // The end is lost, as when a copy was broken off.
    let file = fs::File::options().write(true).open(world.path("d/store.redb")).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    world.run(&run).fails(1, &["d/store.redb", "damaged", "--repair"]);
    world.run(&["run", "--store=false", "--repair"]).fails(2, &["nothing to repair"]);
    let mut node = world.node("d", &["--genesis", "g.toml", "--repair"]);
    assert!(fs::read_to_string(world.path("d.log")).unwrap().contains("store.redb.bad-1"));
    assert!(world.path("d/store.redb.bad-1").exists());
    world.run(&["tx", "get", &id, "--rpc", &node.file().rpc]).ok();
    node.signal(Signal::TERM);
    assert!(node.ended().success());

    // Without a store it is a new node.
    let node = world.node("d", &["--genesis", "g.toml", "--store=false"]);
    world.run(&["tx", "get", &id, "--rpc", &node.file().rpc]).fails(1, &[&id]);
}

#[test]
fn a_node_that_cannot_start_says_what_to_do() {
    let (world, _) = world();
    world.run(&["run", "--data-dir", "d"]).fails(2, &["d/genesis.toml", "starling genesis new"]);
    assert!(!world.path("d").exists());
    fs::write(world.path("bad.toml"), "network = 7\nnetworks = 8").unwrap();
    world.run(&["run", "--data-dir", "d", "--genesis", "bad.toml"]).fails(2, &["bad.toml", "networks"]);

    // A file where the directory should be.
    world.run(&["run", "--data-dir", "g.toml/d", "--genesis", "g.toml"]).fails(1, &["g.toml/d", "--data-dir"]);
    world.run(&["run", "--data-dir", "g.toml", "--genesis", "g.toml"]).fails(1, &["data directory", "--data-dir"]);
    fs::create_dir(world.path("ro")).unwrap();
    fs::set_permissions(world.path("ro"), fs::Permissions::from_mode(0o555)).unwrap();
    // The superuser may write everywhere.
    if fs::write(world.path("ro/probe"), "").is_err() {
        world.run(&["run", "--data-dir", "ro", "--genesis", "g.toml"]).fails(1, &["ro", "writable"]);
    }

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = ["run", "--data-dir", "d", "--genesis", "g.toml", "--rpc", &address];
    world.run(&run).fails(1, &[&address, "Another program uses the port", "--rpc"]);
    let listen = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let run = ["run", "--data-dir", "d", "--genesis", "g.toml", "--listen", &listen];
    world.run(&run).fails(1, &[&listen, "Choose another address"]);
    world.key("poor.pem");
    let run = ["run", "--data-dir", "d", "--genesis", "g.toml", "--produce", "1s", "--producer-key", "poor.pem"];
    world.run(&run).fails(2, &["not among the genesis' producers"]);
}

#[test]
fn a_data_directory_has_one_node_and_is_tidy_after_it() {
    let (world, _) = world();
    let mut node = world.node("d", &["--genesis", "g.toml"]);
    world.run(&["run", "--data-dir", "d", "--genesis", "g.toml"]).fails(1, &["another node is running in d"]);
    assert!(world.run(&["status", "--data-dir", "d"]).ok().contains(&node.file().peer_id));
    let status = json(&world.run(&["status", "--data-dir", "d", "--json"]).ok());
    assert_eq!((&status["schema"], &status["peers"]), (&"starling.status/1".into(), &0.into()));

    let since = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5));
    assert!(!node.dir().join(NodeFile::NAME).exists());
    world.run(&["status", "--data-dir", "d"]).fails(4, &["no node is running in d", "starling run", "--rpc"]);
    world.run(&["status", "--rpc", &node.file().rpc]).fails(4, &["cannot reach a node", "starling run"]);

    // The same identity the second time; and the end of standard input ends it.
    let first = node.file().id;
    let mut node = world.node("d", &["--genesis", "g.toml"]);
    assert_eq!(node.file().id, first);
    node.close_stdin();
    assert_eq!(node.ended().code(), Some(0));
    assert!(!node.dir().join(NodeFile::NAME).exists());
}

#[test]
fn one_node_tells_of_the_whole_network() {
    let (world, _) = world();
    let listen = ["--genesis", "g.toml", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let first = world.node("a", &listen);
    let bootstrap = first.file().addresses[0].to_string();
    let others = ["b", "c"].map(|name| world.node(name, &[&listen[..], &["--bootstrap", &bootstrap]].concat()));
    for name in ["a", "b", "c"] {
        cli_support::wait("a network of three", || {
            let status = json(&world.run(&["status", "--data-dir", name, "--json"]).ok());
            (status["network"]["nodes"]["value"] == 3.0).then_some(status)
        });
    }
    let text = world.run(&["status", "--data-dir", "b"]).ok();
    assert!(text.contains("3 (") && text.contains(concat!(env!("CARGO_PKG_VERSION"), " at 100 %")), "{text}");
    let (_, answer) = others[1].post(r#"{"jsonrpc":"2.0","id":1,"method":"net_aggregates"}"#);
    let network = &json(answer.split("\r\n\r\n").nth(1).unwrap())["result"];
    assert_eq!((&network["exact"], &network["nodes"]["high"]), (&true.into(), &3.0.into()), "{network}");
    assert_eq!(network["figures"]["pool_txs"]["max"], 0.0);
    let (_, metrics) = others[0].get("/metrics", "Host: localhost\r\n");
    assert!(metrics.contains("starling_network_nodes{bound=\"estimate\"} 3"), "{metrics}");
}

#[test]
fn a_second_signal_forces_the_end() {
    let (world, _) = world();
    let mut node = world.node("d", &["--genesis", "g.toml"]);
    let slow = node.unfinished_request();
    node.signal(Signal::TERM);
    node.signal(Signal::INT);
    assert_eq!(node.ended().code(), Some(130));
    assert!(!node.dir().join(NodeFile::NAME).exists());
    drop(slow);

    // With one signal the same is an orderly end, in time.
    let mut node = world.node("d", &["--genesis", "g.toml"]);
    let (_slow, since) = (node.unfinished_request(), Instant::now());
    node.signal(Signal::INT);
    assert_eq!(node.ended().code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[test]
fn old_blocks_and_their_transactions_are_still_told() {
    let (world, rich) = world();
    let mut node = world.node("d", &["--genesis", "g.toml", "--produce", "10ms", "--producer-key", "rich.pem"]);
    let with = |args: &[&str]| world.run(&[args, &["--data-dir", "d"]].concat());
    let send =
        |nonce: &str| with(&["tx", "send", "--key", "rich.pem", "--to", &rich, "--amount", "5", "--nonce", nonce]).ok();
    let first = send("0");
    for nonce in 1..70 {
        cli_support::wait("a block", || {
            let status = json(&with(&["status", "--json"]).ok());
            (status["chain"]["height"].as_u64() >= Some(nonce)).then_some(())
        });
        send(&nonce.to_string());
    }
    let told = || {
        assert_eq!(json(&with(&["block", "get", "1", "--json"]).ok())["tx_ids"][0], *first);
        let shown = json(&with(&["tx", "get", &first, "--json"]).ok());
        assert_eq!((&shown["state"], &shown["height"]), (&"included".into(), &1.into()));
        assert_eq!(send("0"), first, "again is no failure");
    };
    told();
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(0));
    let _node = world.node("d", &["--genesis", "g.toml"]);
    told();
}

#[test]
fn transactions_are_taken_or_refused_with_a_reason() {
    let (world, rich) = world();
    let poor = world.key("poor.pem");
    let node = world.node("d", &["--genesis", "g.toml", "--produce", "100ms", "--producer-key", "rich.pem"]);
    let on = ["--data-dir", "d"];
    let with = |args: &[&str]| world.run(&[args, &on].concat());
    let send =
        |more: &[&str]| with(&[&["tx", "send", "--key", "rich.pem", "--to", &poor, "--amount", "5"], more].concat());

    let id = send(&[]).ok();
    let shown = json(&with(&["tx", "get", &id, "--wait", "5s", "--json"]).ok());
    assert_eq!((&shown["schema"], &shown["transaction"]["amount"]), (&"starling.tx/1".into(), &5.into()));
    cli_support::wait("its block", || {
        (json(&with(&["tx", "get", &id, "--json"]).ok())["state"] == "included").then_some(())
    });
    let account = json(&with(&["account", "get", &rich, "--json"]).ok());
    assert_eq!((&account["nonce"], &account["next_nonce"]), (&1.into(), &1.into()));
    assert_eq!(json(&with(&["block", "get", "1", "--json"]).ok())["tx_ids"][0], *id);
    assert!(with(&["block", "ls"]).ok().contains(&rich));
    with(&["block", "get", "99"]).fails(1, &["no block 99 yet"]);

    // A dry run does nothing, and says what would be done.
    let dry = send(&["--dry-run"]);
    assert!(dry.err.contains("ready for the next block") && dry.err.contains("not submitted"), "{}", dry.err);
    with(&["tx", "get", &dry.ok()]).fails(1, &["no transaction"]);
    send(&["--dry-run", "--nonce", "0", "--fee", "999"]).fails(3, &["nonce-too-low"]);
    send(&["--network", "8"]).fails(3, &["wrong-network"]);
    send(&["--nonce", "0", "--fee", "999"]).fails(3, &["nonce-too-low"]);
    send(&["--nonce", "9999"]).fails(3, &["nonce-too-high"]);
    send(&["--fee", "1"]).fails(3, &["fee-too-low"]);
    with(&["tx", "send", "--key", "poor.pem", "--to", &rich, "--amount", "500"]).fails(3, &["insufficient-balance"]);
    fs::write(world.path("long"), vec![0; MAX_PAYLOAD + 1]).unwrap();
    send(&["--payload-file", "long"]).fails(2, &["payload", "32768"]);
    with(&["tx", "submit", "0x00zz"]).fails(2, &["`z` at digit 3"]);
    with(&["tx", "submit", &format!("0x{}", "00".repeat(200))]).fails(2, &["are no transaction"]);
    let long = format!("0x{}", "00".repeat(MAX_TX + 1));
    assert_eq!(world.run_with(&["tx", "submit", "--data-dir", "d"], &long).code, 2);

    // Step by step, with a queued nonce; a second time it is a success again, and a wrong signature is none.
    let new = with(&["tx", "new", "--sender", &rich, "--to", &poor, "--amount", "1", "--nonce", "3"]).ok();
    let hex = world.run_with(&["tx", "sign", "--key", "rich.pem"], &new).ok();
    let id = with(&["tx", "submit", &hex]).ok();
    assert_eq!(with(&["tx", "submit", &hex]).ok(), id);
    assert!(with(&["tx", "submit", &hex, "--dry-run"]).err.contains("waiting for an earlier nonce"));
    assert!(with(&["mempool", "ls"]).ok().contains("queued"));
    assert!(with(&["mempool", "ls", "--sender", &rich]).ok().contains("queued"));
    assert!(!with(&["mempool", "ls", "--sender", &poor]).ok().contains("queued"));
    with(&["mempool", "ls", "--sender", "0x12"]).fails(2, &["64 hex digits"]);
    assert!(with(&["mempool", "status"]).ok().contains("1 queued"));
    let hex = world.run_with(&["tx", "sign", "--key", "rich.pem"], &new.replace("\"nonce\": 3", "\"nonce\": 4")).ok();
    let forged = format!("{}{}", &hex[..hex.len() - 2], if hex.ends_with("00") { "01" } else { "00" });
    with(&["tx", "submit", &forged, "--dry-run"]).fails(3, &["bad-signature"]);
    with(&["tx", "submit", &forged]).fails(3, &["bad-signature"]);
    world.run_with(&["tx", "sign", "--key", "poor.pem"], &new).fails(2, &["another account"]);
    let unknown = format!("0x{}", "12".repeat(32));
    with(&["tx", "get", &unknown]).fails(1, &[&unknown]);
    with(&["tx", "get", &unknown, "--wait", "200ms"]).fails(5, &["200ms"]);
    with(&["peers", "add", "/ip4/127.0.0.1/tcp/1"]).fails(1, &["--rpc-admin"]);
    assert!(with(&["peers", "ls"]).ok().contains("peer id"));
    assert!(node.dir().join(NodeFile::NAME).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn rpc_answers_with_codes_and_data() {
    let (world, rich) = world();
    let poor = world.key("poor.pem");
    let node = world.node("d", &["--genesis", "g.toml", "--rpc-admin"]);
    let client = rpc::connect(&node.file().rpc, None).unwrap();
    let sign = |key: &str, from: &str, amount: &str| {
        let new = ["tx", "new", "--sender", from, "--to", &poor, "--amount", amount, "--data-dir", "d"];
        world.run_with(&["tx", "sign", "--key", key], &world.run(&new).ok()).ok()
    };
    let good = sign("rich.pem", &rich, "1");
    for _ in 0..2 {
        assert_eq!(client.tx_send_raw(good.clone()).await.unwrap().state, TxState::Pending);
    }
    assert_eq!(client.txpool_status().await.unwrap().count, 1);
    assert_eq!(client.txpool_content(None, None).await.unwrap().len(), 1);

    let account: starling_wire::AccountId = rich.parse().unwrap();
    assert_eq!(client.txpool_content(None, Some(account)).await.unwrap().len(), 1);
    let sender = client.txpool_sender(account).await.unwrap();
    assert_eq!((sender.pending, sender.queued, sender.next_nonce), (1, 0, 1));
    assert!(sender.cost > 1 && sender.bytes > 100);
    let limits = client.txpool_status().await.unwrap().limits;
    assert_eq!((limits.sender_count, limits.local_lifetime_s), (64, 86_400));
    let checked = client.tx_check(good.clone()).await.unwrap();
    assert_eq!((checked.state, checked.displaced), (TxState::Pending, 0));

    let refused = |error: ClientError| match error {
        ClientError::Call(error) => {
            let data = error.data().map(|data| serde_json::from_str::<RejectionData>(data.get()).unwrap().reason);
            (error.code(), data.unwrap_or_default())
        }
        error => panic!("{error}"),
    };
    let error = client.tx_check(sign("poor.pem", &poor, "1")).await.unwrap_err();
    assert_eq!(refused(error), (code::REJECTED, "insufficient-balance".to_owned()));
    let error = client.tx_send_raw(sign("poor.pem", &poor, "1")).await.unwrap_err();
    assert_eq!(refused(error), (code::REJECTED, "insufficient-balance".to_owned()));
    for bad in ["", "0x", "0xzz", &format!("0x{}", "0".repeat(2 * MAX_TX + 2))] {
        assert_eq!(refused(client.tx_send_raw(bad.to_owned()).await.unwrap_err()).0, code::INVALID_INPUT);
    }
    assert_eq!(refused(client.tx_get(starling_wire::TxId([1; 32])).await.unwrap_err()).0, code::NOT_FOUND);
    assert_eq!(refused(client.txpool_content(Some(1001), None).await.unwrap_err()).0, code::INVALID_INPUT);
    assert_eq!(refused(client.admin_add_peer("nonsense".into()).await.unwrap_err()).0, code::INVALID_INPUT);
    assert_eq!(client.node_counters().await.unwrap()["starling_admitted_total"], 1);
    assert!(client.discover().await.unwrap()["methods"].as_array().unwrap().len() > 10);

    // Two nodes find each other when told to.
    let other = world.node("e", &["--genesis", "g.toml"]);
    client.admin_add_peer(other.file().addresses[0].to_string()).await.unwrap();
    let id = client.txpool_content(None, None).await.unwrap()[0].id.to_string();
    let found = world.run(&["tx", "get", &id, "--wait", "15s", "--data-dir", "e", "--json"]);
    assert_eq!(json(&found.ok())["id"], *id);
    assert!(world.run(&["peers", "ls", "--data-dir", "d"]).ok().contains(&other.file().peer_id));
    client.admin_ban_peer(other.file().peer_id.clone()).await.unwrap();
    cli_support::wait("the end of the link", || {
        world.run(&["peers", "ls", "--json", "--data-dir", "d"]).ok().contains("\"peers\": []").then_some(())
    });
}

#[test]
fn the_port_serves_health_metrics_and_sockets_to_this_machine_only() {
    let (world, _) = world();
    let node = world.node("d", &["--genesis", "g.toml"]);
    let local = "Host: localhost\r\n";
    assert_eq!(node.get("/health", "Host: x\r\n").0, 200);
    assert_eq!(node.get("/ready", local).0, 200);
    let (status, text) = node.get("/metrics", local);
    assert!(status == 200 && text.contains("starling_frames_total{kind=\"push\",flow=\"in\"} 0"), "{text}");
    assert_eq!(node.get("/metrics", "Host: evil.example\r\n").0, 403);
    assert_eq!(node.get("/nothing", local).0, 404);

    let socket = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let evil = format!("{local}Origin: http://evil.example\r\nConnection: Upgrade\r\n{socket}");
    assert_eq!(node.status("/", &evil), 403);
    assert_eq!(node.status("/", &format!("{local}Connection: Upgrade\r\n{socket}")), 101);

    let call = r#"{"jsonrpc":"2.0","id":1,"method":"net_peerCount"}"#;
    assert!(node.post(call).1.contains("\"result\":0"));
    assert!(node.post("{").1.contains("-32700"));
    assert!(node.post(&call.replace("net_peerCount", "admin_banPeer")).1.contains("-3260"));
    let batch = |calls: usize| format!("[{}]", vec![call; calls].join(","));
    assert!(node.post(&batch(64)).1.contains("\"result\":0"));
    assert!(!node.post(&batch(65)).1.contains("\"result\":0"));
    // The header alone is refused: a body would race with the connection's end.
    let too_long = "Content-Type: application/json\r\nContent-Length: 1048577\r\nConnection: close\r\n\r\n";
    assert_eq!(node.http(&format!("POST / HTTP/1.1\r\n{local}{too_long}")).0, 413);

    let lonely = world.node("e", &["--genesis", "g.toml", "--bootstrap", "/ip4/127.0.0.1/tcp/1"]);
    assert_eq!(lonely.get("/ready", local).0, 503);
}

#[test]
fn a_socket_is_told_of_new_transactions() {
    let (world, rich) = world();
    let node = world.node("d", &["--genesis", "g.toml"]);
    let mut socket = node.socket();
    node.say(&mut socket, r#"{"jsonrpc":"2.0","id":1,"method":"tx_subscribe"}"#);
    node.hear(&mut socket, "\"result\":");
    let send = ["tx", "send", "--key", "rich.pem", "--to", &rich, "--amount", "1", "--data-dir", "d"];
    let id = world.run(&send).ok();
    let heard = node.hear(&mut socket, "\"state\":\"pending\"");
    assert!(heard.contains("tx_admitted") && heard.contains(&id), "{heard}");
    // Not over HTTP, where nothing could follow.
    assert!(!node.post(r#"{"jsonrpc":"2.0","id":1,"method":"tx_subscribe"}"#).1.contains("\"result\""));
}

#[test]
fn beyond_loopback_a_cookie_is_needed() {
    let (world, _) = world();
    let mut node = world.node("d", &["--genesis", "g.toml", "--rpc", "0.0.0.0:0"]);
    let cookie = node.dir().join(Cookie::FILE_NAME);
    assert_eq!(fs::metadata(&cookie).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(node.get("/health", "Host: x\r\n").0, 200);
    assert_eq!(node.get("/metrics", "Host: x\r\n").0, 401);
    let header = format!("Host: x\r\nAuthorization: Bearer {}\r\n", fs::read_to_string(&cookie).unwrap());
    assert_eq!(node.get("/metrics", &header).0, 200);
    world.run(&["status", "--rpc", &node.file().rpc]).fails(4, &["cookie", "--data-dir"]);
    world.run(&["status", "--data-dir", "d"]).ok();
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(0));
    assert!(!cookie.exists());

    // Nor that of a node that was killed, once another is there.
    fs::write(&cookie, "old").unwrap();
    let _node = world.node("d", &["--genesis", "g.toml"]);
    assert!(!cookie.exists());
}
