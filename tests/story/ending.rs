//! How `run` ends: exit codes, and what they come with.

use crate::bench::{Plan, World, human, task};

#[test]
fn a_plan_without_a_repository_runs_in_empty_workspaces() {
    let world = World::bare();
    let look = "test -z \"$(ls -A)\"; cat; echo end of the prompt";
    let plan = Plan::new([task("A", look).with("prompt = \"say it\""), task("B", "true").after(&["A"])]);
    world.plan(&plan.without_repository());
    world.run().expect(0).says("all 2 tasks are COMPLETED");
    let log = world.log("A", 1);
    assert!(log.starts_with("# Do A\n\nsay it\n") && log.ends_with("end of the prompt\n"), "{log}");
    let task = world.task("A");
    assert!(task["commit"].is_null() && task["merge_commit"].is_null(), "{task}");
}

#[test]
fn a_plan_with_one_ends_in_merges() {
    let world = World::with_repository();
    world.plan(&Plan::new([task("A", "echo a > a"), task("B", "git mv README READ && git commit -qm 'by hand'")]));
    let started_from = world.git(&["rev-parse", "main"]);
    world.run().expect(0);
    assert_eq!(world.git(&["ls-tree", "--name-only", "dev"]), "READ\na\nnumbers");
    // The person's own branch and files are as they were.
    assert_eq!(world.git(&["rev-parse", "main"]), started_from);
    assert_eq!(world.read("README"), "a shop\n");
    let authors = world.git(&["log", "--no-merges", "--format=%an", "main..dev"]);
    assert_eq!(authors.lines().count(), 2, "{authors}");
    let merges = world.devstack(&["merge", "list", "-o", "json"]).expect(0).json();
    assert_eq!(merges["merges"].as_array().unwrap().len(), 2);
}

#[test]
fn what_waits_for_a_person_is_listed_with_what_moves_it() {
    let world = World::with_repository();
    let plan = Plan::new([
        human("BY-HAND"),
        task("BROKEN", "echo it broke; exit 3"),
        task("FINE", "echo fine > fine"),
        task("LATER", "true").after(&["BROKEN"]),
    ]);
    world.plan(&plan.project("review = \"human\""));
    let ended = world.run().expect(7);
    let moves = |id: &str, command: &str| {
        let line = ended.stdout.lines().find(|line| line.contains(&format!("shop/{id} ")));
        let line = line.unwrap_or_else(|| panic!("no line for {id}: {}", ended.stdout));
        assert!(line.contains(command), "{line}");
    };
    moves("BY-HAND", "devstack task resolve");
    moves("BROKEN", "devstack task retry");
    moves("FINE", "devstack task approve");
    assert_eq!(world.blocked_reason("BROKEN"), "attempts-exhausted");
    assert_eq!(world.status("FINE"), "REVIEW");
    assert_eq!(world.status("LATER"), "TODO");

    // As JSON: the same, on stdout.
    let waiting = world.run_with(&["-o", "json"]).expect(7).json()["waiting"].clone();
    let waiting: Vec<_> = waiting.as_array().unwrap().iter().map(|w| w["task"].as_str().unwrap().to_owned()).collect();
    for id in ["shop/BY-HAND", "shop/BROKEN", "shop/FINE"] {
        assert!(waiting.iter().any(|task| task == id), "{waiting:?}");
    }
    let wait = world.devstack(&["task", "wait", "FINE"]).expect(7);
    assert!(wait.stdout.contains("shop/FINE"), "{wait:?}");

    // A review moves it.
    world.devstack(&["task", "approve", "FINE"]).expect(0);
    world.run().expect(7);
    assert_eq!(world.status("FINE"), "COMPLETED");
}

#[test]
fn a_review_sends_back_with_its_words() {
    let world = World::with_repository();
    let script = "if grep -q 'in French'; then echo bonjour > hello; else echo hello > hello; fi";
    world.plan(&Plan::new([task("A", script)]).project("review = \"human\""));
    world.run().expect(7);
    world.devstack(&["task", "request-changes", "A", "-m", "say it in French"]).expect(0);
    world.run().expect(7);
    world.devstack(&["task", "diff", "A"]).expect(0).says("+bonjour");
    world.devstack(&["task", "approve", "A"]).expect(0);
    world.run().expect(0);
    assert_eq!(world.git(&["show", "dev:hello"]), "bonjour");
}

#[test]
fn without_an_engine_auto_is_refused_with_the_way_out() {
    let world = World::with_repository();
    world.plan(&Plan::new([task("A", "true")]));
    world.devstack(&["run", "devstack.toml"]).expect(5).says("--runtime process");
    world.devstack(&["run", "devstack.toml", "--runtime", "docker"]).expect(5).says("--runtime process");
}

#[test]
fn what_is_not_there_is_3_and_no_node_is_6() {
    let world = World::with_repository();
    world.devstack(&["task", "list"]).expect(6).says("hint: ");
    world.plan(&Plan::new([human("A")]));
    world.run().expect(7);
    for args in [["task", "show", "NOPE"], ["project", "show", "nope"], ["task", "logs", "NOPE"]] {
        world.devstack(&args).expect(3).says("hint: ");
    }
    world.devstack(&["task", "shwo", "A"]).expect(2);
    world.devstack(&["run", "nowhere.toml"]).expect(2).says("nowhere.toml");
    world.devstack(&["--timeout", "1s", "task", "wait", "--wait-human"]).expect(8);
}
