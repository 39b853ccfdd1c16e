//! What keeps agents on the private bridge from the host, its networks and metadata services holds whatever becomes of
//! other firewalls; where it cannot hold, nothing starts. In a name space of networks of the test's own, with an engine
//! in it.

use std::{
    future::Future,
    net::TcpListener,
    process::{Command, Stdio},
};

use devstack::runtime::{DockerRuntime, Runtime, RuntimeError};
use devstack_dag::attempt::Outcome;
use nix::sys::signal::Signal;

use crate::{containers, engine::OwnEngine, harness::*, network::bridged, world::may_run};

/// What clouds answer credentials from, and a private network that nobody allowed.
const FORBIDDEN: [&str; 5] = ["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "10.98.0.1"];
/// A host of the outside, and one of a private network that the configuration lists.
const ALLOWED: [&str; 2] = ["203.0.113.7", "10.99.0.1"];
/// This host, for its neighbours.
const HOST: &str = "203.0.113.1";

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A script that tries to connect to all at once: a line per address that answered.
fn try_all_at_once(targets: &[String]) -> String {
    let each = targets.iter().map(|one| format!("(nc -w 1 {one} </dev/null >/dev/null 2>&1 && echo REACHED {one}) &"));
    each.collect::<Vec<_>>().join("\n") + "\nwait"
}

/// Runs a test in a name space of networks of its own: whatever it starts inherits that.
fn apart(test: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::spawn(test).await.unwrap() });
    });
    thread.join().unwrap();
}

/// A network beyond a cable: every address of the test answers on port 80.
struct Outside {
    name: String,
    listeners: Vec<std::process::Child>,
}

impl Outside {
    fn new() -> Self {
        let name = format!("dvg{}", std::process::id());
        sh(&format!(
            "ip link set lo up
             ip netns add {name}
             ip link add outside type veth peer name host netns {name}
             ip address add {HOST}/24 dev outside
             ip link set outside up
             ip -n {name} link set lo up
             ip -n {name} link set host up
             ip -n {name} address add 203.0.113.2/24 dev host
             ip -n {name} route add default via {HOST}
             ip route add default via 203.0.113.2"
        ));
        for address in FORBIDDEN.iter().chain(&ALLOWED) {
            sh(&format!("ip -n {name} address add {address}/32 dev lo; ip route add {address}/32 via 203.0.113.2"));
        }
        let mut serve = Command::new("ip");
        serve.args(["netns", "exec", &name, "busybox", "nc", "-ll", "-p", "80", "-e", "true"]);
        let listeners = vec![serve.stdin(Stdio::null()).spawn().unwrap()];
        Self { name, listeners }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for listener in &mut self.listeners {
            let _ = listener.kill();
            let _ = listener.wait();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

#[test]
fn the_guard_holds_whatever_becomes_of_other_firewalls() {
    if !may_run() {
        return;
    }
    apart(async {
        let outside = Outside::new();
        let Some(mut engine) = OwnEngine::here() else { return };
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || for _ in listener.incoming() {});
        let w = engine.world(|config| config.bridge_reach = vec!["10.99.0.0/24".to_owned()]).await;
        let at_80 = |addresses: &[&str]| addresses.iter().map(|one| format!("{one} 80")).collect::<Vec<_>>();
        let (forbidden, allowed) = ([at_80(&FORBIDDEN), vec![format!("{HOST} {port}")]].concat(), at_80(&ALLOWED));
        let script = try_all_at_once(&[forbidden.clone(), allowed.clone()].concat());
        let mut expected: Vec<_> = allowed.iter().map(|one| format!("REACHED {one}")).collect();
        expected.sort();
        // A container that is not ours reaches all of it, once the neighbours know each other.
        w.docker(&["network", "create", "--subnet", "10.77.0.0/24", "witness"]);
        let witness = || w.docker(&["run", "--rm", "--network", "witness", "devstack/minimal", "sh", "-c", &script]);
        let all = forbidden.len() + allowed.len();
        let seen = (0..20).map(|_| witness()).find(|said| said.lines().count() == all);
        assert!(seen.is_some(), "not everything answers to others: {}", witness());

        let holds = async |number: u32, runtime: &DockerRuntime| {
            assert_eq!(run(runtime, &bridged(number, &script)).await.outcome, Outcome::Exited(0));
            let said = log(runtime, &attempt(number)).await;
            let mut reached: Vec<_> = said.lines().map(str::to_owned).collect();
            reached.sort();
            assert_eq!(reached, expected, "attempt {number}");
        };
        holds(1, &w.runtime).await;
        // The engine puts its own chains first again.
        engine.end(Signal::SIGTERM);
        engine.start();
        let well = async { w.runtime.health().wait_for(Option::is_none).await.map(drop).unwrap() };
        tokio::time::timeout(GENEROUS, well).await.unwrap();
        holds(2, &w.runtime).await;
        // A person opens everything, in every chain that others filter by.
        sh("iptables -I INPUT -j ACCEPT; iptables -I FORWARD -j ACCEPT; iptables -t raw -I PREROUTING -j ACCEPT");
        holds(3, &w.runtime).await;
        // A table that lost a rule, or is gone with all others, is made again.
        let table = format!("devstack_{}", w.installation);
        sh(&format!("nft flush chain inet {table} prerouting"));
        holds(4, &w.runtime).await;
        sh(&format!("nft delete table inet {table}"));
        holds(5, &w.runtime).await;

        // Nobody can set it: refused in words, and only by a person's word not.
        let next = |unguarded: bool| {
            containers::runtime(w.dir.path(), &w.socket, move |config| {
                config.nft = "/nonexistent/nft".into();
                config.unguarded_bridge = unguarded;
            })
        };
        let refused = next(false).await.start(&bridged(6, "true")).await;
        let Err(RuntimeError::Refused(why)) = &refused else { panic!("{refused:?}") };
        assert!(why.contains("nft is not installed") && why.contains("unguarded_bridge"), "{why}");
        assert!(!w.names().contains(&w.name(&attempt(6))), "no container was made");
        assert_eq!(run(&next(true).await, &bridged(7, "true")).await.outcome, Outcome::Exited(0));
        drop((w, engine, outside));
    });
}

/// Rules that an earlier version set in iptables go when the table is there, and nobody else's do.
#[test]
fn rules_of_an_earlier_version_are_removed() {
    if !may_run() {
        return;
    }
    apart(async {
        sh("ip link set lo up");
        let Some(engine) = OwnEngine::here() else { return };
        let w = engine.world(|_| {}).await;
        let rule = |chain: &str, of: &str| {
            sh(&format!("iptables -I {chain} -i dvs-x -m comment --comment 'devstack {of}' -j DROP"));
        };
        for chain in ["INPUT", "FORWARD"] {
            rule(chain, &w.installation);
            rule(chain, &format!("{}2", w.installation));
        }
        assert_eq!(run(&w.runtime, &bridged(1, "true")).await.outcome, Outcome::Exited(0));
        let left = sh("iptables -S");
        let of = |name: &str| left.lines().filter(|line| line.contains(&format!("\"devstack {name}\""))).count();
        assert_eq!((of(&w.installation), of(&format!("{}2", w.installation))), (0, 2), "{left}");
        drop((w, engine));
    });
}
