//! `plan watch`: a tasks.json and a project in step, whoever writes the file.
//! Deliberately absent: changes that come from the project alone (tests/story: this node tells no new facts).

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

use crate::node::{Node, Place, plan};

/// Nothing here takes as long, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);
const WRITERS: usize = 20;
const EACH: usize = 5;

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "it never happened: {what}");
        thread::sleep(LOOK);
    }
}

/// A running `plan watch`, ended when dropped.
struct Watch {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    /// Starts one and waits until both are in step.
    fn start(place: &Place) -> Self {
        let mut child = place.command(&["plan", "watch", "tasks.json", "--role", "slow"]).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let pipes: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for pipe in pipes {
            let said = said.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines() {
                    said.lock().unwrap().push(line.unwrap());
                }
            });
        }
        let watch = Self { child, said };
        watch.until_said("are synchronized");
        watch
    }

    #[track_caller]
    fn until_said(&self, text: &str) {
        until(&format!("{text}: {:?}", self.said.lock().unwrap()), || {
            self.said.lock().unwrap().iter().any(|line| line.contains(text))
        });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A project with these tasks, a list that knows nothing of it, and a node.
fn place(tasks: &str, list: &str) -> (Place, Node) {
    let place = Place::new();
    let node = Node::serve(&place.socket(), 2);
    place.write("devstack.toml", &plan("shop", tasks));
    let submitted = place.run(&["plan", "submit", "devstack.toml"]);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    place.write("tasks.json", list);
    (place, node)
}

/// The list, if it can be read.
fn list(dir: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(dir.join("tasks.json")).ok()?).ok()
}

/// A field of a task in the list.
fn field(place: &Place, id: &str, key: &str) -> Value {
    let list = list(place.dir.path()).unwrap_or_default();
    let tasks = list["tasks"].as_array().cloned().unwrap_or_default();
    tasks.into_iter().find(|task| task["id"] == id).map_or(Value::Null, |task| task[key].clone())
}

fn status(place: &Place, id: &str) -> String {
    let shown = place.run(&["task", "show", id, "-o", "json"]);
    if shown.code == Some(0) { shown.json()["task"]["status"].as_str().unwrap().to_owned() } else { String::new() }
}

/// Changes the list as a careful writer does: under the lock, in one step.
fn edit(dir: &Path, lock: &str, change: impl FnOnce(&mut Value)) {
    let file = fs::OpenOptions::new().create(true).append(true).open(dir.join(lock)).unwrap();
    let _lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let mut list = list(dir).unwrap();
    change(&mut list);
    let new = dir.join(format!("new-{}", std::process::id()));
    fs::write(&new, serde_json::to_string_pretty(&list).unwrap()).unwrap();
    fs::rename(&new, dir.join("tasks.json")).unwrap();
}

fn set(place: &Place, id: &str, key: &str, value: &str) {
    edit(place.dir.path(), "tasks.json.lock", |list| {
        let tasks = list["tasks"].as_array_mut().unwrap();
        tasks.iter_mut().find(|task| task["id"] == id).unwrap()[key] = value.into();
    });
}

#[test]
fn tasks_go_in_and_statuses_come_back() {
    let list = r#"{"tasks": [{"id": "N-1", "title": "New", "assigned": "Dev1", "estimate": 3, "dependencies": ["H"]}], "backlog": ["idea"]}"#;
    let (place, node) = place("[[task]]\nid = \"H\"\nrole = \"slow\"\ntitle = \"H\"\n", list);
    let watch = Watch::start(&place);
    assert_eq!(field(&place, "H", "status"), "WIP", "the project's own task is in the file");
    assert_eq!((field(&place, "N-1", "status"), field(&place, "N-1", "estimate")), (json!("TODO"), json!(3)));
    watch.until_said("N-1: added");
    // N-1 is a dev's, and waits for H; a task that names nobody is done by the role of the watch.
    edit(place.dir.path(), "tasks.json.lock", |list| {
        list["tasks"].as_array_mut().unwrap().insert(0, json!({"id": "N-2", "title": "Another"}));
    });
    until("N-2 is there", || field(&place, "N-2", "status") == "TODO");
    assert_eq!(place.run(&["task", "show", "N-2", "-o", "json"]).json()["task"]["role"], "slow");
    node.fake.finish("shop/H", 0);
    edit(place.dir.path(), "tasks.json.lock", |list| list["backlog"] = json!(["idea", "another"]));
    until("H and N-1 are done", || {
        field(&place, "H", "status") == "COMPLETED" && field(&place, "N-1", "status") == "COMPLETED"
    });
    let (agent, attempts) = (field(&place, "N-1", "assigned"), field(&place, "N-1", "attempts"));
    assert_eq!((agent, attempts), (json!("dev1"), json!(1)));
    let left: Vec<_> = fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("devstack-")), "{left:?}");
}

