//! Marks on rare paths: each that is listed is in the core's code, once. That each in the code is listed, the compiler sees to.

use super::SourceFile;

const LIST: &str = "core/types/src/marks.rs";

/// Checks the list against the sources.
pub fn check(files: &[SourceFile]) -> Vec<String> {
    let Some(list) = files.iter().find(|file| file.path == LIST) else {
        return vec![format!("{LIST} is missing")];
    };
    let sources =
        || files.iter().filter(|file| file.path.starts_with("core/") && file.path != LIST && file.is_rust());
    let mut findings = Vec::new();
    for name in listed(&list.text) {
        let mark = format!("mark!(\"{name}\")");
        match sources().map(|file| file.text.matches(&mark).count()).sum() {
            1 => {}
            0 => findings.push(format!("{LIST}: {name} is nowhere in the core's code")),
            places => findings
                .push(format!("{LIST}: {name} is at {places} places; a mark says which path was taken")),
        }
    }
    findings
}

/// The names in the list: the first text of each pair.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    let list = text.split("MARKS: &[(&str, &str)] = &[").nth(1).unwrap_or_default();
    let list = list.split("];").next().unwrap_or_default();
    list.split("(\"").skip(1).filter_map(|pair| pair.split('"').next())
}
