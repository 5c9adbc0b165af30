//! `If-Match` and `If-None-Match` (RFC 9110, section 13) as what a write demands, and as what a reader has.
//! A key's entity tag is its modification revision in quotes. A condition that is not understood is
//! refused: ignoring it could overwrite what the client meant to keep.

use axum::http::{HeaderMap, HeaderName, header};
use keyspace::Expect;
use types::{ErrorCode, Problem};

use super::HttpProblem;

/// What a PUT demands.
pub(super) fn of_put(headers: &HeaderMap) -> Result<Expect, HttpProblem> {
    match (single(headers, &header::IF_MATCH)?, single(headers, &header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Expect::Anything),
        (Some(text), None) => matching(text),
        (None, Some("*")) => Ok(Expect::Absent),
        (Some(text), Some("*")) => matching(text).and(Err(contradiction())),
        (_, Some(_)) => {
            Err(malformed(&header::IF_NONE_MATCH, "`*`, which creates the key only if it does not exist"))
        }
    }
}

/// What a DELETE demands.
pub(super) fn of_delete(headers: &HeaderMap) -> Result<Expect, HttpProblem> {
    refuse(headers, &header::IF_NONE_MATCH, "DELETE")?;
    single(headers, &header::IF_MATCH)?.map_or(Ok(Expect::Anything), matching)
}

/// What a change of a contract demands: nothing, or that it exists, perhaps in this version.
pub(super) fn of_contract(headers: &HeaderMap) -> Result<Option<Option<u64>>, HttpProblem> {
    if headers.contains_key(&header::IF_NONE_MATCH) {
        let message =
            "If-None-Match has no meaning for a contract: a keyspace is created if it does not exist";
        return Err(HttpProblem::invalid(message, "leave the header out"));
    }
    let Some(text) = single(headers, &header::IF_MATCH)? else { return Ok(None) };
    match (text, revision(text)) {
        ("*", _) => Ok(Some(None)),
        (_, Some(version)) => Ok(Some(Some(version))),
        _ => Err(malformed(&header::IF_MATCH, "`*`, or the contract's version in quotes, as in \"2\"")),
    }
}

/// Which revisions a reader has already.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// None that it told of.
    Nothing,
    /// Any will do.
    Any,
    /// These.
    Revisions(Vec<u64>),
}

impl Known {
    /// Whether the reader has this one.
    pub(super) fn has(&self, revision: u64) -> bool {
        match self {
            Known::Nothing => false,
            Known::Any => true,
            Known::Revisions(revisions) => revisions.contains(&revision),
        }
    }
}

/// What a GET says its client has: `*`, or entity tags, weak or strong.
pub(super) fn of_get(headers: &HeaderMap) -> Result<Known, HttpProblem> {
    refuse(headers, &header::IF_MATCH, "GET")?;
    let Some(text) = single(headers, &header::IF_NONE_MATCH)? else { return Ok(Known::Nothing) };
    if text == "*" {
        return Ok(Known::Any);
    }
    let tags = text.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
    let revisions: Option<Vec<u64>> = tags.map(revision).collect();
    let wanted = "`*`, or revisions in quotes, as in \"7\"";
    revisions.map(Known::Revisions).ok_or_else(|| malformed(&header::IF_NONE_MATCH, wanted))
}

fn matching(text: &str) -> Result<Expect, HttpProblem> {
    match (text, revision(text)) {
        ("*", _) => Ok(Expect::Present),
        (_, Some(revision)) => Ok(Expect::Revision(revision)),
        _ => Err(malformed(&header::IF_MATCH, "`*`, or one revision in quotes, as in \"7\"")),
    }
}

/// A revision in quotes; no key has revision 0.
fn revision(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if canonical { digits.parse().ok() } else { None }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, HttpProblem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(|text| Some(text.trim())).map_err(|_| malformed(name, "text"))
        }
        (Some(_), Some(_)) => Err(malformed(name, "sent once")),
    }
}

fn refuse(headers: &HeaderMap, name: &HeaderName, method: &str) -> Result<(), HttpProblem> {
    if headers.contains_key(name) {
        let message = format!("{name} has no meaning with {method} here");
        return Err(HttpProblem::invalid(message, "leave the header out"));
    }
    Ok(())
}

/// No key both exists and does not: the answer is known without asking.
fn contradiction() -> HttpProblem {
    Problem::not_applied(
        ErrorCode::Conflict,
        "If-Match wants the key to exist, and If-None-Match wants it not to: never both hold",
        "send the one that you mean",
    )
    .into()
}

fn malformed(name: &HeaderName, wanted: &str) -> HttpProblem {
    HttpProblem::invalid(
        format!("the header {name} must be {wanted}"),
        "correct the header, then send it again",
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn writes_demand_what_their_headers_say() {
        let cases = [
            (vec![], Expect::Anything),
            (vec![("if-match", "*")], Expect::Present),
            (vec![("if-match", "\"7\"")], Expect::Revision(7)),
            (vec![("if-match", "\"18446744073709551615\"")], Expect::Revision(u64::MAX)),
            (vec![("if-none-match", "*")], Expect::Absent),
        ];
        for (pairs, expect) in cases {
            assert_eq!(of_put(&headers(&pairs)).unwrap(), expect, "{pairs:?}");
        }
    }

    #[test]
    fn conditions_that_are_not_understood_are_refused() {
        let tags =
            ["", "7", "\"\"", "\"0\"", "\"07\"", "\"+7\"", "\"7", "\"a\"", "\"1\", \"2\"", "W/\"7\"", "ü"];
        for tag in tags.into_iter().chain(["\"18446744073709551616\""]) {
            assert!(of_put(&headers(&[("if-match", tag)])).is_err(), "{tag}");
            assert!(of_delete(&headers(&[("if-match", tag)])).is_err(), "{tag}");
        }
        assert!(of_put(&headers(&[("if-match", "*"), ("if-match", "*")])).is_err());
        assert!(of_put(&headers(&[("if-match", "*"), ("if-none-match", "*")])).is_err());
        assert!(of_put(&headers(&[("if-none-match", "\"7\"")])).is_err());
        assert!(of_delete(&headers(&[("if-none-match", "*")])).is_err());
        assert!(of_get(&headers(&[("if-match", "\"7\"")])).is_err());
        assert!(of_get(&headers(&[("if-none-match", "7")])).is_err());
    }

    #[test]
    fn readers_tell_what_they_have() {
        assert_eq!(of_get(&HeaderMap::new()).unwrap(), Known::Nothing);
        let known = |text| of_get(&headers(&[("if-none-match", text)])).unwrap();
        assert!(known("*").has(5));
        assert!(known("\"5\"").has(5) && !known("\"5\"").has(6));
        assert!(known("\"5\", W/\"6\"").has(6));
    }
}
