//! G-LOG-DURABLE against a model: random appends, rotations, frees, full disks, failed syncs and
//! crashes at any disk operation; and single flipped bytes anywhere.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use storage::{
    AppendError, DiskError, Files, Identity, MemFiles, OpenError, Recovered, RecoveredGroup, Wal, WalOptions,
    wal::SPARES_MAX,
};
use types::{ClusterId, Entry, GroupId, GroupWrite, HardState, LogPosition, NodeId, WriteBatch, WriteSeq};

const IDENTITY: Identity = Identity { cluster: ClusterId([3; 16]), node: NodeId(1) };

/// What one group does in one append.
#[derive(Clone, Debug)]
struct Change {
    group: u64,
    /// Entries to write.
    count: u64,
    /// Entries to replace, as far as they may be.
    back: u64,
    bytes: usize,
    hard_state: bool,
    reset: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Change>),
    /// Free all but about this many of the newest entries of each group.
    Retain(u64),
    /// The process ends and another one opens the log.
    Restart,
    /// Power is lost after this many disk operations at the latest, then comes back.
    Crash {
        after: u64,
        seed: u64,
    },
    FailSync(u64),
    /// Room for this many more bytes.
    Capacity(u64),
    Uncapped,
}

fn change() -> impl Strategy<Value = Change> {
    let sizes = prop_oneof![3 => 0..40usize, 2 => 40..900usize];
    let back = prop_oneof![4 => Just(0), 1 => 1..20u64];
    (1..4u64, 0..5u64, back, sizes, any::<bool>(), prop::bool::weighted(0.05)).prop_map(
        |(group, count, back, bytes, hard_state, reset)| Change {
            group,
            count,
            back,
            bytes,
            hard_state,
            reset,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => prop::collection::vec(change(), 1..4).prop_map(Step::Append),
        3 => (0..30u64).prop_map(Step::Retain),
        1 => Just(Step::Restart),
        3 => (0..14u64, any::<u64>()).prop_map(|(after, seed)| Step::Crash { after, seed }),
        1 => (1..4u64).prop_map(Step::FailSync),
        1 => (0..20_000u64).prop_map(Step::Capacity),
        1 => Just(Step::Uncapped),
    ]
}

/// What one group wrote, with what it no longer needs.
#[derive(Clone, Debug, Default, PartialEq)]
struct ModelGroup {
    hard_state: HardState,
    reset: LogPosition,
    /// All entries since `reset`, freed or not.
    entries: Vec<Entry>,
    /// Entries below it may be gone, and are not replaced.
    first_needed: u64,
}

impl ModelGroup {
    fn end(&self) -> u64 {
        self.reset.index + self.entries.len() as u64
    }

    fn term_at(&self, index: u64) -> u64 {
        match index - self.reset.index {
            0 => self.reset.term,
            count => self.entries[count as usize - 1].term,
        }
    }

    fn apply(&mut self, write: &GroupWrite) {
        if let Some(position) = write.reset {
            *self = ModelGroup { hard_state: self.hard_state, reset: position, ..ModelGroup::default() };
        }
        if let Some(first) = write.entries.first() {
            self.entries.truncate((first.index - self.reset.index - 1) as usize);
            self.entries.extend_from_slice(&write.entries);
        }
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
    }

    /// Why what was recovered is not this.
    fn difference(&self, found: &RecoveredGroup) -> Option<String> {
        let start = found.start.index;
        if found.hard_state != self.hard_state {
            return Some(format!("hard state {:?} instead of {:?}", found.hard_state, self.hard_state));
        }
        if start < self.reset.index || (start >= self.first_needed && start > self.reset.index) {
            return Some(format!("begins after {start}, {} is needed", self.first_needed));
        }
        if found.start.term != self.term_at(start) {
            return Some(format!("term of {start} is {}, not {}", found.start.term, self.term_at(start)));
        }
        let expected = &self.entries[(start - self.reset.index) as usize..];
        (found.entries != expected).then(|| format!("entries after {start} differ"))
    }
}

type Model = BTreeMap<GroupId, ModelGroup>;

fn difference(model: &Model, found: &Recovered) -> Option<String> {
    if !model.keys().eq(found.groups.keys()) {
        return Some(format!("groups {:?} instead of {:?}", found.groups.keys(), model.keys()));
    }
    let pairs = model.iter().zip(found.groups.values());
    let mut differences = pairs.filter_map(|((id, group), found)| {
        group.difference(found).map(|difference| format!("group {id}: {difference}"))
    });
    differences.next()
}

/// xorshift64*, so that a seed of the property's gives one course of events.
fn generator(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }
}

