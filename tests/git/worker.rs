//! What the end of the helper that reads a result means: twice its own doing is a refusal, the machine's is none.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Instant};

use devstack::{
    helper::{Cancel, Program},
    repository::{
        Error, Hub, HubOptions,
        git::Git,
        quarantine::{Imported, Refusal},
    },
};
use devstack_dag::ids::CommitId;

use super::fixture::{Project, attempt, expectation, write};

/// A helper that notes its start and then does this.
fn helper(project: &Project, script: &str) -> Program {
    let (path, starts) = (project.root.path().join("helper"), starts(project));
    fs::write(&path, format!("#!/bin/sh\necho start >> {}\n{script}\n", starts.display())).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    Program::new(path, &[])
}

fn starts(project: &Project) -> std::path::PathBuf {
    project.root.path().join("starts")
}

/// The project's hub with another helper.
fn with(project: &Project, program: Program) -> Hub {
    let git = Git::probe().expect("git").with_worker(program);
    Hub::open(project.hub.dir(), git, HubOptions::new("dev").expect("valid")).expect("opens")
}

/// A project with an honest result on its base; what a hub with this helper says to it, and how often one was started.
fn import(script: &str) -> (Result<Imported, Error>, usize) {
    let project = Project::new();
    let (workspace, base) = (project.workspace("ws"), project.head());
    write(&workspace, "x", "x\n");
    project.commit(&workspace, "x");
    let bundle = project.bundle(&workspace, base);
    let hub = with(&project, helper(&project, script));
    let one = attempt("T-001", 1);
    let imported = hub.import_result(&bundle, &expectation(&one, base));
    if !matches!(imported, Ok(Imported::Accepted(_))) {
        assert_eq!(hub.pinned(&one).expect("readable"), None);
        // Nothing is broken: with its own helper the same is taken.
        assert!(matches!(project.import(&bundle, &one, base), Imported::Accepted(_)));
    }
    (imported, fs::read_to_string(starts(&project)).unwrap_or_default().lines().count())
}

#[test]
fn what_ends_it_twice_is_refused_in_words() {
    let cases = [
        ("kill -SEGV $$", "crashes the program that reads it (SIGSEGV)"),
        ("kill -ABRT $$", "crashes the program that reads it (SIGABRT)"),
        ("kill -XCPU $$", "exceeds its processor time"),
        ("exit 96", "exceeds its memory limit"),
        ("exit 101", "exit code 101"),
        ("echo 'running 0 tests'", "send an invalid answer"),
    ];
    for (script, word) in cases {
        let (imported, starts) = import(script);
        let says = |why: &String| why.contains(word);
        assert!(
            matches!(&imported, Ok(Imported::Refused(Refusal::Policy(why))) if says(why)),
            "{script}: {imported:?}"
        );
        assert_eq!(starts, 2, "{script}: once more, on a fresh one");
    }
}

#[test]
fn what_the_machine_does_to_it_is_no_refusal() {
    for script in ["kill -KILL $$", "kill -BUS $$", "kill -TERM $$", "exit 0"] {
        let (imported, starts) = import(script);
        assert!(matches!(&imported, Err(Error::Worker(_))), "{script}: {imported:?}");
        assert_eq!(starts, 3, "{script}");
    }
    let project = Project::new();
    let hub = with(&project, Program::new("/nonexistent/helper", &[]));
    let diff = hub.diff(project.head(), project.head(), (&[], &[]), 100, None);
    assert!(matches!(&diff, Err(Error::Worker(why)) if why.contains("cannot start ")), "{diff:?}");
}

#[test]
fn one_that_crashed_once_is_forgiven() {
    let own = env!("CARGO_BIN_EXE_devstack-node");
    let script = format!("[ $(wc -l < \"${{0%/*}}/starts\") = 1 ] && kill -SEGV $$\nexec {own} git-worker");
    let (imported, starts) = import(&script);
    assert!(matches!(imported, Ok(Imported::Accepted(_))), "{imported:?}");
    assert_eq!(starts, 2);
}

#[test]
fn it_is_kept_warm_and_a_dead_one_is_replaced() {
    let project = Project::new();
    let own = env!("CARGO_BIN_EXE_devstack-node");
    let pids = project.root.path().join("pids");
    let script = format!("echo $$ >> {}\nexec {own} git-worker", pids.display());
    let hub = with(&project, helper(&project, &script));
    let look = || hub.diff(project.head(), project.head(), (&[], &[]), 100, None).expect("works");
    let all = || fs::read_to_string(&pids).expect("written").lines().map(str::to_owned).collect::<Vec<_>>();
    for _ in 0..5 {
        look();
    }
    let first = all();
    assert_eq!(first.len(), 1, "one for all: {first:?}");
    assert_eq!(environment(&first[0]).as_deref().unwrap_or_default(), b"", "nothing in its environment");
    let pid = nix::unistd::Pid::from_raw(first[0].parse().expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    look();
    assert_eq!(all().len(), 2);
}

/// `None`: only root may look.
fn environment(pid: &str) -> Option<Vec<u8>> {
    // A shell adds what it needs itself.
    let own = |variable: &&[u8]| {
        [b"PWD=".as_slice(), b"OLDPWD=", b"SHLVL=", b"_="].iter().any(|own| variable.starts_with(own))
    };
    let all = fs::read(format!("/proc/{pid}/environ")).ok()?;
    Some(all.split(|byte| *byte == 0).filter(|variable| !own(variable)).collect::<Vec<_>>().concat())
}

#[test]
fn a_diff_that_nobody_waits_for_ends_at_once() {
    let project = Project::new();
    let hub = with(&project, helper(&project, "exec sleep 1000"));
    let cancel = Cancel::new().expect("a file descriptor");
    let (from, starts) = (project.head(), starts(&project));
    std::thread::scope(|scope| {
        let diff = scope.spawn(|| hub.diff(from, from, (&[], &[]), 100, Some(&cancel)));
        let begun = Instant::now();
        while !is_there(&starts) {
            assert!(begun.elapsed().as_secs() < 100, "it never began");
            std::thread::yield_now();
        }
        drop(cancel.on_drop());
        let dropped = Instant::now();
        assert!(matches!(diff.join().expect("no panic"), Err(Error::Worker(_))));
        // Long before its own deadline.
        assert!(dropped.elapsed().as_secs() < 20, "{:?}", dropped.elapsed());
    });
    let marker = project.root.path().join("helper");
    let left = fs::read_dir("/proc").expect("readable").flatten().filter(|process| {
        fs::read(process.path().join("cmdline"))
            .is_ok_and(|line| contains(&line, marker.as_os_str().as_encoded_bytes()))
    });
    assert_eq!(left.count(), 0, "it was killed");
}

fn is_there(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| !text.is_empty())
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_diff_is_what_git_shows_and_says_when_a_commit_is_unknown() {
    let project = Project::new();
    let base = project.head();
    let (one, commit) = project.work("T-001", "d/b.txt", "other\n");
    let head = project.merge(&one, commit);
    let shown = project.hub.diff(base, head, (&[], &[]), 10_000, None).expect("works");
    assert!(shown.text.contains("-b\n+other\n") && !shown.truncated, "{shown:?}");
    let unknown = CommitId([7; 20]);
    let diff = project.hub.diff(base, unknown, (&[], &[]), 100, None);
    assert!(matches!(diff, Err(Error::Unknown(commit)) if commit == unknown));
}
