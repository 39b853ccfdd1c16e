//! The hubs and inboxes of a node, each opened once and shared: opening cleans up after killed processes, and must not clean up
//! after a job of this one. Deliberately absent: creating a hub (a submission does).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use devstack_dag::ids::ProjectName;
use git2::Repository;

use super::{Error, Hub, HubOptions, Inbox, git::Git};

/// Beside the hub.
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

    /// Where the projects are.
    pub(crate) fn dir_of_projects(&self) -> &Path {
        &self.dir
    }

    /// Where a project's hub is, or will be.
    pub fn dir_of(&self, project: &ProjectName) -> PathBuf {
        self.dir.join(project.as_str()).join("hub.git")
    }

    /// Where the inbox of a project is, or will be.
    pub fn dir_of_inbox(&self, project: &ProjectName) -> PathBuf {
        self.dir_of(project).with_file_name(INBOX)
    }

    /// The hub of a project that has one. Blocks.
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

    /// The hub of a project, made if there is none. Blocks.
    pub fn get_or_create(&self, project: &ProjectName, integration: &str) -> Result<Arc<Hub>, Error> {
        if !self.dir_of(project).exists() {
            Hub::create(&self.dir_of(project), self.git.clone(), HubOptions::new(integration)?)?;
        }
        self.get(project)
    }

    /// The inbox of a project; `None`: nothing was ever uploaded for it. Blocks.
    pub fn inbox(&self, project: &ProjectName) -> Result<Option<Arc<Inbox>>, Error> {
        if self.dir_of_inbox(project).exists() { self.make_inbox(project).map(Some) } else { Ok(None) }
    }

    /// The inbox of a project, made if there is none. Blocks.
    pub fn make_inbox(&self, project: &ProjectName) -> Result<Arc<Inbox>, Error> {
        let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inbox) = inboxes.get(project) {
            return Ok(inbox.clone());
        }
        let inbox = Arc::new(Inbox::open(&self.dir_of_inbox(project), self.git.clone())?);
        inboxes.insert(project.clone(), inbox.clone());
        Ok(inbox)
    }

    /// Put a hub that belongs to no project out of the way; nothing is deleted. `stamp` makes its name unique.
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
