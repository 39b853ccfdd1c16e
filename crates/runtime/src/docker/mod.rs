//! Attempts as containers: one container each, with the files of the image and, of the host, only the attempt's own
//! directory. It runs as a user that is never root, with every privilege taken away that the engine can take away.
//!
//! Architecture invariants: containers are found by name and label, so nothing is kept in memory; nothing without the
//! installation's label is touched; a container that is less hardened than requested never starts; the engine may
//! vanish at any time, and that is never charged to a task.

mod config;
mod container;
mod engine;
mod firewall;
mod fitness;
mod hardening;
mod health;
pub mod image;
mod images;
mod logging;
mod look;
mod network;
mod observer;
mod old_rules;
mod order;
mod owned;
mod processors;
mod secrets;
mod shards;
mod strays;
mod watch;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use async_trait::async_trait;
use devstack_dag::{
    ids::AttemptId,
    plan::{Limits, Network},
};
use devstack_shim::{layout, spec::User};
use nix::unistd::{getegid, geteuid};
use tokio::sync::Semaphore;

pub use self::{
    config::DockerConfig,
    look::{Seen, answers, guards_bridges, look, missing},
};
use self::{
    container::{Bounds, Wanted},
    engine::{Engine, EngineError, Phase, phase},
    health::Health,
    images::Images,
    observer::Observer,
    owned::{deadline, id},
    processors::Processors,
    secrets::Vault,
    shards::{NoPort, Place, Shards},
};
use super::{
    Ended, Harvest, Isolation, Job, LogReader, Observed, Runtime, RuntimeError, RuntimeInfo, Shard, State,
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
    /// Whether the node is root: then agents have their own user.
    root: bool,
    boot_id: String,
    engine: Arc<Engine>,
    health: Arc<Health>,
    observer: Arc<Observer>,
    shards: Arc<Shards>,
    images: Arc<Images>,
    vault: Result<Vault, String>,
    starts: Semaphore,
    processors: Processors,
    version: OnceLock<String>,
    /// The number of losses when the engine was last found fit.
    fit_since: Mutex<Option<u64>>,
}

