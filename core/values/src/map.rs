//! A map: fields that hold a register, a counter or a set each. A field is there as long as something in it is: a
//! removal takes away all that it has seen of the field, so that a concurrent change of it wins.
//!
//! Applied in order, a field is of one kind until it is removed. Merging can find it made as two kinds at the same
//! time: both stay, and both are shown.

use std::collections::BTreeMap;

use types::clock::VersionVector;

use crate::{Kind, counter::Counter, operation::Refusal, register::Register, set::Set, set::merge_by_key};

/// What is in a field: at most one of each kind, usually one alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// As a register.
    pub register: Option<Register>,
    /// As a counter.
    pub counter: Option<Counter>,
    /// As a set.
    pub set: Option<Set>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map(pub(crate) BTreeMap<Vec<u8>, Field>);

impl Field {
    fn is_empty(&self) -> bool {
        self.register.is_none() && self.counter.is_none() && self.set.is_none()
    }

    /// Nothing, or of this kind alone.
    fn check(&self, name: &[u8], kind: Kind) -> Result<(), Refusal> {
        let others = [
            (Kind::Register, self.register.is_some()),
            (Kind::Counter, self.counter.is_some()),
            (Kind::Set, self.set.is_some()),
        ];
        match others.into_iter().find(|(other, there)| *there && *other != kind) {
            Some((is, _)) => Err(Refusal::FieldIs { field: name.to_vec(), is }),
            None => Ok(()),
        }
    }

    fn merged(&self, seen: &VersionVector, other: &Field, others_seen: &VersionVector) -> Option<Field> {
        let mut register = self.register.clone().unwrap_or_default();
        register.merge(seen, other.register.as_ref().unwrap_or(&Register::default()), others_seen);
        let mut counter = self.counter.clone().unwrap_or_default();
        counter.merge(seen, other.counter.as_ref().unwrap_or(&Counter::default()), others_seen);
        let mut set = self.set.clone().unwrap_or_default();
        set.merge(seen, other.set.as_ref().unwrap_or(&Set::default()), others_seen);
        let field = Field {
            register: Some(register).filter(|register| !register.0.is_empty()),
            counter: Some(counter).filter(|counter| !counter.0.is_empty()),
            set: Some(set).filter(|set| !set.is_empty()),
        };
        (!field.is_empty()).then_some(field)
    }
}

impl Map {
    /// A field, if there is one of the name.
    pub fn field(&self, name: &[u8]) -> Option<&Field> {
        self.0.get(name)
    }

    /// Fields by the bytes of their names.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &Field)> {
        self.0.iter().map(|(name, field)| (name.as_slice(), field))
    }

    /// Fields, and members of the sets in them.
    pub fn len(&self) -> usize {
        self.0.values().map(|field| 1 + field.set.as_ref().map_or(0, Set::len)).sum()
    }

    /// Whether it has no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes the register in a field, which is made if there is none. Answers also whether there was.
    pub(crate) fn register<T>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Register) -> T,
    ) -> Result<(T, bool), Refusal> {
        let field = self.0.entry(name.to_vec()).or_default();
        field.check(name, Kind::Register)?;
        let existed = field.register.is_some();
        Ok((change(field.register.get_or_insert_default()), existed))
    }

    /// As for a register.
    pub(crate) fn counter<T>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Counter) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let field = self.0.entry(name.to_vec()).or_default();
        field.check(name, Kind::Counter)?;
        let counter = field.counter.get_or_insert_default();
        let changed = change(counter)?;
        let gone = counter.0.is_empty();
        if gone {
            self.0.remove(name);
        }
        Ok(changed)
    }

    /// As for a register. A set that is left without members is no field.
    pub(crate) fn set<T>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Set) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let field = self.0.entry(name.to_vec()).or_default();
        field.check(name, Kind::Set)?;
        let set = field.set.get_or_insert_default();
        let changed = change(set)?;
        let gone = set.is_empty();
        if gone {
            self.0.remove(name);
        }
        Ok(changed)
    }

    /// Answers whether it was there.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        self.0.remove(name).is_some()
    }

    pub(crate) fn merge(&mut self, seen: &VersionVector, other: &Map, others_seen: &VersionVector) {
        merge_by_key(&mut self.0, &other.0, |mine, theirs| mine.merged(seen, theirs, others_seen));
    }
}
