//! Benchmarks of links between two processes over mTLS on loopback: latency one way and round trip, throughput, and how
//! many sessions one load process can hold (`-- sessions 1000`; each session needs two descriptors, see `ulimit -n`).
//! Deliberately absent: assertions. It prints its measurements.
#![allow(clippy::unwrap_used)] // a benchmark fails by panicking

#[path = "../tests/links/pki.rs"]
#[allow(dead_code)]
mod pki;

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use devstack_cluster::{Incarnation, Limits, Link, LinkConfig, Message, NodeName, Receiver, Reply, Session};
use pki::{Ca, Identity};
use tokio::sync::Semaphore;

const PATIENT: Duration = Duration::from_secs(60);
const CALLS: usize = 20_000;
const MESSAGES: usize = 200_000;
/// Half of the window, so that the credit never runs out.
const BATCH: usize = 2_048;
const BODY: usize = 200;

/// Measures how long each request was in flight.
#[derive(Default)]
struct Clock {
    one_way: Mutex<Vec<Duration>>,
    connected: Option<Arc<Semaphore>>,
}

fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap()
}

impl Receiver for Clock {
    fn connected(&self, _: &Session) {
        if let Some(connected) = &self.connected {
            connected.add_permits(1);
        }
    }

    fn disconnected(&self, session: &Session, why: &str) {
        // Connections of a load process that is already finished do not matter.
        if self.connected.is_some() {
            println!("the session with {} ended: {why}", session.peer);
        }
    }

    fn received(&self, _: &Session, _: Message) {}

    fn called(&self, _: &Session, message: Message, reply: Reply) {
        let sent = Duration::from_nanos(u64::from_be_bytes(*message.body.first_chunk().unwrap()));
        self.one_way.lock().unwrap().push(now().saturating_sub(sent));
        reply.send(Ok(Vec::new())).unwrap();
    }
}

fn config(name: &str, identity: &Identity, receiver: Arc<Clock>) -> LinkConfig {
    LinkConfig {
        name: NodeName::new(name).unwrap(),
        incarnation: Incarnation::random().unwrap(),
        cluster: "bench".to_owned(),
        server: identity.server(),
        client: identity.client(),
        admit: Arc::new(|_| Ok(())),
        listen: None,
        join: Vec::new(),
        limits: Limits::default(),
        about: [].into(),
        receiver,
    }
}

fn question() -> Vec<u8> {
    let mut body = vec![0; BODY];
    body[..8].copy_from_slice(&(now().as_nanos() as u64).to_be_bytes());
    body
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what}: p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0));
}

/// The process that sends requests, with `sessions` links.
async fn load(dir: &Path, join: &str, sessions: usize) {
    let connected = Arc::new(Semaphore::new(0));
    let receiver = Arc::new(Clock { connected: Some(connected.clone()), ..Clock::default() });
    let (begun, mut links) = (Instant::now(), Vec::new());
    for n in 0..sessions {
        let name = format!("load-{n}");
        let mut config = config(&name, &Identity::load(&dir.join(&name)), receiver.clone());
        config.join = vec![join.to_owned()];
        links.push(Link::start(config).await.unwrap());
    }
    connected.acquire_many(sessions as u32).await.unwrap().forget();
    println!("{sessions} sessions from one process after {:?}", begun.elapsed());
    let server = NodeName::new("server").unwrap();
    if let [link] = &links[..] {
        return alone(link, &server).await;
    }
    let asked = Instant::now();
    for link in &links {
        link.call(&server, 1, question(), PATIENT).await.unwrap();
    }
    println!("a call over each, one after the other: {:?}", asked.elapsed());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("the load process: {}", status.lines().find(|line| line.starts_with("VmRSS")).unwrap());
}

async fn alone(link: &Link, server: &NodeName) {
    let mut there_and_back = Vec::new();
    for _ in 0..CALLS {
        let asked = Instant::now();
        link.call(server, 1, question(), PATIENT).await.unwrap();
        there_and_back.push(asked.elapsed());
    }
    print("there and back", there_and_back);
    let begun = Instant::now();
    for _ in 0..MESSAGES / BATCH {
        (0..BATCH).for_each(|_| link.send(server, 1, vec![0; BODY]).unwrap());
        link.call(server, 1, question(), PATIENT).await.unwrap();
    }
    println!("{:.0} messages of {BODY} B a second", MESSAGES as f64 / begun.elapsed().as_secs_f64());
    let (begun, room) = (Instant::now(), Arc::new(Semaphore::new(64)));
    for _ in 0..CALLS {
        let permit = room.clone().acquire_owned().await.unwrap();
        let (link, server) = (link.clone(), server.clone());
        tokio::spawn(async move {
            link.call(&server, 1, question(), PATIENT).await.unwrap();
            drop(permit);
        });
    }
    room.acquire_many(64).await.unwrap().forget();
    println!("{:.0} calls a second, 64 under way", CALLS as f64 / begun.elapsed().as_secs_f64());
}

/// The process that answers.
async fn serve(sessions: usize) {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    for n in 0..sessions {
        let at = dir.path().join(format!("load-{n}"));
        std::fs::create_dir(&at).unwrap();
        ca.issue(&format!("load-{n}")).save(&at);
    }
    let receiver = Arc::new(Clock::default());
    let mut config = config("server", &ca.issue("server"), receiver.clone());
    config.listen = Some(([127, 0, 0, 1], 0).into());
    let link = Link::start(config).await.unwrap();
    let address = link.local_addr().unwrap().to_string();
    let mut load = Command::new(std::env::current_exe().unwrap());
    load.args(["load", dir.path().to_str().unwrap(), &address, &sessions.to_string()]).stdin(Stdio::null());
    assert!(tokio::task::spawn_blocking(move || load.status().unwrap().success()).await.unwrap());
    if sessions == 1 {
        let mut one_way = std::mem::take(&mut *receiver.one_way.lock().unwrap());
        one_way.truncate(CALLS);
        print("one way", one_way);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["load", dir, join, sessions] => runtime.block_on(load(dir.as_ref(), join, sessions.parse().unwrap())),
        ["sessions", sessions] => runtime.block_on(serve(sessions.parse().unwrap())),
        _ => runtime.block_on(serve(1)),
    }
}
