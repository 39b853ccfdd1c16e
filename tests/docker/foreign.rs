//! What is not ours beside what is: never listed, never touched, whatever it is called.

use std::process::Command;

use devstack::runtime::{Runtime, RuntimeError, State};
use devstack_dag::attempt::Outcome;

use crate::{containers::Containers, harness::*, world::*};

const IMAGE: &str = "devstack/minimal:latest";

/// A container that somebody else runs, until it is dropped.
struct Foreign<'a> {
    w: &'a Containers,
    id: String,
}

impl<'a> Foreign<'a> {
    fn new(w: &'a Containers, name: &str, labels: &[String]) -> Self {
        let labels = labels.iter().flat_map(|label| ["--label", label]);
        let args = ["run", "-d", "--network=none", "--name", name].into_iter().chain(labels);
        let args = args.chain([IMAGE, "sleep", "1001"]).collect::<Vec<_>>();
        Self { w, id: w.docker(&args).trim().to_owned() }
    }

    fn runs(&self) -> bool {
        self.w.docker(&["inspect", "--format", "{{.State.Running}} {{.RestartCount}}", &self.id]).trim() == "true 0"
    }
}

impl Drop for Foreign<'_> {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", &self.id]).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_containers_are_left_alone_whatever_they_are_called() {
    let Some(w) = world().await else { return };
    let i = &w.installation;
    let of = |installation: &str| {
        ["project=shop", "task=T-001", "attempt=1"]
            .map(|l| format!("devstack.{l}"))
            .into_iter()
            .chain([format!("devstack.installation={installation}")])
            .collect::<Vec<_>>()
    };
    let others = [
        Foreign::new(&w, &format!("plain-{i}"), &[]),
        // Its name continues ours.
        Foreign::new(&w, &format!("devstack.{i}.shop.T-001.11"), &[]),
        Foreign::new(&w, &format!("devstack.{i}.shop.T-001.1.more"), &of("another")),
        // The name of the harvest of an attempt of ours.
        Foreign::new(&w, &format!("devstack.{i}.shop.T-001.1.harvest"), &of("another")),
    ];
    assert_eq!(w.runtime.list().await.unwrap(), []);
    w.runtime.start(&shell(1, "sleep 1001")).await.unwrap();
    assert_eq!(w.runtime.list().await.unwrap().len(), 1);
    w.runtime.stop(&attempt(1)).await.unwrap();
    assert_eq!(wait(&w.runtime, &attempt(1)).await.outcome, Outcome::Stopped);
    for number in [1, 11, 2] {
        w.runtime.remove(&attempt(number)).await.unwrap();
    }
    w.runtime.tidy().await;
    assert!(others.iter().all(Foreign::runs), "a foreign container was touched");
}

/// The name of an attempt is another's: it is not run, said so, and the other is left alone; later it is ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_said_and_can_be_had_later() {
    let Some(w) = world().await else { return };
    let other = Foreign::new(&w, &w.name(&attempt(1)), &[]);
    let refused = w.runtime.start(&shell(1, "exit 4")).await;
    let Err(RuntimeError::Failed { source, .. }) = refused else { panic!("{refused:?}") };
    assert!(source.to_string().contains("remove or rename it"), "{source}");
    w.runtime.remove(&attempt(1)).await.unwrap();
    assert!(other.runs());
    w.docker(&["rename", &other.id, &format!("renamed-{}", w.installation)]);
    let ended = run(&w.runtime, &shell(1, "exit 4")).await;
    assert!(other.runs() && ended.outcome == Outcome::Exited(4), "{ended:?}");
}

/// Ours is gone and another has its name: waiting, stopping and the deadline do not reach the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_under_our_name_is_not_taken_for_ours() {
    let Some(w) = world_with(|config| config.margin = std::time::Duration::ZERO).await else { return };
    let mut job = shell(1, "touch up; sleep 1001");
    (job.timeout_ms, job.grace_ms) = (3_000, 0);
    w.runtime.start(&job).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    w.docker(&["rm", "-f", &w.name(&attempt(1))]);
    let other = Foreign::new(&w, &w.name(&attempt(1)), &[]);
    let listed = w.runtime.list().await.unwrap();
    w.runtime.stop(&attempt(1)).await.unwrap();
    let ended = wait(&w.runtime, &attempt(1)).await;
    w.runtime.remove(&attempt(1)).await.unwrap();
    assert!(other.runs(), "the other was ended");
    assert_eq!(listed[0].state, State::Ended);
    assert_eq!(ended.outcome, Outcome::Stopped);
}
