//! Attempts as containers: one each, of the image's files and nothing of the host's but the attempt's own directory,
//! as a user that is never root, with everything taken away that the engine lets one take.
//!
//! Architecture invariants: what runs is found again by name and label, so nothing is kept in memory; nothing without
//! the installation's label is touched; a container that is not as hard as it was asked to be never starts; the engine
//! may vanish at any time, and that is never charged to a task.

mod config;
mod container;
mod engine;
mod hardening;
mod health;
pub mod image;
mod look;
mod network;
mod observer;
mod order;
mod processors;
mod secrets;
mod strays;
mod watch;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bollard::models::ContainerInspectResponse;
use devstack_dag::{
    ids::AttemptId,
    plan::{Limits, Network},
};
use devstack_shim::{layout, spec::User};
use nix::unistd::{getegid, geteuid};
use tokio::sync::Semaphore;

pub use self::{
    config::DockerConfig,
    look::{Seen, answers, look},
};
use self::{
    container::{Bounds, Wanted},
    engine::{Engine, EngineError, Phase, phase},
    health::Health,
    network::Bridge,
    observer::Observer,
    processors::Processors,
    secrets::Vault,
};
use super::{
    Ended, Harvest, Isolation, Job, LogReader, Observed, Runtime, RuntimeError, RuntimeInfo, State,
    files::{SETTLED, keep, list, make_passable, name, refuse_others},
    identity,
    remove::remove,
    shim,
};

/// The docker runtime. Cheap to clone.
#[derive(Clone)]
pub struct DockerRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    config: DockerConfig,
    attempts: PathBuf,
    shim: PathBuf,
    /// The node is root: agents get a user of their own.
    root: bool,
    boot_id: String,
    engine: Arc<Engine>,
    health: Arc<Health>,
    observer: Arc<Observer>,
    bridge: Bridge,
    vault: Result<Vault, String>,
    starts: Semaphore,
    processors: Processors,
    version: OnceLock<String>,
}

/// Whose container has a name.
enum Found {
    /// Nobody's: there is none.
    None,
    /// The attempt's.
    Ours(Box<ContainerInspectResponse>),
    /// Somebody else's, which is never touched.
    Foreign,
}

/// What the engine calls a container that was looked at: its name may be another's by now, its id never is.
fn id(found: &ContainerInspectResponse) -> &str {
    found.id.as_deref().unwrap_or_default()
}

