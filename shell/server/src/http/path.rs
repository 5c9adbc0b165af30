//! Keys and keyspaces in paths: percent-encoded bytes. A `/` in a key may be written as it is.

use axum::http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::HttpProblem;

/// All but the unreserved characters of RFC 3986, section 2.3, and `/`, which keys often have.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A keyspace, and what follows it in the path, still encoded.
fn split(uri: &Uri) -> Option<(&str, &str)> {
    uri.path().strip_prefix("/v1/keyspaces/")?.split_once('/')
}

/// The keyspace of `/v1/keyspaces/{keyspace}`.
pub(super) fn keyspace_alone(uri: &Uri) -> Result<String, HttpProblem> {
    let name = uri.path().strip_prefix("/v1/keyspaces/").ok_or_else(not_a_key)?;
    name_of(name)
}

/// The keyspace of a path under `/v1/keyspaces/`.
pub(super) fn keyspace(uri: &Uri) -> Result<String, HttpProblem> {
    let (keyspace, _) = split(uri).ok_or_else(not_a_key)?;
    name_of(keyspace)
}

fn name_of(encoded: &str) -> Result<String, HttpProblem> {
    let bytes = decode(encoded)?;
    String::from_utf8(bytes).map_err(|_| {
        HttpProblem::invalid("the keyspace's name is not UTF-8", "names are letters, digits, '-' and '_'")
    })
}

/// Keyspace and key of a path. The key may be empty: the keyspace refuses that.
pub(super) fn key(uri: &Uri) -> Result<(String, Vec<u8>), HttpProblem> {
    let (_, rest) = split(uri).ok_or_else(not_a_key)?;
    let key = rest.strip_prefix("keys/").ok_or_else(not_a_key)?;
    Ok((keyspace(uri)?, decode(key)?))
}

/// What follows the keyspace and this in a path, still encoded.
pub(super) fn rest<'a>(uri: &'a Uri, kind: &str) -> Option<&'a str> {
    split(uri)?.1.strip_prefix(kind)
}

/// Keyspace and name of a lock, or of an election.
pub(super) fn lock(uri: &Uri) -> Result<(String, Vec<u8>), HttpProblem> {
    let name = rest(uri, "locks/").or_else(|| rest(uri, "elections/")).ok_or_else(not_a_key)?;
    Ok((keyspace(uri)?, decode(name)?))
}

/// As [`key`], of a typed value.
pub(super) fn value_key(uri: &Uri) -> Result<(String, Vec<u8>), HttpProblem> {
    let key = rest(uri, "values/").ok_or_else(not_a_key)?;
    Ok((keyspace(uri)?, decode(key)?))
}

fn not_a_key() -> HttpProblem {
    HttpProblem::invalid("the path names no key", "keys are at /v1/keyspaces/{keyspace}/keys/{key}")
}

/// A key as it can be pasted into a path. Clients resolve the segments `.` and `..` away, also when
/// their dots are encoded (WHATWG URL, section 4.4): a key with such a segment has its slashes encoded. A key that
/// is nothing else than `.` or `..` has no form that every client leaves alone.
pub(super) fn encode(key: &[u8]) -> String {
    let text = percent_encode(key, ENCODED).to_string();
    match text.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ if text.split('/').any(|segment| segment == "." || segment == "..") => text.replace('/', "%2F"),
        _ => text,
    }
}

/// The bytes of percent-encoded text.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, HttpProblem> {
    let digits = |bytes: &[u8]| bytes.len() == 2 && bytes.iter().all(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    let escapes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    for (at, _) in escapes {
        let escape = &bytes[at + 1..bytes.len().min(at + 3)];
        if !digits(escape) {
            return Err(HttpProblem::invalid(
                format!("byte {at} of {text:?} begins an escape that is not % and two hexadecimal digits"),
                "write a % that belongs to the key as %25",
            ));
        }
    }
    Ok(percent_decode_str(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive_encoding_and_decoding() {
        let all: Vec<u8> = (0..=255).collect();
        for key in [&all[..], b"a/b", b"/", b"//", b".", "ü".as_bytes(), b"..", b"a/../b", b"%41", b"?#&+ "]
        {
            let text = encode(key);
            assert_eq!(decode(&text).unwrap(), key, "{text}");
            let uri: Uri = format!("/v1/keyspaces/default/keys/{text}").parse().unwrap();
            let (keyspace, found) = super::key(&uri).unwrap();
            assert_eq!((keyspace.as_str(), &found[..]), ("default", key));
        }
        assert_eq!(encode(b"a/../b"), "a%2F..%2Fb");
        assert_eq!(decode("a%2Fb").unwrap(), b"a/b");
    }

    #[test]
    fn escapes_that_are_none_are_refused() {
        for text in ["%", "a%", "%4", "%g0", "%0g", "%%41", "100%"] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_not_text_is_refused() {
        for path in ["/v1/keyspaces/%ff/keys/a", "/v1/keyspaces/a", "/other"] {
            assert!(super::key(&path.parse().unwrap()).is_err(), "{path}");
        }
    }
}
