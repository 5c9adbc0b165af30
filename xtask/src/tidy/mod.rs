//! The checks, each a pure function over what was read, so that its tests can hand it a broken tree.

use std::{path::Path, process::Command};

mod docs;
mod guarantees;
mod laws;
mod layout;
mod marks;
#[cfg(test)]
mod tests;

/// A tracked text file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Path from the repository's root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl SourceFile {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is only built for tests.
    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs") || self.path.contains("_tests.rs")
    }
}

/// Runs every check on the repository at `root`.
///
/// # Errors
/// When git or cargo cannot be run, or a file cannot be read.
pub fn run(root: &Path) -> Result<Vec<String>, String> {
    let files = tracked(root)?;
    let metadata = output(root, "cargo", &["metadata", "--format-version=1", "--locked", "--all-features"])?;
    let metadata = serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let mut findings = layout::check(&files);
    findings.extend(laws::check_sources(&files));
    findings.extend(laws::check_dependencies(&metadata));
    findings.extend(docs::check(&files));
    findings.extend(marks::check(&files));
    findings.extend(guarantees::check(&files));
    findings.sort();
    Ok(findings)
}

fn tracked(root: &Path) -> Result<Vec<SourceFile>, String> {
    let listed = output(root, "git", &["ls-files", "--cached", "--others", "--exclude-standard"])?;
    let mut files = Vec::new();
    for path in listed.lines() {
        // Binary fixtures are not text, and a file deleted but not yet committed is not there.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(SourceFile { path: path.to_string(), text });
        }
    }
    Ok(files)
}

fn output(root: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
    let ran = Command::new(program).args(arguments).current_dir(root).output();
    let ran = ran.map_err(|error| format!("{program}: {error}"))?;
    if !ran.status.success() {
        return Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&ran.stderr)));
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}
