//! Changing a contract of a keyspace that exists: which fields change while it serves, and which never do.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use super::{Contract, parse::Given};

/// Fields that stay as the keyspace was created with them, each with the reason.
const FIXED: [(&str, &str); 7] = [
    ("replication", "replicas of different kinds cannot agree on what was written before the change"),
    ("on_partition", "what both sides of a partition may do cannot change while one of them may be cut off"),
    ("replicas", "a group's members are those of the cluster, which are fixed when it is made"),
    ("values", "what is stored would have to be read as something that it was not written as"),
    ("shards", "every key would have to move, and each shard's revisions count by themselves"),
    ("degrade_after_ms", "it belongs to on_partition = degrade, which this version does not keep"),
    ("reconcile", "it belongs to on_partition = degrade, which this version does not keep"),
];

/// Some fields of a contract with new values. In JSON and TOML a table of them; `null` unsets a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Vec<(String, Given)>);

impl Changes {
    /// Whether no field is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The contract with these fields changed.
    pub fn apply(&self, contract: Contract) -> Contract {
        let mut changed = contract;
        for (field, value) in &self.0 {
            changed.set(field, value.clone().into()).expect("it was checked when it was parsed");
        }
        changed
    }
}

impl<'de> Deserialize<'de> for Changes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Changes, D::Error> {
        deserializer.deserialize_map(Table)
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = Changes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("changes of a contract: a table of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Changes, A::Error> {
        let mut changes: Vec<(String, Given)> = Vec::new();
        while let Some(field) = map.next_key::<String>()? {
            let value = map.next_value::<Given>()?;
            Contract::default().set(&field, value.clone().into()).map_err(A::Error::custom)?;
            if changes.iter().any(|(known, _)| *known == field) {
                return Err(A::Error::custom(format!("field {field:?} is there twice")));
            }
            changes.push((field, value));
        }
        Ok(Changes(changes))
    }
}

impl Contract {
    /// Why a keyspace under this contract cannot be altered to the other one: the first field that cannot
    /// change, with the reason.
    pub fn refuses_change(&self, other: &Contract) -> Option<(&'static str, &'static str)> {
        let pairs = self.fields().into_iter().zip(other.fields());
        let mut changed = pairs.filter(|(ours, theirs)| ours != theirs).map(|((field, _), _)| field);
        changed.find_map(|field| FIXED.into_iter().find(|(fixed, _)| *fixed == field))
    }
}
