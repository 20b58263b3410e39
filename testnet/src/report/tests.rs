//! Pages of runs made by hand: what they say, that nothing breaks them, and what is refused.

use std::{collections::BTreeMap, fs, time::Duration};

use serde_json::Value;
use starling_node::{cli::Kind, net::Delivery};
use starling_wire::{SecretKey, ShortId};

use super::*;
use crate::{
    launch::{Manifest, Relay, Transport},
    map::{Place, Topology},
    measure::{self, Load, Report, Sample, Spread},
};

/// A run of some nodes; `arrivals` has, for each transaction, the node, the microseconds, and the node it came from.
struct Made {
    regions: Vec<&'static str>,
    links: Vec<(u32, u32, u32, u32)>,
    arrivals: Vec<Vec<(usize, u64, Option<usize>)>>,
}

/// Two regions, and two transactions that take the same tree to four nodes, the second one slower.
fn two_regions() -> Made {
    let tree = |slower: u64| {
        let at = |us: u64| us * slower;
        vec![(0, 0, None), (1, at(10_000), Some(0)), (2, at(20_000), Some(0)), (3, at(40_000), Some(2))]
    };
    Made {
        regions: vec!["east", "east", "west", "west"],
        links: vec![(0, 1, 10_000, 10_000), (0, 2, 20_000, 20_000), (2, 3, 20_000, 20_000)],
        arrivals: vec![tree(1), tree(2)],
    }
}

fn node_id(number: usize) -> starling_wire::NodeId {
    SecretKey::insecure_from_name(1, &format!("node-{number}")).node()
}

impl Made {
    fn manifest(&self) -> Manifest {
        let node = |(number, region): (usize, &&str)| {
            serde_json::json!({
                "name": format!("node-{number:02}"), "id": node_id(number), "peer_id": "p", "addresses": [], "rpc": "",
                "pid": 0, "data_dir": format!("/gone/node-{number:02}"), "log": "l", "region": (!region.is_empty()).then_some(region),
                "trace": format!("/gone/node-{number:02}/trace"),
            })
        };
        let nodes: Vec<Value> = self.regions.iter().enumerate().map(node).collect();
        let wan = self.regions.iter().all(|region| !region.is_empty());
        let wan = wan.then(|| serde_json::json!({ "name": "made", "file": "w" }));
        let manifest = serde_json::json!({
            "schema": Manifest::SCHEMA, "name": "measure", "seed": 1, "transport": "tcp", "dials": 2,
            "block_interval_ms": null, "wan": wan, "created": "2026-01-01T00:00:00Z", "genesis": "g",
            "accounts": { "seed": 1, "count": 1, "keys": "k" }, "nodes": nodes,
        });
        serde_json::from_value(manifest).unwrap()
    }

    fn files(&self) -> Files {
        let count = self.regions.len();
        let mut traces: Vec<Vec<Delivery>> = vec![Vec::new(); count];
        let id = |number: usize| ShortId([number as u8 + 1; 8]);
        for (number, arrivals) in self.arrivals.iter().enumerate() {
            for (node, us, from) in arrivals {
                traces[*node].push(Delivery { unix_us: 1_000_000 + us, id: id(number), from: from.map(node_id) });
            }
        }
        let manifest = self.manifest();
        let topology = Topology::new(count, &self.links, vec![Place { region: 0, access_us: 0 }; count]);
        let ids = (0..self.arrivals.len()).map(id).collect();
        let wan = manifest.wan.is_some();
        let spread = Spread::new(&traces, &ids, wan.then_some(&topology)).unwrap();
        let sample = |factor: u64| Sample {
            admitted: 0,
            pushes_in: 3 * factor,
            frame_bytes_in: BTreeMap::from([("ihave".into(), 100 * factor), ("push".into(), 900 * factor)]),
            socket_bytes_in: 1_250 * factor,
            dropped: 0,
            cpu: Duration::from_micros(700 * factor),
            resident: 20 << 20,
        };
        let (before, after) = (vec![sample(1); count], vec![sample(2); count]);
        let load = Load {
            relay: Relay::Starling,
            nodes: count,
            dials: 2,
            seed: 1,
            transport: Transport::Tcp,
            wan: if wan { "made" } else { "none" },
            tx_size: 250,
            duration: Duration::from_secs(1),
            settle: Duration::ZERO,
            rate: 2.0,
            submitted: self.arrivals.len() as u64,
            counted: self.arrivals.len() as u64,
        };
        let report = Report::new(&load, BTreeMap::new(), (&before, &after), &spread, None);
        let document = serde_json::from_value(serde_json::to_value(&report).unwrap()).unwrap();
        Files { document, run: Run::new(&topology, wan, &ids, (&before, &after)), manifest, traces }
    }
}

