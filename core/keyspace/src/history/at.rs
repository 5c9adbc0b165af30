//! Reading as of an earlier revision.

use std::collections::VecDeque;

use storage::{ReadRows, Row, StoreError};
use types::GroupId;

use super::{VERSION, corrupt, floor, split_version_key, version_key, versions_from};
use crate::command::{Item, KeyRange, Query, QueryAnswer};
use crate::query::{Page, visible_end};
use crate::records::record_key;

/// Most versions looked at for one page: it then ends where it is, with what was found.
const VERSIONS_MAX: usize = 10_000;

/// Why a revision cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReadable {
    /// The revision asked for.
    pub asked: u64,
    /// The newest.
    pub revision: u64,
    /// The oldest that can be read.
    pub floor: u64,
}

/// Answers a query as of `revision`.
///
/// # Errors
/// When the store cannot be read, or its records contradict each other.
pub fn at(
    rows: &dyn ReadRows,
    group: GroupId,
    revision: u64,
    query: &Query,
) -> Result<QueryAnswer, StoreError> {
    let newest = rows.state(group).revision;
    let floor = floor(rows, group)?.revision;
    if revision < floor || revision > newest {
        return Ok(QueryAnswer::NotReadable(NotReadable { asked: revision, revision: newest, floor }));
    }
    match query {
        Query::Get { key } => Ok(QueryAnswer::Get { revision, row: key_at(rows, group, revision, key)? }),
        Query::Range { range, limit, keys_only } => {
            let (items, next) = range_at(rows, group, revision, range, Page::new(*limit, *keys_only))?;
            Ok(QueryAnswer::Range { revision, items, next })
        }
        Query::At { .. } | Query::Txn(_) | Query::Lease(_) | Query::Value { .. } => {
            unreachable!("validated: only a key or a range is read at a revision")
        }
    }
}

/// A key as it was at a revision from the floor on.
fn key_at(rows: &dyn ReadRows, group: GroupId, revision: u64, key: &[u8]) -> Result<Option<Row>, StoreError> {
    if rows.meta(group, key)?.is_some_and(|newest| newest.mod_revision <= revision) {
        return rows.get(group, key);
    }
    let mut found = None;
    let end = version_key(key, revision.saturating_add(1));
    rows.scan_meta(group, &version_key(key, 0), Some(&end), &mut |version, meta| {
        if meta.mod_revision > revision {
            found = Some(version.to_vec());
        }
        found.is_none()
    })?;
    found.map_or(Ok(None), |version| load(rows, group, &version))
}

/// The version in this record, as a row.
fn load(rows: &dyn ReadRows, group: GroupId, version: &[u8]) -> Result<Option<Row>, StoreError> {
    let (_, mod_revision) =
        split_version_key(version).ok_or_else(|| corrupt(group, "a version has no key"))?;
    Ok(rows.get(group, version)?.map(|row| Row { mod_revision, ..row }))
}

/// A page of a range: the newest rows that are old enough, and versions that were superseded later. Each key
/// has at most one of them.
fn range_at(
    rows: &dyn ReadRows,
    group: GroupId,
    revision: u64,
    range: &KeyRange,
    mut page: Page,
) -> Result<(Vec<Item>, Option<Vec<u8>>), StoreError> {
    let end = visible_end(range);
    if range.start.as_slice() >= end {
        return Ok(page.into_parts());
    }
    let mut superseded = VecDeque::new();
    let (mut looked_at, mut known_to) = (0, None);
    let versions_end = match range.end {
        Some(_) => versions_from(end),
        None => record_key(VERSION + 1, &[]),
    };
    let mut failed = false;
    rows.scan_meta(group, &versions_from(&range.start), Some(&versions_end), &mut |version, meta| {
        let Some((key, mod_revision)) = split_version_key(version) else {
            failed = true;
            return false;
        };
        if looked_at >= VERSIONS_MAX {
            known_to = Some(key);
            return false;
        }
        looked_at += 1;
        if mod_revision <= revision && revision < meta.mod_revision {
            superseded.push_back((key, version.to_vec()));
        }
        superseded.len() < page.items_max() + 1
    })?;
    if failed {
        return Err(corrupt(group, "a version has no key"));
    }
    if superseded.len() > page.items_max() {
        known_to = superseded.back().map(|(key, _): &(Vec<u8>, Vec<u8>)| key.clone());
    }
    // Of keys from here on this page knows nothing.
    let end = known_to.as_deref().unwrap_or(end);
    let mut looked_at = 0;
    let mut going_on = true;
    let mut error = None;
    // Shows a row that was found, and answers whether to go on.
    let mut show = |page: &mut Page, key: &[u8], row: Result<Option<Row>, StoreError>| match row {
        Ok(row) => row.is_none_or(|row| page.visit(key, row)),
        Err(found) => {
            error = Some(found);
            false
        }
    };
    rows.scan_meta(group, &range.start, Some(end), &mut |key, meta| {
        while going_on && superseded.front().is_some_and(|(earlier, _)| earlier.as_slice() < key) {
            let (earlier, version) = superseded.pop_front().expect("the front was just seen");
            going_on = show(&mut page, &earlier, load(rows, group, &version));
        }
        looked_at += 1;
        if going_on && looked_at > VERSIONS_MAX {
            page.end_before(key);
            going_on = false;
        }
        if going_on && meta.mod_revision <= revision {
            going_on = show(&mut page, key, rows.get(group, key));
        }
        going_on
    })?;
    if let Some(error) = error {
        return Err(error);
    }
    while going_on
        && let Some((key, version)) = superseded.pop_front().filter(|(key, _)| key.as_slice() < end)
    {
        if let Some(row) = load(rows, group, &version)? {
            going_on = page.visit(&key, row);
        }
    }
    if going_on && let Some(known_to) = &known_to {
        page.end_before(known_to);
    }
    Ok(page.into_parts())
}