struct Bench {
    files: MemFiles,
    wal: Option<Wal>,
    /// What must be there.
    model: Model,
    /// What may be there instead, after an append of which the end is not known.
    pending: Option<Model>,
    boots: u64,
    written: u64,
}

impl Bench {
    fn new() -> Bench {
        let (files, model) = (MemFiles::new(), Model::new());
        Bench { files, wal: None, model, pending: None, boots: 0, written: 0 }
    }

    fn options(&mut self) -> WalOptions {
        self.boots += 1;
        // Nonces repeat at times: epochs must not rely on them alone.
        WalOptions { segment_bytes: 8192, entry_reserve_bytes: 300, boot_nonce: self.boots / 3 }
    }

    /// Opens the log; what it holds must be what the model says.
    fn open(&mut self) -> Result<(), OpenError> {
        self.wal = None;
        let options = self.options();
        let (wal, recovered) = Wal::open(Arc::new(self.files.clone()), &IDENTITY, options)?;
        let kept = difference(&self.model, &recovered);
        if let (Some(kept), Some(pending)) = (&kept, self.pending.take()) {
            let added = difference(&pending, &recovered);
            assert_eq!(added, None, "neither the durable state ({kept}) nor that plus the last append");
            self.model = pending;
        } else {
            assert_eq!(kept, None);
        }
        self.pending = None;
        assert!(wal.stats().spares <= SPARES_MAX);
        self.wal = Some(wal);
        Ok(())
    }

    fn open_for_sure(&mut self) {
        self.files.set_capacity(None);
        if let Err(error) = self.open() {
            panic!("{error}");
        }
    }

