//! Attempts as processes of this machine: one shim each, in its own session, with every descendant ended; inside bwrap
//! where that works, as a user that is never root.
//!
//! The files of an attempt are below `<state>/attempts/<project>.<task>.<number>/` (see `devstack_shim::layout`) and
//! are the only state: a new instance adopts the attempts that an old instance started.

mod cgroup;
mod leftovers;
mod order;
mod passage;
mod sandbox;
mod spares;
mod watch;

use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use devstack_dag::ids::AttemptId;
use devstack_shim::{layout, spec::User};
use nix::unistd::geteuid;

pub use self::passage::barrier;
use self::{cgroup::Cgroups, spares::Spares};
use super::{
    Ended, Harvest, Isolation, Job, LogReader, Observed, Runtime, RuntimeError, RuntimeInfo, State, files,
    identity::{self, Identity},
    remove, seccomp, shim,
};

/// Whether the runtime may use bwrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// Where it works.
    Auto,
    /// No: agents see everything that their user may see.
    Off,
}

/// Configuration of attempts as processes.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// Absolute; the runtime uses `bin/` in it. The agents' user must be able to traverse it.
    pub state_dir: PathBuf,
    /// The directory of attempts; by default `attempts/` in the state directory. Absolute. Nothing in it is needed
    /// after a reboot: on a tmpfs, short attempts do not wait for the file system journal that they would share with
    /// the store's syncs.
    pub attempts: PathBuf,
    /// The random label of this installation. Nothing without it is ever touched.
    pub installation: String,
    /// Whether it may use bwrap.
    pub sandbox: Sandbox,
    /// The user of agents where the node is root; otherwise agents run as the node's own user.
    pub user: User,
    /// The maximum size of a log, in bytes.
    pub log_max: u64,
    /// The largest result, in bytes.
    pub bundle_max: u64,
    /// Processes and threads of all agents together, where the plan sets none and the node is root.
    pub processes: u64,
    /// The time that a shim may need beyond timeout and grace (preparing the workspace, the harvest) before the host
    /// ends the attempt itself.
    pub margin: Duration,
}

impl ProcessConfig {
    /// The default limits.
    pub fn new(state_dir: PathBuf, installation: String) -> Self {
        Self {
            attempts: state_dir.join("attempts"),
            state_dir,
            installation,
            sandbox: Sandbox::Auto,
            // As in the images: the contract's uid of `devstack`.
            user: User { uid: 10_001, gid: 10_001 },
            // A long session of an agent in JSON is 2 to 5 MB.
            log_max: 16 << 20,
            // A result is source code: this is a hundred times a large change.
            bundle_max: 256 << 20,
            processes: 4096,
            // A shim's own limits: 120 s for a harvest, 10 s for ending processes, twice; and a checkout of 50,000
            // files.
            margin: Duration::from_secs(180),
        }
    }
}

/// The process runtime. Cheap to clone.
#[derive(Clone)]
pub struct ProcessRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    config: ProcessConfig,
    shim: PathBuf,
    /// Whether the node is root: then agents have their own user.
    root: bool,
    boot_id: String,
    sandbox: Result<sandbox::Bwrap, String>,
    cgroups: Option<Cgroups>,
    /// Attempts that this instance started and whose shim is not reaped; `None` while it is being started.
    children: Mutex<HashMap<AttemptId, Option<Child>>>,
    /// Signalled when a start has finished.
    started: Condvar,
    spares: Spares,
}

impl ProcessRuntime {
    /// Installs the shim, tests the sandbox, and makes this process the subreaper for orphans of a killed shim.
    pub fn new(config: ProcessConfig) -> Result<Self, RuntimeError> {
        if !config.state_dir.is_absolute() || !config.attempts.is_absolute() || config.user.uid == 0 {
            return Err(RuntimeError::Refused("directories must be absolute, and agents never run as root".into()));
        }
        let shim = shim::install(&config.state_dir.join("bin")).map_err(RuntimeError::failed("installing the shim"))?;
        let attempts = &config.attempts;
        files::make_passable(attempts).map_err(RuntimeError::failed(format!("making {}", attempts.display())))?;
        files::refuse_others(attempts, false)?;
        let boot_id = identity::boot_id().map_err(RuntimeError::failed("reading the boot id"))?;
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|e| RuntimeError::failed("becoming a subreaper")(e.into()))?;
        let sandbox = match config.sandbox {
            Sandbox::Off => Err("the sandbox is switched off (--sandbox off)".to_owned()),
            Sandbox::Auto => sandbox::Bwrap::probe(seccomp::install(&config.state_dir.join("bin"))),
        };
        let root = geteuid().is_root();
        let cgroups = root.then(|| Cgroups::find(&config.installation)).flatten();
        let spares = Spares::new(config.attempts.with_file_name("spare"), root.then_some(config.user))
            .map_err(RuntimeError::failed("making the directory of spares"))?;
        let (children, started) = (Mutex::default(), Condvar::new());
        let inner = Inner { config, shim, root, boot_id, sandbox, cgroups, children, started, spares };
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
impl Runtime for ProcessRuntime {
    fn drop_caches(&self) {
        self.inner.spares.clear();
    }

