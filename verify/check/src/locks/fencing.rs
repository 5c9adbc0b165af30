//! What is written to one guarded resource takes effect in the order of tokens.
//!
//! A write, and the reads that saw its value, are one cluster: some moment lies in all of them at which the
//! resource held that value. Where an operation of a cluster ended before one of another began, the first
//! cluster comes first. There is an order of all clusters in which tokens only grow, and which explains
//! every answer, exactly if no two clusters contradict each other or their tokens: a longer cycle of
//! "comes first" always has a cycle of two in it (as the zones of Gibbons and Korach, 1997).

use std::collections::BTreeMap;

use super::{LockForm, Of};
use crate::history::OpId;
use crate::ledger::{End, Found};

/// What was written, and by whom it was seen.
struct Cluster<'a> {
    /// `None`: nothing yet.
    write: Option<&'a Of>,
    token: Option<u64>,
    /// The operation that ended first, and where.
    ended: (usize, OpId),
    /// The operation that began last, and where.
    began: (usize, OpId),
}

/// Checks one resource. `grants`: where each token of its lock was told, if tokens are refused from then on.
///
/// # Errors
/// When the history does not say which of several writes was seen.
pub fn check(
    resource: &str,
    entries: &[&Of],
    grants: &[(usize, u64, OpId)],
) -> Result<Option<Found>, String> {
    let clusters = match clusters(resource, entries)? {
        Ok(clusters) => clusters,
        Err(found) => return Ok(Some(found)),
    };
    Ok(by_revision(resource, entries)
        .or_else(|| against_grants(resource, entries, grants))
        .or_else(|| against_tokens(resource, &clusters))
        .or_else(|| against_time(resource, &clusters)))
}

/// Clusters of what took effect for certain.
fn clusters<'a>(resource: &str, entries: &[&'a Of]) -> Result<Result<Vec<Cluster<'a>>, Found>, String> {
    let mut writes: BTreeMap<&str, Vec<&'a Of>> = BTreeMap::new();
    let mut seen: BTreeMap<Option<&str>, Vec<&'a Of>> = BTreeMap::new();
    for entry in entries {
        match &entry.form {
            LockForm::GuardedWrite { value, .. } => writes.entry(value).or_default().push(entry),
            LockForm::GuardedRead { value: Some(value), .. } => {
                seen.entry(value.as_deref()).or_default().push(entry);
            }
            _ => {}
        }
    }
    let mut clusters = Vec::new();
    if let Some(reads) = seen.remove(&None) {
        clusters.push(cluster(None, None, &reads));
    }
    for (value, all) in writes {
        let reads = seen.remove(&Some(value)).unwrap_or_default();
        let [write] = all[..] else {
            if !reads.is_empty() {
                return Err(format!("several writes of {value:?} to {resource:?}, and it was read"));
            }
            clusters.extend(all.iter().filter(|write| write.ok().is_some()).map(|write| alone(write)));
            continue;
        };
        if reads.is_empty() {
            clusters.extend(write.ok().is_some().then(|| alone(write)));
            continue;
        }
        let read = reads[0];
        let found =
            |anomaly, text| Ok(Err(Found { anomaly, text, shown: vec![write.id, read.id], culprits: 1 }));
        if write.end() == End::Fail {
            return found("fenced-write-seen", format!("{value:?} was fenced off, and is read."));
        }
        if let Some(early) = reads.iter().find(|read| read.known_at() < write.invoked.position) {
            let text = format!("{value:?} is read, and written only after that.");
            let shown = vec![write.id, early.id];
            return Ok(Err(Found { anomaly: "invented", text, shown, culprits: 1 }));
        }
        clusters.push(cluster(Some(write), token(write), &reads));
    }
    if let Some((value, reads)) = seen.into_iter().next() {
        let text = format!("{:?} is read, which nobody wrote to {resource:?}.", value.unwrap_or_default());
        return Ok(Err(Found { anomaly: "invented", text, shown: vec![reads[0].id], culprits: 1 }));
    }
    Ok(Ok(clusters))
}

fn token(write: &Of) -> Option<u64> {
    match write.form {
        LockForm::GuardedWrite { token, .. } => Some(token),
        _ => None,
    }
}

fn alone<'a>(write: &'a Of) -> Cluster<'a> {
    cluster(Some(write), token(write), &[])
}

