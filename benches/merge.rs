//! 200 branches merged into a 3,000-file repository: `prepare` and `publish` with full durability beside plain
//! `git merge --no-ff` in a worktree, in one run, on the same branches in the same order. Prints rates and the ratio.
//! Run with `cargo bench --bench merge`.

use std::{
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use devstack::repository::{Hub, HubOptions, Prepared, git::Git, source::Source};
use devstack_dag::{
    effect::MergeRequest,
    ids::{AttemptId, CommitId, ProjectName, TaskId, TaskRef, Timestamp},
};

#[path = "../tests/harness/repo_generator.rs"]
mod repo_generator;

/// What the issue asks for.
const WANTED: f64 = 2.5;
const SIZE: repo_generator::Size = repo_generator::Size { files: 3_000, branches: 200 };

fn git(dir: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("git");
    command.current_dir(dir).args(arguments).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Bench").env(format!("GIT_{who}_EMAIL"), "bench@example.invalid");
    }
    let output = command.output().expect("git starts");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn plain(repo: &Path, root: &Path, branches: &[String]) -> (Duration, usize, String) {
    assert!(git(root, &["clone", "-q", repo.to_str().expect("utf-8"), "plain"]).0);
    let work = root.join("plain");
    let start = Instant::now();
    let mut merged = 0;
    for branch in branches {
        if git(&work, &["merge", "-q", "--no-ff", "-m", branch, &format!("origin/{branch}")]).0 {
            merged += 1;
        } else {
            assert!(git(&work, &["merge", "--abort"]).0);
        }
    }
    (start.elapsed(), merged, git(&work, &["rev-parse", "HEAD^{tree}"]).1)
}

fn ours(repo: &Path, root: &Path, branches: &[String]) -> (Duration, Duration, usize, String) {
    let options = HubOptions::new("dev").expect("valid");
    let hub = Hub::create(&root.join("hub.git"), Git::probe().expect("git"), options).expect("made");
    hub.mirror_source(&Source::locate(repo.to_str().expect("utf-8")).expect("usable"), Some("main")).expect("mirrored");
    assert!(git(hub.dir(), &["fetch", "-q", repo.to_str().expect("utf-8"), "refs/heads/b*:refs/all/b*"]).0);
    let requests: Vec<MergeRequest> = branches.iter().map(|branch| pinned(&hub, branch)).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let now = Timestamp(now.as_millis() as u64);
    let start = Instant::now();
    let (mut merged, mut publishing) = (0, Duration::ZERO);
    for request in &requests {
        if let Prepared::Candidate { onto, commit } = hub.prepare(request, now).expect("works") {
            let swap = Instant::now();
            let lock = hub.lock().expect("lock");
            hub.publish(&lock, onto, commit).expect("works");
            publishing += swap.elapsed();
            merged += 1;
        }
    }
    (start.elapsed(), publishing, merged, git(hub.dir(), &["rev-parse", "dev^{tree}"]).1)
}

fn pinned(hub: &Hub, branch: &str) -> MergeRequest {
    let commit: CommitId = git(hub.dir(), &["rev-parse", &format!("refs/all/{branch}")]).1.parse().expect("an id");
    let task = TaskRef { project: ProjectName::new("bench").expect("name"), id: TaskId::new(branch).expect("id") };
    let attempt = AttemptId { task, number: 1 };
    hub.pin(&attempt, commit).expect("pinned");
    MergeRequest { attempt, commit, branch: format!("feat/{branch}"), title: branch.into(), must_contain: vec![] }
}

fn main() -> ExitCode {
    let root =
        tempfile::tempdir_in(std::env::var_os("CARGO_TARGET_TMPDIR").unwrap_or_else(|| ".".into())).expect("scratch");
    let repo = root.path().join("repo.git");
    let branches = repo_generator::generate(&repo, 11, SIZE);
    let (git_time, git_merged, git_tree) = plain(&repo, root.path(), &branches);
    let (our_time, publishing, our_merged, our_tree) = ours(&repo, root.path(), &branches);
    assert_eq!((git_merged, git_tree), (our_merged, our_tree), "both merge the same");
    let each = |time: Duration| time.as_secs_f64() * 1000.0 / branches.len() as f64;
    let ratio = git_time.as_secs_f64() / our_time.as_secs_f64();
    println!("{} branches, {our_merged} merged, {} files", branches.len(), SIZE.files);
    println!("git merge --no-ff   {:7.2} ms a branch", each(git_time));
    println!("prepare + publish   {:7.2} ms a branch, of which publish {:.2}", each(our_time), each(publishing));
    println!("ratio               {ratio:7.2} (wanted: {WANTED})");
    if ratio >= WANTED { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
