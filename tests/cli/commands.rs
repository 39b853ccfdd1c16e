//! Commands against a running node: data, errors, exit codes.

use devstack_dag::{command::Command, ids::HostName};
use serde_json::{Value, json};

use crate::node::{Node, Place, plan};

const TWO: &str = "[[task]]\nid = \"T-1\"\ntitle = \"First\"\n[[task]]\nid = \"T-2\"\ntitle = \"Second one\"\ndependencies = [\"T-1\"]\n";

fn place(tasks: &str) -> (Place, Node) {
    let place = Place::new();
    let node = Node::serve(&place.socket(), 2);
    place.write("devstack.toml", &plan("shop", tasks));
    (place, node)
}

#[test]
fn a_submitted_plan_is_listed_as_a_table_and_as_json() {
    let (place, _node) = place(TWO);
    let submitted = place.run(&["plan", "submit", "devstack.toml"]);
    assert_eq!((submitted.code, submitted.out.as_str()), (Some(0), "plan 1 of shop: 2 added\n"), "{submitted:?}");
    let list = place.run(&["task", "list"]);
    assert_eq!(
        list.out.lines().collect::<Vec<_>>(),
        [
            "ID   STATUS     AGENT  ATTEMPTS  PRIORITY  TITLE",
            "T-1  COMPLETED  dev1   1         medium    First",
            "T-2  COMPLETED  dev1   1         medium    Second one",
        ]
    );
    assert_eq!(list.err, "");
    let json = place.run(&["-o", "json", "task", "list", "--status", "completed"]).json();
    assert_eq!((&json["apiVersion"], &json["tasks"][1]["id"]), (&json!("v1"), &json!("T-2")));
    let lines = place.run(&["task", "list", "-o", "jsonl"]);
    let ids: Vec<Value> =
        lines.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, ["T-1", "T-2"]);
    let colored = place.run(&["--color", "always", "task", "list"]);
    assert!(colored.out.contains("\x1b[32mCOMPLETED\x1b[0m"), "{}", colored.out);
}