impl DockerRuntime {
    /// Lays the shim down. An engine that does not answer yet is waited for: see [`Runtime::health`].
    ///
    /// # Errors
    /// The state directory cannot be used.
    pub async fn open(config: DockerConfig) -> Result<Self, RuntimeError> {
        if !config.state_dir.is_absolute() || config.user.uid == 0 {
            return Err(RuntimeError::Refused("directories must be absolute, and agents never run as root".into()));
        }
        let engine = Arc::new(Engine::new(config.socket.clone(), config.answer, config.act));
        let shim =
            shim::install(&config.state_dir.join("bin")).map_err(RuntimeError::failed("laying down the shim"))?;
        let attempts = config.state_dir.join("attempts");
        make_passable(&attempts).map_err(RuntimeError::failed(format!("making {}", attempts.display())))?;
        refuse_others(&attempts, true)?;
        let boot_id = identity::boot_id().map_err(RuntimeError::failed("reading the boot id"))?;
        let inner = Inner {
            attempts,
            shim,
            root: geteuid().is_root(),
            boot_id,
            health: Health::new(engine.clone()),
            engine,
            observer: Arc::default(),
            bridge: Bridge::new(&config.installation, config.subnet.clone()),
            vault: Vault::open(&config.installation),
            starts: Semaphore::new(config.starts.max(1)),
            processors: Processors::new(),
            version: OnceLock::new(),
            config,
        };
        if let Ok(info) = inner.health.note(inner.engine.info().await) {
            let _ = inner.version.set(format!("docker {}", info.server_version.unwrap_or_default()));
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn blocking<T, F>(&self, work: F) -> Result<T, RuntimeError>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> Result<T, RuntimeError> + Send + 'static,
    {
        super::blocking(&self.inner, work).await
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn describe(&self) -> RuntimeInfo {
        RuntimeInfo {
            name: "docker",
            isolation: Isolation::Sandboxed {
                by: self.inner.version.get().cloned().unwrap_or_else(|| "docker".to_owned()),
            },
        }
    }

    fn health(&self) -> tokio::sync::watch::Receiver<Option<String>> {
        self.inner.health.subscribe()
    }

    async fn image(&self, name: Option<&str>) -> Result<Option<String>, RuntimeError> {
        image::resolve(&self.inner.engine, name).await.map(Some)
    }

    async fn start(&self, job: &Job) -> Result<(), RuntimeError> {
        self.start_container(job).await
    }

    async fn wait(&self, attempt: &AttemptId) -> Result<Ended, RuntimeError> {
        watch::wait(&self.inner, attempt).await
    }

    async fn stop(&self, attempt: &AttemptId) -> Result<(), RuntimeError> {
        watch::stop(&self.inner, attempt).await
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        self.observe().await
    }

    async fn harvest(&self, attempt: &AttemptId) -> Result<Harvest, RuntimeError> {
        watch::harvest(&self.inner, attempt).await
    }

    async fn remove(&self, attempt: &AttemptId) -> Result<(), RuntimeError> {
        let inner = &self.inner;
        for name in [container::harvest_name(&inner.config.installation, attempt), inner.name(attempt)] {
            inner.remove_container(attempt, &name).await?;
        }
        inner.processors.give_back(attempt);
        let attempt = attempt.clone();
        self.blocking(move |inner| {
            if let Ok(vault) = &inner.vault {
                vault.take(&attempt).map_err(RuntimeError::failed(format!("removing the secrets of {attempt}")))?;
            }
            let dir = inner.dir(&attempt);
            if dir.exists() {
                remove(&dir).map_err(RuntimeError::failed(format!("removing {}", dir.display())))?;
            }
            Ok(())
        })
        .await
    }

    async fn tidy(&self) {
        let inner = &self.inner;
        if let Err(error) = inner.bridge.remove(&inner.engine).await {
            tracing::debug!(%error, "the private bridge stays");
        }
        if let Ok(vault) = &inner.vault {
            vault.close();
        }
    }

    async fn keep_log(&self, attempt: &AttemptId, file: &Path) -> Result<(), RuntimeError> {
        let (log, file) = (self.inner.dir(attempt).join(layout::LOG), file.to_owned());
        self.blocking(move |_| keep(&log, &file).map_err(RuntimeError::failed("keeping its log"))).await
    }

    async fn log(&self, attempt: &AttemptId, from: u64, follow: bool) -> Result<LogReader, RuntimeError> {
        let dir = self.inner.known(attempt)?;
        let log = dir.join(layout::LOG);
        let over = move || !dir.exists() || dir.join(SETTLED).exists();
        Ok(LogReader::open(log, from, follow, Box::new(over)))
    }
}

impl DockerRuntime {
    async fn start_container(&self, job: &Job) -> Result<(), RuntimeError> {
        let inner = &self.inner;
        let attempt = &job.attempt;
        let name = inner.name(attempt);
        if identity::read(&inner.dir(attempt)).is_ok_and(|claimed| claimed.is_some()) {
            return Ok(());
        }
        if let Some(found) = inner.own(attempt, &name).await? {
            if phase(&found) != Phase::Created {
                return Ok(());
            }
            // Made by a node that ended before it could start it: its mounts may be stale.
            let removed = inner.health.note(inner.engine.remove(id(&found)).await);
            removed.map_err(|error| inner.failed("removing a container", error))?;
        }
        let image = inner.image_of(job).await?;
        let network = match job.network {
            Network::None => "none".to_owned(),
            Network::Bridge => inner.bridge_ready().await?,
        };
        let spec = order::spec(inner, job, &image.env)?;
        let pinned = inner.config.pin && job.limits.cpu_millis.is_none();
        let cpuset = if pinned { inner.processors.take(attempt) } else { None };
        let (dir, job_too) = (inner.dir(attempt), job.clone());
        let secrets = self
            .blocking(move |inner| {
                let attempt = &job_too.attempt;
                order::write(inner, &job_too, &dir, &spec)
                    .map_err(RuntimeError::failed(format!("writing the files of {attempt}")))?;
                inner.put_secrets(&job_too)
            })
            .await?;
        let wanted = Wanted {
            installation: &inner.config.installation,
            attempt,
            image: &image.id,
            user: inner.user(),
            mode: "run",
            dir: &inner.dir(attempt),
            shim: &inner.shim,
            mirror: job.workspace.as_ref().map(|workspace| workspace.mirror_objects.as_path()),
            secrets,
            network,
            hostname: job.agent.to_string(),
            bounds: inner.bounds(&job.limits),
            deadline: deadline(job.timeout_ms),
            cpuset,
            stop_after_s: i64::try_from(job.grace_ms.div_ceil(1000)).unwrap_or(i64::MAX).saturating_add(30),
        };
        inner.run(attempt, &name, &wanted).await
    }

    async fn observe(&self) -> Result<Vec<Observed>, RuntimeError> {
        let inner = &self.inner;
        let found =
            self.blocking(|inner| list(&inner.attempts).map_err(RuntimeError::failed("listing the attempts"))).await?;
        let mut all: Vec<Observed> =
            found.into_iter().map(|attempt| Observed { attempt, state: State::Running }).collect();
        let labels = container::ours(&inner.config.installation);
        let containers = match inner.health.note(inner.engine.list(&labels).await) {
            Ok(containers) => containers,
            // What has files is there; what it does now shows when the engine is back.
            Err(EngineError::Gone { .. }) => return Ok(all),
            Err(error) => return Err(inner.failed("listing containers", error)),
        };
        for labels in containers.into_iter().filter_map(|one| one.labels) {
            let Some(attempt) = container::attempt_of(&labels, &inner.config.installation) else { continue };
            if !all.iter().any(|one| one.attempt == attempt) {
                let why = "it has a container and no files".to_owned();
                all.push(Observed { attempt, state: State::Broken { why } });
            }
        }
        for one in &mut all {
            if one.state == State::Running {
                one.state = inner.state(&one.attempt).await?;
            }
        }
        Ok(all)
    }
}

impl Inner {
    fn dir(&self, attempt: &AttemptId) -> PathBuf {
        self.attempts.join(name(attempt))
    }

    fn known(&self, attempt: &AttemptId) -> Result<PathBuf, RuntimeError> {
        let dir = self.dir(attempt);
        if dir.is_dir() { Ok(dir) } else { Err(RuntimeError::Unknown(attempt.clone())) }
    }

    fn name(&self, attempt: &AttemptId) -> String {
        container::name(&self.config.installation, attempt)
    }

    fn failed(&self, what: impl Into<String>, error: EngineError) -> RuntimeError {
        match error {
            EngineError::Gone { .. } => RuntimeError::Unavailable(error.to_string()),
            other => RuntimeError::failed(what)(io::Error::other(other)),
        }
    }

    fn user(&self) -> User {
        if self.root { self.config.user } else { User { uid: geteuid().as_raw(), gid: getegid().as_raw() } }
    }

    fn bounds(&self, limits: &Limits) -> Bounds {
        let memory = limits.memory.unwrap_or(self.config.memory);
        Bounds {
            memory,
            cpu_millis: limits.cpu_millis.or(self.config.cpu_millis),
            pids: limits.pids.unwrap_or(self.config.pids),
            files: self.config.files,
            file_size: self.config.disk_max,
            tmpfs: self.config.tmpfs.min(memory / 2),
        }
    }

    async fn image_of(&self, job: &Job) -> Result<image::Image, RuntimeError> {
        let name = job.image.as_deref().unwrap_or(image::MINIMAL);
        let found = self.health.note(image::find(&self.engine, name).await);
        found.map_err(|error| self.failed("looking for an image", error))?.ok_or_else(|| image::unknown(name))
    }

    async fn bridge_ready(&self) -> Result<String, RuntimeError> {
        let made = self.health.note(self.bridge.ensure(&self.engine).await);
        made.map_err(|error| self.failed("making the private bridge", error))?;
        // Every time: the rules went with an earlier bridge, or with somebody's flush.
        if let Err(why) = self.bridge.guard().await {
            tracing::warn!(%why, "containers on the private bridge can reach this host's own addresses");
        }
        Ok(self.bridge.name.clone())
    }

    fn put_secrets(&self, job: &Job) -> Result<Option<PathBuf>, RuntimeError> {
        if job.secrets.is_empty() {
            return Ok(None);
        }
        let vault = self.vault.as_ref().map_err(|why| RuntimeError::Refused(why.clone()))?;
        let owner = self.root.then_some(self.config.user);
        let put = vault.put(&job.attempt, &job.secrets, owner);
        put.map(Some).map_err(RuntimeError::failed(format!("laying down the secrets of {}", job.attempt)))
    }

    /// Whose container has this name.
    async fn find(&self, attempt: &AttemptId, name: &str) -> Result<Found, EngineError> {
        let Some(found) = self.health.note(self.engine.inspect(name).await)? else { return Ok(Found::None) };
        let labels = found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default();
        let ours = container::attempt_of(&labels, &self.config.installation).as_ref() == Some(attempt);
        Ok(if ours { Found::Ours(Box::new(found)) } else { Found::Foreign })
    }

    /// The container to use for an attempt, if there is one; another's under its name is an error.
    async fn own(
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

    /// Makes the container, looks whether it is as it should be, and starts it.
    async fn run(&self, attempt: &AttemptId, name: &str, wanted: &Wanted<'_>) -> Result<(), RuntimeError> {
        let body = container::body(wanted);
        match self.health.note(self.engine.create(name, body.clone()).await) {
            // Made by an earlier try that had no answer.
            Ok(()) | Err(EngineError::Conflict(_)) => {}
            Err(error) => return Err(self.failed(format!("making the container of {attempt}"), error)),
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

    async fn harvest_container(
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

    async fn remove_container(&self, attempt: &AttemptId, name: &str) -> Result<(), RuntimeError> {
        let failed = |error| self.failed(format!("removing the container of {attempt}"), error);
        match self.find(attempt, name).await.map_err(failed)? {
            // Somebody else's is left alone.
            Found::None | Found::Foreign => Ok(()),
            Found::Ours(found) => self.health.note(self.engine.remove(id(&found)).await).map_err(failed),
        }
    }

    async fn state(&self, attempt: &AttemptId) -> Result<State, RuntimeError> {
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
fn deadline(timeout_ms: u64) -> String {
    let after = Duration::from_millis(timeout_ms);
    jiff::Timestamp::now()
        .checked_add(after)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}
