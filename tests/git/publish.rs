//! The swap, the lock, the pins, and opening a hub that was left in the middle of something.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use devstack::repository::{Error, Hub, HubOptions, Prepared, Published, git::Git, pins::pin_ref};
use devstack_dag::ids::CommitId;

use super::fixture::{Project, attempt, git, now, request};

/// Set in a child of the contention test: the hub, and which of the two it is.
const ROLE: &str = "DEVSTACK_TEST_SWAPPER";
/// Swaps of each of the two processes.
const SWAPS: usize = 100;
/// Swaps beside somebody who moves the ref all the time.
const RACES: usize = 300;

#[test]
fn publishing_again_says_landed_again() {
    let project = Project::new();
    let (attempt, commit) = project.work("T-001", "x", "x\n");
    let (onto, candidate) = project.candidate(&attempt, commit);
    for _ in 0..3 {
        let hub = reopened(&project);
        let lock = hub.lock().expect("lock");
        assert_eq!(hub.publish(&lock, onto, candidate).expect("works"), Published::Landed { head: candidate });
    }
}

#[test]
fn landed_means_ancestor_of_the_head_not_equality() {
    let project = Project::new();
    let (one, one_commit) = project.work("T-001", "x", "x\n");
    let (two, two_commit) = project.work("T-002", "y", "y\n");
    let (onto, candidate) = project.candidate(&one, one_commit);
    let lock = project.hub.lock().expect("lock");
    project.hub.publish(&lock, onto, candidate).expect("works");
    drop(lock);
    let head = project.merge(&two, two_commit);
    let lock = project.hub.lock().expect("lock");
    assert_eq!(project.hub.publish(&lock, onto, candidate).expect("works"), Published::Landed { head });
}

#[test]
fn a_head_that_moved_loses_the_swap_and_moves_nothing() {
    let project = Project::new();
    let (one, one_commit) = project.work("T-001", "x", "x\n");
    let (two, two_commit) = project.work("T-002", "y", "y\n");
    let (onto, candidate) = project.candidate(&one, one_commit);
    let head = project.merge(&two, two_commit);
    let lock = project.hub.lock().expect("lock");
    assert_eq!(project.hub.publish(&lock, onto, candidate).expect("works"), Published::Lost { head });
    drop(lock);
    assert_eq!(project.head(), head);
}

#[test]
fn a_candidate_that_would_drop_history_is_not_published() {
    let project = Project::new();
    let first = project.head();
    let (one, one_commit) = project.work("T-001", "x", "x\n");
    let (_, two_commit) = project.work("T-002", "y", "y\n");
    let head = project.merge(&one, one_commit);
    let lock = project.hub.lock().expect("lock");
    assert_eq!(project.hub.publish(&lock, head, two_commit).expect("works"), Published::Lost { head });
    assert_ne!(head, first);
    assert_eq!(project.hub.head().expect("readable"), Some(head));
}

#[test]
fn a_lock_that_was_replaced_stops_the_swap() {
    let project = Project::new();
    let (one, commit) = project.work("T-001", "x", "x\n");
    let (onto, candidate) = project.candidate(&one, commit);
    let lock = project.hub.lock().expect("lock");
    fs::remove_file(project.hub.dir().join("project-lock")).expect("removed");
    let error = project.hub.publish(&lock, onto, candidate).expect_err("stopped");
    assert!(matches!(error, Error::LockLost(_)), "{error}");
    assert_eq!(project.head(), onto);
}

/// Somebody who knows no lock (a person in the hub, a restored backup) moves the ref between our look and our swap.
#[test]
fn what_landed_is_in_the_head_whoever_else_moves_it() {
    let project = Project::new();
    let (one, commit) = project.work("T-001", "x", "x\n");
    let (two, other) = project.work("T-002", "y", "y\n");
    let (onto, candidate) = project.candidate(&one, commit);
    let (_, foreign) = project.candidate(&two, other);
    let (branch, aside) = (project.hub.dir().join("refs/heads/dev"), project.hub.dir().join("foreign"));
    let over = AtomicBool::new(false);
    let said: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            for head in [foreign, onto].iter().cycle().take_while(|_| !over.load(Ordering::Relaxed)) {
                fs::write(&aside, format!("{head}\n")).expect("written");
                fs::rename(&aside, &branch).expect("renamed");
            }
        });
        let publish = |_| project.hub.publish(&project.hub.lock()?, onto, candidate);
        let said = (0..RACES).map(publish).collect();
        over.store(true, Ordering::Relaxed);
        said
    });
    let said: Vec<Published> = said.into_iter().collect::<Result<_, Error>>().expect("works");
    for landed in said.iter().filter(|said| matches!(said, Published::Landed { .. })) {
        assert_eq!(*landed, Published::Landed { head: candidate }, "it landed in a head without it");
    }
    assert!(said.iter().any(|said| matches!(said, Published::Lost { .. })), "nothing came in between");
}

