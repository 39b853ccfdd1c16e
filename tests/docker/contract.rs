//! "What an agent finds" of the outer contract, and how its end is told.

use std::fs;

use devstack::runtime::{Runtime, RuntimeError};
use devstack_dag::attempt::Outcome;

use crate::{containers::tools, harness::*, world::*};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_finds_what_the_contract_promises() {
    let Some(w) = world().await else { return };
    let script = "cat; echo; pwd; cat $DEVSTACK_PROMPT_FILE $DEVSTACK_TASK_FILE; echo; id -u; id -g; hostname; \
                  touch here $HOME/a /tmp/b $DEVSTACK_OUT/c && rm $DEVSTACK_OUT/c && echo '{\"summary\":\"s\"}' > /devstack/out/result.json; \
                  ls -A $DEVSTACK_WORKSPACE; env | sort";
    let mut job = shell(1, script);
    job.prompt = "do it\n".into();
    let ended = run(&w.runtime, &job).await;
    assert_eq!(ended.outcome, Outcome::Exited(0));
    assert_eq!(ended.result_json.as_deref(), Some(b"{\"summary\":\"s\"}\n".as_slice()));
    let expected = format!(
        "do it\n\n/workspace\ndo it\n{{\"id\":\"T-001\"}}\n10001\n10001\ndev1\nhere\n\
         DEVSTACK_AGENT=dev1\nDEVSTACK_ATTEMPT=1\nDEVSTACK_ATTEMPT_KEY={}/shop/T-001/1\nDEVSTACK_OUT=/devstack/out\n\
         DEVSTACK_PROJECT=shop\nDEVSTACK_PROMPT_FILE=/devstack/in/prompt.md\nDEVSTACK_ROLE=dev\n\
         DEVSTACK_TASK_FILE=/devstack/in/task.json\nDEVSTACK_TASK_ID=T-001\nDEVSTACK_WORKSPACE=/workspace\n\
         HOME=/home/devstack\nLANG=C.UTF-8\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         PWD=/workspace\nSHLVL=1\nTMPDIR=/tmp\n",
        w.installation
    );
    assert_eq!(log(&w.runtime, &attempt(1)).await, expected);
    w.remove(&attempt(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_keeps_its_own_path_and_is_recorded_by_digest() {
    let Some(w) = world().await else { return };
    let name = tools(&w.socket);
    let mut job = shell(1, "echo $PATH");
    job.image = w.runtime.image(Some(&name)).await.unwrap().map(Into::into);
    assert!(job.image.as_ref().unwrap().starts_with(&format!("{name}@sha256:")), "{:?}", job.image);
    assert_eq!(run(&w.runtime, &job).await.outcome, Outcome::Exited(0));
    assert_eq!(log(&w.runtime, &attempt(1)).await, "/opt/tools:/usr/bin:/bin\n");
    let missing = w.runtime.image(Some("no/such:image")).await;
    assert!(matches!(&missing, Err(RuntimeError::Refused(why)) if why.contains("docker build -t no/such:image")));
    (job.attempt, job.image) = (attempt(2), Some(format!("no/such@sha256:{}", "0".repeat(64)).into()));
    assert!(matches!(w.runtime.start(&job).await, Err(RuntimeError::Refused(_))));
    assert_eq!(w.names().len(), 1, "nothing was made for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_end_is_told_as_what_it_is() {
    let Some(w) = world().await else { return };
    let mut timed = shell(3, "trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done");
    timed.timeout_ms = 1000;
    let mut deaf = shell(4, "trap '' TERM; while :; do sleep 0.05; done");
    (deaf.timeout_ms, deaf.grace_ms) = (500, 200);
    let mut idle = shell(5, "sleep 1001");
    idle.idle_timeout_ms = 500;
    let jobs = [shell(1, "kill -SEGV $$"), job(2, &["no-such-agent", "--fast"]), timed, deaf, idle];
    let ended = futures::future::join_all(jobs.iter().map(|job| run(&w.runtime, job))).await;
    let outcomes: Vec<_> = ended.into_iter().map(|ended| ended.outcome).collect();
    assert_eq!(outcomes[0], Outcome::Signalled(11));
    assert!(matches!(&outcomes[1], Outcome::Infrastructure(why) if why.contains("`no-such-agent` was not found")));
    assert_eq!(outcomes[2..], [Outcome::TimedOut, Outcome::TimedOut, Outcome::Stalled]);
    assert!(log(&w.runtime, &attempt(3)).await.contains("asked"));
    for number in 1..=5 {
        let lines = said_of(&attempt(number));
        assert!(
            lines.iter().any(|line| line.contains("its container ended") && line.contains("outcome=")),
            "{number}: {lines:?}"
        );
    }
}

/// Somebody who stops a container by hand takes nothing from the task.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_ended_by_hand_is_nobodys_fault() {
    let Some(w) = world().await else { return };
    for (number, how) in [(1, "stop"), (2, "kill"), (3, "rm --force")] {
        w.runtime.start(&shell(number, "touch up; sleep 1001")).await.unwrap();
        w.until_made(&attempt(number), "up").await;
        let name = w.name(&attempt(number));
        w.docker(&how.split(' ').chain([name.as_str()]).collect::<Vec<_>>());
        let ended = wait(&w.runtime, &attempt(number)).await;
        assert!(matches!(ended.outcome, Outcome::Infrastructure(_)), "{how}: {ended:?}");
        w.remove(&attempt(number)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_and_resumed_where_it_was_left() {
    let Some(w) = world().await else { return };
    let script = "echo one; while ! test -e go; do sleep 0.02; done; echo two";
    w.runtime.start(&shell(1, script)).await.unwrap();
    let mut reader = w.runtime.log(&attempt(1), 0, true).await.unwrap();
    let first = tokio::time::timeout(GENEROUS, reader.next()).await.unwrap().unwrap();
    assert_eq!(first.as_deref(), Some(b"one\n".as_slice()));
    let left_at = reader.offset();
    drop(reader);
    fs::write(w.attempt_dir(&attempt(1)).join("workspace/go"), "").unwrap();
    let mut reader = w.runtime.log(&attempt(1), left_at, true).await.unwrap();
    // Following ends when somebody waited for the end: that is what settles it.
    let one = attempt(1);
    let (ended, rest) = tokio::join!(wait(&w.runtime, &one), async {
        let mut rest = Vec::new();
        while let Some(bytes) = reader.next().await.unwrap() {
            rest.extend(bytes);
        }
        rest
    });
    assert_eq!((ended.outcome, rest.as_slice()), (Outcome::Exited(0), b"two\n".as_slice()));
}
