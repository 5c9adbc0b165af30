//! The log thread over a simulated disk: nothing is reported before it is durable, and a full disk loses nothing.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use storage::{Files, Identity, MemFiles, wal::WalOptions};
use types::{ClusterId, Entry, GroupId, GroupWrite, HardState, NodeId, WriteBatch, WriteSeq};

use super::*;
use crate::run::inbox::NodeMessage;

const SEGMENT_BYTES: u64 = 64 * 1024;
/// Ends a test that would wait for ever.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

fn open(files: &MemFiles) -> (Wal, storage::wal::Recovered) {
    let identity = Identity { cluster: ClusterId([7; 16]), node: NodeId(0) };
    let options = WalOptions { segment_bytes: SEGMENT_BYTES, entry_reserve_bytes: 8 * 1024, boot_nonce: 1 };
    Wal::open(Arc::new(files.clone()), &identity, options).unwrap()
}

struct Fixture {
    files: MemFiles,
    inbox: Arc<Inbox>,
    /// Reports taken from the inbox and not yet looked at.
    taken: RefCell<VecDeque<NodeMessage>>,
    jobs: mpsc::Sender<LogJob>,
    thread: thread::JoinHandle<()>,
}

fn fixture(files: MemFiles, disk_free_bytes_min: u64) -> Fixture {
    let inbox = Arc::new(Inbox::new(1));
    let (jobs, thread) = start(LogThread {
        wal: open(&files).0,
        files: Arc::new(files.clone()),
        disk_free_bytes_min,
        inbox: inbox.clone(),
        metrics: Arc::new(Metrics::new()),
    });
    Fixture { files, inbox, taken: RefCell::default(), jobs, thread }
}

fn batch(index: u64, data_bytes: usize) -> WriteBatch {
    let entries = vec![Entry { index, term: 1, data: vec![index as u8; data_bytes].into() }];
    let write = GroupWrite { group: GroupId(2), reset: None, entries, hard_state: None };
    WriteBatch { seq: WriteSeq(index), groups: vec![write] }
}

fn vote(seq: u64, term: u64) -> WriteBatch {
    let hard_state = Some(HardState { term, vote: 1, commit: 0 });
    let write = GroupWrite { group: GroupId(2), reset: None, entries: Vec::new(), hard_state };
    WriteBatch { seq: WriteSeq(seq), groups: vec![write] }
}

impl Fixture {
    fn write(&self, batch: WriteBatch) {
        self.jobs.send(LogJob::Write(batch)).unwrap();
    }

    /// Takes reports until `last` is reached; answers all of them.
    fn until(&self, last: impl Fn(&Input) -> bool) -> Vec<Input> {
        let end = Instant::now() + TEST_TIMEOUT;
        let mut reports = Vec::new();
        loop {
            assert!(Instant::now() < end, "still waiting after {reports:?}");
            let Some(message) = self.next(end) else { continue };
            let NodeMessage::Input(input) = message else { panic!("{message:?}") };
            let done = last(&input);
            reports.push(input);
            if done {
                return reports;
            }
        }
    }

    fn next(&self, end: Instant) -> Option<NodeMessage> {
        let mut taken = self.taken.borrow_mut();
        if taken.is_empty() {
            let mut batch = Vec::new();
            self.inbox.take(end, &mut batch);
            taken.extend(batch);
        }
        taken.pop_front()
    }

    fn until_written(&self, seq: u64) -> Vec<Input> {
        self.until(|input| matches!(input, Input::Written(WriteSeq(written)) if *written == seq))
    }

    fn stop(self) -> MemFiles {
        drop(self.jobs);
        self.thread.join().unwrap();
        self.files
    }
}

#[test]
fn batches_are_reported_in_order_and_survive_a_crash_from_then_on() {
    let fixture = fixture(MemFiles::new(), 0);
    for index in 1..=100 {
        fixture.write(batch(index, 3_000));
    }
    let written = fixture.until_written(100);
    let seqs: Vec<u64> = written
        .iter()
        .map(|input| match input {
            Input::Written(seq) => seq.0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(seqs.is_sorted(), "{seqs:?}");
    // The disk as a crash right now would leave it.
    let disk = fixture.files.copy();
    disk.crash(&mut || 0);
    assert_eq!(open(&disk).1.groups[&GroupId(2)].entries.len(), 100);
    fixture.stop();
}

#[test]
fn a_full_disk_keeps_batches_in_order_and_goes_on_when_there_is_space() {
    let files = MemFiles::new();
    let fixture = fixture(files.clone(), 0);
    fixture.write(batch(1, 100));
    fixture.until_written(1);
    files.set_capacity(Some(files.used_bytes()));
    // More than fits the segments that there are.
    for index in 2..=200 {
        fixture.write(batch(index, 3_000));
    }
    fixture.until(|input| matches!(input, Input::LogSpace { entries_accepted: false }));
    files.set_capacity(None);
    let reports = fixture.until_written(200);
    let told = reports.iter().any(|input| matches!(input, Input::LogSpace { entries_accepted: true }));
    if !told {
        fixture.until(|input| matches!(input, Input::LogSpace { entries_accepted: true }));
    }
    let files = fixture.stop();
    assert_eq!(open(&files).1.groups[&GroupId(2)].entries.len(), 200);
}

#[test]
fn too_little_free_space_refuses_entries_while_votes_are_written() {
    let files = MemFiles::new();
    drop(open(&files));
    files.set_capacity(Some(files.used_bytes() + 1_000));
    let fixture = fixture(files, 1_000_000);
    fixture.until(|input| matches!(input, Input::LogSpace { entries_accepted: false }));
    fixture.write(vote(1, 5));
    fixture.until_written(1);
    fixture.files.set_capacity(None);
    fixture.until(|input| matches!(input, Input::LogSpace { entries_accepted: true }));
    let files = fixture.stop();
    assert_eq!(open(&files).1.groups[&GroupId(2)].hard_state.term, 5);
}

#[test]
fn what_is_no_longer_needed_is_freed() {
    let fixture = fixture(MemFiles::new(), 0);
    for index in 1..=200 {
        fixture.write(batch(index, 3_000));
    }
    fixture.until_written(200);
    let before = fixture.files.list().unwrap().len();
    fixture.jobs.send(LogJob::Retain([(GroupId(2), 200)].into())).unwrap();
    fixture.write(vote(201, 1));
    fixture.until_written(201);
    let files = fixture.stop();
    let after = files.list().unwrap().len();
    assert!(after < before, "{before} files, then {after}");
    assert_eq!(open(&files).1.groups[&GroupId(2)].entries.last().unwrap().index, 200);
}
