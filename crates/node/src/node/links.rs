//! This node's end of the links between machines: the Taskmaster's, an agent host's, or none. Deliberately absent: what
//! travels on them.

use std::{sync::Arc, time::Duration};

use devstack_cluster::{Incarnation, Leases, Limits, Link, LinkConfig, NodeName, Receiver, tls};
use tokio::sync::mpsc;

use super::{Identity, NodeError, backend::RemoteSide, identity::Side};
use crate::{
    actor::Address,
    agent_host::{Host, Superior, Supply, message::AgentHostMessage},
    downlink::{Downlink, Results, Uploads},
    taskmaster::{Joined, Outbox, message::TaskmasterMessage},
    uplink::{self, Bulk, BulkLimits, Uplink, UplinkConfig},
    wire::Welcome,
};
use devstack_config::node::NodeConfig;

/// Ractor's label of all devstack clusters: certificates separate them.
const CLUSTER: &str = "devstack";
/// Number of heartbeats within the time after which a host is SUSPECT: one may be lost, and one late.
const HEARTBEATS: u64 = 4;

/// This node's end of the links.
#[derive(Clone)]
pub(super) enum End {
    /// No other machine takes part.
    None,
    /// The Taskmaster's end.
    Down(Downlink),
    /// An agent host's end.
    Up(Uplink, Arc<uplink::Remote>),
}

/// How long hosts may be silent.
pub(super) fn leases(config: &NodeConfig) -> Leases {
    Leases {
        suspect_after: Duration::from_millis(config.limits.suspect_after),
        max_disconnect: Duration::from_millis(config.limits.max_disconnect),
    }
}

/// The limits that machines got when they joined. Reading never waits for a disk.
pub(super) fn joined(identity: Option<&Identity>) -> Joined {
    let members = identity.and_then(|identity| match &identity.side {
        Side::Taskmaster(members) => Some(members.clone()),
        Side::Joined(_) => None,
    });
    Arc::new(move |host| {
        let name = NodeName::new(host.as_str()).ok();
        members.as_ref().zip(name).and_then(|(members, name)| members.pins(&name)).unwrap_or_default()
    })
}

impl End {
    /// The end that the node's identity requires; not connected yet.
    pub(super) async fn new(
        config: &NodeConfig,
        identity: &Identity,
        taskmaster: &Address<TaskmasterMessage>,
        agent_host: &Address<AgentHostMessage>,
        outbox: &Outbox,
    ) -> Result<Self, NodeError> {
        let dir = config.state_dir.join("uploads");
        let failed = |source| NodeError::StateDir { path: dir.clone(), source };
        Ok(match &identity.side {
            Side::Taskmaster(_) => {
                let welcome = Welcome {
                    max_disconnect_ms: config.limits.max_disconnect,
                    heartbeat_ms: config.limits.suspect_after / HEARTBEATS,
                    log_size: config.limits.log_size,
                };
                let uploads = Uploads::open(dir.join("results"), config.limits.bundle_size).map_err(failed)?;
                let results = Arc::new(Results::new(uploads, config.limits.results_size));
                Self::Down(Downlink::new(taskmaster.clone(), outbox.clone(), welcome, results))
            }
            Side::Joined(api) => {
                let bulk_limits = BulkLimits {
                    size: config.limits.repository_size,
                    answer: Duration::from_millis(config.limits.answer),
                };
                let bulk = Bulk::new(api, identity.credentials.clone(), bulk_limits);
                let uplink = Uplink::new(UplinkConfig {
                    agent_host: agent_host.clone(),
                    bulk: bulk.clone(),
                    on_disconnect: config.agent_host.on_disconnect,
                    delivery: Duration::from_millis(config.limits.delivery),
                    limits: super::results_of(&config.limits),
                });
                Self::Up(uplink, uplink::Remote::new(bulk, dir.join("fetched")).map_err(failed)?)
            }
        })
    }

    /// The destination of a host's reports; `None` for the Taskmaster of this process.
    pub(super) fn superior(&self) -> Option<Arc<dyn Superior>> {
        match self {
            Self::Up(uplink, _) => Some(Arc::new(uplink.clone())),
            Self::None | Self::Down(_) => None,
        }
    }

    /// The source of a host's material; `None` for this machine.
    pub(super) fn supply(&self) -> Option<Arc<dyn Supply>> {
        match self {
            Self::Up(_, remote) => Some(remote.clone()),
            Self::None | Self::Down(_) => None,
        }
    }

    /// What the API needs to serve other machines.
    pub(super) fn remote(&self, config: &NodeConfig) -> Option<RemoteSide> {
        let Self::Down(downlink) = self else { return None };
        Some(RemoteSide { downlink: downlink.clone(), log_size: config.limits.log_size })
    }

    /// Whether it can do its work: an agent host must be connected to its Taskmaster.
    pub(super) fn is_connected(&self) -> bool {
        match self {
            Self::Up(uplink, _) => uplink.is_connected(),
            Self::None | Self::Down(_) => true,
        }
    }

    /// Starts to listen or to dial.
    pub(super) async fn connect(
        &self,
        config: &NodeConfig,
        identity: Option<&Identity>,
        host: Option<&Arc<Host>>,
        fatal: mpsc::UnboundedSender<String>,
    ) -> Result<Option<Link>, NodeError> {
        let Some(identity) = identity else { return Ok(None) };
        let (receiver, listen, join): (Arc<dyn Receiver>, _, _) = match self {
            Self::None => return Ok(None),
            Self::Down(_) if config.link.listen.is_none() => return Ok(None),
            Self::Down(downlink) => (Arc::new(downlink.clone()), config.link.listen, Vec::new()),
            Self::Up(uplink, _) => {
                if let Some(host) = host {
                    uplink.serve(host);
                }
                (Arc::new(uplink.clone()), None, config.link.join.clone())
            }
        };
        tls::install_provider();
        let name = NodeName::new(config.name.as_str()).map_err(|error| NodeError::Actors(error.to_string()))?;
        let incarnation = Incarnation::random().map_err(|error| NodeError::Actors(error.to_string()))?;
        let (server, client) = (identity.credentials.clone(), identity.credentials.clone());
        let side = identity.side.clone();
        let about = host.map(|host| host.introduction().encode()).unwrap_or_default().into();
        let link = Link::start(LinkConfig {
            name,
            incarnation,
            cluster: CLUSTER.to_owned(),
            server: Arc::new(move || server.server_config()),
            client: Arc::new(move || client.client_config()),
            admit: Arc::new(move |peer| match &side {
                Side::Taskmaster(members) => members.admit(peer).map_err(|error| error.to_string()),
                // It dialed the name of its Taskmaster, which no other member may have.
                Side::Joined(_) => Ok(()),
            }),
            listen,
            join,
            limits: Limits::default(),
            about,
            receiver,
        })
        .await?;
        match self {
            Self::None => {}
            Self::Down(downlink) => downlink.attach(link.clone()),
            Self::Up(uplink, _) => uplink.attach(link.clone()),
        }
        let ended = link.clone();
        tokio::spawn(async move {
            let why = ended.ended().await;
            // If nobody listens, the node is already ending.
            let _ = fatal.send(format!("the link to other nodes ended: {why}"));
        });
        if let Some(address) = link.local_addr() {
            tracing::info!(%address, "listening for agent hosts");
        }
        Ok(Some(link))
    }
}
