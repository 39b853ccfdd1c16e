//! Waits for containers, stops them, and enforces their deadline, whatever happens to the shim and the engine.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bollard::models::ContainerInspectResponse;
use devstack_dag::{attempt::Outcome, ids::AttemptId};
use devstack_shim::layout;

use super::{
    Inner, container,
    engine::{EngineError, Phase, phase},
    owned::{Found, id},
    strays,
};
use crate::{Ended, Harvest, RuntimeError, clock, evidence, files::SETTLED, identity};

/// The pause between two attempts to end a container that does not end.
const AGAIN: Duration = Duration::from_secs(10);

/// Room in a log for the line about left-out output, in bytes.
const LOG_LINE: u64 = 100;
/// The exit code that the engine reports if it did not see the exit.
const NOT_SEEN: i64 = 255;

/// The pause between two checks of a container whose start is in progress.
const HALF_STARTED: Duration = Duration::from_millis(500);

/// How a container ended, as far as the engine knows.
enum End {
    /// It ran and ended.
    Ran { out_of_memory: bool, exit_code: i64 },
    /// It was never started, and now never will be.
    NeverStarted,
    /// Somebody else removed it.
    Removed,
    /// The engine died in the middle of its start and knows nothing about it.
    Lost,
}

/// Waits until the attempt ended and nothing of it runs.
pub(super) async fn wait(inner: &Arc<Inner>, attempt: &AttemptId) -> Result<Ended, RuntimeError> {
    let dir = inner.known(attempt)?;
    let mut overdue = false;
    let end = until_over(inner, attempt, &dir, &mut overdue).await?;
    inner.shards.free(&inner.name(attempt));
    let (inner, attempt) = (Arc::clone(inner), attempt.clone());
    let settled = tokio::task::spawn_blocking(move || {
        settle(&inner, &attempt, &dir);
        let ended = ended(&inner, &dir, &end, overdue);
        tracing::debug!(%attempt, outcome = ?ended.outcome, "its container ended");
        ended
    });
    settled.await.map_err(|error| RuntimeError::failed("settling an attempt")(io::Error::other(error)))
}

/// Nothing of it runs any more: removes its secrets, and cuts a log that the agent may have written.
fn settle(inner: &Inner, attempt: &AttemptId, dir: &Path) {
    let done = (|| -> io::Result<()> {
        if let Ok(vault) = &inner.vault {
            vault.take(attempt)?;
        }
        let log_max = inner.config.log_max.saturating_add(LOG_LINE);
        evidence::cut(&dir.join(layout::LOG), log_max)?;
        fs::write(dir.join(SETTLED), b"")
    })();
    if let Err(error) = done {
        tracing::warn!(%attempt, %error, "cannot clean up after an attempt; its removal tries again");
    }
}

async fn until_over(
    inner: &Arc<Inner>,
    attempt: &AttemptId,
    dir: &Path,
    overdue: &mut bool,
) -> Result<End, RuntimeError> {
    let name = inner.name(attempt);
    let watch = inner.observer.watch(&inner.engine, &inner.health, &inner.config.installation, name.clone());
    let mut half_started: Option<Instant> = None;
    loop {
        match inner.find(attempt, &name).await {
            Err(EngineError::Gone { .. }) => inner.health.well().await,
            Err(error) => return Err(inner.failed(format!("looking at the container of {attempt}"), error)),
            // A foreign container has the name: ours is gone.
            Ok(Found::None | Found::Foreign) => {
                let never = identity::claim(dir).unwrap_or(false);
                return Ok(if never { End::NeverStarted } else { End::Removed });
            }
            Ok(Found::Ours(found)) => match phase(&found) {
                // A start that is still in progress finds the attempt claimed.
                Phase::Created if identity::claim(dir).unwrap_or(false) => return Ok(End::NeverStarted),
                Phase::Over => return Ok(ran(&found)),
                // Its supervisor runs or ran, but the engine does not know: a start is in progress, or died with the
                // engine.
                Phase::Created => {
                    if half_started.get_or_insert_with(Instant::now).elapsed() >= inner.config.act {
                        let id = id(&found).to_owned();
                        let ended = tokio::task::spawn_blocking(move || strays::end(&id)).await.unwrap_or(0);
                        tracing::warn!(%attempt, ended, "the engine died while it started this attempt");
                        return Ok(End::Lost);
                    }
                    let _ = tokio::time::timeout(HALF_STARTED, watch.woken()).await;
                }
                Phase::Running => {
                    let due = due_in(inner, dir).map_err(RuntimeError::failed(format!("waiting for {attempt}")))?;
                    if due.is_zero() {
                        *overdue = true;
                        end_overdue(inner, attempt, id(&found)).await;
                    } else if asked_to_stop(dir) {
                        signal(inner, attempt, id(&found), "SIGTERM").await;
                    }
                    let patience = if due.is_zero() { AGAIN } else { due };
                    let _ = tokio::time::timeout(patience, watch.woken()).await;
                }
            },
        }
    }
}

async fn end_overdue(inner: &Inner, attempt: &AttemptId, id: &str) {
    tracing::warn!(%attempt, "its deadline passed and its supervisor did not end it: killing the container");
    signal(inner, attempt, id, "SIGKILL").await;
}

