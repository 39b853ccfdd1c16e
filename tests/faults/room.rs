//! A disk that fills up, of bytes or of inodes: no new attempt, then no new plan, each said in words; what ends
//! something goes on, and so does everything when there is room again, without anybody's help and in the same process.
//! Deliberately absent: a disk on which nothing is kept free (`disk`), and the levels themselves (unit tests).

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant},
};

use nix::sys::statvfs::statvfs;

use crate::{
    disk::{Disk, start},
    node::{Running, Site},
};

/// In this time a host whose disk is nearly full checks it three times.
const CHECKS: Duration = Duration::from_secs(7);

/// What is short.
#[derive(Clone, Copy)]
enum Of {
    Bytes,
    Inodes,
}

impl Of {
    /// The disk, and what is kept free of it: bytes, or by themselves 5 % of the inodes.
    fn disk(self) -> &'static str {
        match self {
            Self::Bytes => "size=96m,mode=0711",
            Self::Inodes => "size=96m,nr_inodes=4000,mode=0711",
        }
    }

    fn reserve(self) -> u64 {
        match self {
            Self::Bytes => 32 << 20,
            Self::Inodes => 200,
        }
    }

    fn free(self, disk: &Path) -> u64 {
        let seen = statvfs(disk).unwrap();
        match self {
            Self::Bytes => seen.blocks_available() * seen.fragment_size(),
            Self::Inodes => seen.files_available(),
        }
    }

    /// Takes room until only so much is left.
    fn fill(self, disk: &Path, left: u64) {
        let ballast = disk.join("ballast");
        fs::create_dir_all(&ballast).unwrap();
        let mut number = fs::read_dir(&ballast).unwrap().count();
        while self.free(disk) > left {
            let bytes = match self {
                Self::Bytes => (self.free(disk) - left).min(1 << 20) as usize,
                Self::Inodes => 0,
            };
            File::create(ballast.join(number.to_string())).unwrap().write_all(&vec![0; bytes]).unwrap();
            number += 1;
        }
    }
}

#[test]
fn a_disk_that_fills_up_stops_new_work_until_there_is_room() {
    fills_up(Of::Bytes);
}

#[test]
fn inodes_that_run_out_stop_new_work_until_there_are_some() {
    fills_up(Of::Inodes);
}

fn fills_up(of: Of) {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: a disk that fills up: only root may mount the small disk of this test");
        return;
    }
    let disk = Disk::mount(of.disk());
    // Where agents and the test meet is on another disk.
    let meet = tempfile::tempdir().unwrap();
    fs::set_permissions(meet.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let site = Site::at(disk.path().join("site")).lay_down();
    let mut node = start(&site, "disk_reserve = \"32MiB\"");
    let world = World { site, plan: disk.elsewhere().to_owned(), meet: meet.path().to_owned() };

    world.submits(&["held", "stopped"]);
    node.wait_until("both run", |_| world.is("held", "WIP") && world.is("stopped", "WIP"));

    // Below the reserve: the plan is taken, and nothing of it begins here.
    of.fill(disk.path(), of.reserve() * 3 / 4);
    node.wait_until("the host says why it takes nothing", |_| world.says(&["host", "list"]).contains("nearly full"));
    world.submits(&["held", "stopped", "next", "other"]);
    let why = world.says(&["task", "explain", "next"]);
    assert!(why.contains("3 slots of box cannot be used") && why.contains("must stay free (disk_reserve)"), "{why}");
    assert_eq!(world.metric("devstack_disk_low"), "1");
    assert_eq!(world.doctor(), "warning");

    // Below half of it: no plan. What ends something, and what ends by itself, goes on.
    of.fill(disk.path(), of.reserve() / 4);
    assert_eq!(world.metric("devstack_disk_low"), "2");
    assert_eq!(world.doctor(), "failed");
    let refused = world.submit(&["held", "stopped", "next", "other", "more"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(5), "{said}");
    assert!(said.contains("no plan is accepted now: the disk of") && said.contains("[DS0331]"), "{said}");
    assert!(said.contains("free space on the Taskmaster's disk"), "{said}");
    world.says(&["task", "stop", "stopped"]);
    node.wait_until("one is stopped", |_| world.is("stopped", "TODO"));
    world.says(&["task", "reject", "other", "-m", "not wanted"]);
    assert!(world.is("other", "REJECTED"));
    world.open("held");
    node.wait_until("a result is taken", |_| world.is("held", "COMPLETED"));
    assert_eq!(world.attempts("next"), 0, "nothing began");
    // The host checks on although nothing runs any more. No event says so: it is enough that three checks were due.
    let idle_since = Instant::now();
    node.wait_until("checks of an idle host were due", |_| idle_since.elapsed() > CHECKS);

    // Room again.
    fs::remove_dir_all(disk.path().join("ballast")).unwrap();
    world.open("next");
    world.open("stopped");
    node.wait_until("it goes on by itself", |_| world.is("next", "COMPLETED") && world.is("stopped", "COMPLETED"));
    assert!(!world.says(&["host", "list"]).contains("nearly full"));
    world.submits(&["held", "stopped", "next", "other", "more"]);
    world.open("more");
    node.wait_until("plans are taken again", |_| world.is("more", "COMPLETED"));
    assert!(node.is_running(), "it is the same process");
    node.terminate();
    let ended = Running::finish(node);
    assert!(ended.status.success(), "{ended:?}");
}

struct World {
    site: Site,
    plan: PathBuf,
    meet: PathBuf,
}

impl World {
    /// Tasks that each wait until they are let go.
    fn submit(&self, tasks: &[&str]) -> Output {
        let mut plan = String::from("[project]\nname = \"full\"\n[agents.dev]\ncount = 9\ncommand = [\"true\"]\n");
        for id in tasks {
            let gate = self.meet.join(id);
            plan += &format!(
                "[[task]]\nid = {id:?}\nprompt = \"x\"\ncommand = [\"sh\", \"-c\", \"until [ -e {} ]; do sleep 0.05; done\"]\n",
                gate.display()
            );
        }
        fs::write(&self.plan, plan).unwrap();
        // A plan elsewhere is another site's, unless an address is given.
        let address = format!("unix://{}", self.site.state().join("api.sock").display());
        self.site.devstack(&["--address", &address, "plan", "submit"]).arg(&self.plan).output().unwrap()
    }

    fn submits(&self, tasks: &[&str]) {
        let answer = self.submit(tasks);
        assert!(answer.status.success(), "{answer:?}");
    }

    fn open(&self, task: &str) {
        fs::write(self.meet.join(task), "").unwrap();
    }

    fn says(&self, args: &[&str]) -> String {
        let output = self.site.devstack(args).output().unwrap();
        assert!(output.status.success(), "devstack {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn is(&self, task: &str, status: &str) -> bool {
        self.site.ask(&["task", "show", task])["task"]["status"] == status
    }

    fn attempts(&self, task: &str) -> u64 {
        self.site.ask(&["task", "show", task])["task"]["attempts"].as_u64().unwrap()
    }

    /// How `doctor` finds the disk; its exit code is about other things, too.
    fn doctor(&self) -> String {
        let config = self.site.dir().join("node.toml");
        let output = self.site.devstack(&["doctor", "-o", "json", "--config"]).arg(config).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "disk").unwrap();
        check["status"].as_str().unwrap().to_owned()
    }

    fn metric(&self, name: &str) -> String {
        let mut stream = UnixStream::connect(self.site.state().join("api.sock")).unwrap();
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let value = answer.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        value.unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
    }
}
