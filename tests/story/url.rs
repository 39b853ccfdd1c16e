//! A source behind a URL: git's own daemon on the loopback, one process for each connection, as inetd starts it. So
//! the port is ours, and the daemon can be gone and come back.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use nix::sys::signal::Signal;

use crate::bench::{Plan, World, task, until};

/// Serves bare repositories until dropped.
struct Daemon {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Daemon {
    /// Port 0: any.
    fn start(world: &World, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let (address, stop) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let (base, stopped) = (served(world), stop.clone());
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                serve(connection.unwrap(), &base);
            }
        });
        Self { address, stop, thread: Some(thread) }
    }

    fn url(&self) -> String {
        format!("git://{}/shop.git", self.address)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it, so that it sees that it is to stop.
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn serve(connection: TcpStream, base: &std::path::Path) {
    let input: OwnedFd = connection.try_clone().unwrap().into();
    let output: OwnedFd = connection.into();
    let mut daemon = Command::new("git");
    daemon.args(["daemon", "--inetd", "--export-all", "--enable=receive-pack", "--log-destination=none"]);
    daemon.arg(format!("--base-path={}", base.display())).arg(base);
    let daemon = daemon.env("HOME", base).stdin(Stdio::from(input)).stdout(Stdio::from(output)).stderr(Stdio::null());
    let mut daemon = daemon.spawn().expect("git is there");
    thread::spawn(move || daemon.wait());
}

fn served(world: &World) -> PathBuf {
    world.root().join("served")
}

/// The served repository, with what `World::with_repository` made.
fn world() -> World {
    let world = World::with_repository().unsandboxed();
    fs::create_dir(served(&world)).unwrap();
    let (from, to) = (world.dir(), served(&world).join("shop.git"));
    world.git(&["clone", "--quiet", "--bare", from.to_str().unwrap(), to.to_str().unwrap()]);
    // The person's directory is no longer a repository: everything must come from the daemon.
    fs::remove_dir_all(world.path(".git")).unwrap();
    world
}

fn there(world: &World, args: &[&str]) -> String {
    world.git_in(&served(world).join("shop.git"), args)
}

/// Somebody else's commit on `dev`, pushed.
fn push_by_hand(world: &World, daemon: &Daemon, change: &str) -> String {
    let clone = world.root().join("clone");
    world.git_in(world.root(), &["clone", "--quiet", "--branch", "dev", &daemon.url(), clone.to_str().unwrap()]);
    let sed = Command::new("sed").args(["-i", change]).arg(clone.join("numbers")).status();
    assert!(sed.expect("sed is there").success());
    world.git_in(&clone, &["commit", "--quiet", "--all", "-m", "By hand"]);
    world.git_in(&clone, &["push", "--quiet", "origin", "dev"]);
    let tip = world.git_in(&clone, &["rev-parse", "HEAD"]);
    fs::remove_dir_all(clone).unwrap();
    tip
}

#[test]
fn fetched_at_submission_delivered_by_push_and_followed_when_it_moves_on() {
    let world = world();
    let daemon = Daemon::start(&world, 0);
    let first = task("A", "sed -i 's/^5$/five/' numbers");
    world.plan(&Plan::new([first]).source(&daemon.url()));
    world.run().expect(0);
    assert_eq!(there(&world, &["rev-parse", "dev"]), world.in_hub(&["rev-parse", "dev"]));
    assert!(there(&world, &["show", "dev:numbers"]).contains("five"));
    assert!(world.task("A")["delivered_at"].is_string());

    // Somebody pushes; the next plan starts from it.
    let theirs = push_by_hand(&world, &daemon, "s/^1$/one/");
    let again = || task("A", "sed -i 's/^5$/five/' numbers");
    world.plan(
        &Plan::new([again(), task("B", "grep -q one numbers && sed -i 's/^9$/nine/' numbers")]).source(&daemon.url()),
    );
    world.run().expect(0);
    let numbers = there(&world, &["show", "dev:numbers"]);
    assert!(["one", "five", "nine"].iter().all(|word| numbers.contains(word)), "{numbers}");
    there(&world, &["merge-base", "--is-ancestor", &theirs, "dev"]);

    // Somebody pushes while a task works: a recorded sync merge, by fast-forward push.
    let plan = [again(), task("B", "grep -q one numbers && sed -i 's/^9$/nine/' numbers")];
    let slow = task("C", &format!("{}sed -i 's/^3$/three/' numbers", world.wait_at("go")));
    world.plan(&Plan::new(plan.into_iter().chain([slow])).source(&daemon.url()));
    let run = world.start();
    world.until_there("go");
    let theirs = push_by_hand(&world, &daemon, "s/^7$/seven/");
    world.open_gate("go");
    run.wait().expect(0);
    let said = there(&world, &["log", "--format=%B", "-1", "dev"]);
    assert!(said.contains(&format!("Devstack-Sync: {theirs}")), "{said}");
    assert_eq!(there(&world, &["rev-parse", "dev"]), world.in_hub(&["rev-parse", "dev"]));
    world.hub_is_whole();
}

#[test]
fn a_conflict_with_what_somebody_pushed_is_resolved_and_pushed() {
    let world = world();
    let daemon = Daemon::start(&world, 0);
    let senior = "[agents.senior]\ncommand = [\"sed\", \"-i\", \"/^[<=>]\\\\{7\\\\}/d\", \"numbers\"]\n";
    let slow = format!("{}sed -i 's/^five$/cinq/' numbers", world.wait_at("go"));
    let plan = Plan::new([task("A", "sed -i 's/^5$/five/' numbers"), task("B", &slow).after(&["A"])]);
    world.plan(&plan.source(&daemon.url()).tables(senior));
    let run = world.start();
    world.until_there("go");
    until("A is delivered", || there(&world, &["for-each-ref", "refs/heads/dev"]).contains("dev"));
    let theirs = push_by_hand(&world, &daemon, "s/^five$/fuenf/");
    world.open_gate("go");
    run.wait().expect(0);
    assert_eq!(world.status("sync-resolve-1"), "COMPLETED");
    let numbers = there(&world, &["show", "dev:numbers"]);
    assert!(numbers.contains("cinq") && numbers.contains("fuenf"), "{numbers}");
    there(&world, &["merge-base", "--is-ancestor", &theirs, "dev"]);
}

#[test]
fn a_daemon_that_is_gone_is_said_and_delivery_goes_on_when_it_is_back() {
    let world = world();
    let daemon = Daemon::start(&world, 0);
    let (port, url) = (daemon.address.port(), daemon.url());
    let plan = Plan::new([task("A", &format!("{}echo a > a", world.wait_at("go")))]).source(&url);
    world.plan(&plan);
    drop(daemon);
    world.run().expect(5).says(&url).says("cannot be reached");
    assert_eq!(world.devstack(&["project", "list", "-o", "json"]).expect(0).json()["projects"], serde_json::json!([]));

    let daemon = Daemon::start(&world, port);
    let run = world.start();
    world.until_there("go");
    drop(daemon);
    world.open_gate("go");
    run.wait().expect(0).says("cannot be brought up to date").says("cannot be reached");
    assert_eq!(world.status("A"), "COMPLETED");

    // A node that stays finds it by itself when it is back.
    let up = world.spawn(&["up", "--runtime", "process"]);
    until("it says why", || {
        let explained = world.devstack(&["task", "explain", "A"]);
        explained.stdout.contains("not delivered yet") && explained.stdout.contains("cannot be reached")
    });
    world.devstack(&["status"]).expect(0).says("The source of shop is not up to date").says("tried again");
    let _daemon = Daemon::start(&world, port);
    until("it is delivered", || world.task("A")["delivered_at"].is_string());
    assert_eq!(there(&world, &["show", "dev:a"]), "a");
    assert!(world.project()["delivery_blocked"].is_null());
    up.signal(Signal::SIGTERM);
    up.wait().expect(130);
}

#[test]
fn a_push_that_the_server_refuses_waits_for_a_person() {
    let world = world();
    let daemon = Daemon::start(&world, 0);
    let hook = served(&world).join("shop.git/hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.plan(&Plan::new([task("A", "echo a > a")]).source(&daemon.url()));
    world.run().expect(0).says("refuses the push").says("allow devstack to push `dev`");
    fs::remove_file(hook).unwrap();
    world.run().expect(0);
    assert_eq!(there(&world, &["show", "dev:a"]), "a");
}
