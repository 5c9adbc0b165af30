//! Recording what an entry changes: between the entry and the rows, so that no command can forget to.

use std::collections::BTreeMap;

use storage::{GroupState, ReadRows, Row, RowMeta, StoreError, WriteRows, rows::row_hash};
use types::{GroupId, limits::is_reserved_key};

use super::{event_key, version_key};

/// Rows that keep a history of the clients' keys. All changes of one entry are of one revision, the one after
/// that of the state before it.
pub(crate) struct Recorder<'a> {
    rows: &'a mut dyn WriteRows,
    group: GroupId,
    revision: u64,
    changes: BTreeMap<Vec<u8>, Change>,
    /// What the versions written add to the state hash.
    hash: u128,
    /// The first failure to read what was replaced; a put has no way to tell of it.
    failed: Option<StoreError>,
}

/// One key's change, from before the entry to its end.
#[derive(Clone, Copy)]
struct Change {
    /// Modification revision of the version before; 0 for none.
    before: u64,
    /// Create revision and version of the new one.
    after: Option<(u64, u64)>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(rows: &'a mut dyn WriteRows, group: GroupId) -> Recorder<'a> {
        let revision = rows.state(group).revision + 1;
        Recorder { rows, group, revision, changes: BTreeMap::new(), hash: 0, failed: None }
    }

    /// Writes the events, and adds all records to the state hash. Call it once, after the last change.
    ///
    /// # Errors
    /// When what was replaced could not be read.
    ///
    /// # Panics
    /// If the entry took more than one revision, or changed keys without taking one.
    pub(crate) fn finish(self, state: &mut GroupState) -> Result<(), StoreError> {
        let Recorder { rows, group, revision, changes, hash, failed } = self;
        if let Some(error) = failed {
            return Err(error);
        }
        assert!(state.revision <= revision, "group {group}: an entry has one revision");
        assert!(
            changes.is_empty() || state.revision == revision,
            "group {group}: a change has a new revision"
        );
        state.state_hash = state.state_hash.wrapping_add(hash);
        let seen = changes.into_iter().filter(|(_, change)| change.before != 0 || change.after.is_some());
        for (number, (key, Change { before, after })) in (0..).zip(seen) {
            let (create_revision, version) = after.unwrap_or((0, 0));
            let value = [&before.to_le_bytes()[..], &key].concat();
            let row = Row { create_revision, mod_revision: revision, version, value };
            let key = event_key(revision, number);
            state.state_hash = state.state_hash.wrapping_add(row_hash(&key, &RowMeta::of(&row)));
            rows.put(group, &key, row);
        }
        Ok(())
    }

    /// A client's key will be so. Before the first change, its version moves to the history.
    fn note(&mut self, key: &[u8], after: Option<(u64, u64)>) {
        if let Some(change) = self.changes.get_mut(key) {
            change.after = after;
            return;
        }
        let old = match self.rows.get(self.group, key) {
            Ok(old) => old,
            Err(error) => {
                self.failed.get_or_insert(error);
                return;
            }
        };
        let before = old.as_ref().map_or(0, |old| old.mod_revision);
        self.changes.insert(key.to_vec(), Change { before, after });
        if let Some(old) = old {
            let row = Row { mod_revision: self.revision, ..old };
            let key = version_key(key, before);
            self.hash = self.hash.wrapping_add(row_hash(&key, &RowMeta::of(&row)));
            self.rows.put(self.group, &key, row);
        }
    }
}

impl ReadRows for Recorder<'_> {
    fn state(&self, group: GroupId) -> GroupState {
        self.rows.state(group)
    }

    fn meta(&self, group: GroupId, key: &[u8]) -> Result<Option<RowMeta>, StoreError> {
        self.rows.meta(group, key)
    }

    fn get(&self, group: GroupId, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.rows.get(group, key)
    }

    fn scan(
        &self,
        group: GroupId,
        start: &[u8],
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], Row) -> bool,
    ) -> Result<(), StoreError> {
        self.rows.scan(group, start, end, visit)
    }

    fn scan_meta(
        &self,
        group: GroupId,
        start: &[u8],
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], RowMeta) -> bool,
    ) -> Result<(), StoreError> {
        self.rows.scan_meta(group, start, end, visit)
    }
}

impl WriteRows for Recorder<'_> {
    fn put(&mut self, group: GroupId, key: &[u8], row: Row) {
        assert_eq!(group, self.group, "an entry changes one group");
        if !is_reserved_key(key) {
            assert_eq!(row.mod_revision, self.revision, "group {group}: a change has the entry's revision");
            self.note(key, Some((row.create_revision, row.version)));
        }
        self.rows.put(group, key, row);
    }

    fn delete(&mut self, group: GroupId, key: &[u8]) {
        assert_eq!(group, self.group, "an entry changes one group");
        if !is_reserved_key(key) {
            self.note(key, None);
        }
        self.rows.delete(group, key);
    }

    fn set_state(&mut self, group: GroupId, state: GroupState) {
        self.rows.set_state(group, state);
    }
}