    fn describe(&self) -> RuntimeInfo {
        let isolation = match &self.inner.sandbox {
            Ok(bwrap) => Isolation::Sandboxed { by: bwrap.version().to_owned() },
            Err(why) => Isolation::Unsandboxed { why: why.clone() },
        };
        RuntimeInfo { name: "process", isolation }
    }

    async fn start(&self, job: &Job) -> Result<(), RuntimeError> {
        let job = job.clone();
        self.blocking(move |inner| inner.start(&job)).await
    }

    async fn wait(&self, attempt: &AttemptId) -> Result<Ended, RuntimeError> {
        watch::wait(&self.inner, attempt).await
    }

    async fn stop(&self, attempt: &AttemptId) -> Result<(), RuntimeError> {
        watch::stop(&self.inner, attempt).await
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        self.blocking(|inner| inner.list()).await
    }

    async fn harvest(&self, attempt: &AttemptId) -> Result<Harvest, RuntimeError> {
        watch::harvest(&self.inner, attempt).await
    }

    async fn remove(&self, attempt: &AttemptId) -> Result<(), RuntimeError> {
        let attempt = attempt.clone();
        self.blocking(move |inner| inner.remove(&attempt)).await
    }

    async fn keep_log(&self, attempt: &AttemptId, file: &Path) -> Result<(), RuntimeError> {
        let (log, file) = (self.inner.dir(attempt).join(layout::LOG), file.to_owned());
        self.blocking(move |_| files::keep(&log, &file).map_err(RuntimeError::failed("keeping its log"))).await
    }

    async fn log(&self, attempt: &AttemptId, from: u64, follow: bool) -> Result<LogReader, RuntimeError> {
        let dir = self.inner.known(attempt)?;
        let (inner, attempt) = (Arc::clone(&self.inner), attempt.clone());
        let over = move || !inner.is_running(&attempt);
        Ok(LogReader::open(dir.join(layout::LOG), from, follow, Box::new(over)))
    }
}

impl Inner {
    fn dir(&self, attempt: &AttemptId) -> PathBuf {
        self.config.attempts.join(files::name(attempt))
    }

    /// The attempt's directory, if it exists.
    fn known(&self, attempt: &AttemptId) -> Result<PathBuf, RuntimeError> {
        let dir = self.dir(attempt);
        if dir.is_dir() { Ok(dir) } else { Err(RuntimeError::Unknown(attempt.clone())) }
    }

    /// The mark of every process of an attempt.
    fn key(&self, attempt: &AttemptId) -> String {
        format!("{}/{attempt}", self.config.installation)
    }

    fn children(&self) -> MutexGuard<'_, HashMap<AttemptId, Option<Child>>> {
        // A panic under the lock left a consistent map: every change of it is a single call.
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, job: &Job) -> Result<(), RuntimeError> {
        {
            let mut children = self.until_started(&job.attempt);
            if children.contains_key(&job.attempt) {
                return Ok(());
            }
            children.insert(job.attempt.clone(), None);
        }
        let started = self.start_shim(job);
        let mut children = self.children();
        children.remove(&job.attempt);
        let started = started.map(|child| {
            children.extend(child.map(|child| (job.attempt.clone(), Some(child))));
        });
        self.started.notify_all();
        started
    }

