//! Containers of attempts: found by name and label, hardened as requested, started, removed.
//!
//! Architecture invariants: a foreign container is never used and never touched; a new container that differs from the
//! request is removed before it can run. Deliberately absent: waiting for a container (`watch`).

use std::{io, path::PathBuf, time::Duration};

use bollard::models::ContainerInspectResponse;
use devstack_dag::{ids::AttemptId, plan::Limits};

use super::{
    Inner,
    container::{self, Wanted},
    engine::{EngineError, Phase, phase},
    hardening, logging,
};
use crate::{RuntimeError, State, identity};
use devstack_config::node::{ContainerLog, LogDriver};

/// The owner of a container with a given name.
pub(super) enum Found {
    /// No container has this name.
    None,
    /// The container belongs to the attempt.
    Ours(Box<ContainerInspectResponse>),
    /// The container is foreign, and is never touched.
    Foreign,
}

/// The engine's id of an inspected container: its name may be reused, its id never is.
pub(super) fn id(found: &ContainerInspectResponse) -> &str {
    found.id.as_deref().unwrap_or_default()
}

impl Inner {
    /// Finds the owner of the container with this name.
    pub(super) async fn find(&self, attempt: &AttemptId, name: &str) -> Result<Found, EngineError> {
        let Some(found) = self.health.note(self.engine.inspect(name).await)? else { return Ok(Found::None) };
        let labels = found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default();
        let ours = container::attempt_of(&labels, &self.config.installation).as_ref() == Some(attempt);
        Ok(if ours { Found::Ours(Box::new(found)) } else { Found::Foreign })
    }

    /// The container to use for an attempt, if it exists; a foreign container with its name is an error.
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

    /// Creates the container, verifies it, and starts it. If the log driver has no receiver, the engine stores the
    /// output.
    pub(super) async fn run(&self, attempt: &AttemptId, name: &str, wanted: &Wanted<'_>) -> Result<(), RuntimeError> {
        self.be_fit().await?;
        match self.run_as_wanted(attempt, name, wanted).await {
            Err(error) if wanted.log.driver != LogDriver::JsonFile && logging::is_absent(&error.to_string()) => {
                let log_driver = wanted.log.driver.word();
                tracing::warn!(%attempt, %error, log_driver, "the log driver does not start; the output goes to json-file");
                let wanted = Wanted { log: &ContainerLog::default(), ..wanted.clone() };
                self.run_as_wanted(attempt, name, &wanted).await
            }
            done => done,
        }
    }

    async fn run_as_wanted(&self, attempt: &AttemptId, name: &str, wanted: &Wanted<'_>) -> Result<(), RuntimeError> {
        let body = container::body(wanted);
        match self.health.note(self.engine.create(name, body.clone()).await) {
            // Created by an earlier try that got no answer.
            Ok(()) | Err(EngineError::Conflict(_)) => {}
            Err(error) => {
                let refused = match &error {
                    EngineError::Refused(why) => logging::refused(wanted.log, why).map(RuntimeError::Refused),
                    _ => None,
                };
                return Err(
                    refused.unwrap_or_else(|| self.failed(format!("creating the container of {attempt}"), error))
                );
            }
        }
        let Some(made) = self.own(attempt, name).await? else {
            let gone = io::Error::other("it disappeared right after it was created");
            return Err(RuntimeError::failed(format!("creating the container of {attempt}"))(gone));
        };
        let missing = hardening::missing(&body, &made);
        if !missing.is_empty() {
            let _ = self.engine.remove(id(&made)).await;
            let what = missing.join(", ");
            return Err(RuntimeError::Refused(format!(
                "the engine ignores required safety settings of a container: {what}; use an engine that \
                 supports them (20.10 or newer)"
            )));
        }
        let permit = self.starts.acquire().await;
        let started = self.health.note(self.engine.start(id(&made)).await);
        drop(permit);
        match started {
            Ok(()) => Ok(()),
            // It may run: the waiting task will find out.
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
            // A foreign container is left alone.
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
            // No container, or never started: claim the attempt, so that the answer stays true.
            _ => match identity::claim(&dir) {
                Ok(true) => State::Broken { why: "it was never started".to_owned() },
                Ok(false) => State::Ended,
                Err(error) => State::Broken { why: format!("its files are incomplete: {error}") },
            },
        })
    }
}

/// The deadline of an attempt that starts now, for people who read labels.
pub(super) fn deadline(timeout_ms: u64) -> String {
    let after = Duration::from_millis(timeout_ms);
    jiff::Timestamp::now()
        .checked_add(after)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}
