//! The job of an attempt, from material to exit. Every step may be repeated: for a running attempt it waits, and an
//! ended attempt it reports. Deliberately absent: retries; the engine decides on them.

use std::{sync::Arc, time::SystemTime};

use devstack_dag::{
    attempt::{Order, Outcome, Report, Usage},
    ids::{AttemptId, Text, Timestamp},
};
use devstack_shim::redact::Redactor;
use serde::Deserialize;
use tokio::sync::watch;

use super::{
    attempt::infrastructure,
    host::Host,
    left::{self, Renamed},
    reading::{self, Said},
};
use crate::{
    actor::{Fence, Fenced},
    taskmaster::message::Exit,
};
use devstack_config::secrets::Secret;
use devstack_repository::held::Guard;
use devstack_runtime::{Ended, RuntimeError};
use devstack_store::fault::{self, Point};

/// Maximum size of the agent's own summary in feedback, in bytes; together with the tail it stays below
/// `Text::INLINE_MAX`.
const SUMMARY_MAX: usize = 400;

/// Maximum size of the last output in feedback, in bytes.
const TAIL_MAX: usize = 1400;

/// Runs or adopts an attempt and returns its exit.
pub(super) async fn run(
    order: Arc<Order>,
    host: Arc<Host>,
    fence: Fence,
    mut stop: watch::Receiver<bool>,
) -> Result<Exit, Fenced> {
    let attempt = &order.attempt;
    let ended = match wait(&host, attempt, &mut stop).await {
        Err(RuntimeError::Unknown(_)) => {
            let prepared = async {
                host.room().await?;
                host.prepare(order.clone()).await
            };
            let job = tokio::select! {
                biased;
                () = asked(&mut stop) => return Ok(Exit::without_result(host.name.clone(), attempt.clone(), Outcome::Stopped)),
                job = prepared => job,
            };
            let job = match job {
                Ok(job) => job,
                Err(reason) => return Ok(infrastructure(&host, &order, reason)),
            };
            fence.check()?;
            fault::point(Point::AttemptBeforeStart);
            if let Err(error) = host.runtime.start(&job).await {
                return Ok(infrastructure(&host, &order, format!("it cannot start: {error}")));
            }
            fault::point(Point::AttemptAfterStart);
            wait(&host, attempt, &mut stop).await
        }
        known => known,
    };
    fence.check()?;
    Ok(match ended {
        Ok(mut ended) => {
            if ended.harvest.again {
                match host.runtime.harvest(attempt).await {
                    Ok(harvest) => ended.harvest = harvest,
                    Err(error) => ended.harvest.error = Some(error.to_string()),
                }
            }
            let said = read_output(&order, &host).await;
            let (exit, renamed) = exit(&order, &host, ended, said);
            without_secret_names(exit, renamed).await
        }
        Err(error) => infrastructure(&host, &order, format!("the runtime lost it: {error}")),
    })
}

/// Waits for the end; passes on a requested stop.
async fn wait(host: &Host, attempt: &AttemptId, stop: &mut watch::Receiver<bool>) -> Result<Ended, RuntimeError> {
    let ended = host.runtime.wait(attempt);
    tokio::pin!(ended);
    tokio::select! {
        ended = &mut ended => return ended,
        () = asked(stop) => {}
    }
    if let Err(error) = host.runtime.stop(attempt).await {
        tracing::debug!(%attempt, %error, "stop had no effect");
    }
    ended.await
}

async fn asked(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // The actor is gone, and with it everybody who could request a stop.
        std::future::pending::<()>().await;
    }
}

/// Parses the end of the agent's output with the profile's rules. Unparseable output yields an empty summary.
async fn read_output(order: &Arc<Order>, host: &Host) -> Said {
    if order.profile.is_none() {
        return Said::default();
    }
    let Ok(mut log) = host.runtime.log(&order.attempt, 0, false).await else { return Said::default() };
    let order = order.clone();
    let read = move || {
        let end = log.end(reading::END_MAX).unwrap_or_default();
        let profile = order.profile.as_ref()?;
        Some(reading::read(profile, order.model.as_deref(), &end, now()))
    };
    tokio::task::spawn_blocking(read).await.ok().flatten().unwrap_or_default()
}

