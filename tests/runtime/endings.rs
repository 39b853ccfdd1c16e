//! Whatever an agent leaves, in whatever order: its commits are in the bundle, its files are in the result or named,
//! and nothing that it did not delete is gone.
//! Deliberately absent: failures of the machine (`faults`).

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use devstack::runtime::Ended;
use devstack_dag::attempt::Outcome;
use devstack_shim::layout::{BRANCH_REFS, BUNDLE_REF};
use proptest::{collection::vec, prelude::*, test_runner::FileFailurePersistence};

use crate::{
    git::{Hub, Place, git},
    harness::*,
};

/// Names that an agent uses; `file` and `dir/run.sh` are the project's.
const PATHS: [&str; 9] = ["file", "dir/run.sh", "dir/new", "a", "b/c", "b/d/e", "dep/x", "sp ace", "link"];
const BRANCHES: [&str; 5] = ["feat/dev1", "fix/x", "fix/y", "wip", "other"];

/// One thing that an agent does, as shell text. What cannot be done is not done.
fn step() -> impl Strategy<Value = String> {
    let path = || proptest::sample::select(&PATHS[..]);
    let branch = || proptest::sample::select(&BRANCHES[..]);
    let fixed = proptest::sample::select(
        &[
            "git add -A",
            "git checkout -q --detach",
            "git checkout -q --detach HEAD~1",
            "git checkout -q --orphan alone",
            "git stash -q",
            "git reset -q",
            "git reset -q --hard HEAD~1",
            "git gc -q",
            "git pack-refs --all",
            "git config core.bare true",
            "git update-index --assume-unchanged file",
            "touch .git/index.lock .git/HEAD.lock .git/refs/heads/feat/dev1.lock",
            "rm -f .git/index",
            "head -c 500 /dev/urandom > .git/index",
            "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'",
            "chmod -R a-w .git",
            "chmod -R u+w .git",
            "rm -rf dir",
            "rm -rf .git",
            "ln -sfn .git b",
        ][..],
    );
    prop_oneof![
        6 => (path(), any::<u8>()).prop_map(|(path, text)| write(path, &format!("echo {text} >"))),
        6 => any::<u16>().prop_map(|text| format!("git add -A; git commit -qm c{text}")),
        1 => path().prop_map(|path| format!("git add '{path}'")),
        2 => path().prop_map(|path| format!("rm -rf '{path}'")),
        2 => (path(), path()).prop_map(|(from, to)| format!("mkdir -p $(dirname '{to}'); mv '{from}' '{to}'")),
        1 => path().prop_map(|path| format!("git rm -q --cached '{path}'")),
        1 => path().prop_map(|path| format!("rm -rf '{path}'; ln -s file '{path}'")),
        1 => path().prop_map(|path| format!("rm -rf '{path}'; mkdir -p $(dirname '{path}'); mkfifo '{path}'")),
        2 => (path(), proptest::sample::select(&["000", "755", "644", "400", "100"][..]))
            .prop_map(|(path, mode)| format!("chmod {mode} '{path}'")),
        1 => proptest::sample::select(&["dir", "b"][..]).prop_map(|dir| format!("chmod 000 {dir}")),
        2 => branch().prop_map(|branch| format!("git checkout -qb {branch}")),
        2 => branch().prop_map(|branch| format!("git checkout -q {branch}")),
        1 => branch().prop_map(|branch| format!("git branch -f {branch} origin/dev")),
        1 => proptest::sample::select(&["dep", "dir", "b/d"][..])
            .prop_map(|dir| format!("git init -q {dir}; echo n > {dir}/nested")),
        1 => proptest::sample::select(&["dep", "b"][..])
            .prop_map(|dir| format!("git init -q {dir}; (cd {dir}; echo n > n; git add n; git commit -qm nested)")),
        1 => (branch(), 0..9u8).prop_map(|(branch, n)| format!("git worktree add -q wt{n} -b {branch}{n}; echo w > wt{n}/w")),
        1 => proptest::sample::select(&["a", "*.sh", "b/", "/dep"][..])
            .prop_map(|rule| format!("echo '{rule}' >> .gitignore")),
        4 => fixed.prop_map(str::to_owned),
    ]
}

fn write(path: &str, how: &str) -> String {
    // A pipe would be waited for.
    format!("mkdir -p $(dirname '{path}'); [ -p '{path}' ] || {how} '{path}'")
}

/// What an agent does last: git itself would wait for such a pipe.
fn last() -> impl Strategy<Value = Option<String>> {
    let pipes =
        ["rm -f .gitignore; mkfifo .gitignore", "rm -f .git/index; mkfifo .git/index", "mkfifo .git/info/exclude"];
    proptest::option::weighted(0.2, proptest::sample::select(pipes.map(str::to_owned).to_vec()))
}

/// Everything that an agent does.
fn work(most: usize) -> impl Strategy<Value = Vec<String>> {
    (vec(step(), 1..most), last()).prop_map(|(steps, last)| steps.into_iter().chain(last).collect())
}

fn script(steps: &[String]) -> String {
    // In a subshell each: none of them ends the agent or is heard.
    steps.iter().map(|step| format!("( {step} ) </dev/null >/dev/null 2>&1\n")).collect::<String>() + "exit 0\n"
}

