//! The page about planted bugs lists each of them, and no other.
#![cfg(feature = "planted")]

use std::collections::BTreeSet;

use raft_group::Planted;

/// The names that begin the rows of the page's tables, after a heading.
fn listed(page: &str, heading: &str) -> Vec<String> {
    let section = page.split(heading).nth(1).expect("the page has this section");
    let section = section.split("\n## ").next().unwrap_or(section);
    section.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

#[test]
fn the_page_lists_every_bug_once() {
    let page = include_str!("../../planted/README.md");
    let names: BTreeSet<String> = Planted::ALL.iter().map(|bug| bug.name()).collect();
    for heading in ["\n## What is done", "\n## What catches them"] {
        let rows = listed(page, heading);
        let unique: BTreeSet<String> = rows.iter().cloned().collect();
        let missing: Vec<_> = names.difference(&unique).collect();
        let unknown: Vec<_> = unique.difference(&names).collect();
        assert!(missing.is_empty(), "{heading}: not listed: {missing:?}");
        assert!(unknown.is_empty(), "{heading}: no such bug: {unknown:?}");
        assert_eq!(rows.len(), unique.len(), "{heading}: a bug is listed twice");
    }
    assert!(names.len() >= 20);
}

/// Names are how bugs are asked for.
#[test]
fn every_bug_is_known_by_its_name() {
    for bug in Planted::ALL {
        assert_eq!(Planted::named(&bug.name()), Some(*bug));
    }
    assert_eq!(Planted::VoteNotPersisted.name(), "vote-not-persisted");
    assert_eq!(Planted::named("VoteNotPersisted"), None);
}
