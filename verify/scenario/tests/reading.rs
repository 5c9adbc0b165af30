//! What is read as a scenario, and what is refused with which words.

use std::{fs, path::PathBuf};

use scenario::{Kind, Scenario, Span, load, load_folder, parse};

const WHOLE: &str = r#"
about = "Every node sees a majority, and no two see the same one"
[cluster]
nodes = [3, 5]
clock_drift_ppm = [10000]
[workload]
kinds = ["registers", "transactions", "sessions", "locks", "counters", "watches", "keyspaces", "early_acks"]
clients = { from = 2, to = 8 }
keys = { from = 1, to = 6 }
keyspaces = { from = 2, to = 4 }
value_bytes = [40, 4000]
think_ms = { from = 5, to = 40 }
hot_key_per_mille = 0
[faults]
kinds = ["majority_ring", "kill"]
every_ms = { from = 100, to = 1200 }
together = 1
[network]
latency_us = [200, 1000, 5000]
jitter_us = [0, 20000]
bytes_per_s = [0, 1000000]
loss_per_mille = { from = 0, to = 60 }
duplicate_per_mille = { from = 0, to = 80 }
reorder_per_mille = { from = 0, to = 150 }
corrupt_per_mille = { from = 0, to = 15 }
[disk]
write_us = [150]
job_us = [2000]
log_cache_kib = [4]
checkpoint_kib = [16]
overlay_kib = [8]
segment_kib = [32]
history_revisions = [20]
[duration]
chaos_s = { from = 6, to = 24 }
progress_within_s = 20
[checkers]
names = ["linearizable"]
"#;

#[test]
fn everything_that_can_be_said_is_read() {
    let read = parse("ring", WHOLE).expect("it is a scenario");
    assert_eq!(read.name, "ring");
    assert_eq!(read.cluster.nodes, Some(vec![3, 5]));
    assert_eq!(read.workload.kinds, Some(Kind::ALL.to_vec()));
    assert!(Kind::ALL.iter().all(|kind| WHOLE.contains(&format!("{:?}", kind.name()))));
    assert_eq!(read.workload.clients, Some(Span { from: 2, to: 8 }));
    assert_eq!(read.faults.kinds, Some(vec!["majority_ring".into(), "kill".into()]));
    assert_eq!(read.faults.together, Some(1));
    assert_eq!(read.network.corrupt_per_mille, Some(Span { from: 0, to: 15 }));
    assert_eq!(read.disk.segment_kib, Some(vec![32]));
    assert_eq!(read.duration.progress_within_s, Some(20));
    assert_eq!(read.checkers.names, ["linearizable"]);
}

#[test]
fn everything_but_the_sentence_may_be_left_out() {
    let read = parse("anything", "about = \"Anything\"").expect("it is a scenario");
    assert_eq!(read, Scenario { name: "anything".into(), about: "Anything".into(), ..Scenario::default() });
}