async fn signal(inner: &Inner, attempt: &AttemptId, id: &str, signal: &str) {
    if let Err(error) = inner.health.note(inner.engine.kill(id, signal).await) {
        tracing::warn!(%attempt, signal, %error, "cannot signal its container; will retry");
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

/// The time until the host ends it: its deadline or a requested stop, plus the time that the shim needs.
fn due_in(inner: &Inner, dir: &Path) -> io::Result<Duration> {
    let spec = evidence::order(dir)?;
    let deadline = spec.ordered_at_ms.saturating_add(spec.timeout_ms);
    let asked = fs::read_to_string(dir.join(layout::STOP)).ok().and_then(|text| text.parse().ok());
    let due = asked.unwrap_or(deadline).min(deadline).saturating_add(spec.grace_ms);
    let due = due.saturating_add(u64::try_from(inner.config.margin.as_millis()).unwrap_or(u64::MAX));
    Ok(Duration::from_millis(due.saturating_sub(clock::now_ms())))
}

/// How it ended, from its files.
fn ended(inner: &Inner, dir: &Path, end: &End, overdue: bool) -> Ended {
    let out_of_memory = matches!(end, End::Ran { out_of_memory: true, .. });
    // A shim that did not finish wrote no record: an existing record comes from the agent, which runs as the same user.
    let finished = !matches!(end, End::Ran { exit_code, .. } if ![0, NOT_SEEN].contains(exit_code));
    let record = finished.then(|| evidence::record(dir, layout::EXIT)).flatten();
    let mut ended = evidence::ended(dir, record, inner.config.bundle_max, || {
        if asked_to_stop(dir) {
            return Outcome::Stopped;
        }
        if overdue {
            return Outcome::TimedOut;
        }
        Outcome::Infrastructure(match end {
            End::NeverStarted => "the attempt was never started: the node ended before it could".into(),
            End::Removed => "its container was removed from outside".into(),
            End::Lost => "the container engine died while it started the attempt".into(),
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
    // The exit record is not used here: until the attempt is settled, an agent could have written it.
    if dir.join(SETTLED).exists() || asked_to_stop(&dir) {
        return Ok(());
    }
    fs::write(dir.join(layout::STOP), clock::now_ms().to_string()).map_err(failed())?;
    // The waiting task signals again when the engine is back.
    let failed = |error| inner.failed("stopping a container", error);
    match inner.find(attempt, &inner.name(attempt)).await.map_err(failed)? {
        Found::None | Found::Foreign => Ok(()),
        Found::Ours(found) => inner.health.note(inner.engine.kill(id(&found), "SIGTERM").await).map_err(failed),
    }
}

/// Repeats the harvest in a separate container: no agent, no secret, no network.
pub(super) async fn harvest(inner: &Arc<Inner>, attempt: &AttemptId) -> Result<Harvest, RuntimeError> {
    let dir = inner.known(attempt)?;
    let failed = || RuntimeError::failed(format!("harvesting {attempt}"));
    let spec = evidence::order(&dir).map_err(failed())?;
    if spec.git.as_ref().is_none_or(|git| !git.harvest) {
        return Ok(Harvest::default());
    }
    let name = container::harvest_name(&inner.config.installation, attempt);
    let Some(of_agent) = inner.own(attempt, &inner.name(attempt)).await? else {
        return Err(failed()(io::Error::other("its container is gone, so its image is unknown")));
    };
    if phase(&of_agent) == Phase::Running {
        return Err(RuntimeError::Refused(format!("attempt {attempt} still runs: wait for it first")));
    }
    inner.harvest_container(attempt, &name, &of_agent).await?;
    let finished = until_harvested(inner, attempt, &name).await;
    if let Err(error) = inner.remove_container(attempt, &name).await {
        tracing::warn!(%attempt, %error, "cannot remove its harvest container; it is removed with the attempt");
    }
    let record = finished?.then(|| evidence::record(&dir, layout::HARVEST)).flatten();
    let nothing = || Harvest { error: Some("the harvest was killed".into()), ..Harvest::default() };
    Ok(record.map_or_else(nothing, |record| evidence::harvest(&dir, &record, inner.config.bundle_max)))
}

/// Returns true if it ended. After its deadline it is left to be removed, running or not.
async fn until_harvested(inner: &Arc<Inner>, attempt: &AttemptId, name: &str) -> Result<bool, RuntimeError> {
    let watch = inner.observer.watch(&inner.engine, &inner.health, &inner.config.installation, name.to_owned());
    let over = async {
        loop {
            match inner.find(attempt, name).await {
                Ok(Found::Ours(found)) if phase(&found) != Phase::Over => watch.woken().await,
                Ok(Found::Ours(found)) => return Ok(matches!(ran(&found), End::Ran { exit_code: 0, .. })),
                Ok(Found::None | Found::Foreign) => return Ok(false),
                Err(EngineError::Gone { .. }) => inner.health.well().await,
                Err(error) => return Err(inner.failed("harvesting", error)),
            }
        }
    };
    tokio::time::timeout(inner.config.margin, over).await.unwrap_or(Ok(false))
}
