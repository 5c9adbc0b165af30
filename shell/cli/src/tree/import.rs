//! `quorate import`: a directory tree into keys and values.
//!
//! Guarantee: when it ends with exit code 0, every regular file, link and empty directory of the tree
//! was acknowledged by the cluster. Its writes are those of a single writer and may be repeated, so
//! lost connections and unknown outcomes are retried until acknowledged; it survives leader failures.
//! Not promised: a file that changes while it is read is stored as it was read.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::fs::OFlags;
use serde_json::json;
use tokio::{task, task::JoinSet};
use types::limits::{KEY_BYTES_MAX, RANGE_ITEMS_MAX, VALUE_BYTES_MAX};
use xxhash_rust::xxh3::Xxh3;

use super::{
    assemble::SplitNote,
    keys::{self, PARTS_MAX, Piece},
    progress::Progress,
    stale::{self, MODE_DEFAULT, Verdict},
    walk::{Kind, Refused, Tree, walk},
};
use crate::{
    args::Import,
    client::{CallError, Condition, Keyspace, Repeat, api::PageRequest, retry},
    failure::Failure,
    output::say,
};

/// Most refused paths that are printed one by one.
pub(super) const REFUSED_SHOWN_MAX: usize = 20;

/// What the workers share.
struct Job {
    keyspace: Keyspace,
    root: PathBuf,
    prefix: Vec<u8>,
    paths: Vec<(Vec<u8>, Kind)>,
    next: AtomicUsize,
    /// Parts of older, split files: removed unless written anew.
    older_parts: BTreeMap<Vec<u8>, Vec<Piece>>,
    retry_for: Duration,
    last_acknowledged: Mutex<Instant>,
    retries: AtomicU64,
    progress: Progress,
    files: AtomicU64,
    links: AtomicU64,
    empty_directories: AtomicU64,
    refused: Mutex<Vec<Refused>>,
}

/// Why one path was not imported.
enum PathError {
    /// This path alone.
    Refused(String),
    /// Nothing more can be imported.
    Fatal(Box<CallError>),
}

impl From<io::Error> for PathError {
    fn from(error: io::Error) -> PathError {
        PathError::Refused(error.to_string())
    }
}