/// Two processes merge and swap at once: every merge of both is in the history at the end.
#[test]
fn two_processes_lose_no_swap() {
    if let Ok(role) = std::env::var(ROLE) {
        return swapper(&role);
    }
    let project = Project::new();
    let first = project.head();
    let program = std::env::current_exe().expect("known");
    let mut children = Vec::new();
    for side in ["a", "b"] {
        let mut command = Command::new(&program);
        command.args(["--exact", "publish::two_processes_lose_no_swap", "--nocapture"]);
        command.env(ROLE, format!("{side}:{}", project.hub.dir().display()));
        children.push(command.spawn().expect("starts"));
    }
    for mut child in children {
        assert!(child.wait().expect("ends").success());
    }
    let hub = project.hub.dir();
    let merges = git(hub, &["log", "--first-parent", "--format=%s", &format!("{first}..dev")]);
    let mut subjects: Vec<&str> = merges.lines().collect();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects.len(), 2 * SWAPS);
    git(hub, &["fsck", "--strict"]);
}

/// One of the two: commits on the head as it finds it, swaps, tries again when it lost.
fn swapper(role: &str) {
    let (side, dir) = role.split_once(':').expect("side and hub");
    let hub =
        Hub::open(dir.as_ref(), Git::probe().expect("git"), HubOptions::new("dev").expect("valid")).expect("opens");
    // Opening removes what a dead writer left half-written, and this writer takes no lock: both open first.
    let opened = |side: &str| Path::new(dir).with_file_name(format!("opened-{side}"));
    std::fs::write(opened(side), "").expect("written");
    while !["a", "b"].iter().all(|side| opened(side).exists()) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let repo = git2::Repository::open_bare(dir).expect("opens");
    let who = git2::Signature::now(side, "x@example.invalid").expect("valid");
    for number in 0..SWAPS {
        loop {
            let head = hub.head().expect("readable").expect("there");
            let parent = repo.find_commit(git2::Oid::from_bytes(&head.0).expect("20 bytes")).expect("there");
            let tree = parent.tree().expect("there");
            let made = repo.commit(None, &who, &who, &format!("{side} {number}"), &tree, &[&parent]).expect("made");
            let candidate = CommitId(made.as_bytes().try_into().expect("20 bytes"));
            let lock = hub.lock().expect("lock");
            if matches!(hub.publish(&lock, head, candidate).expect("works"), Published::Landed { .. }) {
                break;
            }
        }
    }
}

#[test]
fn leftovers_of_a_killed_process_are_removed_and_the_merge_goes_on() {
    let project = Project::new();
    let (attempt, commit) = project.work("T-001", "x", "x\n");
    let dir = project.hub.dir().to_owned();
    let stale = [
        "refs/heads/dev.lock",
        "HEAD.lock",
        "packed-refs.lock",
        "refs/devstack/attempts/T-001/1.lock",
        "objects/pack/tmp_pack_x",
        "scratch/1-0/ab/cd",
    ];
    for name in stale {
        super::fixture::write(&dir, name, "");
    }
    let hub = reopened(&project);
    for name in stale {
        assert!(!dir.join(name).exists(), "{name}");
    }
    let Prepared::Candidate { onto, commit } = hub.prepare(&request(&attempt, commit), now()).expect("works") else {
        panic!("no candidate")
    };
    let lock = hub.lock().expect("lock");
    assert!(matches!(hub.publish(&lock, onto, commit).expect("works"), Published::Landed { .. }));
}

