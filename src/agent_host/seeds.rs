//! Where workspaces get their commits from: this host's mirror of a project's integration history, and bundles for the
//! commits that are not in it. Here the hub is on the same machine. Deliberately absent: making the workspace.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use devstack_dag::{
    attempt::Start,
    ids::{AttemptId, CommitId, ProjectName},
};

use crate::repository::{self, Hub, HubOptions, Hubs, mirror::Mirror};

/// The seeds of one host.
pub struct Seeds {
    hubs: Option<Arc<Hubs>>,
    mirrors: PathBuf,
    bundles: PathBuf,
    mirrored: Mutex<HashMap<ProjectName, Arc<Mutex<Option<Project>>>>>,
}

/// A project with its hub and mirror open.
struct Project {
    hub: Arc<Hub>,
    mirror: Mirror,
}

/// What a workspace is made from.
pub(super) struct Gathered {
    pub(super) mirror_objects: PathBuf,
    pub(super) bundles: Vec<PathBuf>,
    pub(super) integration: String,
}

impl Seeds {
    /// Mirrors and bundles are made below `own`. Without hubs (no usable git here) only attempts of projects without
    /// a repository can be prepared.
    pub fn new(hubs: Option<Arc<Hubs>>, own: &Path) -> Self {
        Self { hubs, mirrors: own.join("mirrors"), bundles: own.join("bundles"), mirrored: Mutex::default() }
    }

    /// Everything for this start; `None`: the workspace is empty. Blocks. The error is for people.
    pub(super) fn gather(&self, attempt: &AttemptId, start: &Start) -> Result<Option<Gathered>, String> {
        let (base, extra) = match start {
            Start::Empty => return Ok(None),
            Start::Commit { base, tip } => (*base, (base != tip).then_some(*tip)),
            Start::Merging { base, theirs } => (*base, Some(*theirs)),
        };
        let project = self.project(&attempt.task.project);
        let mut project = project.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match &mut *project {
            Some(open) => open,
            none => none.insert(self.open(&attempt.task.project)?),
        };
        self.gather_from(open, attempt, base, extra).map(Some).map_err(|error| format!("its repository: {error}"))
    }

    /// Bundles made for this attempt are not needed any more: the runtime has its own copies.
    pub(super) fn clear(&self, attempt: &AttemptId) {
        let dir = self.bundles_of(attempt);
        if let Err(error) = std::fs::remove_dir_all(&dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%attempt, %error, "cannot remove {}", dir.display());
        }
    }

    fn project(&self, name: &ProjectName) -> Arc<Mutex<Option<Project>>> {
        self.mirrored.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone()
    }

    fn open(&self, name: &ProjectName) -> Result<Project, String> {
        let hubs =
            self.hubs.as_ref().ok_or("there is no usable git on this host; `devstack doctor` says how to get it")?;
        let open = || {
            let hub = hubs.get(name)?;
            let options = HubOptions::new(hub.integration())?;
            let mirror = Mirror::open(&self.mirrors.join(format!("{name}.git")), hubs.git().clone(), &options)?;
            Ok(Project { hub, mirror })
        };
        open().map_err(|error: repository::Error| format!("its repository: {error}"))
    }

    fn gather_from(
        &self,
        Project { hub, mirror }: &Project,
        attempt: &AttemptId,
        base: CommitId,
        extra: Option<CommitId>,
    ) -> Result<Gathered, repository::Error> {
        if !mirror.contains(base) {
            mirror.update(hub)?;
        }
        let mut bundles = Vec::new();
        if let Some(tip) = extra {
            let dir = self.bundles_of(attempt);
            std::fs::create_dir_all(&dir).map_err(|source| repository::Error::Io {
                what: "make",
                path: dir.clone(),
                source,
            })?;
            let bundle = dir.join("tip.bundle");
            hub.bundle_for(tip, base, &bundle)?;
            bundles.push(bundle);
        }
        Ok(Gathered { mirror_objects: mirror.objects_dir(), bundles, integration: hub.integration().to_owned() })
    }

    fn bundles_of(&self, attempt: &AttemptId) -> PathBuf {
        let task = &attempt.task;
        self.bundles.join(task.project.as_str()).join(task.id.as_str()).join(attempt.number.to_string())
    }
}
