//! The composition root: a node is a store, the actors over it, and an API. `devstack-node` uses it; `run`, `up`,
//! `quickstart` and every command that finds no running node embed it. Deliberately absent: anything that the actors or
//! the engine decide.

mod agents_dir;
mod backend;
pub mod embed;
mod export;
mod exporters;
mod ground;
mod housekeeping;
pub mod identity;
pub mod join;
mod links;
mod pulse;
mod renewal;
mod runtimes;
mod serving;
mod supervisor;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::Router;
use devstack_cluster::Link;
use devstack_dag::ids::Timestamp;
use ractor::{Actor, ActorRef};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    actor::{Address, Generations},
    agent_host::{Host, Keyring, Seeds, message::AgentHostMessage, supply},
    devops::{Devops, DevopsArguments, Project},
    downlink::Uploads,
    taskmaster::{Outbox, StartDevops, message::TaskmasterMessage},
};
use backend::{Backups, BundleLimits, Bundles, Core, Diffs};
use devstack_config::{
    node::{Limits, NodeConfig},
    secrets::Secrets,
};
use devstack_gateway as gateway;
use devstack_gateway::{Backend, Cluster};
use devstack_machine::disk::{Disk, Reserve};
use devstack_members::audit::Audit;
use devstack_repository::{Hubs, policy, reach::Rules};
use devstack_runtime::Runtime;
use devstack_store::{Blobs, JournalConfig, StoreLock};
use export::Export;
use ground::Ground;
use housekeeping::Housekeeping;
pub use identity::Identity;
pub use pulse::Pulse;
pub use serving::Serving;
use supervisor::{NodeSupervisor, Parts, Seat, SupervisorArguments, SupervisorMessage};

/// A running node.
pub struct Node {
    /// `None` if the Taskmaster is on another machine.
    core: Option<Arc<Core>>,
    /// `None` if it runs no attempts.
    host: Option<Arc<Host>>,
    disk: Arc<Disk>,
    end: links::End,
    link: Option<Link>,
    supervisor: ActorRef<SupervisorMessage>,
    agent_host: Option<Address<AgentHostMessage>>,
    fatal: mpsc::UnboundedReceiver<String>,
    audit: Arc<Audit>,
    /// Background tasks besides its actors, which end with it.
    exporters: Vec<JoinHandle<()>>,
    _held: Option<StoreLock>,
}

/// The purpose of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Run attempts and merge their results.
    Dispatch,
    /// Serve one request, reading or changing; nothing is started.
    ServeOnly,
}

