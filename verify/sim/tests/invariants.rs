//! Every invariant has a family and a line in the documentation, and can be left out.

use std::{collections::BTreeSet, fs, path::Path};

use sim::invariants::{self, LeftOut};

/// Literals that the sources name as invariants.
fn named_in_sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            named_in_sources(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).expect("sources are text");
        for call in ["Broken::safety(", "Broken::liveness(", "Broken::crash(", "broken("] {
            for after in text.split(call).skip(1) {
                if let Some(name) =
                    after.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
                {
                    found.insert(name.to_owned());
                }
            }
        }
    }
}

#[test]
fn every_invariant_is_in_one_family_and_in_the_documentation() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::from(["two_runs_are_equal".to_owned()]);
    named_in_sources(&sources.join("src"), &mut found);
    let known: Vec<&str> = invariants::all().collect();
    assert_eq!(known.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), found);
    assert_eq!(known.len(), found.len(), "one is in two families");
    let page = fs::read_to_string(sources.join("../../docs/internals/simulation.md")).expect("it is there");
    for name in known {
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/internals/simulation.md does not say what {name} means"
        );
    }
}

#[test]
fn names_and_families_are_left_out() {
    let mut left_out = LeftOut::NOTHING;
    left_out.leave_out("linearizable").expect("there is one");
    left_out.leave_out("family:sessions").expect("there is one");
    assert!(left_out.holds("linearizable") && left_out.holds("hlc_follows_causality"));
    assert!(!left_out.holds("monotonic"));
    assert!(left_out.leave_out("taste").is_err_and(|told| told.contains("linearizable")));
    let only = LeftOut::all_but(&["family:receipts".into()]).expect("there is one");
    assert!(only.holds("linearizable") && !only.holds("receipt_is_true"));
}
