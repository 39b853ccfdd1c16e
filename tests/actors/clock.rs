//! The wall clock stepped by an hour, both ways, while a backoff and a timeout are pending: nothing is early, nothing
//! is late, and no time that people see runs backwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use devstack::{
    config::{
        node::{self, NodeConfig},
        plan_file,
        secrets::Secrets,
    },
    gateway::{Backend, Origin, TaskQuery, dto},
    node::{Mode, Node, Surroundings},
    runtime::{
        Runtime,
        fake::{Act, FakeRuntime},
    },
};
use devstack_dag::{attempt::Outcome, ids::Timestamp};
use futures::StreamExt;

use crate::node::GENEROUS;

const HOUR_MS: i64 = 3_600_000;
/// The engine's first backoff after a charged attempt.
const BACKOFF: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);

/// How far the wall clock is off. One test changes it.
static OFF_BY: AtomicI64 = AtomicI64::new(0);

fn stepped() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Timestamp(i64::try_from(now).unwrap().saturating_add(OFF_BY.load(Ordering::SeqCst)).unsigned_abs())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stepped_wall_clock_makes_nothing_early_or_late() {
    for step in [HOUR_MS, -HOUR_MS] {
        backoff_holds(step).await;
        timeout_holds(step).await;
    }
}

/// The first attempt of every task fails, the second does not.
async fn backoff_holds(step: i64) {
    let runtime =
        FakeRuntime::new(|job| Act::End(FakeRuntime::ended(Outcome::Exited(i32::from(job.attempt.number == 1)))));
    let mut watched = Watched::start(Some(Arc::new(runtime))).await;
    watched.submit("30s", "true").await;
    watched.see("attempt-ended").await;
    OFF_BY.fetch_add(step, Ordering::SeqCst);
    // The backoff began a moment before its fact was seen.
    let began = Instant::now();
    watched.see("attempt-started").await;
    let waited = began.elapsed();
    assert!(waited > BACKOFF / 2, "step {step}: the retry came after {waited:?}");
    watched.see("task-completed").await;
    watched.end().await;
}

/// A real process, ended by its timeout.
async fn timeout_holds(step: i64) {
    let mut watched = Watched::start(None).await;
    watched.submit("2s", "sleep 600").await;
    watched.see("attempt-started").await;
    let began = Instant::now();
    OFF_BY.fetch_add(step, Ordering::SeqCst);
    let ended = watched.see("attempt-ended").await;
    let lasted = began.elapsed();
    assert!(ended.message.contains("timed-out"), "{}", ended.message);
    assert!(lasted > TIMEOUT / 2, "step {step}: it ended after {lasted:?}");
    watched.end().await;
}

/// A node, its facts, and the times seen so far.
struct Watched {
    dir: tempfile::TempDir,
    node: Node,
    backend: Arc<dyn Backend>,
    facts: devstack::gateway::FactStream,
    latest: Option<dto::Task>,
}

impl Watched {
    async fn start(runtime: Option<Arc<dyn Runtime>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        let surroundings = Surroundings { clock: stepped, runtime, ..Surroundings::default() };
        let mut config = NodeConfig::embedded(&dir.path().join(".devstack"));
        config.agent_host.runtime = node::Runtime::Process;
        let node = Node::start_in(&config, Secrets::default(), Mode::Dispatch, surroundings).await.unwrap();
        let backend = node.backend().unwrap();
        let facts = backend.facts(None).await.unwrap();
        Self { dir, node, backend, facts, latest: None }
    }

    async fn submit(&self, timeout: &str, command: &str) {
        let file = self.dir.path().join("plan.toml");
        let plan = format!(
            "[project]\nname = \"clock\"\n[agents.dev]\ncommand = [\"sh\", \"-c\", \"{command}\"]\n[defaults]\n\
             role = \"dev\"\ntimeout = \"{timeout}\"\ngrace = \"1s\"\n[[task]]\nid = \"C-1\"\ntitle = \"t\"\nprompt = \"p\"\n"
        );
        std::fs::write(&file, plan).unwrap();
        self.backend.submit(plan_file::load(&file).unwrap(), Origin::Here, None).await.unwrap();
    }

    /// The next fact of this kind; on the way no time runs backwards.
    async fn see(&mut self, kind: &str) -> dto::Fact {
        loop {
            let next = tokio::time::timeout(GENEROUS, self.facts.next()).await;
            let fact = next.unwrap_or_else(|_| panic!("{kind} never came")).unwrap().unwrap();
            self.look().await;
            if fact.kind == kind {
                return fact;
            }
        }
    }

    async fn look(&mut self) {
        let query = TaskQuery { limit: 1, ..TaskQuery::default() };
        let Some(now) = self.backend.tasks(query).await.ok().and_then(|mut page| page.tasks.pop()) else { return };
        assert!(now.created_at <= now.updated_at, "{now:?}");
        if let Some(before) = &self.latest {
            assert_eq!(before.created_at, now.created_at);
            assert!(before.updated_at <= now.updated_at, "{} then {}", text(before), text(&now));
        }
        self.latest = Some(now);
    }

    async fn end(self) {
        self.node.stop(true).await;
    }
}

fn text(task: &dto::Task) -> String {
    serde_json::to_string(&task.updated_at).unwrap()
}
