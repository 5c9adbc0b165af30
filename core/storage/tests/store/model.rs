//! Any sequence of entries, checkpoints, installs and crashes leaves what a plain table would have.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use storage::{CheckpointDone, CheckpointJob, InstallDone, InstallJob, MemFiles, ReadRows, RowMeta, Store};
use types::{GroupId, LogPosition};

use crate::support::{GroupModel, Model, apply, checkpoint, fill, open, random, read, snapshot, value};

#[derive(Clone, Debug)]
enum Op {
    Put { group: u64, key: Vec<u8>, bytes: usize },
    Delete { group: u64, key: Vec<u8> },
    BeginCheckpoint,
    BeginInstall { group: u64 },
    RunJob,
    FinishJob,
    AbortCheckpoint,
    Crash { seed: u64 },
    Page { group: u64, start: Vec<u8>, end: Option<Vec<u8>>, limit: usize },
    Check,
}

/// Few and short, so that they meet.
fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(255)], 0..4)
}

/// Neighbours, and the last group there can be.
fn group() -> impl Strategy<Value = u64> {
    prop_oneof![Just(1), Just(2), Just(u64::MAX)]
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = prop_oneof![Just(0usize), Just(64), Just(65), 0..6_000usize];
    prop_oneof![
        12 => (group(), key(), bytes).prop_map(|(group, key, bytes)| Op::Put { group, key, bytes }),
        4 => (group(), key()).prop_map(|(group, key)| Op::Delete { group, key }),
        4 => Just(Op::BeginCheckpoint),
        1 => group().prop_map(|group| Op::BeginInstall { group }),
        4 => Just(Op::RunJob),
        4 => Just(Op::FinishJob),
        1 => Just(Op::AbortCheckpoint),
        1 => any::<u64>().prop_map(|seed| Op::Crash { seed }),
        3 => (group(), key(), proptest::option::of(key()), 1..4usize)
            .prop_map(|(group, start, end, limit)| Op::Page { group, start, end, limit }),
        2 => Just(Op::Check),
    ]
}

enum Job {
    Checkpoint(CheckpointJob, Model),
    Install(Box<InstallJob>, GroupModel),
}

enum Done {
    Checkpoint(CheckpointDone),
    Install(InstallDone, GroupModel),
}

struct World {
    files: MemFiles,
    store: Store,
    donor: Store,
    donor_model: Model,
    /// What is applied.
    current: Model,
    /// What the last finished job left on disk.
    viewed: Model,
    /// What the last job that ran left on disk.
    durable: Model,
    installing: BTreeSet<GroupId>,
    jobs: VecDeque<Job>,
    done: VecDeque<(Done, Model)>,
    salt: u64,
}

impl World {
    fn new() -> World {
        let files = MemFiles::new();
        let mut donor = open(&MemFiles::new()).unwrap();
        let groups = [GroupId(1), GroupId(2), GroupId(u64::MAX)];
        let donor_model = groups.map(|group| (group, fill(&mut donor, group, 12, group.0)));
        checkpoint(&mut donor).unwrap();
        World {
            store: open(&files).unwrap(),
            files,
            donor,
            donor_model: BTreeMap::from(donor_model),
            current: Model::new(),
            viewed: Model::new(),
            durable: Model::new(),
            installing: BTreeSet::new(),
            jobs: VecDeque::new(),
            done: VecDeque::new(),
            salt: 0,
        }
    }

    fn expected(&self, group: GroupId) -> GroupModel {
        let model = if self.installing.contains(&group) { &self.viewed } else { &self.current };
        model.get(&group).cloned().unwrap_or_default()
    }

    fn apply(&mut self, group: u64, key: &[u8], bytes: Option<usize>) {
        let group = GroupId(group);
        if self.installing.contains(&group) {
            return;
        }
        self.salt += 1;
        let value = bytes.map(|bytes| value(bytes, self.salt));
        apply(&mut self.store, self.current.entry(group).or_default(), group, key, value);
    }

    fn begin_install(&mut self, group: GroupId) {
        if !self.installing.insert(group) {
            return;
        }
        let mut staging = self.store.begin_staging(group).unwrap();
        for piece in snapshot(&self.donor, group).unwrap() {
            staging.append(&piece.data).unwrap();
        }
        let model = self.donor_model[&group].clone();
        let position = LogPosition { index: model.state.applied_index, term: model.state.applied_term };
        let job = self.store.begin_install(group, staging, position).unwrap();
        self.jobs.push_back(Job::Install(Box::new(job), model));
    }

    fn run_job(&mut self) {
        let done = match self.jobs.pop_front() {
            Some(Job::Checkpoint(job, model)) => {
                self.durable.extend(model);
                Done::Checkpoint(job.run().unwrap())
            }
            Some(Job::Install(job, model)) => {
                self.durable.insert(job.group(), model.clone());
                Done::Install(job.run().unwrap(), model)
            }
            None => return,
        };
        self.done.push_back((done, self.durable.clone()));
    }

