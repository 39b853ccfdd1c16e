//! Waits for containers, stops them, and enforces their deadline whatever became of the shim and the engine.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use bollard::models::ContainerInspectResponse;
use devstack_dag::{attempt::Outcome, ids::AttemptId};
use devstack_shim::{layout, spec::Spec};

use super::{
    Inner, container,
    engine::{EngineError, Phase, phase},
};
use crate::runtime::{
    Ended, Harvest, RuntimeError, evidence,
    process::{clock, files::SETTLED, identity},
};

/// The longest order: prompt and task are files of their own, so this is argv, names and paths.
const SPEC_MAX: u64 = 4 << 20;
/// Between two tries to end a container that does not end.
const AGAIN: Duration = Duration::from_secs(10);

/// How a container came to its end, as far as the engine tells.
enum End {
    /// It ran and is over.
    Ran { out_of_memory: bool, exit_code: i64 },
    /// It was never started, and now never will be.
    NeverStarted,
    /// Somebody else removed it.
    Removed,
}

/// Waits until it is over and nothing of it runs.
pub(super) async fn wait(inner: &Arc<Inner>, attempt: &AttemptId) -> Result<Ended, RuntimeError> {
    let dir = inner.known(attempt)?;
    let mut overdue = false;
    let end = until_over(inner, attempt, &dir, &mut overdue).await?;
    let (inner, attempt) = (Arc::clone(inner), attempt.clone());
    let settled = tokio::task::spawn_blocking(move || {
        let _ = fs::write(dir.join(SETTLED), b"");
        tracing::debug!(%attempt, "its container is over");
        ended(&inner, &dir, &end, overdue)
    });
    settled.await.map_err(|error| RuntimeError::failed("settling an attempt")(io::Error::other(error)))
}

async fn until_over(
    inner: &Arc<Inner>,
    attempt: &AttemptId,
    dir: &Path,
    overdue: &mut bool,
) -> Result<End, RuntimeError> {
    let name = inner.name(attempt);
    let watch = inner.observer.watch(&inner.engine, &inner.health, &inner.config.installation, name.clone());
    loop {
        match inner.health.note(inner.engine.inspect(&name).await) {
            // The observer wakes everybody when the engine is back.
            Err(EngineError::Gone { .. }) => watch.woken().await,
            Err(error) => return Err(inner.failed(format!("looking at the container of {attempt}"), error)),
            Ok(None) => {
                let never = identity::claim(dir).unwrap_or(false);
                return Ok(if never { End::NeverStarted } else { End::Removed });
            }
            Ok(Some(found)) => match phase(&found) {
                // A start that is still under way finds the attempt claimed.
                Phase::Created if identity::claim(dir).unwrap_or(false) => return Ok(End::NeverStarted),
                Phase::Over => return Ok(ran(&found)),
                Phase::Created | Phase::Running => {
                    let due = due_in(inner, dir).map_err(RuntimeError::failed(format!("waiting for {attempt}")))?;
                    if due.is_zero() {
                        *overdue = true;
                        end_overdue(inner, attempt, &name).await;
                    } else if asked_to_stop(dir) {
                        signal(inner, &name, "SIGTERM").await;
                    }
                    let patience = if due.is_zero() { AGAIN } else { due };
                    let _ = tokio::time::timeout(patience, watch.woken()).await;
                }
            },
        }
    }
}

async fn end_overdue(inner: &Inner, attempt: &AttemptId, name: &str) {
    tracing::warn!(%attempt, "its time is over and its supervisor did not end it: the container is killed");
    signal(inner, name, "SIGKILL").await;
}

async fn signal(inner: &Inner, name: &str, signal: &str) {
    if let Err(error) = inner.health.note(inner.engine.kill(name, signal).await) {
        tracing::warn!(%name, signal, %error, "a container could not be signalled; tried again");
    }
}

fn asked_to_stop(dir: &Path) -> bool {
    dir.join(layout::STOP).exists()
}

fn ran(found: &ContainerInspectResponse) -> End {
    let state = found.state.as_ref();
    End::Ran {
        out_of_memory: state.and_then(|state| state.oom_killed).unwrap_or(false),
        exit_code: state.and_then(|state| state.exit_code).unwrap_or(-1),
    }
}

/// How long until the host ends it: its deadline, or a stop that was asked for, and what the shim needs beyond.
fn due_in(inner: &Inner, dir: &Path) -> io::Result<Duration> {
    let spec = order(dir)?;
    let deadline = spec.ordered_at_ms.saturating_add(spec.timeout_ms);
    let asked = fs::read_to_string(dir.join(layout::STOP)).ok().and_then(|text| text.parse().ok());
    let due = asked.unwrap_or(deadline).min(deadline).saturating_add(spec.grace_ms);
    let due = due.saturating_add(u64::try_from(inner.config.margin.as_millis()).unwrap_or(u64::MAX));
    Ok(Duration::from_millis(due.saturating_sub(clock::now_ms())))
}

