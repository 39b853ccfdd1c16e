//! What becomes of the work of an agent that leaves a mess, and of a workspace that could not be made: committed work
//! lands, what cannot be taken is named, and no failure of ours is ever taken for work.
//!
//! Deliberately absent: every kind of mess there is (tests/runtime, `harvest` and `endings`).

use std::{fs, os::unix::fs::PermissionsExt};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};
use serde_json::Value;

use crate::{
    bench::{Plan, World, task, until},
    in_both_runtimes,
};

/// Each agent leaves something that once cost it everything: its id, what it does, the file of it that lands, and what
/// is named as not taken.
const MESSES: [(&str, &str, &str, &str); 8] = [
    ("NESTED", "mkdir dep; cd dep; git init -q; echo x > x", "finished", "dep"),
    ("NESTED-COMMIT", "mkdir dep2; cd dep2; git init -q; echo x > x; git add x; git commit -qm x", "finished", "dep2"),
    ("CLOSED", "echo k > key; chmod 000 key", "finished", "key"),
    (
        "WORKTREE",
        "git worktree add -q .claude/worktrees/x -b side; echo x > .claude/worktrees/x/x",
        "finished",
        ".claude/worktrees/x",
    ),
    ("LOCK", "echo left > left-LOCK; touch .git/index.lock", "finished", ""),
    (
        "PIPE",
        "mkfifo pipe; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'",
        "finished",
        "pipe",
    ),
    ("READ-ONLY", "chmod -R a-w .git", "finished", ""),
    ("CLOSED-GIT", "chmod 000 .git/objects .git", "finished", ""),
];

