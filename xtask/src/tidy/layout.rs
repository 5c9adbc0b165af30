//! The shape of the tree: small files, each with a sentence that says what it is, and no leftovers.

use super::SourceFile;

/// Longest source file. Past it, split by meaning.
const LINES_MAX: usize = 600;

const LEFTOVERS: &[&str] = &["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "dbg!(", "#[ignore"];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs"];

/// Checks every source file.
pub fn check(files: &[SourceFile]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_source(file)) {
        let path = &file.path;
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            findings.push(format!("{path}: {lines} lines; split it by meaning (limit {LINES_MAX})"));
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        if EMPTY_NAMES.contains(&name) {
            findings.push(format!("{path}: the name does not say what is inside"));
        }
        if file.is_rust() && !file.text.starts_with("//!") {
            findings.push(format!("{path}: begins without //! saying what it is"));
        }
        if path.starts_with("xtask/src/tidy/") {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            for leftover in LEFTOVERS.iter().filter(|leftover| line.contains(**leftover)) {
                findings.push(format!("{path}:{}: {leftover}", number + 1));
            }
        }
    }
    findings
}

fn is_source(file: &SourceFile) -> bool {
    [".rs", ".py", ".sh", ".js", ".ts"].iter().any(|end| file.path.ends_with(end))
}
