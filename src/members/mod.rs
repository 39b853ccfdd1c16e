//! Who belongs to the cluster: tokens and members, and the CA that vouches for them. The Taskmaster's own, in
//! `<state_dir>/cluster`: one small file, replaced whole and durable before an answer. Reading never waits for a disk.
//! Deliberately absent: the store of tasks (decision 0009 says why), clocks (time is an argument, in seconds since
//! 1970), and what a role may do (the gateway's table).

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

/// Certificates are valid this long unless `cluster init` was told otherwise: one that is stolen and not noticed ends
/// soon, and a machine may be away for ten days before it must join again.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// The open registry of a cluster.
pub struct Members {
    dir: PathBuf,
    ca: ClusterCa,
    /// Held by whoever changes the registry, over the disk's time.
    writer: Mutex<()>,
    /// What is durable.
    present: RwLock<Arc<Registry>>,
}

/// What a cluster is made with.
#[derive(Debug, Clone)]
pub struct NewCluster {
    /// What people call it.
    pub name: String,
    /// The Taskmaster's name.
    pub taskmaster: NodeName,
    /// DNS names and addresses by which others reach the Taskmaster.
    pub names: Vec<String>,
    /// How long certificates are valid.
    pub certificate_life: Duration,
}

impl Members {
    /// Makes a cluster in `<state_dir>/cluster`: CA, registry and the Taskmaster's own certificate, all or nothing.
    ///
    /// # Errors
    /// There is one already; a name that no certificate can carry; or the disk fails.
    pub fn create(state_dir: &Path, new: &NewCluster, now: i64) -> Result<Self, MembersError> {
        let dir = state_dir.join(DIR);
        if dir.exists() {
            return Err(MembersError::Exists(dir));
        }
        // Made beside its place, and put there when it is whole.
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

    /// Opens the cluster of a state directory; `None`: there is none.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
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

    /// Where keys, certificates and the registry lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What join tokens say of the CA.
    pub fn fingerprint(&self) -> Fingerprint {
        self.ca.fingerprint()
    }

    /// The CA's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        self.ca.certificate_pem()
    }

    /// Everything that is known, as it stands now.
    pub fn present(&self) -> Arc<Registry> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the registry: durable before it is seen. Blocking: a file is written and synced.
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
