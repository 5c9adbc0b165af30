//! A log with a bug: one that is damaged in its middle is taken for torn there, as if the rest had never been synced.

use super::{error::OpenError, layout, recovery};
use crate::{Files, Identity};

/// Cuts off what is damaged, and everything after it, until the rest is good; answers the names that are left.
pub(super) fn cut(
    files: &dyn Files,
    mut names: Vec<String>,
    identity: &Identity,
) -> Result<Vec<String>, OpenError> {
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
