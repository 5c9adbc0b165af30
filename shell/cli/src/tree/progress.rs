//! A progress bar on a terminal; a line every few seconds anywhere else; nothing with `--json`.

use std::{
    io::IsTerminal,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line is printed when there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Counts what is done and shows it.
pub struct Progress {
    bar: ProgressBar,
    doing: &'static str,
    lines: bool,
    last_line: Mutex<Instant>,
    /// Paths done.
    pub paths: AtomicU64,
    /// Bytes of values done.
    pub bytes: AtomicU64,
}

impl Progress {
    /// Shows progress towards `paths`, if known. Quiet shows nothing.
    pub fn new(doing: &'static str, paths: Option<u64>, quiet: bool) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let target = if quiet || !terminal {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let bar = ProgressBar::with_draw_target(paths, target);
        let template = match paths {
            Some(_) => "{prefix} [{bar:30}] {pos}/{len} files  {msg}  {elapsed} (left {eta})",
            None => "{prefix} {spinner} {pos} files  {msg}  {elapsed}",
        };
        let style = ProgressStyle::with_template(template).expect("a valid template");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(doing);
        Progress {
            bar,
            doing,
            lines: !quiet && !terminal,
            last_line: Mutex::new(Instant::now()),
            paths: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Some bytes of a path are done.
    pub fn add_bytes(&self, bytes: u64) {
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bar.set_message(HumanBytes(bytes).to_string());
        self.line();
    }

    /// A path is done.
    pub fn add_path(&self) {
        self.bar.set_position(self.paths.fetch_add(1, Ordering::Relaxed) + 1);
        self.line();
    }

    /// Tells the person something without disturbing the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self) {
        if !self.lines {
            return;
        }
        let mut last = self.last_line.lock().expect("not poisoned");
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            let (paths, bytes) = (self.paths.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
            eprintln!("{}: {paths} files, {}", self.doing, HumanBytes(bytes));
        }
    }
}
