//! Contracts as JSON or TOML tables. What is not known is refused by naming the nearest that is.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

use super::{Ack, Contract, OnPartition, Read, Reconcile, Replication, Values};

/// Farther than this, a guess is no help.
const GUESS_DISTANCE_MAX: usize = 3;
/// Whole numbers up to this one are exact as floating point.
const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

impl Serialize for Contract {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("replication", self.replication.name())?;
        map.serialize_entry("on_partition", self.on_partition.name())?;
        if let Some(replicas) = self.replicas {
            map.serialize_entry("replicas", &replicas)?;
        }
        map.serialize_entry("ack", self.ack.name())?;
        map.serialize_entry("read", &self.read.to_string())?;
        map.serialize_entry("lease_reads", &self.lease_reads)?;
        map.serialize_entry("values", self.values.name())?;
        map.serialize_entry("shards", &self.shards)?;
        if let Some(bytes) = self.quota_bytes {
            map.serialize_entry("quota_bytes", &bytes)?;
        }
        map.serialize_entry("idempotency_ttl_s", &self.idempotency_ttl_s)?;
        map.serialize_entry("history_ttl_s", &self.history_ttl_s)?;
        if let Some(ms) = self.degrade_after_ms {
            map.serialize_entry("degrade_after_ms", &ms)?;
        }
        if let Some(rule) = self.reconcile {
            map.serialize_entry("reconcile", rule.name())?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Contract {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Contract, D::Error> {
        deserializer.deserialize_map(Table)
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = Contract;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a contract: a table of its fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Contract, A::Error> {
        let mut contract = Contract::default();
        let mut seen: Vec<String> = Vec::new();
        while let Some(field) = map.next_key::<String>()? {
            let value = map.next_value::<Plain>()?;
            contract.set(&field, value).map_err(A::Error::custom)?;
            if seen.contains(&field) {
                return Err(A::Error::custom(format!("field {field:?} is there twice")));
            }
            seen.push(field);
        }
        Ok(contract)
    }
}

/// A value that a field can be given, whatever the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Number(u64),
    Text(String),
    Truth(bool),
    Nothing,
}

impl From<Given> for Plain {
    fn from(given: Given) -> Plain {
        match given {
            Given::Number(number) => Plain::Number(number),
            Given::Text(text) => Plain::Text(text),
            Given::Truth(truth) => Plain::Truth(truth),
            Given::Nothing => Plain::Nothing(()),
        }
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Given, D::Error> {
        match Plain::deserialize(deserializer)? {
            Plain::Text(text) => Ok(Given::Text(text)),
            Plain::Truth(truth) => Ok(Given::Truth(truth)),
            Plain::Nothing(()) => Ok(Given::Nothing),
            number => self::number("a field", number).map(Given::Number).map_err(|_| {
                D::Error::custom("a field is a word, a whole number without a sign, true or false, or null")
            }),
        }
    }
}

/// A field's value, before its field says what it must be.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Plain {
    Number(u64),
    /// JSON knows but one kind of number: `5.0` is a whole one.
    Fraction(f64),
    Text(String),
    Truth(bool),
    Nothing(()),
    Other(IgnoredAny),
}

impl Contract {
    pub(super) fn set(&mut self, field: &str, value: Plain) -> Result<(), String> {
        match field {
            "replication" => self.replication = word(field, value, Replication::ALL, Replication::name)?,
            "on_partition" => self.on_partition = word(field, value, OnPartition::ALL, OnPartition::name)?,
            "replicas" => self.replicas = optional(value, |value| small(field, value))?,
            "ack" => self.ack = word(field, value, Ack::ALL, Ack::name)?,
            "read" => self.read = read(value)?,
            "lease_reads" => self.lease_reads = truth(field, value)?,
            "values" => self.values = word(field, value, Values::ALL, Values::name)?,
            "shards" => self.shards = small(field, value)?,
            "quota_bytes" => self.quota_bytes = optional(value, |value| number(field, value))?,
            "idempotency_ttl_s" => self.idempotency_ttl_s = number(field, value)?,
            "history_ttl_s" => self.history_ttl_s = number(field, value)?,
            "degrade_after_ms" => self.degrade_after_ms = optional(value, |value| number(field, value))?,
            "reconcile" => {
                let rule = |value| word(field, value, Reconcile::ALL, Reconcile::name);
                self.reconcile = optional(value, rule)?;
            }
            _ => {
                let known = Contract::default().fields().map(|(name, _)| name);
                let (guess, known) = (nearest(field, &known), known.join(", "));
                return Err(format!("there is no field {field:?}{guess}; the fields are {known}"));
            }
        }
        Ok(())
    }
}

/// The value of a field that may be unset; only JSON's `null` says so.
fn optional<T>(value: Plain, parse: impl Fn(Plain) -> Result<T, String>) -> Result<Option<T>, String> {
    match value {
        Plain::Nothing(()) => Ok(None),
        value => parse(value).map(Some),
    }
}

fn number(field: &str, value: Plain) -> Result<u64, String> {
    match value {
        Plain::Number(value) => Ok(value),
        Plain::Fraction(value) if value.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&value) => {
            Ok(value as u64)
        }
        _ => Err(format!("{field} must be a whole number, without a sign")),
    }
}

fn small(field: &str, value: Plain) -> Result<u32, String> {
    u32::try_from(number(field, value)?).map_err(|_| format!("{field} must be a number below 4294967296"))
}

fn truth(field: &str, value: Plain) -> Result<bool, String> {
    match value {
        Plain::Truth(truth) => Ok(truth),
        _ => Err(format!("{field} must be true or false")),
    }
}

fn word<T: Copy>(field: &str, value: Plain, all: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
    let names: Vec<&str> = all.iter().map(|value| name(*value)).collect();
    let Plain::Text(text) = value else {
        return Err(format!("{field} must be one of {}", names.join(", ")));
    };
    let found = all.iter().copied().find(|value| name(*value) == text);
    found.ok_or_else(|| {
        format!("{field} cannot be {text:?}{}; it is one of {}", nearest(&text, &names), names.join(", "))
    })
}

impl FromStr for Ack {
    type Err = String;

