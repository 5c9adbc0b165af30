//! `quorate lock` and `quorate election`: running a command while a lock is held.
//!
//! The lock is held under a lease that is kept alive until the command ends. It counts as lost once a keep-alive is
//! told that there is no such lease, or once so much time has passed since the last keep-alive that succeeded was
//! *sent* as it was promised, less a margin for clocks that differ. That is known here only while this process
//! runs: what makes late writes harmless is the fence, which the command's writes carry.

use std::{ffi::OsString, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::Instant,
};
use types::LeaseId;

use crate::{
    args::{Campaign, Connection, ElectionCommand, Lock, Observe, Proclaim, Resign, Running, bytes_of},
    client::{Client, Repeat, api::encode},
    failure::{Exit, Failure},
    leases::{ask, granted, path, text},
    output::say,
};

/// Keep-alives are sent so many times in a lease's time to live.
const KEEP_ALIVES_PER_TTL: u32 = 3;
/// What may be promised is counted shorter by this part: monotonic clocks differ by far less.
const DRIFT_MARGIN: u32 = 50;
/// One wait for the lock, as long as a node lets a request wait; the place in the queue is kept in between.
const WAIT_MS: u64 = 55_000;
/// Exit code when the lock was lost, though the command says that it succeeded.
const LOST: u8 = 6;
/// Added to the number of the signal that ended the command, as shells do.
const SIGNALLED: i32 = 128;

/// Runs `quorate lock`. Ends the process with the command's exit code.
///
/// # Errors
/// If the lock is not had, or the command cannot be started.
pub async fn lock(args: Lock, json: bool) -> Result<(), Failure> {
    let held = Held { kind: "locks", name: bytes_of(&args.name), value: None };
    run(held, &args.running, &args.connection, json).await
}

/// Runs `quorate election`.
///
/// # Errors
/// If the cluster refuses, or does not answer.
pub async fn election(command: ElectionCommand, json: bool) -> Result<(), Failure> {
    match command {
        ElectionCommand::Campaign(Campaign { name, value, running, connection }) => {
            let held = Held { kind: "elections", name: bytes_of(&name), value: Some(value) };
            run(held, &running, &connection, json).await
        }
        ElectionCommand::Proclaim(args) => proclaim(&args, json).await,
        ElectionCommand::Leader(args) => leader(&args, json).await,
        ElectionCommand::Resign(args) => resign(&args, json).await,
    }
}

/// What is to be held.
struct Held {
    kind: &'static str,
    name: Vec<u8>,
    value: Option<String>,
}

impl Held {
    fn path(&self, keyspace: &str) -> String {
        format!("/v1/keyspaces/{}/{}/{}", encode(keyspace.as_bytes()), self.kind, encode(&self.name))
    }
}

async fn run(held: Held, running: &Running, connection: &Connection, json: bool) -> Result<(), Failure> {
    let client = connection.client()?;
    let body = json!({"ttl_ms": running.ttl_ms, "beside": String::from_utf8_lossy(&held.name)});
    let sent = Instant::now();
    let lease = granted(&client, &connection.keyspace, body).await?;
    let id: LeaseId = text(&lease["id"])
        .parse()
        .map_err(|_| Failure::error("the answer names no lease").next("use nodes of this version"))?;
    let (lost, watched) = watch::channel(false);
    let alive = Alive {
        client: client.clone(),
        path: path(&connection.keyspace, Some(id)),
        ttl: Duration::from_millis(running.ttl_ms),
        until: until(sent, running.ttl_ms),
    };
    let keeping = tokio::spawn(alive.keep(lost));
    let done = hold(&held, id, running, connection, watched, json).await;
    keeping.abort();
    // The lock goes with its lease; should this fail, when the lease ends.
    let revoked =
        ask(&client, Method::DELETE, path(&connection.keyspace, Some(id)), None, Repeat::Idempotent);
    if let Err(error) = revoked.await
        && error.code() != Some("LEASE_NOT_FOUND")
    {
        eprintln!("the lock was not released, and is held until its lease ends: {error}");
    }
    std::process::exit(done?);
}

