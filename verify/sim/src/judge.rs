//! The last word: whether the clients' history is linearizable, and its revisions in order.

use check::{BUDGET_DEFAULT, History, check_linearizable, check_revisions};

use crate::{
    counts::Counts,
    failure::{Broken, Verdict},
    invariants::{Judged, is_left_out},
    plan::{KEYSPACES, SHARDED},
};

/// Judges the histories of all keyspaces.
pub fn judge(histories: &[History], counts: &mut Counts) -> Result<Verdict, Broken> {
    let mut verdict = Verdict::Passed;
    for (number, (name, history)) in KEYSPACES.iter().zip(histories).enumerate() {
        counts.add("operations_judged", history.ops().len() as u64);
        let judged = !is_left_out("linearizable");
        match judged.then(|| check_linearizable(history, BUDGET_DEFAULT / 4)) {
            None | Some(check::Verdict::Valid) => {}
            Some(check::Verdict::Invalid(violation)) => {
                let message = format!("keyspace {name}, key {}:\n{}", violation.key, violation.explanation);
                return Err(Broken::safety("linearizable", message));
            }
            Some(check::Verdict::Unknown { reason }) => {
                verdict = Verdict::Unknown(format!("keyspace {name}: {reason}"))
            }
        }
        // Each shard has revisions of its own.
        if number == SHARDED {
            continue;
        }
        let in_order = check_revisions(history).map_err(|violation| {
            Broken::safety("revisions_in_order", format!("keyspace {name}: {violation}"))
        });
        in_order.unless_left_out()?;
    }
    Ok(verdict)
}
