//! Results that run on people's and CI's machines, steer the next agents, or delete much: a person looks at them first.

use crate::{
    bench::{Plan, Task, World, task},
    in_both_runtimes,
};

/// Two paths of each kind, one of them within a directory.
const PATHS: [&str; 6] = [
    ".github/workflows/ci.yml",
    ".claude/settings.json",
    "docs/AGENTS.md",
    ".vscode/tasks.json",
    ".husky/pre-commit",
    ".gitattributes",
];

fn world() -> World {
    let world = World::with_repository();
    for path in PATHS {
        world.write(path, "as it was\n");
    }
    world.write(".gitattributes", "*.bin -text\n");
    world.commit_all("Furnish");
    world
}

fn ways(path: &str) -> [(&'static str, String); 5] {
    [
        ("change", format!("echo more >> {path}")),
        ("delete", format!("rm {path}")),
        ("mode", format!("chmod +x {path}")),
        ("link", format!("ln -sf README {path}.new; mv {path}.new {path}")),
        ("rename", format!("git mv {path} moved-$DEVSTACK_TASK_ID")),
    ]
}

#[test]
fn a_result_that_touches_a_protected_path_waits_for_a_person() {
    let world = world();
    let mut tasks: Vec<Task> = vec![
        task("add", "mkdir -p .cursor/rules; echo obey > .cursor/rules/x"),
        task("add-link", "ln -s README .mcp.json"),
        task("honest", "echo work > work"),
    ];
    for (number, path) in PATHS.iter().enumerate() {
        for (way, script) in ways(path) {
            tasks.push(task(&format!("{way}-{number}"), &script));
        }
    }
    world.plan(&Plan::new(tasks).project("checks = [\"true\"]"));
    world.run().expect(7);
    for task in world.tasks() {
        let id = task["id"].as_str().unwrap();
        let status = task["status"].as_str().unwrap();
        assert_eq!(status, if id == "honest" { "COMPLETED" } else { "REVIEW" }, "{id}: {task}");
        if let Some(path) = id.split_once('-').and_then(|(_, number)| PATHS.get(number.parse::<usize>().ok()?)) {
            let said = world.devstack(&["task", "explain", id]).expect(0).stdout;
            assert!(said.contains("it changes protected paths") && said.contains(path), "{said}");
        }
    }
    assert_eq!(world.git(&["ls-tree", "-r", "--name-only", "dev", "--", ".cursor", ".mcp.json"]), "");
    // Approving merges it.
    world.devstack(&["task", "approve", "add"]).expect(0);
    world.run().expect(7);
    assert_eq!(world.status("add"), "COMPLETED");
    assert_eq!(world.git(&["show", "dev:.cursor/rules/x"]), "obey");
}

#[test]
fn a_task_that_may_change_them_is_merged_and_a_project_says_what_is_protected() {
    let world = world();
    let may = "may_change = [\".github/**\", \"AGENTS.md\"]";
    let script = "echo more >> .github/workflows/ci.yml; echo more >> docs/AGENTS.md; rm .github/workflows/ci.yml";
    world.plan(
        &Plan::new([task("may", script).with(may), task("lock", "echo x > Cargo.lock")])
            .project("protected = [\"@default\", \"@lockfiles\"]"),
    );
    world.run().expect(7);
    assert_eq!((world.status("may").as_str(), world.status("lock").as_str()), ("COMPLETED", "REVIEW"));
    // Nothing is protected where the project says so.
    world.plan(&Plan::new([task("free", "echo x >> .envrc")]).project("protected = []"));
    world.run();
    assert_eq!(world.status("free"), "COMPLETED");
    world.plan(&Plan::new([task("x", "true")]).project("protected = [\"a[\"]"));
    world.devstack(&["plan", "check", "devstack.toml"]).expect(2).says("`a[` in `protected` of [project]");
}

#[test]
fn the_patch_shows_protected_files_first() {
    let world = world();
    world.plan(&Plan::new([task("A", "echo x > a-file; echo x >> docs/AGENTS.md; echo x > z")]));
    world.run().expect(7);
    let patch = world.devstack(&["task", "diff", "A"]).expect(0).stdout;
    let at = |path: &str| patch.find(&format!("diff --git a/{path}")).unwrap_or_else(|| panic!("{path} in {patch}"));
    assert!(at("docs/AGENTS.md") < at("a-file") && at("a-file") < at("z"), "{patch}");
}

/// A repository with 120 files more.
fn grow(world: &World) {
    for n in 0..120 {
        world.write(&format!("src/f{n}"), &format!("content {n}\n"));
    }
    world.commit_all("Grow");
}

const DELETES_SOME: &str = "git rm -q $(git ls-files src | head -60)";

#[test]
fn a_mass_deletion_waits_for_a_person_and_moved_files_do_not() {
    in_both_runtimes(|world| {
        grow(&world);
        world.plan(&Plan::new([
            task("deletes", DELETES_SOME),
            task("moves", "git mv src lib"),
            task("few", "git rm -q $(git ls-files src | head -30)"),
        ]));
        world.run().expect(7);
        assert_eq!(world.status("deletes"), "REVIEW");
        world.devstack(&["task", "explain", "deletes"]).expect(0).says("it deletes 60 of 122 files");
        assert_ne!(world.status("moves"), "REVIEW");
        assert_ne!(world.status("few"), "REVIEW");
    });
}

#[test]
fn a_task_that_may_delete_much_is_merged() {
    let may = World::with_repository();
    grow(&may);
    may.plan(&Plan::new([task("may", DELETES_SOME).with("mass_delete = true")]));
    may.run().expect(0);
    assert_eq!(may.git(&["ls-files", "src"]).lines().count(), 120, "the person's checkout is as it was");
    assert_eq!(may.git(&["ls-tree", "-r", "--name-only", "dev", "--", "src/"]).lines().count(), 60);
}
