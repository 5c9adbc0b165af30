//! Removing the rows of a group that is no more: some at a time, off the node's loop.
//!
//! The group's state is removed last: while any of its rows may be left, the group is listed by
//! [`super::Store::groups`], so that a store that was closed half way is gone on with.

use std::{fmt, sync::Arc};

use redb::ReadableTable;
use types::GroupId;

use crate::{
    StoreError,
    store::{
        engine::{Engine, GROUPS, ROWS, VALUES, engine_error, guarded},
        format::{Place, ValueKey, decode_row, row_key},
        view::View,
    },
};

/// Rows removed by one job: bounds how long a checkpoint waits behind it.
const ROWS_PER_JOB: usize = 1_024;

/// Some rows of a group on their way out. Jobs of one store are run one at a time, in the order in which they
/// were begun.
pub struct ReclaimJob {
    pub(super) engine: Arc<Engine>,
    pub(super) group: GroupId,
    pub(super) number: u64,
}

/// A reclaim that is durable; for [`super::Store::finish_reclaim`].
#[derive(Debug)]
pub struct ReclaimDone {
    pub(super) number: u64,
    pub(super) group: GroupId,
    pub(super) over: bool,
    pub(super) view: View,
}

impl ReclaimJob {
    /// The group whose rows are removed.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Removes up to a bounded number of rows with their values, in one durable commit.
    ///
    /// # Errors
    /// [`crate::DiskError::NoSpace`] before anything was written: give it back to the store with
    /// [`super::Store::abort_reclaim`]. Every other error is final.
    pub fn run(&self) -> Result<ReclaimDone, StoreError> {
        self.engine.check_space(ROWS_PER_JOB as u64, 0)?;
        let over = guarded(|| self.write())?;
        let view = View::open(self.engine.clone())?;
        Ok(ReclaimDone { number: self.number, group: self.group, over, view })
    }

    fn write(&self) -> Result<bool, StoreError> {
        let write = self.engine.begin_write()?;
        let over;
        {
            let mut rows = write.open_table(ROWS).map_err(engine_error)?;
            let mut values = write.open_table(VALUES).map_err(engine_error)?;
            let first = row_key(self.group, &[]);
            // No group has the highest number: it would follow from a meta revision beyond all counting.
            let end = row_key(GroupId(self.group.0.saturating_add(1)), &[]);
            let mut keys = Vec::new();
            let mut places = Vec::new();
            {
                let range = rows.range::<&[u8]>(first.as_slice()..end.as_slice()).map_err(engine_error)?;
                for row in range.take(ROWS_PER_JOB) {
                    let (key, row) = row.map_err(engine_error)?;
                    let (head, _) = decode_row(key.value(), row.value())?;
                    places.extend(head.place.map(|place| place.key(self.group)));
                    keys.push(key.value().to_vec());
                }
            }
            for key in &keys {
                rows.remove(key.as_slice()).map_err(engine_error)?;
            }
            places.sort_unstable();
            for place in &places {
                values.remove(place).map_err(engine_error)?;
            }
            over = keys.len() < ROWS_PER_JOB;
            if over {
                // What no row refers to, if there is any.
                let first = Place { revision: 0, number: 0 }.key(self.group);
                let last = Place { revision: u64::MAX, number: u64::MAX }.key(self.group);
                values.retain_in::<&ValueKey, _>(&first..=&last, |_, _| false).map_err(engine_error)?;
                let mut groups = write.open_table(GROUPS).map_err(engine_error)?;
                groups.remove(self.group.0).map_err(engine_error)?;
            }
        }
        write.commit().map_err(engine_error)?;
        Ok(over)
    }
}

impl ReclaimDone {
    /// The group whose rows were removed.
    pub fn group(&self) -> GroupId {
        self.group
    }
}

impl fmt::Debug for ReclaimJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReclaimJob")
            .field("number", &self.number)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
