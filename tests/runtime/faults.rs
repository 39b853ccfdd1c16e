//! A disk that fails at any moment of a checkout or a harvest, and a shim that is killed at any moment of them: never
//! does half of something pass for work. strace makes the system calls of the real shim fail, one after the other.
//! Deliberately absent: power cuts (nothing of an attempt is needed after one).

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use devstack_shim::{
    layout,
    spec::{Ending, ExitRecord, Harvested, Rlimits, Spec, User},
};
use nix::unistd::geteuid;

use crate::{git::git, upgrade};

const SHIM: &str = devstack::runtime::shim::BUILT;
/// Whatever a disk can refuse.
const CALLS: &str = "write,pwrite64,writev,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,ftruncate,unlink,rmdir";
const ERRORS: [&str; 3] = ["EIO", "ENOSPC", "EDQUOT"];

/// A hub with some files, and an attempt's directory beside it.
struct Bench {
    root: tempfile::TempDir,
    base: String,
    user: Option<User>,
}

impl Bench {
    /// `None`, loudly, where there is no strace that may do this.
    fn new() -> Option<Self> {
        let tried = Command::new("strace").args(["-o", "/dev/null", "-e", "trace=none", "true"]).output();
        if !tried.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: failing disks: strace is not there, or may not trace here");
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o711)).unwrap();
        let hub = root.path().join("hub");
        fs::create_dir(&hub).unwrap();
        git(&hub, &["init", "-q"]);
        for name in ["a", "b", "d/c", "d/e"] {
            fs::create_dir_all(hub.join(name).parent().unwrap()).unwrap();
            fs::write(hub.join(name), name.repeat(3000)).unwrap();
        }
        git(&hub, &["add", "-A"]);
        git(&hub, &["commit", "-qm", "base"]);
        let base = git(&hub, &["rev-parse", "HEAD"]);
        // Whoever runs strace writes to it.
        fs::write(root.path().join("strace"), "").unwrap();
        fs::set_permissions(root.path().join("strace"), Permissions::from_mode(0o666)).unwrap();
        let user = geteuid().is_root().then_some(User { uid: 10_001, gid: 10_001 });
        Some(Self { root, base, user })
    }

    fn hub(&self) -> PathBuf {
        self.root.path().join("hub")
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("attempt")
    }

    /// A fresh directory of an attempt with this agent.
    fn lay_down(&self, script: &str) {
        let dir = self.dir();
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        for name in [layout::IN, layout::SHIM, layout::OUT, layout::WORKSPACE, layout::HOME, layout::TMP] {
            fs::create_dir(dir.join(name)).unwrap();
            if let Some(user) = self.user.filter(|_| ![layout::IN, layout::SHIM].contains(&name)) {
                chown(dir.join(name), Some(user.uid), Some(user.gid)).unwrap();
            }
        }
        fs::write(dir.join(layout::PROMPT), "").unwrap();
        let mut spec = Spec {
            dir: dir.clone(),
            workspace: dir.join(layout::WORKSPACE),
            command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            secrets: None,
            user: self.user,
            limits: Rlimits::default(),
            cgroups: Vec::new(),
            ..upgrade::spec()
        };
        let git = spec.git.as_mut().unwrap();
        (git.mirror_objects, git.bundles) = (self.hub().join(".git/objects"), Vec::new());
        git.start = devstack_shim::spec::GitStart::Commit { base: self.base.clone(), tip: self.base.clone() };
        fs::write(dir.join(layout::SPEC), serde_json::to_vec(&spec).unwrap()).unwrap();
    }

    /// The shim under strace with this injection, or without. True: the injection happened.
    fn shim(&self, inject: Option<&str>, mode: &str, change: impl FnOnce(&mut Command)) -> (bool, Vec<u8>) {
        let said = self.root.path().join("strace");
        let mut command = Command::new("strace");
        command.arg("-o").arg(&said).args(["-e", &format!("trace={CALLS}")]);
        command.args(inject.iter().flat_map(|inject| ["-e", inject]));
        command.arg(SHIM).arg(mode).arg(self.dir().join(layout::SPEC));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        change(&mut command);
        let output = command.output().unwrap();
        let text = fs::read_to_string(&said).unwrap_or_default();
        (text.contains("(INJECTED)") || text.contains("+++ killed by SIGKILL +++"), output.stderr)
    }

    fn record(&self) -> Option<ExitRecord> {
        serde_json::from_slice(&fs::read(self.dir().join(layout::EXIT)).ok()?).ok()
    }

    /// What the result changes, by path; empty without one. Git itself checks the bundle.
    fn changes(&self, harvested: &Harvested) -> BTreeMap<String, String> {
        let Some(tip) = &harvested.tip else { return BTreeMap::new() };
        let bundle = self.dir().join(layout::BUNDLE);
        let hub = self.hub();
        git(&hub, &["-c", "transfer.fsckObjects=true", "fetch", "-q", bundle.to_str().unwrap(), layout::BUNDLE_REF]);
        let changed = git(&hub, &["diff", "--no-renames", "--name-status", &self.base, tip]);
        changed.lines().filter_map(|line| line.split_once('\t')).map(|(how, path)| (path.into(), how.into())).collect()
    }
}

/// What the agent does: one commit, one file that is not committed, one file changed, one deleted.
const WORK: &str = "echo work > work; git add work; git -c user.name=x -c user.email=x@x commit -qm work; echo more > more; echo b > b; rm d/e";

fn all() -> BTreeMap<String, String> {
    [("work", "A"), ("more", "A"), ("b", "M"), ("d/e", "D")].map(|(path, how)| (path.into(), how.into())).into()
}

