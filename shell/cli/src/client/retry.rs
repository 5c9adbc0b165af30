//! When a request may be sent again. Pure decisions, tested as a table.
//!
//! Guarantee: [`decide`] never repeats a change whose earlier attempt may have been applied, unless
//! the caller declared the change idempotent.

use std::time::Duration;

use types::{Applied, ErrorCode};

use super::answer::AttemptError;

/// First pause, in milliseconds, doubled every round.
const BACKOFF_MS_FIRST: u64 = 20;
/// Longest pause, in milliseconds.
const BACKOFF_MS_MAX: u64 = 1_000;

/// What the caller allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Changes nothing: may always be sent again.
    Read,
    /// A change: may be sent again only if it surely was not applied.
    OnceApplied,
    /// A change that the caller vouches for: its only writer sends it, and twice is as good as once.
    Idempotent,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Report the failure.
    GiveUp,
    /// Send it again, to the next endpoint.
    Again,
}

/// Whether to send again after `error`.
pub fn decide(repeat: Repeat, error: &AttemptError) -> Next {
    let harmless = match repeat {
        Repeat::Read | Repeat::Idempotent => true,
        Repeat::OnceApplied => !error.may_have_applied(),
    };
    if harmless && is_temporary(error) { Next::Again } else { Next::GiveUp }
}

/// Whether the failure may go away by itself: nodes restart, leaders are elected, queues drain.
pub fn is_temporary(error: &AttemptError) -> bool {
    match error {
        AttemptError::Unreachable { .. } | AttemptError::Lost { .. } | AttemptError::TimedOut => true,
        AttemptError::Problem(problem) if problem.applied == Applied::Applied => false,
        AttemptError::Problem(problem) => matches!(
            ErrorCode::from_name(&problem.code),
            Some(
                ErrorCode::NoQuorum
                    | ErrorCode::TooStale
                    | ErrorCode::NotLeader
                    | ErrorCode::DeadlineExceeded
                    | ErrorCode::Overloaded
                    | ErrorCode::Unavailable
            )
        ),
        AttemptError::Foreign { .. } | AttemptError::Unsendable { .. } => false,
    }
}

/// Whether `now` should replace `before` in what the person is told. What a node says of itself tells
/// more than silence; for changes, an attempt whose outcome is unknown always tells more.
pub fn tells_more(repeat: Repeat, before: &AttemptError, now: &AttemptError) -> bool {
    if repeat != Repeat::Read && now.may_have_applied() != before.may_have_applied() {
        return now.may_have_applied();
    }
    matches!(now, AttemptError::Problem(_)) || !matches!(before, AttemptError::Problem(_))
}

/// How long to wait before round `round` (from 0): anywhere between nothing and a limit that doubles
/// ("full jitter"). `random` is uniform in `0.0..1.0`.
pub fn backoff(round: u32, random: f64) -> Duration {
    let limit_ms = BACKOFF_MS_FIRST.saturating_mul(1 << round.min(16)).min(BACKOFF_MS_MAX);
    Duration::from_secs_f64(limit_ms as f64 * random.clamp(0.0, 1.0) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::{super::answer::RemoteProblem, *};

    fn problem(code: &str, applied: Applied) -> AttemptError {
        let (detail, next_step) = (String::new(), String::new());
        AttemptError::Problem(RemoteProblem { code: code.to_owned(), applied, detail, next_step })
    }

    fn refused() -> AttemptError {
        AttemptError::Unreachable { reason: "refused".to_owned() }
    }

    fn lost() -> AttemptError {
        AttemptError::Lost { reason: "reset".to_owned() }
    }

    #[test]
    fn the_table() {
        use Applied::{NotApplied, Unknown};
        // Failure, then whether a read, a change and an idempotent change go again.
        let table = [
            (refused(), [true, true, true]),
            (lost(), [true, false, true]),
            (AttemptError::TimedOut, [true, false, true]),
            (problem("NO_QUORUM", NotApplied), [true, true, true]),
            (problem("NO_QUORUM", Unknown), [true, false, true]),
            (problem("NOT_LEADER", NotApplied), [true, true, true]),
            (problem("OVERLOADED", NotApplied), [true, true, true]),
            (problem("UNAVAILABLE", NotApplied), [true, true, true]),
            (problem("DEADLINE_EXCEEDED", Unknown), [true, false, true]),
            (problem("DEADLINE_EXCEEDED", Applied::Applied), [false, false, false]),
            (problem("CONFLICT", NotApplied), [false, false, false]),
            (problem("KEY_NOT_FOUND", NotApplied), [false, false, false]),
            (problem("INVALID_ARGUMENT", NotApplied), [false, false, false]),
            (problem("NO_SPACE", NotApplied), [false, false, false]),
            (problem("CORRUPT", NotApplied), [false, false, false]),
            (problem("OF_A_NEWER_VERSION", NotApplied), [false, false, false]),
            (AttemptError::Foreign { status: 404 }, [false, false, false]),
            (AttemptError::Unsendable { reason: String::new() }, [false, false, false]),
        ];
        for (error, again) in table {
            for (repeat, again) in
                [Repeat::Read, Repeat::OnceApplied, Repeat::Idempotent].into_iter().zip(again)
            {
                assert_eq!(decide(repeat, &error) == Next::Again, again, "{repeat:?} after {error:?}");
            }
        }
    }

    #[test]
    fn an_unknown_outcome_is_never_hidden_by_a_later_refusal() {
        let unknown = problem("DEADLINE_EXCEEDED", Applied::Unknown);
        let refusal = problem("NO_QUORUM", Applied::NotApplied);
        assert!(!tells_more(Repeat::Idempotent, &unknown, &refusal));
        assert!(tells_more(Repeat::Idempotent, &refusal, &unknown));
        assert!(!tells_more(Repeat::Read, &refusal, &AttemptError::TimedOut));
        assert!(!tells_more(Repeat::OnceApplied, &refusal, &refused()));
        assert!(tells_more(Repeat::Read, &refused(), &lost()));
    }

    #[test]
    fn pauses_grow_to_a_limit_and_may_be_nothing() {
        assert_eq!(backoff(0, 1.0), Duration::from_millis(20));
        assert_eq!(backoff(3, 0.5), Duration::from_millis(80));
        assert_eq!(backoff(40, 1.0), Duration::from_millis(1_000));
        assert_eq!(backoff(40, 0.0), Duration::ZERO);
    }
}