/// git as the agent's user would run it, in its workspace: the output of what worked.
fn ask(workspace: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(workspace).args(["-c", "safe.directory=*", "-c", "core.bare=false"]).args(args);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/nonexistent").env("GIT_OPTIONAL_LOCKS", "0");
    let output = command.output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Files below that their owner can read, links and all; not those of repositories.
fn files(root: &Path, dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(dir)).unwrap().flatten() {
        let (path, kind) = (dir.join(entry.file_name()), entry.file_type().unwrap());
        if entry.file_name() == ".git" {
            continue;
        }
        let mode = entry.metadata().unwrap().permissions().mode();
        if kind.is_dir() {
            if mode & 0o500 == 0o500 {
                files(root, &path, found);
            }
        } else if kind.is_symlink() || (kind.is_file() && mode & 0o400 != 0) {
            found.push(path);
        }
    }
}

struct Seen<'a> {
    hub: &'a Hub,
    workspace: PathBuf,
    ended: &'a Ended,
    base: String,
}

impl Seen<'_> {
    /// Is it named, or something that it is in?
    fn is_named(&self, path: &Path) -> bool {
        let harvest = &self.ended.harvest;
        let named = |path: &Path| harvest.skipped.iter().any(|one| Path::new(&one.path) == path || one.path == ".");
        harvest.more > 0 || path.ancestors().any(named)
    }

    /// What the bundle names, in the hub.
    fn tips(&self) -> Vec<String> {
        let Some(commits) = &self.ended.harvest.commits else { return vec![self.base.clone()] };
        git(&self.hub.dir, &["update-ref", "-d", "refs/seen/result"]);
        let (result, branches) =
            (format!("+{BUNDLE_REF}:refs/seen/result"), format!("+{BRANCH_REFS}*:refs/seen/branches/*"));
        git(&self.hub.dir, &["fetch", "-q", "--prune", commits.bundle.to_str().unwrap(), &result, &branches]);
        git(&self.hub.dir, &["for-each-ref", "--format=%(objectname)", "refs/seen"])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn is_ancestor(&self, dir: &Path, commit: &str, of: &str) -> bool {
        ask(dir, &["merge-base", "--is-ancestor", commit, of]).is_some()
    }

    fn commits_are_there(&self) {
        let tips = self.tips();
        let there = |commit: &str| tips.iter().any(|tip| self.is_ancestor(&self.hub.dir, commit, tip));
        let head = ask(&self.workspace, &["rev-parse", "--verify", "-q", "HEAD^{commit}"]);
        if let Some(head) = head.filter(|head| !self.is_ancestor(&self.workspace, head, &self.base)) {
            assert!(there(&head), "HEAD is lost");
        }
        let branches = ask(&self.workspace, &["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads"]);
        for line in branches.unwrap_or_default().lines() {
            let (commit, name) = line.split_once(' ').unwrap();
            if commit != self.base && self.is_ancestor(&self.workspace, &self.base, commit) {
                assert!(there(commit), "{name} is lost");
            }
        }
    }

    fn files_are_there(&self) {
        let result = self.ended.harvest.commits.as_ref().map_or(self.base.clone(), |commits| commits.tip.to_string());
        let tree = git(&self.hub.dir, &["-c", "core.quotePath=false", "ls-tree", "-r", &result]);
        let known: Vec<(&str, &str)> = tree.lines().filter_map(|line| line.split_once('\t')).collect();
        let mut all = Vec::new();
        files(&self.workspace, Path::new(""), &mut all);
        for path in &all {
            let name = path.to_str().unwrap();
            let kept = known.iter().find(|(_, known)| *known == name);
            let place = self.workspace.join(path);
            let content = match fs::read_link(&place) {
                Ok(target) => target.into_os_string().into_encoded_bytes(),
                Err(_) => fs::read(&place).unwrap(),
            };
            let same = kept.is_some_and(|(about, _)| about.contains(&id_of(&content)));
            // Explicit places: `core.bare` in the repository's own file counts before any option.
            let rules = ["--git-dir=.git", "--work-tree=.", "check-ignore", "-q", "--no-index", name];
            let ignored = || ask(&self.workspace, &rules).is_some();
            assert!(same || self.is_named(path) || (kept.is_none() && ignored()), "{name} is lost");
        }
        for (_, name) in &known {
            let there = fs::symlink_metadata(self.workspace.join(name)).is_ok();
            assert!(there || self.is_named(Path::new(name)), "{name} came back");
        }
    }
}

/// The id of a file's content.
fn id_of(content: &[u8]) -> String {
    let mut command = Command::new("git");
    command.args(["hash-object", "--stdin"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), content).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

fn holds(steps: &[String]) {
    let s = Place::plain();
    let hub = Hub::new(&s);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ended = runtime.block_on(run(s.runtime(), &hub.at_head(1, &script(steps))));
    assert_eq!(ended.outcome, Outcome::Exited(0));
    let workspace = s.attempt_dir(&attempt(1)).join("workspace");
    let base = hub.head().to_string();
    let seen = Seen { hub: &hub, workspace, ended: &ended, base };
    let usable =
        seen.workspace.join(".git").is_dir() && ask(&seen.workspace, &["cat-file", "-e", &seen.base]).is_some();
    if !usable {
        assert!(ended.harvest.error.as_deref().is_some_and(|text| text.contains("destroyed")), "{:?}", ended.harvest);
        return;
    }
    assert_eq!(ended.harvest.failed, None, "{:?}", ended.harvest);
    seen.commits_are_there();
    seen.files_are_there();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        max_shrink_iters: 60,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_that_an_agent_left_is_lost(steps in work(14)) {
        holds(&steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        max_shrink_iters: 60,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    #[ignore = "many rounds"]
    fn long_nothing_that_an_agent_left_is_lost(steps in work(24)) {
        holds(&steps);
    }
}