impl From<CallError> for PathError {
    fn from(error: CallError) -> PathError {
        match error.code() {
            Some("INVALID_ARGUMENT") => PathError::Refused(error.to_string()),
            _ => PathError::Fatal(Box::new(error)),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// If the tree cannot be read, the cluster makes no progress for the retry time, or paths were refused.
pub async fn run(args: Import, json: bool) -> Result<(), Failure> {
    let started = Instant::now();
    let root = args.dir.clone();
    let walked = task::spawn_blocking(move || walk(&root)).await.expect("the walk does not panic");
    let Tree { entries, refused } = walked.map_err(|error| {
        Failure::error(format!("cannot read {}: {error}", args.dir.display()))
            .next("name a directory you can read")
    })?;
    let progress = Progress::new(
        "import",
        Some(entries.values().filter(|kind| **kind != Kind::Dir).count() as u64),
        json,
    );
    let mut job = Job {
        keyspace: args.connection.keyspace()?,
        root: args.dir.clone(),
        prefix: crate::args::bytes_of(&args.prefix),
        paths: Vec::new(),
        next: AtomicUsize::new(0),
        older_parts: BTreeMap::new(),
        retry_for: Duration::from_secs(args.retry_for_s),
        last_acknowledged: Mutex::new(Instant::now()),
        retries: AtomicU64::new(0),
        progress,
        files: AtomicU64::new(0),
        links: AtomicU64::new(0),
        empty_directories: AtomicU64::new(0),
        refused: Mutex::new(refused),
    };
    let removed = job.remove_stale(&entries).await.map_err(|error| job.stalled(error))?;
    job.paths = entries.into_iter().filter(|(_, kind)| *kind != Kind::Dir).collect();
    let job = Arc::new(job);
    let mut workers = JoinSet::new();
    for _ in 0..args.concurrency {
        workers.spawn(Arc::clone(&job).work());
    }
    while let Some(result) = workers.join_next().await {
        result.expect("a worker does not panic").map_err(|error| job.stalled(*error))?;
    }
    job.progress.finish();
    job.summary(started.elapsed(), removed, json)
}

impl Job {
    async fn work(self: Arc<Self>) -> Result<(), Box<CallError>> {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((path, kind)) = self.paths.get(at) else { return Ok(()) };
            match self.import(path, *kind).await {
                Ok(()) => self.count(*kind),
                Err(PathError::Refused(reason)) => self.refuse(path, reason),
                Err(PathError::Fatal(error)) => return Err(error),
            }
        }
    }

    fn count(&self, kind: Kind) {
        let counter = match kind {
            Kind::File { .. } => &self.files,
            Kind::Link => &self.links,
            Kind::EmptyDir => &self.empty_directories,
            Kind::Dir => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.progress.add_path();
    }

    async fn import(&self, path: &[u8], kind: Kind) -> Result<(), PathError> {
        self.check_key_limit(path, kind)?;
        let file = self.root.join(Path::new(std::ffi::OsStr::from_bytes(path)));
        match kind {
            Kind::File { mode, .. } => self.import_file(path, &file, mode).await,
            Kind::Link => {
                let target = std::fs::read_link(&file)?;
                let target = Bytes::copy_from_slice(target.as_os_str().as_bytes());
                self.put(path, Piece::Link, target).await
            }
            Kind::EmptyDir => self.put(path, Piece::Dir, Bytes::new()).await,
            Kind::Dir => Ok(()),
        }
    }

    async fn import_file(&self, path: &[u8], file: &Path, mode: u32) -> Result<(), PathError> {
        let mut file = Some(open_regular(file)?);
        let (mut part, mut bytes, mut hash) = (0, 0, Xxh3::new());
        if mode != MODE_DEFAULT {
            self.put(path, Piece::Mode, Bytes::from(format!("{mode:o}"))).await?;
        }
        while let Some(open) = file.take() {
            let (chunk, rest) =
                task::spawn_blocking(move || read_chunk(open)).await.expect("reading does not panic")?;
            file = rest;
            if chunk.is_empty() && part > 0 {
                break;
            }
            if part > PARTS_MAX {
                return Err(PathError::Refused(format!("it has more than {PARTS_MAX} parts")));
            }
            bytes += chunk.len() as u64;
            hash.update(&chunk);
            let piece = if part == 0 { Piece::File } else { Piece::Part(part) };
            self.put(path, piece, chunk).await?;
            part += 1;
        }
        let split = part > 1;
        if split {
            let note = serde_json::to_vec(&SplitNote::new(bytes, &hash)).expect("a note serializes");
            self.put(path, Piece::Split, note.into()).await?;
        }
        for piece in self.older_parts.get(path).into_iter().flatten() {
            let written = match piece {
                Piece::Part(number) => *number < part,
                _ => split,
            };
            if !written {
                let key = keys::key(&self.prefix, path, *piece);
                self.persist(|| self.keyspace.remove(&key)).await?;
            }
        }
        Ok(())
    }

    async fn put(&self, path: &[u8], piece: Piece, value: Bytes) -> Result<(), PathError> {
        let key = keys::key(&self.prefix, path, piece);
        let bytes = value.len() as u64;
        self.persist(|| self.keyspace.put(&key, value.clone(), Condition::Always, Repeat::Idempotent))
            .await?;
        self.progress.add_bytes(bytes);
        Ok(())
    }

    /// Repeats `call` while it fails for a while only, and something was acknowledged lately.
    async fn persist<T, F>(&self, call: impl Fn() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut round = 0;
        loop {
            match call().await {
                Ok(done) => {
                    *self.last_acknowledged.lock().expect("not poisoned") = Instant::now();
                    return Ok(done);
                }
                Err(error) if error.is_temporary() && self.since_acknowledged() < self.retry_for => {
                    if round == 2 {
                        self.progress.say(&format!("import: waiting for the cluster ({error})"));
                    }
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(retry::backoff(round, fastrand::f64())).await;
                    round += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn since_acknowledged(&self) -> Duration {
        self.last_acknowledged.lock().expect("not poisoned").elapsed()
    }

    fn check_key_limit(&self, path: &[u8], kind: Kind) -> Result<(), PathError> {
        let longest = match kind {
            Kind::File { bytes, .. } if bytes > VALUE_BYTES_MAX as u64 => Piece::Part(1),
            Kind::File { mode, .. } if mode != MODE_DEFAULT => Piece::Mode,
            Kind::File { .. } | Kind::Dir => Piece::File,
            Kind::Link => Piece::Link,
            Kind::EmptyDir => Piece::Dir,
        };
        let bytes = keys::key(&self.prefix, path, longest).len();
        if bytes <= KEY_BYTES_MAX {
            return Ok(());
        }
        Err(PathError::Refused(format!("its key would have {bytes} bytes; the limit is {KEY_BYTES_MAX}")))
    }

    /// Removes what an older import left that contradicts the tree; returns how many keys.
    async fn remove_stale(&mut self, tree: &BTreeMap<Vec<u8>, Kind>) -> Result<u64, CallError> {
        let (mut removed, mut cursor) = (0, None::<String>);
        loop {
            let request = PageRequest {
                prefix: &self.prefix,
                limit: RANGE_ITEMS_MAX,
                cursor: cursor.as_deref(),
                values: false,
            };
            let page = self.persist(|| self.keyspace.page(request)).await?;
            for item in page.items {
                let Some(rest) = item.key.strip_prefix(&self.prefix[..]) else { continue };
                match stale::judge(tree, rest) {
                    Verdict::Keep => {}
                    Verdict::Remove => {
                        self.persist(|| self.keyspace.remove(&item.key)).await?;
                        removed += 1;
                    }
                    Verdict::RemoveUnlessWritten => {
                        let (path, piece) = keys::parse(rest).expect("judged by its path");
                        self.older_parts.entry(path.to_vec()).or_default().push(piece);
                    }
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(removed);
            }
        }
    }

    fn refuse(&self, path: &[u8], reason: String) {
        self.refused.lock().expect("not poisoned").push(Refused { path: path.to_vec(), reason });
    }

    fn stalled(&self, error: CallError) -> Failure {
        self.progress.finish();
        let temporary = error.is_temporary();
        let done = self.progress.paths.load(Ordering::Relaxed);
        let mut failure = Failure::from(error);
        if temporary {
            let seconds = self.retry_for.as_secs();
            failure.message = format!("no progress for {seconds} s: {}", failure.message);
        }
        failure.message = format!("import stopped after {done} paths: {}", failure.message);
        failure.next("see `quorate status`; then run the same import again, it replaces what is there")
    }

    fn summary(&self, elapsed: Duration, removed: u64, json: bool) -> Result<(), Failure> {
        let refused = std::mem::take(&mut *self.refused.lock().expect("not poisoned"));
        let files = self.files.load(Ordering::Relaxed);
        let links = self.links.load(Ordering::Relaxed);
        let dirs = self.empty_directories.load(Ordering::Relaxed);
        let bytes = self.progress.bytes.load(Ordering::Relaxed);
        let retries = self.retries.load(Ordering::Relaxed) + self.keyspace.client().retries();
        let seconds = elapsed.as_secs_f64();
        if json {
            let summary = json!({
                "event": "imported",
                "files": files,
                "links": links,
                "empty_directories": dirs,
                "bytes": bytes,
                "seconds": seconds,
                "retries": retries,
                "stale_keys_removed": removed,
                "refused": refused.iter().map(refused_json).collect::<Vec<_>>(),
            });
            say!("{summary}");
        } else {
            let size = indicatif::HumanBytes(bytes);
            say!(
                "imported {files} files ({size}), {links} links, {dirs} empty directories in {seconds:.1} s, {retries} retries"
            );
            if removed > 0 {
                say!("removed {removed} stale keys of an older import");
            }
        }
        refusal("imported", &refused, json)
    }
}

/// A refused path as JSON.
pub(super) fn refused_json(refused: &Refused) -> serde_json::Value {
    json!({ "path": keys::readable(&refused.path), "reason": refused.reason })
}

/// Lists what was refused; a failure if anything was.
pub(super) fn refusal(done: &str, refused: &[Refused], json: bool) -> Result<(), Failure> {
    if refused.is_empty() {
        return Ok(());
    }
    if !json {
        for Refused { path, reason } in refused.iter().take(REFUSED_SHOWN_MAX) {
            eprintln!("  not {done}: {}: {reason}", keys::readable(path));
        }
        if refused.len() > REFUSED_SHOWN_MAX {
            eprintln!("  and {} more; --json lists them all", refused.len() - REFUSED_SHOWN_MAX);
        }
    }
    let paths = if refused.len() == 1 { "path was" } else { "paths were" };
    Err(Failure::error(format!("{} {paths} not {done}; everything else was", refused.len())))
}

/// Opens a file that was regular when the tree was walked, and must be still: a pipe that took its place
/// would never end.
fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no regular file any more"))
    }
}

/// The next value's worth of a file, and the file if there may be more.
fn read_chunk(mut file: File) -> io::Result<(Bytes, Option<File>)> {
    let mut chunk = Vec::new();
    (&mut file).take(VALUE_BYTES_MAX as u64).read_to_end(&mut chunk)?;
    let more = chunk.len() == VALUE_BYTES_MAX;
    Ok((chunk.into(), more.then_some(file)))
}
