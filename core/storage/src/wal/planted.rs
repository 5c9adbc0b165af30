//! A log with a bug: one that is damaged in its middle is not left as it is.

use super::{error::OpenError, layout, recovery};
use crate::{Files, Identity};

/// What a log with a bug does where it is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtDamage {
    /// It takes it for torn, as if the rest had never been synced, and goes on.
    CutsOff,
    /// It refuses, and leaves a note on the disk that says so.
    LeavesNote,
}

/// The names of the files that a log with a bug goes on with.
pub(super) fn open(
    bug: Option<AtDamage>,
    files: &dyn Files,
    names: Vec<String>,
    identity: &Identity,
) -> Result<Vec<String>, OpenError> {
    match bug {
        None => Ok(names),
        Some(AtDamage::CutsOff) => cut(files, names, identity),
        Some(AtDamage::LeavesNote) => {
            if let Err(OpenError::Corrupt { .. }) = recovery::read_log(files, &names, identity) {
                files.create("damaged")?;
            }
            Ok(names)
        }
    }
}

/// Cuts off what is damaged, and everything after it, until the rest is good; answers the names that are left.
fn cut(files: &dyn Files, mut names: Vec<String>, identity: &Identity) -> Result<Vec<String>, OpenError> {
    while let Err(OpenError::Corrupt { file, offset, .. }) = recovery::read_log(files, &names, identity) {
        let in_frames = offset > layout::SEGMENT_HEADER_BYTES;
        let goes = |name: &str| *name > *file || (!in_frames && *name == *file);
        let segments = |name: &mut String| layout::segment_sequence(name).is_some() && goes(name);
        for name in names.extract_if(.., segments) {
            files.remove(&name)?;
        }
        if in_frames {
            let opened = files.open(&file)?;
            opened.write_at(offset, &vec![0; (opened.len()? - offset) as usize])?;
            opened.sync()?;
        }
    }
    Ok(names)
}
