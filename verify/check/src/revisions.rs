//! Revisions of one keyspace order its changes: no two changes share one, and a change that ended
//! before another began has the smaller one. Simpler than linearizability, and across keys.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Answer, Completion, History, OpId};

/// How revisions contradict what happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionViolation {
    /// Two changes have one revision.
    #[error("two changes were both told revision {revision}:\n  {first_text}\n  {second_text}")]
    Shared {
        /// The revision.
        revision: u64,
        /// The change that was told it first.
        first: OpId,
        /// The change that was told it again.
        second: OpId,
        /// The first, for people.
        first_text: String,
        /// The second, for people.
        second_text: String,
    },
    /// A change that began after another one had ended has a smaller revision.
    #[error(
        "a change got a smaller revision than one that had ended before it began:\n  {earlier_text}\n  {later_text}"
    )]
    Backwards {
        /// The change that ended first.
        earlier: OpId,
        /// The change that began after that.
        later: OpId,
        /// The earlier one, for people.
        earlier_text: String,
        /// The later one, for people.
        later_text: String,
    },
}

/// Checks the revisions that writes, compare-and-sets and deletes were told.
pub fn check_revisions(history: &History) -> Result<(), RevisionViolation> {
    let ops = history.ops();
    let mut ended: Vec<(usize, u64, OpId)> = Vec::new();
    let mut holders: BTreeMap<u64, OpId> = BTreeMap::new();
    for op in ops.iter().filter(|op| !op.is_repetition()) {
        if let Some((end, completion)) = &op.completed
            && let Some(revision) = taken(completion)
        {
            ended.push((end.position, revision, op.id));
            if let Some(first) = holders.insert(revision, op.id) {
                return Err(RevisionViolation::Shared {
                    revision,
                    first,
                    second: op.id,
                    first_text: ops[first.0].to_string(),
                    second_text: op.to_string(),
                });
            }
        }
    }
    // Walk the changes in order of invocation, and know the greatest revision that had ended by then.
    ended.sort_unstable();
    let changes: BTreeSet<(usize, u64, OpId)> =
        ended.iter().map(|&(_, revision, op)| (ops[op.0].invoked.position, revision, op)).collect();
    let mut ended = ended.into_iter().peekable();
    let mut greatest: Option<(u64, OpId)> = None;
    for (began, revision, later) in changes {
        while let Some((_, revision, op)) = ended.next_if(|&(end, ..)| end < began) {
            greatest = greatest.max(Some((revision, op)));
        }
        if let Some((least, earlier)) = greatest
            && revision < least
        {
            return Err(RevisionViolation::Backwards {
                earlier,
                later,
                earlier_text: ops[earlier.0].to_string(),
                later_text: ops[later.0].to_string(),
            });
        }
    }
    Ok(())
}

fn taken(completion: &Completion) -> Option<u64> {
    match completion {
        Completion::Ok(Answer::Written { revision } | Answer::Deleted { revision, .. }) => *revision,
        _ => None,
    }
}
