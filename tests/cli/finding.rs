//! How a command finds its node: upwards, beside the plan, by flag and by variable; and what happens without one.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::json;

use crate::node::{Node, Place, Ran, plan};

const ONE: &str = "[[task]]\nid = \"a\"\ntitle = \"a\"\n";

#[test]
fn the_nearest_devstack_upwards_is_used() {
    let place = Place::new();
    let _node = Node::serve(&place.socket(), 1);
    let below = place.dir.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    let ran = Ran::from(place.command(&["status", "-o", "json"]).current_dir(&below).output().unwrap());
    assert_eq!((ran.code, &ran.json()["slots"]), (Some(0), &json!(1)), "{ran:?}");
}

#[test]
fn a_plan_is_submitted_to_the_node_beside_it() {
    let place = Place::new();
    let _node = Node::serve(&place.socket(), 1);
    let path = place.write("devstack.toml", &plan("shop", ONE));
    let elsewhere = Place::new();
    let ran = elsewhere.run(&["plan", "submit", path.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(place.run(&["task", "list", "-o", "json"]).json()["tasks"][0]["id"], "a");
}

#[test]
fn a_flag_beats_the_variable_and_the_variable_beats_the_directory() {
    let (here, there, far) = (Place::new(), Place::new(), Place::new());
    let (_here, _there, _far) =
        (Node::serve(&here.socket(), 1), Node::serve(&there.socket(), 2), Node::serve(&far.socket(), 3));
    let address = |place: &Place| format!("unix://{}", place.socket().display());
    let slots = |ran: Ran| ran.json()["slots"].clone();
    let mut by_variable = here.command(&["status"]);
    by_variable.env("DEVSTACK_ADDRESS", address(&there)).env("DEVSTACK_OUTPUT", "json");
    assert_eq!(slots(Ran::from(by_variable.output().unwrap())), 2);
    let mut by_flag = here.command(&["status", "-o", "json", "--address", &address(&far)]);
    by_flag.env("DEVSTACK_ADDRESS", address(&there)).env("DEVSTACK_OUTPUT", "table");
    assert_eq!(slots(Ran::from(by_flag.output().unwrap())), 3);
}

#[test]
fn without_a_devstack_nothing_can_be_asked() {
    let place = Place::new();
    fs::remove_dir(place.dir.path().join(".devstack")).unwrap();
    let ran = place.run(&["task", "list", "-o", "json"]);
    assert_eq!((ran.code, &ran.error()["code"]), (Some(6), &json!("DS0402")));
}

#[test]
fn a_socket_path_of_any_length_works() {
    let place = Place::new();
    let deep = place.dir.path().join("d".repeat(120));
    fs::create_dir_all(deep.join(".devstack")).unwrap();
    let _node = Node::serve(&deep.join(".devstack/api.sock"), 4);
    let ran = Ran::from(place.command(&["status", "-o", "json"]).current_dir(&deep).output().unwrap());
    assert_eq!(ran.json()["slots"], 4);
}

#[test]
fn run_makes_a_private_devstack_and_is_refused_without_an_engine() {
    let place = Place::new();
    fs::remove_dir(place.dir.path().join(".devstack")).unwrap();
    fs::create_dir(place.dir.path().join(".git")).unwrap();
    place.write("devstack.toml", &plan("shop", ONE));
    for runtime in ["auto", "docker"] {
        let mut command = place.command(&["run", "devstack.toml", "--runtime", runtime]);
        let ran = Ran::from(command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock").output().unwrap());
        assert_eq!(ran.code, Some(5), "{ran:?}");
        assert!(ran.err.contains("or run attempts as processes of this machine with `--runtime process`"), "{ran:?}");
    }
    let mode = fs::metadata(place.dir.path().join(".devstack")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o711, "agents pass through, nobody lists");
    let exclude = fs::read_to_string(place.dir.path().join(".git/info/exclude")).unwrap();
    assert_eq!(exclude, ".devstack/\n");
}