    /// The word of contracts.
    fn from_str(text: &str) -> Result<Ack, String> {
        word("ack", Plain::Text(text.into()), Ack::ALL, Ack::name)
    }
}

impl FromStr for Read {
    type Err = String;

    /// The word of contracts.
    fn from_str(text: &str) -> Result<Read, String> {
        read_word(text)
    }
}

const READS: [&str; 4] = ["strong", "causal", "bounded(5s)", "eventual"];

fn read(value: Plain) -> Result<Read, String> {
    match value {
        Plain::Text(text) => read_word(&text),
        _ => Err(format!("read must be one of {}", READS.join(", "))),
    }
}

fn read_word(text: &str) -> Result<Read, String> {
    match text {
        "strong" => return Ok(Read::Strong),
        "causal" => return Ok(Read::Causal),
        "eventual" => return Ok(Read::Eventual),
        _ => {}
    }
    if let Some(bound) = text.strip_prefix("bounded(").and_then(|rest| rest.strip_suffix(')')) {
        let milliseconds = |digits: &str, unit_ms: u64| {
            let canonical = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if canonical { digits.parse::<u64>().ok()?.checked_mul(unit_ms) } else { None }
        };
        let ms = match (bound.strip_suffix("ms"), bound.strip_suffix('s')) {
            (Some(digits), _) => milliseconds(digits, 1),
            (None, Some(digits)) => milliseconds(digits, 1_000),
            (None, None) => None,
        };
        return ms.map(Read::Bounded).ok_or_else(|| {
            format!("read cannot be {text:?}: a bound is a whole number of s or ms, as in bounded(5s)")
        });
    }
    Err(format!("read cannot be {text:?}{}; it is one of {}", nearest(text, &READS), READS.join(", ")))
}

/// `, did you mean "…"?`, if something known is near.
fn nearest(text: &str, known: &[&str]) -> String {
    // A long text is nobody's typing error, and costs time.
    let near =
        known.iter().filter(|_| text.len() <= 64).map(|name| (strsim::osa_distance(text, name), *name));
    match near.min().filter(|(distance, _)| *distance <= GUESS_DISTANCE_MAX) {
        Some((_, name)) => format!(" (did you mean {name:?}?)"),
        None => String::new(),
    }
}
