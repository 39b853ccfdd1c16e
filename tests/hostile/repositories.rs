//! Repositories that cannot be used: each refused in its own words with the mend, and nothing is made. Guarantee 10.

use std::fs;

use crate::bench::{Plan, World, task};

#[track_caller]
fn refused(world: &World, says: &[&str]) {
    world.plan(&Plan::new([task("A", "echo a > a")]).project(""));
    let ended = world.run();
    assert!([2, 5].contains(&ended.code), "{ended:?}");
    for words in says {
        assert!(ended.stderr.contains(words), "`{words}` is not in {}", ended.stderr);
    }
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    let projects = world.devstack(&["project", "list", "-o", "json"]).expect(0).json();
    assert_eq!(projects["projects"].as_array().unwrap().len(), 0, "no project is made");
    assert!(!world.hub().exists(), "no hub is made");
    // As JSON: one object on stderr.
    let ended = world.run_with(&["-o", "json"]);
    let error = ended.stderr.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let error = error.unwrap_or_else(|| panic!("no JSON: {}", ended.stderr))["error"].clone();
    assert!(error["code"].as_str().unwrap().starts_with("DS") && error["hint"].is_string(), "{error}");
}

fn plain(world: &World) {
    world.git(&["init", "--quiet", "--initial-branch=main"]);
}

#[test]
fn not_a_repository() {
    refused(&World::bare(), &["is not a git repository", "git init"]);
}

#[test]
fn missing() {
    let world = World::bare();
    let text = Plan::new([task("A", "true")]).text().replace("repo = \".\"", "repo = \"../nowhere\"");
    world.write("devstack.toml", &text);
    let ended = world.run();
    assert!([2, 5].contains(&ended.code), "{ended:?}");
    ended.says("nowhere").says("does not exist");
}

#[test]
fn empty() {
    let world = World::bare();
    plain(&world);
    refused(&world, &["has no commit", "git commit"]);
}

#[test]
fn shallow() {
    let (world, full) = (World::bare(), World::with_repository());
    full.write("more", "more");
    full.commit_all("More");
    let from = format!("file://{}", full.dir().display());
    world.git(&["clone", "--quiet", "--depth=1", &from, "."]);
    refused(&world, &["is shallow", "git fetch --unshallow"]);
}

#[test]
fn the_integration_branch_is_checked_out() {
    let world = World::with_repository();
    world.git(&["switch", "--quiet", "--create", "dev"]);
    refused(&world, &["`dev` is checked out", "switch"]);
}

#[test]
fn a_base_that_does_not_exist() {
    let world = World::with_repository();
    let text = Plan::new([task("A", "true")]).project("base = \"trunk\"").text();
    world.write("devstack.toml", &text);
    let ended = world.run();
    assert!([2, 5].contains(&ended.code), "{ended:?}");
    ended.says("trunk").says("hint: ");
}

#[test]
fn a_source_with_hooks_and_filters_runs_none() {
    let world = World::with_repository();
    let canary = world.root().join("canary");
    let run = format!("touch {}", canary.display());
    for hook in
        ["pre-commit", "post-update", "reference-transaction", "post-checkout", "update", "pre-receive", "post-receive"]
    {
        let path = world.path(&format!(".git/hooks/{hook}"));
        fs::write(&path, format!("#!/bin/sh\n{run}\n")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    world.git(&["config", "filter.f.clean", &format!("{run}; cat")]);
    world.git(&["config", "uploadpack.packObjectsHook", &run]);
    world.git(&["config", "core.fsmonitor", &run]);
    fs::write(world.path(".git/info/attributes"), "* filter=f\n").unwrap();
    world.plan(&Plan::new([task("A", "echo a > a")]));
    let _ = fs::remove_file(&canary);
    world.run().expect(0);
    assert!(!canary.exists(), "a delivery ran something of the source");
    assert!(world.git_in(&world.hub(), &["rev-parse", "dev"]).len() == 40);
}
