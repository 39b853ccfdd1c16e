//! Only an agent's work is harvested, and all of it: half a workspace is nobody's, and what cannot be taken is named
//! beside what can.
//! Deliberately absent: what is made of a result (tests/git, tests/hostile), and random ends (`endings`).

use std::fs;

use devstack::runtime::{Ended, Harvest};
use devstack_dag::attempt::{Outcome, Start};

use crate::{
    git::{Hub, Place, git, places},
    harness::*,
};

/// What an attempt's result changes, as git says it, and what was named as not taken.
fn told(hub: &Hub, ended: &Ended) -> (String, Vec<String>) {
    let changed = match ended.harvest.commits {
        Some(_) => git(&hub.dir, &["diff", "--no-renames", "--name-status", "HEAD", &hub.take(ended).to_string()]),
        None => String::new(),
    };
    let mut skipped: Vec<_> = ended.harvest.skipped.iter().map(|one| one.path.clone()).collect();
    skipped.sort();
    (changed.replace(['\n', '\t'], " "), skipped)
}

/// Each agent does something that was lost once; with it, what its result changes and what is named.
const ENDS: [(&str, &str, &str, &[&str]); 14] = [
    (
        "a repository without a commit within",
        "echo finished > a; git add -A; git commit -qm w; mkdir dep; cd dep; git init -q; echo x > x",
        "A a",
        &["dep"],
    ),
    (
        "a repository with a commit within, staged",
        "echo a > a; git init -q dep; cd dep; echo x > x; git add x; git commit -qm x; cd ..; git add -A 2>/dev/null",
        "A a",
        &["dep"],
    ),
    ("a closed file", "echo a > a; echo k > key; chmod 000 key", "A a", &["key"]),
    ("a closed directory with tracked files", "echo a > a; chmod 000 dir", "A a", &["dir"]),
    ("a directory that cannot be entered", "echo a > a; mkdir d; echo x > d/x; chmod 400 d", "A a", &["d/x"]),
    (
        "a worktree of git",
        "echo a > a; git worktree add -q .claude/worktrees/x -b x; echo b > .claude/worktrees/x/b",
        "A a",
        &[".claude/worktrees/x"],
    ),
    ("a stale lock of the index", "echo a > a; touch .git/index.lock", "A a", &[]),
    (
        "stale locks of everything",
        "echo a > a; touch .git/HEAD.lock .git/config.lock .git/refs/heads/feat/dev1.lock .git/packed-refs.lock",
        "A a",
        &[],
    ),
    ("a pipe", "echo a > a; mkfifo pipe", "A a", &["pipe"]),
    ("a pipe in place of a file", "echo a > a; rm file; mkfifo file", "A a", &["file"]),
    ("a repository that may not be written", "echo a > a; git add a; git commit -qm a; chmod -R a-w .git", "A a", &[]),
    ("a file that is not looked at", "git update-index --assume-unchanged file; echo four >> file", "M file", &[]),
    ("a link in place of a directory", "rm -r dir; ln -s .git dir", "A dir D dir/run.sh", &[]),
    ("a history that was left", "echo a > a; git add a; git commit -qm a; git checkout -q --detach HEAD~1", "A a", &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_taken_is_and_the_rest_is_named() {
    for s in places().await {
        let hub = Hub::new(&s);
        for (number, (what, script, changed, skipped)) in ENDS.iter().enumerate() {
            let job = hub.at_head(number as u32 + 1, &format!("{script}\nexit 0"));
            let ended = run(s.runtime(), &job).await;
            assert_eq!(ended.outcome, Outcome::Exited(0), "{what}");
            let expected = ((*changed).to_owned(), skipped.iter().map(|&path| path.to_owned()).collect());
            assert_eq!(told(&hub, &ended), expected, "{what}: {:?}", ended.harvest);
            assert_eq!((&ended.harvest.error, &ended.harvest.failed), (&None, &None), "{what}");
            s.runtime().remove(&job.attempt).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_workspace_is_nobodys_work() {
    for s in places().await {
        let hub = Hub::new(&s);
        // A name that git allows and no file system takes, behind everything else in the tree.
        let blob = git(&hub.dir, &["hash-object", "-w", "file"]);
        let entry = format!("100644,{blob},{}", "z".repeat(300));
        git(&hub.dir, &["update-index", "--add", "--cacheinfo", &entry]);
        git(&hub.dir, &["commit", "-q", "-m", "long"]);
        let ended = run(s.runtime(), &hub.at_head(1, "echo work > work")).await;
        let Outcome::Infrastructure(why) = &ended.outcome else { panic!("{ended:?}") };
        assert!(why.contains("cannot make the workspace"), "{why}");
        assert_eq!(ended.harvest, Harvest::default(), "nothing of it is a result");
        let workspace = s.attempt_dir(&attempt(1)).join("workspace");
        assert!(workspace.join("file").exists() && !workspace.join(".git").exists(), "it is no repository");
        // The second lock: also one that is asked again, and finds everything there, takes nothing.
        fs::rename(workspace.join("git~1/.git"), workspace.join(".git")).unwrap();
        assert_eq!(s.runtime().harvest(&attempt(1)).await.unwrap(), Harvest::default());
        s.runtime().remove(&attempt(1)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_agent_was_never_started_has_no_work() {
    for s in places().await {
        let hub = Hub::new(&s);
        let mut job = hub.at_head(1, "");
        job.command = vec!["/nonexistent/agent".into()];
        let ended = run(s.runtime(), &job).await;
        assert!(matches!(ended.outcome, Outcome::Infrastructure(_)), "{ended:?}");
        assert_eq!(ended.harvest, Harvest::default());
        s.runtime().remove(&attempt(1)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_fails_to_start_does_not_carry_what_it_was_given() {
    let s = Place::plain();
    let hub = Hub::new(&s);
    let first = run(s.runtime(), &hub.at_head(1, "echo a > a")).await;
    let given = first.harvest.commits.unwrap();
    let mut job = hub.job(2, Start::Commit { base: hub.head(), tip: given.tip }, "");
    job.workspace.as_mut().unwrap().bundles = vec![given.bundle];
    job.command = vec!["/nonexistent/agent".into()];
    let ended = run(s.runtime(), &job).await;
    assert_eq!(ended.harvest, Harvest::default(), "{ended:?}");
}

const COMMIT: &str = "c() { echo $1 > $1; git add $1; git commit -qm $1; }\n";

#[tokio::test(flavor = "multi_thread")]
async fn commits_on_another_branch_are_the_result_when_the_given_one_has_none() {
    for s in places().await {
        let hub = Hub::new(&s);
        let script = format!("{COMMIT} git checkout -qb fix/x; c x; git checkout -q feat/dev1");
        let ended = run(s.runtime(), &hub.at_head(1, &script)).await;
        assert_eq!(told(&hub, &ended), ("A x".into(), vec![]));
        let tip = ended.harvest.commits.as_ref().unwrap().tip.to_string();
        let [branch] = ended.harvest.branches.as_slice() else { panic!("{ended:?}") };
        assert_eq!((branch.name.as_str(), &branch.commit), ("fix/x", &tip));
        s.runtime().remove(&attempt(1)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_branches_come_along_and_are_never_guessed_to_be_the_result() {
    let s = Place::plain();
    let hub = Hub::new(&s);
    let names = |ended: &Ended| ended.harvest.branches.iter().map(|one| one.name.clone()).collect::<Vec<_>>().join(" ");
    let case = async |number, script: &str| {
        let ended = run(s.runtime(), &hub.at_head(number, &format!("{COMMIT}{script}"))).await;
        assert_eq!((&ended.outcome, &ended.harvest.failed), (&Outcome::Exited(0), &None), "{ended:?}");
        ended
    };
    // The given branch has commits: it is the result.
    let ended =
        case(1, "c own; git checkout -qb fix/x; c x; git checkout -qb fix/y HEAD~1; c y; git checkout -q feat/dev1")
            .await;
    assert_eq!((told(&hub, &ended).0.as_str(), names(&ended).as_str()), ("A own", "fix/x fix/y"));
    // So is uncommitted work on it.
    let ended = case(2, "git checkout -qb fix/x; c x; git checkout -q feat/dev1; echo left > left").await;
    assert_eq!((told(&hub, &ended).0.as_str(), names(&ended).as_str()), ("A left", "fix/x"));
    // It is where the agent is that counts, and what that contains needs no second name.
    let ended = case(3, "c own; git checkout -qb fix/x; c x").await;
    assert_eq!((told(&hub, &ended).0.as_str(), names(&ended).as_str()), ("A own A x", ""));
    // Two others and nothing on its own: nobody can tell which is meant. Both are there.
    let ended =
        case(4, "git checkout -qb fix/x; c x; git checkout -qb fix/y feat/dev1; c y; git checkout -q feat/dev1").await;
    assert_eq!((told(&hub, &ended).0.as_str(), names(&ended).as_str()), ("", "fix/x fix/y"));
    assert_eq!(ended.harvest.commits.as_ref().unwrap().tip, hub.head(), "the base stands for no result");
    // What does not descend from the base stays behind; so do names that lead nowhere.
    let ended = case(
        5,
        "c own; git checkout -q --orphan alone; git commit -qm alone; git checkout -q feat/dev1; git branch old",
    )
    .await;
    assert_eq!((told(&hub, &ended).0.as_str(), names(&ended).as_str()), ("A own", ""));
    // At most 16, and the rest is named.
    let ended = case(6, "c own; for i in 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27; do git checkout -qb b$i origin/dev; c $i; done; git checkout -q feat/dev1").await;
    let (changed, skipped) = told(&hub, &ended);
    assert_eq!((changed.as_str(), ended.harvest.branches.len()), ("A own", 16));
    assert_eq!(skipped, ["refs/heads/b26", "refs/heads/b27"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_costs_nothing_that_does() {
    let s = Place::Process(Scratch::with(devstack::runtime::Sandbox::Off, |config| config.bundle_max = 100_000));
    let hub = Hub::new(&s);
    let big = |name: &str| format!("for i in 1 2 3; do head -c 60000 /dev/urandom > {name}$i; done\n");
    // What was committed, without what was not.
    let script = format!("echo a > a; git add a; git commit -qm a; {}", big("f"));
    let ended = run(s.runtime(), &hub.at_head(1, &script)).await;
    assert_eq!(told(&hub, &ended), ("A a".into(), vec![".".into()]), "{ended:?}");
    assert!(ended.harvest.error.as_deref().unwrap().contains("only commits were taken"), "{ended:?}");
    // The result, without branches.
    let script = format!(
        "git checkout -qb fix/x; {} git add -A; git commit -qm big; git checkout -q feat/dev1; echo a > a",
        big("f")
    );
    let ended = run(s.runtime(), &hub.at_head(2, &script)).await;
    assert_eq!(told(&hub, &ended), ("A a".into(), vec!["refs/heads/fix/x".into()]), "{ended:?}");
    assert!(ended.harvest.branches.is_empty() && ended.harvest.error.is_none(), "{ended:?}");
}
