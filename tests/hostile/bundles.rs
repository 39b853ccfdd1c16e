//! A7: bundles that anybody with a token may ask for neither fill the disk nor the processors.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use nix::unistd::Pid;

use crate::{
    bench::World,
    taskmaster::{Taskmaster, plan, request},
};

/// Requests, each with another commit that the asker has.
const REQUESTS: usize = 200;
/// Asked at once.
const AT_ONCE: usize = 12;
/// Random characters in the message of each commit, which changes nothing else.
const NOISE: usize = 256;
/// `bundle_space`, of which people have half.
const SPACE: u64 = 64 << 10;

/// Programs of git with the node as an ancestor that pack.
fn packers(node: i32) -> usize {
    let parent = |pid: i32| -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let is_below = |mut pid: i32| {
        for _ in 0..8 {
            match parent(pid) {
                Some(above) if above == node => return true,
                Some(above) if above > 1 => pid = above,
                _ => return false,
            }
        }
        false
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let packs = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"pack-objects")
    };
    pids.filter(packs).filter(|pid| is_below(*pid)).count()
}

/// As many commits as requests on `main`, in one go.
fn grow(world: &World) {
    let mut script = String::new();
    for number in 0..REQUESTS {
        let mut noise = [0; NOISE / 2];
        getrandom::fill(&mut noise).unwrap();
        let noise: String = noise.iter().map(|byte| format!("{byte:02x}")).collect();
        let from = if number == 0 { "from refs/heads/main^0\n" } else { "" };
        let at = 1_700_000_000 + number;
        let who = format!("committer A <a@example.org> {at} +0000");
        script += &format!("commit refs/heads/main\n{who}\ndata {NOISE}\n{noise}\n{from}\n");
    }
    let mut import = Command::new("git");
    import.arg("-C").arg(world.dir()).args(["fast-import", "--quiet"]).stdin(Stdio::piped());
    let mut import = import.spawn().expect("git is there");
    import.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    world.git(&["reset", "--quiet", "--hard", "main"]);
}

#[test]
fn two_hundred_bundles_keep_to_their_budget() {
    let world = World::with_repository();
    grow(&world);
    let commits = world.git(&["rev-list", "main"]);
    let boss = Taskmaster::start(world, "[limits]\nbundle_space = \"64KiB\"\n");
    let file = boss.world.root().join("plan.toml");
    fs::write(&file, plan("shop", boss.world.dir().to_str().unwrap())).unwrap();
    boss.on_socket(&["plan", "submit", file.to_str().unwrap()]).expect(0);
    let (viewer, operator) = (boss.token("viewer"), boss.token("operator"));

    let path = |have: &str| format!("/v1/repos/shop/bundle?branch=dev&have={have}");
    let whole = boss.ask("GET", &path(""), &viewer, "");
    assert_eq!(whole.error(), (403, "DS0313"), "{whole:?}");
    // What the branch does not have is no reason for another bundle.
    let foreign = boss.ask("GET", &path(&"7".repeat(40)), &viewer, "");
    assert_eq!(foreign.error(), (403, "DS0313"), "{foreign:?}");

    let node = Pid::from_raw(boss.node.pid()).as_raw();
    let over = Arc::new(AtomicBool::new(false));
    let looking = thread::spawn({
        let over = over.clone();
        move || {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(packers(node));
                thread::sleep(Duration::from_millis(1));
            }
            most
        }
    });
    let started = Instant::now();
    let statuses: Vec<u16> = boss.runtime.block_on(async {
        // The head itself is nothing new: from the one below on.
        let haves: Vec<&str> = commits.lines().skip(1).collect();
        let asked = stream::iter(haves).map(|have| boss.send(request("GET", &path(have), &viewer, "")));
        asked.buffer_unordered(AT_ONCE).map(|answer| answer.unwrap().status).collect().await
    });
    // The whole history, by those who may.
    let all = boss.runtime.block_on(boss.send(request("GET", &path(""), &operator, ""))).unwrap();
    over.store(true, Ordering::Relaxed);
    let most = looking.join().unwrap();
    assert!(statuses.len() >= REQUESTS && statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(all.status, 200);
    assert!(most <= 2, "{most} packers at once");
    let files = boss.files("uploads/bundles");
    let kept: u64 = files.iter().map(|(_, size)| size).sum();
    println!(
        "{REQUESTS} bundles in {:?}, {most} packers at once at most, {} files of {kept} bytes kept",
        started.elapsed(),
        files.len()
    );
    // The newest is kept whatever its size: here the whole history.
    let newest = files.iter().map(|(_, size)| *size).max().unwrap_or_default();
    assert!(kept <= SPACE.max(newest), "{files:?}");
}
