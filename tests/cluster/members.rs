//! A member that was taken over does, one after the other, what its certificate lets it try: it claims more than it
//! has, fills the disk, reaches for what is not its own, rewrites what it said, makes a result up, holds an attempt for
//! ever, asks without end. After each another host's plan gets done.
//! Deliberately absent: speaking for others (`hostile`), and where checks run (dag/tests/rules).

use std::{collections::BTreeMap, fs, path::Path};

use axum::{body::Body, http::Method};
use devstack::wire::ToTaskmaster;
use devstack_dag::{
    attempt::{Outcome, Report},
    command::HostReport,
    ids::{AttemptId, HostName, RoleName},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, NEVER},
    evil::{Evil, attempt, done},
};

/// What it may have waiting, in bytes, and one result of those that it brings.
const QUOTA: u64 = 2 << 20;
const RESULT: usize = 900 << 10;
/// Requests of a host a second; ten times that at once.
const REQUESTS: usize = 8;
/// More than a record holds, so it is a blob.
const SECRET_PLAN: &str = "Nobody else is to know how apples are sold. ";

/// The cluster, and the tasks of its one plan: each is added to those before.
struct Story {
    cluster: Cluster,
    tasks: String,
    honest: u32,
    runtime: tokio::runtime::Runtime,
}

impl Story {
    /// Tasks of the role `dev` are for `h1`, those of `trap` for the member that turns.
    fn add(&mut self, task: &str) {
        let script = self.cluster.path("meet/agent.sh");
        self.tasks += task;
        let plan = format!(
            "[project]\nname = \"shop\"\nrepo = \".\"\n[agents.dev]\ncount = 9\ncommand = [\"sh\", \"{0}\"]\n\
             [agents.trap]\ncount = 9\ncommand = [\"sh\", \"{0}\"]\n{1}",
            script.display(),
            self.tasks
        );
        self.cluster.submit_text(&plan);
    }

    fn add_task(&mut self, id: &str, role: &str, more: &str) {
        self.add(&format!("[[task]]\nid = \"{id}\"\ntitle = \"{id}\"\nprompt = \"x\"\nrole = \"{role}\"\n{more}"));
    }

    fn task(&self, id: &str) -> Value {
        self.cluster.ask(&["task", "show", id])["task"].clone()
    }

    /// What the Taskmaster holds of a host.
    fn host(&self, name: &str) -> Value {
        self.cluster.ask(&["host", "show", name])["host"].clone()
    }

    #[track_caller]
    fn until_status(&mut self, id: &str, status: &str) {
        let id = id.to_owned();
        self.cluster.until(&format!("{id} is {status}"), |cluster| {
            cluster.ask(&["task", "show", &id])["task"]["status"] == status
        });
    }

    /// Another host's plan gets done, by that host.
    #[track_caller]
    fn others_work(&mut self, after: &str) {
        self.honest += 1;
        let id = format!("honest-{}", self.honest);
        self.add_task(&id, "dev", "");
        self.until_status(&id, "COMPLETED");
        let attempts = self.task(&id)["attempt_list"].as_array().unwrap().clone();
        assert!(attempts.iter().all(|attempt| attempt["host"] == "h1"), "after {after}: {attempts:?}");
    }
}

fn claim(slots: u32, attempts: Vec<AttemptId>) -> HostReport {
    let labels: BTreeMap<_, _> = [("trap".to_owned(), "yes".to_owned())].into();
    let roles = vec![RoleName::new("trap").unwrap()];
    HostReport { attempts, labels, roles, ..HostReport::new(HostName::new("evil").unwrap(), slots) }
}

/// Bytes below a directory.
fn size(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size(&entry.path()),
        found => found.map_or(0, |found| found.len()),
    };
    entries.map(|entry| entry.map_or(0, of)).sum()
}

