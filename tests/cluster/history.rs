//! What must hold when all tasks are COMPLETED, whatever happened on the way: by the agents' own notes, by the history
//! that the API tells, by the repositories, and by what is left on the machines.
//! Deliberately absent: how many attempts it took; each story knows its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;

use crate::{cluster::Cluster, process};

impl Cluster {
    /// Waits until everything is cleared away, then looks at everything.
    #[track_caller]
    pub(crate) fn check(&mut self) {
        self.nothing_is_left();
        let tasks: BTreeMap<String, Value> = self.pages();
        self.notes_are_right(&tasks);
        self.merged_once(&tasks);
        self.fenced_stay_out(&tasks);
        self.facts_are_right(&tasks);
    }

    fn pages(&self) -> BTreeMap<String, Value> {
        let list = self.ask(&["task", "list"]);
        let ids = list["tasks"].as_array().unwrap().iter().map(|task| word(&task["id"]).to_owned());
        ids.map(|id| (id.clone(), self.ask(&["task", "show", &id])["task"].clone())).collect()
    }

    /// No process of an attempt, no directory of one, no result on its way.
    #[track_caller]
    fn nothing_is_left(&mut self) {
        self.until("no agent runs", |cluster| agents_below(cluster.root()).is_empty());
        for host in self.host_names() {
            let attempts = self.path(&host).join("attempts");
            self.until(&format!("{} is empty", attempts.display()), |_| entries(&attempts).is_empty());
            let bundles = self.path(&host).join("bundles");
            self.until(&format!("{} holds no file", bundles.display()), |_| files(&bundles).is_empty());
        }
        let uploads = self.path("taskmaster/uploads/results");
        self.until("no result waits", |_| files(&uploads).is_empty());
    }

    /// Nothing ran twice, nobody began before what it depends on was done, and what counts came to its end.
    fn notes_are_right(&self, tasks: &BTreeMap<String, Value>) {
        let runs = self.meeting.runs();
        let mut seen = BTreeSet::new();
        for run in &runs {
            assert!(seen.insert((&run.task, run.attempt)), "it ran twice: {run:?}");
            let attempt = attempts(&tasks[&run.task]).find(|attempt| attempt["number"] == run.attempt);
            assert_eq!(attempt.expect("an attempt that was ordered")["host"], *run.host, "{run:?}");
            for dependency in tasks[&run.task]["dependencies"].as_array().unwrap() {
                let number = accepted(&tasks[word(dependency)])["number"].as_u64().unwrap();
                let before = self.meeting.run(word(dependency), number).expect("what is accepted ran");
                assert!(before.end.is_some_and(|end| end < run.begin), "{run:?} began before {before:?} ended");
            }
        }
        for (id, task) in tasks {
            let run = self.meeting.run(id, accepted(task)["number"].as_u64().unwrap());
            assert!(run.is_some_and(|run| run.end.is_some()), "what is accepted of {id} did not end by itself");
        }
    }

    /// Each task is in the source exactly once, with the commit of its accepted attempt.
    fn merged_once(&self, tasks: &BTreeMap<String, Value>) {
        let format = "--format=%H %(trailers:key=Devstack-Task,valueonly,separator=%x20)";
        let log = self.git(&["log", "--first-parent", "--merges", format, "dev"], "shop");
        assert_eq!(log.lines().count(), tasks.len(), "{log}");
        for (id, task) in tasks {
            let of_task = log.lines().filter_map(|line| line.split_once(' '));
            let of_task = of_task.filter(|(_, name)| name.strip_prefix("shop/").unwrap_or(name) == id);
            let hashes: Vec<&str> = of_task.map(|(hash, _)| hash).collect();
            assert_eq!(hashes, [word(&task["merge_commit"])], "{id}\n{log}");
            assert_eq!(task["commit"], accepted(task)["commit"]);
            self.git(&["merge-base", "--is-ancestor", word(&task["commit"]), "dev"], "shop");
            let tree = format!("dev:{id}");
            assert_eq!(self.git(&["show", &tree], "shop"), format!("{id} {}", accepted(task)["number"]));
        }
        assert_eq!(self.ask(&["merge", "list"])["merges"].as_array().unwrap().len(), tasks.len());
        let heads = ["shop", Self::HUB].map(|dir| self.git(&["rev-parse", "refs/heads/dev"], dir));
        assert_eq!(heads[0], heads[1], "source and hub");
        self.git(&["fsck", "--strict"], Self::HUB);
    }

