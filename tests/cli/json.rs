//! `-o json` of every command: data is one object with `apiVersion` on stdout, an error one object on stderr.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::node::{Node, Place, plan};

/// What the commands are asked in this order, and what they exit with. What prints no data of its own, runs until it is
/// ended, or needs a terminal or another machine stands in [`ELSEWHERE`].
const ASKED: &[(&[&str], i32)] = &[
    (&["plan", "check", "devstack.toml"], 0),
    (&["plan", "submit", "devstack.toml"], 0),
    (&["plan", "show", "shop"], 0),
    (&["project", "list"], 0),
    (&["project", "show", "shop"], 0),
    (&["project", "show", "none"], 3),
    (&["project", "pause", "shop"], 0),
    (&["project", "resume", "shop"], 0),
    (&["task", "list"], 0),
    (&["task", "show", "a"], 0),
    (&["task", "show", "none"], 3),
    (&["task", "explain", "a"], 0),
    (&["task", "prompt", "a"], 0),
    (&["task", "wait", "a"], 0),
    (&["task", "stop", "slow"], 0),
    (&["task", "approve", "a"], 5),
    (&["task", "request-changes", "a", "-m", "x"], 5),
    (&["task", "retry", "a"], 5),
    (&["task", "reject", "slow", "-m", "no need"], 0),
    (&["task", "resolve", "a", "--checkout", "x"], 5),
    (&["task", "logs", "none"], 3),
    (&["task", "diff", "none"], 3),
    (&["agent", "list"], 0),
    (&["merge", "list"], 0),
    (&["merge", "show", "a"], 3),
    (&["host", "list"], 0),
    (&["host", "show", "one"], 0),
    (&["host", "drain", "one"], 0),
    (&["host", "undrain", "one"], 0),
    (&["host", "set", "one", "--max-slots", "1"], 0),
    (&["host", "remove", "one", "--force"], 0),
    (&["host", "show", "none"], 3),
    (&["event", "export"], 0),
    (&["status"], 0),
    (&["plan", "cancel", "shop"], 0),
    (&["cluster", "status"], 5),
    (&["cluster", "backup", "x.tar"], 6),
    (&["cluster", "restore", "none.tar", "--state-dir", "x"], 2),
    (&["token", "list"], 5),
    (&["token", "create", "--role", "viewer"], 5),
    (&["token", "revoke", "x"], 5),
    (&["config", "check", "--config", "none.toml"], 2),
    (&["config", "show", "--config", "none.toml"], 2),
    (&["top"], 2),
    (&["man", "pages"], 0),
    (&["version"], 0),
];

/// Commands that are looked at by tests of their own.
const ELSEWHERE: &[&str] = &[
    // Run until they are ended, or tell a story.
    "quickstart",
    "run",
    "up",
    "event tail",
    "plan watch",
    // Reads a file of a node.
    "cluster audit",
    // Their data is a script, or goes to an engine or a browser.
    "completions",
    "image build",
    "dashboard open",
    "dashboard export",
    // Files of a person's own.
    "cluster init",
    "plan export",
    "plan import",
    "doctor",
];

#[test]
fn every_command_speaks_json() {
    let place = Place::new();
    let _node = Node::serve(&place.socket(), 2);
    let tasks = "[[task]]\nid = \"a\"\ntitle = \"a\"\n[[task]]\nid = \"slow\"\nrole = \"slow\"\ntitle = \"slow\"\n";
    place.write("devstack.toml", &plan("shop", tasks));
    for (args, code) in ASKED {
        let ran = place.run(&[args, &["-o", "json"][..]].concat());
        assert_eq!(ran.code, Some(*code), "{args:?} {ran:?}");
        if *args == ["plan", "show", "shop"] {
            // A plan file, which can be submitted again: it has no key that a plan has not.
            assert!(ran.json()["task"].is_array(), "{ran:?}");
        } else if *code == 0 {
            assert_eq!((&ran.json()["apiVersion"], ran.err.as_str()), (&Value::from("v1"), ""), "{args:?} {ran:?}");
        } else {
            assert_eq!(ran.out, "", "{args:?}");
            let error = ran.error();
            assert!(error["code"].as_str().is_some_and(|code| code.starts_with("DS")), "{args:?} {error}");
        }
    }
}

#[test]
fn no_command_is_forgotten() {
    let place = Place::new();
    assert_eq!(place.run(&["man", "pages"]).code, Some(0));
    let files = std::fs::read_dir(place.dir.path().join("pages")).unwrap();
    let names: BTreeSet<String> = files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // A page of a noun lists its verbs; the leaves are those that no other page begins with.
    let leaf = |name: &&String| !names.iter().any(|other| other.starts_with(&name.replace(".1", "-")));
    let words = |name: &String| name.trim_start_matches("devstack-").trim_end_matches(".1").to_owned();
    let asked: BTreeSet<String> =
        ASKED.iter().map(|(args, _)| format!("{}-{}", args[0], args.get(1).unwrap_or(&""))).collect();
    for command in names.iter().filter(leaf).map(words) {
        let known = ELSEWHERE.iter().any(|known| known.replace(' ', "-") == command)
            || asked.iter().any(|asked| asked.starts_with(&format!("{command}-")) || *asked == command);
        assert!(known, "`{command}` is asked for JSON by no test");
    }
}
