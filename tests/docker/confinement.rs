//! What an agent in a container may ask of the kernel, and on which engines none is started.

use std::fs;

use devstack::runtime::{Runtime, RuntimeError};
use devstack_dag::attempt::Outcome;
use devstack_shim::{layout, spec::ExitRecord};

use crate::{calls, engine::OwnEngine, harness::*, world::*};

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_system_calls_fail_in_a_container() {
    let Some(w) = world().await else { return };
    let Some(program) = calls::program(w.dir.path()) else { return };
    let script = "while ! test -x calls; do sleep 0.01; done; ./calls; unshare -U true; echo unshared $?";
    w.runtime.start(&shell(1, script)).await.unwrap();
    let workspace = w.attempt_dir(&attempt(1)).join("workspace");
    fs::copy(program, workspace.join("half")).unwrap();
    fs::rename(workspace.join("half"), workspace.join("calls")).unwrap();
    assert_eq!(wait(&w.runtime, &attempt(1)).await.outcome, Outcome::Exited(0));
    let said = log(&w.runtime, &attempt(1)).await;
    let (calls, unshared) = said.split_once("unshare: ").unwrap_or_else(|| panic!("{said}"));
    calls::judge(calls);
    assert!(!unshared.contains("unshared 0"), "{said}");
    // And the supervisor saw that it is so before it started the agent.
    let record = fs::read(w.attempt_dir(&attempt(1)).join(layout::EXIT)).unwrap();
    let measured = serde_json::from_slice::<ExitRecord>(&record).unwrap().measured.unwrap();
    assert_eq!((measured.seccomp, measured.no_new_privileges, measured.users), (2, true, [10_001; 4]));
    let capabilities =
        [measured.inheritable, measured.permitted, measured.effective, measured.bounding, measured.ambient];
    assert_eq!(capabilities, [0; 5]);
}

/// An engine that calls its profile `unconfined` says that it filters nothing.
#[tokio::test(flavor = "multi_thread")]
async fn no_attempt_runs_on_an_engine_whose_filter_is_switched_off() {
    let unconfined = |dir: &std::path::Path| {
        // A word for newer engines; for older ones the name of a file, beside which it is started.
        fs::write(dir.join("unconfined"), "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}").unwrap();
        vec!["--seccomp-profile=unconfined".to_owned()]
    };
    let Some(engine) = OwnEngine::with(false, true, unconfined) else { return };
    let w = engine.world(|_| {}).await;
    let refused = w.runtime.start(&shell(1, "true")).await;
    let Err(RuntimeError::Refused(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("system call filter is off"), "{why}");
    assert!(w.names().is_empty(), "no container was made");
}
