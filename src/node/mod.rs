//! The composition root: a node is a store, the actors over it, and an API. Used by `devstack-node` and embedded by
//! `run`, `up`, `quickstart` and every command that finds no node running.
//! Deliberately absent: anything that the actors or the engine decide.

mod agents_dir;
mod backend;
pub mod embed;
mod housekeeping;
pub mod identity;
pub mod join;
mod pulse;
mod renewal;
mod serving;
mod supervisor;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use devstack_dag::ids::Timestamp;
use ractor::{Actor, ActorRef};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    actor::{Address, Generations},
    agent_host::{Host, Keyring, Seeds, Shelf, Supply, message::AgentHostMessage, supply},
    config::{self, node::NodeConfig, secrets::Secrets},
    devops::{Devops, DevopsArguments, Project},
    gateway::Backend,
    repository::{Hubs, git::Git, policy},
    runtime::{DockerConfig, DockerRuntime, ProcessConfig, ProcessRuntime, Runtime, Sandbox},
    store::{Blobs, JournalConfig, SledOptions, SledStore},
    taskmaster::{Outbox, StartDevops},
};
use backend::Core;
use housekeeping::Housekeeping;
pub use identity::Identity;
pub use pulse::Pulse;
pub use serving::Serving;
use supervisor::{NodeSupervisor, Parts, SupervisorArguments, SupervisorMessage};

/// A running node.
pub struct Node {
    core: Arc<Core>,
    supervisor: ActorRef<SupervisorMessage>,
    agent_host: Option<Address<AgentHostMessage>>,
    fatal: mpsc::UnboundedReceiver<String>,
    housekeeping: Option<JoinHandle<()>>,
}

/// What a node is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To run attempts and merge their results.
    Dispatch,
    /// To serve one request, reading or changing; nothing is started.
    ServeOnly,
}

/// What a node takes from the machine.
pub struct Surroundings {
    /// The wall clock, for what people read; nothing waits by it.
    pub clock: fn() -> Timestamp,
    /// What runs attempts; `None`: the one that the configuration names.
    pub runtime: Option<Arc<dyn Runtime>>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { clock: wall_clock, runtime: None }
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its directory cannot be made or used.
    #[error("cannot use the state directory {path}: {source}")]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store is damaged, in use, or the disk fails.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The runtime is not usable here.
    #[error(transparent)]
    Runtime(#[from] crate::runtime::RuntimeError),
    /// An actor did not start.
    #[error("the node's actors did not start: {0}")]
    Actors(String),
}

/// The longest wait for attempts to end when a node was asked to stop them.
const STOP_ATTEMPTS: Duration = Duration::from_secs(120);

/// The longest wait for files of finished attempts to be removed when a node stops; the next start removes the rest.
const TIDY_UP: Duration = Duration::from_secs(10);

/// The longest wait for the store of a node that has just ended: what it forked off holds the lock, too, until it has
/// become another program.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// The longest wait for the journal at the end: what was accepted becomes durable.
const STOP_ACTORS: Duration = Duration::from_secs(30);

impl Node {
    /// Opens the store and starts the actors. `secrets` are those of this host.
    pub async fn start(config: &NodeConfig, secrets: Secrets, mode: Mode) -> Result<Self, NodeError> {
        Self::start_in(config, secrets, mode, Surroundings::default()).await
    }

