//! A real daemon under a service manager played by this test: what it says, when, and what becomes of attempts.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::site::{GENEROUS, Running};

/// Short, so that a test need not wait: pings come every 200 ms.
const WATCHDOG_USEC: &str = "600000";

const PLAN: &str = r#"
[project]
name = "shop"
[agents.dev]
command = ["sh", "-c", "touch up; while ! test -e go; do sleep 0.02; done"]
[defaults]
role = "dev"
attempts = 1
[[task]]
id = "A"
title = "A"
"#;

/// A configuration, a directory, and the manager's ear.
struct Service {
    dir: tempfile::TempDir,
    ear: UnixDatagram,
}

impl Service {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let ear = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        ear.set_read_timeout(Some(GENEROUS)).unwrap();
        let service = Self { dir, ear };
        service.configure("info");
        service
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, filter: &str) {
        let (state, socket) = (self.path("state"), self.path("api.sock"));
        let text = format!(
            "[node]\nname = \"one\"\nstate_dir = {state:?}\n[api]\nsocket = {socket:?}\n[agent_host]\nruntime = \"process\"\n\
             sandbox = \"off\"\nslots = 1\n[telemetry]\nfilter = \"{filter}\"\n"
        );
        fs::write(self.path("node.toml"), text).unwrap();
    }

    fn start(&self, fault: Option<&str>) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devstack-node"));
        command.arg("--config").arg(self.path("node.toml")).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.dir.path());
        command.env("NOTIFY_SOCKET", self.path("notify")).env("WATCHDOG_USEC", WATCHDOG_USEC);
        Running::start(command, fault)
    }

    /// The next thing that is said and is no sign of life.
    fn heard(&self) -> String {
        loop {
            let said = self.next().expect("it says something");
            if said != "WATCHDOG=1" {
                return said;
            }
        }
    }

    fn next(&self) -> Option<String> {
        let mut bytes = [0; 512];
        let length = self.ear.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    fn ask(&self, args: &[&str]) -> Value {
        let address = format!("unix://{}", self.path("api.sock").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_devstack"));
        command.args(args).args(["-o", "json", "--address", &address]).env("HOME", self.dir.path());
        let output = command.current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Submits the plan with one attempt that runs until it finds a file; gives the place for that file.
    fn submit(&self, node: &mut Running) -> PathBuf {
        fs::write(self.path("devstack.toml"), PLAN).unwrap();
        self.ask(&["plan", "submit", "devstack.toml"]);
        let workspace = self.path("state/attempts/shop.A.1/workspace");
        node.wait_until("its attempt runs", |_| workspace.join("up").exists());
        workspace.join("go")
    }
}

fn signal(node: &Running, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(node.pid()).unwrap()), signal).unwrap();
}

#[test]
fn it_says_that_it_is_ready_lives_reloads_and_stops() {
    let service = Service::new();
    let mut node = service.start(None);
    assert!(service.heard().starts_with("READY=1\nSTATUS=one answers on "));
    // Ready is no promise: it answers now.
    assert_eq!(service.ask(&["status"])["slots"], 1);
    assert_eq!(service.next().unwrap(), "WATCHDOG=1");
    assert_eq!(service.next().unwrap(), "WATCHDOG=1");
    // A new secret and another filter.
    let env = service.path(".env");
    fs::write(&env, "NEW_TOKEN=hunter2-secret\n").unwrap();
    fs::set_permissions(&env, fs::Permissions::from_mode(0o600)).unwrap();
    service.configure("devstack=debug");
    signal(&node, Signal::SIGHUP);
    assert!(service.heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(service.heard().starts_with("READY=1\nSTATUS=one answers on "));
    node.wait_until("the secret is known", |_| service.ask(&["host", "list"]).to_string().contains("NEW_TOKEN"));
    assert!(node.said().contains("reloaded: secrets and the filter of the log"), "{}", node.said());
    // One that is wrong changes nothing, and is said.
    fs::write(service.path("node.toml"), "[node]\nnmae = 1\n").unwrap();
    signal(&node, Signal::SIGHUP);
    assert!(service.heard().starts_with("RELOADING=1"));
    assert!(service.heard().contains("the last reload was refused"));
    assert!(node.said().contains("unknown key `nmae`"), "{}", node.said());
    assert!(!node.said().contains("hunter2-secret"));
    signal(&node, Signal::SIGTERM);
    assert_eq!(service.heard(), "STOPPING=1\nSTATUS=attempts go on without the node");
    assert!(node.finish().status.success());
}

#[test]
fn attempts_outlive_a_stop_and_are_adopted_by_the_next_start() {
    let service = Service::new();
    let mut node = service.start(None);
    assert!(service.heard().starts_with("READY=1"));
    let go = service.submit(&mut node);
    signal(&node, Signal::SIGTERM);
    assert!(service.heard().starts_with("STOPPING=1"));
    assert!(node.finish().status.success());
    let mut node = service.start(None);
    assert!(service.heard().starts_with("READY=1"));
    fs::write(go, "").unwrap();
    node.wait_until("the attempt that was there completes its task", |_| {
        service.ask(&["task", "show", "A"])["task"]["status"] == "COMPLETED"
    });
    assert_eq!(service.ask(&["task", "show", "A"])["task"]["attempts"], 1);
    node.terminate();
    assert!(node.finish().status.success());
}

/// The process runs, its threads run, and one actor does nothing any more.
#[test]
fn an_actor_that_hangs_ends_the_signs_of_life() {
    for point in ["agent-host-order", "taskmaster-report"] {
        let service = Service::new();
        let mut node = service.start(Some(&format!("{point}:freeze")));
        assert!(service.heard().starts_with("READY=1"));
        assert_eq!(service.next().unwrap(), "WATCHDOG=1");
        fs::write(service.path("devstack.toml"), PLAN.replace("while ! test -e go; do sleep 0.02; done", "exit 0"))
            .unwrap();
        service.ask(&["plan", "submit", "devstack.toml"]);
        // Ten times the pause between two signs of life.
        service.ear.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let deadline = Instant::now() + GENEROUS;
        while service.next().is_some() {
            assert!(Instant::now() < deadline, "{point}: it still says that it lives\n{}", node.said());
        }
        assert!(node.is_running(), "{point}: {}", node.said());
    }
}
