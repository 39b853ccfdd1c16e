//! A private repository inside the hub that borrows the hub's objects. What is written there is not in the hub until it
//! is landed, and is deleted when the scratch is dropped. The scratch also tells us exactly which objects to sync.
//! Making and removing one costs more on a busy disk than a merge, so a hub keeps one for its merges
//! ([`Scratch::empty`]). Deliberately absent: the meaning of the objects.

use std::{
    cell::OnceCell,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use git2::{Odb, Oid, Repository};
use nix::fcntl::{Flock, FlockArg};

use super::{Error, durable::read_dir, git::Run};

/// The directory of scratches, within the hub: the same file system, so that landing is a rename.
const FOLDER: &str = "scratch";

/// Within a scratch: an object directory with the objects to land, if not all new objects land.
const LANDING: &str = "landing";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A scratch. It is locked while in use, so that no clean-up removes it.
pub(crate) struct Scratch {
    dir: PathBuf,
    hub: PathBuf,
    repo: OnceCell<Repository>,
    _held: Flock<File>,
}

impl Scratch {
    /// Make a new scratch in the hub.
    pub(crate) fn new(hub: &Path) -> Result<Self, Error> {
        let folder = hub.join(FOLDER);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = folder.join(format!("{}-{number}", std::process::id()));
            match fs::create_dir(&dir) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue, // left by a dead process with our id
                made => made.map_err(Error::io("create", &dir))?,
            }
            let Ok(file) = File::open(&dir) else { continue };
            // A clean-up may have taken it before the lock: then it is locked or gone, and the next number is free.
            if let Ok(held) = Flock::lock(file, FlockArg::LockExclusiveNonblock)
                && dir.is_dir()
            {
                lay_out(&dir)?;
                return Ok(Self { dir, hub: hub.to_owned(), repo: OnceCell::new(), _held: held });
            }
        }
    }

    /// The scratch's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The scratch's own objects.
    pub(crate) fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    /// The scratch as a repository that sees its own objects and the hub's, and writes its own without syncing: landing
    /// syncs.
    pub(crate) fn repo(&self) -> Result<&Repository, Error> {
        if self.repo.get().is_none() {
            let _ = self.repo.set(open(&self.dir, &self.hub)?); // the cell was empty
        }
        self.repo.get().ok_or_else(|| Error::NotAHub(self.dir.clone()))
    }

    /// An object directory for the objects to land, if not all new objects land.
    pub(crate) fn landing(&self) -> PathBuf {
        self.dir.join(LANDING).join("objects")
    }

    /// Remove everything that was not landed, for reuse.
    pub(crate) fn empty(&self) -> Result<(), Error> {
        for directory in read_dir(&self.objects())?.into_iter().filter(|path| path.is_dir()) {
            for file in read_dir(&directory)? {
                fs::remove_file(&file).map_err(Error::io("remove", &file))?;
            }
        }
        Ok(())
    }

    /// Redirect the writes of a git run in the hub to this scratch, without syncing.
    pub(crate) fn redirect(&self, run: Run) -> Run {
        let run = run.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.hub.join("objects"));
        run.env("GIT_OBJECT_DIRECTORY", self.objects())
            .config("core.fsync=none")
            .config("core.fsyncObjectFiles=false")
            .config("core.createObject=rename")
    }

    /// Remove leftovers of killed processes; a scratch in use is locked and stays.
    pub(crate) fn clean(hub: &Path) -> Result<(), Error> {
        let folder = hub.join(FOLDER);
        if !folder.exists() {
            return Ok(());
        }
        for dir in read_dir(&folder)? {
            let Ok(file) = File::open(&dir) else { continue };
            if let Ok(_ours) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
            }
        }
        Ok(())
    }
}

/// Make the minimal files of a repository.
fn lay_out(dir: &Path) -> Result<(), Error> {
    let fill = || {
        fs::create_dir_all(dir.join("objects/pack"))?; // the library ignores a directory that is made later
        fs::create_dir(dir.join("refs"))?;
        fs::write(dir.join("HEAD"), "ref: refs/heads/none\n")
    };
    fill().map_err(Error::io("fill", dir))
}

/// Open the scratch at `dir` as a repository that sees its own objects and those of the repository at `hub`.
pub(super) fn open(dir: &Path, hub: &Path) -> Result<Repository, Error> {
    let repo = Repository::open_bare(dir)?;
    add(&repo.odb()?, &hub.join("objects"))?; // only in memory, so that the scratch's objects can also be listed alone
    Ok(repo)
}

/// Add the objects of a directory to a database.
pub(super) fn add(odb: &Odb<'_>, objects: &Path) -> Result<(), Error> {
    let text = objects.to_str().ok_or_else(|| Error::NotAHub(objects.to_owned()))?;
    Ok(odb.add_disk_alternate(text)?)
}

/// Only the objects of the scratch at `dir`.
pub(super) fn came(dir: &Path) -> Result<Odb<'static>, Error> {
    let odb = Odb::new()?;
    add(&odb, &dir.join("objects"))?;
    Ok(odb)
}

/// All object ids of a database.
pub(super) fn ids(odb: &Odb<'_>) -> Result<Vec<Oid>, Error> {
    let mut ids = Vec::new();
    odb.foreach(|object| {
        ids.push(*object);
        true
    })?;
    Ok(ids)
}

/// Make a repository within the scratch at `dir`, for the objects to land.
pub(super) fn make_landing(dir: &Path) -> Result<Repository, Error> {
    let dir = dir.join(LANDING);
    lay_out(&dir)?;
    Ok(Repository::open_bare(&dir)?)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir); // leftovers are removed when the hub is opened next
    }
}