fn page_of(files: &Files) -> String {
    let data = Data::new(files.document.clone(), files.run.clone(), &files.manifest, &files.traces).unwrap();
    page(&data).unwrap()
}

/// How many marks of a kind a chart has.
fn marks(page: &str, chart: &str, mark: &str) -> usize {
    let svg = page.split(&format!("data-chart=\"{chart}\"")).nth(1).unwrap_or_default();
    svg.split("</svg>").next().unwrap().matches(&format!("data-mark=\"{mark}\"")).count()
}

/// What `page.js` chooses from.
fn choices(page: &str) -> Value {
    let json = page.split("id=\"choices\">").nth(1).unwrap().split("</script>").next().unwrap();
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_page_says_what_the_run_was() {
    let page = page_of(&two_regions().files());
    for part in [
        "<h1>starling on 4 nodes</h1>",
        "in 2 regions with the delays of “made”",
        "<dt>delivered</dt><dd>100 %</dd>",
        // Six waits: 10, 20, 20, 40, 40 and 80 ms, the last one told with three digits.
        "<dt>latency, median</dt><dd>20.0 ms</dd>",
        "<dt>latency, p99</dt><dd>80.1 ms</dd>",
        "<dt>at all nodes, p95</dt><dd>80.1 ms</dd>",
        "<dt>stretch, p95</dt><dd>2.00</dd>",
        // Three pushes for a node and two transactions, and 1,250 bytes for 500.
        "<dt>copies per node</dt><dd>1.50</dd>",
        "<dt>bytes per byte</dt><dd>2.50</dd>",
        "<th scope=\"row\">100 %</th><td>40.0</td><td>80.1</td><td>80.1</td>",
        "<th scope=\"row\">each node</th><td>1.000</td><td>2.000</td><td>2.000</td><td>2.000</td>",
        "1.800 (72.0 %)",
        "encryption, muxing",
        "<th scope=\"row\">CPU time per transaction / µs</th><td>350.00</td>",
        "It reached 4 of 4 nodes, over 2 hops at most.",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    for (chart, mark, count) in [
        ("latency", "line", 1),
        ("latency", "pin", 3),
        ("tail", "dot", 3),
        ("coverage", "band", 1),
        ("stretch", "line", 2),
        ("bytes", "bar", 3),
        ("copies", "bar", 4),
        ("memory", "level", 1),
        ("overlay", "link", 3),
        ("overlay", "node", 4),
        ("overlay", "tree", 4),
        ("times", "tree", 4),
    ] {
        assert_eq!(marks(&page, chart, mark), count, "{mark} of {chart}");
    }
    for number in 1..=8 {
        assert!(page.contains(&format!("<b>Figure {number}. ")), "{number}");
    }
    assert!(!page.contains("Figure 9") && !page.contains("Not shown"));
}

#[test]
fn any_transaction_can_be_chosen_and_the_median_is_first() {
    let all = choices(&page_of(&two_regions().files()));
    assert_eq!((all["first"].as_u64(), all["transactions"].as_array().unwrap().len()), (Some(0), 2));
    let slow = &all["transactions"][1];
    assert_eq!(slow["nodes"], serde_json::json!([[0, -1], [20_000, 0], [40_000, 0], [80_000, 2]]));
    assert_eq!((&slow["origin"], &slow["hops"], &slow["range_us"]), (&0.into(), &2.into(), &80_000.into()));
    assert!(slow["label"].as_str().unwrap().contains("all nodes in 80.0 ms"));

    // A thousand transactions do not make the page a thousand times as long, and the median is among those chosen.
    let mut many = two_regions();
    many.arrivals = (0..250_u64).map(|n| vec![(0, 0, None), (1, 10_000 + n, Some(0))]).collect();
    let all = choices(&page_of(&many.files()));
    assert!((200..=201).contains(&all["transactions"].as_array().unwrap().len()));
}

#[test]
fn what_is_lacking_is_left_out_and_said() {
    let alone = Made { regions: vec![""], links: Vec::new(), arrivals: vec![vec![(0, 0, None)]] };
    let page = page_of(&alone.files());
    assert!(page.contains("Not shown is the latency between nodes") && page.contains("without delays"));
    assert_eq!((marks(&page, "overlay", "node"), marks(&page, "latency", "line")), (1, 0));

    let nothing = Made { arrivals: Vec::new(), ..two_regions() };
    let page_of_nothing = page_of(&nothing.files());
    assert!(page_of_nothing.contains("Not shown is the overlay") && !page_of_nothing.contains("<script"));

    let mut lost = two_regions();
    lost.arrivals = vec![vec![(0, 0, None), (1, 10_000, Some(0))], vec![(0, 0, None)]];
    let page_of_lost = page_of(&lost.files());
    for part in ["Not every node got every transaction.", "<dd>37.50 %</dd>", "<td>never</td>", "node-02 (west): never"]
    {
        assert!(page_of_lost.contains(part), "{part}");
    }
    // All at once, and later than an axis can tell.
    let mut odd = two_regions();
    odd.arrivals = vec![vec![(0, 0, None), (1, 0, Some(0)), (2, u64::from(u32::MAX) * 1000, Some(1)), (3, 0, Some(3))]];
    for page in [page, page_of_nothing, page_of_lost, page_of(&odd.files())] {
        assert!(!page.contains("NaN") && !page.contains("\"inf") && page.ends_with("</html>\n"));
    }
}

#[test]
fn names_are_text_whatever_they_are() {
    let evil = "</script></title><img src=x onerror=\"alert('1')\">,";
    let mut made = two_regions();
    made.regions[3] = evil;
    let mut files = made.files();
    files.manifest.nodes[2].name = evil.to_owned();
    files.document.relay = evil.to_owned();
    files.run.command = evil.to_owned();
    files.run.nodes[0].bytes_in.insert(evil.to_owned(), 5);
    let page = page_of(&files);
    assert!(!page.contains("<img") && page.matches("</script>").count() == 2 && page.contains("&lt;/script&gt;"));
    assert!(choices(&page)["nodes"][3].as_str().unwrap().contains(evil));
    let data = Data::new(files.document.clone(), files.run.clone(), &files.manifest, &files.traces).unwrap();
    let mut text = Vec::new();
    csv(&data, &mut text).unwrap();
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains(",\"</script></title><img src=x onerror=\"\"alert('1')\"\">,\",20000,")
    );
}

#[test]
fn other_programs_get_every_delivery_and_the_percentiles() {
    let files = two_regions().files();
    let data = Data::new(files.document.clone(), files.run.clone(), &files.manifest, &files.traces).unwrap();
    let (mut lines, mut percentiles) = (Vec::new(), Vec::new());
    csv(&data, &mut lines).unwrap();
    hgrm(&data, &mut percentiles).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    assert_eq!(lines.lines().count(), 9);
    assert!(lines.starts_with("transaction,node,latency_us,from,shortest_path_us\n0x0101010101010101,node-00,0,,0\n"));
    assert!(lines.ends_with("0x0202020202020202,node-03,80000,node-02,40000\n"), "{lines}");
    let text = String::from_utf8(percentiles).unwrap();
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip(2)
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(|field| field.parse().unwrap()).collect())
        .collect();
    assert!(rows.windows(2).all(|two| two[0][0] <= two[1][0] && two[0][1] <= two[1][1]), "{text}");
    let last = rows.last().unwrap();
    assert!((last[0] - 80.0).abs() < 0.1 && last[1..] == [1.0, 6.0], "{text}");
    assert!(
        text.contains("Total count    =            6]") && text.contains("SubBuckets     =         2048]"),
        "{text}"
    );
}

