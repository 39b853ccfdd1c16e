//! Several private bridges: each is filled before the next is made, none beyond its capacity, and no container of one
//! reaches a container of another. Counted from outside, by the engine's own command line.

use std::net::TcpListener;

use devstack::{
    config::node::Shard as Configured,
    runtime::{DockerConfig, DockerRuntime, Runtime, RuntimeError, Shard, docker::image},
};
use devstack_dag::attempt::Outcome;

use crate::{
    containers::{self, Containers},
    harness::*,
    network::{addresses, bridged, guarded, try_all},
    world::*,
};

const STAY: &str = "touch up; sleep 1001";

/// `default` with room for two, `second` with room for one.
fn tiny(config: &mut DockerConfig) {
    let shard = |name: &str, capacity| Configured { name: name.to_owned(), subnet: None, capacity };
    config.shards = vec![shard("default", 2), shard("second", 1)];
}

/// Networks of the installation, with how many containers are on each, by the engine.
fn networks(w: &Containers) -> Vec<(String, usize)> {
    let filter = format!("label=devstack.installation={}", w.installation);
    let listed = w.docker(&["network", "ls", "--filter", &filter, "--format", "{{.Name}}"]);
    let mut all: Vec<_> = listed
        .lines()
        .map(|name| {
            let on = w.docker(&["network", "inspect", name, "--format", "{{len .Containers}}"]);
            (name.to_owned(), on.trim().parse().unwrap())
        })
        .collect();
    all.sort();
    all
}

fn ports(runtime: &DockerRuntime) -> Vec<(String, u32, u32)> {
    runtime.shards().into_iter().map(|Shard { name, ports, capacity, .. }| (name, ports, capacity)).collect()
}

fn told(default: u32, second: u32) -> Vec<(String, u32, u32)> {
    vec![("default".to_owned(), default, 2), ("second".to_owned(), second, 1)]
}

