//! What agents write, as the engine's log drivers have it: redacted, bounded, and each line with where it is from.
//! Deliberately absent: drivers that this machine has no receiver for (journald).

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    net::{TcpListener, TcpStream, UdpSocket},
    process::Command,
};

use devstack::{
    config::node::{ContainerLog, LogDriver},
    runtime::{DockerConfig, Job, Runtime, RuntimeError},
    telemetry::trace_id,
};
use devstack_dag::attempt::Outcome;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{containers::Containers, engine::OwnEngine, harness::*, world::*};

const VALUE: &str = "hunter2-secret/99&x";

/// Says something, then a secret, and stays until it is let go.
fn talker() -> Job {
    let mut job =
        shell(1, "echo hello; echo token $TOKEN; touch up; while ! test -e go; do sleep 0.02; done; echo bye");
    job.secrets = vec![secret("TOKEN", VALUE)];
    job
}

fn to(driver: LogDriver, options: &[(&str, &str)]) -> impl FnOnce(&mut DockerConfig) + use<> {
    let options: BTreeMap<String, String> =
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    move |config| (config.log, config.host) = (ContainerLog { driver, options }, "box2".to_owned())
}

fn log_config(w: &Containers) -> Value {
    serde_json::from_str(&w.inspect(&attempt(1), "{{json .HostConfig.LogConfig}}")).unwrap()
}