/// Writes a run as `measure --keep` does.
fn keep(root: &std::path::Path, files: &Files) {
    fs::create_dir_all(root).unwrap();
    let document = serde_json::json!({
        "schema": measure::Report::SCHEMA, "relay": "starling", "nodes": files.document.nodes, "dials": 2, "seed": 1,
        "transport": "tcp", "wan": "made", "tx_size": 250, "duration_s": 1.0, "offered_tps": 2.0, "settle_s": 0.0,
        "submitted": 2, "rejected": 0, "rejected_by_reason": {}, "counted": 2, "delivery_ratio": 1.0,
        "latency_ms": files.document.latency_ms, "coverage_ms": files.document.coverage_ms,
        "stretch": files.document.stretch, "full_stretch": files.document.full_stretch, "copies_per_node": 1.5,
        "wire_bytes_per_payload_byte": 2.5, "wire_bytes_counted": "socket", "dropped": 0, "cpu_us_per_node_per_tx": 350.0,
        "rss_mib_per_node": { "p50": 20.0, "max": 20.0 },
    });
    files.run.write(root, &document).unwrap();
    files.manifest.write(root).unwrap();
    for (node, trace) in files.manifest.nodes.iter().zip(&files.traces) {
        fs::create_dir_all(root.join(&node.name)).unwrap();
        let text: String = trace.iter().map(|delivery| format!("{delivery}\n")).collect();
        fs::write(root.join(&node.name).join("trace"), text).unwrap();
    }
}