async fn end(w: &Containers, number: u32) {
    w.runtime.stop(&attempt(number)).await.unwrap();
    wait(&w.runtime, &attempt(number)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_is_filled_before_the_next_is_made_and_never_beyond() {
    let Some(w) = world_with(tiny).await else { return };
    let [first, second] = ["", "-second"].map(|rest| format!("devstack-{}{rest}", w.installation));
    let health = w.runtime.health();
    for number in 1..=2 {
        w.runtime.start(&bridged(number, STAY)).await.unwrap();
    }
    assert_eq!(networks(&w), [(first.clone(), 2)], "the second is not needed yet");
    // Four at once for the one port that is left.
    let jobs: Vec<_> = (3..=6).map(|number| bridged(number, STAY)).collect();
    let started = futures::future::join_all(jobs.iter().map(|job| w.runtime.start(job))).await;
    let refused = started.iter().filter_map(|one| one.as_ref().err());
    assert_eq!(refused.filter(|error| matches!(error, RuntimeError::NoRoom(_))).count(), 3, "{started:?}");
    assert_eq!(networks(&w), [(first.clone(), 2), (second.clone(), 1)]);
    assert_eq!(w.names().len(), 3, "no container was made for what was refused");
    assert_eq!(ports(&w.runtime), told(2, 1));
    let why = health.borrow().clone().unwrap();
    assert!(why.contains("default 2 of 2, second 1 of 1") && why.contains("[agent_host]"), "{why}");
    // What needs no bridge needs no port.
    assert_eq!(run(&w.runtime, &shell(9, "true")).await.outcome, Outcome::Exited(0));
    assert!(health.borrow().is_some());
    // A port that comes free is taken again, and people are told.
    end(&w, 1).await;
    assert_eq!((health.borrow().clone(), ports(&w.runtime)), (None, told(1, 1)));
    w.runtime.start(&bridged(7, STAY)).await.unwrap();
    assert_eq!((networks(&w), ports(&w.runtime)), (vec![(first, 2), (second, 1)], told(2, 1)));
    let subnets: Vec<_> = w.runtime.shards().into_iter().map(|shard| shard.subnet.unwrap()).collect();
    assert!(subnets[0] != subnets[1] && subnets.iter().all(|subnet| subnet.starts_with("10.231.")), "{subnets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_on_different_bridges_reach_neither_each_other_nor_the_host() {
    let Some(w) = world_with(tiny).await else { return };
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || for _ in listener.incoming() {});
    let serve = "touch up; nc -ll -p 9000 -e true & wait";
    for number in 1..=2 {
        w.runtime.start(&bridged(number, serve)).await.unwrap();
        w.until_made(&attempt(number), "up").await;
    }
    let ip = |number| w.inspect(&attempt(number), "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    let mut targets = vec![format!("{} 9000", ip(1)), format!("{} 9000", ip(2))];
    targets.extend(addresses().iter().map(|address| format!("{address} {port}")));
    let ended = run(&w.runtime, &bridged(3, &try_all(&targets))).await;
    let on = w.inspect(&attempt(3), "{{.HostConfig.NetworkMode}}");
    assert_eq!(on, format!("devstack-{}-second", w.installation));
    assert_eq!((ended.outcome, log(&w.runtime, &attempt(3)).await.as_str()), (Outcome::Exited(0), "done\n"));
    // They do answer, to themselves.
    for (number, target) in (1..=2).zip(&targets) {
        let own = try_all(std::slice::from_ref(target));
        let said = w.docker(&["exec", &w.name(&attempt(number)), "sh", "-c", &own]);
        assert!(said.contains("REACHED"), "{target}: {said}");
    }
}

/// Also those of a node that knew no shards: they are on the bridge that it named.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_node_counts_what_an_earlier_one_started() {
    let Some(w) = world().await else { return };
    for number in 1..=2 {
        w.runtime.start(&bridged(number, STAY)).await.unwrap();
    }
    let next = containers::runtime(w.dir.path(), &w.socket, tiny).await;
    assert_eq!(next.list().await.unwrap().len(), 2);
    assert_eq!(ports(&next), told(2, 0));
    next.start(&bridged(3, STAY)).await.unwrap();
    assert_eq!(w.inspect(&attempt(3), "{{.HostConfig.NetworkMode}}"), format!("devstack-{}-second", w.installation));
    // Without a look of its own, too.
    let another = containers::runtime(w.dir.path(), &w.socket, tiny).await;
    assert!(matches!(another.start(&bridged(4, STAY)).await, Err(RuntimeError::NoRoom(_))));
    // One that somebody else ends is counted no more.
    w.docker(&["kill", &w.name(&attempt(1))]);
    another.start(&bridged(5, STAY)).await.unwrap();
    assert_eq!(ports(&another), told(2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_any_bridge() {
    let Some(w) = world_with(tiny).await else { return };
    for number in 1..=3 {
        w.runtime.start(&bridged(number, STAY)).await.unwrap();
    }
    assert_eq!((networks(&w).len(), guarded(&w)), (2, true));
    for number in 1..=2 {
        end(&w, number).await;
        w.remove(&attempt(number)).await;
    }
    // One is in use; the other goes.
    w.runtime.tidy().await;
    assert_eq!((networks(&w).len(), guarded(&w)), (1, true));
    end(&w, 3).await;
    w.remove(&attempt(3)).await;
    // By a node that is configured otherwise meanwhile.
    let next = containers::runtime(w.dir.path(), &w.socket, |_| {}).await;
    next.tidy().await;
    assert_eq!((networks(&w), guarded(&w)), (vec![], false));
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_told_by_name_and_digest() {
    let Some(w) = world().await else { return };
    let resolved = w.runtime.image(Some(image::MINIMAL)).await.unwrap().unwrap();
    assert!(w.runtime.images().contains(&resolved), "{resolved}: {:?}", w.runtime.images());
}
