//! Query parameters and the deadline header. What is not known, or given twice, is refused.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use axum::http::{HeaderMap, HeaderName, Uri};

use types::limits::SHARDS_MAX;

use super::{HttpProblem, path};

/// How long the client waits, in milliseconds.
const TIMEOUT: HeaderName = HeaderName::from_static("quorate-timeout-ms");
/// Longest deadline that may be asked for.
pub(super) const TIMEOUT_MS_MAX: u64 = 60_000;
/// Deadline of a request that asks for none.
pub(super) const TIMEOUT_MS_DEFAULT: u64 = 5_000;

/// The time limit that the request states.
pub(super) fn time_limit(headers: &HeaderMap) -> Result<Duration, HttpProblem> {
    let mut values = headers.get_all(TIMEOUT).iter();
    let time_ms = match (values.next(), values.next()) {
        (None, _) => Some(TIMEOUT_MS_DEFAULT),
        (Some(value), None) => value.to_str().ok().and_then(number),
        (Some(_), Some(_)) => None,
    };
    match time_ms {
        Some(time_ms @ 1..=TIMEOUT_MS_MAX) => Ok(Duration::from_millis(time_ms)),
        _ => Err(HttpProblem::invalid(
            format!("the header {TIMEOUT} must be one whole number from 1 to {TIMEOUT_MS_MAX}"),
            "correct the header, or leave it out for the default",
        )),
    }
}

/// A number of digits alone: no sign, no spaces.
fn number<T: FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The query of a request, decoded. Parameters are taken out as they are understood.
#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, Vec<u8>>);