#[test]
fn a_kept_run_gives_the_same_page_wherever_it_is_now() {
    let (dir, files) = (tempfile::tempdir().unwrap(), two_regions().files());
    let root = dir.path().join("measure");
    keep(&root, &files);
    assert_eq!(root_of(dir.path(), "measure").unwrap(), root);
    assert_eq!(root_of(&root, "measure").unwrap(), root);
    let read = Files::read(&root).unwrap();
    assert_eq!((&read.document, &read.run, &read.traces), (&files.document, &files.run, &files.traces));
    assert_eq!(page_of(&read), page_of(&files));
}

#[test]
fn what_is_no_kept_run_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let missing = root_of(dir.path(), "measure").unwrap_err();
    assert!(missing.kind() == Kind::Usage && missing.to_string().contains("measure --keep"), "{missing}");
    let root = dir.path().join("measure");
    let refused = |file: &str, change: &dyn Fn(String) -> String| {
        keep(&root, &two_regions().files());
        let path = root.join(file);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
        let error = match Files::read(&root) {
            Err(failure) => {
                assert_eq!(failure.kind(), Kind::Failed);
                assert!(failure.to_string().contains(file), "{failure}");
                failure.to_string()
            }
            Ok(files) => {
                format!("{:#}", Data::new(files.document, files.run, &files.manifest, &files.traces).unwrap_err())
            }
        };
        fs::remove_dir_all(&root).unwrap();
        error
    };
    for file in ["run.json", "measure.json", "manifest.json"] {
        refused(file, &|text| text[..text.len() / 2].to_owned());
        refused(file, &|_| String::new());
    }
    refused("node-01/trace", &|text| text + "more\n");
    for (file, from, to, why) in [
        ("run.json", "starling.run/1\",\"program", "starling.run/9\",\"app", "starling.run/9"),
        ("measure.json", "starling.measure/1", "starling.sim/1", "starling.sim/1"),
        ("measure.json", "\"nodes\": 4", "\"nodes\": 5", "5, 4 and 4 nodes"),
        ("run.json", "[2,3,20000,20000]", "[2,4,20000,20000]", "a link leads"),
        ("run.json", "[2,3,20000,20000]", "[2,2,20000,20000]", "a link leads"),
    ] {
        let error = refused(file, &|text| {
            assert!(text.contains(from), "{from} in {text}");
            text.replace(from, to)
        });
        assert!(error.contains(why), "{error}");
    }
    keep(&root, &two_regions().files());
    fs::remove_file(root.join("manifest.json")).unwrap();
    assert_eq!(Files::read(&root).map(drop).unwrap_err().kind(), Kind::Failed);
}
