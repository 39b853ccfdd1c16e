//! Containers of attempts: found by name and label, made as hard as they were asked to be, started, removed.
//!
//! Architecture invariants: another's container is never used and never touched; what was made and is not as asked for is
//! removed before it could run. Deliberately absent: waiting for one (`watch`).

use std::{io, path::PathBuf, time::Duration};

use bollard::models::ContainerInspectResponse;
use devstack_dag::{ids::AttemptId, plan::Limits};

use super::{
    Inner,
    container::{self, Wanted},
    engine::{EngineError, Phase, phase},
    hardening, logging,
};
use crate::{
    config::node::{ContainerLog, LogDriver},
    runtime::{RuntimeError, State, identity},
};

/// Whose container has a name.
pub(super) enum Found {
    /// Nobody's: there is none.
    None,
    /// The attempt's.
    Ours(Box<ContainerInspectResponse>),
    /// Somebody else's, which is never touched.
    Foreign,
}

/// What the engine calls a container that was looked at: its name may be another's by now, its id never is.
pub(super) fn id(found: &ContainerInspectResponse) -> &str {
    found.id.as_deref().unwrap_or_default()
}

impl Inner {
    /// Whose container has this name.
    pub(super) async fn find(&self, attempt: &AttemptId, name: &str) -> Result<Found, EngineError> {
        let Some(found) = self.health.note(self.engine.inspect(name).await)? else { return Ok(Found::None) };
        let labels = found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default();
        let ours = container::attempt_of(&labels, &self.config.installation).as_ref() == Some(attempt);
        Ok(if ours { Found::Ours(Box::new(found)) } else { Found::Foreign })
    }

    /// The container to use for an attempt, if there is one; another's under its name is an error.
    pub(super) async fn own(
        &self,
        attempt: &AttemptId,
        name: &str,
    ) -> Result<Option<Box<ContainerInspectResponse>>, RuntimeError> {
        match self.find(attempt, name).await {
            Ok(Found::None) => Ok(None),
            Ok(Found::Ours(found)) => Ok(Some(found)),
            Ok(Found::Foreign) => {
                let why = format!("the name {name} is taken by a container that is not ours; remove or rename it");
                Err(RuntimeError::failed("using a container")(io::Error::other(why)))
            }
            Err(error) => Err(self.failed("looking at a container", error)),
        }
    }

    /// Makes the container, looks whether it is as it should be, and starts it. Where nobody takes its output, the engine keeps it.
    pub(super) async fn run(&self, attempt: &AttemptId, name: &str, wanted: &Wanted<'_>) -> Result<(), RuntimeError> {
        self.be_fit().await?;
        match self.run_as_wanted(attempt, name, wanted).await {
            Err(error) if wanted.log.driver != LogDriver::JsonFile && logging::is_absent(&error.to_string()) => {
                let log_driver = wanted.log.driver.word();
                tracing::warn!(%attempt, %error, log_driver, "its output goes to json-file: the engine's log driver does not start");
                let wanted = Wanted { log: &ContainerLog::default(), ..wanted.clone() };
                self.run_as_wanted(attempt, name, &wanted).await
            }
            done => done,
        }
    }