#[test]
fn a_member_gets_what_it_is_held_to_whatever_it_claims_brings_and_holds() {
    if std::env::var_os(Cluster::IS_SKEWED[0]).is_some() {
        return eprintln!("SKIPPED: a member that takes more than it may: a Taskmaster of the version before lets it");
    }
    let limits = format!(
        "attempt_slack = \"1s\"\nbundle_size = \"1MiB\"\nresults_size = \"2MiB\"\nmember_requests = {REQUESTS}\n"
    );
    let mut cluster = Cluster::found_with(NEVER, &limits);
    cluster.add_host("h1", "slots = 2\nroles = [\"dev\"]\n");
    cluster.until_up("h1", true);
    cluster.prepare_host("evil", "slots = 1\n");
    cluster.meeting.open_all();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut evil = runtime.block_on(Evil::connect(&cluster));
    let _alive = {
        let _within = runtime.enter();
        evil.say(&ToTaskmaster::Report(claim(1, vec![])));
        evil.lives()
    };
    cluster.until_up("evil", true);
    let mut story = Story { cluster, tasks: String::new(), honest: 0, runtime };
    story.others_work("nothing");

    claims(&mut story, &mut evil);
    story.others_work("its claims");
    fills(&mut story, &mut evil);
    story.others_work("its results");
    reaches(&mut story, &mut evil);
    story.others_work("what it asked for");
    rewrites(&mut story, &mut evil);
    story.others_work("its log");
    invents(&mut story, &mut evil);
    story.others_work("a commit that nobody has");
    holds(&mut story, &mut evil);
    story.others_work("holding on");
    floods(&mut story, &mut evil);
    story.others_work("asking without end");
}