fn order(dir: &Path) -> io::Result<Spec> {
    Ok(serde_json::from_slice(&evidence::read(&dir.join(layout::SPEC), SPEC_MAX)?)?)
}

/// How it ended, from what is left of it.
fn ended(inner: &Inner, dir: &Path, end: &End, overdue: bool) -> Ended {
    let out_of_memory = matches!(end, End::Ran { out_of_memory: true, .. });
    let mut ended = evidence::ended(dir, inner.config.bundle_max, || {
        if asked_to_stop(dir) {
            return Outcome::Stopped;
        }
        if overdue {
            return Outcome::TimedOut;
        }
        Outcome::Infrastructure(match end {
            End::NeverStarted => "the attempt was never started: the node ended before it could".into(),
            End::Removed => "its container was removed by somebody else".into(),
            End::Ran { exit_code, .. } => {
                format!("its container ended ({exit_code}) before its supervisor could report")
            }
        })
    });
    let explained =
        matches!(ended.outcome, Outcome::Exited(0) | Outcome::TimedOut | Outcome::Stopped | Outcome::Stalled);
    if !explained && out_of_memory {
        ended.outcome = Outcome::OutOfMemory;
    }
    ended
}

/// Asks the shim to end it.
pub(super) async fn stop(inner: &Arc<Inner>, attempt: &AttemptId) -> Result<(), RuntimeError> {
    let dir = inner.known(attempt)?;
    let failed = || RuntimeError::failed(format!("stopping {attempt}"));
    if evidence::record(&dir, layout::EXIT).is_some() || asked_to_stop(&dir) {
        return Ok(());
    }
    fs::write(dir.join(layout::STOP), clock::now_ms().to_string()).map_err(failed())?;
    let name = inner.name(attempt);
    // Whoever waits signals again when the engine is back.
    inner.health.note(inner.engine.kill(&name, "SIGTERM").await).map_err(|e| inner.failed("stopping a container", e))
}

/// Harvests again in a container of its own: no agent, no secret, no network.
pub(super) async fn harvest(inner: &Arc<Inner>, attempt: &AttemptId) -> Result<Harvest, RuntimeError> {
    let dir = inner.known(attempt)?;
    let failed = || RuntimeError::failed(format!("harvesting {attempt}"));
    let spec = order(&dir).map_err(failed())?;
    if spec.git.as_ref().is_none_or(|git| !git.harvest) {
        return Ok(Harvest::default());
    }
    let name = container::harvest_name(&inner.config.installation, attempt);
    let of_agent = inner.health.note(inner.engine.inspect(&inner.name(attempt)).await);
    let of_agent = of_agent.map_err(|e| inner.failed("looking at a container", e))?;
    let Some(of_agent) = of_agent else {
        return Err(failed()(io::Error::other("its container is gone, and with it its image")));
    };
    if phase(&of_agent) == Phase::Running {
        return Err(RuntimeError::Refused(format!("attempt {attempt} still runs: wait for it first")));
    }
    inner.harvest_container(attempt, &name, &of_agent).await?;
    let harvested = until_harvested(inner, &name).await;
    let removed = inner.health.note(inner.engine.remove(&name).await);
    if let Err(error) = removed {
        tracing::warn!(%attempt, %error, "its harvest's container stays until the attempt is removed");
    }
    harvested?;
    let nothing = || Harvest { commits: None, error: Some("the harvest was killed".into()), again: false };
    Ok(evidence::record(&dir, layout::HARVEST)
        .map_or_else(nothing, |record| evidence::harvest(&dir, &record, inner.config.bundle_max)))
}

async fn until_harvested(inner: &Arc<Inner>, name: &str) -> Result<(), RuntimeError> {
    let watch = inner.observer.watch(&inner.engine, &inner.health, &inner.config.installation, name.to_owned());
    let over = async {
        loop {
            match inner.health.note(inner.engine.inspect(name).await) {
                Ok(Some(found)) if phase(&found) != Phase::Over => watch.woken().await,
                Ok(_) => return Ok(()),
                Err(EngineError::Gone { .. }) => watch.woken().await,
                Err(error) => return Err(inner.failed("harvesting", error)),
            }
        }
    };
    // Past its time it is removed, running or not.
    tokio::time::timeout(inner.config.margin, over).await.unwrap_or(Ok(()))
}
