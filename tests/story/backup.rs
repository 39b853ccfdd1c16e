//! The restore drill: a backup is taken while a plan runs, the state is destroyed, restored, and the plan comes to its
//! end as if nothing had happened but time.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::bench::{Ended, Plan, World, task, until};

impl World {
    #[track_caller]
    fn back_up(&self, file: &str) -> Ended {
        self.devstack(&["cluster", "backup", file, "-o", "json"]).expect(0)
    }

    #[track_caller]
    fn restore(&self, file: &str) -> Ended {
        self.devstack(&["cluster", "restore", file, "--state-dir", ".devstack", "-o", "json"]).expect(0)
    }

    /// The hub and the person's repository agree, and every task of the plan is merged once.
    #[track_caller]
    fn all_merged(&self, tasks: &[&str]) {
        for id in tasks {
            let task = self.task(id);
            assert_eq!(task["status"], "COMPLETED", "{task}");
            let commit = task["merge_commit"].as_str().expect("a merge");
            self.git(&["merge-base", "--is-ancestor", commit, "dev"]);
        }
        assert_eq!(self.in_hub(&["rev-parse", "dev"]), self.git(&["rev-parse", "dev"]));
        self.hub_is_whole();
    }
}

/// A, then B, which waits at the gate, then C. Each says that it ran.
fn chain(world: &World) -> std::path::PathBuf {
    let runs = world.gate("runs");
    let said = |id: &str| format!("echo {id}/$DEVSTACK_ATTEMPT >> {}; ", runs.display());
    world.plan(&Plan::new([
        task("A", &format!("{}echo a > a", said("A"))),
        task("B", &format!("{}{}echo b > b", said("B"), world.wait_at("go"))).after(&["A"]),
        task("C", &format!("{}test -f b && echo c > c", said("C"))).after(&["B"]),
    ]));
    runs
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_plan_goes_on_from_a_backup_that_was_taken_while_it_ran() {
    let world = World::with_repository().unsandboxed();
    let runs = chain(&world);
    let mut first = world.start();
    world.until_there("go");
    let taken = world.back_up("half.tar").json();
    assert_eq!((&taken["has_keys"], &taken["projects"]), (&json!(false), &json!(["shop"])), "{taken}");
    let mode = fs::metadata(world.path("half.tar")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let head_then = world.in_hub(&["rev-parse", "dev"]);
    // More happens, and is lost with everything else.
    first.signal(Signal::SIGINT);
    until("it says how to stop", || first.stderr().contains("interrupt again") || first.is_over());
    first.signal(Signal::SIGINT);
    first.wait().expect(130);
    assert_eq!(world.outcomes("B"), ["stopped"]);
    fs::remove_dir_all(world.path(".devstack")).unwrap();

    let restored = world.restore("half.tar").json();
    assert_eq!((&restored["running"], &restored["tasks"]), (&json!(["shop/B/1"]), &json!(3)), "{restored}");
    assert!(restored["attempts_behind"].as_u64() >= Some(2000), "{restored}");
    assert_eq!(world.in_hub(&["rev-parse", "dev"]), head_then);
    assert_eq!(world.status("A"), "COMPLETED");
    world.open_gate("go");
    world.run().expect(0);
    world.all_merged(&["A", "B", "C"]);
    // What was done is not done again; what ran is run again as itself; what is new has a number that nobody had.
    let ran = lines(&runs);
    let behind = restored["attempts_behind"].as_u64().unwrap();
    assert_eq!(ran, ["A/1".to_owned(), "B/1".to_owned(), "B/1".to_owned(), format!("C/{}", behind + 1)]);
}

#[test]
fn what_was_finished_and_delivered_after_the_backup_is_found_and_nothing_is_lost() {
    let world = World::with_repository().unsandboxed();
    chain(&world);
    let first = world.start();
    world.until_there("go");
    world.back_up("half.tar");
    world.open_gate("go");
    first.wait().expect(0);
    let delivered = world.git(&["rev-parse", "dev"]);
    fs::remove_dir_all(world.path(".devstack")).unwrap();

    world.restore("half.tar");
    // B runs again and merges the same; C finds that there is nothing left to change, and a person says what that
    // means.
    world.run().expect(7).says("C");
    assert_eq!((world.status("B").as_str(), world.blocked_reason("C").as_str()), ("COMPLETED", "attempts-exhausted"));
    world.git(&["merge-base", "--is-ancestor", &delivered, "dev"]);
    assert_eq!(world.in_hub(&["rev-parse", "dev"]), world.git(&["rev-parse", "dev"]));
    world.hub_is_whole();
}

#[test]
fn a_merge_that_landed_and_was_not_noted_is_found_by_the_restored_node() {
    let world = World::with_repository().unsandboxed();
    world.plan(&Plan::new([task("A", "echo a > a"), task("B", "test -f a && echo b > b").after(&["A"])]));
    let kill = ["DEVSTACK_FAULT=devops-after-swap:kill", env!("CARGO_BIN_EXE_devstack")];
    let run = ["run", "devstack.toml", "--runtime", "process", "--sandbox", "off"];
    let died = world.spawn_program("env", &world.dir(), &[&kill[..], &run[..]].concat());
    died.wait().expect(-1);
    // The hub is ahead of the store.
    let ahead = world.in_hub(&["rev-parse", "dev"]);
    let taken = world.devstack(&["cluster", "backup", "ahead.tar", "--state-dir", ".devstack"]).expect(0);
    taken.says("ahead.tar");
    assert_ne!(world.status("A"), "COMPLETED");
    fs::remove_dir_all(world.path(".devstack")).unwrap();
    world.restore("ahead.tar");
    assert_eq!(world.in_hub(&["rev-parse", "dev"]), ahead);
    world.run().expect(0);
    world.all_merged(&["A", "B"]);
    assert_eq!(world.task("A")["merge_commit"], ahead, "it was merged once");
    assert_eq!(world.outcomes("A"), ["done"]);
}

#[test]
fn a_damaged_backup_a_taken_place_and_another_file_are_refused_and_change_nothing() {
    let world = World::with_repository().unsandboxed();
    world.plan(&Plan::new([task("A", "echo a > a")]));
    world.run().expect(0);
    world.back_up("good.tar");
    let refuse = |args: &[&str], code: i32, what: &str| {
        let ended = world.devstack(&[&["cluster"], args].concat()).expect(code).says(what);
        assert!(ended.stderr.contains("hint: "), "{ended:?}");
        let json = world.devstack(&[&["-o", "json", "cluster"], args].concat()).expect(code);
        assert!(json.stderr.starts_with("{\"apiVersion\":\"v1\",\"error\""), "{json:?}");
    };
    refuse(&["backup", "good.tar"], 5, "already exists");
    refuse(&["backup", "x.tar", "--state-dir", "."], 2, "not the state directory");
    refuse(&["restore", "good.tar", "--state-dir", ".devstack"], 5, "is not empty");
    refuse(&["restore", "README", "--state-dir", "new"], 2, "not a devstack backup");
    let good = fs::read(world.path("good.tar")).unwrap();
    fs::write(world.path("cut.tar"), &good[..good.len() / 2]).unwrap();
    let mut flipped = good.clone();
    let line = good.windows(9).position(|window| window == b"\"record\":").unwrap();
    flipped[line + 20] ^= 1;
    fs::write(world.path("flipped.tar"), flipped).unwrap();
    for damaged in ["cut.tar", "flipped.tar"] {
        refuse(&["restore", damaged, "--state-dir", "new"], 1, "is damaged");
    }
    fs::write(world.path("taken"), "").unwrap();
    refuse(&["restore", "good.tar", "--state-dir", "taken"], 5, "not a readable directory");
    let names: Vec<_> = fs::read_dir(world.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let left = |name: &&std::ffi::OsString| ["new", "new.restoring", "x.tar", "x.tar.part"].iter().any(|n| name == n);
    assert!(!names.iter().any(|name| left(&name)), "{names:?}");

    // In an empty directory, and beside the original as a copy.
    fs::create_dir(world.path("empty")).unwrap();
    world
        .devstack(&["cluster", "restore", "good.tar", "--state-dir", "empty", "--copy"])
        .expect(0)
        .says("without the cluster's keys");
    let label = |dir: &str| {
        let bundle = format!("{dir}.tar");
        world.devstack(&["cluster", "backup", &bundle, "--state-dir", dir, "-o", "json"]).expect(0).json()
    };
    let (copy, own) = (label("empty"), label(".devstack"));
    assert_ne!(copy["installation"], own["installation"]);
    assert_eq!((copy["seq"].as_u64(), own["seq"].as_u64()), (own["seq"].as_u64(), copy["seq"].as_u64()));
}
