//! What is kept, for how long: texts that something names, and the commits of attempts until their task is done and its
//! retention over.

use std::fs;

use nix::sys::signal::Signal;

use crate::bench::{Plan, World, task, until};

/// Longer than what a record holds.
fn long(word: &str) -> String {
    format!("{word} ").repeat(1_000)
}

fn with_prompts(world: &World, prompts: &[&str]) {
    let tasks = prompts.iter().enumerate().map(|(n, word)| {
        let line = format!("prompt = {}", crate::bench::toml_text(&long(word)));
        task(&format!("T{n}"), &format!("echo {word} > f{n}")).with(&line)
    });
    world.plan(&Plan::new(tasks));
}

fn blobs(world: &World) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(world.path(".devstack/blobs"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn prompt(world: &World, id: &str) -> String {
    world.task(id)["prompt"].as_str().expect("a prompt").to_owned()
}

#[test]
fn texts_that_a_record_names_stay_and_what_a_killed_node_left_goes() {
    let world = World::with_repository();
    with_prompts(&world, &["one"]);
    world.run().expect(0);
    // The whole prompt of its attempt is another text, which nothing names once the attempt is over.
    let named = vec![blake3::hash(long("one").as_bytes()).to_string()];
    assert!(blobs(&world).contains(&named[0]));
    let dir = world.path(".devstack/blobs");
    let leave = |text: &str| {
        let name = blake3::hash(text.as_bytes()).to_string();
        fs::write(dir.join(&name), text).unwrap();
        name
    };
    leave(&long("of nobody"));
    fs::write(dir.join("tmp-1-0"), "half").unwrap();
    // Kept by a node that was killed before the fact that names it; the person submits again.
    let again = leave(&long("two"));
    with_prompts(&world, &["one", "two"]);
    world.run().expect(0);
    let mut expected = [named, vec![again]].concat();
    expected.sort();
    until("only what is named is there", || {
        // A run may be over before its sweep.
        let done = blobs(&world) == expected;
        if !done {
            world.run().expect(0);
        }
        done
    });
    assert_eq!([prompt(&world, "T0"), prompt(&world, "T1")], [long("one"), long("two")]);
}

#[test]
fn pins_go_when_their_task_is_done_and_the_retention_over() {
    let world = World::with_repository();
    world.plan(&Plan::new([task("DONE", "echo done > done"), task("STUCK", "echo half > half; exit 1")]));
    world.run().expect(7);
    let pins = || world.in_hub(&["for-each-ref", "--format=%(refname:lstrip=3)", "refs/devstack/attempts"]);
    assert_eq!(pins(), "DONE/1\nSTUCK/1");
    // The default is a week.
    world.run().expect(7);
    assert_eq!(pins(), "DONE/1\nSTUCK/1");

    let state = world.path(".devstack");
    let config = world.root().join("node.toml");
    let text = format!(
        "[node]\nstate_dir = \"{0}\"\n[api]\nsocket = \"{0}/api.sock\"\n[agent_host]\nsandbox = \"off\"\n\
         [retention]\nattempts = \"1ms\"\n",
        state.display()
    );
    fs::write(&config, text).unwrap();
    let node = world.spawn_node(&config);
    until("the finished task's pin is dropped", || pins() == "STUCK/1");
    node.signal(Signal::SIGTERM);
    node.wait().expect(0);
    assert_eq!(world.in_hub(&["show", "refs/devstack/attempts/STUCK/1:half"]), "half");
    world.git(&["merge-base", "--is-ancestor", world.task("DONE")["commit"].as_str().unwrap(), "dev"]);
}
