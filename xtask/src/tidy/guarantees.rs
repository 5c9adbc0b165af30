//! Law 2: nothing is promised that no checker checks. `docs/guarantees.md` has a row for each guarantee, and what a row
//! names is there: code that states the guarantee's id, a checker, a scenario, and a planted bug. And the other way
//! round: no id, checker, scenario or planted bug without a row.

use std::collections::BTreeSet;

use super::SourceFile;

/// The page with the table.
pub const PAGE: &str = "docs/guarantees.md";
const CHECKERS: &str = "verify/check/src/judge.rs";
const SCENARIOS: &str = "verify/sim/scenarios/";
const COLUMNS: usize = 6;

/// A row of the table, as written.
struct Row<'a> {
    id: &'a str,
    statement: &'a str,
    code: &'a str,
    checkers: &'a str,
    scenarios: &'a str,
    bugs: &'a str,
}

/// Holds the page against the tree.
pub fn check(files: &[SourceFile]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE} is missing")];
    };
    let (rows, mut findings) = rows(&page.text);
    let known = Known::gather(files);
    for row in &rows {
        findings.extend(
            check_row(row, &known, files).into_iter().map(|what| format!("{PAGE}: {}: {what}", row.id)),
        );
    }
    findings.extend(check_the_other_way(&rows, &known));
    findings
}

fn rows(text: &str) -> (Vec<Row<'_>>, Vec<String>) {
    let (mut rows, mut findings, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
    for line in text.lines().filter(|line| line.starts_with("| G-")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, statement, code, checkers, scenarios, bugs] = cells[..] else {
            findings.push(format!("{PAGE}: {} has {} cells, not {COLUMNS}", cells[0], cells.len()));
            continue;
        };
        if !ids.insert(id) {
            findings.push(format!("{PAGE}: {id} has two rows"));
        }
        rows.push(Row { id, statement, code, checkers, scenarios, bugs });
    }
    (rows, findings)
}

/// What the tree has, by name.
struct Known {
    /// Ids that sources say they guarantee.
    ids: BTreeSet<String>,
    checkers: BTreeSet<String>,
    bugs: BTreeSet<String>,
    scenarios: BTreeSet<String>,
}

impl Known {
    fn gather(files: &[SourceFile]) -> Known {
        let sources = || files.iter().filter(|file| file.is_rust() && !file.path.starts_with("xtask/"));
        let stated = sources().filter(|file| !file.is_test() && !file.path.starts_with("verify/"));
        let ids = stated.flat_map(|file| ids(&file.text)).map(str::to_owned).collect();
        let simulated = sources().filter(|file| file.path.starts_with("verify/sim/src/"));
        let mut checkers: BTreeSet<String> = simulated.flat_map(|file| invariants(&file.text)).collect();
        if let Some(judges) = files.iter().find(|file| file.path == CHECKERS) {
            let names =
                judges.text.split("pub fn name(self)").nth(1).and_then(|rest| rest.split("\n    }").next());
            checkers.extend(quoted_after(names.unwrap_or_default(), "=> \""));
        }
        let bugs = sources().flat_map(|file| variants(&file.text, "\ncatalogue! {")).collect();
        let scenarios = files.iter().map(|file| file.path.clone());
        let scenarios =
            scenarios.filter(|path| path.starts_with(SCENARIOS) && path.ends_with(".toml")).collect();
        Known { ids, checkers, bugs, scenarios }
    }
}