/// Each bad text with a part of what is said about it.
#[test]
fn what_is_wrong_is_said_with_what_there_is() {
    let refused = [
        ("", "missing field `about`"),
        ("about = \"\"", "about has to be one line"),
        ("about = \"x", "expected `\"`"),
        ("about = 1", "expected a string"),
        ("about = \"x\"\nnodes = [3]", "unknown field `nodes`, expected one of `about`, `cluster`"),
        ("about = \"x\"\n[cluster]\nnode = 3", "expected `nodes` or `clock_drift_ppm`"),
        ("about = \"x\"\n[cluster]\nnodes = 3", "expected a sequence"),
        ("about = \"x\"\n[cluster]\nnodes = []", "cluster.nodes is an empty list"),
        ("about = \"x\"\n[cluster]\nnodes = [3, 0]", "cluster.nodes is 0; it can be 1 to 9"),
        ("about = \"x\"\n[cluster]\nnodes = [-1]", "invalid value: integer `-1`"),
        (
            "about = \"x\"\n[workload]\nkinds = [\"register\"]",
            "unknown variant `register`, expected one of `registers`",
        ),
        ("about = \"x\"\n[workload]\nkinds = []", "clients would do nothing"),
        ("about = \"x\"\n[workload]\nkinds = [\"locks\", \"locks\"]", "twice"),
        ("about = \"x\"\n[workload]\nclients = { from = 0, to = 2 }", "workload.clients.from is 0"),
        ("about = \"x\"\n[workload]\nclients = { from = 3, to = 2 }", "write the smaller number first"),
        ("about = \"x\"\n[workload]\nclients = { from = 3 }", "missing field `to`"),
        ("about = \"x\"\n[workload]\nhot_key_per_mille = 1001", "it can be 0 to 1000"),
        ("about = \"x\"\n[workload]\nvalue_bytes = [2000000]", "it can be 1 to 1048576"),
        ("about = \"x\"\n[faults]\nkinds = [\"kill\", \"kill\"]", "faults.kinds names \"kill\" twice"),
        ("about = \"x\"\n[faults]\nevery_ms = { from = 0, to = 5 }", "faults.every_ms.from is 0"),
        ("about = \"x\"\n[faults]\ntogether = 0", "faults.together is 0"),
        ("about = \"x\"\n[network]\nloss_per_mille = { from = 0, to = 900 }", "it can be 0 to 500"),
        ("about = \"x\"\n[network]\nlatency_us = [0]", "network.latency_us is 0"),
        ("about = \"x\"\n[disk]\nsegment_kib = [1]", "disk.segment_kib is 1; it can be 32"),
        ("about = \"x\"\n[duration]\nchaos_s = { from = 0, to = 1 }", "duration.chaos_s.from is 0"),
        ("about = \"x\"\n[duration]\nprogress_within_s = 0", "duration.progress_within_s is 0"),
        ("about = \"x\"\n[checkers]\nnames = [\"a\", \"a\"]", "checkers.names names \"a\" twice"),
    ];
    for (text, said) in refused {
        let problem = parse("bad", text).expect_err(text).to_string();
        assert!(problem.starts_with("bad: "), "{problem}");
        assert!(problem.contains(said), "{text:?} gave {problem:?}, without {said:?}");
    }
    let long = format!("about = \"x\"\n[cluster]\nnodes = [{}]", "3, ".repeat(65));
    assert!(parse("bad", &long).expect_err("it is too long").to_string().contains("65 entries"));
}

/// All that is out of bounds is said at once.
#[test]
fn all_findings_are_told() {
    let text = "about = \"x\"\n[cluster]\nnodes = [0]\n[faults]\ntogether = 0";
    let told = parse("bad", text).expect_err("it is out of bounds").to_string();
    assert!(told.contains("cluster.nodes") && told.contains("faults.together"), "{told}");
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("scenario-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("it can be made");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("it can be written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("it can be removed");
    }
}

#[test]
fn folders_are_read_in_order_of_names() {
    let folder = Folder::new("order");
    let told = load_folder(&folder.0).expect_err("it is empty").to_string();
    assert!(told.contains("holds no file that ends in .toml"), "{told}");
    folder.write("b.toml", "about = \"Second\"");
    folder.write("a.toml", "about = \"First\"");
    folder.write("notes.md", "no scenario");
    let names: Vec<String> =
        load_folder(&folder.0).expect("both are scenarios").into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["a", "b"]);
    folder.write("c.toml", "about = 3");
    assert!(load_folder(&folder.0).expect_err("one is none").to_string().starts_with("c: "));
    folder.write("c.toml", &format!("about = \"Long\"\n{}", "#".repeat(70_000)));
    assert!(
        load_folder(&folder.0).expect_err("one is too long").to_string().contains("longer than 65536 bytes")
    );
    assert!(
        load(&folder.0.join("d.toml")).expect_err("it is not there").to_string().starts_with("cannot read ")
    );
}
