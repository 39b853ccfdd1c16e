//! The hubs and inboxes of a node. Each is opened once and shared: opening cleans up after killed processes, and must
//! not clean up after a running job of this process. Deliberately absent: creating a hub (a submission does it).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use devstack_dag::ids::ProjectName;
use git2::Repository;

use super::{Error, Hub, HubOptions, Inbox, git::Git};

/// The inbox's directory, next to the hub.
const INBOX: &str = "inbox.git";

/// Open hubs below one directory, `<dir>/<project>/hub.git`.
pub struct Hubs {
    dir: PathBuf,
    git: Git,
    open: Mutex<HashMap<ProjectName, Arc<Hub>>>,
    inboxes: Mutex<HashMap<ProjectName, Arc<Inbox>>>,
}

impl Hubs {
    /// The hubs below `dir`.
    pub fn new(dir: PathBuf, git: Git) -> Self {
        Self { dir, git, open: Mutex::default(), inboxes: Mutex::default() }
    }

    /// The host's git.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// The directory of the projects.
    pub(crate) fn dir_of_projects(&self) -> &Path {
        &self.dir
    }

    /// The directory of a project's hub, existing or not.
    pub fn dir_of(&self, project: &ProjectName) -> PathBuf {
        self.dir.join(project.as_str()).join("hub.git")
    }

    /// The directory of a project's inbox, existing or not.
    pub fn dir_of_inbox(&self, project: &ProjectName) -> PathBuf {
        self.dir_of(project).with_file_name(INBOX)
    }

    /// The existing hub of a project. Blocks.
    pub fn get(&self, project: &ProjectName) -> Result<Arc<Hub>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = open.get(project) {
            return Ok(hub.clone());
        }
        let dir = self.dir_of(project);
        let options = HubOptions::new(&integration_of(&dir)?)?;
        let hub = Arc::new(Hub::open(&dir, self.git.clone(), options)?);
        open.insert(project.clone(), hub.clone());
        Ok(hub)
    }

    /// The hub of a project, created if needed. Blocks.
    pub fn get_or_create(&self, project: &ProjectName, integration: &str) -> Result<Arc<Hub>, Error> {
        if !self.dir_of(project).exists() {
            Hub::create(&self.dir_of(project), self.git.clone(), HubOptions::new(integration)?)?;
        }
        self.get(project)
    }

    /// The inbox of a project; `None` if nothing was ever uploaded for it. Blocks.
    pub fn inbox(&self, project: &ProjectName) -> Result<Option<Arc<Inbox>>, Error> {
        if self.dir_of_inbox(project).exists() { self.make_inbox(project).map(Some) } else { Ok(None) }
    }

    /// The inbox of a project, created if needed. Blocks.
    pub fn make_inbox(&self, project: &ProjectName) -> Result<Arc<Inbox>, Error> {
        let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inbox) = inboxes.get(project) {
            return Ok(inbox.clone());
        }
        let inbox = Arc::new(Inbox::open(&self.dir_of_inbox(project), self.git.clone())?);
        inboxes.insert(project.clone(), inbox.clone());
        Ok(inbox)
    }

    /// Move a hub that belongs to no project aside; nothing is deleted. `stamp` makes its name unique.
    pub fn put_aside(&self, project: &ProjectName, stamp: u64) -> Result<(), Error> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(project);
        let dir = self.dir_of(project);
        if !dir.exists() {
            return Ok(());
        }
        let aside = dir.with_file_name(format!("hub.unused-{stamp}.git"));
        std::fs::rename(&dir, &aside).map_err(Error::io("put aside", dir))
    }
}

/// A hub's HEAD names its integration branch.
fn integration_of(dir: &Path) -> Result<String, Error> {
    let not_a_hub = || Error::NotAHub(dir.to_owned());
    let repo = Repository::open_bare(dir).map_err(|_| not_a_hub())?;
    let head = repo.find_reference("HEAD")?;
    let target = head.symbolic_target().ok().flatten().ok_or_else(not_a_hub)?;
    Ok(target.strip_prefix("refs/heads/").ok_or_else(not_a_hub)?.to_owned())
}
