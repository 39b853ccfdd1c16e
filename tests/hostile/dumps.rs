//! Secrets in the node's memory stay there: it leaves no core dump, and processes of its own user can neither trace nor
//! read it.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::ExitStatusExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};

/// A user that owns nothing of the machine.
const USER: u32 = 10_077;
const GENEROUS: Duration = Duration::from_secs(60);

/// As root it becomes another user; core dumps of any size are allowed, as a service manager would.
fn start(dir: &Path, program: &str, args: &[&str]) -> Child {
    let mut command = match geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &USER.to_string(), "--regid", &USER.to_string(), "--clear-groups"]);
            command.args(["sh", "-c"]);
            command
        }
        false => {
            let mut command = Command::new("sh");
            command.arg("-c");
            command
        }
    };
    command.arg("ulimit -c unlimited; exec \"$@\"").arg("sh").arg(program).args(args);
    command.current_dir(dir).env_remove("DEVSTACK_DUMPABLE").stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// May a process of the same user read its memory, or attach to it?
fn is_open(child: &Child) -> bool {
    let pid = child.id().to_string();
    let script = "cat /proc/$0/environ >/dev/null 2>&1 && head -c 0 /proc/$0/mem 2>/dev/null && readlink /proc/$0/exe >/dev/null";
    let user = USER.to_string();
    let mut command = Command::new("sh");
    if geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "sh"]);
    }
    command.args(["-c", script, &pid]).status().unwrap().success()
}

/// Ends it as a fault of its own would; did the kernel dump its memory?
fn dumps(mut child: Child) -> bool {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGABRT).unwrap();
    child.wait().unwrap().core_dumped()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + GENEROUS;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_node_that_crashes_leaves_no_dump_and_nobody_reads_its_memory() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    let config = format!(
        "[node]\nname = \"one\"\nroles = [\"taskmaster\"]\nstate_dir = \"{0}/state\"\n[api]\nsocket = \"{0}/api.sock\"\n",
        dir.display()
    );
    fs::write(dir.join("node.toml"), config).unwrap();
    fs::write(dir.join(".env"), "API_KEY=a-value-that-nobody-sees\n").unwrap();
    fs::set_permissions(dir.join(".env"), Permissions::from_mode(0o600)).unwrap();
    if geteuid().is_root() {
        for path in [dir.to_owned(), dir.join(".env")] {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
    }
    // Another program: it is open to its user, and leaves a dump where the machine makes any.
    let witness = start(dir, "sleep", &["1001"]);
    until("another program of that user can be read", || is_open(&witness));
    let dumped = dumps(witness);
    if !dumped {
        println!("SKIPPED: that another program is dumped: this machine makes no core dumps");
    }
    let cores =
        || fs::read_dir(dir).unwrap().flatten().filter(|e| e.file_name().to_string_lossy().contains("core")).count();
    let before = cores();
    // Built by whoever runs the tests, perhaps where another user may not look.
    let node = dir.join("devstack-node");
    fs::copy(env!("CARGO_BIN_EXE_devstack-node"), &node).unwrap();
    let child = start(dir, node.to_str().unwrap(), &["--config", dir.join("node.toml").to_str().unwrap()]);
    until("the node answers", || dir.join("api.sock").exists());
    assert!(!is_open(&child), "its memory and environment can be read");
    if Command::new("gcore").arg("--version").output().is_ok() && geteuid().is_root() {
        let user = USER.to_string();
        let mut traced = Command::new("setpriv");
        traced.args(["--reuid", &user, "--regid", &user, "--clear-groups", "gcore", "-o"]);
        let status = traced.arg(dir.join("taken")).arg(child.id().to_string()).output().unwrap().status;
        assert!(!status.success() && !dir.join(format!("taken.{}", child.id())).exists(), "it can be traced");
    }
    assert!(!dumps(child), "its memory was dumped");
    assert_eq!(cores(), before);
}
