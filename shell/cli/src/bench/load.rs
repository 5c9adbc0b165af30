//! Load, and how it is measured: closed loop for throughput, fixed rate for latency.
//!
//! At a fixed rate, request `i` is due `i / rate` after the start whether or not earlier ones have
//! been answered, and its latency counts from then. A client that is still busy sends late, and the
//! lateness is in the measurement: no coordinated omission (Tene).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::client::{CallError, Condition, Keyspace, Repeat};

/// Longest latency that is told apart, in microseconds.
const LATENCY_US_MAX: u64 = 600_000_000;
/// Significant decimal digits of a latency.
const DIGITS: u8 = 3;
/// A fixed-rate run that falls behind its schedule is cut off after this many times its length.
const OVERTIME_MAX: u32 = 2;
/// Requests at the same time while filling and cleaning.
const EACH_MAX: usize = 32;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A put that is durable on a majority.
    Write,
    /// A linearizable get.
    Read,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What.
    pub operation: Operation,
    /// At most so many requests at once.
    pub clients: u32,
    /// For how long requests are started.
    pub seconds: Duration,
    /// Requests per second; `None` for closed loop.
    pub rate: Option<f64>,
}

/// What a measurement found.
#[derive(Debug)]
pub struct Measured {
    /// Latencies in microseconds of what was answered.
    pub latency_us: Histogram<u64>,
    /// Requests that failed.
    pub errors: u64,
    /// The first failure.
    pub first_error: Option<CallError>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Measured {
    fn new() -> Measured {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS).expect("valid bounds");
        Measured { latency_us, errors: 0, first_error: None, elapsed: Duration::ZERO }
    }

    /// Requests answered.
    pub fn done(&self) -> u64 {
        self.latency_us.len()
    }

