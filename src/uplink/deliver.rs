//! Results on their way: looked at for secrets whose values never leave this host, uploaded, and then reported. One that
//! has no commits is only reported.
//! Deliberately absent: keeping anything over a lost connection; the AgentHost reports again on the next one.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use devstack_dag::{
    attempt::{Outcome, Start},
    ids::{AttemptId, Timestamp},
};
use tokio::sync::Semaphore;

use super::{Uplink, bulk::BulkError};
use crate::{
    agent_host::Host,
    config::secrets::Secret,
    repository::quarantine::{Expectation, Refusal},
    taskmaster::message::Exit,
    wire::ToTaskmaster,
};

/// Uploads at once: more share the same line.
const AT_ONCE: usize = 4;

/// What is under way.
pub(super) struct Deliveries {
    under_way: Arc<Mutex<HashSet<AttemptId>>>,
    room: Arc<Semaphore>,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self { under_way: Arc::default(), room: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Deliveries {
    /// Delivers an exit, unless it is being delivered.
    pub(super) fn deliver(&self, uplink: &Uplink, exit: Exit) {
        if exit.bundle.is_none() {
            return uplink.send(&ToTaskmaster::Exited { report: exit.report, result: None });
        }
        let attempt = exit.attempt().clone();
        if !lock(&self.under_way).insert(attempt.clone()) {
            return;
        }
        let (uplink, room, under_way) = (uplink.clone(), self.room.clone(), self.under_way.clone());
        uplink.tokio().clone().spawn(async move {
            // Closed never.
            let _room = room.acquire().await;
            let exit = screened(&uplink, exit).await;
            loop {
                let sent = upload(&uplink, &exit).await;
                // From here on, being asked again has it delivered again: what is sent on a session that ends is lost.
                lock(&under_way).remove(&attempt);
                match sent {
                    Ok(message) => return uplink.send(&message),
                    Err(error) => {
                        tracing::warn!(%attempt, %error, "its result could not be delivered; it is kept, and tried again");
                        // Without a session the next one asks; with one nobody does.
                        let again = matches!(error, BulkError::Unreachable(_)) && uplink.is_connected();
                        if !again || !lock(&under_way).insert(attempt.clone()) {
                            return;
                        }
                    }
                }
            }
        });
    }
}

/// Brings the result; what is to be said then.
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
            // The Taskmaster takes nothing of this attempt: the report says how it went, and is answered with what to do.
            Err(BulkError::Refused(why)) => {
                tracing::warn!(attempt = %report.attempt, %why, "its result is not wanted");
                None
            }
            Err(error) => return Err(error),
        },
    };
    Ok(ToTaskmaster::Exited { report, result })
}

/// What holds a secret is not sent.
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
        // Without the search it must not leave.
        Err(why) => Outcome::Infrastructure(format!("its result could not be searched for secrets: {why}")),
    };
    tracing::warn!(attempt = %exit.attempt(), ?outcome, "the result was refused on its host");
    exit.bundle = None;
    (exit.report.outcome, exit.report.commit) = (outcome, None);
    exit
}

fn refusal(host: &Host, exit: &Exit, limits: crate::repository::policy::Limits) -> Result<Option<Refusal>, String> {
    let Some(bundle) = &exit.bundle else { return Ok(None) };
    let (base, must_contain) = match exit.start {
        Start::Empty => return Ok(None),
        Start::Commit { base, .. } => (base, vec![]),
        Start::Merging { base, theirs } => (base, vec![theirs]),
    };
    let secrets: Vec<Vec<u8>> = exit.secrets.iter().map(Secret::expose).map(|s| s.as_bytes().to_vec()).collect();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let attempt = exit.attempt();
    let expected = Expectation { attempt, base, must_contain: &must_contain, secrets: &secrets, limits, now };
    host.seeds.screen(&attempt.task.project, bundle, &expected)
}

fn lock(under_way: &Mutex<HashSet<AttemptId>>) -> std::sync::MutexGuard<'_, HashSet<AttemptId>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}
