//! Writing a frozen overlay into the database: one transaction, off the node's loop.

use std::{fmt, sync::Arc};

use types::GroupId;

use crate::{
    StoreError,
    store::{
        engine::{Engine, GROUPS, ROWS, Rows, VALUES, Values, engine_error, guarded},
        format::{Head, Place, corrupt_row, decode_row, encode_row, encode_stored_state, is_inline, row_key},
        overlay::{Change, GroupOverlay, Overlay},
        view::View,
    },
};

/// A frozen overlay on its way to disk. Jobs of one store are run one at a time, in the order in
/// which they were begun.
#[derive(Clone)]
pub struct CheckpointJob {
    pub(super) engine: Arc<Engine>,
    pub(super) frozen: Arc<Overlay>,
    pub(super) number: u64,
}

/// A checkpoint that is durable; for [`super::Store::finish_checkpoint`].
#[derive(Debug)]
pub struct CheckpointDone {
    pub(super) number: u64,
    pub(super) view: View,
}

impl CheckpointJob {
    /// Keys and values to write, about, in bytes.
    pub fn estimated_bytes(&self) -> u64 {
        self.frozen.bytes()
    }

    /// Writes the overlay and every group's state in one durable commit.
    ///
    /// # Errors
    /// [`crate::DiskError::NoSpace`] before anything was written: give the space back to the store
    /// with [`super::Store::abort_checkpoint`]. Every other error is final.
    pub fn run(&self) -> Result<CheckpointDone, StoreError> {
        self.engine.check_space(self.frozen.changes(), self.frozen.bytes())?;
        guarded(|| self.write())?;
        Ok(CheckpointDone { number: self.number, view: View::open(self.engine.clone())? })
    }

    fn write(&self) -> Result<(), StoreError> {
        let write = self.engine.begin_write()?;
        {
            let mut rows = write.open_table(ROWS).map_err(engine_error)?;
            let mut values = write.open_table(VALUES).map_err(engine_error)?;
            let mut groups = write.open_table(GROUPS).map_err(engine_error)?;
            for (&group, overlay) in &self.frozen.groups {
                write_group(&mut rows, &mut values, group, overlay)?;
                if let Some(state) = &overlay.state {
                    let stored = encode_stored_state(group, state);
                    groups.insert(group.0, stored.as_slice()).map_err(engine_error)?;
                }
            }
        }
        write.commit().map_err(engine_error)
    }
}

/// Rows in key order, then the values they replaced, then new values in revision order.
fn write_group(
    rows: &mut Rows<'_>,
    values: &mut Values<'_>,
    group: GroupId,
    overlay: &GroupOverlay,
) -> Result<(), StoreError> {
    let mut replaced = Vec::new();
    let mut placed = Vec::new();
    for (number, (key, change)) in (0..).zip(&overlay.changes) {
        let row_key = row_key(group, key);
        let old = match change {
            Change::Put(row) => {
                let inline = is_inline(row.meta.value_bytes);
                let place = (!inline).then_some(Place { revision: row.meta.mod_revision, number });
                if let Some(place) = place {
                    placed.push((place.key(group), &row.value));
                }
                let bytes = encode_row(&row_key, &Head { meta: row.meta, place }, &row.value);
                let old = rows.insert(row_key.as_slice(), bytes.as_slice()).map_err(engine_error)?;
                old.map(|old| decode_row(&row_key, old.value()).map(|(head, _)| head)).transpose()?
            }
            Change::Delete => {
                let old = rows.remove(row_key.as_slice()).map_err(engine_error)?;
                old.map(|old| decode_row(&row_key, old.value()).map(|(head, _)| head)).transpose()?
            }
        };
        if let Some(place) = old.and_then(|head| head.place) {
            replaced.push((place.key(group), key));
        }
    }
    replaced.sort_unstable();
    for (place, key) in replaced {
        if values.remove(&place).map_err(engine_error)?.is_none() {
            return Err(corrupt_row(&row_key(group, key), "its value is missing"));
        }
    }
    placed.sort_unstable_by_key(|(place, _)| *place);
    for (place, value) in placed {
        let taken = values.insert(&place, value.as_ref()).map_err(engine_error)?;
        assert!(taken.is_none(), "two values of group {group} in one place");
    }
    Ok(())
}

impl fmt::Debug for CheckpointJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<_> = self.frozen.groups.keys().collect();
        f.debug_struct("CheckpointJob")
            .field("number", &self.number)
            .field("groups", &groups)
            .finish_non_exhaustive()
    }
}
