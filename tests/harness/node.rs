//! The real `devstack` in a scratch directory: starting it, killing it, and what must hold after it came to its end.
//! Include with `#[path = "../harness/node.rs"]`.

#![allow(dead_code, reason = "each test includes what it needs")]

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use devstack::store::{SledOptions, SledStore, Store};
use serde_json::Value;

/// A wait that is longer than this is a failure, on however busy a machine.
pub(crate) const GENEROUS: Duration = Duration::from_secs(180);

const PAUSE: Duration = Duration::from_millis(10);

/// The example of `quickstart`: its project and the tasks that its plan names.
pub(crate) const CAFE: &str = "cafe";
pub(crate) const CAFE_TASKS: [&str; 5] = ["T-1", "T-2", "T-3", "T-4", "T-5"];

/// A directory with a repository and a `.devstack` of its own.
pub(crate) struct Site {
    _scratch: Option<tempfile::TempDir>,
    dir: PathBuf,
}

impl Site {
    /// A new one; agents, as another user, can pass through.
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let dir = scratch.path().join("site");
        Self { _scratch: Some(scratch), dir }
    }

    /// Makes its directory with an empty state directory: a command looks for one upwards, and must not find another's.
    pub(crate) fn lay_down(self) -> Self {
        for dir in [self.dir.clone(), self.state()] {
            fs::create_dir(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).unwrap();
        }
        self
    }

    /// One in a directory that somebody else removes.
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self { _scratch: None, dir }
    }

    /// The repository.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join(".devstack")
    }

    /// `devstack ARGS`, run in the site, with nothing of the test's environment.
    pub(crate) fn devstack(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devstack"));
        command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.parent().unwrap()).stdin(Stdio::null());
        if self.dir.is_dir() {
            command.current_dir(&self.dir);
        }
        command
    }

    /// `devstack quickstart` here, with a fault.
    pub(crate) fn quickstart(&self, fault: Option<&str>) -> Running {
        let mut command = self.devstack(&["quickstart", "--runtime", "process", "--dir"]);
        command.arg(&self.dir);
        Running::start(command, fault)
    }

    /// The answer of a reading command.
    pub(crate) fn ask(&self, args: &[&str]) -> Value {
        let output = self.devstack(args).args(["-o", "json"]).output().unwrap();
        assert!(output.status.success(), "devstack {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// `git ARGS` here; its output without the last line break.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.dir, args)
    }

    /// Everything that must hold when a plan came to its end, whatever happened on the way.
    pub(crate) fn check(&self, project: &str, tasks: &[&str]) -> Result<(), String> {
        self.check_merges(project, tasks)?;
        self.check_nothing_left(project)
    }

    /// Every task is COMPLETED, landed exactly once, and where its owner looks for it.
    pub(crate) fn check_merges(&self, project: &str, expected: &[&str]) -> Result<(), String> {
        let list = self.ask(&["task", "list"]);
        let tasks = list["tasks"].as_array().unwrap();
        let ids: BTreeSet<&str> = tasks.iter().map(|task| text(&task["id"])).collect();
        ensure(expected.iter().all(|id| ids.contains(id)), || format!("tasks are missing: {ids:?}"))?;
        for task in tasks {
            ensure(task["status"] == "COMPLETED", || format!("{} is {}", task["id"], task["status"]))?;
            ensure(task["delivered_at"].is_string(), || format!("{} is not delivered", task["id"]))?;
        }
        let format = "--format=%H %(trailers:key=Devstack-Task,valueonly,separator=%x20)";
        let log = self.git(&["log", "--first-parent", "--merges", format, "dev"]);
        let landed: Vec<(&str, &str)> = log.lines().filter_map(|line| line.split_once(' ')).collect();
        let merged: Vec<&Value> = tasks.iter().filter(|task| task["resolved_by"].is_null()).collect();
        ensure(landed.len() == merged.len(), || format!("{} tasks and these merges:\n{log}", merged.len()))?;
        for task in tasks {
            let (id, merge) = (text(&task["id"]), text(&task["merge_commit"]));
            let lander = task["resolved_by"].as_str().unwrap_or(id);
            let of_task = landed.iter().filter(|(_, name)| *name == lander || *name == format!("{project}/{lander}"));
            let hashes: Vec<&str> = of_task.map(|(hash, _)| *hash).collect();
            ensure(hashes == [merge], || format!("{id} says it landed as {merge}; in the log: {hashes:?}\n{log}"))?;
            let commit = text(&task["commit"]);
            let ancestor = Command::new("git")
                .current_dir(&self.dir)
                .args(["merge-base", "--is-ancestor", commit, "dev"])
                .status()
                .unwrap();
            ensure(ancestor.success(), || format!("{commit} of {id} is not in dev"))?;
        }
        let hub = git(&self.hub(project), &["rev-parse", "refs/heads/dev"]);
        let source = self.git(&["rev-parse", "refs/heads/dev"]);
        ensure(hub == source, || format!("the hub stands at {hub}, the source at {source}"))?;
        let listed = self.ask(&["merge", "list"]);
        let listed = listed["merges"].as_array().unwrap().len();
        ensure(listed == landed.len(), || format!("merge list has {listed} merges, the log {}", landed.len()))?;
        git(&self.hub(project), &["fsck", "--strict"]);
        Ok(())
    }

    /// No process, no attempt, no bundle, no scratch.
    pub(crate) fn check_nothing_left(&self, project: &str) -> Result<(), String> {
        let processes = self.processes();
        ensure(processes.is_empty(), || format!("processes are left: {processes:?}"))?;
        let state = self.state();
        for (folder, depth) in [("attempts", 3), ("bundles", 4)] {
            let left = entries(&state.join(folder), depth);
            ensure(left.is_empty(), || format!("{folder} has leftovers: {left:?}"))?;
        }
        let left = files(&state.join("uploads"));
        ensure(left.is_empty(), || format!("uploads has leftovers: {left:?}"))?;
        // One scratch is kept for the next merge, without an object in it.
        let scratch = self.hub(project).join("scratch");
        let object = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "objects");
        let kept = |path: &PathBuf| path.ends_with("objects/info/alternates");
        let left: Vec<PathBuf> = files(&scratch).into_iter().filter(|path| object(path) && !kept(path)).collect();
        ensure(left.is_empty() && entries(&scratch, 1).len() <= 1, || format!("the hub has leftovers: {left:?}"))
    }

    /// The project's hub.
    pub(crate) fn hub(&self, project: &str) -> PathBuf {
        self.state().join("projects").join(project).join("hub.git")
    }

    /// Every process of this site's attempts: by the installation's mark in the environment, or the site's directory in
    /// command line, environment or working directory. The node must not run: its store is opened.
    pub(crate) fn processes(&self) -> Vec<String> {
        let label = SledStore::open(&self.state().join("store"), SledOptions::default()).unwrap().meta().label;
        let mark = format!("DEVSTACK_ATTEMPT_KEY={label}/");
        let dir = self.dir.to_str().unwrap();
        let has = |bytes: &[u8], what: &str| bytes.windows(what.len()).any(|window| window == what.as_bytes());
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let (proc, name) = (entry.path(), entry.file_name());
            if !name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
                || name == *std::process::id().to_string()
            {
                continue;
            }
            let environ = fs::read(proc.join("environ")).unwrap_or_default();
            let cmdline = fs::read(proc.join("cmdline")).unwrap_or_default();
            let cwd = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&self.dir));
            if has(&environ, &mark) || has(&environ, dir) || has(&cmdline, dir) || cwd {
                found.push(format!("{}: {}", name.display(), String::from_utf8_lossy(&cmdline).replace('\0', " ")));
            }
        }
        found
    }
}

