//! The identity of this node in its cluster: its certificate, and on the Taskmaster the registry of all other nodes.
//! Deliberately absent: founding a cluster (the CLI does it) and joining ([`join`](super::join)).

use std::{fs, io, path::PathBuf, sync::Arc};

use devstack_cluster::{Credentials, CredentialsError, NodeKey};
use devstack_dag::ids::Timestamp;

use devstack_config::node::NodeConfig;
use devstack_gateway::Cluster;
use devstack_members as members;
use devstack_members::{Members, MembersError};

/// Where a joined machine stores the address of the Taskmaster's API, in the directory of its certificate.
pub(super) const API_FILE: &str = "api-address";

/// A node's identity in a cluster.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its certificate, which can be replaced while the node runs.
    pub credentials: Arc<Credentials>,
    /// Its role.
    pub side: Side,
}

/// Taskmaster or joined machine.
#[derive(Debug, Clone)]
pub enum Side {
    /// The Taskmaster, with the registry of all members.
    Taskmaster(Arc<Members>),
    /// A joined machine, with the address of the Taskmaster's API, `HOST:PORT`.
    Joined(String),
}

/// Why a node has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It must be reachable by others, but belongs to no cluster.
    #[error("`listen` of [api] and [link] needs a cluster; run `devstack cluster init`, or remove `listen`")]
    NoCluster,
    /// It must take part in a cluster that it has not joined.
    #[error("this machine is not in a cluster; run `devstack-node join TOKEN`")]
    NotJoined,
    /// Its name was changed after it joined.
    #[error("the certificate is for {certificate}, but the node's name is {config}; write name = \"{certificate}\"")]
    OtherName {
        /// The name in the certificate.
        certificate: String,
        /// The name in the configuration.
        config: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The registry is damaged.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl Identity {
    /// Reads the identity; `None` if this node is alone. The Taskmaster's certificate is renewed if it is time, or if
    /// its names changed. `now` in seconds since 1970. Blocking.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn open(config: &NodeConfig, now: i64) -> Result<Option<Self>, IdentityError> {
        let dir = config.state_dir.join(members::DIR);
        let side = match config.roles.taskmaster {
            true => match Members::open(&config.state_dir)? {
                Some(members) => Side::Taskmaster(Arc::new(members)),
                None if config.api_listen.is_some() || config.link.listen.is_some() => {
                    return Err(IdentityError::NoCluster);
                }
                None => return Ok(None),
            },
            false => {
                let path = dir.join(API_FILE);
                match fs::read_to_string(&path) {
                    Ok(text) => Side::Joined(text.trim().to_owned()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(IdentityError::NotJoined),
                    Err(source) => return Err(IdentityError::Io { path, source }),
                }
            }
        };
        let credentials = Credentials::load(&dir)?;
        let own = credentials.certificate().name;
        if own.as_str() != config.name.as_str() {
            let (certificate, config) = (own.to_string(), config.name.to_string());
            return Err(IdentityError::OtherName { certificate, config });
        }
        if let Side::Taskmaster(members) = &side {
            let names = config.certificate_names();
            if credentials.renew_due(now) || members.present().names != names {
                renew_own(members, &credentials, &names, now)?;
            }
        }
        Ok(Some(Self { credentials: Arc::new(credentials), side }))
    }

    /// The cluster for the API; `None` if this node is not its Taskmaster.
    pub fn cluster(&self, config: &NodeConfig, clock: fn() -> Timestamp) -> Option<Arc<Cluster>> {
        match &self.side {
            Side::Taskmaster(members) => {
                let (api, link) = (config.api_address(), config.link_address());
                Some(Arc::new(Cluster::new(members.clone(), api, link, clock)))
            }
            Side::Joined(_) => None,
        }
    }
}

/// Issues the Taskmaster's next certificate from its own CA. Blocking.
pub(super) fn renew_own(
    members: &Members,
    credentials: &Credentials,
    names: &[String],
    now: i64,
) -> Result<(), IdentityError> {
    let key = NodeKey::generate()?;
    let admission = members.renew_own(&key.request()?, names, now)?;
    Ok(credentials.replace(&key, &admission.certificate_pem, now)?)
}
