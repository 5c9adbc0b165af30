//! What revisions changed: the pages that watches are made of.

use bytes::Bytes;
use storage::{ReadRows, Row, StoreError};
use types::{GroupId, limits::WATCH_PREV_BYTES_MAX};

use super::{EVENT_HEAD_BYTES, Floor, corrupt, event_key, events_after, floor, split_event, version_key};
use crate::command::KeyRange;
use crate::query::visible_end;

/// Counted for each event beside its key and values.
const EVENT_BYTES: usize = 64;

/// What a reader of the history wants.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Changes of these keys.
    pub range: &'a KeyRange,
    /// The versions before, too.
    pub prev: bool,
    /// Stop reading after a revision with which so many events were looked at.
    pub events_max: usize,
    /// Stop after a revision with which so many bytes were found.
    pub bytes_max: usize,
}

/// A page of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Events {
    /// The revision is not above the floor.
    Compacted(Floor),
    /// Revisions that changed what was asked for, in order, each whole; and the first that was not looked at.
    Page {
        /// They.
        revisions: Vec<Revision>,
        /// Where the next page begins. What is before it and not in `revisions` changed nothing of interest.
        next: u64,
    },
}

/// What one revision changed, of the keys asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The revision.
    pub revision: u64,
    /// The changes, in key order; each key once.
    pub events: Vec<KeyEvent>,
    /// Their size, about.
    pub bytes: usize,
}

impl Revision {
    /// Some changes of one revision, in key order.
    pub fn of(revision: u64, events: Vec<KeyEvent>) -> Revision {
        let bytes = events.iter().map(KeyEvent::bytes).sum();
        Revision { revision, events, bytes }
    }
}

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// The key.
    pub key: Bytes,
    /// The version that it has now; `None`: it was deleted.
    pub put: Option<Version>,
    /// Modification revision of the version before; 0 when there was none.
    pub prev_revision: u64,
    /// The version before, if it was asked for, there was one, and the revision has room for it
    /// ([`WATCH_PREV_BYTES_MAX`]).
    pub prev: Option<Version>,
}

impl KeyEvent {
    /// Its size, about.
    fn bytes(&self) -> usize {
        let value_bytes =
            |version: &Option<Version>| version.as_ref().map_or(0, |version| version.value.len());
        EVENT_BYTES + self.key.len() + value_bytes(&self.put) + value_bytes(&self.prev)
    }
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Revision that created the key.
    pub create_revision: u64,
    /// Revision that made this version.
    pub mod_revision: u64,
    /// Changes since creation, from 1.
    pub version: u64,
    /// The value.
    pub value: Bytes,
}

/// Reads the history from revision `from` on. A page ends before the first revision that is not applied yet.
///
/// # Errors
/// When the store cannot be read, or its records contradict each other.
pub fn events(
    rows: &dyn ReadRows,
    group: GroupId,
    from: u64,
    wanted: Wanted<'_>,
) -> Result<Events, StoreError> {
    let newest = rows.state(group).revision;
    let floor = floor(rows, group)?;
    if from <= floor.revision {
        return Ok(Events::Compacted(floor));
    }
    let (mut revisions, mut next) = (Vec::new(), from);
    if from > newest {
        return Ok(Events::Page { revisions, next });
    }
    let mut reader =
        Reader { rows, group, wanted, open: None, revisions: &mut revisions, bytes: 0, failed: None };
    let (mut looked_at, mut last) = (0, from - 1);
    let mut stopped = false;
    rows.scan(group, &event_key(from, 0), Some(&events_after(newest)), &mut |key, row| {
        if row.mod_revision != last {
            reader.close();
            if looked_at >= wanted.events_max || reader.bytes >= wanted.bytes_max {
                stopped = true;
                return false;
            }
            last = row.mod_revision;
        }
        looked_at += 1;
        reader.event(key, &row);
        reader.failed.is_none()
    })?;
    reader.close();
    if let Some(error) = reader.failed {
        return Err(error);
    }
    next = if stopped { last + 1 } else { next.max(newest + 1) };
    Ok(Events::Page { revisions, next })
}

struct Reader<'a> {
    rows: &'a dyn ReadRows,
    group: GroupId,
    wanted: Wanted<'a>,
    open: Option<Open>,
    revisions: &'a mut Vec<Revision>,
    bytes: usize,
    failed: Option<StoreError>,
}

/// A revision whose events are being read.
struct Open {
    revision: Revision,
    prev_bytes: usize,
}

impl Reader<'_> {
    fn close(&mut self) {
        if let Some(Open { revision, .. }) = self.open.take() {
            self.bytes += revision.bytes;
            self.revisions.push(revision);
        }
    }

    fn event(&mut self, key: &[u8], row: &Row) {
        if let Err(error) = self.read(key, row) {
            self.failed.get_or_insert(error);
        }
    }

    fn read(&mut self, event_key: &[u8], row: &Row) -> Result<(), StoreError> {
        let bad = |reason: &str| corrupt(self.group, reason);
        let (before, key) = split_event(&row.value).ok_or_else(|| bad("an event has no key"))?;
        if event_key.len() != EVENT_HEAD_BYTES + 4 {
            return Err(bad("an event's key has another length"));
        }
        let range = self.wanted.range;
        if key < range.start.as_slice() || key >= visible_end(range) {
            return Ok(());
        }
        let revision = row.mod_revision;
        let put = match row.version {
            0 => None,
            _ => Some(self.version(key, revision)?.ok_or_else(|| bad("a version that was put is missing"))?),
        };
        let mut prev = None;
        if self.wanted.prev && before > 0 {
            let version = version_key(key, before);
            let meta = self.rows.meta(self.group, &version)?;
            let value_bytes =
                meta.ok_or_else(|| bad("a version that was replaced is missing"))?.value_bytes as usize;
            let open = self.open.as_ref().map_or(0, |open| open.prev_bytes);
            if open + value_bytes <= WATCH_PREV_BYTES_MAX {
                prev = self.rows.get(self.group, &version)?.map(|row| Version::of(before, row));
            }
        }
        let open = self.open.get_or_insert_with(|| Open {
            revision: Revision { revision, events: Vec::new(), bytes: 0 },
            prev_bytes: 0,
        });
        open.prev_bytes += prev.as_ref().map_or(0, |prev| prev.value.len());
        let key = Bytes::copy_from_slice(key);
        let event = KeyEvent { key, put, prev_revision: before, prev };
        open.revision.bytes += event.bytes();
        open.revision.events.push(event);
        Ok(())
    }

    /// The version that a revision made: the newest, or one that was superseded since.
    fn version(&self, key: &[u8], revision: u64) -> Result<Option<Version>, StoreError> {
        let newest = self.rows.meta(self.group, key)?;
        let at = match newest {
            Some(newest) if newest.mod_revision == revision => self.rows.get(self.group, key)?,
            _ => self.rows.get(self.group, &version_key(key, revision))?,
        };
        Ok(at.map(|row| Version::of(revision, row)))
    }
}

impl Version {
    fn of(mod_revision: u64, row: Row) -> Version {
        let Row { create_revision, version, value, .. } = row;
        Version { create_revision, mod_revision, version, value: value.into() }
    }
}