    /// What is kept of attempts that were given up is in no history. One that was stopped and reported in time is no
    /// such: the next may go on from it.
    fn fenced_stay_out(&self, tasks: &BTreeMap<String, Value>) {
        let pinned =
            self.git(&["for-each-ref", "--format=%(refname) %(objectname)", "refs/devstack/attempts"], Self::HUB);
        for line in pinned.lines() {
            let (name, commit) = line.split_once(' ').unwrap();
            let (task, number) = name.strip_prefix("refs/devstack/attempts/").unwrap().split_once('/').unwrap();
            let mut list = attempts(&tasks[task]);
            let attempt = list.find(|attempt| attempt["number"] == number.parse::<u64>().unwrap());
            if attempt.expect("an attempt that was ordered")["outcome"] != "infrastructure" {
                continue;
            }
            let mut ancestor = self.command("git", &["merge-base", "--is-ancestor", commit, "dev"]);
            assert_eq!(ancestor.current_dir(self.path(Self::HUB)).status().unwrap().code(), Some(1), "{line}");
        }
    }

    /// Each attempt started once and ended once, each task completed once.
    fn facts_are_right(&self, tasks: &BTreeMap<String, Value>) {
        let mut tail = self.command(&Cluster::program(), &["event", "tail", "--after", "0", "-o", "jsonl"]);
        let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
        let mut told: BTreeMap<(String, String, u64), u32> = BTreeMap::new();
        for line in BufReader::new(tail.stdout.take().unwrap()).lines() {
            let fact: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let attempt = fact["attempt"].as_u64().unwrap_or_default();
            *told.entry((word(&fact["kind"]).into(), word(&fact["task"]).into(), attempt)).or_default() += 1;
            if told.iter().filter(|((kind, ..), _)| kind == "task-completed").count() == tasks.len() {
                break;
            }
        }
        tail.kill().unwrap();
        tail.wait().unwrap();
        let times = |kind: &str, task: &str, attempt| told.get(&(kind.into(), task.into(), attempt)).copied();
        for (id, task) in tasks {
            assert_eq!(times("task-completed", id, 0), Some(1), "{id}");
            for attempt in attempts(task) {
                let number = attempt["number"].as_u64().unwrap();
                assert_eq!(times("attempt-started", id, number), Some(1), "{id}/{number}");
                assert_eq!(times("attempt-ended", id, number), Some(1), "{id}/{number}");
            }
        }
    }
}

/// Processes of attempts: agents, and what supervises them.
pub(crate) fn agents_below(root: &Path) -> Vec<String> {
    let found = process::below(root).into_iter().map(|(_, line)| line);
    found.filter(|line| !line.contains("devstack-node") && !line.contains("/devstack ")).collect()
}

/// The one attempt that counts.
#[track_caller]
fn accepted(task: &Value) -> &Value {
    let done: Vec<&Value> = attempts(task).filter(|attempt| attempt["outcome"] == "done").collect();
    assert!(done.len() == 1 && task["status"] == "COMPLETED", "{task}");
    done[0]
}

fn attempts(task: &Value) -> impl Iterator<Item = &Value> {
    task["attempt_list"].as_array().unwrap().iter()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Every regular file below a directory.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let (dirs, files_here): (Vec<_>, Vec<_>) = entries(dir).into_iter().partition(|path| path.is_dir());
    dirs.iter().flat_map(|dir| files(dir)).chain(files_here).collect()
}