    /// [`Node::start`] with another clock or runtime: for tests of the actors.
    pub async fn start_in(
        config: &NodeConfig,
        secrets: Secrets,
        mode: Mode,
        surroundings: Surroundings,
    ) -> Result<Self, NodeError> {
        let Surroundings { clock, runtime: given } = surroundings;
        let dir = config.state_dir.clone();
        let store = tokio::task::spawn_blocking(move || open_store(&dir))
            .await
            .map_err(|error| NodeError::Actors(error.to_string()))??;
        let label = crate::store::Store::meta(&store).label;
        let blobs = Arc::new(Blobs::open(&config.state_dir.join("blobs"))?);
        // Without git a node still runs plans without a repository; `doctor` and every use of a repository say so.
        let hubs = Git::probe().ok().map(|git| Arc::new(Hubs::new(config.state_dir.join("projects"), git)));
        let (fatal, fatal_seen) = mpsc::unbounded_channel();
        let (news, _) = watch::channel(0);

        let taskmaster = Address::vacant("Taskmaster");
        let outbox = Outbox::new(taskmaster.clone(), tokio::runtime::Handle::current(), mode == Mode::ServeOnly);
        // The runtime, and where its agents may read.
        let runtime = match mode {
            Mode::ServeOnly => None,
            Mode::Dispatch => Some(match given {
                Some(runtime) => (runtime, config.state_dir.clone()),
                None => match config.agent_host.runtime {
                    config::node::Runtime::Docker => docker_runtime(config, label.to_string()).await?,
                    config::node::Runtime::Process => process_runtime(config, label.to_string()).await?,
                },
            }),
        };
        let shelf = Shelf::new(config.state_dir.join("logs"));
        let host = runtime.map(|(runtime, agents_dir)| {
            let supply: Arc<dyn Supply> = Arc::new(supply::Local { hubs: hubs.clone(), blobs: blobs.clone() });
            let git = hubs.as_ref().map(|hubs| hubs.git().clone());
            Arc::new(Host {
                name: config.name.clone(),
                slots: config.agent_host.slots,
                labels: config.labels.clone(),
                roles: config.agent_host.roles.clone(),
                runtime,
                seeds: Arc::new(Seeds::new(supply.clone(), git, &agents_dir)),
                secrets: Keyring::new(secrets),
                supply,
                incarnations: Generations::default(),
                shelf: shelf.clone(),
                log_retention: Duration::from_millis(config.limits.attempts),
                superior: Arc::new(taskmaster.clone()),
            })
        });
        let agent_host = Address::vacant("AgentHost");
        let housekeeping = Housekeeping {
            taskmaster: taskmaster.clone(),
            outbox: outbox.clone(),
            blobs: blobs.clone(),
            retention: Duration::from_millis(config.limits.attempts),
        };
        let parts = Parts {
            engine: devstack_dag::Config { dispatch: mode == Mode::Dispatch, ..devstack_dag::Config::default() },
            journal: JournalConfig::default(),
            outbox,
            start_devops: start_devops(config, hubs.clone(), blobs.clone(), taskmaster.clone(), fatal.clone(), clock),
            keep_facts: config.limits.facts,
            news: news.clone(),
            taskmaster: taskmaster.clone(),
            agent_host: agent_host.clone(),
            host: host.clone(),
            fatal,
            clock,
        };
        let (supervisor, _) = Actor::spawn(None, NodeSupervisor, SupervisorArguments { parts, store: Box::new(store) })
            .await
            .map_err(|error| NodeError::Actors(error.to_string()))?;
        let core = Arc::new(Core {
            taskmaster,
            blobs,
            hubs,
            host: host.clone(),
            shelf,
            clock,
            scratch: config.state_dir.join("uploads"),
            bundle_size: config.limits.bundle_size,
        });
        let housekeeping = (mode == Mode::Dispatch).then(|| housekeeping.start());
        Ok(Self { core, supervisor, agent_host: host.map(|_| agent_host), fatal: fatal_seen, housekeeping })
    }

    /// What the API needs.
    pub fn backend(&self) -> Arc<dyn Backend> {
        self.core.clone()
    }

    /// Returns with the reason when the node cannot go on: the process must end.
    pub async fn failed(&mut self) -> String {
        match self.fatal.recv().await {
            Some(reason) => reason,
            // Nobody asks a node that was told to stop.
            None => "the node's supervisor failed".to_owned(),
        }
    }

    /// Asks its actors whether they live.
    pub fn pulse(&self) -> Pulse {
        Pulse { taskmaster: self.core.taskmaster.clone(), agent_host: self.agent_host.clone() }
    }

    /// From now on attempts get these secrets, and placement knows their names.
    pub fn replace_secrets(&self, secrets: Secrets) {
        let (Some(host), Some(agent_host)) = (&self.core.host, &self.agent_host) else { return };
        host.secrets.replace(secrets);
        // It is being restarted: its successor reports by itself.
        let _ = agent_host.cast(AgentHostMessage::Order(crate::wire::HostOrder::ReportAgain));
    }

