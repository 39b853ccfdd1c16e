//! A scratch directory with a person's repository, a hub of it, and helpers to make work as an agent would.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use devstack::repository::{
    Hub, HubOptions, Prepared, Published,
    bundle::RESULT_REF,
    git::Git,
    held::Guard,
    policy::Limits,
    quarantine::{Expectation, Imported},
    source::Source,
};
use devstack_dag::{
    effect::MergeRequest,
    ids::{AttemptId, CommitId, ProjectName, TaskId, TaskRef, Timestamp},
};
use tempfile::TempDir;

/// The present of all tests, milliseconds: later than every commit that they make.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(since.as_millis() as u64)
}

/// Run git as a person would, without their configuration; returns what it said.
pub(crate) fn git(dir: &Path, arguments: &[&str]) -> String {
    let (code, said) = try_git(dir, arguments);
    assert_eq!(code, 0, "git {arguments:?} in {}: {said}", dir.display());
    said
}

/// As [`git`], any exit code.
pub(crate) fn try_git(dir: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new("git");
    command.current_dir(dir).args(arguments).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Dev One").env(format!("GIT_{who}_EMAIL"), "dev1@example.invalid");
    }
    let output = command.output().expect("git starts");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), if output.status.success() { said } else { format!("{said}{errors}") })
}

/// The commit that a revision names.
pub(crate) fn commit_of(dir: &Path, revision: &str) -> CommitId {
    git(dir, &["rev-parse", &format!("{revision}^{{commit}}")]).parse().expect("a commit id")
}

/// Write a file and its directories.
pub(crate) fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("has a parent")).expect("directory");
    std::fs::write(path, content).expect("file");
}

/// `shop/<task>/<number>`.
pub(crate) fn attempt(task: &str, number: u32) -> AttemptId {
    let task = TaskRef { project: ProjectName::new("shop").expect("name"), id: TaskId::new(task).expect("id") };
    AttemptId { task, number }
}

/// What merging this attempt asks.
pub(crate) fn request(attempt: &AttemptId, commit: CommitId) -> MergeRequest {
    let (branch, title) = ("feat/dev1".into(), "Login API".into());
    MergeRequest { attempt: attempt.clone(), commit, branch, title, must_contain: vec![] }
}

/// A project on disk.
pub(crate) struct Project {
    pub(crate) root: TempDir,
    pub(crate) hub: Hub,
}

impl Project {
    /// A source with `a.txt` and `d/b.txt` on `main`, and its hub with the integration branch `dev`.
    pub(crate) fn new() -> Self {
        let root = TempDir::new().expect("scratch");
        let source = root.path().join("source");
        std::fs::create_dir(&source).expect("directory");
        git(&source, &["init", "-q", "-b", "main"]);
        write(&source, "a.txt", (0..30).map(|n| format!("line {n}\n")).collect::<String>());
        write(&source, "d/b.txt", "b\n");
        git(&source, &["add", "."]);
        git(&source, &["commit", "-qm", "first"]);
        let hub = hub_of(&root.path().join("hub.git"), &source);
        Self { root, hub }
    }

    /// The person's repository.
    pub(crate) fn source_dir(&self) -> PathBuf {
        self.root.path().join("source")
    }

    /// The person's repository, located.
    pub(crate) fn source(&self) -> Source {
        Source::locate(self.source_dir().to_str().expect("utf-8")).expect("usable")
    }

    /// The integration head.
    pub(crate) fn head(&self) -> CommitId {
        self.hub.head().expect("readable").expect("mirrored")
    }

    /// A new workspace at the integration head.
    pub(crate) fn workspace(&self, name: &str) -> PathBuf {
        let dir = self.root.path().join(name);
        let hub = self.hub.dir().to_str().expect("utf-8");
        git(self.root.path(), &["clone", "-q", "-b", "dev", hub, dir.to_str().expect("utf-8")]);
        git(&dir, &["checkout", "-q", "-b", "feat/dev1"]);
        dir
    }

    /// Commit everything in a workspace.
    pub(crate) fn commit(&self, workspace: &Path, message: &str) -> CommitId {
        git(workspace, &["add", "-A"]);
        git(workspace, &["commit", "-qm", message]);
        commit_of(workspace, "HEAD")
    }

    /// The bundle of a workspace's work since `base`, as the shim writes it.
    pub(crate) fn bundle(&self, workspace: &Path, base: CommitId) -> PathBuf {
        let path = self.root.path().join("result.bundle");
        let not = format!("^{base}");
        git(workspace, &["update-ref", RESULT_REF, "HEAD"]);
        git(workspace, &["bundle", "create", "-q", path.to_str().expect("utf-8"), RESULT_REF, &not]);
        path
    }

    /// What is expected of an attempt on `base`.
    pub(crate) fn import(&self, bundle: &Path, attempt: &AttemptId, base: CommitId) -> Imported {
        self.hub.import_result(bundle, &expectation(attempt, base)).expect("import works")
    }

    /// Import a workspace's work as an attempt's result.
    pub(crate) fn harvest(&self, workspace: &Path, attempt: &AttemptId, base: CommitId) -> CommitId {
        let bundle = self.bundle(workspace, base);
        match self.import(&bundle, attempt, base) {
            Imported::Accepted(accepted) => accepted.tip,
            Imported::Refused(why) => panic!("refused: {why:?}"),
        }
    }

    /// A task's work: a workspace at the head, one file written, harvested.
    pub(crate) fn work(&self, task: &str, file: &str, content: &str) -> (AttemptId, CommitId) {
        let (base, attempt) = (self.head(), attempt(task, 1));
        let workspace = self.workspace(&format!("ws-{task}"));
        write(&workspace, file, content);
        self.commit(&workspace, task);
        let commit = self.harvest(&workspace, &attempt, base);
        (attempt, commit)
    }

    /// Prepare; a candidate is expected.
    pub(crate) fn candidate(&self, attempt: &AttemptId, commit: CommitId) -> (CommitId, CommitId) {
        match self.hub.prepare(&request(attempt, commit), now()).expect("prepare works") {
            Prepared::Candidate { onto, commit } => (onto, commit),
            other => panic!("no candidate: {other:?}"),
        }
    }

    /// Prepare and publish; the new head.
    pub(crate) fn merge(&self, attempt: &AttemptId, commit: CommitId) -> CommitId {
        let (onto, candidate) = self.candidate(attempt, commit);
        let lock = self.hub.lock().expect("lock");
        match self.hub.publish(&lock, onto, candidate).expect("publish works") {
            Published::Landed { head } => head,
            other => panic!("not landed: {other:?}"),
        }
    }
}

/// A result is taken, whatever it changes.
static NOTHING_HELD: Guard = Guard::NONE;

/// An expectation with default limits.
pub(crate) fn expectation(attempt: &AttemptId, base: CommitId) -> Expectation<'_> {
    Expectation {
        attempt,
        base,
        must_contain: &[],
        secrets: &[],
        guard: &NOTHING_HELD,
        limits: Limits::default(),
        now: now(),
    }
}

/// A hub at `dir` with the integration branch `dev` of a source.
pub(crate) fn hub_of(dir: &Path, source: &Path) -> Hub {
    let options = HubOptions::new("dev").expect("valid");
    let hub = Hub::create(dir, Git::probe().expect("git"), options).expect("hub");
    let source = Source::locate(source.to_str().expect("utf-8")).expect("usable");
    hub.mirror_source(&source, Some("main")).expect("mirrored");
    hub
}