async fn let_go(w: &Containers) {
    fs::write(w.attempt_dir(&attempt(1)).join("workspace/go"), "").unwrap();
    let ended = wait(&w.runtime, &attempt(1)).await;
    assert_eq!(ended.outcome, Outcome::Exited(0));
    assert_eq!(log(&w.runtime, &attempt(1)).await, "hello\ntoken ***\nbye\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_keeps_the_lines_of_an_agent_redacted_and_bounded() {
    let Some(w) = world_with(|config| config.host = "box2".to_owned()).await else { return };
    w.runtime.start(&talker()).await.unwrap();
    let name = w.name(&attempt(1));
    until("its lines", || w.docker(&["logs", &name]) == "hello\ntoken ***\n").await;
    let labels = "devstack.project,devstack.task,devstack.attempt,devstack.host,devstack.trace.id";
    let options = json!({ "labels": labels, "max-file": "3", "max-size": "10m" });
    assert_eq!(log_config(&w), json!({ "Type": "json-file", "Config": options }));
    let first = w.docker(&["logs", "--details", "--tail", "1", &name]);
    let trace = format!("devstack.trace.id={}", trace_id("shop", "T-001"));
    for part in ["devstack.project=shop", "devstack.task=T-001", "devstack.attempt=1", "devstack.host=box2", &trace] {
        assert!(first.contains(part), "{part}: {first}");
    }
    let_go(&w).await;
    until("its last words", || w.docker(&["logs", &name]) == "hello\ntoken ***\nbye\n").await;
    w.remove(&attempt(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gelf_gets_each_line_with_where_it_is_from() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(GENEROUS)).unwrap();
    let address = format!("udp://{}", receiver.local_addr().unwrap());
    let Some(w) = world_with(to(LogDriver::Gelf, &[("gelf-address", &address)])).await else { return };
    w.runtime.start(&talker()).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    let_go(&w).await;
    for expected in ["hello", "token ***", "bye"] {
        let mut buffer = [0; 8192];
        let count = receiver.recv(&mut buffer).expect("a line");
        let text = String::from_utf8_lossy(&buffer[..count]);
        assert!(!text.contains("hunter2"), "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["short_message"], expected, "{text}");
        assert_eq!(line["_tag"], "devstack.shop.T-001.1");
        let of = ["project", "task", "attempt", "host", "trace.id"].map(|label| &line[format!("_devstack.{label}")]);
        assert_eq!(json!(of), json!(["shop", "T-001", "1", "box2", trace_id("shop", "T-001")]));
    }
    w.remove(&attempt(1)).await;
}

/// What somebody at this address receives, until it holds this.
fn received(mut from: TcpStream, last: &str) -> String {
    from.set_read_timeout(Some(GENEROUS)).unwrap();
    let (mut all, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if text.contains(last) {
            return text;
        }
        let count = from.read(&mut buffer).expect("more of it");
        assert!(count > 0, "it ended: {text}");
        all.extend_from_slice(&buffer[..count]);
    }
}

/// Runs a talker whose driver sends to a receiver of the test's own; what `receive` says that this received.
async fn sent(
    change: impl FnOnce(&mut DockerConfig),
    receive: impl FnOnce() -> String + Send + 'static,
) -> Option<String> {
    let w = world_with(change).await?;
    let received = std::thread::spawn(receive);
    w.runtime.start(&talker()).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    let_go(&w).await;
    let text = tokio::task::spawn_blocking(|| received.join().unwrap()).await.unwrap();
    w.remove(&attempt(1)).await;
    assert!(text.contains("hello") && text.contains("token ***") && !text.contains("hunter2"), "{text}");
    Some(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn syslog_gets_lines_whose_tag_says_where_they_are_from() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(GENEROUS)).unwrap();
    let address = format!("udp://{}", receiver.local_addr().unwrap());
    let three = move || {
        let mut buffer = [0; 8192];
        let mut next =
            || receiver.recv(&mut buffer).map(|count| String::from_utf8_lossy(&buffer[..count]).into_owned());
        (0..3).map(|_| next().expect("a line")).collect::<Vec<String>>().join("\n")
    };
    let change = to(LogDriver::Syslog, &[("syslog-address", &address)]);
    let Some(text) = sent(change, three).await else { return };
    let tag = format!("devstack.shop.T-001.1.box2.{}", trace_id("shop", "T-001"));
    assert_eq!(text.matches(&tag).count(), 3, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fluentd_gets_each_line_with_where_it_is_from() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let change = to(LogDriver::Fluentd, &[("fluentd-address", &receiver.local_addr().unwrap().to_string())]);
    let Some(text) = sent(change, move || received(receiver.accept().unwrap().0, "bye")).await else { return };
    // The texts of MessagePack stand in it as they are.
    let trace = trace_id("shop", "T-001");
    for part in ["devstack.shop.T-001.1", "devstack.project", "devstack.attempt", "devstack.trace.id", "box2", &trace] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// A receiver that is not there keeps no attempt from running, nor from ending.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_to_listen() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let Some(w) = world_with(to(LogDriver::Fluentd, &[("fluentd-address", &free)])).await else { return };
    w.runtime.start(&talker()).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    assert_eq!(log_config(&w)["Type"], "fluentd");
    let_go(&w).await;
    w.remove(&attempt(1)).await;
    // This driver connects before the container starts. The configuration takes no TCP; a name that nobody knows fails
    // alike.
    let syslog = format!("tcp://{free}");
    let w = world_with(to(LogDriver::Syslog, &[("syslog-address", &syslog)])).await.unwrap();
    w.runtime.start(&talker()).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    assert_eq!(log_config(&w)["Type"], "json-file");
    let said = said_of(&attempt(1)).join("\n");
    assert!(said.contains("json-file") && said.contains("log_driver=\"syslog\""), "{said}");
    let_go(&w).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_none_the_engine_has_nothing() {
    let Some(w) = world_with(to(LogDriver::None, &[])).await else { return };
    w.runtime.start(&talker()).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    assert_eq!(log_config(&w)["Type"], "none");
    let host = format!("unix://{}", w.socket);
    let read = Command::new("docker").args(["-H", &host, "logs", &w.name(&attempt(1))]).output().unwrap();
    assert!(!read.status.success() && read.stdout.is_empty());
    let_go(&w).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_does_not_know_is_named_with_its_key() {
    let Some(w) = world_with(to(LogDriver::JsonFile, &[("no-such-option", "1")])).await else { return };
    let refused = w.runtime.start(&shell(1, "exit 0")).await.unwrap_err();
    let RuntimeError::Refused(why) = &refused else { panic!("{refused:?}") };
    let parts = ["log_driver = \"json-file\" of [agent_host]", "no-such-option", "fix them in node.toml"];
    assert!(parts.iter().all(|part| why.contains(part)), "{why}");
    assert_eq!(w.names(), Vec::<String>::new());
}

/// A receiver that is there and takes nothing: what it has no room for is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_nothing_keeps_no_attempt() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", receiver.local_addr().unwrap());
    let Some(w) = world_with(to(LogDriver::Gelf, &[("gelf-address", &address)])).await else { return };
    let ended = run(&w.runtime, &shell(1, "yes 0123456789abcde | head -n 200000; echo last")).await;
    assert_eq!((ended.outcome, log_config(&w)["Type"].as_str()), (Outcome::Exited(0), Some("gelf")));
    assert!(ended.tail.ends_with("last\n"));
    w.remove(&attempt(1)).await;
    drop(receiver);
}

/// The engine hangs, and with it everybody who reads: an agent that floods goes on, and its log is whole.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_keeps_no_agent_that_talks() {
    let Some(engine) = OwnEngine::new(false) else { return };
    let w = engine.world(|_| {}).await;
    let script = "touch up; while ! test -e go; do sleep 0.02; done; yes 0123456789abcde | head -n 200000; touch done";
    w.runtime.start(&shell(1, script)).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    engine.signal(Signal::SIGSTOP);
    fs::write(w.attempt_dir(&attempt(1)).join("workspace/go"), "").unwrap();
    w.until_made(&attempt(1), "done").await;
    engine.signal(Signal::SIGCONT);
    assert_eq!(wait(&w.runtime, &attempt(1)).await.outcome, Outcome::Exited(0));
    assert_eq!(log(&w.runtime, &attempt(1)).await.len(), 200_000 * 16);
}
