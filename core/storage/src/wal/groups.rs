//! Where every group's log begins and ends, its terms, and which segment holds which of its
//! entries. Kept alike while writing and while recovering, by the same rules.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use types::{GroupId, GroupWrite, HardState, LogPosition};

use super::record::GroupHead;

/// One group's log, without the entries.
///
/// Invariant: the segments hold exactly the entries from `start.index + 1` to `end.index`.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupLog {
    pub hard_state: HardState,
    /// The log begins after this position.
    pub start: LogPosition,
    pub end: LogPosition,
    /// The first position of each term after `start`.
    terms: VecDeque<LogPosition>,
}

impl GroupLog {
    fn begin_at(&mut self, position: LogPosition) {
        self.start = position;
        self.end = position;
        self.terms.clear();
    }

    /// Term of the entry at `index`, from `start` to `end`.
    fn term_at(&self, index: u64) -> u64 {
        let run = self.terms.iter().rev().find(|run| run.index <= index);
        run.map_or(self.start.term, |run| run.term)
    }

    fn position(&self, index: u64) -> LogPosition {
        LogPosition { index, term: self.term_at(index) }
    }

    fn truncate_after(&mut self, index: u64) {
        while self.terms.back().is_some_and(|run| run.index > index) {
            self.terms.pop_back();
        }
        self.end = self.position(index);
    }

    fn push(&mut self, position: LogPosition) {
        if position.term != self.end.term {
            self.terms.push_back(position);
        }
        self.end = position;
    }

    /// Forgets the entries up to `index`.
    fn drop_through(&mut self, index: u64) {
        self.start = self.position(index);
        while self.terms.front().is_some_and(|run| run.index <= index) {
            self.terms.pop_front();
        }
    }
}

/// One segment file.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub sequence: u64,
    /// Length of the file.
    pub segment_bytes: u64,
    /// For each group, the first and last index of those of its entries here that were not replaced.
    live: BTreeMap<GroupId, (u64, u64)>,
}

impl Segment {
    /// Whether a group may still need an entry in it.
    pub fn is_needed(&self, first_needed: &BTreeMap<GroupId, u64>) -> bool {
        let needs = |(group, &(_, last)): (&GroupId, &(u64, u64))| {
            first_needed.get(group).is_none_or(|&needed| needed <= last)
        };
        self.live.iter().any(needs)
    }
}

/// All groups and the segments, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    pub logs: BTreeMap<GroupId, GroupLog>,
    pub segments: VecDeque<Segment>,
    /// Groups that are no more: no segment is kept for their sake, and the next one does not name them.
    forgotten: BTreeSet<GroupId>,
}

impl Groups {
    /// A new segment begins; entries go there from now on.
    pub fn begin_segment(&mut self, sequence: u64, segment_bytes: u64) {
        self.segments.push_back(Segment { sequence, segment_bytes, live: BTreeMap::new() });
    }

    /// Where all groups stand.
    pub fn heads(&self) -> impl Iterator<Item = GroupHead> {
        let head = |(&group, log): (&GroupId, &GroupLog)| GroupHead {
            group,
            end: log.end,
            hard_state: log.hard_state,
        };
        self.logs.iter().map(head)
    }

    /// Recovery begins from what the oldest segment says; the entries before it are gone.
    pub fn begin_from(&mut self, heads: &[GroupHead]) {
        for head in heads {
            let log = self.logs.entry(head.group).or_default();
            log.begin_at(head.end);
            log.hard_state = head.hard_state;
        }
    }

    /// Term of the entry before the first of `write.entries`; 0 when there are none.
    pub fn previous_term(&self, write: &GroupWrite) -> u64 {
        match (write.entries.first(), write.reset, self.logs.get(&write.group)) {
            (None, _, _) | (Some(_), None, None) => 0,
            (Some(_), Some(reset), _) => reset.term,
            (Some(first), None, Some(log)) => log.term_at(first.index.saturating_sub(1)),
        }
    }

