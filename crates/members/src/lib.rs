//! The members of the cluster: tokens, members, and the CA that signs their certificates. All of it belongs to the
//! Taskmaster, in `<state_dir>/cluster`: one small file, replaced as a whole and durable before an answer. Reading
//! never waits for a disk. Deliberately absent: the store of tasks (decision 0009 explains why), clocks (time is an
//! argument, in seconds since 1970), and the permissions of a role (the gateway's table).

pub mod audit;
mod error;
mod join;
mod owner;
mod registry;
mod token;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use devstack_cluster::{ClusterCa, Credentials, Fingerprint, NodeKey, NodeName, Purpose, SigningRequest, files};

pub use error::MembersError;
pub use join::{Admission, Joining};
pub use owner::hand_over;
pub use registry::{Member, Registry, Token};
pub use token::{Bearer, NewToken, Person, Role};

/// The directory below the state directory.
pub const DIR: &str = "cluster";
/// The registry's file in it.
const FILE: &str = "members.json";

/// Lifetime of certificates, unless `cluster init` sets another. A stolen certificate that nobody notices ends soon,
/// and a machine may be away for ten days before it must join again.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// The open registry of a cluster.
pub struct Members {
    dir: PathBuf,
    ca: ClusterCa,
    /// Held during a change of the registry, including the disk write.
    writer: Mutex<()>,
    /// The durable state.
    present: RwLock<Arc<Registry>>,
}

/// Parameters of a new cluster.
#[derive(Debug, Clone)]
pub struct NewCluster {
    /// The cluster's name for users.
    pub name: String,
    /// The Taskmaster's name.
    pub taskmaster: NodeName,
    /// DNS names and addresses at which others reach the Taskmaster.
    pub names: Vec<String>,
    /// How long certificates are valid.
    pub certificate_life: Duration,
}

impl Members {
    /// Makes a cluster in `<state_dir>/cluster`: CA, registry and the Taskmaster's own certificate, all or nothing.
    ///
    /// # Errors
    /// A cluster already exists, a name is not allowed in a certificate, or the disk fails.
    pub fn create(state_dir: &Path, new: &NewCluster, now: i64) -> Result<Self, MembersError> {
        let dir = state_dir.join(DIR);
        if dir.exists() {
            return Err(MembersError::Exists(dir));
        }
        // Built next to its final place, and renamed when it is complete.
        let fresh = state_dir.join(format!("{DIR}.new"));
        let failed = |source: io::Error| MembersError::Io { path: fresh.clone(), source };
        match fs::remove_dir_all(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => fs::create_dir_all(state_dir).map_err(failed)?,
        }
        let ca = ClusterCa::create(&new.name, now)?;
        ca.save(&fresh)?;
        let key = NodeKey::generate()?;
        let request = SigningRequest::parse(&key.request()?)?;
        let issued = ca.issue(&request, &new.taskmaster, &new.names, Purpose::Server, new.certificate_life, now)?;
        Credentials::create(&fresh, &key, &issued.certificate_pem, ca.certificate_pem(), now)?;
        let registry = Registry::new(new, &issued.serial, now);
        write(&fresh, &registry)?;
        fs::rename(&fresh, &dir).map_err(failed)?;
        fs::File::open(state_dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        Ok(Self { dir, ca, writer: Mutex::default(), present: RwLock::new(Arc::new(registry)) })
    }

    /// Opens the cluster of a state directory; `None` if there is none.
    ///
    /// # Errors
    /// The cluster is damaged, or cannot be read.
    pub fn open(state_dir: &Path) -> Result<Option<Self>, MembersError> {
        let dir = state_dir.join(DIR);
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(MembersError::Io { path, source }),
        };
        let registry = Registry::read(&text).map_err(|reason| MembersError::Damaged { path, reason })?;
        let ca = ClusterCa::load(&dir)?;
        Ok(Some(Self { dir, ca, writer: Mutex::default(), present: RwLock::new(Arc::new(registry)) }))
    }

    /// The directory of keys, certificates and the registry.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The CA's fingerprint, as in join tokens.
    pub fn fingerprint(&self) -> Fingerprint {
        self.ca.fingerprint()
    }

    /// The CA's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        self.ca.certificate_pem()
    }

    /// The current registry.
    pub fn present(&self) -> Arc<Registry> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the registry; the change is durable before it is visible. Blocking: a file is written and synced.
    fn change<T>(&self, change: impl FnOnce(&mut Registry) -> Result<T, MembersError>) -> Result<T, MembersError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut registry = (*self.present()).clone();
        let answer = change(&mut registry)?;
        write(&self.dir, &registry)?;
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(registry);
        Ok(answer)
    }
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").field("dir", &self.dir).field("ca", &self.ca).finish_non_exhaustive()
    }
}

fn write(dir: &Path, registry: &Registry) -> Result<(), MembersError> {
    let path = dir.join(FILE);
    files::replace(&path, &registry.write()).map_err(|source| MembersError::Io { path, source })
}

#[cfg(test)]
mod tests;
