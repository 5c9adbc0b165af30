//! Ends of the process, seen from outside: each test runs itself again as a child, whose end it judges.

use std::{
    collections::BTreeMap,
    process::{Command, Output},
    sync::Arc,
    thread,
};

use storage::{
    Files, Identity, MemFiles,
    wal::{Wal, WalOptions},
};
use types::{ClusterId, Entry, GroupId, GroupWrite, NodeId, WriteBatch, WriteSeq};

use super::*;
use crate::{
    metrics::Metrics,
    run::{
        inbox::Inbox,
        log_thread::{self, LogJob, LogThread},
    },
};

const CHILD: &str = "QUORATE_TEST_CHILD";

/// In the child: carries out `end`, which is not to return. In the parent: how the child ended.
fn end_of_child(test: &str, end: impl FnOnce()) -> Output {
    if std::env::var_os(CHILD).is_some() {
        end();
        unreachable!("the process goes on");
    }
    let name = format!("run::stop::tests::{test}");
    let child = std::env::current_exe().expect("the path of this test");
    let mut command = Command::new(child);
    command.args(["--exact", &name, "--nocapture"]).env(CHILD, "1").output().expect("the child starts")
}

fn assert_ended(output: &Output, code: i32, said: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(said), "{stderr}");
}

#[test]
fn a_failed_sync_of_the_log_ends_the_process_before_it_is_reported() {
    let output = end_of_child("a_failed_sync_of_the_log_ends_the_process_before_it_is_reported", || {
        let files = MemFiles::new();
        let identity = Identity { cluster: ClusterId([7; 16]), node: NodeId(0) };
        let options = WalOptions { segment_bytes: 65_536, entry_reserve_bytes: 8_192, boot_nonce: 1 };
        let shared: Arc<dyn Files> = Arc::new(files.clone());
        let (wal, _) = Wal::open(shared.clone(), &identity, options).expect("an empty log opens");
        let inbox = Arc::new(Inbox::new(1));
        let (jobs, thread) = log_thread::start(LogThread {
            wal,
            files: shared,
            disk_free_bytes_min: 0,
            inbox,
            metrics: Arc::new(Metrics::new()),
        });
        files.fail_sync(1);
        let entries = vec![Entry { index: 1, term: 1, data: b"x".to_vec().into() }];
        let write = GroupWrite { group: GroupId(2), reset: None, entries, hard_state: None };
        jobs.send(LogJob::Write(WriteBatch { seq: WriteSeq(1), groups: vec![write] })).expect("it runs");
        jobs.send(LogJob::Retain(BTreeMap::new())).expect("it runs");
        drop(jobs);
        thread.join().expect("the process ends first");
    });
    assert_ended(&output, EXIT_DISK, "write-ahead log");
}

#[test]
fn a_panic_of_a_thread_ends_the_process() {
    let output = end_of_child("a_panic_of_a_thread_ends_the_process", || {
        let body = || guard("node", || panic!("two leaders in one term"));
        thread::spawn(body).join().expect("the process ends first")
    });
    assert_ended(
        &output,
        EXIT_BROKEN_INVARIANT,
        "the node thread broke an invariant: two leaders in one term",
    );
}