impl DockerRuntime {
    /// Installs the shim. If the engine does not answer yet, it is awaited: see [`Runtime::health`].
    ///
    /// # Errors
    /// The state directory cannot be used.
    pub async fn open(config: DockerConfig) -> Result<Self, RuntimeError> {
        if !config.state_dir.is_absolute() || config.user.uid == 0 || config.shards.is_empty() {
            return Err(RuntimeError::Refused(
                "directories must be absolute, at least one shard is required, and agents never run as root".into(),
            ));
        }
        let engine = Arc::new(Engine::new(config.socket.clone(), config.answer, config.act));
        let shim = shim::install(&config.state_dir.join("bin")).map_err(RuntimeError::failed("installing the shim"))?;
        let attempts = config.state_dir.join("attempts");
        make_passable(&attempts).map_err(RuntimeError::failed(format!("making {}", attempts.display())))?;
        refuse_others(&attempts, true)?;
        let boot_id = identity::boot_id().map_err(RuntimeError::failed("reading the boot id"))?;
        let health = Health::new(engine.clone());
        let inner = Inner {
            attempts,
            shim,
            root: geteuid().is_root(),
            boot_id,
            shards: Shards::new(&config, health.clone()),
            images: Images::new(engine.clone(), health.clone()),
            health,
            engine,
            observer: Arc::default(),
            vault: Vault::open(&config.installation),
            starts: Semaphore::new(config.starts.max(1)),
            processors: Processors::new(),
            version: OnceLock::new(),
            fit_since: Mutex::default(),
            config,
        };
        if let Ok(info) = inner.health.note(inner.engine.info().await) {
            let _ = inner.version.set(format!("docker {}", info.server_version.unwrap_or_default()));
            inner.images.look().await;
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
        let resolved = image::resolve(&self.inner.engine, name).await.map(Some);
        self.inner.images.look().await;
        resolved
    }

    fn shards(&self) -> Vec<Shard> {
        self.inner.shards.report()
    }

    fn images(&self) -> Vec<String> {
        self.inner.images.report()
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
        inner.shards.free(&inner.name(attempt));
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
        if let Err(error) = inner.health.note(inner.shards.tidy(&inner.engine).await) {
            tracing::debug!(%error, "private bridges are not removed now");
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
            // Created by a node that ended before it could start it: its mounts may be stale.
            let removed = inner.health.note(inner.engine.remove(id(&found)).await);
            removed.map_err(|error| inner.failed("removing a container", error))?;
        }
        let image = inner.image_of(job).await?;
        let place = match job.network {
            Network::None => None,
            Network::Bridge => Some(inner.place(&name).await?),
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
            host: &inner.config.host,
            log: &inner.config.log,
            image: &image.id,
            user: inner.user(),
            mode: "run",
            dir: &inner.dir(attempt),
            shim: &inner.shim,
            mirror: job.workspace.as_ref().map(|workspace| workspace.mirror_objects.as_path()),
            secrets,
            network: place.as_ref().map_or("none", Place::network).to_owned(),
            hostname: job.agent.to_string(),
            bounds: inner.bounds(&job.limits),
            deadline: deadline(job.timeout_ms),
            cpuset,
            stop_after_s: i64::try_from(job.grace_ms.div_ceil(1000)).unwrap_or(i64::MAX).saturating_add(30),
        };
        inner.run(attempt, &name, &wanted).await?;
        if let Some(place) = place {
            place.keep();
        }
        Ok(())
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
            // An attempt with files exists; its state is known when the engine is back.
            Err(EngineError::Gone { .. }) => return Ok(all),
            Err(error) => return Err(inner.failed("listing containers", error)),
        };
        inner.shards.see(&containers);
        for labels in containers.into_iter().filter_map(|one| one.labels) {
            let Some(attempt) = container::attempt_of(&labels, &inner.config.installation) else { continue };
            if !all.iter().any(|one| one.attempt == attempt) {
                let why = "it has a container but no files".to_owned();
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

    /// Reserves a port for a container on a bridge with room.
    async fn place(&self, container: &str) -> Result<Place, RuntimeError> {
        match self.shards.place(&self.engine, container).await {
            Ok(place) => Ok(place),
            Err(NoPort::Full(why)) => Err(RuntimeError::NoRoom(why)),
            Err(NoPort::Unguarded(why)) => Err(RuntimeError::Refused(format!(
                "agents on the private bridge cannot be isolated from this host and its networks: {why}; run the node as \
                 root with nftables, or use network = \"none\", or set unguarded_bridge = true in [agent_host]"
            ))),
            Err(NoPort::Engine(error)) => {
                let noted = self.health.note(Err(error));
                noted.map_err(|error| self.failed("creating the private bridge", error))
            }
        }
    }

    /// Refuses an engine that cannot confine an agent. An engine that was found fit is not checked again until it was
    /// lost.
    async fn be_fit(&self) -> Result<(), RuntimeError> {
        let losses = self.health.losses();
        let known = || self.fit_since.lock().unwrap_or_else(PoisonError::into_inner);
        if *known() == Some(losses) {
            return Ok(());
        }
        let info = self.health.note(self.engine.info().await);
        let info = info.map_err(|error| self.failed("reading the engine's information", error))?;
        let why = fitness::unfit(&info);
        if !why.is_empty() {
            return Err(RuntimeError::Refused(format!(
                "attempts cannot run on this Docker engine: {}",
                why.join("; ")
            )));
        }
        *known() = Some(losses);
        Ok(())
    }

    fn put_secrets(&self, job: &Job) -> Result<Option<PathBuf>, RuntimeError> {
        if job.secrets.is_empty() {
            return Ok(None);
        }
        let vault = self.vault.as_ref().map_err(|why| RuntimeError::Refused(why.clone()))?;
        let owner = self.root.then_some(self.config.user);
        let put = vault.put(&job.attempt, &job.secrets, owner);
        put.map(Some).map_err(RuntimeError::failed(format!("writing the secrets of {}", job.attempt)))
    }
}