#[test]
fn a_status_is_a_command_where_it_can_only_mean_one() {
    let tasks = "[[task]]\nid = \"B\"\nrole = \"bad\"\ntitle = \"B\"\n[[task]]\nid = \"W\"\nrole = \"slow\"\ntitle = \"W\"\n[[task]]\nid = \"T\"\ndependencies = [\"W\"]\ntitle = \"T\"\n";
    let (place, _node) = place(tasks, "{}");
    let watch = Watch::start(&place);
    assert_eq!((field(&place, "B", "status"), field(&place, "W", "status")), (json!("BLOCKED"), json!("WIP")));
    set(&place, "B", "status", "TODO");
    watch.until_said("B: retry");
    until("it failed again", || field(&place, "B", "status") == "BLOCKED" && field(&place, "B", "attempts") == 2);
    set(&place, "W", "status", "COMPLETED");
    watch.until_said("W: refused: its status is WIP; only work can change it to COMPLETED");
    until("the true status is back", || field(&place, "W", "status") == "WIP");
    set(&place, "W", "description", "Something else");
    watch.until_said("W: refused: it is WIP (attempts: 1), so its texts cannot change");
    until("the true words are back", || field(&place, "W", "description") == "");
    set(&place, "T", "description", "Something else");
    watch.until_said("T: changed");
    set(&place, "W", "status", "REJECTED");
    watch.until_said("W: reject");
    until("it is rejected", || status(&place, "W") == "REJECTED" && field(&place, "T", "status") == "BLOCKED");
}

#[test]
fn a_broken_file_changes_nothing_until_it_is_mended() {
    let (place, _node) = place("[[task]]\nid = \"W\"\nrole = \"slow\"\ntitle = \"W\"\n", "{}");
    let watch = Watch::start(&place);
    let good = fs::read_to_string(place.dir.path().join("tasks.json")).unwrap();
    place.write("tasks.json", &good[..good.len() / 2]);
    watch.until_said("the file cannot be read for now");
    assert_eq!(list(place.dir.path()), None, "it is left alone");
    place.write("tasks.json", &good.replacen("\"tasks\": [", "\"tasks\": [{\"id\": \"M\"},", 1));
    until("it is taken up", || field(&place, "M", "status") == "TODO");
    // What cannot be taken is said by name, and holds nothing else up.
    edit(place.dir.path(), "tasks.json.lock", |list| {
        let tasks = list["tasks"].as_array_mut().unwrap();
        tasks.extend([
            json!({"id": "a b"}),
            json!({"id": "X", "dependencies": ["nothing"]}),
            json!({"id": "G", "dependencies": ["M"]}),
        ]);
    });
    watch.until_said("a b: refused: `a b` is not a valid task id");
    watch.until_said("X: refused: task X depends on `nothing`");
    until("the good one is there", || status(&place, "G") == "TODO");
}

#[test]
fn without_a_node_or_a_project_there_is_nothing_to_watch() {
    let place = Place::new();
    place.write("tasks.json", "{}");
    let alone = place.run(&["plan", "watch", "tasks.json", "-o", "json"]);
    assert_eq!((alone.code, &alone.error()["code"]), (Some(5), &json!("DS0407")), "{alone:?}");
    let place = Place::new();
    place.write("tasks.json", "{}");
    let _node = Node::serve(&place.socket(), 0);
    assert_eq!(place.run(&["plan", "watch", "tasks.json"]).code, Some(3));
    assert_eq!(place.run(&["plan", "watch", "tasks.json", "--project", "x"]).code, Some(3));
}

/// One of the writers, when it is started as a program of its own; else nothing.
#[test]
fn writer() {
    let Ok(number) = std::env::var("DEVSTACK_TEST_WRITER") else { return };
    let (dir, lock) = (std::env::var("DEVSTACK_TEST_DIR").unwrap(), std::env::var("DEVSTACK_TEST_LOCK").unwrap());
    for task in 0..EACH {
        let new =
            json!({"id": format!("W{number}-{task}"), "title": "Written", "status": "TODO", "assigned": "Unassigned"});
        edit(Path::new(&dir), &lock, |list| list["tasks"].as_array_mut().unwrap().insert(0, new));
    }
}

/// All writers at once; every task must be in the project and in the file.
fn nothing_is_lost(lock: &str) {
    let (place, _node) = place("[[task]]\nid = \"W\"\nrole = \"slow\"\ntitle = \"W\"\n", "{\"tasks\": []}");
    let _watch = Watch::start(&place);
    let start = |number: usize| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "watch::writer"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("DEVSTACK_TEST_WRITER", number.to_string()).env("DEVSTACK_TEST_DIR", place.dir.path());
        command.env("DEVSTACK_TEST_LOCK", lock).spawn().unwrap()
    };
    let writers: Vec<Child> = (0..WRITERS).map(start).collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let all = WRITERS * EACH + 1;
    until("all tasks are in the project", || {
        place.run(&["task", "list", "-o", "json"]).json()["tasks"].as_array().unwrap().len() == all
    });
    until("all tasks are in the file with what the project says", || {
        let tasks = list(place.dir.path()).unwrap_or_default()["tasks"].as_array().cloned().unwrap_or_default();
        tasks.len() == all && tasks.iter().all(|task| task["updated"].is_string())
    });
}

#[test]
fn twenty_writers_with_the_lock_lose_nothing() {
    nothing_is_lost("tasks.json.lock");
}

#[test]
fn twenty_writers_that_know_only_each_other_lose_nothing() {
    nothing_is_lost("theirs.lock");
}
