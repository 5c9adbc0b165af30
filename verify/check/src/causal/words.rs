//! Telling a person why no order of causes explains a history: the operations, and how each is a cause of the next.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use crate::arrows::Arrow;
use crate::facts::{Facts, Shown};
use crate::history::OpId;

use super::{CausalViolation, Pattern};

/// Why an operation came before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It ended before the other began, in its session.
    Session,
    /// The other read it.
    Read,
    /// A read showed the other, though this was among its causes.
    Shown(OpId),
    /// It has the smaller revision.
    Revision,
}

impl Link {
    fn label(self) -> &'static str {
        match self {
            Link::Session => "session",
            Link::Read => "read",
            Link::Shown(_) => "overwritten",
            Link::Revision => "revision",
        }
    }
}

/// Operations, each with why it came before the next; the last has none.
pub type Path = Vec<(OpId, Option<Link>)>;

/// A shortest path of causes, if one is a cause of the other.
pub fn path(facts: &Facts<'_>, from: OpId, to: OpId) -> Option<Path> {
    let mut sessions = vec![Vec::new(); facts.session_count];
    for op in facts.history.ops() {
        if let Some((end, _)) = op.answer()
            && facts.shown[op.id.0] != Shown::Nothing
        {
            sessions[facts.sessions[op.id.0]].push((end.position, op.id));
        }
    }
    sessions.iter_mut().for_each(|answers| answers.sort_unstable());
    // Backwards from the end; what was once found of a session need not be looked at again.
    let mut found = vec![0; facts.session_count];
    let mut next: HashMap<OpId, (OpId, Link)> = HashMap::new();
    let mut waiting = VecDeque::from([to]);
    while let Some(id) = waiting.pop_front() {
        let mut reach = |cause: OpId, link: Link| {
            if cause != to && !next.contains_key(&cause) {
                next.insert(cause, (id, link));
                waiting.push_back(cause);
            }
        };
        if let Shown::Version(write) | Shown::Future(write) = facts.shown[id.0]
            && write != id
        {
            reach(write, Link::Read);
        }
        let session = facts.sessions[id.0];
        let answers = &sessions[session];
        while let Some((end, cause)) = answers.get(found[session])
            && *end < facts.op(id).invoked.position
        {
            reach(*cause, Link::Session);
            found[session] += 1;
        }
    }
    let mut path = Vec::new();
    let mut at = from;
    while at != to {
        let (later, link) = *next.get(&at)?;
        path.push((at, Some(link)));
        at = later;
    }
    path.push((to, None));
    Some(path)
}

/// A read of what came of it.
pub fn cyclic(facts: &Facts<'_>, path: &Path) -> CausalViolation {
    let mut told = Told::new(facts, Pattern::CyclicCo, "what was read came of what came of the read.");
    told.path(path);
    let (first, last) = (path[0].0, path[path.len() - 1].0);
    told.end(&format!("Yet {} read what {} wrote.", told.number(first), told.number(last)));
    told.violation(vec![first])
}

/// A read of what nobody had written.
pub fn thin_air(facts: &Facts<'_>, read: OpId, write: Option<OpId>) -> CausalViolation {
    let mut told = Told::new(facts, Pattern::ThinAirRead, "what was read nobody had written.");
    told.add(read);
    let end = match write {
        Some(write) => {
            told.add(write);
            format!("{} began only after {} had been answered.", told.number(write), told.number(read))
        }
        None => "No operation that can have taken effect writes that.".to_owned(),
    };
    told.end(&end);
    told.violation(vec![read])
}

/// A read of a version, or of a key's absence, that a cause of the read had overwritten.
pub fn overwritten(facts: &Facts<'_>, version: Option<OpId>, newer: OpId, read: OpId) -> CausalViolation {
    let (pattern, meaning) = match version {
        Some(_) => (Pattern::WriteCoRead, "what was read had been overwritten by a cause of the read."),
        None => (Pattern::WriteCoInitRead, "a key was read as absent, though a cause of the read wrote it."),
    };
    let mut told = Told::new(facts, pattern, meaning);
    if let Some(version) = version {
        told.path(&path(facts, version, newer).expect("it is a cause"));
    }
    told.path(&path(facts, newer, read).expect("it is a cause"));
    let end = match version {
        Some(version) => format!(
            "So {} must not show what {} wrote: {} overwrote that.",
            told.number(read),
            told.number(version),
            told.number(newer)
        ),
        None => format!(
            "So {} must show what {} wrote, or what came after: no delete did.",
            told.number(read),
            told.number(newer)
        ),
    };
    told.end(&end);
    told.violation(vec![read])
}

/// Changes of which each must have come before the next, and the last before the first.
pub fn conflicting(facts: &Facts<'_>, cycle: &[(OpId, Link)]) -> CausalViolation {
    let meaning = "no order of the changes of each key is one that all replicas can have agreed on.";
    let mut told = Told::new(facts, Pattern::CyclicCf, meaning);
    let first = cycle[0].0;
    let path: Path = cycle.iter().map(|(id, link)| (*id, Some(*link))).chain([(first, None)]).collect();
    told.path(&path);
    let tellers = cycle.iter().filter_map(|(_, link)| match link {
        Link::Shown(read) => Some(*read),
        _ => None,
    });
    told.violation(tellers.collect())
}

/// An explanation as it is put together.
struct Told<'a> {
    facts: &'a Facts<'a>,
    pattern: Pattern,
    text: String,
    ops: Vec<OpId>,
    links: Vec<String>,
    arrows: Vec<Arrow>,
}

impl<'a> Told<'a> {
    fn new(facts: &'a Facts<'a>, pattern: Pattern, meaning: &str) -> Told<'a> {
        let text = format!("{pattern}: {meaning}");
        Told { facts, pattern, text, ops: Vec::new(), links: Vec::new(), arrows: Vec::new() }
    }

    fn number(&self, id: OpId) -> String {
        let index = self.ops.iter().position(|op| *op == id).expect("it was told");
        format!("O{}", index + 1)
    }

    fn add(&mut self, id: OpId) {
        if self.ops.contains(&id) {
            return;
        }
        self.ops.push(id);
        write!(self.text, "\n  {} = {}", self.number(id), self.facts.op(id))
            .expect("writing to a string cannot fail");
    }

    fn path(&mut self, path: &Path) {
        for (id, link) in path {
            self.add(*id);
            if let Some(Link::Shown(read)) = link {
                self.add(*read);
            }
        }
        for pair in path.windows(2) {
            let (one, other) = (self.number(pair[0].0), self.number(pair[1].0));
            let link = pair[0].1.expect("only the last has none");
            self.arrows.push(Arrow { from: pair[0].0, to: pair[1].0, label: link.label().to_owned() });
            self.links.push(match link {
                Link::Session => format!("{one} before {other}, in one session"),
                Link::Read => format!("{one} before {other}, which read it"),
                Link::Shown(read) => {
                    format!("{one} before {other}: {} knew of both, and showed {other}", self.number(read))
                }
                Link::Revision => format!("{one} before {other}, by their revisions"),
            });
        }
    }

    fn end(&mut self, end: &str) {
        self.links.push(end.to_owned());
    }

    fn violation(self, culprits: Vec<OpId>) -> CausalViolation {
        let explanation = self.links.iter().fold(self.text, |text, link| text + "\n" + link);
        let mut shown = self.ops;
        shown.sort_unstable();
        CausalViolation { pattern: self.pattern, explanation, shown, culprits, arrows: self.arrows }
    }
}
