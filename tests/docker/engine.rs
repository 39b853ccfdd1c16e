//! An engine of a test's own, to be stopped, killed and frozen, beside the machine's, which is never touched.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use devstack::runtime::DockerConfig;
use devstack_shim::procs;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{containers::Containers, harness::GENEROUS, world::may_run};

/// Room for its files, on a tmpfs: the image and a few containers.
const SIZE: &str = "size=64m";

/// A Docker engine with files of its own; everything of it goes with it.
pub(crate) struct OwnEngine {
    dir: tempfile::TempDir,
    process: Option<Child>,
    live_restore: bool,
    /// Arguments for dockerd, beside those that every one gets.
    more: Vec<String>,
    /// In a name space of its own, without rules of a firewall; else in the caller's, with them.
    apart: bool,
}

impl OwnEngine {
    /// Starts one. `None`, loudly: there is no engine to start, or this is not root.
    pub(crate) fn new(live_restore: bool) -> Option<Self> {
        Self::with(live_restore, true, |_| Vec::new())
    }

    /// One that shares the name space of networks with the caller, who has one of its own.
    pub(crate) fn here() -> Option<Self> {
        Self::with(false, false, |_| Vec::new())
    }

    /// `more`: arguments for dockerd, given the directory that it is started in.
    pub(crate) fn with(live_restore: bool, apart: bool, more: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        if !may_run() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let data = dir.path().join("data");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "engine"]).arg(data).status();
        assert!(mounted.unwrap().success());
        let more = more(dir.path());
        let mut engine = Self { dir, process: None, live_restore, more, apart };
        if Command::new("dockerd").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("SKIPPED: the tests of engines that fail need dockerd");
            return None;
        }
        engine.start();
        Some(engine)
    }

    pub(crate) fn socket(&self) -> String {
        self.path("docker.sock").to_str().unwrap().to_owned()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A world on it, with limits of time that a test can wait for.
    pub(crate) async fn world(&self, change: impl FnOnce(&mut DockerConfig)) -> Containers {
        let short = |config: &mut DockerConfig| {
            (config.answer, config.act) = (Duration::from_secs(5), Duration::from_secs(20));
            config.margin = Duration::from_millis(500);
            change(config);
        };
        Containers::at(&self.socket(), short).await.expect("its engine answers")
    }

    /// Starts it, again, and waits until it answers.
    pub(crate) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        // It dies with the test, even if that is killed.
        let mut command = Command::new("setpriv");
        // In a name space of its own: an engine without a bridge deletes what it finds under that name.
        command.args(["--pdeathsig", "KILL"]).current_dir(self.dir.path());
        match self.apart {
            true => command.args(["unshare", "--net", "dockerd", "--iptables=false", "--ip6tables=false"]),
            false => command.arg("dockerd"),
        };
        command.arg("--bridge=none").args(&self.more);
        command.arg("-H").arg(format!("unix://{}", self.socket()));
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(self.path(name));
        }
        command.args(self.live_restore.then_some("--live-restore"));
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.process = Some(process);
        let deadline = Instant::now() + GENEROUS;
        while !self.answers() {
            let text = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the engine never answers: {}", text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        let host = format!("unix://{}", self.socket());
        let mut asked = Command::new("docker");
        asked
            .args(["-H", &host, "version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill(Pid::from_raw(i32::try_from(process.id()).unwrap()), signal).unwrap();
    }

    /// Stops it as a service manager does, or kills it; returns when it is gone.
    pub(crate) fn end(&mut self, signal: Signal) {
        self.signal(signal);
        self.process.take().unwrap().wait().unwrap();
        // Killed with it. Where nobody reaps it, the next one would take it for alive by its id.
        let file = self.path("exec/containerd/containerd.pid");
        if let Some(pid) = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()) {
            while procs::get(pid).is_some_and(|process| process.is_alive()) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = fs::remove_file(file);
        }
    }

    /// Containers whose engine is gone: their supervisors name our directory.
    fn end_leftovers(&self) {
        let all = procs::all().unwrap_or_default();
        let ours = |pid: i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&*self.dir.path().to_string_lossy())
        };
        let roots: Vec<i32> = all.iter().map(|process| process.pid).filter(|pid| ours(*pid)).collect();
        let below = procs::descendants(&all, &roots).into_iter().map(|process| process.pid);
        for pid in below.chain(roots.iter().copied()).filter(|pid| *pid != nix::unistd::getpid().as_raw()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    fn ask(&self, args: &[&str]) -> String {
        let output = Command::new("docker").args(["-H", &format!("unix://{}", self.socket())]).args(args).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if self.process.is_some() {
            for id in self.ask(&["ps", "-aq"]).lines() {
                self.ask(&["rm", "-f", id]);
            }
            self.end(Signal::SIGTERM);
        }
        self.end_leftovers();
        unmount(self.dir.path());
    }
}

/// Unmounts everything below `dir`, innermost first.
fn unmount(dir: &Path) {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below =
        table.lines().rev().filter_map(|line| line.split(' ').nth(1)).filter(|at| Path::new(at).starts_with(dir));
    for at in below {
        let _ = Command::new("umount").args(["-l", at]).status();
    }
}
