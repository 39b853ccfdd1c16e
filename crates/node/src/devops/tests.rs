//! Tests that a job of an earlier incarnation has no externally visible effect.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, process::Command, sync::Arc};

use devstack_dag::{
    ids::{CommitId, MergeId, Timestamp},
    plan::{ProjectSpec, Review, VerifyOn},
};

use super::jobs::{self, Done, Job, Project};
use crate::actor::{Fence, Generations};
use devstack_repository::{Hub, Hubs, git::Git, policy, reach::Rules, starter};
use devstack_store::Blobs;

struct Fixture {
    dir: tempfile::TempDir,
    hubs: Arc<Hubs>,
    spec: ProjectSpec,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        starter::create(&source, &[], "First").unwrap();
        let spec = ProjectSpec {
            name: "shop".parse().unwrap(),
            source: Some(source.to_str().unwrap().to_owned()),
            base: None,
            integration: "dev".into(),
            checks: Vec::new(),
            review: Review::None,
            resolver: None,
            profiles: Vec::new(),
            budget_micros: None,
            roles: Vec::new(),
            protected: Vec::new(),
            verify_on: VerifyOn::default(),
            prompt_template: None,
        };
        let hubs = Arc::new(Hubs::new(dir.path().join("projects"), Git::probe().unwrap()));
        Self { dir, hubs, spec }
    }

    fn project(&self, fence: Fence) -> Project {
        Project {
            spec: self.spec.clone().into(),
            hubs: Some(self.hubs.clone()),
            blobs: Arc::new(Blobs::open(&self.dir.path().join("blobs")).unwrap()),
            rules: Arc::new(Rules::person()),
            limits: policy::Limits::default(),
            clock: || Timestamp(1_700_000_000_000),
            fatal: tokio::sync::mpsc::unbounded_channel().0,
            fence,
        }
    }

    fn hub(&self) -> Arc<Hub> {
        self.hubs.get(&self.spec.name).unwrap()
    }
}

/// A commit on top of another, on no branch.
fn child_of(hub: &Hub, parent: CommitId) -> CommitId {
    let (tree, parent) = (format!("{parent}^{{tree}}"), parent.to_string());
    let child = git(hub.dir(), &["commit-tree", &tree, "-p", &parent, "-m", "Next"]);
    child.unwrap().parse().unwrap()
}

/// `git ARGS`; `None` if it failed.
fn git(dir: &Path, args: &[&str]) -> Option<String> {
    let person = ["-c", "user.name=A Person", "-c", "user.email=person@example.org"];
    let output = Command::new("git").current_dir(dir).args(person).args(args).output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn an_overtaken_job_neither_publishes_nor_delivers() {
    let (fixture, generations) = (Fixture::new(), Generations::default());
    let old = fixture.project(generations.next());
    let ready = Job::MakeHubReady { submission: 1, fresh: true, spec: Box::new(fixture.spec.clone()) };
    assert!(matches!(jobs::run(&old, ready), Done::HubReady(ready) if ready.hub.is_ok()));
    let new = fixture.project(generations.next());
    let hub = fixture.hub();
    let head = hub.head().unwrap().unwrap();
    let publish = || Job::Publish { merge: MergeId(1), onto: head, candidate: child_of(&hub, head) };

    assert!(matches!(jobs::run(&old, publish()), Done::Fenced));
    assert_eq!(hub.head().unwrap(), Some(head));
    assert!(matches!(jobs::run(&new, publish()), Done::Tell(_)));
    let landed = hub.head().unwrap();
    assert_ne!(landed, Some(head));

    let source = fixture.dir.path().join("source");
    let in_source = || git(&source, &["rev-parse", "--verify", "refs/heads/dev"]);
    let before = in_source();
    assert!(matches!(jobs::run(&old, Job::Deliver), Done::Fenced));
    assert_eq!(in_source(), before);
    assert!(matches!(jobs::run(&new, Job::Deliver), Done::Tell(_)));
    assert_eq!(in_source(), landed.map(|head| head.to_string()));
}