#[test]
fn a_wrong_plan_exits_2_with_every_mistake_and_its_line() {
    let (place, _node) = place(
        "[[task]]\nid = \"a\"\nrole = \"dve\"\ntitle = \"a\"\n[[task]]\nid = \"b\"\ntiemout = \"1s\"\ntitle = \"b\"\n",
    );
    for command in [vec!["plan", "check"], vec!["plan", "submit"], vec!["run"]] {
        let ran = place.run(&[&command[..], &["devstack.toml"]].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert_eq!(
            ran.err.lines().collect::<Vec<_>>(),
            [
                "error: devstack.toml:14: unknown role `dve` of task a [DS0106]",
                "hint: did you mean `dev`?",
                "error: devstack.toml:18: unknown key `tiemout` of task b [DS0102]",
                "hint: did you mean `timeout`?",
            ]
        );
    }
    let error = place.run(&["plan", "check", "devstack.toml", "-o", "json"]).error();
    assert_eq!(
        (&error["code"], &error["file"], &error["line"]),
        (&json!("DS0106"), &json!("devstack.toml"), &json!(14))
    );
    let missing = place.run(&["plan", "check", "none.toml"]);
    assert_eq!(missing.code, Some(2), "{missing:?}");
}

#[test]
fn a_good_plan_is_checked_without_a_node() {
    let place = Place::new();
    place.write("devstack.toml", &plan("shop", TWO));
    let ran = place.run(&["plan", "check", "devstack.toml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "OK: project shop, 2 tasks, 3 roles\n"));
    let json = place.run(&["plan", "check", "devstack.toml", "-o", "json"]).json();
    assert_eq!(json, json!({"apiVersion": "v1", "project": "shop", "tasks": 2, "roles": 3}));
}

#[test]
fn every_kind_of_failure_has_its_exit_code() {
    let (place, _node) = place("[[task]]\nid = \"a\"\ntitle = \"a\"\n");
    place.run(&["plan", "submit", "devstack.toml"]);
    let table: &[(&[&str], i32, &str)] = &[
        (&["task", "show", "nothing"], 3, "DS0202"),
        (&["task", "show", "shop/nothing"], 3, "DS0202"),
        (&["project", "show", "nothing"], 3, "DS0201"),
        (&["task", "retry", "a"], 5, "DS0212"),
        (&["task", "approve", "a"], 5, "DS0216"),
        (&["task", "resolve", "a", "--checkout", "x"], 5, "DS0217"),
        (&["host", "show", "nothing"], 3, "DS0221"),
        (&["host", "drain", "nothing"], 3, "DS0221"),
        (&["host", "remove", "one"], 5, "DS0222"),
        (&["host", "drain", "one", "--deadline", "366d"], 2, "DS0301"),
        (&["task", "list", "--status", "done"], 2, "DS0301"),
        (&["up", "--runtime", "process"], 5, "DS0408"),
        (&["--address", "https://example.org", "status"], 2, "DS0401"),
        (&["--address", "http://example.org:1", "status"], 2, "DS0401"),
        (&["--address", "nonsense", "status"], 2, "DS0401"),
        (&["--address", "unix:///nonexistent/api.sock", "status"], 6, "DS0402"),
    ];
    for (args, code, stable) in table {
        let ran = place.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(*code), ""), "{args:?} {ran:?}");
        assert!(ran.err.starts_with("error: ") && ran.err.contains(&format!("[{stable}]")), "{args:?} {ran:?}");
        assert!(ran.err.contains("\nhint: "), "{args:?} {ran:?}");
        let json = place.run(&[&["-o", "json"], *args].concat());
        assert_eq!((json.code, &json.error()["code"]), (Some(*code), &json!(stable)), "{args:?}");
    }
    for args in [&["task"][..], &["nonsense"], &["task", "resolve", "a"], &["--timeout", "soon", "status"]] {
        assert_eq!(place.run(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn a_short_id_must_be_of_one_project() {
    let (place, _node) = place("[[task]]\nid = \"a\"\ntitle = \"a\"\n[[task]]\nid = \"only\"\ntitle = \"only\"\n");
    place.write("other.toml", &plan("other", "[[task]]\nid = \"a\"\ntitle = \"a\"\n"));
    place.run(&["plan", "submit", "devstack.toml"]);
    place.run(&["plan", "submit", "other.toml"]);
    let ambiguous = place.run(&["task", "show", "a", "-o", "json"]);
    assert_eq!((ambiguous.code, &ambiguous.error()["code"]), (Some(2), &json!("DS0405")));
    assert_eq!(place.run(&["task", "show", "only", "-o", "json"]).json()["task"]["project"], "shop");
    assert_eq!(place.run(&["task", "show", "other/a", "-o", "json"]).json()["task"]["project"], "other");
    assert_eq!(place.run(&["task", "show", "none"]).code, Some(3));
    let list = place.run(&["task", "list"]).out;
    assert!(list.contains("other/a ") && list.contains("shop/only"), "{list}");
}

#[test]
fn people_move_tasks_from_the_command_line() {
    let (place, node) = place("[[task]]\nid = \"a\"\nrole = \"slow\"\nprompt = \"Say hello.\"\n");
    place.run(&["plan", "submit", "devstack.toml"]);
    assert!(place.run(&["task", "show", "a"]).out.contains("Say hello."));
    let logs = place.run(&["task", "logs", "a"]);
    assert_eq!(logs.out, "output of shop/a/1\nfollow: false\n");
    assert_eq!(place.run(&["task", "logs", "-f", "a", "--attempt", "1"]).out, "output of shop/a/1\nfollow: true\n");
    assert_eq!(place.run(&["task", "logs", "a", "--attempt", "7"]).code, Some(3));
    assert!(place.run(&["task", "diff", "a"]).out.starts_with("--- a/x"));
    assert_eq!(place.run(&["task", "stop", "a"]).out, "done\n");
    node.fake.finish("shop/a", 1);
    assert_eq!(place.run(&["task", "retry", "a", "-m", "Try the door."]).out, "done\n");
    assert!(place.run(&["task", "show", "a"]).out.contains("Try the door."));
    assert!(!place.run(&["task", "explain", "a"]).out.is_empty());
    assert_eq!(place.run(&["task", "reject", "a", "-m", "No need."]).out, "done\n");
    assert!(place.run(&["task", "show", "a"]).out.contains("No need."));
    assert_eq!(place.run(&["project", "pause", "shop"]).code, Some(0));
    assert!(place.run(&["project", "list"]).out.contains("paused"));
    assert_eq!(place.run(&["project", "resume", "shop"]).code, Some(0));
    assert!(place.run(&["project", "show", "shop"]).out.contains("running"));
    assert_eq!(place.run(&["plan", "cancel", "shop"]).code, Some(0));
    assert_eq!(place.run(&["plan", "show", "shop"]).json()["task"][0]["prompt"], "Say hello.");
}

#[test]
fn lists_are_tables() {
    let (place, _node) = place("[[task]]\nid = \"a\"\nrole = \"slow\"\ntitle = \"a\"\n");
    place.run(&["plan", "submit", "devstack.toml"]);
    let agents = place.run(&["agent", "list"]).out;
    assert!(agents.lines().any(|line| line.starts_with("slow1") && line.contains("shop/a")), "{agents}");
    let hosts = place.run(&["host", "list"]).out;
    assert!(hosts.lines().any(|line| line.starts_with("one") && line.contains("unsandboxed")), "{hosts}");
    let page = place.run(&["host", "show", "one"]).out;
    for wanted in ["present", "2: 1 used, 1 free", "gpu=a100", "10.9.0.0/24", "shop/a"] {
        assert!(page.contains(wanted), "{wanted} in\n{page}");
    }
    assert_eq!(place.run(&["merge", "list"]).out, "TASK  COMMIT  MERGE  AT\n");
    let status = place.run(&["status"]).out;
    assert!(status.contains("1 of 2 slots used; hosts: 1 present\n"), "{status}");
    assert_eq!(place.run(&["status", "-o", "json"]).json()["running"], 1);
}

#[test]
fn hosts_are_emptied_and_removed_and_what_is_not_known_is_said() {
    let (place, node) = place("[[task]]\nid = \"a\"\nrole = \"slow\"\ntitle = \"a\"\n");
    place.run(&["plan", "submit", "devstack.toml"]);
    assert!(!place.run(&["task", "list"]).out.contains("UNKNOWN"));
    node.fake.tell(Command::SuspectHost(HostName::new("one").unwrap()));
    for command in [&["task", "list"][..], &["task", "show", "a"], &["host", "show", "one"]] {
        let ran = place.run(command);
        assert!(ran.out.contains(" UNKNOWN"), "{command:?} {ran:?}");
    }
    let status = place.run(&["status"]).out;
    assert!(status.contains("1 of 2 slots used, 1 UNKNOWN; hosts: 1 suspect\n"), "{status}");
    let drained = place.run(&["host", "drain", "one", "--deadline", "10m"]);
    assert!(drained.code == Some(0) && drained.out.contains("in 10m are stopped"), "{drained:?}");
    let page = place.run(&["host", "show", "one"]).out;
    assert!(page.contains("drained    since 2026-01-01T") && page.contains("are stopped at 2026-01-01T"), "{page}");
    assert!(place.run(&["host", "list"]).out.contains("suspect drained"));
    assert_eq!(place.run(&["host", "undrain", "one"]).out, "one gets attempts again\n");
    assert_eq!(place.run(&["host", "undrain", "one"]).out, "nothing to change\n");
    assert_eq!(place.run(&["host", "remove", "one", "-o", "json"]).json()["changed"], true);
    assert_eq!(place.run(&["host", "list", "-o", "json"]).json()["hosts"], json!([]));
    assert!(place.run(&["status"]).out.contains("hosts: none\n"));
}

#[test]
fn a_configuration_is_checked_and_shown_with_the_origin_of_each_value() {
    let place = Place::new();
    let path = place.write("node.toml", "[node]\nname = \"one\"\n[limits]\nconnections = 3\n");
    let config = path.to_str().unwrap();
    let checked = place.run(&["config", "check", "--config", config]);
    assert_eq!((checked.code, checked.out), (Some(0), format!("{config} is a valid configuration of one\n")));
    let shown = place.run(&["config", "show", "--config", config]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let origin = |start: &str| {
        let line = shown.out.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("{start} in\n{}", shown.out)).rsplit("  # ").next().unwrap().to_owned()
    };
    assert_eq!((origin("name = \"one\""), origin("connections = 3")), (format!("{config}:2"), format!("{config}:4")));
    assert_eq!((origin("bundle_size = \"1GiB\""), origin("# listen is not set")), ("default".into(), "default".into()));
    // What is printed is a node.toml of the same node.
    let again = place.write("again.toml", &shown.out);
    let values = |config: &str| {
        let json = place.run(&["-o", "json", "config", "show", "--config", config]).json();
        json["values"].as_array().unwrap().iter().map(|entry| entry["value"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(values(config), values(again.to_str().unwrap()));
    let lines = place.run(&["config", "show", "--config", config, "-o", "jsonl"]).out;
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let wanted = json!({"section": "node", "key": "name", "value": "one", "origin": "file", "file": config, "line": 2, "why": null});
    assert_eq!(first, wanted);
    let wrong = place.write("wrong.toml", "[node]\nnmae = 1\n");
    for command in ["check", "show"] {
        let ran = place.run(&["config", command, "--config", wrong.to_str().unwrap()]);
        assert!(ran.code == Some(2) && ran.err.contains("wrong.toml:2: unknown key `nmae`"), "{ran:?}");
        let missing = place.run(&["config", command, "--config", "none.toml", "-o", "json"]);
        assert_eq!((missing.code, &missing.error()["code"]), (Some(2), &json!("DS0111")));
    }
}

#[test]
fn completions_version_and_doctor_need_no_node() {
    let place = Place::new();
    let version = place.run(&["version"]);
    assert_eq!(version.out, format!("devstack {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(place.run(&["version", "-o", "json"]).json()["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.run(&["completions", shell]).out.contains("devstack"), "{shell}");
    }
    let mut doctor = place.command(&["doctor", "-o", "json"]);
    let doctor = crate::node::Ran::from(doctor.env("DOCKER_HOST", "unix:///nonexistent/docker.sock").output().unwrap());
    let names: Vec<Value> =
        doctor.json()["checks"].as_array().unwrap().iter().map(|check| check["name"].clone()).collect();
    assert_eq!(
        names,
        [
            "git",
            "sandbox",
            "kernel",
            "user",
            "cgroup",
            "disk",
            "state",
            "secrets",
            "profiles",
            "clock",
            "boottime",
            "certificates",
            "engine"
        ]
    );
    place.write(".env", "KEY=sk-secret\n");
    let exposed = place.run(&["doctor"]);
    assert_eq!(exposed.code, Some(1), "{exposed:?}");
    assert!(exposed.out.contains("chmod 600") && !exposed.out.contains("sk-secret"), "{}", exposed.out);
}

#[test]
fn a_command_line_that_cannot_be_read_is_said_as_it_was_asked_for() {
    let place = Place::new();
    for args in [
        &["-o", "json", "bogus"][..],
        &["bogus", "--output=jsonl"],
        &["task", "show", "-ojson"],
        &["task", "show", "", "-o", "json"],
        &["project", "show", "a//b", "-o", "json"],
        &["task", "list", "--timeout", "5", "-o", "json"],
    ] {
        let ran = place.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        let error: Value = serde_json::from_str(&ran.err).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert_eq!(error["error"]["code"], "DS0401", "{args:?}");
        let said = error["error"]["message"].as_str().unwrap();
        assert!(!said.is_empty() && !said.contains('\n') && !said.starts_with("error"), "{said}");
    }
    let ran = place.run(&["task", "show", ""]);
    assert!(ran.code == Some(2) && ran.err.contains("a name is missing"), "{ran:?}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let ran = Place::new().run(&["quickstart", "--dir", "/proc/nowhere/x"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("cannot create /proc/nowhere/x: ") && ran.err.contains("hint: "), "{ran:?}");
}

#[test]
fn the_example_of_the_environment_names_what_the_command_reads() {
    let example = include_str!("../../.env.example");
    let place = Place::new();
    let mut read: Vec<String> = Vec::new();
    for command in [&["--help"][..], &["run", "--help"], &["up", "--help"], &["quickstart", "--help"]] {
        let help = place.run(command).out;
        let names = help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next());
        read.extend(names.map(str::to_owned));
    }
    read.push(devstack::telemetry::LOG_VARIABLE.to_owned());
    read.sort();
    read.dedup();
    let mut named: Vec<String> = example
        .lines()
        .filter_map(|line| line.strip_prefix("# DEVSTACK_"))
        .map(|rest| format!("DEVSTACK_{}", rest.split('=').next().unwrap()))
        .collect();
    named.sort();
    assert_eq!(named, read);
    // Uncommented, it is a valid `.env`.
    use std::os::unix::fs::PermissionsExt;
    let text: String = example
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|l| l.contains('=')).unwrap_or(""))
        .fold(String::new(), |text, line| {
            let name_first =
                line.split('=').next().is_some_and(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
            if name_first { text + line + "\n" } else { text }
        });
    let path = place.write("all.env", &text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let secrets = devstack::config::secrets::Secrets::gather(&path, [], None).unwrap();
    assert!(secrets.names().contains(&"ANTHROPIC_API_KEY".to_owned()));
}
