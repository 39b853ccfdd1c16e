//! Whole plans in containers, on the machine's own engine.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::bench::*;

/// The engine, with the minimal image in it; `None`, loudly.
fn engine(world: &World) -> Option<()> {
    let built = world.with_engine(&["image", "build", "--minimal"]);
    if built.code == 0 {
        return Some(());
    }
    println!("SKIPPED: stories in containers: {}", built.stderr.trim());
    None
}

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The random name of this world's installation, as its containers have it.
fn containers(world: &World) -> String {
    let Ok(state) = world.path(".devstack").canonicalize() else { return String::new() };
    let mounts = docker(&["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.Mounts}}"]);
    mounts.lines().filter(|line| line.contains(&*state.to_string_lossy())).collect()
}

#[test]
fn a_plan_runs_in_containers_and_its_work_is_merged() {
    let world = World::with_repository();
    let Some(()) = engine(&world) else { return };
    let script = "test \"$PWD\" = /workspace; test \"$(id -u)\" != 0; test ! -w /etc; cat; echo one > said";
    let tasks = [task("A", script), task("B", "grep -q . said; echo two >> said").after(&["A"])];
    world.plan(&Plan::new(tasks).project("checks = [\"test -s said\"]"));
    world.with_engine(&["run", "devstack.toml"]).expect(0);
    assert!(world.git(&["show", "dev:said"]).ends_with("two"));
    let shown = world.devstack(&["task", "show", "A", "-o", "json"]).expect(0).json();
    let image = shown["task"]["attempt_list"][0]["image"].as_str().unwrap_or_default().to_owned();
    assert!(image.starts_with("devstack/minimal:latest@sha256:"), "{image}");
    assert_eq!(containers(&world), "", "nothing is left");
}

#[test]
fn a_killed_node_takes_its_containers_up_again() {
    let world = World::with_repository();
    let Some(()) = engine(&world) else { return };
    let script = "echo before; while ! test -e go; do sleep 0.1; done; rm go; echo after; echo made > made";
    world.plan(&Plan::new([task("A", script)]));
    let node = world.spawn_with_engine(&["run", "devstack.toml"]);
    let attempt = world.path(".devstack/attempts/shop.A.1");
    until("the agent speaks", || std::fs::read_to_string(attempt.join("shim/log")).is_ok_and(|log| !log.is_empty()));
    node.signal(Signal::SIGKILL);
    drop(node);
    assert_ne!(containers(&world), "", "the container outlives the node");
    let next = world.spawn_with_engine(&["run", "devstack.toml"]);
    until("the next node is there", || next.stderr().contains("plan "));
    std::fs::write(attempt.join("workspace/go"), "").unwrap();
    next.wait().expect(0);
    assert_eq!(world.task("A")["attempts"], 1, "it was not run twice");
    assert_eq!(world.log("A", 1), "before\nafter\n");
    assert_eq!(world.git(&["show", "dev:made"]), "made");
    assert_eq!(containers(&world), "", "nothing is left");
}

#[test]
fn an_image_that_is_not_there_is_told_at_submission_and_changes_nothing() {
    let world = World::with_repository();
    let Some(()) = engine(&world) else { return };
    world.plan(&Plan::new([task("A", "true")]).dev("image = \"devstack/none\""));
    let refused = world.with_engine(&["run", "devstack.toml"]).expect(5);
    refused.says("no image devstack/none on this host").says("docker build");
    let projects = world.devstack(&["project", "list", "-o", "json"]).expect(0).json();
    assert_eq!(projects["projects"].as_array().map(Vec::len), Some(0));
}

#[test]
fn what_one_runtime_started_the_other_does_not_lose() {
    let world = World::with_repository();
    let Some(()) = engine(&world) else { return };
    let script = "while ! test -e go; do sleep 0.1; done; rm go; echo made > made";
    world.plan(&Plan::new([task("A", script)]));
    let node = world.spawn_with_engine(&["run", "devstack.toml"]);
    until("its container is there", || !containers(&world).is_empty());
    let workspace = world.path(".devstack/attempts/shop.A.1/workspace");
    until("its workspace is there", || workspace.join(".git").is_dir());
    node.signal(Signal::SIGKILL);
    drop(node);
    world.run().says("started by the docker runtime").says("--runtime docker");
    assert_ne!(containers(&world), "", "it goes on");
    std::fs::write(workspace.join("go"), "").unwrap();
    world.with_engine(&["run", "devstack.toml"]).expect(0);
    assert_eq!(world.task("A")["attempts"], 1);
}