    /// Waits while the attempt is being started: the job of an actor that was restarted meanwhile still finishes its
    /// start, and an attempt that is claimed before its shim runs never starts.
    fn until_started(&self, attempt: &AttemptId) -> MutexGuard<'_, HashMap<AttemptId, Option<Child>>> {
        let starting = |children: &mut HashMap<AttemptId, Option<Child>>| matches!(children.get(attempt), Some(None));
        self.started.wait_while(self.children(), starting).unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `None` if it was already started.
    fn start_shim(&self, job: &Job) -> Result<Option<Child>, RuntimeError> {
        let dir = self.dir(&job.attempt);
        if dir.join(layout::PID).is_symlink() {
            return Ok(None);
        }
        let cgroups = match &self.cgroups {
            Some(cgroups) => {
                cgroups.make(&job.attempt, &job.limits).map_err(RuntimeError::failed("making a cgroup"))?
            }
            None => Vec::new(),
        };
        let spec = order::spec(self, job, dir, cgroups)?;
        if !self.spares.put(&spec.dir, |spare| files::write_over(job, &spec, spare)) {
            files::write(job, &spec.dir, &spec, spec.user)
                .map_err(RuntimeError::failed(format!("writing the files of {}", job.attempt)))?;
        }
        let secrets: HashMap<&str, &str> = job.secrets.iter().map(|(n, value)| (n.as_str(), value.expose())).collect();
        let mut child = self
            .shim("run", &spec.dir, &spec.key)
            .stdin(if spec.secrets.is_some() { Stdio::piped() } else { Stdio::null() })
            .spawn()
            .map_err(RuntimeError::failed(format!("starting the shim of {}", job.attempt)))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A shim that died does not read; `wait` reports it.
            let _ = serde_json::to_vec(&secrets).map_err(io::Error::other).and_then(|text| stdin.write_all(&text));
        }
        Ok(Some(child))
    }

    /// The shim's command line. It avoids options that make std fork instead of spawn, because a fork costs more the
    /// larger the node is.
    fn shim(&self, mode: &str, dir: &Path, key: &str) -> Command {
        let mut command = Command::new(&self.shim);
        command.arg(mode).arg(dir.join(layout::SPEC)).env_clear().env(layout::KEY_VARIABLE, key);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The process that runs the attempt, if it is known and still exists: never another process, whatever the record
    /// says.
    fn running(&self, dir: &Path) -> Option<Identity> {
        identity::read(dir).ok()?.filter(|identity| identity.is_alive(&self.boot_id) && identity.serves(dir))
    }

    fn is_running(&self, attempt: &AttemptId) -> bool {
        match self.children().get_mut(attempt) {
            Some(Some(child)) => !matches!(child.try_wait(), Ok(Some(_)) | Err(_)),
            Some(None) => true,
            None => self.running(&self.dir(attempt)).is_some(),
        }
    }

    fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        let attempts = files::list(&self.config.attempts).map_err(RuntimeError::failed("listing the attempts"))?;
        let observe = |attempt: AttemptId| {
            let dir = self.dir(&attempt);
            let state = if self.is_running(&attempt) {
                State::Running
            } else {
                // An attempt that no shim has claimed is claimed here, so that the answer stays true.
                match self.spares.claim(&dir) {
                    Ok(_) => State::Ended,
                    Err(error) => State::Broken { why: format!("its files are incomplete: {error}") },
                }
            };
            Observed { attempt, state }
        };
        Ok(attempts.into_iter().map(observe).collect())
    }

    fn remove(&self, attempt: &AttemptId) -> Result<(), RuntimeError> {
        let dir = self.dir(attempt);
        let over = match self.children().get_mut(attempt) {
            Some(Some(child)) => child.try_wait().is_ok_and(|status| status.is_some_and(|status| status.success())),
            _ => false,
        };
        if dir.exists() {
            // An attempt that ended by itself with our own shim has no processes left; for all others they are
            // searched.
            if !over && !self.is_settled(&dir) {
                // Claimed, so that a shim that was started but has not claimed it yet never will.
                let _ = self.spares.claim(&dir);
                leftovers::end(self, attempt, &dir);
            }
            if !(over && self.spares.keep(&dir)) {
                remove::remove(&dir).map_err(RuntimeError::failed(format!("removing {}", dir.display())))?;
            }
        }
        if let Some(cgroups) = &self.cgroups {
            cgroups.remove(attempt);
        }
        // Only a killed shim leaves it behind.
        let _ = fs::remove_dir_all(order::secret_dir(self, attempt));
        if let Some(Some(mut child)) = self.children().remove(attempt) {
            let _ = child.try_wait();
        }
        Ok(())
    }

    /// Whether the node's own file says that `wait` saw the end and found nothing left.
    fn is_settled(&self, dir: &Path) -> bool {
        self.root && fs::exists(dir.join(files::SETTLED)).unwrap_or(false)
    }
}
