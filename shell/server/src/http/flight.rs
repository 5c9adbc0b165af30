//! The bytes that requests have on their way between this node and the leader.
//!
//! What does not fit the queue to a peer is dropped, and its client would wait for its deadline without need.
//! So large requests wait here, in order, until those before them are answered.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use types::{ErrorCode, Problem};

/// Well below [`crate::peer::QUEUE_BYTES_MAX`]; and all nodes of a small cluster together stay below
/// what a group takes in by default, [`types::Limits::unapplied_bytes_max`].
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Room for requests under way. Fair: who waits longest is next.
#[derive(Debug)]
pub(super) struct Flight(Semaphore);

impl Flight {
    /// Nothing is under way.
    pub(super) fn new() -> Flight {
        Flight(Semaphore::new(BYTES_MAX))
    }

    /// Waits for room for `bytes`, the most that this request or its answer has, for at most half of its time.
    pub(super) async fn enter(
        &self,
        bytes: usize,
        time_limit: Duration,
    ) -> Result<SemaphorePermit<'_>, Problem> {
        let bytes = u32::try_from(bytes.min(BYTES_MAX)).unwrap_or(u32::MAX);
        match timeout(time_limit / 2, self.0.acquire_many(bytes)).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) | Err(_) => Err(Problem::not_applied(
                ErrorCode::Overloaded,
                "large requests that this node takes no more of before others are answered wait for their turn",
                "wait a moment, then send it again; send less at once if it persists",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_waits_and_is_refused_before_the_deadline() {
        let flight = Flight::new();
        let limit = Duration::from_millis(20);
        let all = flight.enter(usize::MAX, limit).await.unwrap();
        let refused = flight.enter(1, limit).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Overloaded);
        let long = Duration::from_secs(60);
        let (entered, ()) = tokio::join!(flight.enter(1, long), async { drop(all) });
        drop(entered.expect("there is room again"));
    }
}
