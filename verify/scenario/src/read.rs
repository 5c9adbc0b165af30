//! Reading scenarios from texts, files and folders.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Scenario, bounds};

/// Longest file that is read, in bytes: a scenario is a screen of text.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why there is no scenario. Nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It is no TOML, or has a field or kind that there is not; the text shows the line.
    #[error("{name}: {error}")]
    Syntax {
        /// Of the scenario.
        name: String,
        /// What, and where.
        error: Box<toml::de::Error>,
    },
    /// Something in it is out of bounds.
    #[error("{name}: {}", findings.join("; "))]
    Bounds {
        /// Of the scenario.
        name: String,
        /// What, field by field.
        findings: Vec<String>,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A folder without scenarios.
    #[error("{} holds no file that ends in .toml", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
}

/// Reads a scenario of this name.
///
/// # Errors
/// When it is no scenario.
pub fn parse(name: &str, text: &str) -> Result<Scenario, Problem> {
    let mut scenario: Scenario = toml::from_str(text)
        .map_err(|error| Problem::Syntax { name: name.into(), error: Box::new(error) })?;
    scenario.name = name.into();
    let findings = bounds::check(&scenario);
    if findings.is_empty() { Ok(scenario) } else { Err(Problem::Bounds { name: name.into(), findings }) }
}

/// Reads the scenario in a file; its name is the file's, without the ending.
///
/// # Errors
/// When the file cannot be read, or holds no scenario.
pub fn load(path: &Path) -> Result<Scenario, Problem> {
    let unreadable = |error| Problem::Unreadable { path: path.into(), error };
    if fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(unreadable(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes"))));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    parse(&path.file_stem().unwrap_or_default().to_string_lossy(), &text)
}

/// Reads all scenarios of a folder, `*.toml`, in order of their names.
///
/// # Errors
/// When one of them cannot be read, or there is none.
pub fn load_folder(path: &Path) -> Result<Vec<Scenario>, Problem> {
    let unreadable = |error| Problem::Unreadable { path: path.into(), error };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|ending| ending == "toml") {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Problem::Empty { path: path.into() });
    }
    files.sort();
    files.iter().map(|file| load(file)).collect()
}
