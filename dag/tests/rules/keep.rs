//! What must be kept: blobs that a record names, and refs of attempts until their task has been finished for long
//! enough.

use std::collections::{BTreeMap, HashSet};

use devstack_dag::{
    attempt::{Conflict, Outcome, Report},
    command::Command,
    ids::{BlobId, TaskId, Text, Timestamp},
};

use crate::{
    common::{attempt_id, commit, host_name, project_name, repo_plan, task, task_ref},
    desk::Desk,
};

fn blob(byte: u8) -> Text {
    Text::Blob(BlobId([byte; 32]), 9_000)
}

fn kept(desk: &Desk) -> HashSet<u8> {
    desk.engine.blobs().into_iter().map(|id| id.0[0]).collect()
}

#[test]
fn prompts_feedback_and_conflicts_name_blobs_and_what_is_forgotten_does_not() {
    let mut a = task("a", &[]);
    a.prompt = blob(1);
    let (mut desk, _) = Desk::new(repo_plan(vec![a.clone()]), 1);
    assert_eq!(kept(&desk), [1].into());
    let failed = |number| {
        let (attempt, tail) = (attempt_id("a", number), blob(2));
        let report = Report { tail, ..Report::new(attempt, Outcome::Exited(1)) };
        Command::FinishAttempt { host: host_name("h"), report }
    };
    desk.act(failed(1));
    desk.act(Command::RetryTask { task: task_ref("a"), message: Some(blob(3)) });
    assert_eq!(kept(&desk), [1, 2, 3].into());
    desk.done("a", 5);
    let conflict = Conflict { ours: commit(1), theirs: commit(5), base: commit(0), paths: vec![], text: blob(4) };
    desk.act(Command::MergeConflicted { attempt: attempt_id("a", 2), conflict });
    assert_eq!(kept(&desk), [1, 2, 3, 4].into());
    let conflict = Conflict { ours: commit(1), theirs: commit(9), base: commit(0), paths: vec![], text: blob(5) };
    desk.act(Command::SourceConflicted { project: project_name("p"), conflict });
    assert_eq!(kept(&desk), [1, 2, 3, 4, 5].into());
    let again = devstack_dag::Engine::from_records(Default::default(), desk.engine.records()).unwrap();
    assert_eq!(again.blobs(), desk.engine.blobs());
    // A changed prompt: nothing references the old one. A finished task gets no more feedback.
    a.prompt = blob(6);
    desk.submit(repo_plan(vec![a])).unwrap();
    assert!(!kept(&desk).contains(&1) && kept(&desk).contains(&6));
}

#[test]
fn refs_of_attempts_are_due_when_nothing_happened_to_their_finished_task_since() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[]), task("b", &[]), task("c", &["b"])]), 2);
    desk.fails("b");
    desk.done("a", 5);
    desk.prepared("a", 1, 1, 6);
    let due = |desk: &Desk, now: u64| desk.engine.finished_before(&project_name("p"), Timestamp(now));
    assert_eq!(due(&desk, u64::MAX), BTreeMap::new(), "before the proof nothing is");
    desk.landed(1, 6);
    let proven = desk.now;
    assert_eq!(due(&desk, proven), BTreeMap::new());
    let a: BTreeMap<TaskId, u32> = [("a".parse().unwrap(), 1)].into();
    assert_eq!(due(&desk, proven + 1), a);
    desk.act(Command::Delivered { project: project_name("p"), head: commit(6) });
    assert_eq!(due(&desk, proven + 1), BTreeMap::new(), "counted from the delivery");
    desk.act(Command::RejectTask { task: task_ref("b"), reason: "no".into() });
    let both = [("a".parse().unwrap(), 1), ("b".parse().unwrap(), 1)].into();
    assert_eq!(due(&desk, u64::MAX), both, "and nothing of a task that never started");
}
