//! What happened, line by line: hashed always, kept as text when asked for.

use std::fmt::{self, Write as _};

use xxhash_rust::xxh3::Xxh3;

/// The record of one world. Two runs of one seed have equal bytes.
pub struct Trace {
    hash: Xxh3,
    line: String,
    text: Option<String>,
    lines: u64,
}

impl Trace {
    /// An empty trace; `keep` keeps its text.
    pub fn new(keep: bool) -> Trace {
        Trace { hash: Xxh3::new(), line: String::new(), text: keep.then(String::new), lines: 0 }
    }

    /// Adds one line.
    pub fn line(&mut self, now_us: u64, what: fmt::Arguments<'_>) {
        self.line.clear();
        writeln!(self.line, "{:>5}.{:06} {what}", now_us / 1_000_000, now_us % 1_000_000)
            .expect("writing to a string succeeds");
        self.hash.update(self.line.as_bytes());
        self.lines += 1;
        if let Some(text) = &mut self.text {
            text.push_str(&self.line);
        }
    }

    /// Hash of all lines so far.
    pub fn hash(&self) -> u128 {
        self.hash.digest128()
    }

    /// The text, if it was kept.
    pub fn into_text(self) -> Option<String> {
        self.text
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("lines", &self.lines).finish_non_exhaustive()
    }
}