/// Waits for the lock, and runs the command while it is held. Answers the exit code.
async fn hold(
    held: &Held,
    lease: LeaseId,
    running: &Running,
    connection: &Connection,
    mut lost: watch::Receiver<bool>,
    json: bool,
) -> Result<i32, Failure> {
    let acquired = tokio::select! {
        acquired = acquire(held, lease, running, connection) => acquired?,
        () = until_lost(&mut lost) => return Err(lost_while_waiting()),
    };
    if json {
        say!("{acquired}");
    }
    let (program, arguments) = running.command.split_first().expect("clap demands a command");
    let child = Command::new(program)
        .args(arguments)
        .env("QUORATE_LOCK", OsString::from(text(&acquired["name"])))
        .env("QUORATE_LEASE", lease.to_string())
        .env("QUORATE_FENCING_TOKEN", acquired["token"].to_string())
        .env("QUORATE_FENCE", text(&acquired["fence"]))
        .spawn();
    let child = child.map_err(|error| {
        Failure::error(format!("cannot run {}: {error}", program.to_string_lossy()))
            .next("name a command after `--`")
    })?;
    watch_command(child, running, lost).await
}

/// Asks again and again under one lease, until the lock is held or the time is up.
async fn acquire(
    held: &Held,
    lease: LeaseId,
    running: &Running,
    connection: &Connection,
) -> Result<Value, Failure> {
    let deadline = running.wait_ms.map(|wait_ms| Instant::now() + Duration::from_millis(wait_ms));
    let mut body = json!({"lease": lease, "keep_place": true});
    if let Some(value) = &held.value {
        body["value"] = json!(value);
    }
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Without time to wait, there is still some to ask.
        let wait = left.map_or(WAIT_MS, |left| (left.as_millis() as u64).min(WAIT_MS));
        let timeout = Duration::from_millis(wait).max(connection.timeout().min(Duration::from_secs(1)));
        let client = Client::new(connection.endpoints()?, timeout);
        let path = held.path(&connection.keyspace);
        // Under one lease, asking twice is as good as once.
        match ask(&client, Method::POST, path, Some(body.clone()), Repeat::OnceApplied).await {
            Ok(acquired) => return Ok(acquired),
            Err(error) if error.code() == Some("LEASE_NOT_FOUND") => return Err(lost_while_waiting()),
            Err(error) if error.is_temporary() => {
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    let mut failure = Failure::from(error);
                    failure.message = format!("the lock was not had in time: {}", failure.message);
                    return Err(failure);
                }
                tokio::time::sleep(Duration::from_millis(fastrand::u64(50..250))).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for the command's end, or brings it about once the lock is lost. Answers the exit code.
async fn watch_command(
    mut child: Child,
    running: &Running,
    mut lost: watch::Receiver<bool>,
) -> Result<i32, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    loop {
        tokio::select! {
            status = child.wait() => return Ok(code(status?)),
            // A terminal sends it to the command as well, which decides.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => send(&child, Signal::TERM),
            () = until_lost(&mut lost) => break,
        }
    }
    eprintln!("the lock is lost: its lease has ended, or may have; ending the command");
    send(&child, Signal::TERM);
    let grace = Duration::from_millis(running.grace_ms);
    let status = match tokio::time::timeout(grace, child.wait()).await {
        Ok(status) => status?,
        Err(_) => {
            send(&child, Signal::KILL);
            child.wait().await?
        }
    };
    Ok(match code(status) {
        0 => LOST.into(),
        code => code,
    })
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
        // It may have ended by itself; then there is nothing to do.
        let _ = kill_process(pid, signal);
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| SIGNALLED + status.signal().unwrap_or(0))
}