/// The dependencies of a node on the machine.
pub struct Surroundings {
    /// The wall clock, for display only; nothing waits by it.
    pub clock: fn() -> Timestamp,
    /// The runtime; `None` for the one in the configuration.
    pub runtime: Option<Arc<dyn Runtime>>,
    /// Its identity in a cluster; `None` if it is alone.
    pub identity: Option<Identity>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { clock: wall_clock, runtime: None, identity: None }
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
        /// The cause.
        source: std::io::Error,
    },
    /// The store is damaged, in use, or the disk fails.
    #[error(transparent)]
    Store(#[from] devstack_store::StoreError),
    /// The runtime is not usable here.
    #[error(transparent)]
    Runtime(#[from] devstack_runtime::RuntimeError),
    /// It has no link to other nodes.
    #[error("cannot start the link to other nodes: {0}")]
    Link(#[from] devstack_cluster::LinkError),
    /// An exporter of the node cannot work.
    #[error("{0}")]
    Outside(String),
    /// An actor did not start.
    #[error("the node's actors did not start: {0}")]
    Actors(String),
}

/// The longest wait for attempts to end when a node was asked to stop them.
const STOP_ATTEMPTS: Duration = Duration::from_secs(120);

/// The longest wait for the removal of finished attempts' files when a node stops; the next start removes the rest.
const TIDY_UP: Duration = Duration::from_secs(10);

/// The longest wait for the journal at the end: accepted changes become durable.
const STOP_ACTORS: Duration = Duration::from_secs(30);

impl Node {
    /// Opens the store and starts the actors. `secrets` are the secrets of this host.
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
        let Surroundings { clock, runtime: given, identity } = surroundings;
        let ground = Ground::open(config, mode).await?;
        let (fatal, fatal_seen) = mpsc::unbounded_channel();
        let (taskmaster, agent_host) = (Address::vacant("Taskmaster"), Address::vacant("AgentHost"));
        let timers = tokio::runtime::Handle::current();
        let outbox = Outbox::new(taskmaster.clone(), ground.blobs.clone(), timers, mode == Mode::ServeOnly);
        let end = match &identity {
            Some(identity) => links::End::new(config, identity, &taskmaster, &agent_host, &outbox).await?,
            None => links::End::None,
        };
        let mut dirs = vec![config.state_dir.clone()];
        let reserve = Reserve::new(config.limits.disk_reserve);
        let host = match mode {
            Mode::Dispatch if config.roles.agent_host => {
                let runtime = runtimes::open(config, &ground.label, given).await?;
                dirs.extend(Some(runtime.1.clone()).filter(|agents| *agents != config.state_dir));
                let disk = Arc::new(Disk::new(dirs.clone(), reserve));
                Some(Arc::new(make_host(config, secrets, &ground, runtime, &taskmaster, &end, disk)))
            }
            _ => None,
        };
        let disk = host.as_ref().map_or_else(|| Arc::new(Disk::new(dirs, reserve)), |host| host.disk.clone());
        let (news, heard) = watch::channel(0);
        let rules = Arc::new(Rules::new(&config.taskmaster));
        let Ground { store, held, blobs, hubs, shelf, attempts_behind, label, .. } = ground;
        let wanted = mode == Mode::Dispatch && store.is_some();
        let traces = if wanted { exporters::traces(config, &label)? } else { None };
        let seat = store.is_some().then(|| Seat {
            engine: devstack_dag::Config {
                dispatch: mode == Mode::Dispatch,
                attempts_behind,
                member_slots: u32::try_from(config.limits.member_slots).unwrap_or(u32::MAX),
                attempt_slack_ms: config.limits.attempt_slack,
                max_disconnect_ms: config.limits.max_disconnect,
                long_disconnect_ms: config.limits.long_disconnect,
                ..devstack_dag::Config::default()
            },
            journal: JournalConfig::default(),
            outbox: outbox.clone(),
            start_devops: start_devops(
                config,
                hubs.clone(),
                rules.clone(),
                blobs.clone(),
                taskmaster.clone(),
                fatal.clone(),
                clock,
            ),
            keep_facts: config.limits.facts,
            news,
            leases: links::leases(config),
            clock,
            traces: traces.as_ref().map(|(traces, _)| traces.clone()),
            joined: links::joined(identity.as_ref()),
        });
        let is_taskmaster = seat.is_some();
        let parts = Parts {
            seat,
            taskmaster: taskmaster.clone(),
            agent_host: agent_host.clone(),
            host: host.clone(),
            fatal: fatal.clone(),
        };
        let (supervisor, _) = Actor::spawn(None, NodeSupervisor, SupervisorArguments { parts, store })
            .await
            .map_err(|error| NodeError::Actors(error.to_string()))?;
        // After the actors, so that messages from a link find them.
        let link = end.connect(config, identity.as_ref(), host.as_ref(), fatal).await?;
        let remote = end.remote(config);
        let core = if is_taskmaster {
            let uploads = config.state_dir.join("uploads");
            let failed = |source| NodeError::StateDir { path: uploads.clone(), source };
            let packers = usize::try_from(config.limits.packers).unwrap_or(usize::MAX);
            let bundle_limits = BundleLimits { space: config.limits.bundle_space, packers };
            Some(Arc::new(Core {
                taskmaster: taskmaster.clone(),
                blobs: blobs.clone(),
                hubs,
                host: host.clone(),
                shelf,
                clock,
                results: results_of(&config.limits),
                pushes: Uploads::open(uploads.join("pushed"), config.limits.repository_size).map_err(failed)?,
                unknown_pushes: Mutex::default(),
                rules,
                disk: disk.clone(),
                bundles: Bundles::open(uploads.join("bundles"), bundle_limits).map_err(failed)?,
                backups: Backups::new(config.state_dir.clone(), attempts_behind),
                diffs: Diffs::default(),
                scratch: uploads.clone(),
                versions: std::hash::RandomState::new(),
                remote,
            }))
        } else {
            None
        };
        let housekeeping = (mode == Mode::Dispatch && is_taskmaster).then(|| {
            let retention = Duration::from_millis(config.limits.attempts);
            Housekeeping { taskmaster: taskmaster.clone(), outbox, blobs, retention }.start()
        });
        let export = core.clone().zip(config.dashboard.export.clone()).filter(|_| mode == Mode::Dispatch);
        let export = export.map(|(core, file)| {
            let interval = Duration::from_millis(config.dashboard.export_interval);
            Export { backend: core, file, interval }.start()
        });
        let told = config.webhook.as_ref().filter(|_| mode == Mode::Dispatch && is_taskmaster);
        let webhook = match told {
            Some(webhook) => Some(exporters::webhook(config, webhook, label, taskmaster, heard).await?),
            None => None,
        };
        let exporters =
            housekeeping.into_iter().chain(export).chain(webhook).chain(traces.map(|(_, export)| export)).collect();
        let agent_host = host.is_some().then_some(agent_host);
        let audit = Arc::new(Audit::new(&config.state_dir, config.limits.audit));
        Ok(Self {
            core,
            host,
            disk,
            end,
            link,
            supervisor,
            agent_host,
            fatal: fatal_seen,
            exporters,
            audit,
            _held: held,
        })
    }

    /// The backend of the API; `None` if this node is not a Taskmaster.
    pub fn backend(&self) -> Option<Arc<dyn Backend>> {
        Some(self.core.clone()?)
    }

    /// The API of this node: the complete API of the Taskmaster, or the few paths of a node that only runs attempts.
    pub fn router(&self, cluster: Option<Arc<Cluster>>, limits: Limits) -> Router {
        match self.backend() {
            Some(backend) => gateway::router_of(backend, cluster, Some(self.audit.clone()), limits),
            None => {
                let end = self.end.clone();
                gateway::agent_router(Arc::new(move || end.is_connected()), self.disk.clone())
            }
        }
    }

    /// Returns with the reason when the node cannot continue: the process must end.
    pub async fn failed(&mut self) -> String {
        match self.fatal.recv().await {
            Some(reason) => reason,
            // Nobody asks a node that was told to stop.
            None => "the node's supervisor failed".to_owned(),
        }
    }

    /// The liveness check of its actors.
    pub fn pulse(&self) -> Pulse {
        let taskmaster = self.core.as_ref().map(|core| core.taskmaster.clone());
        Pulse { taskmaster, agent_host: self.agent_host.clone() }
    }

    /// From now on attempts get these secrets, and placement knows their names.
    pub fn replace_secrets(&self, secrets: Secrets) {
        let (Some(host), Some(agent_host)) = (&self.host, &self.agent_host) else { return };
        host.secrets.replace(secrets);
        // If it is being restarted, its successor reports by itself.
        let _ = agent_host.cast(AgentHostMessage::Order(crate::wire::HostOrder::ReportAgain));
    }

    /// Stops the actors; accepted changes become durable. With `stop_attempts`, attempts are stopped too; otherwise
    /// they continue, and the next start adopts them.
    pub async fn stop(self, stop_attempts: bool) {
        self.exporters.iter().for_each(JoinHandle::abort);
        if let Some(agent_host) = self.agent_host {
            let all = if stop_attempts {
                agent_host.ask(STOP_ATTEMPTS, AgentHostMessage::StopAll).await
            } else {
                agent_host.ask(TIDY_UP, AgentHostMessage::TidyUp).await
            };
            if all.is_err() {
                tracing::error!("some attempts were not ended or removed in time; the next start adopts them");
            }
            if let Some(host) = &self.host {
                host.runtime.tidy().await;
            }
        }
        // Others notice at once that it is gone.
        if let Some(link) = self.link {
            link.stop().await;
        }
        if self.supervisor.stop_and_wait(None, Some(STOP_ACTORS)).await.is_err() {
            tracing::error!("the actors did not stop in time");
        }
    }
}

/// The machine as its actors see it.
fn make_host(
    config: &NodeConfig,
    secrets: Secrets,
    ground: &Ground,
    (runtime, agents_dir): (Arc<dyn Runtime>, PathBuf),
    taskmaster: &Address<TaskmasterMessage>,
    end: &links::End,
    disk: Arc<Disk>,
) -> Host {
    let supply = end
        .supply()
        .unwrap_or_else(|| Arc::new(supply::Local { hubs: ground.hubs.clone(), blobs: ground.blobs.clone() }));
    Host {
        name: config.name.clone(),
        slots: config.agent_host.slots,
        labels: config.labels.clone(),
        roles: config.agent_host.roles.clone(),
        runtime,
        seeds: Arc::new(Seeds::new(supply.clone(), ground.git.clone(), &agents_dir)),
        secrets: Keyring::new(secrets),
        supply,
        incarnations: Generations::default(),
        shelf: ground.shelf.clone(),
        log_retention: Duration::from_millis(config.limits.attempts),
        superior: end.superior().unwrap_or_else(|| Arc::new(taskmaster.clone())),
        disk,
    }
}

/// The limits of a result, from the node's limits.
fn results_of(limits: &devstack_config::node::Limits) -> policy::Limits {
    let paths = usize::try_from(limits.result_paths).unwrap_or(usize::MAX);
    policy::Limits { bundle_bytes: limits.bundle_size, paths, ..policy::Limits::default() }
}

fn start_devops(
    config: &NodeConfig,
    hubs: Option<Arc<Hubs>>,
    rules: Arc<Rules>,
    blobs: Arc<Blobs>,
    taskmaster: Address<crate::taskmaster::message::TaskmasterMessage>,
    fatal: mpsc::UnboundedSender<String>,
    clock: fn() -> Timestamp,
) -> StartDevops {
    let limits = results_of(&config.limits);
    Arc::new(move |spec, fence, supervisor| {
        let project = Project {
            spec: spec.into(),
            hubs: hubs.clone(),
            rules: rules.clone(),
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

/// The wall clock in seconds since 1970, the unit of certificates.
pub(crate) fn unix_seconds() -> i64 {
    i64::try_from(wall_clock().0 / 1000).unwrap_or(i64::MAX)
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
