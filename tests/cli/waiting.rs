//! Waiting, following and interrupting.

use std::{
    io::{BufRead, BufReader},
    process::Child,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::node::{Node, Place, Ran, plan};

fn place(tasks: &str) -> (Place, Node) {
    let place = Place::new();
    let node = Node::serve(&place.socket(), 2);
    place.write("devstack.toml", &plan("shop", tasks));
    (place, node)
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
}

#[test]
fn run_beside_a_node_tells_what_happens_and_exits_0() {
    let (place, _node) =
        place("[[task]]\nid = \"a\"\ntitle = \"a\"\n[[task]]\nid = \"b\"\ndependencies = [\"a\"]\ntitle = \"b\"\n");
    let ran = place.run(&["run", "devstack.toml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.err.contains("plan 1 of shop: 2 added"), "{ran:?}");
    assert!(ran.err.ends_with("all 2 tasks are COMPLETED\n"), "{ran:?}");
    let again = place.run(&["run", "devstack.toml", "-q", "-o", "json"]);
    assert_eq!((again.code, again.err.as_str()), (Some(0), ""), "{again:?}");
    assert_eq!(again.json()["completed"], true);
}

#[test]
fn what_waits_for_a_person_exits_7_with_the_command_that_moves_it() {
    let (place, _node) =
        place("[[task]]\nid = \"a\"\nrole = \"bad\"\ntitle = \"a\"\n[[task]]\nid = \"b\"\ntitle = \"b\"\n");
    for args in [&["run", "devstack.toml"][..], &["plan", "submit", "--wait", "devstack.toml"], &["task", "wait"]] {
        let ran = place.run(args);
        assert_eq!(ran.code, Some(7), "{args:?} {ran:?}");
        let line = ran.out.lines().nth(1).unwrap();
        assert!(line.starts_with("shop/a  BLOCKED") && line.contains("devstack task retry shop/a"), "{args:?} {ran:?}");
        assert_eq!(ran.out.lines().count(), 2, "{args:?} {ran:?}");
    }
    assert_eq!(place.run(&["task", "wait", "b"]).code, Some(0));
    assert_eq!(place.run(&["task", "wait", "shop/a"]).code, Some(7));
    assert_eq!(place.run(&["task", "wait", "--project", "shop", "b"]).code, Some(0));
    assert_eq!(place.run(&["task", "wait", "none"]).code, Some(3));
    let json = place.run(&["task", "wait", "-o", "json"]);
    assert_eq!((json.code, &json.json()["waiting"][0]["task"]), (Some(7), &json!("shop/a")));
}

#[test]
fn a_timeout_exits_8_and_an_interrupt_130() {
    let (place, _node) = place("[[task]]\nid = \"a\"\nrole = \"slow\"\ntitle = \"a\"\n");
    let timed = place.run(&["--timeout", "200ms", "plan", "submit", "--wait", "devstack.toml", "-o", "json"]);
    assert_eq!((timed.code, &timed.error()["code"]), (Some(8), &json!("DS0403")), "{timed:?}");
    let mut following = place.command(&["event", "tail", "--after", "0"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(following.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("host-reported"), "{line}");
    interrupt(&following);
    assert_eq!(following.wait().unwrap().code(), Some(130));
    let mut running = place.command(&["run", "devstack.toml"]).spawn().unwrap();
    let mut err = BufReader::new(running.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    assert!(line.starts_with("plan 1 of shop"), "{line}");
    interrupt(&running);
    assert_eq!(running.wait().unwrap().code(), Some(130));
}

#[test]
fn facts_are_followed_as_json_lines() {
    let (place, _node) = place("[[task]]\nid = \"a\"\ntitle = \"a\"\n");
    place.run(&["plan", "submit", "devstack.toml"]);
    let mut child = place.command(&["event", "tail", "--after", "1", "-o", "json"]).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut kinds = Vec::new();
    for line in lines {
        let fact: Value = serde_json::from_str(&line.unwrap()).unwrap();
        kinds.push(fact["kind"].as_str().unwrap().to_owned());
        if kinds.last().unwrap() == "task-completed" {
            break;
        }
    }
    interrupt(&child);
    child.wait().unwrap();
    assert!(kinds.contains(&"plan-submitted".to_owned()) && kinds.contains(&"attempt-ended".to_owned()), "{kinds:?}");
}

#[test]
fn facts_that_are_gone_exit_5() {
    let (place, node) = place("[[task]]\nid = \"a\"\ntitle = \"a\"\n");
    place.run(&["plan", "submit", "devstack.toml"]);
    node.fake.prune();
    let ran: Ran = place.run(&["event", "tail", "--after", "1", "-o", "json"]);
    assert_eq!((ran.code, &ran.error()["code"]), (Some(5), &json!("DS0305")));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (place, _node) =
        place(&(0..2000).map(|n| format!("[[task]]\nid = \"t{n}\"\ntitle = \"t{n}\"\n")).collect::<String>());
    place.run(&["plan", "submit", "devstack.toml"]);
    let mut child = place.command(&["task", "list"]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