/// A `devstack` that was started; killed when it is dropped. Its output goes to files, so that it never waits for us.
pub(crate) struct Running {
    child: Child,
    out: tempfile::NamedTempFile,
    err: tempfile::NamedTempFile,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Was it killed by SIGKILL?
    pub(crate) fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }
}

impl Running {
    /// Starts a command, with a fault.
    pub(crate) fn start(mut command: Command, fault: Option<&str>) -> Self {
        let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        if let Some(fault) = fault {
            command.env("DEVSTACK_FAULT", fault);
        }
        command.stdout(File::create(out.path()).unwrap()).stderr(File::create(err.path()).unwrap());
        Self { child: command.spawn().unwrap(), out, err }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it not ended yet?
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it said on stderr so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.err.path()).unwrap()
    }

    /// Waits until a condition holds, as long as it runs.
    pub(crate) fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + GENEROUS;
        while !holds(self) {
            let over = self.child.try_wait().unwrap();
            assert!(over.is_none(), "it ended ({over:?}) before: {what}\n{}", self.said());
            assert!(Instant::now() < deadline, "this never happened: {what}\n{}", self.said());
            std::thread::sleep(PAUSE);
        }
    }

    /// kill -9, unless it ends before the moment comes. Did it have to be killed?
    pub(crate) fn kill_after(mut self, moment: Duration) -> bool {
        let deadline = Instant::now() + moment;
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now())));
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap().signal() == Some(9)
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Finished {
        let deadline = Instant::now() + GENEROUS;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let read = |file: &tempfile::NamedTempFile| fs::read_to_string(file.path()).unwrap();
                return Finished { status, stdout: read(&self.out), stderr: read(&self.err) };
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.said());
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a job for each item, `width` at a time, and fails with everything that went wrong.
pub(crate) fn in_parallel<T: Sync>(width: usize, items: &[T], job: impl Fn(&T) -> Result<(), String> + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..width {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(item)));
                    let failure = match done {
                        Ok(Ok(())) => continue,
                        Ok(Err(failure)) => failure,
                        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".into()),
                    };
                    failures.lock().unwrap().push(failure);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n\n"));
}

/// `git ARGS` in a directory, as nobody in particular.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=A Person", "-c", "user.email=person@example.org"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The error unless a condition holds.
pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What is exactly so deep below a directory.
fn entries(dir: &Path, depth: usize) -> Vec<PathBuf> {
    let found = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    if depth == 1 { found.collect() } else { found.flat_map(|path| entries(&path, depth - 1)).collect() }
}

/// Every regular file below a directory.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}
