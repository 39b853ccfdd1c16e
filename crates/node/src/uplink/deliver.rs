//! Delivers results: scans them for secrets (the values never leave this host), uploads them, and then reports them. A
//! result without commits is only reported. A result that cannot be delivered within a limit is given up, so that
//! nobody waits forever. Deliberately absent: keeping anything across a lost connection; the AgentHost reports again on
//! the next connection.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use devstack_dag::{
    attempt::Outcome,
    ids::{AttemptId, Timestamp},
};
use tokio::sync::Semaphore;

use super::{Uplink, bulk::BulkError};
use crate::{agent_host::Host, taskmaster::message::Exit, wire::ToTaskmaster};
use devstack_config::{secrets::Secret, units};
use devstack_repository::{
    bundle_refs,
    held::Guard,
    quarantine::{Expectation, Refusal},
};

/// The first version of messages with which a Taskmaster accepts branches besides a result.
const BRANCHES_SINCE: u16 = 2;

/// Number of concurrent uploads: more would share the same line.
const AT_ONCE: usize = 4;

/// Deliveries in progress.
pub(super) struct Deliveries {
    known: Arc<Mutex<Known>>,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Known {
    under_way: HashSet<AttemptId>,
    /// How long undelivered results have been tried.
    tried: HashMap<AttemptId, Duration>,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self { known: Arc::default(), room: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Deliveries {
    /// Delivers an exit, unless it is already being delivered.
    pub(super) fn deliver(&self, uplink: &Uplink, exit: Exit) {
        if exit.bundle.is_none() {
            return uplink.send(ToTaskmaster::Exited { report: exit.report, result: None });
        }
        if !lock(&self.known).under_way.insert(exit.attempt().clone()) {
            return;
        }
        let (uplink, room, known) = (uplink.clone(), self.room.clone(), self.known.clone());
        uplink.tokio().clone().spawn(async move {
            // This is never closed.
            let _room = room.acquire().await;
            let exit = screened(&uplink, understood(uplink.version(), exit).await).await;
            let message = hand_over(&uplink, &exit, &known).await;
            // From here on, another request delivers it again: a message sent on a session that ends is lost.
            lock(&known).under_way.remove(exit.attempt());
            if let Some(message) = message {
                lock(&known).tried.remove(exit.attempt());
                uplink.send(message);
            }
        });
    }

    /// Nothing of this attempt is needed any more.
    pub(super) fn forget(&self, attempt: &AttemptId) {
        lock(&self.known).tried.remove(attempt);
    }
}

/// Tries until the Taskmaster has the result, or nobody needs to wait for it any more; returns the message to send
/// then. `None` if there is no session, and the next one asks again.
async fn hand_over(uplink: &Uplink, exit: &Exit, known: &Mutex<Known>) -> Option<ToTaskmaster> {
    let (attempt, limit) = (exit.attempt(), uplink.0.delivery);
    loop {
        let before = lock(known).tried.get(attempt).copied().unwrap_or_default();
        let started = Instant::now();
        let sent = tokio::time::timeout(limit.saturating_sub(before), upload(uplink, exit)).await;
        let tried = before + started.elapsed();
        lock(known).tried.insert(attempt.clone(), tried);
        let why = match sent {
            Ok(Ok(message)) => return Some(message),
            Ok(Err(error)) => error,
            Err(_) => BulkError::Unreachable("it does not arrive".into()),
        };
        match after(&why, tried, limit, uplink.is_connected()) {
            Next::Again => {}
            Next::Later => {
                tracing::warn!(%attempt, %why, "cannot deliver the result; it is kept for the next session");
                return None;
            }
            Next::GiveUp(reason) => {
                tracing::error!(%attempt, %why, "giving up the result");
                let mut report = exit.report.clone();
                (report.outcome, report.commit) = (Outcome::Infrastructure(reason), None);
                return Some(ToTaskmaster::Exited { report, result: None });
            }
        }
    }
}

/// What happens to a result that was not delivered.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// During a session nobody asks for it again: it is retried.
    Again,
    /// Without a session the next one asks, and until then the lease bounds the waiting time.
    Later,
    /// The attempt ends without it, uncharged.
    GiveUp(String),
}

fn after(error: &BulkError, tried: Duration, limit: Duration, is_connected: bool) -> Next {
    match error {
        BulkError::Unreachable(why) if tried >= limit => {
            let limit = units::format_duration(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
            Next::GiveUp(format!(
                "its result was not delivered within {limit} ({why}); check that its host can reach the API"
            ))
        }
        BulkError::Unreachable(_) if is_connected => Next::Again,
        BulkError::Unreachable(_) => Next::Later,
        // Waiting improves neither case.
        other => Next::GiveUp(format!("its result cannot be delivered: {other}")),
    }
}

/// Uploads the result; returns the message to send then.
async fn upload(uplink: &Uplink, exit: &Exit) -> Result<ToTaskmaster, BulkError> {
    let mut report = exit.report.clone();
    let result = match &exit.bundle {
        None => None,
        Some(bundle) => match uplink.0.bulk.upload(&report.attempt, bundle).await {
            Ok(uploaded) => Some(uploaded),
            Err(BulkError::TooLarge(why)) => {
                (report.outcome, report.commit) = (Outcome::Policy(why), None);
                None
            }
            // The Taskmaster accepts nothing of this attempt: it answers a report without commits with an order.
            Err(BulkError::Refused(why)) => {
                tracing::warn!(attempt = %report.attempt, %why, "the Taskmaster refused the result");
                let why = format!("its result was refused: {why}");
                (report.outcome, report.commit) = (Outcome::Infrastructure(why), None);
                None
            }
            Err(error) => return Err(error),
        },
    };
    Ok(ToTaskmaster::Exited { report, result })
}

/// A Taskmaster of the previous version accepts only a result with one ref, and would take the base for a result.
/// `version` is that of its messages; without a session the result is delivered in the next one.
async fn understood(version: Option<u16>, mut exit: Exit) -> Exit {
    let older = version.is_some_and(|version| version < BRANCHES_SINCE);
    let Some(bundle) = exit.bundle.clone().filter(|_| older) else { return exit };
    exit.report.left.branches.clear();
    if exit.report.commit == exit.start.base() {
        (exit.bundle, exit.report.commit) = (None, None);
        return exit;
    }
    let reduced = tokio::task::spawn_blocking(move || {
        bundle_refs::rewrite(&bundle, |number, name| (number == 0).then(|| name.to_owned()))
    })
    .await;
    if let Err(error) = reduced.map_err(std::io::Error::other).flatten() {
        // The Taskmaster then refuses it.
        tracing::warn!(attempt = %exit.attempt(), %error, "cannot remove other branches from the result");
    }
    exit
}

/// A result that contains a secret is not sent.
async fn screened(uplink: &Uplink, mut exit: Exit) -> Exit {
    if exit.secrets.is_empty() {
        return exit;
    }
    let Some(host) = uplink.host() else { return exit };
    let limits = uplink.0.limits;
    let judged = tokio::task::spawn_blocking(move || {
        let found = refusal(&host, &exit, limits);
        (exit, found)
    });
    let found;
    (exit, found) = match judged.await {
        Ok(judged) => judged,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let outcome = match found {
        Ok(None) => return exit,
        Ok(Some(Refusal::Policy(finding))) => Outcome::Policy(finding),
        Ok(Some(Refusal::Damaged(why))) => Outcome::Infrastructure(format!("its result was damaged: {why}")),
        // Without the scan it must not leave this host.
        Err(why) => Outcome::Infrastructure(format!("cannot scan its result for secrets: {why}")),
    };
    tracing::warn!(attempt = %exit.attempt(), ?outcome, "the result was refused on its host");
    exit.bundle = None;
    (exit.report.outcome, exit.report.commit) = (outcome, None);
    exit
}

fn refusal(host: &Host, exit: &Exit, limits: devstack_repository::policy::Limits) -> Result<Option<Refusal>, String> {
    let Some(bundle) = &exit.bundle else { return Ok(None) };
    let Some(base) = exit.start.base() else { return Ok(None) };
    let secrets: Vec<Vec<u8>> = exit.secrets.iter().map(Secret::expose).map(|s| s.as_bytes().to_vec()).collect();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let attempt = exit.attempt();
    let must_contain = exit.start.must_contain();
    let expected = Expectation { attempt, base, must_contain, secrets: &secrets, guard: &Guard::NONE, limits, now };
    host.seeds.screen(&attempt.task.project, bundle, &expected)
}

fn lock(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use devstack_dag::{
        attempt::{Branch, Report, Start},
        ids::{HostName, ProjectName, TaskId, TaskRef},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(7200);

    #[test]
    fn a_result_is_tried_on_while_it_may_get_there_and_no_longer() {
        let gone = BulkError::Unreachable("nobody answers".into());
        let early = LIMIT - Duration::from_millis(1);
        assert_eq!(after(&gone, early, LIMIT, true), Next::Again);
        assert_eq!(after(&gone, early, LIMIT, false), Next::Later);
        for is_connected in [true, false] {
            let Next::GiveUp(why) = after(&gone, LIMIT, LIMIT, is_connected) else { panic!("it waits forever") };
            assert!(why.contains("within 2h (nobody answers)"), "{why}");
        }
        let unreadable = BulkError::Io(std::io::Error::other("the disk is gone"));
        let Next::GiveUp(why) = after(&unreadable, Duration::ZERO, LIMIT, true) else {
            panic!("nobody would ask again")
        };
        assert!(why.contains("the disk is gone"), "{why}");
    }

    /// An exit with this result, and its bundle, which has a branch besides the result.
    fn exit(dir: &std::path::Path, commit: &str) -> (Exit, String) {
        let text = format!(
            "# v2 git bundle\n-{ONE} \n{commit} refs/devstack/result\n{TWO} refs/devstack/branches/fix/x\n\nPACK"
        );
        let bundle = dir.join("result.bundle");
        std::fs::write(&bundle, &text).unwrap();
        let task = TaskRef { project: ProjectName::new("p").unwrap(), id: TaskId::new("A").unwrap() };
        let attempt = AttemptId { task, number: 1 };
        let mut report = Report::new(attempt, Outcome::Exited(0));
        report.commit = Some(commit.parse().unwrap());
        report.left.branches = vec![Branch { name: "fix/x".into(), commit: TWO.parse().unwrap() }];
        let base = ONE.parse().unwrap();
        let start = Start::Commit { base, tip: base };
        (Exit { bundle: Some(bundle), start, ..Exit::of(HostName::new("box").unwrap(), report) }, text)
    }

    const ONE: &str = "0101010101010101010101010101010101010101";
    const TWO: &str = "0202020202020202020202020202020202020202";

    #[tokio::test]
    async fn a_taskmaster_of_the_version_before_gets_a_result_that_it_understands() {
        let dir = tempfile::tempdir().unwrap();
        let read = |exit: &Exit| std::fs::read_to_string(exit.bundle.as_ref().unwrap()).unwrap();
        for version in [None, Some(2)] {
            let (exit, text) = exit(dir.path(), TWO);
            let exit = understood(version, exit).await;
            assert_eq!((read(&exit), exit.report.left.branches.len()), (text, 1), "{version:?}");
        }
        let (with_work, text) = exit(dir.path(), TWO);
        let with_work = understood(Some(1), with_work).await;
        let alone = text.replace(&format!("{TWO} refs/devstack/branches/fix/x\n"), "");
        assert_eq!((read(&with_work), with_work.report.left.branches.len()), (alone, 0));
        // Its work is only on other branches: there the base is not a result.
        let (without, _) = exit(dir.path(), ONE);
        let without = understood(Some(1), without).await;
        assert!(without.bundle.is_none() && without.report.commit.is_none());
    }
}
