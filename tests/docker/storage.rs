//! The engine's disk is full.

use std::{
    fs::{self, File},
    io::Write,
};

use devstack::runtime::{Runtime, RuntimeError};
use devstack_dag::attempt::Outcome;

use crate::{engine::OwnEngine, harness::*};

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_room_charges_nobody() {
    let Some(engine) = OwnEngine::new(false) else { return };
    let w = engine.world(|_| {}).await;
    w.runtime.start(&shell(1, "touch up; while ! test -e go; do sleep 0.02; done; exit 3")).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    let filler = engine.path("data/filler");
    let mut file = File::create(&filler).unwrap();
    // To the last byte.
    for size in [1 << 20, 4096, 1] {
        while file.write(&vec![0; size]).is_ok_and(|written| written > 0) {}
    }
    drop(file);
    let refused = w.runtime.start(&shell(2, "exit 4")).await;
    assert!(
        matches!(&refused, Err(RuntimeError::Failed { source, .. }) if source.to_string().contains("no space")),
        "{refused:?}"
    );
    assert!(w.runtime.health().borrow().is_none(), "it answers");
    // What runs ends as what it is.
    fs::write(w.attempt_dir(&attempt(1)).join("workspace/go"), "").unwrap();
    assert_eq!(wait(&w.runtime, &attempt(1)).await.outcome, Outcome::Exited(3));
    fs::remove_file(&filler).unwrap();
    assert_eq!(run(&w.runtime, &shell(2, "exit 4")).await.outcome, Outcome::Exited(4));
    w.remove(&attempt(1)).await;
    w.remove(&attempt(2)).await;
}