/// Slots that would draw everything, or bring the sum of free ones to zero; every role; labels and secrets.
fn claims(story: &mut Story, evil: &mut Evil) {
    for slots in [u32::MAX, u32::MAX - 1] {
        let secrets = vec!["DEPLOY_KEY".to_owned()];
        let labels = [("trap", "yes"), ("gpu", "a100")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let more = HostReport { slots, roles: vec![], labels, secrets, ..claim(1, vec![]) };
        evil.say(&ToTaskmaster::Report(more));
        story
            .cluster
            .until("it claims more", |cluster| cluster.ask(&["host", "show", "evil"])["host"]["claimed"] == slots);
        let host = story.host("evil");
        assert_eq!((&host["slots"], &host["free"]), (&json!(1), &json!(1)), "{host}");
        assert_eq!(host["pins"]["roles"], json!(["trap"]));
        let cut: Vec<&str> = host["cut"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(cut[1..], ["label gpu = \"a100\"", "secret DEPLOY_KEY"], "{cut:?}");
        story.others_work("claiming slots");
    }
    // A person lets it have more, twice the same way.
    let said = |story: &Story| story.cluster.says(&["host", "set", "evil", "--max-slots", "20"]);
    assert!(said(story).contains("limits of evil set") && !said(story).contains("limits of"));
    evil.say(&ToTaskmaster::Report(claim(20, vec![])));
    story.cluster.until("it gets them", |cluster| cluster.ask(&["host", "show", "evil"])["host"]["free"] == 20);
    assert_eq!(story.host("evil")["cut"], json!([]));
}

/// Result after result of one attempt, and of several.
fn fills(story: &mut Story, evil: &mut Evil) {
    for id in ["t1", "t2", "t3", "t4"] {
        story.add_task(id, "trap", "attempts = 1\n");
        story.runtime.block_on(evil.is_ordered(id));
    }
    let dir = story.cluster.path("taskmaster/uploads/results");
    let brings =
        |evil: &Evil, id: &str, byte: u8, size: usize| story.runtime.block_on(evil.brings(id, vec![byte; size]));
    for byte in 0..6 {
        assert_eq!(brings(evil, "t1", byte, RESULT).0, 200);
        assert!(size(&dir) <= RESULT as u64, "one result of an attempt");
    }
    let (status, result) = brings(evil, "t2", 0, RESULT);
    assert_eq!((status, brings(evil, "t3", 0, RESULT).0), (200, 503), "more than it may have waiting");
    assert_eq!(brings(evil, "t3", 0, 2 << 20).0, 413);
    assert!(size(&dir) <= QUOTA);
    // It is no bundle: what is taken in, or refused, makes room.
    let report = Report::new(attempt("t2"), Outcome::Exited(0));
    evil.say(&ToTaskmaster::Exited { report, result: Some(result) });
    story.cluster.until("it is removed", |cluster| !cluster.path("taskmaster/uploads/results/shop/t2").exists());
    assert_eq!(story.runtime.block_on(evil.brings("t3", vec![0; RESULT])).0, 200);
}

/// Another task's prompt and commit.
fn reaches(story: &mut Story, evil: &mut Evil) {
    let prompt = SECRET_PLAN.repeat(1000);
    story.cluster.meeting.script("other", "exit 1");
    story.add(&format!(
        "[[task]]\nid = \"other\"\ntitle = \"other\"\nprompt = \"{prompt}\"\nrole = \"dev\"\nattempts = 1\n"
    ));
    story.until_status("other", "BLOCKED");
    let commit = story.cluster.git(&["rev-parse", "refs/devstack/attempts/other/1"], Cluster::HUB);
    let head = story.cluster.git(&["rev-parse", "dev"], Cluster::HUB);
    let text = blake3::hash(prompt.as_bytes()).to_hex();
    let kept =
        story.cluster.says_shell(&format!("find taskmaster -name {text} -o -path '*{}*' | head -n 1", text.as_str()));
    assert!(!kept.is_empty(), "the prompt is kept as a blob of this name");
    for (path, expected) in [
        (format!("/v1/nodes/blobs/{text}"), 403),
        (format!("/v1/nodes/repos/shop/bundle?want={commit}"), 403),
        (format!("/v1/nodes/repos/shop/bundle?tip={commit}&have={head}"), 403),
        (format!("/v1/nodes/repos/shop/bundle?want={head}"), 200),
    ] {
        assert_eq!(story.runtime.block_on(evil.ask(Method::GET, &path, Body::empty())), expected, "{path}");
    }
}

/// The log of an attempt, before it is over and after it was kept.
fn rewrites(story: &mut Story, evil: &mut Evil) {
    let ships = |story: &Story, log: &'static str| {
        story.runtime.block_on(evil.ask(Method::POST, "/v1/nodes/attempts/shop/t1/1/log", Body::from(log)))
    };
    assert_eq!(ships(story, "early"), 403);
    let report = Report::new(attempt("t1"), Outcome::Exited(1));
    evil.say(&ToTaskmaster::Exited { report, result: None });
    story.until_status("t1", "BLOCKED");
    assert_eq!((ships(story, "the truth"), ships(story, "a lie")), (200, 409));
    assert_eq!(story.cluster.says(&["task", "logs", "t1"]).trim(), "the truth");
}

/// A commit without a result. The attempt counts as one that changed nothing, and nothing waits for the commit.
fn invents(story: &mut Story, evil: &mut Evil) {
    evil.say(&ToTaskmaster::Exited { report: done("t4"), result: None });
    story.until_status("t4", "BLOCKED");
    let task = story.task("t4");
    assert_eq!(task["blocked_reason"], "attempts-exhausted", "{task}");
    assert_eq!(task["attempt_list"][0]["commit"], Value::Null, "{task}");
}

/// It says that it lives, and never how an attempt ended.
fn holds(story: &mut Story, evil: &mut Evil) {
    story.add_task("stuck", "trap", "attempts = 1\ntimeout = \"1s\"\ngrace = \"1s\"\n");
    story.runtime.block_on(evil.is_ordered("stuck"));
    story.cluster.until("it is lost", |cluster| {
        cluster.ask(&["task", "show", "stuck"])["task"]["attempt_list"][0]["outcome"].is_string()
    });
    let (task, host) = (story.task("stuck"), story.host("evil"));
    assert_eq!((&task["status"], &task["attempt_list"][0]["charged"]), (&json!("TODO"), &json!(false)), "{task}");
    assert_eq!((&host["owes"], &host["free"], &host["up"]), (&json!(["shop/stuck/1"]), &json!(0), &json!(true)));
    let why = story.cluster.says(&["task", "explain", "stuck"]);
    assert!(why.contains("evil gets no attempts until it reports how shop/stuck/1 ended"), "{why}");
    story.others_work("an attempt that never ends");
    story.cluster.says(&["host", "undrain", "evil"]);
    story
        .cluster
        .until("a person forgives it", |cluster| cluster.ask(&["host", "show", "evil"])["host"]["owes"] == json!([]));
}

fn floods(story: &mut Story, evil: &mut Evil) {
    let asks = || story.runtime.block_on(evil.ask(Method::GET, "/v1/nodes/repos/shop", Body::empty()));
    let refused = (0..100 * REQUESTS).map(|_| asks()).find(|status| *status != 200);
    assert_eq!(refused, Some(503));
    story.cluster.says(&["status"]);
}
