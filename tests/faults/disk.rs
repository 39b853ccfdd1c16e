//! A full disk where nothing is kept free: nothing more is acknowledged, the reason is said, the restart is clean.
//! Deliberately absent: what keeps a disk from becoming full (`room`).

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::node::{Running, Site};

/// Room for a store, a shim and some attempts; the ballast takes the rest.
const SIZE: &str = "size=64m,mode=0711";
/// More plans than the full disk can ever take.
const PLANS: usize = 2_000;
const TASKS_IN_A_PLAN: usize = 20;

#[test]
fn a_full_disk_ends_the_node_with_its_reason_and_loses_nothing_acknowledged() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root may mount the small disk of this test");
        return;
    }
    let disk = Disk::mount(SIZE);
    let site = Site::at(disk.path().join("site")).lay_down();
    let address = format!("unix://{}", site.state().join("api.sock").display());
    let node = start(&site, "disk_reserve = \"0%\"");
    let mut acknowledged = 0;
    let mut ballast = None;
    let mut refused = String::new();
    for number in 1..=PLANS {
        fs::write(disk.elsewhere(), plan_of(number)).unwrap();
        let answer = site.devstack(&["--address", &address, "plan", "submit"]).arg(disk.elsewhere()).output().unwrap();
        if !answer.status.success() {
            refused = String::from_utf8(answer.stderr).unwrap();
            break;
        }
        acknowledged = number;
        ballast.get_or_insert_with(|| Ballast::fill(disk.path()));
    }
    assert!((1..PLANS).contains(&acknowledged), "{acknowledged} plans were accepted: {refused}");
    let ended = node.finish();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("cannot be written") && ended.stderr.contains("No space left"), "{}", ended.stderr);

    drop(ballast);
    let list = site.ask(&["task", "list"]);
    let kept = list["tasks"].as_array().unwrap().len();
    // The plan after the last acknowledged one may have become durable, or not: nobody was told.
    let whole = [acknowledged, acknowledged + 1].map(|plans| plans * TASKS_IN_A_PLAN);
    assert!(whole.contains(&kept), "{kept} tasks of {acknowledged} plans are kept");
    let node = start(&site, "");
    let ids: Vec<String> = (0..TASKS_IN_A_PLAN).map(|task| format!("P1-{task}")).collect();
    let mut wait = site.devstack(&["task", "wait"]);
    wait.args(&ids);
    let waited = Running::start(wait, None).finish();
    assert!(waited.status.success(), "{waited:?}");
    node.terminate();
    node.finish();
}

/// A node that serves a site, with these limits.
pub(crate) fn start(site: &Site, limits: &str) -> Running {
    let config = site.dir().join("node.toml");
    let (state, socket) = (site.state(), site.state().join("api.sock"));
    let text = format!(
        "[node]\nname = \"box\"\nstate_dir = {state:?}\n[api]\nsocket = {socket:?}\n[agent_host]\nruntime = \"process\"\n\
         sandbox = \"off\"\nslots = 3\n[limits]\n{limits}\n"
    );
    fs::write(&config, text).unwrap();
    let mut node = Command::new(env!("CARGO_BIN_EXE_devstack-node"));
    node.arg("--config").arg(config).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let mut node = Running::start(node, None);
    node.wait_until("it is up", |node| node.said().contains("the node is up"));
    node
}

/// Plan `number` and all before it: submitting is an upsert.
fn plan_of(number: usize) -> String {
    let mut plan =
        String::from("[project]\nname = \"full\"\n[agents.dev]\ncommand = [\"true\"]\n[defaults]\nrole = \"dev\"\n");
    for plan_number in 1..=number {
        for task in 0..TASKS_IN_A_PLAN {
            plan.push_str(&format!(
                "[[task]]\nid = \"P{plan_number}-{task}\"\ntitle = \"t\"\nprompt = \"{task:>500}\"\n"
            ));
        }
    }
    plan
}

/// A small disk of its own.
pub(crate) struct Disk {
    scratch: tempfile::TempDir,
    plan: tempfile::NamedTempFile,
}

impl Disk {
    pub(crate) fn mount(options: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        mount(Some("tmpfs"), scratch.path(), Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        Self { scratch, plan: tempfile::NamedTempFile::with_suffix(".toml").unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// A file that is not on it.
    pub(crate) fn elsewhere(&self) -> &Path {
        self.plan.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.scratch.path(), MntFlags::MNT_DETACH);
    }
}

/// Takes all the room there is, until it is dropped.
struct Ballast(PathBuf);

impl Ballast {
    fn fill(disk: &Path) -> Self {
        let path = disk.join("ballast");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        Self(path)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
