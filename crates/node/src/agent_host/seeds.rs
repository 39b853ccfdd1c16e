//! Where workspaces get their commits from: this host's mirror of a project's integration history, and bundles for the
//! commits that are not in the mirror. Deliberately absent: the origin of both ([`Supply`]) and making the workspace.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use devstack_dag::{
    attempt::Start,
    ids::{AttemptId, CommitId, ProjectName},
};

use super::Supply;
use devstack_repository as repository;
use devstack_repository::{
    HubOptions,
    git::Git,
    mirror::Mirror,
    quarantine::{Expectation, Refusal},
};

/// The workspace sources of one host.
pub struct Seeds {
    supply: Arc<dyn Supply>,
    git: Option<Git>,
    mirrors: PathBuf,
    bundles: PathBuf,
    mirrored: Mutex<HashMap<ProjectName, Arc<Mutex<Option<Project>>>>>,
    /// Attempts of this process with fetched material that was not cleared yet.
    using: Mutex<HashSet<AttemptId>>,
}

/// A project with its open mirror.
struct Project {
    mirror: Mirror,
    integration: String,
}

/// The material of a workspace.
pub(super) struct Gathered {
    pub(super) mirror_objects: PathBuf,
    pub(super) bundles: Vec<PathBuf>,
    pub(super) integration: String,
}

impl Seeds {
    /// Mirrors and bundles are stored below `own`. Without git, only attempts of projects without a repository can be
    /// prepared.
    pub fn new(supply: Arc<dyn Supply>, git: Option<Git>, own: &Path) -> Self {
        Self {
            supply,
            git,
            mirrors: own.join("mirrors"),
            bundles: own.join("bundles"),
            mirrored: Mutex::default(),
            using: Mutex::default(),
        }
    }

    /// Fetches everything for this start; returns `None` for an empty workspace. Blocks. The error is for users.
    pub(super) fn gather(&self, attempt: &AttemptId, start: &Start) -> Result<Option<Gathered>, String> {
        let Some(base) = start.base() else { return Ok(None) };
        let extra = start.other().filter(|other| *other != base);
        // Before anything is opened: from here on nothing of it is removed.
        self.using().insert(attempt.clone());
        let name = &attempt.task.project;
        let (mirror_objects, integration) = self.with(name, |project| {
            if !project.mirror.contains(base) {
                self.supply.update(name, &project.mirror)?;
            }
            Ok((project.mirror.objects_dir(), project.integration.clone()))
        })?;
        let mut bundles = Vec::new();
        if let Some(tip) = extra {
            bundles.push(self.bundle(attempt, tip, base)?);
        }
        Ok(Some(Gathered { mirror_objects, bundles, integration }))
    }

    fn bundle(&self, attempt: &AttemptId, tip: CommitId, base: CommitId) -> Result<PathBuf, String> {
        let dir = self.bundles_of(attempt);
        std::fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        let bundle = dir.join("tip.bundle");
        self.supply.bundle(&attempt.task.project, tip, base, &bundle)?;
        Ok(bundle)
    }

    /// Uses a project's mirror, and opens or makes it first. One caller at a time.
    fn with<T>(&self, name: &ProjectName, job: impl FnOnce(&Project) -> Result<T, String>) -> Result<T, String> {
        let project = self.project(name);
        let mut project = project.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match &mut *project {
            Some(open) => open,
            none => none.insert(self.open(name)?),
        };
        job(open)
    }

    /// Judges a result before it leaves this host, against the project's mirror. Blocks. The error is for users.
    pub fn screen(
        &self,
        name: &ProjectName,
        bundle: &Path,
        expected: &Expectation<'_>,
    ) -> Result<Option<Refusal>, String> {
        self.with(name, |project| project.mirror.screen(bundle, expected).map_err(|error| error.to_string()))
    }

    /// Removes the bundles of this attempt: the runtime has its own copies.
    pub(super) fn clear(&self, attempt: &AttemptId) {
        self.using().remove(attempt);
        let dir = self.bundles_of(attempt);
        if let Err(error) = std::fs::remove_dir_all(&dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%attempt, %error, "cannot remove {}", dir.display());
        }
    }

    /// Removes what can be fetched again, because room on the disk is short: mirrors of projects, and bundles of
    /// attempts, of which nothing is `held` here. Workspaces borrow from a mirror, so a mirror in use stays. Blocks.
    pub(super) fn drop_caches(&self, held: &[AttemptId]) {
        let names = directories(&self.mirrors).chain(directories(&self.bundles));
        let names = names.filter_map(|dir| ProjectName::new(dir.file_stem()?.to_str()?).ok());
        for name in names.collect::<HashSet<_>>() {
            let project = self.project(&name);
            // In use or being made now. The next user waits until it is removed, and makes it again.
            let Ok(mut open) = project.try_lock() else { continue };
            if self.using().iter().chain(held).any(|attempt| attempt.task.project == name) {
                continue;
            }
            *open = None;
            remove(&self.bundles.join(name.as_str()));
            remove(&self.mirrors.join(format!("{name}.git")));
        }
    }

    fn using(&self) -> MutexGuard<'_, HashSet<AttemptId>> {
        self.using.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn project(&self, name: &ProjectName) -> Arc<Mutex<Option<Project>>> {
        self.mirrored.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone()
    }

    fn open(&self, name: &ProjectName) -> Result<Project, String> {
        let missing = "no usable git on this host; run `devstack doctor` for the fix";
        let git = self.git.clone().ok_or(missing)?;
        let integration = self.supply.integration(name)?;
        let open = || {
            let options = HubOptions::new(&integration)?;
            Mirror::open(&self.mirrors.join(format!("{name}.git")), git, &options)
        };
        let mirror = open().map_err(|error: repository::Error| format!("its repository: {error}"))?;
        Ok(Project { mirror, integration })
    }

    fn bundles_of(&self, attempt: &AttemptId) -> PathBuf {
        let task = &attempt.task;
        self.bundles.join(task.project.as_str()).join(task.id.as_str()).join(attempt.number.to_string())
    }
}

fn directories(dir: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn remove(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Ok(()) => tracing::info!("removed {} to free disk space; it is fetched again when needed", dir.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, "cannot remove {}", dir.display()),
    }
}