fn committed() -> BTreeMap<String, String> {
    BTreeMap::from([("work".into(), "A".into())])
}

/// It is all of the work, or what was committed of it and the machine's failure is said, or it is no result.
fn is_honest(changes: &BTreeMap<String, String>, harvested: &Harvested) -> bool {
    match &harvested.failed {
        None => *changes == all(),
        Some(_) => changes.is_empty() || *changes == committed(),
    }
}

/// Fails one call after the other until there is no more to fail. `act` says whether it happened.
fn each(mut act: impl FnMut(&str, usize) -> bool) -> usize {
    let mut count = 0;
    for from_then_on in ["", "+"] {
        for number in 1.. {
            let inject = format!("inject={CALLS}:error={}:when={number}{from_then_on}", ERRORS[number % ERRORS.len()]);
            if !act(&inject, number) {
                assert!(number > 10, "the disk was hardly used");
                break;
            }
            count += 1;
        }
    }
    count
}

#[test]
fn a_disk_that_fails_during_a_checkout_makes_nobodys_work() {
    let Some(bench) = Bench::new() else { return };
    let (mut started, mut not) = (0, 0);
    let count = each(|inject, _| {
        bench.lay_down(WORK);
        let (happened, _) = bench.shim(Some(inject), "run", |_| {});
        // Without a record the node says that the shim died, and asks again what may be harvested.
        let Some(record) = bench.record() else {
            not += 1;
            return happened;
        };
        let changes = bench.changes(&record.harvest);
        match record.ending {
            Some(Ending::NotStarted(_)) => {
                not += 1;
                assert_eq!((record.started, &record.harvest), (false, &Harvested::default()), "{inject}");
            }
            Some(Ending::Exited(0)) => {
                started += 1;
                assert!(record.started && is_honest(&changes, &record.harvest), "{inject}: {record:?} {changes:?}");
            }
            other => panic!("{inject}: {other:?}"),
        }
        happened
    });
    println!("{count} failures: {started} after the start, {not} before or without a record");
    assert!(not > 20, "the checkout was hit");
}

#[test]
fn a_disk_that_fails_during_a_harvest_costs_no_work_and_makes_none() {
    let Some(bench) = Bench::new() else { return };
    bench.lay_down(&format!("{WORK}; kill -9 $PPID"));
    bench.shim(None, "run", |_| {});
    let workspace = bench.dir().join(layout::WORKSPACE);
    let pristine = bench.root.path().join("pristine");
    copy(&workspace, &pristine);
    let mut failed = 0;
    let count = each(|inject, _| {
        fs::remove_dir_all(&workspace).unwrap();
        copy(&pristine, &workspace);
        let bundle = File::create(bench.dir().join(layout::BUNDLE)).unwrap();
        let user = bench.user;
        let (happened, answer) = bench.shim(Some(inject), "collect", |command| {
            command.stdout(bundle);
            if let Some(user) = user {
                command.uid(user.uid).gid(user.gid);
            }
        });
        // Without an answer the shim takes commits alone, with another child.
        if let Ok(harvested) = serde_json::from_slice::<Harvested>(&answer) {
            let changes = bench.changes(&harvested);
            failed += usize::from(harvested.failed.is_some());
            assert!(is_honest(&changes, &harvested), "{inject}: {harvested:?} {changes:?}");
        }
        happened
    });
    println!("{count} failures: {failed} of them said so");
    assert!(failed > 10, "the harvest was hit");
}

#[test]
fn a_shim_that_is_killed_at_any_moment_leaves_work_or_none() {
    let Some(bench) = Bench::new() else { return };
    let (mut nothing, mut work) = (0, 0);
    for number in 1.. {
        bench.lay_down(WORK);
        let inject = format!("inject={CALLS}:signal=SIGKILL:when={number}");
        let (happened, _) = bench.shim(Some(&inject), "run", |_| {});
        // Nothing of it runs any more in this test: the agent is over in a moment, or was never started.
        let record = match bench.record() {
            Some(record) => record,
            None => {
                let quiet =
                    || fs::read_dir("/proc").unwrap().flatten().all(|entry| !is_of(&entry.path(), &bench.dir()));
                let deadline = std::time::Instant::now() + crate::harness::GENEROUS;
                while !quiet() {
                    assert!(std::time::Instant::now() < deadline, "what the shim left does not end");
                    std::thread::yield_now();
                }
                bench.shim(None, "harvest", |_| {});
                serde_json::from_slice(&fs::read(bench.dir().join(layout::HARVEST)).unwrap()).unwrap()
            }
        };
        let changes = bench.changes(&record.harvest);
        if record.started {
            work += 1;
            assert!(changes.values().filter(|how| *how == "D").count() <= 1, "{inject}: {changes:?}");
            let known = changes.iter().all(|(path, how)| all().get(path) == Some(how));
            assert!(known, "{inject}: {record:?} {changes:?}");
        } else {
            nothing += 1;
            assert_eq!(record.harvest, Harvested::default(), "{inject}");
        }
        if !happened {
            break;
        }
    }
    println!("killed {nothing} times before the agent, {} times after", work - 1);
    assert!(nothing > 20 && work > 1);
}

/// Is it a process that works in there, or was told of it?
fn is_of(process: &Path, dir: &Path) -> bool {
    let told = fs::read(process.join("cmdline")).unwrap_or_default();
    fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
        || String::from_utf8_lossy(&told).contains(&*dir.to_string_lossy())
}

/// With owners, modes and times.
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}
