//! Where commands find their node: none running, several at once, from below, on a path too long for a socket.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

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

/// As root's home on a fresh machine: agents, as another user, may not pass through to the project.
#[test]
fn a_directory_closed_to_the_agents_user_is_no_obstacle() {
    let world = World::with_repository().unsandboxed();
    let close = |mode| fs::set_permissions(world.root(), fs::Permissions::from_mode(mode)).unwrap();
    close(0o700);
    let tasks = || vec![task("A", "git log --format=%s; echo a > a"), task("B", "mv a b").after(&["A"])];
    world.plan(&Plan::new(tasks()));
    let ran = world.run();
    // Before anything can fail: what is below /var/lib is no part of the scratch.
    let elsewhere = fs::read_link(world.path(".devstack/agents"));
    let left = elsewhere.as_ref().map(|dir| fs::read_dir(dir.join("attempts")).unwrap().count());
    let _ = elsewhere.as_ref().map(fs::remove_dir_all);
    ran.expect(0);
    assert!(world.log("A", 1).contains("Open the shop"));
    if nix::unistd::geteuid().is_root() {
        assert_eq!(left.unwrap(), 0, "attempts are removed there, too");
        // A way that opens later changes nothing, and what was cleaned away is made again.
        close(0o711);
        world.plan(&Plan::new(tasks().into_iter().chain([task("C", "cat b > c")])));
        let ran = world.run();
        let _ = elsewhere.map(fs::remove_dir_all).unwrap();
        ran.expect(0);
    }
}

#[test]
fn a_umask_that_hides_everything_is_no_obstacle() {
    let world = World::with_repository().unsandboxed();
    world.plan(&Plan::new([task("A", "echo a > a")]));
    let umask = ["-c", "umask 077; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_devstack")];
    let run = ["run", "devstack.toml", "--runtime", "process", "--sandbox", "off"];
    let ran = Command::new("sh").args(umask).args(run).current_dir(world.dir()).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert!(!world.path(".devstack/agents").is_symlink());
    for private in ["store", "projects", "logs"] {
        let mode = fs::metadata(world.path(&format!(".devstack/{private}"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{private}");
    }
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