/// Completes once the lock is lost; never if nobody tells any more.
async fn until_lost(lost: &mut watch::Receiver<bool>) {
    if lost.wait_for(|lost| *lost).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A lease that is kept alive.
struct Alive {
    client: Client,
    path: String,
    ttl: Duration,
    /// It surely lives until then.
    until: Instant,
}

impl Alive {
    /// Sends keep-alives until the lease is lost; tells then.
    async fn keep(mut self, lost: watch::Sender<bool>) {
        let pause = self.ttl / KEEP_ALIVES_PER_TTL;
        loop {
            tokio::time::sleep_until((Instant::now() + pause).min(self.until)).await;
            if Instant::now() >= self.until {
                break;
            }
            let sent = Instant::now();
            let keepalive =
                ask(&self.client, Method::POST, format!("{}/keepalive", self.path), None, Repeat::Read);
            match tokio::time::timeout_at(self.until, keepalive).await {
                Ok(Ok(kept)) => {
                    self.until = self.until.max(until(sent, kept["remaining_ms"].as_u64().unwrap_or(0)));
                }
                Ok(Err(error)) if error.code() == Some("LEASE_NOT_FOUND") => break,
                // The next may succeed.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        // Nobody listens any more when the command has ended meanwhile.
        let _ = lost.send(true);
    }
}

/// Until when a lease surely lives that was promised so much when this was sent.
fn until(sent: Instant, remaining_ms: u64) -> Instant {
    let remaining = Duration::from_millis(remaining_ms);
    sent + (remaining - remaining / DRIFT_MARGIN)
}

fn lost_while_waiting() -> Failure {
    Failure::new(Exit::Unavailable, "the lease ended while the lock was waited for; the command did not run")
        .next("run it again, with a longer --ttl-ms if the cluster is slow")
}

fn election_path(keyspace: &str, name: &[u8]) -> String {
    Held { kind: "elections", name: name.to_owned(), value: None }.path(keyspace)
}

async fn proclaim(args: &Proclaim, json: bool) -> Result<(), Failure> {
    let path = election_path(&args.connection.keyspace, &bytes_of(&args.name));
    let body = json!({"lease": args.lease, "token": args.token, "value": args.value});
    let client = args.connection.client()?;
    let answer = ask(&client, Method::PUT, path, Some(body), Repeat::Idempotent).await?;
    if json {
        say!("{answer}");
    } else {
        say!("proclaimed at revision {}", answer["mod_revision"]);
    }
    Ok(())
}

async fn leader(args: &Observe, json: bool) -> Result<(), Failure> {
    let mut path = election_path(&args.connection.keyspace, &bytes_of(&args.name));
    if let (Some(token), Some(revision)) = (args.known_token, args.known_mod_revision) {
        path += &format!("?known_token={token}&known_mod_revision={revision}");
    }
    let answer = ask(&args.connection.client()?, Method::GET, path, None, Repeat::Read).await?;
    if json {
        say!("{answer}");
        return Ok(());
    }
    let holder = &answer["holder"];
    if holder.is_null() {
        say!("nobody leads");
        return Ok(());
    }
    let value = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text(&holder["value_base64"]));
    let value = crate::tree::keys::readable(&value.unwrap_or_default());
    say!(
        "{value}\ttoken {}, lease {}, {} waiting",
        holder["token"],
        text(&holder["lease"]),
        answer["waiters"]
    );
    Ok(())
}

async fn resign(args: &Resign, json: bool) -> Result<(), Failure> {
    let path = election_path(&args.connection.keyspace, &bytes_of(&args.name));
    let path = format!("{path}?lease={}", args.lease);
    let client = args.connection.client()?;
    let answer = ask(&client, Method::DELETE, path, None, Repeat::Idempotent).await?;
    if json {
        say!("{answer}");
    } else if answer["released"] == true {
        say!("resigned");
    } else {
        say!("was no candidate");
    }
    Ok(())
}
