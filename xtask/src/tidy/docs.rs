//! The documentation says no less than the code: every error code has its page, every dependency its
//! reason, every relative link its target.

use std::collections::BTreeSet;

use super::SourceFile;

const ERRORS: &str = "core/types/src/error.rs";
const DEPENDENCIES: &str = "docs/internals/dependencies.md";

/// Checks the documentation against the tree.
pub fn check(files: &[SourceFile]) -> Vec<String> {
    let mut findings = check_error_pages(files);
    findings.extend(check_dependencies(files));
    findings.extend(check_links(files));
    findings
}

fn find<'a>(files: &'a [SourceFile], path: &str) -> Option<&'a SourceFile> {
    files.iter().find(|file| file.path == path)
}

fn check_error_pages(files: &[SourceFile]) -> Vec<String> {
    let Some(errors) = find(files, ERRORS) else { return vec![format!("{ERRORS} is missing")] };
    let arms = errors.text.lines().filter_map(|line| line.trim().strip_prefix("ErrorCode::"));
    let names = arms.filter_map(|arm| arm.split("=> \"").nth(1)?.split('"').next());
    names
        .map(|name| format!("docs/reference/errors/{name}.md"))
        .filter(|page| find(files, page).is_none())
        .map(|page| format!("{page} is missing: every error code has a page"))
        .collect()
}

fn check_dependencies(files: &[SourceFile]) -> Vec<String> {
    let Some(manifest) = find(files, "Cargo.toml") else { return vec!["Cargo.toml is missing".into()] };
    let reasons = find(files, DEPENDENCIES).map_or("", |file| file.text.as_str());
    let section = manifest.text.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let declared = section.lines().filter(|line| line.contains('=') && !line.contains("path ="));
    declared
        .filter_map(|line| line.split('=').next())
        .map(str::trim)
        .filter(|name| !reasons.contains(&format!("`{name}`")))
        .map(|name| format!("{DEPENDENCIES}: `{name}` has no line saying why it is there"))
        .collect()
}

fn check_links(files: &[SourceFile]) -> Vec<String> {
    let known: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in links(&file.text) {
            let target = resolve(folder, link);
            let is_folder = known.iter().any(|path| path.starts_with(&format!("{target}/")));
            if !known.contains(target.as_str()) && !is_folder {
                findings.push(format!("{}: link to {link}, which is not there", file.path));
            }
        }
    }
    findings
}

/// Targets of relative Markdown links, without their fragments.
pub(super) fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
        let relative = !target.is_empty() && !target.contains("://") && !target.starts_with('/');
        relative.then_some(target)
    })
}

/// The path that a relative link leads to, from the root.
pub(super) fn resolve(folder: &str, link: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
