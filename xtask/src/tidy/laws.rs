//! Law 1: the core is deterministic. No core crate reaches a runtime, a file, a socket, a clock, a
//! thread or entropy; all maps iterate in a defined order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::SourceFile;

/// Crates that no core crate may reach, however far down: each does I/O, or is a runtime.
const BANNED_CRATES: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "async-std",
    "smol",
    "hyper",
    "axum",
    "reqwest",
    "rustls",
    "rustix",
    "notify",
];

/// Words that no core source may contain outside tests, with the reason.
const BANNED_WORDS: &[(&str, &str)] = &[
    ("std::fs", "files come in through storage::Files"),
    ("std::net", "the core has no sockets"),
    ("std::thread", "the core has no threads"),
    ("std::process", "the core neither starts nor ends processes"),
    ("std::env", "configuration is an argument"),
    ("Instant::now", "time is an argument (types::Now)"),
    ("SystemTime", "time is an argument (types::Now)"),
    ("HashMap", "iteration order must be defined: BTreeMap"),
    ("HashSet", "iteration order must be defined: BTreeSet"),
    ("thread_rng", "randomness is a seeded generator that is passed in"),
    ("OsRng", "randomness is a seeded generator that is passed in"),
    ("getrandom", "randomness is a seeded generator that is passed in"),
    ("from_entropy", "randomness is a seeded generator that is passed in"),
    ("tokio", "the core has no runtime"),
];

/// The words, in the sources.
pub fn check_sources(files: &[SourceFile]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_core_source(file)) {
        for (number, line) in file.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (word, reason) in BANNED_WORDS.iter().filter(|(word, _)| code.contains(word)) {
                findings.push(format!("{}:{}: {word} in the core: {reason}", file.path, number + 1));
            }
        }
    }
    findings
}

fn is_core_source(file: &SourceFile) -> bool {
    file.path.starts_with("core/") && file.path.contains("/src/") && file.is_rust() && !file.is_test()
}

/// The crates, from `cargo metadata`. Development dependencies do not count.
pub fn check_dependencies(metadata: &Value) -> Vec<String> {
    let names: BTreeMap<&str, &str> = list(&metadata["packages"])
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    let edges: BTreeMap<&str, Vec<&str>> = list(&metadata["resolve"]["nodes"])
        .filter_map(|node| Some((node["id"].as_str()?, list(&node["deps"]).filter_map(normal).collect())))
        .collect();
    let mut findings = Vec::new();
    for package in list(&metadata["packages"]) {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let (Some(id), true) = (package["id"].as_str(), manifest.contains("/core/")) else { continue };
        if package["source"].is_string() {
            continue;
        }
        for banned in BANNED_CRATES {
            if let Some(path) = path_to(id, banned, &names, &edges) {
                findings.push(format!("core crate reaches {banned}: {}", path.join(" -> ")));
            }
        }
    }
    findings
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The dependency's package, unless it is only for development or building.
fn normal(dependency: &Value) -> Option<&str> {
    let kinds = list(&dependency["dep_kinds"]).collect::<Vec<_>>();
    kinds.iter().any(|kind| kind["kind"].is_null()).then(|| dependency["pkg"].as_str()).flatten()
}

fn path_to<'a>(
    from: &'a str,
    banned: &str,
    names: &BTreeMap<&str, &'a str>,
    edges: &BTreeMap<&'a str, Vec<&'a str>>,
) -> Option<Vec<&'a str>> {
    let mut paths = vec![vec![from]];
    let mut seen = BTreeSet::from([from]);
    while let Some(path) = paths.pop() {
        let last = *path.last().expect("a path has a start");
        if names.get(last) == Some(&banned) {
            return Some(path.iter().map(|id| names.get(id).copied().unwrap_or(id)).collect());
        }
        for next in edges.get(last).into_iter().flatten() {
            if seen.insert(next) {
                paths.push([path.as_slice(), &[next]].concat());
            }
        }
    }
    None
}
