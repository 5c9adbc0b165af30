//! What is said of a run: by the checkers of its histories, and by what was seen of its nodes.

use std::{
    fmt,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use check::{Checker, Judgement, Recorded, judge, timeline};

use crate::record::Recorder;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// Everything is explained.
    Valid,
    /// It was not decided: no pass.
    Unknown,
    /// Something cannot be explained.
    Invalid,
}

impl Word {
    /// As `quorate check` says it.
    pub fn text(self) -> &'static str {
        match self {
            Word::Valid => "valid",
            Word::Unknown => "unknown",
            Word::Invalid => "invalid",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What one judge says.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Who.
    pub judge: String,
    /// Of which history; empty for what is judged of nodes.
    pub of: String,
    /// What it asks, in a line.
    pub asks: String,
    /// Its word.
    pub word: Word,
    /// Why: empty when valid.
    pub words: String,
    /// A drawing of what cannot be explained.
    pub svg: Option<String>,
}

impl Verdict {
    /// Of what was seen of nodes: valid without findings.
    pub fn of_findings(judge: &str, asks: &str, findings: &[String]) -> Verdict {
        let word = if findings.is_empty() { Word::Valid } else { Word::Invalid };
        Verdict {
            judge: judge.to_owned(),
            of: String::new(),
            asks: asks.to_owned(),
            word,
            words: findings.join("\n"),
            svg: None,
        }
    }
}

/// The worst of all; unknown if nobody judged.
pub fn overall(verdicts: &[Verdict]) -> Word {
    verdicts.iter().map(|verdict| verdict.word).max().unwrap_or(Word::Unknown)
}

/// A history that is to be judged.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is called.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Checkers beside those that judge every such history.
    pub also: Vec<Checker>,
}

/// Judges a history by its file. Takes memory and time in proportion to it, and steps of search within `budget`.
pub fn judge_history(case: &Case, budget: u64) -> Vec<Verdict> {
    let unknown = |words: String| Verdict {
        judge: "history".to_owned(),
        of: case.name.clone(),
        asks: "the history can be read, and something happened in it".to_owned(),
        word: Word::Unknown,
        words,
        svg: None,
    };
    let recorded = match read(&case.path) {
        Ok(recorded) => recorded,
        Err(words) => return vec![unknown(words)],
    };
    if recorded.count() == 0 {
        return vec![unknown("there is nothing in it".to_owned())];
    }
    let mut checkers = Checker::of(&recorded).to_vec();
    checkers
        .extend(case.also.iter().filter(|checker| !checkers.contains(checker)).copied().collect::<Vec<_>>());
    checkers.iter().map(|checker| judged(case, &recorded, *checker, budget)).collect()
}

fn judged(case: &Case, recorded: &Recorded, checker: Checker, budget: u64) -> Verdict {
    let (word, words, svg) = match judge(recorded, checker, budget) {
        Judgement::Valid => (Word::Valid, String::new(), None),
        Judgement::Unknown { reason } => (Word::Unknown, reason, None),
        Judgement::Invalid(found) => {
            let svg = timeline(recorded, &found);
            (Word::Invalid, format!("{}\n{}", found.anomaly, found.explanation), Some(svg))
        }
    };
    let (judge, asks) = (checker.name().to_owned(), checker.about().to_owned());
    Verdict { judge, of: case.name.clone(), asks, word, words, svg }
}

fn read(path: &Path) -> Result<Recorded, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Recorded::parse(BufReader::new(file)).map_err(|error| format!("{}: {error}", path.display()))
}

/// A history that was not recorded as a whole is not judged.
pub fn finish(recorder: &Recorder) -> Result<(), String> {
    recorder.finish().map_err(|error| format!("{} could not be written: {error}", recorder.path().display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str) -> Vec<Verdict> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("history.jsonl");
        std::fs::write(&path, lines).expect("written");
        judge_history(&Case { name: "registers".into(), path, also: Vec::new() }, 1_000)
    }

    #[test]
    fn a_stale_read_is_invalid_and_drawn() {
        let verdicts = of(concat!(
            r#"{"process":1,"type":"invoke","time_us":1,"op":{"f":"write","key":"x","value":"a"}}"#,
            "\n",
            r#"{"process":1,"type":"ok","time_us":2,"op":{"f":"write","key":"x","value":"a"}}"#,
            "\n",
            r#"{"process":2,"type":"invoke","time_us":3,"op":{"f":"read","key":"x"}}"#,
            "\n",
            r#"{"process":2,"type":"ok","time_us":4,"op":{"f":"read","key":"x","value":null}}"#,
            "\n",
        ));
        assert_eq!(overall(&verdicts), Word::Invalid);
        assert!(
            verdicts.iter().any(|verdict| verdict.svg.as_deref().is_some_and(|svg| svg.contains("<svg")))
        );
    }

    #[test]
    fn nothing_is_no_pass() {
        assert_eq!(overall(&of("")), Word::Unknown);
        assert_eq!(overall(&of("no history\n")), Word::Unknown);
        assert_eq!(overall(&[]), Word::Unknown);
    }
}
