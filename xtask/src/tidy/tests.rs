//! Each check is shown to fail when its rule is broken, and to be silent when it is kept.

use serde_json::json;

use super::{SourceFile, docs, guarantees, laws, layout, marks};

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.into(), text: text.into() }
}

#[test]
fn the_core_may_not_read_a_clock_a_file_or_entropy() {
    let broken = [
        "let now = std::time::Instant::now();",
        "std::fs::read(path)",
        "std::thread::spawn(f)",
        "let m: HashMap<u8, u8> = x;",
        "rand::thread_rng()",
        "std::net::TcpStream::connect(a)",
    ];
    for line in broken {
        let findings = laws::check_sources(&[file("core/node/src/node.rs", &format!("//! X.\n{line}\n"))]);
        assert_eq!(findings.len(), 1, "{line}: {findings:?}");
        assert!(findings[0].starts_with("core/node/src/node.rs:2: "), "{findings:?}");
        assert!(laws::check_sources(&[file("shell/server/src/run.rs", line)]).is_empty(), "the shell may");
    }
    assert!(laws::check_sources(&[file("core/node/src/node.rs", "// not std::fs")]).is_empty());
}

fn metadata(kind: serde_json::Value) -> serde_json::Value {
    json!({
        "packages": [
            {"id": "n", "name": "node", "source": null, "manifest_path": "/r/core/node/Cargo.toml"},
            {"id": "m", "name": "middle", "source": "registry", "manifest_path": "/c/middle/Cargo.toml"},
            {"id": "t", "name": "tokio", "source": "registry", "manifest_path": "/c/tokio/Cargo.toml"},
        ],
        "resolve": {"nodes": [
            {"id": "n", "deps": [{"pkg": "m", "dep_kinds": [{"kind": kind}]}]},
            {"id": "m", "deps": [{"pkg": "t", "dep_kinds": [{"kind": null}]}]},
            {"id": "t", "deps": []},
        ]},
    })
}

#[test]
fn the_core_may_not_reach_a_runtime_however_far_down() {
    let findings = laws::check_dependencies(&metadata(json!(null)));
    assert_eq!(findings, ["core crate reaches tokio: node -> middle -> tokio"]);
    assert!(laws::check_dependencies(&metadata(json!("dev"))).is_empty(), "tests may");
}

#[test]
fn leftovers_long_files_and_empty_names_are_found() {
    let long = format!("//! X.\n{}", "let x = 1;\n".repeat(600));
    assert_eq!(layout::check(&[file("core/a/src/a.rs", &long)]).len(), 1);
    assert_eq!(layout::check(&[file("core/a/src/a.rs", "fn a() {}")]).len(), 1);
    assert_eq!(layout::check(&[file("core/a/src/utils.rs", "//! X.")]).len(), 1);
    assert_eq!(layout::check(&[file("core/a/src/a.rs", "//! X.\n// TODO: more")]).len(), 1);
    assert!(layout::check(&[file("core/a/src/a.rs", "//! X.\nfn a() {}")]).is_empty());
}

#[test]
fn pages_reasons_and_links_must_be_there() {
    let kept = vec![
        file("core/types/src/error.rs", "            ErrorCode::NoQuorum => \"NO_QUORUM\","),
        file("docs/reference/errors/NO_QUORUM.md", "# NO_QUORUM\n[up](../../x.md)"),
        file("docs/x.md", "[a page](reference/errors/NO_QUORUM.md#top) [out](https://example.org)"),
        file("Cargo.toml", "[workspace.dependencies]\nbytes = \"1\"\ntypes = { path = \"core/types\" }\n"),
        file("docs/internals/dependencies.md", "`bytes`: shared buffers."),
    ];
    assert!(docs::check(&kept).is_empty(), "{:?}", docs::check(&kept));
    for missing in ["docs/reference/errors/NO_QUORUM.md", "docs/internals/dependencies.md", "docs/x.md"] {
        let broken: Vec<SourceFile> = kept.iter().filter(|file| file.path != missing).cloned().collect();
        assert!(!docs::check(&broken).is_empty(), "{missing} is gone and nobody noticed");
    }
}