fn skipped(task: &Value) -> Vec<String> {
    let list = task["attempt_list"][0]["harvest_skipped"].as_array().expect("a list");
    list.iter().map(|one| one["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn committed_work_lands_whatever_mess_is_left_beside_it() {
    in_both_runtimes(|world| {
        let one = |(id, mess, text, _): &(&str, &str, &str, &str)| {
            task(id, &format!("echo {text} > {id}.txt; git add -A; git commit -qm w; {mess}\nexit 0"))
        };
        world.plan(&Plan::new(MESSES.iter().map(one)));
        world.run().expect(0);
        for (id, _, text, named) in MESSES {
            let task = world.task(id);
            assert_eq!(world.git(&["show", &format!("dev:{id}.txt")]), text, "{task}");
            assert!(world.try_git(&world.hub(), &["rev-parse", &format!("refs/devstack/attempts/{id}/1")]).0, "{id}");
            let skipped = skipped(&task);
            assert_eq!(skipped.contains(&named.to_owned()), !named.is_empty(), "{id}: {skipped:?}");
            if !named.is_empty() {
                world.devstack(&["task", "explain", id]).expect(0).says(&format!("Not taken of attempt 1: {named}"));
                world.devstack(&["task", "show", id]).expect(0).says(&format!("not collected from attempt 1: {named}"));
            }
        }
        assert_eq!(world.git(&["show", "dev:left-LOCK"]), "left", "nobody's lock counts after the agent's end");
        let names = world.git(&["ls-tree", "-r", "--name-only", "dev"]);
        assert!(names.contains("README") && !names.contains("dep"), "{names}");
        world.hub_is_whole();
    });
}

#[test]
fn a_destroyed_repository_has_words_of_its_own_and_the_next_attempt_is_told() {
    in_both_runtimes(|world| {
        let gone = task("GONE", "echo work > work; rm -rf .git").with("attempts = 2");
        let empty = task("EMPTY", "echo work > work; rm -rf .git").with("allow_empty = true");
        world.plan(&Plan::new([gone, empty, task("NOTHING", "true")]));
        world.run().expect(7);
        for id in ["GONE", "EMPTY"] {
            assert_eq!(world.blocked_reason(id), "attempts-exhausted");
            let said =
                world.devstack(&["task", "explain", id]).expect(0).says("destroyed the repository of its workspace");
            assert!(!said.stdout.contains("changed nothing"), "{said:?}");
        }
        let feedback = &world.task("GONE")["feedback"][0]["text"];
        assert!(feedback.as_str().unwrap().contains("destroyed the repository"), "{feedback}");
        assert_eq!(skipped(&world.task("GONE")), [".git"]);
        world.devstack(&["task", "explain", "NOTHING"]).expect(0).says("exited with 0 but changed nothing");
    });
}

#[test]
fn what_was_not_taken_is_in_the_next_prompt() {
    let world = World::with_repository();
    // The first attempt leaves only what cannot be taken; the second one has read why, and does it right.
    let script = "if [ $DEVSTACK_ATTEMPT = 1 ]; then git init -q dep; echo x > dep/x; exit 0; fi
                  grep -q 'not taken: dep' $DEVSTACK_TASK_FILE $DEVSTACK_PROMPT_FILE && echo right > right";
    world.plan(&Plan::new([task("A", script).with("attempts = 2")]));
    world.run().expect(0);
    assert_eq!(world.git(&["show", "dev:right"]), "right");
    assert_eq!(world.outcomes("A"), ["done", "done"]);
}

/// Runs the plan until the task was tried twice and could not be started, and ends.
fn until_it_cannot_start(world: &World, id: &str) {
    let running = world.start();
    until("it was tried twice, or is out of the question", || {
        let (code, page) = {
            let ended = world.devstack(&["task", "show", id, "-o", "json"]);
            (ended.code, ended.stdout)
        };
        let task: Value = if code == 0 { serde_json::from_str(&page).unwrap() } else { Value::Null };
        let over = task["task"]["attempt_list"]
            .as_array()
            .map_or(0, |list| list.iter().filter(|attempt| !attempt["outcome"].is_null()).count());
        over >= 2 || task["task"]["status"] == "BLOCKED"
    });
    running.signal(Signal::SIGINT);
    running.wait();
}

/// No attempt of the task that could not be started has a commit, and the integration branch has all that it had.
fn nothing_was_deleted(world: &World, id: &str, base: &str) {
    for attempt in world.task(id)["attempt_list"].as_array().unwrap() {
        assert_eq!((&attempt["commit"], &attempt["outcome"]), (&Value::Null, &"infrastructure".into()), "{attempt}");
    }
    let deleted = world.in_hub(&["diff", "--name-only", "--diff-filter=DM", base, "dev"]);
    assert_eq!(deleted, "", "the project's files are gone");
    world.hub_is_whole();
}

#[test]
fn a_checkout_that_fails_for_what_another_agent_committed_deletes_nothing() {
    let world = World::with_repository();
    let base = world.git(&["rev-parse", "HEAD"]);
    // A name that git takes and no file system does, and an index with a conflict.
    let long = "B=$(echo x | git hash-object -w --stdin); N=$(printf '%0300d' 7)
        git update-index --add --cacheinfo \"100644,$B,$N\" && git -c user.name=x -c user.email=x@x commit -qm long
        printf '100644 %s 1\\tz\\n100644 %s 2\\tz\\n100644 %s 3\\tz\\n' \"$B\" \"$B\" \"$B\" | git update-index --index-info";
    let next = task("T-2", "echo next > next").after(&["T-1"]).with("attempts = 3");
    world.plan(&Plan::new([task("T-1", long), next]));
    let running = world.start();
    until("the first task is judged", || {
        let ended = world.devstack(&["task", "show", "T-1", "-o", "json"]);
        ended.code == 0 && ["COMPLETED", "BLOCKED"].contains(&ended.json()["task"]["status"].as_str().unwrap())
    });
    running.signal(Signal::SIGINT);
    running.wait();
    if world.status("T-1") == "COMPLETED" {
        until_it_cannot_start(&world, "T-2");
    }
    nothing_was_deleted(&world, "T-2", &base);
}

/// A file system too small for the workspaces on it.
struct Small(std::path::PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_disk_too_small_for_the_workspace_deletes_nothing() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("SKIPPED: a small disk: only root may mount one");
    }
    let world = World::with_repository();
    for number in 0..10 {
        // Noise: it must not be packed away.
        let noise: String =
            (0..16_384u32).map(|n| format!("{:08x}-{number}-{}\n", n.wrapping_mul(2_654_435_761), n % 7)).collect();
        world.write(&format!("data/{number}"), &noise.repeat(2));
    }
    let base = world.commit_all("Data");
    let attempts = world.path(".devstack/attempts");
    fs::create_dir_all(&attempts).unwrap();
    fs::set_permissions(world.path(".devstack"), fs::Permissions::from_mode(0o711)).unwrap();
    mount(Some("tmpfs"), &attempts, Some("tmpfs"), MsFlags::empty(), Some("size=2m,mode=0711")).unwrap();
    let _small = Small(attempts);
    world.plan(&Plan::new([task("T-1", "echo work > work").with("attempts = 3")]));
    until_it_cannot_start(&world, "T-1");
    nothing_was_deleted(&world, "T-1", &base);
    world.devstack(&["task", "show", "T-1"]).expect(0).says("infrastructure");
}

#[test]
fn commits_on_another_branch_are_kept_and_taken_where_that_is_clear() {
    in_both_runtimes(|world| {
        let start = "own=$(git rev-parse --abbrev-ref HEAD); c() { echo $1 > $1; git add $1; git commit -qm $1; }\n";
        let one = |id: &str, script: &str| task(id, &format!("{start}{script}\nexit 0"));
        world.plan(&Plan::new([
            one("ONLY", "git checkout -qb fix/x; c only; git checkout -q $own"),
            one("TWO", "git checkout -qb fix/a; c two-a; git checkout -qb fix/b $own; c two-b; git checkout -q $own"),
            one("SIDE", "c side; git checkout -qb later; c side-later; git checkout -q $own"),
        ]));
        world.run().expect(7);
        let kept = |id: &str, branch: &str| {
            world.in_hub(&["log", "-1", "--format=%s", &format!("refs/devstack/branches/{id}/1/{branch}")])
        };
        assert_eq!((world.git(&["show", "dev:only"]), kept("ONLY", "fix/x")), ("only".into(), "only".into()));
        assert_eq!(world.task("ONLY")["attempt_list"][0]["branches"][0]["name"], "fix/x");
        world
            .devstack(&["task", "explain", "ONLY"])
            .expect(0)
            .says("attempt 1 are on fix/x, and were taken from there");

        assert_eq!(world.blocked_reason("TWO"), "attempts-exhausted");
        assert_eq!((kept("TWO", "fix/a"), kept("TWO", "fix/b")), ("two-a".into(), "two-b".into()));
        let said = world.devstack(&["task", "explain", "TWO"]).expect(0).says("its commits are on fix/a, fix/b");
        assert!(!said.stdout.contains("changed nothing"), "{said:?}");

        assert_eq!((world.git(&["show", "dev:side"]), kept("SIDE", "later")), ("side".into(), "side-later".into()));
        assert!(!world.git(&["ls-tree", "--name-only", "dev"]).contains("side-later"), "kept is not merged");
        world.devstack(&["task", "explain", "SIDE"]).expect(0).says("left other branches, which are kept: later");
        world.hub_is_whole();
    });
}