#[test]
fn a_half_made_hub_is_made_again_and_another_directory_is_refused() {
    let project = Project::new();
    let root = project.root.path();
    super::fixture::write(root, "new.git.creating/objects/x", "");
    let options = HubOptions::new("dev").expect("valid");
    let git = Git::probe().expect("git");
    Hub::create(&root.join("new.git"), git.clone(), options.clone()).expect("made");
    assert!(!root.join("new.git.creating").exists());
    let error = Hub::create(&project.source_dir(), git, options).map(|_| ()).expect_err("not a hub");
    assert!(matches!(error, Error::NotAHub(_)), "{error}");
    assert!(HubOptions::new("a..b").is_err() && HubOptions::new("-x").is_err());
}

#[test]
fn pins_survive_a_collection_of_garbage() {
    let project = Project::new();
    let (one, commit) = project.work("T-001", "x", "x\n");
    git(project.hub.dir(), &["-c", "gc.pruneExpire=now", "gc", "-q", "--prune=now"]);
    assert!(project.hub.contains(commit).expect("readable"));
    assert_eq!(project.hub.pinned(&one).expect("readable"), Some(commit));
    let hub = reopened(&project);
    assert_eq!(hub.pins(&one.task).expect("readable"), [(1, commit)]);
}

#[test]
fn a_pin_is_never_moved_and_dropped_only_with_its_task() {
    let project = Project::new();
    let (one, commit) = project.work("T-001", "x", "x\n");
    let other = project.head();
    project.hub.pin(&one, commit).expect("again is fine");
    assert!(matches!(project.hub.pin(&one, other), Err(Error::NotPinned(_))));
    assert!(matches!(project.hub.pin(&attempt("T-001", 2), CommitId([7; 20])), Err(Error::Unknown(_))));
    project.hub.pin(&attempt("T-001", 2), other).expect("pinned");
    project.hub.pin(&attempt("T-0011", 1), other).expect("pinned");
    let due = |id: &str| [(id.parse().expect("id"), 1)].into();
    assert_eq!(project.hub.drop_pins(&due("T-00")).expect("works"), 0);
    assert_eq!(project.hub.drop_pins(&due("T-001")).expect("works"), 1);
    assert_eq!(project.hub.pinned(&attempt("T-0011", 1)).expect("readable"), Some(other));
    assert_eq!(project.hub.pins(&one.task).expect("readable"), [(2, other)]);
    assert!(!project.hub.dir().join(pin_ref(&one)).exists());
    project.hub.unpin(&attempt("T-001", 2)).expect("works");
    project.hub.pin(&one, commit).expect("its directory is made again");
}

#[test]
fn history_is_shown_bounded() {
    let project = Project::new();
    let first = project.head();
    let (one, commit) = project.work("T-001", "x", "one\ntwo\n");
    let head = project.merge(&one, commit);
    let hub = &project.hub;
    let diff = hub.diff(first, head, (&[], &[]), 10_000, None).expect("works");
    assert!(diff.text.contains("+one\n+two\n") && !diff.truncated, "{}", diff.text);
    let cut = hub.diff(first, head, (&[], &[]), 20, None).expect("works");
    assert!(cut.truncated && cut.text.len() == 20);
    // Names are names and no patterns.
    let of = |path: &str| hub.diff(first, head, (&[path.to_owned()], &[]), 10_000, None).expect("works").text;
    assert_eq!((of("x") == diff.text, of("*").as_str(), of("y").as_str()), (true, "", ""));
    let log = hub.log(head, 10).expect("works");
    assert_eq!(log.iter().map(|e| e.parents.len()).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!(hub.log(head, 2).expect("works").len(), 2);
    assert_eq!(hub.merge_base(head, commit).expect("works"), Some(commit));
    assert!(hub.is_ancestor(first, head).expect("works") && !hub.is_ancestor(head, first).expect("works"));
    assert_eq!(hub.show(head, "x", 3).expect("works").map(|b| (b.text, b.truncated)), Some(("one".into(), true)));
    assert_eq!(hub.show(head, "none", 3).expect("works"), None);
}

fn reopened(project: &Project) -> Hub {
    let options = HubOptions::new("dev").expect("valid");
    Hub::open(project.hub.dir(), Git::probe().expect("git"), options).expect("opens")
}