    /// In recovery: a write replaces entries of which the first were in segments that were freed.
    /// What it says of its predecessor is then where the log begins.
    pub fn lower_start(&mut self, write: &GroupWrite, previous_term: u64) {
        let (Some(first), None) = (write.entries.first(), write.reset) else { return };
        let log = self.logs.entry(write.group).or_default();
        if (1..=log.start.index).contains(&first.index) {
            log.begin_at(LogPosition { index: first.index - 1, term: previous_term });
            self.segments.iter_mut().for_each(|segment| segment.truncate(write.group, 0));
        }
    }

    /// A group is no more: its entries are needed by nobody.
    pub fn forget(&mut self, group: GroupId) {
        if self.logs.contains_key(&group) && self.forgotten.insert(group) {
            self.segments.iter_mut().for_each(|segment| {
                segment.live.remove(&group);
            });
        }
    }

    /// Before a segment begins: what its head does not name is gone from the log.
    pub fn drop_forgotten(&mut self) {
        for group in std::mem::take(&mut self.forgotten) {
            self.logs.remove(&group);
        }
    }

    /// In recovery: groups that a head does not name were forgotten before it was written. Answers them.
    pub fn forget_unnamed(&mut self, heads: &[GroupHead]) -> Vec<GroupId> {
        let named: BTreeSet<GroupId> = heads.iter().map(|head| head.group).collect();
        let unnamed: Vec<GroupId> =
            self.logs.keys().filter(|group| !named.contains(group)).copied().collect();
        unnamed.iter().for_each(|group| self.forget(*group));
        self.drop_forgotten();
        unnamed
    }

    /// Applies a write to the newest segment. The error says which rule it breaks; then nothing has
    /// changed.
    pub fn apply(&mut self, write: &GroupWrite) -> Result<(), String> {
        let known = self.logs.get(&write.group).cloned();
        let mut log = known.unwrap_or_default();
        if let Some(position) = write.reset {
            log.begin_at(position);
        }
        let kept_through = match write.entries.first() {
            Some(first) if first.index <= log.start.index || first.index - 1 > log.end.index => {
                let (start, end) = (log.start.index, log.end.index);
                return Err(format!(
                    "group {}: entry {} does not continue a log that begins after {start} and ends with {end}",
                    write.group, first.index
                ));
            }
            Some(first) => {
                log.truncate_after(first.index - 1);
                first.index - 1
            }
            None => log.end.index,
        };
        for entry in &write.entries {
            let expected = log.end.index + 1;
            if entry.index != expected || entry.term < log.end.term {
                return Err(format!(
                    "group {}: entry {} of term {} follows entry {} of term {}",
                    write.group, entry.index, entry.term, log.end.index, log.end.term
                ));
            }
            log.push(LogPosition { index: entry.index, term: entry.term });
        }
        log.hard_state = write.hard_state.unwrap_or(log.hard_state);
        let kept_through = if write.reset.is_some() { 0 } else { kept_through };
        if self.logs.get(&write.group).is_some_and(|old| old.end.index > kept_through) {
            self.segments.iter_mut().for_each(|segment| segment.truncate(write.group, kept_through));
        }
        if let (Some(first), Some(last)) = (write.entries.first(), write.entries.last()) {
            let newest = self.segments.back_mut().expect("there is always a newest segment");
            let live = newest.live.entry(write.group).or_insert((first.index, last.index));
            live.1 = last.index;
        }
        self.logs.insert(write.group, log);
        Ok(())
    }

    /// The oldest segment is gone, and the entries in it.
    pub fn drop_oldest(&mut self) {
        let Some(oldest) = self.segments.pop_front() else { return };
        for (group, (_, last)) in oldest.live {
            self.logs.get_mut(&group).expect("a group with entries is known").drop_through(last);
        }
    }
}

impl Segment {
    /// The group's entries after `index` are replaced.
    fn truncate(&mut self, group: GroupId, index: u64) {
        if let Some((first, last)) = self.live.get_mut(&group) {
            *last = (*last).min(index);
            if *first > *last {
                self.live.remove(&group);
            }
        }
    }
}
