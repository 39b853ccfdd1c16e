//! Peers in separate processes: killed, frozen, restarted under the same name. Each process is this test program again;
//! its environment tells it to be a node. Deliberately absent: assertions on time; the shortened limits show that an
//! event happens at all.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use devstack_cluster::{Limits, Session};

use crate::{
    node::{ECHO, Node, Told, name, run},
    pki::{Ca, Identity},
};

const PATIENT: Duration = Duration::from_secs(60);

/// Silence is noticed soon, but a busy machine does not look frozen.
fn quick() -> Limits {
    Limits { ping: Duration::from_millis(200), read_idle: Duration::from_secs(3), ..Limits::default() }
}

/// A node `b` in a separate process.
struct Process(Child);

impl Process {
    fn start(dir: &Path, join: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["processes::a_node", "--exact", "--nocapture"])
            .env("LINK_TEST_IDENTITY", dir)
            .env("LINK_TEST_JOIN", join)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap().success());
    }

    /// Waits for a line that it prints.
    fn says(&mut self, what: &str) {
        let out = BufReader::new(self.0.stdout.take().unwrap());
        assert!(out.lines().any(|line| line.unwrap().contains(what)), "{what}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Not a test: the code that a started process runs.
#[test]
fn a_node() {
    let (Ok(dir), Ok(join)) = (std::env::var("LINK_TEST_IDENTITY"), std::env::var("LINK_TEST_JOIN")) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut node = Node::joining("b", &Identity::load(dir.as_ref()), quick(), &join).await;
        let stdin = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let told = async {
            loop {
                if let Told::Disconnected(_, why) = node.next().await {
                    println!("disconnected: {why}");
                }
            }
        };
        tokio::select! {
            _ = stdin => {}
            () = told => {}
        }
    });
}

struct World {
    dir: tempfile::TempDir,
    a: Node,
}

impl World {
    async fn new(limits: Limits) -> Self {
        let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
        ca.issue("b").save(dir.path());
        Self { a: Node::listening("a", &ca.issue("a"), limits).await, dir }
    }

    async fn start(&mut self) -> (Process, Session) {
        let process = Process::start(self.dir.path(), &self.a.address());
        (process, self.a.connected().await)
    }

    async fn echoes(&self) {
        let answer = self.a.link.call(&name("b"), ECHO, b"there?".to_vec(), PATIENT).await;
        assert_eq!(answer, Ok(b"there?".to_vec()));
    }
}

#[test]
fn a_killed_peer_is_seen_and_its_next_run_is_another() {
    run(async {
        // No keepalive can detect it within this time.
        let mut world = World::new(Limits { read_idle: PATIENT, ..Limits::default() }).await;
        let (process, first) = world.start().await;
        world.echoes().await;
        drop(process);
        let (ended, why) = world.a.disconnected().await;
        assert_eq!((ended, why.as_str()), (first.clone(), "the peer closed the connection"));
        let (_process, second) = world.start().await;
        assert_ne!(first.incarnation, second.incarnation);
        world.echoes().await;
    });
}

#[test]
fn a_frozen_peer_is_seen_and_comes_back() {
    run(async {
        let mut world = World::new(quick()).await;
        let (process, first) = world.start().await;
        process.signal("-STOP");
        let (ended, why) = world.a.disconnected().await;
        assert_eq!(ended, first);
        assert!(why.starts_with("nothing arrived for"), "{why}");
        process.signal("-CONT");
        let second = world.a.connected().await;
        assert_eq!(first.incarnation, second.incarnation);
        world.echoes().await;
    });
}

#[test]
fn a_restart_replaces_the_run_that_lingers_and_fences_it() {
    run(async {
        let mut world = World::new(Limits { read_idle: PATIENT, write_stall: PATIENT, ..Limits::default() }).await;
        let (mut frozen, first) = world.start().await;
        // A node can only report the end of a session that it knows.
        world.echoes().await;
        frozen.signal("-STOP");
        let (_process, second) = world.start().await;
        assert_ne!(first.incarnation, second.incarnation);
        frozen.signal("-CONT");
        frozen.says("disconnected:");
        // It dials repeatedly, and is refused.
        for _ in 0..500 {
            world.echoes().await;
        }
        assert_eq!(world.a.link.peers(), [second]);
    });
}
