//! What happened, line by line: hashed, and kept as text, where anyone asks for that.

use std::fmt::{self, Write as _};

use xxhash_rust::xxh3::Xxh3;

/// The record of one world. Two runs of one seed have equal bytes.
pub struct Trace {
    hash: Xxh3,
    line: String,
    text: Option<String>,
    lines: u64,
    /// Nobody will ask: no line is even written.
    off: bool,
    /// What is looked for, and whether a line had it.
    looked_for: Option<String>,
    found: bool,
}

impl Trace {
    /// An empty trace; `keep` keeps its text.
    pub fn new(keep: bool, looked_for: Option<String>) -> Trace {
        let (line, text) = (String::new(), keep.then(String::new));
        Trace { hash: Xxh3::new(), line, text, lines: 0, off: false, looked_for, found: false }
    }

    /// A trace that stays empty.
    pub fn off() -> Trace {
        Trace { off: true, ..Trace::new(false, None) }
    }

    /// Whether a line had in it what is looked for.
    pub fn found(&self) -> bool {
        self.found
    }

    /// Adds one line.
    pub fn line(&mut self, now_us: u64, what: fmt::Arguments<'_>) {
        if self.off {
            return;
        }
        self.line.clear();
        writeln!(self.line, "{:>5}.{:06} {what}", now_us / 1_000_000, now_us % 1_000_000)
            .expect("writing to a string succeeds");
        self.hash.update(self.line.as_bytes());
        self.lines += 1;
        self.found |= self.looked_for.as_ref().is_some_and(|text| self.line.contains(text));
        if let Some(text) = &mut self.text {
            text.push_str(&self.line);
        }
    }

    /// Hash of all lines so far.
    pub fn hash(&self) -> u128 {
        self.hash.digest128()
    }

    /// The text, if it was kept.
    pub fn take_text(&mut self) -> Option<String> {
        self.text.take()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("lines", &self.lines).finish_non_exhaustive()
    }
}