    /// Opens the log if it is not open; a disk fault ends in a restart without one.
    fn ensure_open(&mut self) {
        if self.wal.is_none() {
            match self.open() {
                Ok(()) => {}
                Err(OpenError::Disk(_)) => self.open_for_sure(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn crash(&mut self, seed: u64) {
        self.wal = None;
        self.files.crash(&mut generator(seed));
    }

    fn writes(&mut self, changes: &[Change]) -> (Vec<WriteBatch>, Model) {
        let mut model = self.model.clone();
        let mut batches = Vec::new();
        for change in changes {
            self.written += 1;
            let id = GroupId(change.group);
            let group = model.get(&id).cloned().unwrap_or_default();
            let term = group.term_at(group.end());
            let reset =
                change.reset.then(|| LogPosition { index: group.end() + change.back, term: term + 1 });
            let lowest = group.first_needed.max(group.reset.index + 1);
            let (first, term) = match reset {
                Some(position) => (position.index + 1, position.term),
                None if change.back > 0 => {
                    ((group.end() + 1).saturating_sub(change.back).max(lowest), term + 1)
                }
                None => (group.end() + 1, term.max(1)),
            };
            let data = |index: u64| {
                let stamp = [self.written.to_le_bytes(), index.to_le_bytes()].concat();
                Arc::from(stamp.into_iter().cycle().take(change.bytes).collect::<Vec<_>>())
            };
            let entry = |index| Entry { index, term, data: data(index) };
            let entries: Vec<_> = (first..first + change.count).map(entry).collect();
            let state = HardState { term, vote: self.written, commit: group.first_needed };
            let hard_state = change.hard_state.then_some(state);
            let write = GroupWrite { group: id, reset, entries, hard_state };
            if write.reset.is_some() || write.hard_state.is_some() || !write.entries.is_empty() {
                model.entry(id).or_default().apply(&write);
            }
            batches.push(WriteBatch { seq: WriteSeq(self.written), groups: vec![write] });
        }
        (batches, model)
    }

    fn append(&mut self, changes: &[Change]) {
        let (batches, after) = self.writes(changes);
        let syncs = self.files.syncs();
        let wal = self.wal.as_mut().expect("opened before");
        let sequence = wal.stats().active_sequence;
        match wal.append(&batches) {
            Ok(()) => {
                let rotated = wal.stats().active_sequence != sequence;
                assert!(rotated || self.files.syncs() <= syncs + 1, "one sync an append");
                self.model = after;
            }
            Err(AppendError::Disk(error)) => {
                let again = wal.append(&[WriteBatch { seq: WriteSeq(0), groups: vec![] }]);
                assert_eq!(again, Err(AppendError::Disk(error)), "a failure is final");
                self.pending = Some(after);
                self.wal = None;
            }
            Err(AppendError::TooLarge { .. }) => assert!(Wal::frame_bytes(&batches) > wal.frame_bytes_max()),
            Err(AppendError::NoSpace) => assert_eq!(wal.stats().spares, 0),
        }
    }

    fn retain(&mut self, keep: u64) {
        let mut needed = BTreeMap::new();
        for (id, group) in &mut self.model {
            group.first_needed = group.first_needed.max((group.end() + 1).saturating_sub(keep));
            needed.insert(*id, group.first_needed);
        }
        let wal = self.wal.as_mut().expect("opened before");
        let done = wal.retain(&needed).and_then(|_| wal.try_make_spare());
        match done {
            Err(_) => self.wal = None,
            Ok(_) if keep == 0 => assert_eq!(wal.stats().segments, 1, "nothing holds a segment back"),
            Ok(_) => {}
        }
    }

    fn step(&mut self, step: &Step) {
        self.ensure_open();
        match step {
            Step::Append(changes) => self.append(changes),
            Step::Retain(keep) => self.retain(*keep),
            Step::Restart => self.ensure_reopened(),
            Step::FailSync(nth) => self.files.fail_sync(*nth),
            Step::Capacity(more) => self.files.set_capacity(Some(self.files.used_bytes() + more)),
            Step::Uncapped => self.files.set_capacity(None),
            Step::Crash { after, seed } => self.crash_within(*after, *seed),
        }
    }

    fn ensure_reopened(&mut self) {
        self.wal = None;
        self.ensure_open();
    }

    /// Some work that meets the power loss, be it in the append, in freeing, or in opening again.
    fn crash_within(&mut self, after: u64, seed: u64) {
        let mut random = generator(seed);
        self.files.halt_after(after);
        for _ in 0..3 {
            let bytes = (random() % 900) as usize;
            let (group, count) = (1 + random() % 3, random() % 5);
            if self.wal.is_some() {
                self.append(&[Change { group, count, back: 0, bytes, hard_state: true, reset: false }]);
            }
            if self.wal.is_some() && random().is_multiple_of(3) {
                self.retain(random() % 10);
            }
        }
        self.crash(seed);
        // The second start may not get far either.
        self.files.halt_after(random() % 12);
        if let Err(error) = self.open() {
            assert!(matches!(error, OpenError::Disk(DiskError::Io(_) | DiskError::NoSpace)), "{error}");
            self.crash(random());
        } else {
            self.crash(random());
        }
        self.open_for_sure();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Everything appended is recovered exactly, and nothing else but a complete, unsynced last append.
    #[test]
    fn recovers_what_was_appended(steps in prop::collection::vec(step(), 1..80)) {
        let mut bench = Bench::new();
        bench.open_for_sure();
        for step in &steps {
            bench.step(step);
        }
        bench.crash(1);
        bench.open_for_sure();
    }

    /// A flipped byte outside the last frame is refused and nothing is changed, or it is harmless.
    #[test]
    fn flips_are_refused_or_harmless(
        appends in prop::collection::vec(prop::collection::vec(change(), 1..3), 10..40),
        keep in 0..40u64,
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8u8), 60),
    ) {
        let mut bench = Bench::new();
        bench.open_for_sure();
        let half = appends.len() / 2;
        appends[..half].iter().for_each(|changes| bench.append(changes));
        bench.retain(keep);
        appends[half..].iter().for_each(|changes| bench.append(changes));
        let last_frame = bench.last_frame();
        let names = bench.files.list().unwrap();
        for (name, offset, bit) in places {
            let name = &names[name.index(names.len())];
            let offset = offset.index(8192) as u64;
            if !(last_frame.0 == *name && (last_frame.1..last_frame.2).contains(&offset)) {
                flip(&bench.files, &bench.model, name, offset, 1 << bit);
            }
        }
    }
}

impl Bench {
    /// The newest segment's name, and where its last frame begins and ends: an append of known length.
    fn last_frame(&mut self) -> (String, u64, u64) {
        let change = Change { group: 1, count: 1, back: 0, bytes: 50, hard_state: true, reset: false };
        self.append(&[change]);
        let stats = self.wal.as_ref().expect("opened before").stats();
        let (batches, _) =
            self.writes(&[Change { group: 1, count: 1, back: 0, bytes: 50, hard_state: true, reset: false }]);
        let begin = stats.active_offset - Wal::frame_bytes(&batches);
        (format!("wal-{:016x}.log", stats.active_sequence), begin, stats.active_offset)
    }
}

fn flip(files: &MemFiles, model: &Model, name: &str, offset: u64, mask: u8) {
    let files = files.copy();
    files.flip(name, offset, mask);
    let damaged = files.copy();
    let options = WalOptions { segment_bytes: 8192, entry_reserve_bytes: 300, boot_nonce: 99 };
    match Wal::open(Arc::new(files.clone()), &IDENTITY, options) {
        Ok((_, recovered)) => {
            let difference = difference(model, &recovered);
            assert_eq!(difference, None, "byte {offset} of {name} flipped by {mask:#x}");
        }
        Err(OpenError::Corrupt { file, .. }) => {
            assert_eq!(files.list(), damaged.list());
            assert_eq!(files.contents(&file), damaged.contents(&file), "a refused file is not changed");
        }
        Err(error) => panic!("byte {offset} of {name} flipped by {mask:#x}: {error}"),
    }
}

/// Every byte of a log of three segments, one after the other.
#[test]
fn every_single_byte() {
    let mut bench = Bench::new();
    bench.open_for_sure();
    for bytes in [10, 700, 300, 800, 0, 600] {
        let group = 1 + bytes as u64 % 2;
        bench.append(&[Change { group, count: 3, back: 0, bytes, hard_state: true, reset: false }]);
    }
    let last_frame = bench.last_frame();
    for name in bench.files.list().unwrap() {
        for offset in 0..8192 {
            if !(last_frame.0 == name && (last_frame.1..last_frame.2).contains(&offset)) {
                flip(&bench.files, &bench.model, &name, offset, 0x04);
            }
        }
    }
}

/// Someone restores one segment from the copy of another history of the same node: all checksums are
/// right, and frames end at the same byte, but the groups do not stand where its head frame says.
#[test]
fn a_segment_of_another_history_is_refused() {
    let history = |vote| {
        let files = MemFiles::new();
        let options = WalOptions { segment_bytes: 8192, entry_reserve_bytes: 300, boot_nonce: 5 };
        let (mut wal, _) = Wal::open(Arc::new(files.clone()), &IDENTITY, options).unwrap();
        for index in 1..=8 {
            let entry = Entry { index, term: 1, data: Arc::from(vec![0; 700]) };
            let hard_state = Some(HardState { term: 1, vote, commit: index - 1 });
            let write = GroupWrite { group: GroupId(1), reset: None, entries: vec![entry], hard_state };
            wal.append(&[WriteBatch { seq: WriteSeq(index), groups: vec![write] }]).unwrap();
        }
        assert_eq!(wal.stats().segments, 2);
        (files, options)
    };
    let ((files, options), (others, _)) = (history(1), history(2));
    let second = "wal-0000000000000002.log";
    files.set_contents(second, others.contents(second).unwrap());
    let refused = Wal::open(Arc::new(files), &IDENTITY, options).unwrap_err();
    assert!(matches!(refused, OpenError::Corrupt { ref file, .. } if file == second), "{refused}");
}

/// Freed entries were committed: a consensus state that replaces them is broken, and nothing is written.
#[test]
#[should_panic(expected = "does not continue a log that begins after 8")]
fn replacing_freed_entries_stops_the_process() {
    let mut bench = Bench::new();
    bench.open_for_sure();
    bench.append(&[Change { group: 1, count: 4, back: 0, bytes: 700, hard_state: true, reset: false }]);
    bench.append(&[Change { group: 1, count: 4, back: 0, bytes: 700, hard_state: true, reset: false }]);
    bench.append(&[Change { group: 2, count: 4, back: 0, bytes: 700, hard_state: true, reset: false }]);
    bench.retain(0);
    bench.model.get_mut(&GroupId(1)).expect("it wrote").first_needed = 0;
    bench.append(&[Change { group: 1, count: 1, back: 2, bytes: 0, hard_state: false, reset: false }]);
}
