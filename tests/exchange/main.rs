//! Task lists of other tools through the real `devstack plan import`: the plan that is written and the report of
//! losses, as golden files beside the lists. `DEVSTACK_BLESS=1` writes them anew: look at the difference.
//! Deliberately absent: single fields and hostile lists (`src/exchange/tests.rs`), and nodes (tests/cli).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn lists() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exchange/lists")
}

/// A directory called `shop` with the lists in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let shop = dir.path().join("shop");
    fs::create_dir(&shop).unwrap();
    for list in fs::read_dir(lists()).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&list, shop.join(list.file_name().unwrap())).unwrap();
    }
    (dir, shop)
}

fn devstack(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devstack"));
    command.args(args).current_dir(dir).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn golden(name: &str, found: &str) {
    let path = lists().with_file_name("golden").join(name);
    if std::env::var_os("DEVSTACK_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(found, wanted, "{name}: DEVSTACK_BLESS=1 writes it anew");
}

#[test]
fn every_list_becomes_the_plan_and_the_report_that_it_should() {
    for list in ["dev_stack.json", "task_master_tagged.json", "task_master_legacy.json", "beads.jsonl"] {
        let (_keep, shop) = place();
        let ran = devstack(&shop, &["plan", "import", list]);
        assert_eq!(ran.status.code(), Some(0), "{list}: {}", text(&ran.stderr));
        golden(&format!("{list}.toml"), &fs::read_to_string(shop.join("devstack.toml")).unwrap());
        golden(&format!("{list}.report"), &format!("{}{}", text(&ran.stderr), text(&ran.stdout)));
        let check = devstack(&shop, &["plan", "check", "devstack.toml"]);
        assert_eq!(check.status.code(), Some(0), "{list}: {}", text(&check.stderr));
    }
}

#[test]
fn the_report_is_data_for_programs() {
    let (_keep, shop) = place();
    let ran = devstack(&shop, &["plan", "import", "beads.jsonl", "--project", "other", "-o", "json"]);
    assert_eq!((ran.status.code(), text(&ran.stderr)), (Some(0), String::new()));
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let is = |key: &str, value: serde_json::Value| assert_eq!(report[key], value, "{report}");
    is("apiVersion", "v1".into());
    is("project", "other".into());
    is("format", "beads".into());
    is("plan", "devstack.toml".into());
    is("tasks", 5.into());
    let losses = report["losses"].as_array().unwrap();
    let has = |line: u64, task: &str, field: &str| {
        losses.iter().any(|loss| loss["line"] == line && loss["task"] == task && loss["field"] == field)
    };
    assert!(
        has(2, "bd-a1.1", "labels") && has(3, "bd-a1.2", "dependencies") && has(6, "bd-c4", "comments"),
        "{report}"
    );
}

#[test]
fn a_plan_that_is_there_is_kept_or_added_to() {
    let (_keep, shop) = place();
    let plan = "# Ours.\n[project]\nname = \"mine\"\n\n[agents.dev]\ncommand = [\"sh\"]\n\n[agents.testing]\ncommand = [\"sh\"]\n\n[defaults]\nrole = \"dev\"\n";
    fs::write(shop.join("devstack.toml"), plan).unwrap();
    let refused = devstack(&shop, &["plan", "import", "dev_stack.json"]);
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("[DS0412]"), "{}", text(&refused.stderr));
    assert_eq!(fs::read_to_string(shop.join("devstack.toml")).unwrap(), plan);
    let added = devstack(&shop, &["plan", "import", "dev_stack.json", "--into", "devstack.toml"]);
    assert_eq!(added.status.code(), Some(0), "{}", text(&added.stderr));
    let now = fs::read_to_string(shop.join("devstack.toml")).unwrap();
    assert!(now.starts_with(plan) && now.contains("role = \"testing\""), "{now}");
    let again = devstack(&shop, &["plan", "import", "dev_stack.json", "--into", "devstack.toml"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(
        text(&again.stderr).contains("dev_stack.json:3: devstack.toml already has a task `T-003`"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(fs::read_to_string(shop.join("devstack.toml")).unwrap(), now);
    let forced = devstack(&shop, &["plan", "import", "dev_stack.json", "--force", "--command", "make \"all\""]);
    assert_eq!(forced.status.code(), Some(0), "{}", text(&forced.stderr));
    let left: Vec<_> = fs::read_dir(&shop).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn what_cannot_be_taken_is_refused_and_nothing_is_written() {
    let (_keep, shop) = place();
    let write = |name: &str, text: &[u8]| fs::write(shop.join(name), text).unwrap();
    write(
        "cycle.json",
        b"{\"tasks\": [\n{\"id\": \"a\", \"dependencies\": [\"b\"]},\n{\"id\": \"b\", \"dependencies\": [\"a\"]}]}",
    );
    write("twice.jsonl", b"{\"id\":\"a\"}\n{\"id\":\"a\"}\n");
    write("bytes.json", b"{\"tasks\": [\n{\"id\": \"\xff\"}]}");
    write("done.json", b"{\"tasks\": [{\"id\": \"a\", \"status\": \"COMPLETED\"}]}");
    write("tags.json", b"{\"a\": {\"tasks\": []}, \"b\": {\"tasks\": []}}");
    let table = [
        ("cycle.json", "cycle.json:2: these tasks wait for each other: a → b → a"),
        ("twice.jsonl", "twice.jsonl:2: duplicate id `a`, first on line 1"),
        ("bytes.json", "bytes.json:2: this is not UTF-8 text"),
        ("done.json", "done.json: the list has no unfinished task"),
        ("tags.json", "tags.json: the list has several tags: a, b"),
        ("none.json", "none.json: cannot read the file"),
    ];
    for (list, wanted) in table {
        let ran = devstack(&shop, &["plan", "import", list]);
        let said = text(&ran.stderr);
        assert_eq!((ran.status.code(), text(&ran.stdout)), (Some(2), String::new()), "{list}: {said}");
        assert!(said.contains(wanted) && said.contains("[DS0113]") && said.contains("hint: "), "{list}: {said}");
        assert!(!shop.join("devstack.toml").exists(), "{list}");
    }
}
