//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header-07, section 2.1): a string of
//! RFC 8941 in quotes, or, as most clients send it, a bare word. The two spellings of one key are one key.
//! One that is not understood is refused: ignoring it could apply a write twice.

use axum::http::{HeaderMap, HeaderName};
use keyspace::IdempotencyKey;
use types::limits::IDEMPOTENCY_KEY_BYTES_MAX;

use super::HttpProblem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The key that the request names, if it names one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, HttpProblem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let bytes = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => parse(value.as_bytes().trim_ascii()),
        (Some(_), Some(_)) => None,
    };
    let bytes = bytes.ok_or_else(malformed)?;
    Ok(Some(IdempotencyKey::new(bytes).map_err(HttpProblem::from)?))
}

/// Refuses a key at a request that takes none, rather than let it be believed to be kept.
pub(super) fn none(headers: &HeaderMap, why: &str, next_step: &str) -> Result<(), HttpProblem> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(HttpProblem::invalid(format!("the request takes no Idempotency-Key: {why}"), next_step));
    }
    Ok(())
}

fn parse(text: &[u8]) -> Option<Vec<u8>> {
    match text {
        [b'"', quoted @ ..] => string(quoted),
        bare if bare.iter().all(|byte| is_bare(*byte)) => Some(bare.to_vec()),
        _ => None,
    }
}

/// What is behind the opening quote of a string (RFC 8941, section 3.3.3), up to the closing one,
/// which must be the last byte.
fn string(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = quoted.iter();
    loop {
        match rest.next()? {
            b'"' => return rest.as_slice().is_empty().then_some(bytes),
            b'\\' => bytes.push(*rest.next().filter(|byte| b"\"\\".contains(byte))?),
            byte @ b' '..=b'~' => bytes.push(*byte),
            _ => return None,
        }
    }
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=:".contains(&byte)
}

fn malformed() -> HttpProblem {
    HttpProblem::invalid(
        format!(
            "the header {IDEMPOTENCY_KEY} must be sent once: 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes of printable ASCII \
             in quotes, or a word of letters, digits and -._~+/=: without them"
        ),
        "correct the header, then send it again",
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn parsed(values: &[&[u8]]) -> Result<Option<Vec<u8>>, HttpProblem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        Ok(key(&headers)?.map(|key| key.as_bytes().to_vec()))
    }

    #[test]
    fn strings_and_words_are_keys() {
        assert_eq!(parsed(&[]).unwrap(), None);
        let long = [b'x'; IDEMPOTENCY_KEY_BYTES_MAX];
        let cases: [(&[u8], &[u8]); 6] = [
            (b"8e03978e-40d5-43e8", b"8e03978e-40d5-43e8"),
            (b"\"8e03978e-40d5-43e8\"", b"8e03978e-40d5-43e8"),
            (b"  \"a b\"  ", b"a b"),
            (b"\"say \\\"a\\\\b\\\"\"", b"say \"a\\b\""),
            (b"dGVzdA+/==", b"dGVzdA+/=="),
            (&long, &long),
        ];
        for (header, key) in cases {
            assert_eq!(parsed(&[header]).unwrap().as_deref(), Some(key), "{header:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let long = [b'x'; IDEMPOTENCY_KEY_BYTES_MAX + 1];
        let cases: [&[u8]; 13] = [
            b"",
            b"\"\"",
            b"\"",
            b"\"a",
            b"a\"",
            b"\"a\"b",
            b"\"a\";p=1",
            b"\"\\a\"",
            b"a b",
            b"a,b",
            b"\"\xc3\xbc\"",
            b"\"a\tb\"",
            &long,
        ];
        for header in cases {
            assert!(parsed(&[header]).is_err(), "{}", header.escape_ascii());
        }
        assert!(parsed(&[b"a", b"a"]).is_err(), "sent twice");
    }
}
