//! The hub: a project's bare repository that only devstack writes. This file creates and opens it, and has its
//! integration head, its lock and its library handles. Deliberately absent: packing and garbage collection. Nothing is
//! ever pruned; a loose object is found by its name in one step, however many objects exist.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use devstack_dag::ids::CommitId;
use git2::{ErrorCode, Repository, RepositoryInitOptions};

use super::{
    Error,
    durable::{Durability, fsync_dir, fsync_tree, fsync_way, land_objects, read_dir},
    git::{Git, Run},
    id,
    lock::ProjectLock,
    oid,
    scratch::Scratch,
    source::SourceError,
};

/// A setting in the hub's configuration that marks this repository as ours.
const MARK: &str = "devstack.hub";
/// Directories of refs that exist from the start.
const REF_DIRS: [&str; 4] = ["refs", "refs/heads", "refs/devstack", "refs/devstack/attempts"];
/// Number of library handles kept open; further concurrent jobs open their own.
const HANDLES: usize = 8;

/// Options of a hub.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// The integration branch, `dev`.
    pub integration: String,
    /// Full, except in tests.
    pub durability: Durability,
}

impl HubOptions {
    /// Options with full durability; refuses an invalid branch name.
    pub fn new(integration: &str) -> Result<Self, Error> {
        if !git2::Branch::name_is_valid(integration)? || integration.len() > 200 {
            return Err(SourceError::BadBranch { branch: integration.chars().take(80).collect() }.into());
        }
        Ok(Self { integration: integration.to_owned(), durability: Durability::Full })
    }
}

/// An open hub, to be shared between threads. Cheap calls take microseconds; all calls block.
pub struct Hub {
    dir: PathBuf,
    git: Git,
    options: HubOptions,
    handles: Mutex<Vec<Repository>>,
    scratch: Mutex<Option<Scratch>>,
}

impl Hub {
    /// Make the hub at `dir`, or open an existing one. It appears completely or not at all.
    pub fn create(dir: &Path, git: Git, options: HubOptions) -> Result<Self, Error> {
        if dir.exists() {
            return Self::open(dir, git, options);
        }
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(".creating");
        let fresh = parent.join(name);
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(Error::io("remove", &fresh))?;
        }
        init_bare(&fresh, &options, MARK)?;
        for sub in REF_DIRS {
            let sub = fresh.join(sub);
            fs::create_dir_all(&sub).map_err(Error::io("create", &sub))?;
        }
        fsync_tree(options.durability, &fresh)?;
        fs::rename(&fresh, dir).map_err(Error::io("rename", &fresh))?;
        Self::open(dir, git, options) // makes the name durable
    }

    /// Open the hub at `dir`. Stale locks and leftovers of killed processes are removed, and every name that a killed
    /// process may have left unsynced is made durable before anybody can see it.
    pub fn open(dir: &Path, git: Git, options: HubOptions) -> Result<Self, Error> {
        let dir = dir.canonicalize().map_err(Error::io("find", dir))?;
        let ours = Repository::open_bare(&dir).and_then(|repo| repo.config()?.get_bool(MARK));
        if !ours.unwrap_or(false) {
            return Err(Error::NotAHub(dir));
        }
        let hub = Self { dir, git, options, handles: Mutex::default(), scratch: Mutex::default() };
        let _lock = hub.lock()?;
        fsync_way(hub.durability(), &hub.dir)?;
        Scratch::clean(&hub.dir)?;
        remove_leftovers(&hub.dir, false)?;
        remove_leftovers(&hub.dir.join("refs"), true)?;
        remove_leftovers(&hub.dir.join("objects"), true)?;
        fsync_dirs(hub.durability(), &hub.dir.join("objects"))?;
        fsync_dirs(hub.durability(), &hub.dir.join("refs"))?;
        Ok(hub)
    }

    /// The hub's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The integration branch's name.
    pub fn integration(&self) -> &str {
        &self.options.integration
    }

    /// The integration branch's full name.
    pub(crate) fn integration_ref(&self) -> String {
        format!("refs/heads/{}", self.options.integration)
    }

    /// Whether syncs are done.
    pub(crate) fn durability(&self) -> Durability {
        self.options.durability
    }

    /// The host's git.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// A run of git in the hub.
    pub(crate) fn run(&self, subcommand: &str) -> Run {
        self.git.run(subcommand).git_dir(&self.dir)
    }

    /// Wait for the project's lock; [`Error::Busy`] after a minute. Not re-entrant: while it is held, only
    /// [`Hub::publish`] and reading calls may be used; every other call that writes takes the lock itself.
    pub fn lock(&self) -> Result<ProjectLock, Error> {
        ProjectLock::acquire(&self.dir)
    }

    /// The integration head; `None` until the source was mirrored.
    pub fn head(&self) -> Result<Option<CommitId>, Error> {
        self.with(|repo| read_ref(repo, &self.integration_ref()))
    }

    /// The integration head of a project whose source was mirrored.
    pub(crate) fn expect_head(&self) -> Result<CommitId, Error> {
        let missing =
            || SourceError::BranchMissing { branch: self.options.integration.clone(), place: "the hub".into() };
        self.head()?.ok_or_else(|| missing().into())
    }

    /// Use a library handle. Handles stay open, so that packs are mapped and indexes read only once.
    pub(crate) fn with<T>(&self, job: impl FnOnce(&Repository) -> Result<T, Error>) -> Result<T, Error> {
        let kept = self.handles.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let repo = match kept {
            Some(repo) => repo,
            None => Repository::open_bare(&self.dir)?,
        };
        let result = job(&repo);
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if handles.len() < HANDLES {
            handles.push(repo);
        }
        result
    }

    /// An empty scratch for a merge: the kept one, or a new one.
    pub(crate) fn take_scratch(&self) -> Result<Scratch, Error> {
        let kept = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.map_or_else(|| Scratch::new(&self.dir), Ok)
    }

    /// Keep an empty scratch for the next merge.
    pub(crate) fn keep_scratch(&self, scratch: Scratch) {
        *self.scratch.lock().unwrap_or_else(PoisonError::into_inner) = Some(scratch);
    }

    /// Move the content of a scratch into the hub, durably. Only under the lock: the next holder of the lock can rely
    /// on every visible object being durable.
    pub(crate) fn land(&self, _lock: &ProjectLock, scratch: &Scratch) -> Result<usize, Error> {
        land_objects(self.durability(), &scratch.objects(), &self.dir.join("objects"))
    }

    /// Point a ref at a commit that is durable in the hub, if it still points at `old` (`None`: does not exist yet).
    /// Returns `false` if it pointed elsewhere.
    pub(crate) fn swap_ref(
        &self,
        lock: &ProjectLock,
        name: &str,
        old: Option<CommitId>,
        new: CommitId,
    ) -> Result<bool, Error> {
        lock.prove()?;
        let swapped = self.with(|repo| {
            let outcome = match old {
                Some(old) => repo.reference_matching(name, oid(new), true, oid(old), "devstack"),
                None => repo.reference(name, oid(new), false, "devstack"),
            };
            match outcome {
                Ok(_) => Ok(true),
                Err(e) if matches!(e.code(), ErrorCode::Modified | ErrorCode::Exists | ErrorCode::NotFound) => {
                    Ok(false)
                }
                Err(e) => Err(e.into()),
            }
        })?;
        if swapped && old.is_none() {
            self.sync_ref(name)?; // the library syncs a ref and its directory, but not a new directory
        }
        Ok(swapped)
    }

    /// Make a ref's name durable, up to `refs`.
    pub(crate) fn sync_ref(&self, name: &str) -> Result<(), Error> {
        let mut dir = Path::new(name).parent();
        while let Some(place) = dir.filter(|d| !d.as_os_str().is_empty()) {
            fsync_dir(self.durability(), &self.dir.join(place))?;
            dir = place.parent();
        }
        Ok(())
    }
}

