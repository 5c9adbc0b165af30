//! The `Quorate-Fence` header: the lock and the token under which a write is sent, `NAME:TOKEN`, the name
//! percent-encoded as in paths. One that is not understood is refused: ignoring it could let a late write in.

use axum::http::{HeaderMap, HeaderName};
use keyspace::Fence;
use types::limits::LOCK_NAME_BYTES_MAX;

use super::{HttpProblem, path};

const FENCE: HeaderName = HeaderName::from_static("quorate-fence");

/// The fence of a write, if it has one.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<Fence>, HttpProblem> {
    let mut values = headers.get_all(FENCE).iter();
    let fence = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().ok().and_then(|text| parse(text.trim())),
        (Some(_), Some(_)) => None,
    };
    fence.map(Some).ok_or_else(|| {
        HttpProblem::invalid(
            format!(
                "the header {FENCE} must be sent once: a lock's name of 1 to {LOCK_NAME_BYTES_MAX} bytes, \
                 percent-encoded, a colon and a token"
            ),
            "send the `fence` that acquiring the lock answered, unchanged",
        )
    })
}

fn parse(text: &str) -> Option<Fence> {
    let (name, token) = text.rsplit_once(':')?;
    let name = path::decode(name).ok()?;
    Fence::parse(&[&name[..], b":", token.as_bytes()].concat()).ok()
}

/// A lock and its holder's token, as the header takes it.
pub(super) fn text(name: &[u8], token: u64) -> String {
    format!("{}:{token}", path::encode(name))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn parsed(values: &[&str]) -> Result<Option<Fence>, HttpProblem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FENCE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        of(&headers)
    }

    #[test]
    fn what_is_answered_is_understood() {
        assert_eq!(parsed(&[]).unwrap(), None);
        for name in [&b"job"[..], b"a/b", b"{order-17}/lock", b"x:1", b"\xff\x00 %", "ü".as_bytes(), b".."] {
            let fence = Fence { name: name.to_vec(), token: 17 };
            assert_eq!(parsed(&[&text(name, 17)]).unwrap(), Some(fence), "{}", name.escape_ascii());
        }
        let plain = Fence { name: b"{a}:b".to_vec(), token: 1 };
        assert_eq!(parsed(&[" {a}:b:1 "]).unwrap(), Some(plain));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["", ":", "a", "a:", ":1", "a:0", "a:01", "a:-1", "a:1 2", "a%:1", "ü:x"] {
            assert!(parsed(&[text]).is_err(), "{text}");
        }
        assert!(parsed(&["a:1", "a:1"]).is_err(), "sent twice");
    }
}