fn check_row(row: &Row<'_>, known: &Known, files: &[SourceFile]) -> Vec<String> {
    let mut findings = Vec::new();
    if row.statement.is_empty() {
        findings.push("nothing is stated".to_owned());
    }
    let code = targets(row.code);
    if code.is_empty() {
        findings.push("no code is named".to_owned());
    }
    for path in code {
        match files.iter().find(|file| file.path == path) {
            None => findings.push(format!("{path} is not there")),
            Some(file) if !ids(&file.text).any(|id| id == row.id) => {
                findings.push(format!("{path} does not say `{}`", row.id));
            }
            Some(_) => {}
        }
    }
    let (checkers, tests) = (backticked(row.checkers), targets(row.checkers));
    if checkers.is_empty() && tests.is_empty() {
        findings.push("no checker is named".to_owned());
    }
    let unknown = checkers.into_iter().filter(|name| !known.checkers.contains(*name));
    findings.extend(unknown.map(|name| format!("there is no checker `{name}`")));
    let scenarios = targets(row.scenarios);
    if scenarios.is_empty() {
        findings.push("no scenario is named".to_owned());
    }
    let missing = tests.iter().chain(&scenarios).filter(|path| !files.iter().any(|file| file.path == **path));
    findings.extend(missing.map(|path| format!("{path} is not there")));
    let bugs = backticked(row.bugs);
    if bugs.is_empty() {
        findings.push("no planted bug is named".to_owned());
    }
    let unknown = bugs.into_iter().filter(|name| !known.bugs.contains(*name));
    findings.extend(unknown.map(|name| format!("there is no planted bug `{name}`")));
    findings
}

fn check_the_other_way(rows: &[Row<'_>], known: &Known) -> Vec<String> {
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.id).collect();
    let checkers: BTreeSet<&str> = rows.iter().flat_map(|row| backticked(row.checkers)).collect();
    let bugs: BTreeSet<&str> = rows.iter().flat_map(|row| backticked(row.bugs)).collect();
    let scenarios: BTreeSet<String> = rows.iter().flat_map(|row| targets(row.scenarios)).collect();
    let without = |kind: &str, all: &BTreeSet<String>, named: &dyn Fn(&str) -> bool| -> Vec<String> {
        let alone = all.iter().filter(|name| !named(name));
        alone.map(|name| format!("{PAGE}: no row has {kind} {name}")).collect()
    };
    let mut findings = without("the guarantee", &known.ids, &|name| ids.contains(name));
    findings.extend(without("the checker", &known.checkers, &|name| checkers.contains(name)));
    findings.extend(without("the planted bug", &known.bugs, &|name| bugs.contains(name)));
    findings.extend(without("the scenario", &known.scenarios, &|name| scenarios.contains(name)));
    findings
}

/// Ids in a text: `G-` and capital letters or hyphens, ending with a letter.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("G-").filter_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '-') {
            return None;
        }
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '-').unwrap_or(rest.len());
        Some(rest[..end].trim_end_matches('-')).filter(|id| id.len() > 2)
    })
}

/// Names of invariants: first arguments of what makes a broken promise, and fields of that name.
fn invariants(text: &str) -> Vec<String> {
    let makers = ["safety(", "liveness(", "crash(", "broken("];
    let arguments = makers.iter().flat_map(|maker| text.split(maker).skip(1)).map(str::trim_start);
    let literals = arguments.filter_map(|rest| rest.strip_prefix('"')?.split('"').next());
    let named =
        literals.filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    named.map(str::to_owned).chain(quoted_after(text, "invariant: \"")).collect()
}

fn quoted_after(text: &str, start: &str) -> Vec<String> {
    let found = text.split(start).skip(1).filter_map(|rest| rest.split('"').next());
    found.filter(|name| !name.contains(' ')).map(str::to_owned).collect()
}

/// Names in the list that begins so, if the text has it.
fn variants(text: &str, start: &str) -> Vec<String> {
    let Some(body) = text.split(start).nth(1).and_then(|rest| rest.split("\n}").next()) else {
        return Vec::new();
    };
    let lines = body.lines().map(str::trim).filter_map(|line| line.strip_suffix(','));
    lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase())).map(str::to_owned).collect()
}

fn backticked(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Where the links of a cell lead, from the root.
fn targets(cell: &str) -> Vec<String> {
    super::docs::links(cell).map(|link| super::docs::resolve("docs", link)).collect()
}
