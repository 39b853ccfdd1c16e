//! Where the values of secrets are: in the agent's environment, and nowhere else.

use std::{fs, path::Path, process::Command};

use devstack::runtime::Runtime;
use devstack_dag::attempt::Outcome;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::{harness::*, world::*};

const VALUE: &str = "hunter2-secret/99&x";

/// Files below these directories that hold the value.
fn holding(dirs: &[&Path]) -> String {
    let found = Command::new("grep").args(["-rlaF", "--", "hunter2-secret"]).args(dirs).output().unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_reaches_its_agent_and_nothing_that_stays() {
    let Some(w) = world().await else { return };
    let encoded = VALUE.replace('/', "%2F").replace('&', "%26");
    let script = format!(
        "echo plain $TOKEN; printf %s \"$TOKEN\" | base64; printf 'a:%s' \"$TOKEN\" | base64; echo {encoded}; \
         printf hunter; sleep 0.3; echo '2-secret/99&x'; touch up; while ! test -e go; do sleep 0.02; done; [ ${{#TOKEN}} = 19 ]"
    );
    let mut job = shell(1, &script);
    job.secrets = vec![secret("TOKEN", VALUE)];
    w.runtime.start(&job).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    // While it runs: on a tmpfs, for its user alone, read-only inside.
    let [vault] = w.vaults().try_into().unwrap();
    assert_eq!(statfs(&vault).unwrap().filesystem_type(), TMPFS_MAGIC);
    assert_ne!(holding(&[&vault]), "");
    let shown = w.docker(&["inspect", &w.name(&attempt(1))]);
    assert!(!shown.contains("hunter2"));
    let engine = w.docker(&["info", "--format", "{{.DockerRootDir}}"]);
    let containers = Path::new(engine.trim()).join("containers").join(w.inspect(&attempt(1), "{{.Id}}"));
    let upper = w.inspect(&attempt(1), "{{.GraphDriver.Data.UpperDir}}");
    let kept = [w.dir.path(), &containers, Path::new(&upper)];
    assert!(containers.is_dir() && fs::exists(&upper).unwrap());
    // The agent's own script has the encoded form in its order; the plain value is nowhere.
    assert_eq!(holding(&[&containers, Path::new(&upper), &w.dir.path().join("state/bin")]), "");
    fs::write(w.attempt_dir(&attempt(1)).join("workspace/go"), "").unwrap();
    let ended = wait(&w.runtime, &attempt(1)).await;
    assert_eq!(ended.outcome, Outcome::Exited(0));
    let text = log(&w.runtime, &attempt(1)).await;
    assert!(text.starts_with("plain ***\n***"), "{text}");
    let coded = ["hunter2", "aHVudGVyMi", "h1bnRlcjIt", "aHVudGVyM", "%2F99"];
    assert!(coded.iter().all(|form| !text.contains(form) && !ended.tail.contains(form)), "{text}");
    // After its end, before anybody removes it.
    assert_eq!(fs::read_dir(&vault).unwrap().count(), 0);
    let order = fs::read_to_string(w.attempt_dir(&attempt(1)).join("spec.json")).unwrap();
    assert!(!order.contains(VALUE));
    let workspace = w.attempt_dir(&attempt(1));
    fs::write(workspace.join("spec.json"), "").unwrap();
    assert_eq!(holding(&kept), "");
    w.remove(&attempt(1)).await;
    w.runtime.tidy().await;
    assert_eq!(w.vaults(), Vec::<std::path::PathBuf>::new());
}

/// The files of secrets are not for the agent to change, and are gone for the next attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_cannot_be_changed_or_kept_for_another() {
    let Some(w) = world().await else { return };
    let mut job = shell(
        1,
        "cd /run/devstack-secrets; (echo x > TOKEN) 2>/dev/null && echo WROTE; rm -f TOKEN 2>/dev/null; test -e TOKEN || echo GONE; touch new 2>/dev/null && echo NEW; stat -c %a . TOKEN",
    );
    job.secrets = vec![secret("TOKEN", VALUE)];
    run(&w.runtime, &job).await;
    assert_eq!(log(&w.runtime, &attempt(1)).await, "700\n400\n");
    run(&w.runtime, &shell(2, "echo [$TOKEN]; ls /run/devstack-secrets 2>/dev/null && echo LEFT")).await;
    assert_eq!(log(&w.runtime, &attempt(2)).await, "[]\n");
}
