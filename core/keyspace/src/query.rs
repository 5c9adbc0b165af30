//! Answering questions from the newest rows. Whether those rows are new enough for the reader is
//! decided before: this only reads.

use storage::{ReadRows, StoreError};
use types::GroupId;
use types::limits::{RANGE_BYTES_MAX, RANGE_ITEMS_MAX, RESERVED_KEY_PREFIX};

use crate::command::{Item, KeyRange, Query, QueryAnswer};
use crate::history;
use crate::lease;
use crate::operate;
use crate::txn;

/// Answers `query` from the rows of `group`.
///
/// A page ends at its limit (held within 1 and [`RANGE_ITEMS_MAX`]) or before it would exceed
/// [`RANGE_BYTES_MAX`] bytes of keys and returned values, but has at least one item if the range has
/// any. A range whose end is not after its start is empty.
pub fn answer(rows: &dyn ReadRows, group: GroupId, query: &Query) -> Result<QueryAnswer, StoreError> {
    let revision = rows.state(group).revision;
    match query {
        Query::Get { key } => Ok(QueryAnswer::Get { revision, row: rows.get(group, key)? }),
        Query::Range { range, limit, keys_only } => {
            let mut page = Page::new(*limit, *keys_only);
            let end = visible_end(range);
            if range.start.as_slice() < end {
                rows.scan(group, &range.start, Some(end), &mut |key, row| page.visit(key, row))?;
            }
            let (items, next) = page.into_parts();
            Ok(QueryAnswer::Range { revision, items, next })
        }
        Query::Value { key, part } => operate::read(rows, group, revision, key, part),
        Query::Txn(txn) => Ok(QueryAnswer::Txn(txn::read(rows, group, txn)?)),
        Query::At { revision, query } => history::at(rows, group, *revision, query),
        Query::Lease(query) => Ok(QueryAnswer::Lease(lease::answer(rows, group, query)?)),
    }
}

/// Where the range ends for a client: the group's own records lie behind all of its keys.
pub(crate) fn visible_end(range: &KeyRange) -> &[u8] {
    let end = range.end.as_deref().unwrap_or(&RESERVED_KEY_PREFIX);
    end.min(&RESERVED_KEY_PREFIX)
}

/// A page being filled.
pub(crate) struct Page {
    items: Vec<Item>,
    items_max: usize,
    bytes: usize,
    keys_only: bool,
    next: Option<Vec<u8>>,
}

impl Page {
    pub(crate) fn new(limit: u32, keys_only: bool) -> Page {
        let items_max = limit.clamp(1, RANGE_ITEMS_MAX) as usize;
        Page { items: Vec::new(), items_max, bytes: 0, keys_only, next: None }
    }

    /// Takes a row, or notes that the next page starts with it. Answers whether to go on.
    pub(crate) fn visit(&mut self, key: &[u8], mut row: storage::Row) -> bool {
        let value_bytes = row.value.len() as u64;
        if self.keys_only {
            row.value = Vec::new();
        }
        let bytes = self.bytes + key.len() + row.value.len();
        let full = self.items.len() == self.items_max || bytes > RANGE_BYTES_MAX;
        if full && !self.items.is_empty() {
            self.next = Some(key.to_vec());
            return false;
        }
        self.bytes = bytes;
        self.items.push(Item { key: key.to_vec(), row, value_bytes });
        true
    }

    /// The page ends here: the next one starts with this key.
    pub(crate) fn end_before(&mut self, key: &[u8]) {
        self.next = Some(key.to_vec());
    }

    /// Most items that it takes.
    pub(crate) fn items_max(&self) -> usize {
        self.items_max
    }

    /// The items, and where the next page starts.
    pub(crate) fn into_parts(self) -> (Vec<Item>, Option<Vec<u8>>) {
        (self.items, self.next)
    }
}