    fn finish_job(&mut self) {
        match self.done.pop_front() {
            Some((Done::Checkpoint(done), durable)) => {
                self.store.finish_checkpoint(done);
                self.viewed = durable;
            }
            Some((Done::Install(done, model), durable)) => {
                self.installing.remove(&done.group());
                self.current.insert(done.group(), model);
                self.store.finish_install(done);
                self.viewed = durable;
            }
            None => {}
        }
    }

    fn crash(&mut self, seed: u64) {
        self.files.crash(&mut random(seed));
        self.jobs.clear();
        self.done.clear();
        self.installing.clear();
        self.store = open(&self.files).unwrap();
        self.viewed = self.durable.clone();
        self.current = self.durable.clone();
        assert_eq!(self.store.overlay_bytes(), 0);
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Put { group, key, bytes } => self.apply(group, &key, Some(bytes)),
            Op::Delete { group, key } => self.apply(group, &key, None),
            Op::BeginCheckpoint => {
                if let Some(job) = self.store.begin_checkpoint() {
                    let mut model = self.current.clone();
                    model.retain(|group, _| !self.installing.contains(group));
                    self.jobs.push_back(Job::Checkpoint(job, model));
                    assert!(self.store.begin_checkpoint().is_none(), "one at a time");
                }
            }
            Op::BeginInstall { group } => self.begin_install(GroupId(group)),
            Op::RunJob => self.run_job(),
            Op::FinishJob => self.finish_job(),
            Op::AbortCheckpoint => {
                if let Some(Job::Checkpoint(..)) = self.jobs.front() {
                    self.jobs.pop_front();
                    self.store.abort_checkpoint();
                }
            }
            Op::Crash { seed } => self.crash(seed),
            Op::Page { group, start, end, limit } => self.page(GroupId(group), start, end, limit),
            Op::Check => self.check(),
        }
    }

    fn page(&self, group: GroupId, start: Vec<u8>, end: Option<Vec<u8>>, limit: usize) {
        let mut found = Vec::new();
        let mut visit = |key: &[u8], row| {
            found.push((key.to_vec(), row));
            found.len() < limit
        };
        self.store.scan(group, &start, end.as_deref(), &mut visit).unwrap();
        let mut metas = Vec::new();
        let mut visit = |key: &[u8], meta| {
            metas.push((key.to_vec(), meta));
            metas.len() < limit
        };
        self.store.scan_meta(group, &start, end.as_deref(), &mut visit).unwrap();
        let described: Vec<_> = found.iter().map(|(key, row)| (key.clone(), RowMeta::of(row))).collect();
        assert_eq!(metas, described);
        let rows = self.expected(group).rows.into_iter();
        let rows = rows.filter(|(key, _)| *key >= start && end.as_ref().is_none_or(|end| key < end));
        assert_eq!(found, rows.take(limit).collect::<Vec<_>>());
    }

    fn check(&self) {
        for group in [GroupId(1), GroupId(2), GroupId(3), GroupId(u64::MAX)] {
            let expected = self.expected(group);
            assert_eq!(read(&self.store, group).unwrap(), expected);
            for (key, row) in &expected.rows {
                assert_eq!(self.store.get(group, key).unwrap().as_ref(), Some(row));
                assert_eq!(self.store.meta(group, key).unwrap(), Some(RowMeta::of(row)));
            }
            assert_eq!(self.store.get(group, b"absent").unwrap(), None);
            assert_eq!(self.store.meta(group, b"absent").unwrap(), None);
            let viewed = self.viewed.get(&group).cloned().unwrap_or_default();
            assert_eq!(self.store.checkpointed(group), viewed.state);
            assert_eq!(self.store.scrub(group).unwrap(), viewed.state.state_hash);
        }
        let mut groups: BTreeSet<GroupId> = self.viewed.keys().copied().collect();
        groups.extend(self.current.keys().filter(|group| !self.installing.contains(group)));
        assert_eq!(self.store.groups(), Vec::from_iter(groups));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_store_equals_a_plain_table(ops in proptest::collection::vec(op(), 1..80)) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
        }
        world.check();
        while !world.jobs.is_empty() || !world.done.is_empty() {
            world.run_job();
            world.finish_job();
        }
        world.check();
        world.crash(1);
        world.check();
    }
}

/// Two runs of one history leave the same bytes on disk.
#[test]
fn equal_calls_give_equal_bytes() {
    let run = || {
        let files = MemFiles::new();
        let mut store = open(&files).unwrap();
        for seed in 0..4 {
            fill(&mut store, GroupId(seed + 1), 40, seed);
            checkpoint(&mut store).unwrap();
        }
        let pieces = snapshot(&store, GroupId(2)).unwrap();
        drop(store);
        (files.contents("state.redb"), pieces)
    };
    assert!(run() == run(), "equal bytes");
}
