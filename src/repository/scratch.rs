//! A private repository inside the hub that borrows the hub's objects: what is written there is not in the hub until it
//! is landed, and is gone when the scratch is dropped. Also how we know exactly which objects to sync. Making and
//! removing one costs more on a busy disk than a merge, so a hub keeps one for its merges ([`Scratch::empty`]).
//! Deliberately absent: what the objects mean.

use std::{
    cell::OnceCell,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use git2::{Odb, Oid, Repository};
use nix::fcntl::{Flock, FlockArg};

use super::{Error, durable::read_dir, git::Run};

/// Where scratches live, within the hub: the same file system, so that landing is a rename.
const FOLDER: &str = "scratch";

/// Within a scratch: an object directory with what is to land, where that is not all that came.
const LANDING: &str = "landing";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A scratch, locked while it lives so that no clean-up takes it for a leftover.
pub(crate) struct Scratch {
    dir: PathBuf,
    hub: PathBuf,
    repo: OnceCell<Repository>,
    _held: Flock<File>,
}

impl Scratch {
    /// A new one in the hub.
    pub(crate) fn new(hub: &Path) -> Result<Self, Error> {
        let folder = hub.join(FOLDER);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = folder.join(format!("{}-{number}", std::process::id()));
            match fs::create_dir(&dir) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue, // a dead process had our id
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

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its own objects.
    pub(crate) fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    /// As a repository that sees its own objects and the hub's, and writes its own without syncing: landing syncs.
    pub(crate) fn repo(&self) -> Result<&Repository, Error> {
        if self.repo.get().is_none() {
            let _ = self.repo.set(open(&self.dir, &self.hub)?); // it was empty
        }
        self.repo.get().ok_or_else(|| Error::NotAHub(self.dir.clone()))
    }

    /// An object directory for what is to land, where that is not all that came.
    pub(crate) fn landing(&self) -> PathBuf {
        self.dir.join(LANDING).join("objects")
    }

    /// Remove what was not landed, to be used again.
    pub(crate) fn empty(&self) -> Result<(), Error> {
        for directory in read_dir(&self.objects())?.into_iter().filter(|path| path.is_dir()) {
            for file in read_dir(&directory)? {
                fs::remove_file(&file).map_err(Error::io("remove", &file))?;
            }
        }
        Ok(())
    }

    /// Let a run of git in the hub write here instead, without syncing.
    pub(crate) fn redirect(&self, run: Run) -> Run {
        let run = run.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.hub.join("objects"));
        run.env("GIT_OBJECT_DIRECTORY", self.objects())
            .config("core.fsync=none")
            .config("core.fsyncObjectFiles=false")
            .config("core.createObject=rename")
    }

    /// Remove what killed processes left; a scratch in use is locked and stays.
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

/// The least that is a repository.
fn lay_out(dir: &Path) -> Result<(), Error> {
    let fill = || {
        fs::create_dir_all(dir.join("objects/pack"))?; // the library never looks for one that is made later
        fs::create_dir(dir.join("refs"))?;
        fs::write(dir.join("HEAD"), "ref: refs/heads/none\n")
    };
    fill().map_err(Error::io("fill", dir))
}

/// The scratch at `dir` as a repository that sees its own objects and those of the repository at `hub`.
pub(super) fn open(dir: &Path, hub: &Path) -> Result<Repository, Error> {
    let repo = Repository::open_bare(dir)?;
    add(&repo.odb()?, &hub.join("objects"))?; // in memory only: the scratch's objects can also be listed alone
    Ok(repo)
}

/// Let a database see the objects of a directory.
pub(super) fn add(odb: &Odb<'_>, objects: &Path) -> Result<(), Error> {
    let text = objects.to_str().ok_or_else(|| Error::NotAHub(objects.to_owned()))?;
    Ok(odb.add_disk_alternate(text)?)
}

/// The objects of the scratch at `dir` alone.
pub(super) fn came(dir: &Path) -> Result<Odb<'static>, Error> {
    let odb = Odb::new()?;
    add(&odb, &dir.join("objects"))?;
    Ok(odb)
}

/// All that a database has.
pub(super) fn ids(odb: &Odb<'_>) -> Result<Vec<Oid>, Error> {
    let mut ids = Vec::new();
    odb.foreach(|object| {
        ids.push(*object);
        true
    })?;
    Ok(ids)
}

/// A repository within the scratch at `dir`, for what is to land.
pub(super) fn make_landing(dir: &Path) -> Result<Repository, Error> {
    let dir = dir.join(LANDING);
    lay_out(&dir)?;
    Ok(Repository::open_bare(&dir)?)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir); // what stays is removed when the hub is opened next
    }
}
