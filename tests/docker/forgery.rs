//! The supervisor is the agent's user, so an agent can write where its supervisor writes. It gains nothing by that.

use std::{fs, path::Path};

use devstack::runtime::Runtime;
use devstack_dag::attempt::Outcome;
use devstack_shim::layout;

use crate::{harness::*, world::*};

/// A record that says all went well.
const FORGED: &str = r#"{"version":1,"ending":{"Exited":0},"elapsed_ms":1,"output_bytes":0,"left_out_bytes":0,"harvest":{"tip":"1111111111111111111111111111111111111111","error":null},"processes_refused":0}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_end_is_not_believed_in_any_shape() {
    let Some(w) = world().await else { return };
    let put = format!("cat > f <<'EOF'\n{FORGED}\nEOF\n");
    let shapes = [
        "cat f > /devstack/shim/exit.json",
        "rm /devstack/shim/exit.json; cp f /devstack/shim/exit.json; chmod 0 /devstack/shim/exit.json",
        "rm /devstack/shim/exit.json; ln -s /workspace/f /devstack/shim/exit.json",
        "rm /devstack/shim/exit.json; mkfifo /devstack/shim/exit.json",
        "rm /devstack/shim/exit.json; mkdir -p /devstack/shim/exit.json/a; chmod 0 /devstack/shim/exit.json",
        // Written over and over until the very end.
        "setsid sh -c 'while :; do rm -f /devstack/shim/exit.json; cp f /devstack/shim/exit.json; done' & sleep 0.3",
    ];
    let jobs: Vec<_> =
        shapes.iter().zip(1..).map(|(shape, number)| shell(number, &format!("{put}{shape}; exit 3"))).collect();
    let ended = futures::future::join_all(jobs.iter().map(|job| run(&w.runtime, job))).await;
    for (shape, ended) in shapes.iter().zip(ended) {
        assert!(matches!(ended.outcome, Outcome::Exited(3) | Outcome::Infrastructure(_)), "{shape}: {ended:?}");
        assert_eq!(ended.harvest.commits, None, "{shape}");
    }
    assert!(jobs.iter().all(|job| !said_of(&job.attempt).is_empty()));
    for job in &jobs {
        w.remove(&job.attempt).await;
    }
}

/// A supervisor that was killed wrote nothing: what lies there is the agent's.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_beside_a_killed_supervisor_is_not_believed() {
    let Some(w) = world().await else { return };
    let script = format!("cat > /devstack/shim/exit.json <<'EOF'\n{FORGED}\nEOF\ntouch up; sleep 1001");
    w.runtime.start(&shell(1, &script)).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    w.docker(&["kill", &w.name(&attempt(1))]);
    let ended = wait(&w.runtime, &attempt(1)).await;
    assert!(matches!(ended.outcome, Outcome::Infrastructure(_)) && ended.harvest.again, "{ended:?}");
}

/// A forged end does not make a stop come too late.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_says_it_is_over_is_still_stopped() {
    let Some(w) = world().await else { return };
    let script = format!("cat > /devstack/shim/exit.json <<'EOF'\n{FORGED}\nEOF\ntouch up; sleep 1001");
    w.runtime.start(&shell(1, &script)).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    w.runtime.stop(&attempt(1)).await.unwrap();
    assert_eq!(wait(&w.runtime, &attempt(1)).await.outcome, Outcome::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_leads_nowhere_and_stays_within_its_limit() {
    let Some(w) = world_with(|config| config.log_max = 1 << 20).await else { return };
    let private = w.dir.path().join("private");
    fs::write(&private, "OF-THE-HOST").unwrap();
    let link = format!(
        "rm /devstack/shim/log; ln -s {} /devstack/shim/log; ln -s {0} /devstack/out/result.json",
        private.display()
    );
    let jobs = [
        shell(1, &link),
        shell(2, "head -c 50000000 /dev/zero >> /devstack/shim/log"),
        shell(3, "rm /devstack/shim/log; mkfifo /devstack/shim/log /devstack/out/result.json"),
        shell(4, "rm /devstack/shim/pid; ln -s '1 1 -' /devstack/shim/pid; exit 6"),
    ];
    let ended = futures::future::join_all(jobs.iter().map(|job| run(&w.runtime, job))).await;
    assert!(ended.iter().all(|ended| !ended.tail.contains("OF-THE-HOST") && ended.result_json.is_none()), "{ended:?}");
    assert_eq!(ended[3].outcome, Outcome::Exited(6));
    let kept = |number: u32| w.dir.path().join(format!("kept-{number}"));
    for number in 1..=4 {
        let mut reader = w.runtime.log(&attempt(number), 0, false).await.unwrap();
        if let Ok(Some(bytes)) = reader.next().await {
            assert!(!String::from_utf8_lossy(&bytes).contains("OF-THE-HOST"));
        }
        w.runtime.keep_log(&attempt(number), &kept(number)).await.unwrap();
        assert!(size(&kept(number)) <= (1 << 20) + 100, "{number}: {}", size(&kept(number)));
        w.remove(&attempt(number)).await;
    }
    assert_eq!(fs::read_to_string(&private).unwrap(), "OF-THE-HOST");
}

fn size(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |file| if file.is_file() { file.len() } else { u64::MAX })
}

/// What a hostile agent leaves in its directories goes with them.
#[tokio::test(flavor = "multi_thread")]
async fn closed_and_deep_trees_are_removed() {
    let Some(w) = world().await else { return };
    let closed = "mkdir -p a/b/c; touch a/b/c/f; chmod 0 a/b/c a/b a . /devstack/out /devstack/shim";
    let deep = "i=0; while [ $i -lt 1500 ]; do mkdir deeper; mv deep deeper/ 2>/dev/null; mv deeper deep; i=$((i+1)); done; \
                find deep -type d -exec chmod 0 {} + 2>/dev/null; chmod 0 deep";
    let links = "ln -s / root; ln -s .. up; mkfifo pipe; touch -- -rf '*' \"$(printf 'a\\nb')\"; ln -s /etc/passwd out";
    for (number, script) in (1..).zip([closed, deep, links]) {
        run(&w.runtime, &shell(number, script)).await;
        assert!(w.attempt_dir(&attempt(number)).join(layout::LOG).exists());
        w.remove(&attempt(number)).await;
    }
}