#[test]
fn a_listed_mark_is_in_the_code_once() {
    let list =
        "//! X.\npub const MARKS: &[(&str, &str)] = &[\n    (\"torn_tail\", \"A tail was torn\"),\n];\n";
    let kept = vec![
        file("core/types/src/marks.rs", list),
        file("core/storage/src/wal.rs", "//! X.\ntypes::mark!(\"torn_tail\");\n"),
    ];
    assert!(marks::check(&kept).is_empty(), "{:?}", marks::check(&kept));
    assert_eq!(
        marks::check(&kept[..1]),
        ["core/types/src/marks.rs: torn_tail is nowhere in the core's code"]
    );
    let twice = [&kept[..], &kept[1..]].concat();
    assert_eq!(marks::check(&twice).len(), 1);
    assert_eq!(marks::check(&kept[1..]), ["core/types/src/marks.rs is missing"]);
}

/// A tree whose one guarantee has everything.
fn guaranteed() -> Vec<SourceFile> {
    vec![
        file(
            "docs/guarantees.md",
            "# G\n\n| id | guarantee | code | checker | scenario | planted bug |\n|---|---|---|---|---|---|\n\
             | G-ONCE | Once. | [once](../core/a/src/once.rs) | `one_effect`, `effects` | \
             [kill](../verify/sim/scenarios/fast/kill.toml) | `Twice` |\n",
        ),
        file("core/a/src/once.rs", "//! Guarantee G-ONCE: once."),
        file("core/raft/src/planted.rs", "//! X.\ncatalogue! {\n    /// Again.\n    Twice,\n}\n"),
        file("verify/sim/src/oracle.rs", "//! X.\nErr(Broken::safety(\n    \"one_effect\", told))"),
        file(
            "verify/check/src/judge.rs",
            "//! X.\npub fn name(self) {\nChecker::Effects => \"effects\",\n    }\n=> \"about\"",
        ),
        file("verify/sim/scenarios/fast/kill.toml", "about = \"x\""),
    ]
}

#[test]
fn a_guarantee_without_code_checker_scenario_or_bug_is_found() {
    assert_eq!(guarantees::check(&guaranteed()), Vec::<String>::new());
    // Each file that the row counts on is emptied in turn.
    for gone in 0..guaranteed().len() {
        let mut files = guaranteed();
        let path = files[gone].path.clone();
        files[gone].text = "//! Nothing.".into();
        if path.ends_with(".toml") {
            files.remove(gone);
        }
        assert!(!guarantees::check(&files).is_empty(), "{path} is empty and nobody noticed");
    }
    for (cell, missing) in
        [("Once.", "stated"), ("`one_effect`, `effects`", "checker"), ("`Twice`", "planted bug")]
    {
        let mut files = guaranteed();
        files[0].text = files[0].text.replace(cell, "");
        let findings = guarantees::check(&files).join("\n");
        assert!(findings.contains(missing), "{cell}: {findings}");
    }
}

#[test]
fn what_no_guarantee_names_is_found() {
    let more = [
        ("core/b/src/more.rs", "//! Guarantee G-MORE: more.", "the guarantee G-MORE"),
        (
            "verify/sim/src/more.rs",
            "//! X.\nBroken::liveness(\"it_goes_on\", told)",
            "the checker it_goes_on",
        ),
        (
            "verify/sim/scenarios/slow/more.toml",
            "about = \"x\"",
            "the scenario verify/sim/scenarios/slow/more.toml",
        ),
        ("core/b/src/planted.rs", "//! X.\ncatalogue! {\n    Thrice,\n}\n", "the planted bug Thrice"),
    ];
    for (path, text, expected) in more {
        let mut files = guaranteed();
        files.push(file(path, text));
        assert_eq!(guarantees::check(&files), [format!("docs/guarantees.md: no row has {expected}")]);
    }
}
