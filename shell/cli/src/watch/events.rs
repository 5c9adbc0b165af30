//! Server-sent events, as far as nodes send them (WHATWG HTML, section 9.2.6).

use serde_json::Value;

use crate::client::answer::RemoteProblem;

/// Longest event: the largest revision, in base64, with room for the JSON around it.
const EVENT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a watch is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It begins at this revision.
    Started { from: u64 },
    /// A revision's changes.
    Changes { revision: u64, data: Value },
    /// All up to this revision was told.
    Progress { revision: u64 },
    /// It is over.
    Problem(RemoteProblem),
    /// Of a newer version, or a comment.
    Unknown,
}

/// Bytes as they come, cut into events.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
    /// Where to look for the next end: nothing before it ends an event.
    looked: usize,
}

impl Parser {
    /// Takes bytes in. False if an event is longer than any may be.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.bytes.extend_from_slice(bytes);
        self.bytes.len() <= EVENT_BYTES_MAX
    }

    /// The next whole event.
    pub fn next(&mut self) -> Option<Event> {
        let end = self.bytes[self.looked..].windows(2).position(|pair| pair == b"\n\n");
        let Some(end) = end.map(|end| self.looked + end) else {
            self.looked = self.bytes.len().saturating_sub(1);
            return None;
        };
        self.looked = 0;
        let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
        Some(event(&String::from_utf8_lossy(&block)))
    }
}

fn event(block: &str) -> Event {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let (Some(name), Some(text)) = (field("event"), field("data")) else { return Event::Unknown };
    if name == "error" {
        return Event::Problem(super::problem(text));
    }
    let Ok(data) = serde_json::from_str::<Value>(text) else { return Event::Unknown };
    let number = |name: &str| data[name].as_u64();
    match (name, number("revision"), number("from_revision")) {
        ("started", _, Some(from)) => Event::Started { from },
        ("changes", Some(revision), _) => Event::Changes { revision, data },
        ("progress", Some(revision), _) => Event::Progress { revision },
        _ => Event::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_however_the_bytes_are_cut() {
        let text = "event: started\nid: 4\ndata: {\"from_revision\":5}\n\n:\n\nevent: changes\nid: 5\ndata: {\"revision\":5}\n\n\
                    event: progress\nid: 9\ndata: {\"revision\":9}\n\nevent: new\ndata: {}\n\n";
        let expected = [
            Event::Started { from: 5 },
            Event::Unknown,
            Event::Changes { revision: 5, data: serde_json::json!({"revision": 5}) },
            Event::Progress { revision: 9 },
            Event::Unknown,
        ];
        for size in [1, 2, 3, 7, 1_000] {
            let (mut parser, mut found) = (Parser::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                assert!(parser.push(piece));
                found.extend(std::iter::from_fn(|| parser.next()));
            }
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    #[test]
    fn the_last_event_says_why() {
        let mut parser = Parser::default();
        parser.push(b"event: error\ndata: {\"code\":\"COMPACTED\",\"applied\":\"not_applied\",\"detail\":\"gone\"}\n\n");
        let Some(Event::Problem(problem)) = parser.next() else { panic!("a problem") };
        assert_eq!((problem.code.as_str(), problem.detail.as_str()), ("COMPACTED", "gone"));
    }
}