/// What was not yet written when the history began was there before everything.
fn cluster<'a>(write: Option<&'a Of>, token: Option<u64>, reads: &[&'a Of]) -> Cluster<'a> {
    let all = || write.iter().chain(reads);
    let ended = all().map(|entry| (entry.known_at(), entry.id)).min();
    let began = all().map(|entry| (entry.invoked.position, entry.id)).max();
    let (mut ended, began) = ended.zip(began).expect("there is an operation in every cluster");
    if write.is_none() {
        ended.0 = 0;
    }
    Cluster { write, token, ended, began }
}

/// Revisions, where they are told, are the order in which writes took effect.
fn by_revision(resource: &str, entries: &[&Of]) -> Option<Found> {
    let mut told: Vec<(u64, u64, OpId)> = Vec::new();
    for entry in entries {
        if let LockForm::GuardedWrite { token, revision: Some(revision), .. } = entry.form {
            told.push((revision, token, entry.id));
        }
    }
    told.sort_unstable();
    let mut greatest: Option<(u64, OpId)> = None;
    for (revision, token, id) in told {
        if let Some((before, earlier)) = greatest
            && token < before
        {
            let text = format!(
                "revision {revision} of {resource:?} is written under token {token}, after token {before} had written."
            );
            return Some(stale(text, vec![earlier, id]));
        }
        greatest = greatest.max(Some((token, id)));
    }
    None
}

fn stale(text: String, shown: Vec<OpId>) -> Found {
    Found { anomaly: "stale-token-accepted", text, shown, culprits: 1 }
}

/// No write is accepted under a token after a greater one was given.
fn against_grants(resource: &str, entries: &[&Of], grants: &[(usize, u64, OpId)]) -> Option<Found> {
    let mut grants: Vec<_> = grants.to_vec();
    grants.sort_unstable();
    let (mut grants, mut greatest) = (grants.into_iter().peekable(), None);
    for entry in entries {
        while let Some((_, token, id)) = grants.next_if(|(end, ..)| *end < entry.invoked.position) {
            greatest = greatest.max(Some((token, id)));
        }
        let (Some(token), Some((greater, grant))) = (token(entry).filter(|_| entry.ok().is_some()), greatest)
        else {
            continue;
        };
        if token < greater {
            let text =
                format!("{resource:?} is written under token {token}, after token {greater} had been given.");
            return Some(stale(text, vec![grant, entry.id]));
        }
    }
    None
}

/// A cluster comes after one of a greater token.
fn against_tokens(resource: &str, clusters: &[Cluster<'_>]) -> Option<Found> {
    let mut sorted: Vec<&Cluster<'_>> = clusters.iter().collect();
    sorted.sort_by_key(|cluster| std::cmp::Reverse(cluster.token));
    // Of those with a greater token: the one of which an operation ended first.
    let (mut first, mut same): (Option<&Cluster<'_>>, Option<&Cluster<'_>>) = (None, None);
    for cluster in sorted {
        if same.is_some_and(|same| same.token != cluster.token) {
            first = earlier(first, same.take());
        }
        if let Some(before) = first
            && before.ended.0 < cluster.began.0
        {
            return Some(contradiction(resource, before, cluster));
        }
        same = earlier(same, Some(cluster));
    }
    None
}

fn earlier<'a, 'b>(one: Option<&'a Cluster<'b>>, other: Option<&'a Cluster<'b>>) -> Option<&'a Cluster<'b>> {
    one.into_iter().chain(other).min_by_key(|cluster| cluster.ended)
}

/// `before` has the greater token, and comes first.
fn contradiction(resource: &str, before: &Cluster<'_>, after: &Cluster<'_>) -> Found {
    let greater = before.token.unwrap_or(0);
    let shown = |culprit: OpId| {
        let writes = before.write.iter().chain(after.write.iter()).map(|write| write.id);
        writes.chain([before.ended.1, culprit]).collect::<Vec<_>>()
    };
    match (after.token, after.write) {
        (Some(token), Some(write)) if before.ended.0 < write.invoked.position => {
            let text = format!(
                "a write to {resource:?} under token {token} takes effect after one under token {greater}."
            );
            let mut shown = shown(write.id);
            shown.retain(|id| *id != write.id);
            shown.push(write.id);
            stale(text, shown)
        }
        (Some(token), _) => {
            let text = format!(
                "what was written to {resource:?} under token {token} is read after what was written under token \
                 {greater} was there."
            );
            Found { anomaly: "stale-token-seen", text, shown: shown(after.began.1), culprits: 1 }
        }
        (None, _) => {
            let text = format!("{resource:?} is read as never written, after a write took effect.");
            Found { anomaly: "stale-read", text, shown: shown(after.began.1), culprits: 1 }
        }
    }
}

/// Of one token, two clusters of which each has to come first.
fn against_time(resource: &str, clusters: &[Cluster<'_>]) -> Option<Found> {
    let mut of_token: BTreeMap<Option<u64>, Vec<&Cluster<'_>>> = BTreeMap::new();
    for cluster in clusters {
        of_token.entry(cluster.token).or_default().push(cluster);
    }
    for mut clusters in of_token.into_values() {
        clusters.sort_by_key(|cluster| cluster.ended);
        // Zones in which the resource held one value and no other: of two, neither overlaps the other.
        let zones: Vec<&Cluster<'_>> =
            clusters.iter().copied().filter(|cluster| cluster.ended.0 < cluster.began.0).collect();
        let overlap = zones.windows(2).find(|pair| pair[1].ended.0 < pair[0].began.0);
        let inside = || {
            clusters.iter().filter(|cluster| cluster.began.0 < cluster.ended.0).find_map(|cluster| {
                let before = zones.partition_point(|zone| zone.ended.0 < cluster.began.0);
                let zone = zones[..before].last().filter(|zone| cluster.ended.0 < zone.began.0)?;
                Some((*zone, *cluster))
            })
        };
        let pair = overlap.map(|pair| (pair[0], pair[1])).or_else(inside);
        if let Some((zone, other)) = pair {
            let text = format!("{resource:?} is read as it was before what had been written or read since.");
            let writes = zone.write.iter().chain(other.write.iter()).map(|write| write.id);
            let shown = writes.chain([zone.ended.1, other.ended.1, other.began.1, zone.began.1]).collect();
            return Some(Found { anomaly: "stale-read", text, shown, culprits: 1 });
        }
    }
    None
}
