//! The reference pages of the error codes, compiled in: the server serves them, the command line prints them.

use types::ErrorCode;

macro_rules! page {
    ($name:literal) => {
        include_str!(concat!("../../../docs/reference/errors/", $name, ".md"))
    };
}

/// The page of an error code, Markdown. `None` for a name that this version does not know.
pub fn explain(code: &str) -> Option<&'static str> {
    ErrorCode::from_name(code).map(page)
}

fn page(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NoQuorum => page!("NO_QUORUM"),
        ErrorCode::NotLeader => page!("NOT_LEADER"),
        ErrorCode::DeadlineExceeded => page!("DEADLINE_EXCEEDED"),
        ErrorCode::Overloaded => page!("OVERLOADED"),
        ErrorCode::Conflict => page!("CONFLICT"),
        ErrorCode::TooStale => page!("TOO_STALE"),
        ErrorCode::Compacted => page!("COMPACTED"),
        ErrorCode::Fenced => page!("FENCED"),
        ErrorCode::LeaseNotFound => page!("LEASE_NOT_FOUND"),
        ErrorCode::IdempotencyKeyReused => page!("IDEMPOTENCY_KEY_REUSED"),
        ErrorCode::QuotaExceeded => page!("QUOTA_EXCEEDED"),
        ErrorCode::KeyNotFound => page!("KEY_NOT_FOUND"),
        ErrorCode::KeyspaceNotFound => page!("KEYSPACE_NOT_FOUND"),
        ErrorCode::InvalidArgument => page!("INVALID_ARGUMENT"),
        ErrorCode::NoSpace => page!("NO_SPACE"),
        ErrorCode::UnsupportedVersion => page!("UNSUPPORTED_VERSION"),
        ErrorCode::Corrupt => page!("CORRUPT"),
        ErrorCode::Unavailable => page!("UNAVAILABLE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_that_answers_the_four_questions() {
        for code in ErrorCode::ALL {
            let page = explain(code.name()).unwrap_or_else(|| panic!("{code} has no page"));
            let title = format!("# {code}\n");
            for part in [&*title, "## Was it applied?", "## Is a retry safe?", "## What to do", "## Example"]
            {
                assert!(page.contains(part), "{code}: {part:?} is missing");
            }
        }
        assert_eq!(explain("NO_SUCH_CODE"), None);
        assert_eq!(explain("no_quorum"), None);
    }
}
