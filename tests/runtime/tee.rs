//! What a shim's own output does to its agent: nothing, whoever reads it, or nobody.

use std::{
    fs,
    io::Read,
    path::PathBuf,
    process::{Command, Stdio},
};

use devstack::runtime::Sandbox;
use devstack_shim::{
    layout,
    spec::{Ending, ExitRecord, Rlimits, Spec},
};
use nix::unistd::geteuid;

use crate::{harness::*, upgrade};

/// Three megabytes: more than a pipe and the shim keep for a reader.
const FLOOD: &str = "i=0; while [ $i -lt 3000 ]; do printf '%01000d\\n' $i; i=$((i+1)); done; echo last";

struct Shim {
    _scratch: Scratch,
    dir: PathBuf,
    command: Command,
}

/// A shim to be started by hand, with an order to copy the log to its output.
fn shim(script: &str) -> Shim {
    let scratch = Scratch::new(Sandbox::Off);
    let dir = scratch.attempt_dir(&attempt(1));
    for part in [layout::IN, layout::OUT, layout::SHIM, layout::WORKSPACE] {
        fs::create_dir_all(dir.join(part)).unwrap();
    }
    fs::write(dir.join(layout::PROMPT), "").unwrap();
    let first = upgrade::spec();
    let spec = Spec {
        dir: dir.clone(),
        workspace: dir.join(layout::WORKSPACE),
        command: ["sh", "-c", script].map(str::to_owned).into(),
        user: first.user.filter(|_| geteuid().is_root()),
        limits: Rlimits::default(),
        cgroups: Vec::new(),
        secrets: None,
        git: None,
        tee: true,
        ..first
    };
    fs::write(dir.join(layout::SPEC), serde_json::to_vec(&spec).unwrap()).unwrap();
    let program = fs::read_dir(scratch.dir.path().join("state/bin")).unwrap().next().unwrap().unwrap().path();
    let mut command = Command::new(program);
    command.arg("run").arg(dir.join(layout::SPEC)).stdin(Stdio::null());
    Shim { _scratch: scratch, dir, command }
}

impl Shim {
    /// How the agent ended, and its log.
    fn end(&self) -> (Option<Ending>, String) {
        let record: ExitRecord = serde_json::from_slice(&fs::read(self.dir.join(layout::EXIT)).unwrap()).unwrap();
        (record.ending, fs::read_to_string(self.dir.join(layout::LOG)).unwrap())
    }
}

#[test]
fn a_reader_gets_what_the_log_gets() {
    let mut shim = shim("echo one; echo two >&2; printf three");
    let output = shim.command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "one\ntwo\nthree");
    assert_eq!(shim.end(), (Some(Ending::Exited(0)), "one\ntwo\nthree".to_owned()));
}

#[test]
fn a_reader_that_is_gone_ends_nobody() {
    let mut shim = shim(FLOOD);
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    assert!(shim.command.stdout(write).status().unwrap().success());
    let (ending, log) = shim.end();
    assert_eq!((ending, log.len()), (Some(Ending::Exited(0)), 3000 * 1001 + 5));
}

#[test]
fn a_reader_that_does_not_read_keeps_nobody() {
    let mut shim = shim(FLOOD);
    let (mut read, write) = std::io::pipe().unwrap();
    let status = shim.command.stdout(write).status().unwrap();
    // The command holds an end of the pipe, too.
    shim.command.stdout(Stdio::null());
    assert!(status.success());
    let (ending, log) = shim.end();
    assert_eq!((ending, log.len()), (Some(Ending::Exited(0)), 3000 * 1001 + 5));
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert!(log.starts_with(&text) && !text.is_empty(), "{} bytes", text.len());
}
