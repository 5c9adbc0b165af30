//! Values.

use std::collections::BTreeMap;

use types::{
    Hlc,
    clock::{Dot, VersionVector},
};

use super::{
    CodecError,
    bytes::{Reader, Writer},
    kind_number, kind_of_number, malformed,
};
use crate::{
    Kind,
    counter::Counter,
    dots::Dots,
    map::{Field, Map},
    register::Register,
    score::Score,
    set::Set,
    sorted_set::SortedSet,
    value::{Body, Value},
};

/// The format version that this build writes, and the only one it reads.
pub const FORMAT_VERSION: u8 = 1;

/// The one encoding of a value.
pub fn encode_value(value: &Value) -> Vec<u8> {
    let mut to = Writer::default();
    to.byte(FORMAT_VERSION);
    to.byte(kind_number(value.kind()));
    to.number(value.seen.len() as u64);
    value.seen.dots().for_each(|dot| write_dot(&mut to, dot));
    match &value.body {
        Body::Register(register) => write_register(&mut to, register),
        Body::Counter(counter) => write_counter(&mut to, counter),
        Body::Set(set) => write_set(&mut to, set),
        Body::Map(map) => to.list(map.0.iter(), |to, (name, field)| {
            to.bytes(name);
            write_field(to, field);
        }),
        Body::SortedSet(set) => to.list(set.0.iter(), |to, (member, dots)| {
            to.bytes(member);
            write_dots(to, dots, |to, (at, score)| {
                to.number(at.0);
                to.fixed(score.to_bits());
            });
        }),
    }
    to.0
}

/// Reads what [`encode_value`] wrote, and nothing else.
///
/// # Errors
/// When it is something else.
pub fn decode_value(data: &[u8]) -> Result<Value, CodecError> {
    let mut from = Reader(data);
    let version = from.byte()?;
    if version != FORMAT_VERSION {
        return Err(CodecError::Version { version });
    }
    let kind = kind_of_number(from.byte()?).ok_or(malformed("the kind of value"))?;
    let mut seen = VersionVector::default();
    let mut last = None;
    for _ in 0..from.number()? {
        let dot = read_dot(&mut from)?;
        if last.is_some_and(|last| last >= dot.actor) {
            return Err(malformed("the order of actors"));
        }
        last = Some(dot.actor);
        seen.add(dot).map_err(|_| malformed("the number of actors"))?;
    }
    let mut read = Pieces { from, seen: &seen };
    let body = match kind {
        Kind::Register => Body::Register(read.register()?),
        Kind::Counter => Body::Counter(read.counter()?),
        Kind::Set => Body::Set(read.set()?),
        Kind::Map => Body::Map(Map(read.by_name(Pieces::field)?)),
        Kind::SortedSet => Body::SortedSet(SortedSet(read.by_name(Pieces::scores)?)),
    };
    read.from.end()?;
    Ok(Value { seen, body })
}

fn write_dot(to: &mut Writer, dot: Dot) {
    to.number(dot.actor);
    to.number(dot.counter);
}

fn write_dots<V: Clone>(to: &mut Writer, dots: &Dots<V>, write: impl Fn(&mut Writer, &V)) {
    to.number(dots.len() as u64);
    for (dot, piece) in dots.iter() {
        write_dot(to, *dot);
        write(to, piece);
    }
}

fn write_register(to: &mut Writer, register: &Register) {
    write_dots(to, &register.0, |to, (at, value)| {
        to.number(at.0);
        to.bytes(value);
    });
}

fn write_counter(to: &mut Writer, counter: &Counter) {
    write_dots(to, &counter.0, |to, total| to.signed(*total));
}

fn write_set(to: &mut Writer, set: &Set) {
    to.list(set.0.iter(), |to, (member, dots)| {
        to.bytes(member);
        write_dots(to, dots, |_, ()| {});
    });
}

fn write_field(to: &mut Writer, field: &Field) {
    to.option(field.register.as_ref(), write_register);
    to.option(field.counter.as_ref(), write_counter);
    to.option(field.set.as_ref(), write_set);
}

fn read_dot(from: &mut Reader<'_>) -> Result<Dot, CodecError> {
    let dot = Dot { actor: from.number()?, counter: from.number()? };
    if dot.counter == 0 { Err(malformed("a dot")) } else { Ok(dot) }
}

/// Reading pieces, whose dots the value must have seen.
struct Pieces<'a> {
    from: Reader<'a>,
    seen: &'a VersionVector,
}

impl<'a> Pieces<'a> {
    fn dots<V: Clone>(
        &mut self,
        read: impl Fn(&mut Reader<'a>) -> Result<V, CodecError>,
    ) -> Result<Dots<V>, CodecError> {
        let mut dots = Dots::default();
        for _ in 0..self.from.number()? {
            let dot = read_dot(&mut self.from)?;
            let piece = read(&mut self.from)?;
            if !self.seen.contains(dot) || !dots.push(dot, piece) {
                return Err(malformed("a dot"));
            }
        }
        Ok(dots)
    }

    fn register(&mut self) -> Result<Register, CodecError> {
        let piece = |from: &mut Reader<'a>| Ok((Hlc(from.number()?), from.bytes()?.to_vec()));
        self.dots(piece).map(Register)
    }

    fn counter(&mut self) -> Result<Counter, CodecError> {
        self.dots(Reader::signed).map(Counter)
    }

    fn set(&mut self) -> Result<Set, CodecError> {
        self.by_name(|read| some(read.dots(|_| Ok(()))?)).map(Set)
    }

    fn scores(&mut self) -> Result<Dots<(Hlc, Score)>, CodecError> {
        let score = |from: &mut Reader<'a>| Score::from_bits(from.fixed()?).ok_or(malformed("a score"));
        some(self.dots(|from| Ok((Hlc(from.number()?), score(from)?)))?)
    }

    fn field(&mut self) -> Result<Field, CodecError> {
        let register = if self.from.flag()? { Some(self.register()?) } else { None };
        let counter = if self.from.flag()? { Some(self.counter()?) } else { None };
        let set = if self.from.flag()? { Some(self.set()?) } else { None };
        let empty = register.as_ref().is_some_and(|register| register.0.is_empty())
            || counter.as_ref().is_some_and(|counter| counter.0.is_empty())
            || set.as_ref().is_some_and(Set::is_empty)
            || (register.is_none() && counter.is_none() && set.is_none());
        if empty { Err(malformed("a field")) } else { Ok(Field { register, counter, set }) }
    }

    /// By rising name.
    fn by_name<V>(
        &mut self,
        mut read: impl FnMut(&mut Pieces<'a>) -> Result<V, CodecError>,
    ) -> Result<BTreeMap<Vec<u8>, V>, CodecError> {
        let mut all: BTreeMap<Vec<u8>, V> = BTreeMap::new();
        for _ in 0..self.from.number()? {
            let name = self.from.bytes()?;
            if all.last_key_value().is_some_and(|(last, _)| last.as_slice() >= name) {
                return Err(malformed("the order of members"));
            }
            let piece = read(self)?;
            all.insert(name.to_vec(), piece);
        }
        Ok(all)
    }
}

/// What has no dot is not there.
fn some<V: Clone>(dots: Dots<V>) -> Result<Dots<V>, CodecError> {
    if dots.is_empty() { Err(malformed("a member")) } else { Ok(dots) }
}