/// The commit of a ref.
pub(crate) fn read_ref(repo: &Repository, name: &str) -> Result<Option<CommitId>, Error> {
    match repo.refname_to_id(name) {
        Ok(found) => Ok(Some(id(found))),
        Err(e) if e.code() == ErrorCode::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Make a bare repository with our settings and all 256 fan-out directories (nobody syncs `objects/` later).
pub(crate) fn init_bare(dir: &Path, options: &HubOptions, mark: &str) -> Result<(), Error> {
    let mut how = RepositoryInitOptions::new();
    how.bare(true).external_template(false).no_reinit(true);
    how.initial_head(&format!("refs/heads/{}", options.integration));
    let repo = Repository::init_opts(dir, &how)?;
    let mut config = repo.config()?.open_level(git2::ConfigLevel::Local)?;
    config.set_bool(mark, true)?;
    config.set_bool("core.fsyncObjectFiles", options.durability == Durability::Full)?;
    config.set_str("core.fsync", if options.durability == Durability::Full { "all" } else { "none" })?;
    config.set_bool("core.logAllRefUpdates", false)?;
    config.set_bool("transfer.fsckObjects", true)?;
    config.set_bool("receive.denyDeletes", true)?;
    config.set_bool("receive.denyNonFastForwards", true)?;
    config.set_i32("gc.auto", 0)?;
    config.set_bool("maintenance.auto", false)?;
    for number in 0..=255u8 {
        let fan = dir.join("objects").join(format!("{number:02x}"));
        fs::create_dir_all(&fan).map_err(Error::io("create", &fan))?;
    }
    Ok(())
}

/// Remove locks of refs and half-written files. Their writers are dead: we hold the project's lock.
fn remove_leftovers(dir: &Path, recurse: bool) -> Result<(), Error> {
    for path in read_dir(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if recurse {
                remove_leftovers(&path, true)?;
            }
        } else if name.ends_with(".lock") || name.starts_with("tmp_") {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Make every name under `root` durable.
fn fsync_dirs(durability: Durability, root: &Path) -> Result<(), Error> {
    for path in read_dir(root)?.into_iter().filter(|path| path.is_dir()) {
        fsync_dirs(durability, &path)?;
    }
    fsync_dir(durability, root)
}

/// Jobs run on any blocking thread.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Hub>();
};