/// The current wall-clock time, for reset times in the output.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Removes branch names that contain a secret.
async fn without_secret_names(mut exit: Exit, renamed: Vec<Renamed>) -> Exit {
    let Some(bundle) = exit.bundle.clone().filter(|_| !renamed.is_empty()) else { return exit };
    let done = tokio::task::spawn_blocking(move || left::rename(&bundle, &renamed)).await;
    if let Err(error) = done.map_err(std::io::Error::other).flatten() {
        (exit.bundle, exit.report.commit) = (None, None);
        exit.report.outcome = Outcome::Infrastructure(format!("a branch of its result could not be renamed: {error}"));
    }
    exit
}

/// The exit to report, and the branches that are reported under another name.
fn exit(order: &Order, host: &Host, ended: Ended, said: Said) -> (Exit, Vec<Renamed>) {
    let result = ended.result_json.as_deref().map(AgentResult::read).unwrap_or_default();
    let secrets = host.secret_values(order);
    // The log was redacted while it was written; the agent's own texts were not. They are redacted before they are cut,
    // because half a secret is still a secret.
    let redactor = Redactor::new(secrets.iter().map(Secret::expose));
    let redacted = |text: &str| String::from_utf8_lossy(&redactor.redact(text.as_bytes(), 0)).into_owned();
    let mut tail = String::new();
    if let Some(summary) = &result.summary {
        tail.push_str(clip(&redacted(summary), SUMMARY_MAX));
        tail.push('\n');
    }
    if let Some(error) = &ended.harvest.error {
        tail.push_str("cannot harvest its workspace: ");
        tail.push_str(clip(&redacted(error), SUMMARY_MAX));
        tail.push('\n');
    }
    tail.push_str(clip_front(&ended.tail, TAIL_MAX));
    let (left, renamed) = left::told(&ended.harvest, &redactor);
    let summary = result.summary.as_deref().map(|summary| clip(&redacted(summary), Text::INLINE_MAX).into());
    // Files that the machine could not read must not count as deleted by the agent.
    let outcome = match (ended.outcome, &ended.harvest.failed) {
        (Outcome::Exited(0), Some(why)) => Outcome::Infrastructure(format!("its work cannot be taken: {why}")),
        (outcome, _) => outcome,
    };
    let (commit, bundle) = ended.harvest.commits.map(|commits| (commits.tip, commits.bundle)).unzip();
    let exit = Exit {
        host: host.name.clone(),
        report: Report {
            attempt: order.attempt.clone(),
            outcome: said.outcome(outcome),
            commit,
            tail: Text::Inline(tail.into()),
            // The agent program's own numbers take precedence over the model's claims.
            usage: said.usage.or_else(|| result.usage.map(UsageFile::into_usage)),
            left,
            summary: summary.map(Text::Inline),
            held: None,
        },
        bundle,
        start: order.start.clone(),
        guard: Guard::NONE,
        secrets,
    };
    (exit, renamed)
}

/// `out/result.json`, optional, written by the agent: everything in it is a claim.
#[derive(Debug, Default, Deserialize)]
struct AgentResult {
    summary: Option<String>,
    usage: Option<UsageFile>,
}

#[derive(Debug, Deserialize)]
struct UsageFile {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cost_usd: Option<f64>,
}

impl AgentResult {
    fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}

impl UsageFile {
    fn into_usage(self) -> Usage {
        // `as` saturates: a nonsensical claim becomes the maximum, or is dropped.
        let cost_micros = self.cost_usd.filter(|cost| *cost >= 0.0).map(|cost| (cost * 1e6).round() as u64);
        let Self { input_tokens, output_tokens, .. } = self;
        Usage { input_tokens, output_tokens, cost_micros, ..Usage::default() }
    }
}

fn clip(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

fn clip_front(text: &str, max: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(max))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_claims_cannot_break_anything() {
        for bytes in [&b""[..], b"{", b"[]", b"{\"usage\":{\"cost_usd\":-1e300}}", b"{\"summary\":3}"] {
            let usage = AgentResult::read(bytes).usage.map(UsageFile::into_usage);
            assert!(usage.is_none_or(|usage| usage.cost_micros.is_none()));
        }
    }

    #[test]
    fn clipping_respects_characters() {
        assert_eq!((clip("aé", 2), clip_front("éa", 2)), ("a", "a"));
    }
}