    /// Stops the actors; what was accepted becomes durable. Attempts go on, to be adopted by the next start, unless
    /// they are to be stopped.
    pub async fn stop(self, stop_attempts: bool) {
        if let Some(housekeeping) = self.housekeeping {
            housekeeping.abort();
        }
        if let Some(agent_host) = self.agent_host {
            let all = if stop_attempts {
                agent_host.ask(STOP_ATTEMPTS, AgentHostMessage::StopAll).await
            } else {
                agent_host.ask(TIDY_UP, AgentHostMessage::TidyUp).await
            };
            if all.is_err() {
                tracing::error!("some attempts did not end, or were not removed, in time; the next start finds them");
            }
            if let Some(host) = &self.core.host {
                host.runtime.tidy().await;
            }
        }
        if self.supervisor.stop_and_wait(None, Some(STOP_ACTORS)).await.is_err() {
            tracing::error!("the actors did not stop in time");
        }
    }
}

/// Agents, as another user, pass through the state directory to their own; these are none of their business.
const PRIVATE: [&str; 5] = ["store", "blobs", "projects", "logs", "uploads"];

fn make_private(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

fn open_store(state_dir: &Path) -> Result<SledStore, NodeError> {
    for private in PRIVATE {
        let path = state_dir.join(private);
        make_private(&path).map_err(|source| NodeError::StateDir { path, source })?;
    }
    let started = std::time::Instant::now();
    loop {
        match SledStore::open(&state_dir.join("store"), SledOptions::default()) {
            Err(crate::store::StoreError::Held { .. }) if started.elapsed() < STORE_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return Ok(opened?),
        }
    }
}

/// Thousandths of a processor for each slot.
fn cpu_share(slots: u32) -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    (processors.saturating_mul(1000) / slots.max(1)).max(10)
}

async fn docker_runtime(config: &NodeConfig, label: String) -> Result<(Arc<dyn Runtime>, PathBuf), NodeError> {
    let host = &config.agent_host;
    let mut docker = DockerConfig::new(config.state_dir.clone(), label, host.docker.clone());
    docker.bundle_max = config.limits.bundle_size;
    docker.shards = host.shards.clone();
    // Slots share the processors, so that one that spins takes nothing from the others.
    docker.cpu_millis = Some(cpu_share(host.slots));
    docker.pin = docker.cpu_millis >= Some(1000);
    agents_dir::unmask();
    // The engine passes through for them: containers see mounts, not the way to them.
    Ok((Arc::new(DockerRuntime::open(docker).await?), config.state_dir.clone()))
}

async fn process_runtime(config: &NodeConfig, label: String) -> Result<(Arc<dyn Runtime>, PathBuf), NodeError> {
    let mut process = ProcessConfig::new(config.state_dir.clone(), label);
    process.bundle_max = config.limits.bundle_size;
    process.sandbox = match config.agent_host.sandbox {
        config::node::Sandbox::Auto => Sandbox::Auto,
        config::node::Sandbox::Off => Sandbox::Off,
    };
    let open = move || {
        let agents_dir = agents_dir::find(&process)?;
        process.attempts = agents_dir.join("attempts");
        Ok((Arc::new(ProcessRuntime::new(process)?) as Arc<dyn Runtime>, agents_dir))
    };
    tokio::task::spawn_blocking(open).await.map_err(|error| NodeError::Actors(error.to_string()))?
}

fn start_devops(
    config: &NodeConfig,
    hubs: Option<Arc<Hubs>>,
    blobs: Arc<Blobs>,
    taskmaster: Address<crate::taskmaster::message::TaskmasterMessage>,
    fatal: mpsc::UnboundedSender<String>,
    clock: fn() -> Timestamp,
) -> StartDevops {
    let limits = policy::Limits { bundle_bytes: config.limits.bundle_size, ..policy::Limits::default() };
    Arc::new(move |spec, fence, supervisor| {
        let project = Project {
            spec: spec.into(),
            hubs: hubs.clone(),
            blobs: blobs.clone(),
            limits,
            fatal: fatal.clone(),
            clock,
            fence,
        };
        let arguments = DevopsArguments { project, taskmaster: taskmaster.clone() };
        Box::pin(async move { Ok(Actor::spawn_linked(None, Devops, arguments, supervisor).await?.0) })
    })
}

/// The wall clock, in seconds since 1970: what certificates count by.
pub(crate) fn unix_seconds() -> i64 {
    i64::try_from(wall_clock().0 / 1000).unwrap_or(i64::MAX)
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
