//! What every runtime promises, over each of them. Where a runtime cannot run here, its tests say so loudly.

use devstack::runtime::{
    IMAGES_MAX, Isolation, Runtime, RuntimeError, Sandbox, State,
    fake::{Act, FakeRuntime},
};
use devstack_dag::attempt::Outcome;

use crate::{containers::Containers, harness::*};

/// A runtime with something to keep alive beside it.
enum Subject {
    Process(Scratch),
    Docker(Containers),
    Fake(FakeRuntime),
}

impl Subject {
    fn runtime(&self) -> &dyn Runtime {
        match self {
            Self::Process(scratch) => &scratch.runtime,
            Self::Docker(containers) => &containers.runtime,
            Self::Fake(fake) => fake,
        }
    }
}

async fn subjects() -> Vec<Subject> {
    let mut subjects = vec![Subject::Process(Scratch::new(Sandbox::Off)), Subject::Fake(fake())];
    subjects.extend(sandboxed().map(Subject::Process));
    subjects.extend(Containers::new(|_| {}).await.map(Subject::Docker));
    subjects
}

/// Plays the few commands that the suite uses.
fn fake() -> FakeRuntime {
    FakeRuntime::new(|job| match job.command.last().map_or("", String::as_str) {
        "sleep 1000" => Act::Run,
        script => {
            let code = script.strip_prefix("exit ").and_then(|code| code.parse().ok()).unwrap_or(0);
            Act::End(FakeRuntime::ended(Outcome::Exited(code)))
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_code_is_reported_and_can_be_asked_for_again() {
    for subject in subjects().await {
        let runtime = subject.runtime();
        assert_eq!(run(runtime, &shell(1, "exit 0")).await.outcome, Outcome::Exited(0));
        assert_eq!(run(runtime, &shell(2, "exit 75")).await.outcome, Outcome::Exited(75));
        assert_eq!(wait(runtime, &attempt(2)).await.outcome, Outcome::Exited(75));
        assert_eq!(wait(runtime, &attempt(1)).await.outcome, Outcome::Exited(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_runs_until_it_is_stopped() {
    for subject in subjects().await {
        let runtime = subject.runtime();
        runtime.start(&shell(1, "sleep 1000")).await.unwrap();
        let state = runtime.list().await.unwrap().pop().unwrap().state;
        assert_eq!(state, State::Running);
        runtime.stop(&attempt(1)).await.unwrap();
        assert_eq!(wait(runtime, &attempt(1)).await.outcome, Outcome::Stopped);
        // Too late to change anything.
        runtime.stop(&attempt(1)).await.unwrap();
        assert_eq!(wait(runtime, &attempt(1)).await.outcome, Outcome::Stopped);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_again_changes_nothing() {
    for subject in subjects().await {
        let runtime = subject.runtime();
        runtime.start(&shell(1, "exit 4")).await.unwrap();
        runtime.start(&shell(1, "exit 5")).await.unwrap();
        assert_eq!(wait(runtime, &attempt(1)).await.outcome, Outcome::Exited(4));
        runtime.start(&shell(1, "exit 6")).await.unwrap();
        assert_eq!(wait(runtime, &attempt(1)).await.outcome, Outcome::Exited(4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_listed_until_it_is_removed() {
    for subject in subjects().await {
        let runtime = subject.runtime();
        run(runtime, &shell(1, "exit 0")).await;
        run(runtime, &shell(2, "exit 1")).await;
        let mut listed = runtime.list().await.unwrap();
        listed.sort_by_key(|observed| observed.attempt.number);
        assert_eq!(listed.iter().map(|o| o.attempt.number).collect::<Vec<_>>(), [1, 2]);
        assert!(listed.iter().all(|observed| observed.state == State::Ended));
        runtime.remove(&attempt(1)).await.unwrap();
        runtime.remove(&attempt(2)).await.unwrap();
        runtime.remove(&attempt(2)).await.unwrap();
        assert_eq!(runtime.list().await.unwrap(), []);
    }
}

/// Bridges and images are for reports: asked at any time, bounded, and never a reason to wait.
#[tokio::test(flavor = "multi_thread")]
async fn bridges_and_images_are_told_within_their_bounds() {
    for subject in subjects().await {
        let runtime = subject.runtime();
        let shards = runtime.shards();
        assert!(shards.iter().all(|shard| shard.ports <= shard.capacity && !shard.name.is_empty()), "{shards:?}");
        let images = runtime.images();
        assert!(images.len() <= IMAGES_MAX && images.iter().all(|image| image.contains("sha256:")), "{images:?}");
        // Whoever has images has bridges: both belong to containers.
        assert_eq!(images.is_empty(), shards.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_attempt_is_said_to_be_unknown() {
    for subject in subjects().await {
        let runtime = subject.runtime();
        assert!(matches!(runtime.wait(&attempt(9)).await, Err(RuntimeError::Unknown(_))));
        assert!(matches!(runtime.stop(&attempt(9)).await, Err(RuntimeError::Unknown(_))));
        assert!(matches!(runtime.harvest(&attempt(9)).await, Err(RuntimeError::Unknown(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_isolation_is_said() {
    let off = Scratch::new(Sandbox::Off);
    assert!(matches!(off.runtime.describe().isolation, Isolation::Unsandboxed { .. }));
    if let Some(on) = sandboxed() {
        assert!(matches!(on.runtime.describe().isolation, Isolation::Sandboxed { .. }));
    }
}