    async fn run_as_wanted(&self, attempt: &AttemptId, name: &str, wanted: &Wanted<'_>) -> Result<(), RuntimeError> {
        let body = container::body(wanted);
        match self.health.note(self.engine.create(name, body.clone()).await) {
            // Made by an earlier try that had no answer.
            Ok(()) | Err(EngineError::Conflict(_)) => {}
            Err(error) => {
                let refused = match &error {
                    EngineError::Refused(why) => logging::refused(wanted.log, why).map(RuntimeError::Refused),
                    _ => None,
                };
                return Err(refused.unwrap_or_else(|| self.failed(format!("making the container of {attempt}"), error)));
            }
        }
        let Some(made) = self.own(attempt, name).await? else {
            let gone = io::Error::other("it vanished as soon as it was made");
            return Err(RuntimeError::failed(format!("making the container of {attempt}"))(gone));
        };
        let missing = hardening::missing(&body, &made);
        if !missing.is_empty() {
            let _ = self.engine.remove(id(&made)).await;
            let what = missing.join(", ");
            return Err(RuntimeError::Refused(format!(
                "the engine does not keep what a container needs to be safe: {what}; use an engine that does (20.10 or newer)"
            )));
        }
        let permit = self.starts.acquire().await;
        let started = self.health.note(self.engine.start(id(&made)).await);
        drop(permit);
        match started {
            Ok(()) => Ok(()),
            // It may run: whoever waits for it will see.
            Err(EngineError::Gone { .. }) => Ok(()),
            Err(error) => {
                let _ = self.engine.remove(id(&made)).await;
                Err(self.failed(format!("starting the container of {attempt}"), error))
            }
        }
    }

    pub(super) async fn harvest_container(
        &self,
        attempt: &AttemptId,
        name: &str,
        of_agent: &ContainerInspectResponse,
    ) -> Result<(), RuntimeError> {
        self.remove_container(attempt, name).await?;
        let mounts = of_agent.host_config.as_ref().and_then(|config| config.mounts.clone()).unwrap_or_default();
        let mirror = mounts.into_iter().find(|mount| mount.target.as_deref() == Some(container::MIRROR));
        let mirror = mirror.and_then(|mount| mount.source).map(PathBuf::from);
        let image = of_agent.image.clone().unwrap_or_default();
        let wanted = Wanted {
            installation: &self.config.installation,
            attempt,
            host: &self.config.host,
            log: &self.config.log,
            image: &image,
            user: self.user(),
            mode: "harvest",
            dir: &self.dir(attempt),
            shim: &self.shim,
            mirror: mirror.as_deref(),
            secrets: None,
            network: "none".to_owned(),
            hostname: "harvest".to_owned(),
            cpuset: None,
            bounds: self.bounds(&Limits::default()),
            deadline: deadline(u64::try_from(self.config.margin.as_millis()).unwrap_or(u64::MAX)),
            stop_after_s: 10,
        };
        self.run(attempt, name, &wanted).await
    }

    pub(super) async fn remove_container(&self, attempt: &AttemptId, name: &str) -> Result<(), RuntimeError> {
        let failed = |error| self.failed(format!("removing the container of {attempt}"), error);
        match self.find(attempt, name).await.map_err(failed)? {
            // Somebody else's is left alone.
            Found::None | Found::Foreign => Ok(()),
            Found::Ours(found) => self.health.note(self.engine.remove(id(&found)).await).map_err(failed),
        }
    }

    pub(super) async fn state(&self, attempt: &AttemptId) -> Result<State, RuntimeError> {
        let dir = self.dir(attempt);
        let found = self.find(attempt, &self.name(attempt)).await;
        Ok(match found.map_err(|error| self.failed("looking at a container", error))? {
            Found::Ours(found) if phase(&found) == Phase::Running => {
                let cpuset = found.host_config.as_ref().and_then(|config| config.cpuset_cpus.as_deref());
                self.processors.note(attempt, cpuset);
                State::Running
            }
            Found::Ours(found) if phase(&found) == Phase::Over => State::Ended,
            // None of ours, or never started: claimed, so that what is said stays true.
            _ => match identity::claim(&dir) {
                Ok(true) => State::Broken { why: "it was never started".to_owned() },
                Ok(false) => State::Ended,
                Err(error) => State::Broken { why: format!("its files are not whole: {error}") },
            },
        })
    }
}

/// When the time of an attempt that starts now is over, for people who look at labels.
pub(super) fn deadline(timeout_ms: u64) -> String {
    let after = Duration::from_millis(timeout_ms);
    jiff::Timestamp::now()
        .checked_add(after)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}
