//! Plans with mistakes: exit 2, the line, the mend, and nothing is made. Guarantee 10.

use crate::bench::World;

/// A plan that is fine but for what is added.
const GOOD: &str = "[project]\nname = \"shop\"\n[agents.dev]\ncommand = [\"true\"]\n[defaults]\nrole = \"dev\"\n";

#[track_caller]
fn refused(plan: &str, line: u64, says: &[&str]) {
    let world = World::bare();
    world.write("devstack.toml", plan);
    for command in [&["plan", "check", "devstack.toml"][..], &["run", "devstack.toml", "--runtime", "process"]] {
        let ended = world.devstack(command).expect(2);
        assert!(ended.stdout.is_empty(), "{ended:?}");
        assert!(ended.stderr.contains(&format!("devstack.toml:{line}")), "line {line}: {}", ended.stderr);
        for words in says {
            assert!(ended.stderr.contains(words), "`{words}` is not in: {}", ended.stderr);
        }
        let json = world.devstack(&[command, &["-o", "json"]].concat()).expect(2);
        let object: serde_json::Value = serde_json::from_str(&json.stderr).expect("one object on stderr");
        let error = &object["error"];
        assert_eq!(object["apiVersion"], "v1");
        assert_eq!(error["line"], line, "{error}");
        assert!(error["file"].as_str().unwrap().ends_with("devstack.toml"), "{error}");
        for field in ["code", "message", "hint"] {
            assert!(error.get(field).is_some(), "{error}");
        }
    }
    assert!(!world.path(".devstack").exists(), "nothing is made");
}

fn with(lines: &str) -> String {
    format!("{GOOD}{lines}")
}

#[test]
fn unknown_keys_are_named_with_the_nearest() {
    refused(&with("[[task]]\nid = \"A\"\ntimout = \"1m\"\ntitle = \"A\"\n"), 9, &["`timout`", "timeout"]);
    refused(&GOOD.replace("[defaults]", "[default]"), 5, &["default"]);
}

#[test]
fn cycles_name_their_members() {
    let task = |id: &str, on: &str| format!("[[task]]\nid = \"{id}\"\ndependencies = [\"{on}\"]\ntitle = \"{id}\"\n");
    let plan = with(&[task("A", "C"), task("B", "A"), task("C", "B"), task("D", "A")].concat());
    let world = World::bare();
    world.write("devstack.toml", &plan);
    let ended = world.devstack(&["plan", "check", "devstack.toml"]).expect(2);
    let line = ended.stderr.lines().find(|line| line.contains("wait for each other")).expect("a line about it");
    for member in ["A", "B", "C"] {
        assert!(line.contains(member), "{line}");
    }
    refused(&plan, 9, &["wait for each other"]);
}

#[test]
fn duplicate_ids_and_missing_dependencies() {
    refused(
        &with("[[task]]\nid = \"A\"\ntitle = \"A\"\n[[task]]\nid = \"A\"\ntitle = \"A\"\n"),
        11,
        &["`A`", "two tasks have"],
    );
    refused(&with("[[task]]\nid = \"A\"\ndependencies = [\"NOPE\"]\ntitle = \"A\"\n"), 9, &["task A", "`NOPE`"]);
    refused(&with("[[task]]\nid = \"A\"\ndependencies = [\"A\"]\ntitle = \"A\"\n"), 9, &["A"]);
    refused(&with("[[task]]\nid = \"../../etc\"\ntitle = \"t\"\n"), 8, &["../../etc"]);
}

#[test]
fn wrong_durations_and_roles() {
    for wrong in ["\"10\"", "\"-5m\"", "\"1 fortnight\"", "30", "\"\"", "\"99999999999999999999h\""] {
        refused(&with(&format!("[[task]]\nid = \"A\"\ntimeout = {wrong}\ntitle = \"A\"\n")), 9, &["timeout"]);
    }
    refused(&with("[[task]]\nid = \"A\"\nrole = \"dve\"\ntitle = \"A\"\n"), 9, &["`dve`", "dev"]);
}

#[test]
fn what_is_not_built_is_refused_never_ignored() {
    let egress = "[agents.dev]\nnetwork = \"none\"\negress = [\"example.org\"]\n";
    refused(&GOOD.replace("[agents.dev]\n", egress), 5, &["egress", "not built"]);
    refused(
        &GOOD.replace("name = \"shop\"\n", "name = \"shop\"\nrepo = \".\"\nreview = \"agent\"\n"),
        4,
        &["not built"],
    );
}

#[test]
fn broken_toml_and_all_mistakes_at_once() {
    refused("[project\n", 1, &[]);
    let plan = with("[[task]]\nid = \"A\"\ntimeout = \"x\"\nrole = \"nobody\"\ntitle = \"A\"\n");
    refused(&plan, 9, &["devstack.toml:10", "nobody"]);
}
