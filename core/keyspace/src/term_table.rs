//! In which term each committed index of a group's log was written, as far as its state tells.
//!
//! Guarantee G-LOST rests on this: [`term_of`] answers the term of the committed entry at an index, or that it is not known any
//! more; never another term. A log is gone from memory and disk once a checkpoint has it, and a snapshot brings none; whether
//! an entry (term, index) that some node held is part of the history can still be told from these records.
//!
//! The records are rows with reserved keys: behind the prefix `t` and a term (8 bytes, big-endian), the index of the
//! term's first committed entry (8 bytes, little-endian). A new leader's first entry makes one. The newest
//! [`TERMS_MAX`] are kept.
//!
//! Beside them is the mark `u`: the group has had a write that was to be acknowledged before it was committed. A leader
//! acknowledges early only where the mark is, so where it is not, nothing acknowledged can be lost.

use storage::{GroupState, ReadRows, StoreError, WriteRows};
use types::GroupId;

use crate::records::{self, record_key};

const TERM: u8 = b't';
const EARLY: u8 = b'u';
/// Terms kept: with an election every minute, half a day of them.
pub const TERMS_MAX: usize = 1_024;

/// What is known of the term of a committed index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermOf {
    /// It was written in this term.
    Term(u64),
    /// The records begin later.
    Unknown,
}

/// The term of the committed entry at `index`, which is applied.
///
/// # Errors
/// When the store cannot be read.
pub fn term_of(rows: &dyn ReadRows, group: GroupId, index: u64) -> Result<TermOf, StoreError> {
    let mut found = TermOf::Unknown;
    each(rows, group, &mut |term, first| {
        if first <= index {
            found = TermOf::Term(term);
        }
        first <= index
    })?;
    Ok(found)
}

/// Whether the group has had a write that was to be acknowledged early.
///
/// # Errors
/// When the store cannot be read.
pub fn acknowledges_early(rows: &dyn ReadRows, group: GroupId) -> Result<bool, StoreError> {
    Ok(rows.meta(group, &record_key(EARLY, &[]))?.is_some())
}

/// Notes the first entry of a term.
pub(crate) fn note_term(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
    (term, index): (u64, u64),
) -> Result<(), StoreError> {
    let mut terms = Vec::new();
    each(rows, group, &mut |term, _| {
        terms.push(term);
        true
    })?;
    let surplus = (terms.len() + 1).saturating_sub(TERMS_MAX);
    for old in &terms[..surplus] {
        records::delete(rows, group, state, &record_key(TERM, &[&old.to_be_bytes()]))?;
    }
    let key = record_key(TERM, &[&term.to_be_bytes()]);
    records::put(rows, group, state, &key, index.to_le_bytes().to_vec())
}

/// Sets the mark.
pub(crate) fn note_early(
    rows: &mut dyn WriteRows,
    group: GroupId,
    state: &mut GroupState,
) -> Result<(), StoreError> {
    let key = record_key(EARLY, &[]);
    if rows.meta(group, &key)?.is_none() {
        records::put(rows, group, state, &key, Vec::new())?;
    }
    Ok(())
}

/// Terms with the index of each one's first entry, both rising, until `visit` answers false.
fn each(
    rows: &dyn ReadRows,
    group: GroupId,
    visit: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), StoreError> {
    let (start, end) = (record_key(TERM, &[]), record_key(TERM + 1, &[]));
    rows.scan(group, &start, Some(&end), &mut |key, row| {
        let term = key[start.len()..].try_into().map(u64::from_be_bytes);
        let first = row.value.as_slice().try_into().map(u64::from_le_bytes);
        match (term, first) {
            (Ok(term), Ok(first)) => visit(term, first),
            _ => true,
        }
    })
}
