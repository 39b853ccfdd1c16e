//! Where commands find their node: none running, several at once, from below, on a path too long for a socket.

use std::fs;

use crate::bench::{Plan, World, human, task};

#[test]
fn commands_without_a_running_node_read_and_change() {
    let world = World::with_repository();
    world.plan(&Plan::new([human("H"), task("A", "exit 1")]));
    world.run().expect(7);
    assert!(!world.path(".devstack/api.sock").exists());
    assert_eq!(world.tasks().len(), 2);
    world.devstack(&["task", "retry", "A"]).expect(0);
    assert_eq!(world.status("A"), "TODO", "nothing is dispatched without a node");
    world.plan(&Plan::new([human("H"), task("A", "exit 1"), task("B", "true")]));
    world.devstack(&["plan", "submit", "devstack.toml"]).expect(0);
    assert_eq!(world.tasks().len(), 3);
    assert_eq!(world.task("B")["attempts"], 0);
}

#[test]
fn concurrent_commands_queue() {
    let world = World::with_repository();
    world.plan(&Plan::new((0..8).map(|n| human(&format!("H{n}")))));
    world.run().expect(7);
    let commands: Vec<_> = (0..8).map(|n| world.spawn(&["task", "reject", &format!("H{n}")])).collect();
    for command in commands {
        command.wait().expect(0);
    }
    for task in world.tasks() {
        assert_eq!(task["status"], "REJECTED", "{task}");
    }
}

#[test]
fn the_nearest_directory_upwards_is_meant() {
    let world = World::with_repository();
    world.plan(&Plan::new([human("H")]));
    world.run().expect(7);
    let below = world.path("src/deep");
    fs::create_dir_all(&below).unwrap();
    let list = world.spawn_in(&below, &["task", "list", "-o", "json"]).wait().expect(0);
    assert_eq!(list.json()["tasks"].as_array().unwrap().len(), 1);
    // It is kept out of git.
    assert!(!world.git(&["status", "--porcelain"]).contains(".devstack"));
}

#[test]
fn a_path_too_long_for_a_socket_is_no_obstacle() {
    let world = World::bare();
    let deep = world.path(&["a-directory-with-a-name-of-forty-characters"; 4].join("/"));
    assert!(deep.as_os_str().len() > 150);
    fs::create_dir_all(&deep).unwrap();
    let script = world.wait_at("go");
    fs::write(deep.join("devstack.toml"), Plan::new([task("A", &script)]).without_repository().text()).unwrap();
    let run = world.spawn_in(&deep, &["run", "devstack.toml", "--runtime", "process", "--sandbox", "off"]);
    world.until_there("go");
    // Through the socket: the node runs and holds the lock.
    let list = world.spawn_in(&deep, &["task", "list", "-o", "json"]).wait().expect(0);
    assert_eq!(list.json()["tasks"][0]["status"], "WIP");
    world.open_gate("go");
    run.wait().expect(0);
}

#[test]
fn a_second_run_beside_the_first_watches_it() {
    let world = World::with_repository().unsandboxed();
    world.plan(&Plan::new([task("A", &format!("{}echo a > a", world.wait_at("go")))]));
    let first = world.start();
    world.until_there("go");
    let second = world.start();
    world.open_gate("go");
    first.wait().expect(0);
    // The node is the first one's: the second learns the end, or that the node has gone.
    let second = second.wait();
    assert!([0, 6].contains(&second.code), "{second:?}");
    assert_eq!(world.outcomes("A"), ["done"]);
}
