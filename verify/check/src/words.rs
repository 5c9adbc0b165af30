//! Operations as a person would say them: who did what, when, and was told what.

use std::fmt;

use crate::history::{Action, Answer, Completion, Op};
use crate::terms::Terms;

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.process)?;
        if let Some(session) = &self.terms.session {
            write!(f, " in session {session:?}")?;
        }
        f.write_str(": ")?;
        match &self.action {
            Action::Read { key } => write_read(f, key, &self.terms)?,
            Action::Write { key, value } => write!(f, "write {key:?} = {value:?}")?,
            Action::Delete { key } => write!(f, "delete {key:?}")?,
            Action::Cas { key, expected_revision: 0, value } => {
                write!(f, "cas {key:?} from absent to {value:?}")?;
            }
            Action::Cas { key, expected_revision, value } => {
                write!(f, "cas {key:?} from revision {expected_revision} to {value:?}")?;
            }
            Action::CasValue { key, expected: None, value } => {
                write!(f, "cas {key:?} from absent to {value:?}")?;
            }
            Action::CasValue { key, expected: Some(expected), value } => {
                write!(f, "cas {key:?} from {expected:?} to {value:?}")?;
            }
            Action::ReadMany { keys } => write!(f, "read {}", list(keys.iter().map(Some)))?,
            Action::Final { node, key } => write!(f, "final read of {key:?} at {node}")?,
        }
        f.write_str(" -> ")?;
        let Some((completed, completion)) = &self.completed else {
            return write!(f, "never answered [{} us ..]", self.invoked.time_us);
        };
        match completion {
            Completion::Ok(Answer::Read { value: None, .. }) => f.write_str("absent")?,
            Completion::Ok(Answer::Read { value: Some(value), revision }) => {
                write!(f, "{value:?}")?;
                write_revision(f, *revision)?;
            }
            Completion::Ok(Answer::Written { revision }) => {
                f.write_str("done")?;
                write_revision(f, *revision)?;
            }
            Completion::Ok(Answer::Deleted { existed: Some(false), .. }) => {
                f.write_str("was absent")?;
            }
            Completion::Ok(Answer::Deleted { revision, .. }) => {
                f.write_str("deleted")?;
                write_revision(f, *revision)?;
            }
            Completion::Ok(Answer::ReadMany { values }) => {
                f.write_str(&list(values.iter().map(Option::as_ref)))?
            }
            Completion::Differs { current: None } => f.write_str("refused, it holds another value")?,
            Completion::Differs { current: Some(None) } => f.write_str("refused, absent")?,
            Completion::Differs { current: Some(Some(current)) } => {
                write!(f, "refused, it holds {current:?}")?
            }
            Completion::Fail { current: None } => f.write_str("failed")?,
            Completion::Fail { current: Some(0) } => f.write_str("conflict, absent")?,
            Completion::Fail { current: Some(current) } => {
                write!(f, "conflict, at revision {current}")?;
            }
            Completion::Unknown => f.write_str("unknown")?,
        }
        if self.is_repetition() {
            f.write_str(", a repetition")?;
        }
        write!(f, " [{} us .. {} us]", self.invoked.time_us, completed.time_us)
    }
}

fn write_read(f: &mut fmt::Formatter<'_>, key: &str, terms: &Terms) -> fmt::Result {
    match (terms.level, terms.bound_ms) {
        (None, _) => {}
        (Some(level), None) => write!(f, "{level} ")?,
        (Some(level), Some(bound_ms)) => write!(f, "{level}({bound_ms} ms) ")?,
    }
    write!(f, "read {key:?}")
}

fn write_revision(f: &mut fmt::Formatter<'_>, revision: Option<u64>) -> fmt::Result {
    revision.map_or(Ok(()), |revision| write!(f, " at revision {revision}"))
}

fn list<'a>(items: impl Iterator<Item = Option<&'a String>>) -> String {
    let items: Vec<String> =
        items.map(|item| item.map_or("absent".to_owned(), |item| format!("{item:?}"))).collect();
    items.join(", ")
}