    /// Requests answered per second.
    pub fn per_second(&self) -> f64 {
        self.done() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn record(&mut self, from: Instant, result: Result<(), CallError>) {
        match result {
            Ok(()) => {
                let us = u64::try_from(from.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.latency_us.saturating_record(us.max(1));
            }
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }

    fn add(&mut self, other: Measured) {
        self.latency_us.add(&other.latency_us).expect("equal bounds");
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// What requests are made of. Cheap to clone.
#[derive(Clone)]
pub struct Load {
    keyspaces: Arc<[Keyspace]>,
    keys: Arc<[Vec<u8>]>,
    value: Bytes,
}

impl Load {
    /// Requests to these keyspaces in turn, on `keys` different keys.
    pub fn new(keyspaces: Vec<Keyspace>, prefix: &str, keys: u32, value: Bytes) -> Load {
        let keys = (0..keys).map(|number| format!("{prefix}{number:07}").into_bytes()).collect();
        Load { keyspaces: keyspaces.into(), keys, value }
    }

    /// Writes every key once, so that every read finds one.
    ///
    /// # Errors
    /// The first failure.
    pub async fn fill(&self) -> Result<(), CallError> {
        each(0..self.keys.len(), |at| {
            let load = self.clone();
            async move { load.request(Operation::Write, at, at).await }
        })
        .await
    }

    /// Measures.
    pub async fn run(&self, run: Run) -> Measured {
        let start = Instant::now();
        let tickets = run.rate.map(|rate| tickets(start, rate, run.seconds));
        let mut workers = JoinSet::new();
        let next = Arc::new(AtomicU64::new(0));
        for client in 0..run.clients as usize {
            let (load, next) = (self.clone(), Arc::clone(&next));
            match (run.rate, &tickets) {
                (Some(rate), Some(tickets)) => {
                    let schedule = Schedule { start, rate, tickets: Arc::clone(tickets), next };
                    workers.spawn(load.open_loop(run.operation, client, schedule));
                }
                _ => {
                    workers.spawn(load.closed_loop(run.operation, client, start + run.seconds));
                }
            }
        }
        let mut measured = Measured::new();
        while let Some(part) = workers.join_next().await {
            measured.add(part.expect("a client does not panic"));
        }
        measured.elapsed = start.elapsed();
        measured
    }

    async fn closed_loop(self, operation: Operation, client: usize, until: Instant) -> Measured {
        let mut measured = Measured::new();
        while Instant::now() < until {
            let from = Instant::now();
            let result = self.request(operation, client, fastrand::usize(..self.keys.len())).await;
            measured.record(from, result);
        }
        measured
    }

    async fn open_loop(self, operation: Operation, client: usize, schedule: Schedule) -> Measured {
        let mut measured = Measured::new();
        // Closed when all requests of the run have been handed out.
        while let Ok(ticket) = schedule.tickets.acquire().await {
            ticket.forget();
            let number = schedule.next.fetch_add(1, Ordering::Relaxed);
            let result = self.request(operation, client, fastrand::usize(..self.keys.len())).await;
            measured.record(due(schedule.start, number, schedule.rate), result);
        }
        measured
    }

    async fn request(&self, operation: Operation, client: usize, key: usize) -> Result<(), CallError> {
        let keyspace = &self.keyspaces[client % self.keyspaces.len()];
        let key = &self.keys[key];
        match operation {
            Operation::Write => {
                keyspace.put(key, self.value.clone(), Condition::Always, Repeat::OnceApplied).await.map(drop)
            }
            Operation::Read => keyspace.get(key).await.map(drop),
        }
    }
}

/// When requests of a fixed-rate run are due.
struct Schedule {
    start: Instant,
    rate: f64,
    /// One permit per request that is due and not yet taken.
    tickets: Arc<Semaphore>,
    next: Arc<AtomicU64>,
}

fn due(start: Instant, number: u64, rate: f64) -> Instant {
    start + Duration::from_secs_f64(number as f64 / rate)
}

/// Hands out tickets when they are due, from a thread of its own: the runtime's timer is too coarse.
fn tickets(start: Instant, rate: f64, seconds: Duration) -> Arc<Semaphore> {
    let tickets = Arc::new(Semaphore::new(0));
    let hand_out = Arc::clone(&tickets);
    let count = (rate * seconds.as_secs_f64()).round().max(1.0) as u64;
    thread::spawn(move || {
        for number in 0..count {
            if let Some(early) = due(start, number, rate).checked_duration_since(Instant::now()) {
                thread::sleep(early);
            }
            hand_out.add_permits(1);
        }
        // What is left is still taken, for a while, before clients see that it is closed.
        while hand_out.available_permits() > 0 && start.elapsed() < seconds * OVERTIME_MAX {
            thread::sleep(Duration::from_millis(1));
        }
        hand_out.close();
    });
    tickets
}

/// Does something with every item, some at the same time.
///
/// # Errors
/// The first failure; the rest is not begun.
pub async fn each<T, F>(items: impl Iterator<Item = T>, act: impl Fn(T) -> F) -> Result<(), CallError>
where
    F: Future<Output = Result<(), CallError>> + Send + 'static,
{
    let mut acting = JoinSet::new();
    for item in items {
        if acting.len() >= EACH_MAX
            && let Some(result) = acting.join_next().await
        {
            result.expect("a request does not panic")?;
        }
        acting.spawn(act(item));
    }
    while let Some(result) = acting.join_next().await {
        result.expect("a request does not panic")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_the_rate_whatever_happens() {
        let start = Instant::now();
        assert_eq!(due(start, 0, 1_000.0), start);
        assert_eq!(due(start, 500, 1_000.0), start + Duration::from_millis(500));
    }

    #[test]
    fn measurements_add_up() {
        let (mut a, mut b) = (Measured::new(), Measured::new());
        a.record(Instant::now(), Ok(()));
        b.record(Instant::now() - Duration::from_secs(2), Ok(()));
        a.add(b);
        assert_eq!(a.done(), 2);
        assert!(a.latency_us.max() >= 1_990_000);
    }
}
