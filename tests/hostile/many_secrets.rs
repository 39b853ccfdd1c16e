//! A long `.env` of an honest operator: the node starts, works, and starts again.
//! Deliberately absent: hosts that name too many over a link (tests/cluster).

use std::{fs, os::unix::fs::PermissionsExt};

use crate::bench::{Plan, World, task};

/// Its names have 119 characters.
fn name(n: usize) -> String {
    format!("N{n:0118}")
}

fn with_names(count: usize) -> World {
    let world = World::with_repository();
    let lines: String = (0..count).map(|n| format!("{}=value-{n}\n", name(n))).collect();
    world.write(".env", &lines);
    fs::set_permissions(world.path(".env"), fs::Permissions::from_mode(0o600)).unwrap();
    world
}

fn keeper(last: usize) -> String {
    format!("[agents.keeper]\ncommand = [\"true\"]\nsecrets = [\"{}\"]\n", name(last))
}

/// More than a row of the store has: no fact or record may hold them.
#[test]
fn two_hundred_long_names_work_and_work_again() {
    let world = with_names(200);
    let asks = format!("test \"${}\" = value-199; echo a > a", name(199));
    let first = || task("A", &asks).with("role = \"keeper\"");
    world.plan(&Plan::new([first()]).tables(&keeper(199)));
    world.run().expect(0);
    assert_eq!(world.status("A"), "COMPLETED");
    let second = task("B", &asks.replace("echo a > a", "echo b > b")).with("role = \"keeper\"");
    world.plan(&Plan::new([first(), second]).tables(&keeper(199)));
    world.run().expect(0);
    assert_eq!(world.status("B"), "COMPLETED", "also on the store that it left");
    world.hub_is_whole();
}

/// Those that a host offers are the first by name; the others are named to the operator.
#[test]
fn names_beyond_the_most_are_left_out_and_said() {
    let world = with_names(300);
    world.plan(&Plan::new([task("A", "echo a > a").with("role = \"keeper\"")]).tables(&keeper(199)));
    world.run().expect(0);
    let doctor = world.devstack(&["doctor"]);
    let said = doctor.stdout.clone() + &doctor.stderr;
    // The environment of the test may bring others.
    assert!(said.contains("names; attempts get only the first 256: N"), "{said}");
}
