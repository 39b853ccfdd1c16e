//! What a container reaches: nothing, or the outside through the private bridge, and never this host or a neighbour.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use devstack::runtime::{Job, Runtime, RuntimeError};
use devstack_dag::{attempt::Outcome, plan::Network};

use crate::{containers::Containers, harness::*, world::*};

const IMAGE: &str = "devstack/minimal:latest";

/// A script that tries to connect: a line per address that answered.
pub(crate) fn try_all(targets: &[String]) -> String {
    let tries =
        targets.iter().map(|target| format!("nc -w 2 {target} </dev/null >/dev/null 2>&1 && echo REACHED {target}"));
    format!("{}; echo done", tries.collect::<Vec<_>>().join("; "))
}

pub(crate) fn bridged(number: u32, script: &str) -> Job {
    let mut job = shell(number, script);
    job.network = Network::Bridge;
    job
}

/// This host's own addresses, all of version 4.
pub(crate) fn addresses() -> Vec<String> {
    let shown = Command::new("ip").args(["-4", "-o", "address"]).output().unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let of = |line: &str| line.split_ascii_whitespace().nth(3)?.split('/').next().map(str::to_owned);
    text.lines().filter_map(of).filter(|address| !address.starts_with("127.")).collect()
}

/// Does the firewall have the table of its bridges?
pub(crate) fn guarded(w: &Containers) -> bool {
    let shown = Command::new("nft").args(["list", "tables"]).output().unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    text.lines().any(|line| line == format!("table inet devstack_{}", w.installation))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_out_of_reach_on_the_bridge_and_without_one() {
    let Some(w) = world().await else { return };
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || for _ in listener.incoming() {});
    // The bridge and its address exist once something is on it.
    assert_eq!(run(&w.runtime, &bridged(1, "true")).await.outcome, Outcome::Exited(0));
    let gateway = w.docker(&[
        "network",
        "inspect",
        &format!("devstack-{}", w.installation),
        "--format",
        "{{(index .IPAM.Config 0).Gateway}}",
    ]);
    let own = addresses();
    assert!(own.contains(&gateway.trim().to_owned()) || !gateway.contains('.'), "{own:?} {gateway}");
    let targets: Vec<_> = own.iter().map(|address| format!("{address} {port}")).collect();
    // A container that is not ours reaches the host at every address that is still there: other tests remove bridges.
    let witness = w.docker(&["run", "--rm", IMAGE, "sh", "-c", &try_all(&targets)]);
    let reached = |target: &String| witness.lines().any(|line| line == format!("REACHED {target}"));
    let still = addresses();
    let is_there = |target: &&String| still.iter().any(|address| target.starts_with(&format!("{address} ")));
    assert!(targets.iter().filter(is_there).all(reached) && targets.iter().any(reached), "{targets:?} {witness}");
    for (number, network) in [(2, Network::Bridge), (3, Network::None)] {
        let mut job = shell(number, &format!("{}; cat /proc/net/dev | grep -c :", try_all(&targets)));
        job.network = network;
        assert_eq!(run(&w.runtime, &job).await.outcome, Outcome::Exited(0));
        let devices = if network == Network::Bridge { 2 } else { 1 };
        assert_eq!(log(&w.runtime, &attempt(number)).await, format!("done\n{devices}\n"));
        assert!(!said_of(&job.attempt).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_on_the_bridge_do_not_reach_each_other() {
    let Some(w) = world().await else { return };
    w.runtime.start(&bridged(1, "touch up; nc -ll -p 9000 -e true & wait")).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    let foreign = w.docker(&["run", "-d", "--rm", IMAGE, "nc", "-ll", "-p", "9000", "-e", "true"]).trim().to_owned();
    let ip = |name: &str| {
        w.docker(&["inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name])
            .trim()
            .to_owned()
    };
    let targets = [format!("{} 9000", ip(&w.name(&attempt(1)))), format!("{} 9000", ip(&foreign))];
    let witness = w.docker(&["run", "--rm", IMAGE, "sh", "-c", &try_all(&targets[1..])]);
    let ended = run(&w.runtime, &bridged(2, &try_all(&targets))).await;
    w.docker(&["rm", "-f", &foreign]);
    assert!(witness.contains("REACHED"), "{witness}");
    assert_eq!((ended.outcome, log(&w.runtime, &attempt(2)).await.as_str()), (Outcome::Exited(0), "done\n"));
}

/// A name space behind an address like those where clouds answer with credentials.
struct Cloud {
    name: String,
    listener: Child,
}

impl Cloud {
    const ADDRESS: &str = "169.254.77.77";

    fn new() -> Self {
        let name = format!("dvs{}", std::process::id());
        let run = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            assert!(Command::new("ip").args(&words).status().unwrap().success(), "ip {line}");
        };
        run(&format!("netns add {name}"));
        run(&format!("link add {name} type veth peer name cloud netns {name}"));
        run(&format!("address add 169.254.77.1/24 dev {name}"));
        run(&format!("link set {name} up"));
        run(&format!("-n {name} address add {}/24 dev cloud", Self::ADDRESS));
        run(&format!("-n {name} link set cloud up"));
        run(&format!("-n {name} route add default via 169.254.77.1"));
        let mut serve = Command::new("ip");
        serve.args(["netns", "exec", &name, "busybox", "nc", "-ll", "-p", "80", "-e", "true"]);
        Self { listener: serve.stdin(Stdio::null()).spawn().unwrap(), name }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
        let _ = Command::new("ip").args(["link", "del", &self.name]).status();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clouds_metadata_is_out_of_reach() {
    let Some(w) = world().await else { return };
    let cloud = Cloud::new();
    let targets = [format!("{} 80", Cloud::ADDRESS)];
    let witness = || w.docker(&["run", "--rm", IMAGE, "sh", "-c", &try_all(&targets)]);
    let answers = tokio::task::block_in_place(|| (0..50).any(|_| witness().contains("REACHED")));
    assert!(answers, "the address answers to others");
    let ended = run(&w.runtime, &bridged(1, &try_all(&targets))).await;
    assert_eq!((ended.outcome, log(&w.runtime, &attempt(1)).await.as_str()), (Outcome::Exited(0), "done\n"));
    drop(cloud);
}

/// A bridge that is made again is guarded again; what is tidied away leaves nothing, and takes nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_and_its_rules_come_and_go_together() {
    let Some(w) = world().await else { return };
    let network = format!("devstack-{}", w.installation);
    let there = || w.docker(&["network", "ls", "--format", "{{.Name}}"]).lines().any(|name| name == network);
    for number in 1..=2 {
        assert_eq!(run(&w.runtime, &bridged(number, "true")).await.outcome, Outcome::Exited(0));
        assert!(there(), "round {number}");
        assert!(guarded(&w), "round {number}");
        // In use: it stays.
        let guest = w.docker(&["run", "-d", "--rm", "--network", &network, IMAGE, "sleep", "1001"]).trim().to_owned();
        w.runtime.tidy().await;
        assert!(there() && guarded(&w));
        w.docker(&["rm", "-f", &guest]);
        w.runtime.tidy().await;
        assert!(!there() && !guarded(&w));
    }
    w.docker(&["network", "create", &network]);
    w.runtime.tidy().await;
    let foreign = there();
    let refused = w.runtime.start(&bridged(3, "true")).await;
    w.docker(&["network", "rm", &network]);
    assert!(foreign, "somebody else's network was removed");
    assert!(matches!(&refused, Err(RuntimeError::Failed { source, .. }) if source.to_string().contains("is not ours")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subnet_that_is_taken_is_said_and_nothing_is_charged() {
    let taken = format!("10.230.{}.0/24", std::process::id() % 256);
    let Some(w) = world_with(|config| config.shards[0].subnet = Some(taken.clone())).await else { return };
    let other = format!("test-{}", w.installation);
    w.docker(&["network", "create", "--subnet", &taken, &other]);
    let refused = w.runtime.start(&bridged(1, "true")).await;
    w.docker(&["network", "rm", &other]);
    let Err(RuntimeError::Failed { source, .. }) = refused else { panic!("{refused:?}") };
    assert!(source.to_string().contains(&taken), "{source}");
    // And once it is free, it works.
    assert_eq!(run(&w.runtime, &bridged(1, "true")).await.outcome, Outcome::Exited(0));
}