impl Query {
    /// Values are percent-encoded bytes; a `+` is a space, as forms have it.
    pub(super) fn of(uri: &Uri) -> Result<Query, HttpProblem> {
        let mut found = BTreeMap::new();
        let pairs = uri.query().unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = String::from_utf8_lossy(&path::decode(name)?).into_owned();
            let value = path::decode(&value.replace('+', " "))?;
            if found.insert(name.clone(), value).is_some() {
                return Err(HttpProblem::invalid(
                    format!("parameter {name:?} is there twice"),
                    "send it once",
                ));
            }
        }
        Ok(Query(found))
    }

    /// Bytes.
    pub(super) fn bytes(&mut self, name: &str) -> Option<Vec<u8>> {
        self.0.remove(name)
    }

    /// `true` or `false`; false when it is not there.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, HttpProblem> {
        match self.0.remove(name).as_deref() {
            None | Some(b"false") => Ok(false),
            Some(b"true") => Ok(true),
            Some(_) => Err(malformed(name, "true or false")),
        }
    }

    /// A whole number from 1 to `max`; `max` when it is not there.
    pub(super) fn number(&mut self, name: &str, max: u32) -> Result<u32, HttpProblem> {
        let Some(value) = self.0.remove(name) else { return Ok(max) };
        match std::str::from_utf8(&value).ok().and_then(number) {
            Some(value) if (1..=max).contains(&value) => Ok(value),
            _ => Err(malformed(name, &format!("one whole number from 1 to {max}"))),
        }
    }

    /// A revision, from 1.
    pub(super) fn revision(&mut self, name: &str) -> Result<Option<u64>, HttpProblem> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        match std::str::from_utf8(&value).ok().and_then(number) {
            Some(revision @ 1..) => Ok(Some(revision)),
            _ => Err(malformed(name, "one whole number, from 1")),
        }
    }

    /// A shard's number, if one is given.
    pub(super) fn shard_named(&mut self) -> Result<Option<u32>, HttpProblem> {
        if self.0.contains_key("shard") { self.shard().map(Some) } else { Ok(None) }
    }

    /// A number from 0 that an answer gave.
    pub(super) fn known(&mut self, name: &str) -> Result<Option<u64>, HttpProblem> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        let number = std::str::from_utf8(&value).ok().filter(|text| !text.is_empty()).and_then(number);
        number.map(Some).ok_or_else(|| malformed(name, "one whole number from 0"))
    }

    /// A shard's number; 0 when it is not given.
    pub(super) fn shard(&mut self) -> Result<u32, HttpProblem> {
        let Some(value) = self.0.remove("shard") else { return Ok(0) };
        match std::str::from_utf8(&value).ok().and_then(number) {
            Some(value) if value < SHARDS_MAX => Ok(value),
            _ => Err(malformed("shard", &format!("one whole number from 0 to {}", SHARDS_MAX - 1))),
        }
    }

    /// Bytes as pairs of lower-case hexadecimal digits, at least one.
    pub(super) fn hex(&mut self, name: &str) -> Result<Option<Vec<u8>>, HttpProblem> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        let bytes = value.chunks(2).map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        });
        match bytes.collect::<Option<Vec<u8>>>() {
            Some(bytes) if !bytes.is_empty() => Ok(Some(bytes)),
            _ => Err(malformed(name, "what `next` of an earlier page was, unchanged")),
        }
    }

    /// Refuses what nothing asked for.
    pub(super) fn end(self, known: &str) -> Result<(), HttpProblem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let message = format!("there is no parameter {name:?} here");
                Err(HttpProblem::invalid(message, format!("the parameters are: {known}")))
            }
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn malformed(name: &str, wanted: &str) -> HttpProblem {
    HttpProblem::invalid(format!("parameter {name} must be {wanted}"), "correct it, then send it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Query, HttpProblem> {
        Query::of(&format!("/x?{text}").parse().unwrap())
    }

    #[test]
    fn values_are_bytes_and_a_plus_is_a_space() {
        let mut query = query("a=%ff%00&b=x+y%2B&&c&d=").unwrap();
        assert_eq!(query.bytes("a"), Some(vec![0xff, 0]));
        assert_eq!(query.bytes("b"), Some(b"x y+".to_vec()));
        assert_eq!(query.bytes("c"), Some(vec![]));
        assert_eq!(query.bytes("d"), Some(vec![]));
        assert_eq!(query.bytes("e"), None);
        query.end("").unwrap();
    }

    #[test]
    fn what_is_malformed_unknown_or_twice_is_refused() {
        assert!(query("a=%f").is_err());
        assert!(query("a=1&a=1").is_err());
        assert!(query("other=1").unwrap().end("").is_err());
        for text in ["0", "1001", "-1", "+1", "", "1.0", "x", "99999999999"] {
            assert!(
                query(&format!("n={}", text.replace('+', "%2B"))).unwrap().number("n", 1000).is_err(),
                "{text}"
            );
        }
        for text in ["", "0", "AB", "0g", "abc"] {
            assert!(query(&format!("h={text}")).unwrap().hex("h").is_err(), "{text}");
        }
        for text in ["", "1", "True", "yes"] {
            assert!(query(&format!("f={text}")).unwrap().flag("f").is_err(), "{text}");
        }
    }

    #[test]
    fn defaults_hold_when_nothing_is_said() {
        let mut query = query("").unwrap();
        assert_eq!(query.number("n", 1000).unwrap(), 1000);
        assert!(!query.flag("f").unwrap());
        assert_eq!(query.hex("h").unwrap(), None);
        assert_eq!(time_limit(&HeaderMap::new()).unwrap(), Duration::from_millis(TIMEOUT_MS_DEFAULT));
    }

    #[test]
    fn a_time_limit_is_a_whole_number_in_bounds() {
        let with = |value: &str| time_limit(&HeaderMap::from_iter([(TIMEOUT, value.parse().unwrap())]));
        assert_eq!(with("1").unwrap(), Duration::from_millis(1));
        assert_eq!(with("60000").unwrap(), Duration::from_secs(60));
        for text in ["", "0", "60001", "-1", "+5", "1e3", "5 s", "18446744073709551617"] {
            assert!(with(text).is_err(), "{text}");
        }
    }
}
