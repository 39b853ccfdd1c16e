//! The mirror: a bare repository that holds only integration history, and whose objects workspaces borrow. It never
//! holds another attempt's commits and is never pruned, so borrowed objects cannot vanish. Deliberately absent:
//! workspaces, and objects that only a harvested commit needs ([`Hub::bundle_for`]).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use devstack_dag::ids::CommitId;
use git2::{ObjectType, Oid, Repository, Tree};

use super::{
    Error,
    durable::{Durability, fsync_dir, fsync_tree},
    git::{Git, TRANSFER_DEADLINE},
    hub::{Hub, HubOptions, init_bare, read_ref},
    oid,
};

/// A setting in the mirror's configuration that marks this repository as ours.
const MARK: &str = "devstack.mirror";
/// An update of at most this many objects is copied one by one; a larger one is fetched as a pack.
const COPY_MAX: usize = 1_000;

/// An open mirror with one owner at a time.
pub struct Mirror {
    dir: PathBuf,
    git: Git,
    name: String,
    repo: Repository,
}

impl Mirror {
    /// Make the mirror at `dir`, or open an existing one.
    pub fn open(dir: &Path, git: Git, options: &HubOptions) -> Result<Self, Error> {
        if !dir.exists() {
            let mut fresh = dir.as_os_str().to_owned();
            fresh.push(".creating");
            let fresh = PathBuf::from(fresh);
            if fresh.exists() {
                fs::remove_dir_all(&fresh).map_err(Error::io("remove", &fresh))?;
            }
            init_bare(&fresh, options, MARK)?;
            fsync_tree(options.durability, &fresh)?;
            fs::rename(&fresh, dir).map_err(Error::io("rename", &fresh))?;
            fsync_dir(options.durability, dir.parent().unwrap_or(Path::new("/")))?;
        }
        let repo = Repository::open_bare(dir)?;
        if !repo.config()?.get_bool(MARK).unwrap_or(false) {
            return Err(Error::NotAHub(dir.to_owned()));
        }
        let dir = dir.canonicalize().map_err(Error::io("find", dir))?;
        Ok(Self { dir, git, name: format!("refs/heads/{}", options.integration), repo })
    }

    /// The objects that workspaces borrow.
    pub fn objects_dir(&self) -> PathBuf {
        self.dir.join("objects")
    }

    /// The mirror's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The host's git.
    pub(crate) fn git(&self) -> &Git {
        &self.git
    }

    /// The integration head as of the last update.
    pub fn head(&self) -> Result<Option<CommitId>, Error> {
        read_ref(&self.repo, &self.name)
    }

    /// Import the commits of the hub's integration branch that the mirror lacks; returns the head.
    pub fn update(&self, hub: &Hub) -> Result<CommitId, Error> {
        let (old, new) = (self.head()?, hub.expect_head()?);
        if old == Some(new) {
            return Ok(new);
        }
        let copied = match old {
            Some(old) => hub.with(|from| self.copy(from, old, new))?,
            None => false,
        };
        if !copied {
            self.fetch(hub.dir(), &hub.integration_ref())?;
        }
        self.repo.reference(&self.name, oid(new), true, "devstack")?;
        Ok(new)
    }

    /// Import a bundle of integration history up to `head`, which becomes the mirror's head. It comes from our own hub,
    /// over an authenticated connection.
    pub fn take(&self, bundle: &Path, head: CommitId) -> Result<(), Error> {
        self.fetch(bundle, &self.name)?;
        self.repo.reference(&self.name, oid(head), true, "devstack")?;
        Ok(())
    }

    /// Fetch the objects of a ref of another repository or a bundle; no ref moves.
    fn fetch(&self, from: &Path, name: &str) -> Result<(), Error> {
        let run = self.git.run("fetch").git_dir(&self.dir).deadline(TRANSFER_DEADLINE).config("fetch.unpackLimit=1");
        let run = run.config("fetch.fsckObjects=false"); // our own hub has already checked
        let run =
            run.args(["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--refmap=", "--"]);
        run.args([from]).args([name]).ok()?;
        for part in ["objects/pack", "objects"] {
            fsync_dir(Durability::Full, &self.dir.join(part))?;
        }
        Ok(())
    }

    /// Copy the objects of `old..new`; returns `false` if there are too many, without any loss.
    fn copy(&self, from: &Repository, old: CommitId, new: CommitId) -> Result<bool, Error> {
        let mut walk = from.revwalk()?;
        walk.push(oid(new))?;
        walk.hide(oid(old))?;
        let mut wanted = BTreeSet::new();
        for commit in walk {
            let commit = from.find_commit(commit?)?;
            wanted.insert(commit.id());
            let parent = commit.parents().next().map(|p| p.tree()).transpose()?;
            if !new_objects(from, parent.as_ref(), &commit.tree()?, &mut wanted)? {
                return Ok(false);
            }
        }
        let (source, target) = (from.odb()?, self.repo.odb()?);
        for object in wanted {
            let found = source.read(object)?;
            target.write(found.kind(), found.data())?;
        }
        Ok(true)
    }
}

/// Collect the objects that `new` has and `old` lacks, at the same paths; returns `false` if there are too many to
/// copy.
fn new_objects(
    repo: &Repository,
    old: Option<&Tree<'_>>,
    new: &Tree<'_>,
    into: &mut BTreeSet<Oid>,
) -> Result<bool, Error> {
    if old.is_some_and(|old| old.id() == new.id()) || !into.insert(new.id()) {
        return Ok(true);
    }
    for entry in new {
        let before = old.and_then(|old| old.get_name_bytes(entry.name_bytes()));
        if before.as_ref().is_some_and(|b| b.id() == entry.id()) {
            continue;
        }
        if into.len() > COPY_MAX {
            return Ok(false);
        }
        match entry.kind() {
            Some(ObjectType::Tree) => {
                let before = before
                    .filter(|b| b.kind() == Some(ObjectType::Tree))
                    .map(|b| repo.find_tree(b.id()))
                    .transpose()?;
                if !new_objects(repo, before.as_ref(), &repo.find_tree(entry.id())?, into)? {
                    return Ok(false);
                }
            }
            Some(ObjectType::Blob) => {
                into.insert(entry.id());
            }
            _ => {} // a submodule's commit is in another repository
        }
    }
    Ok(true)
}

/// For tests and `doctor`: checks that the mirror of a hub contains exactly the requested commits.
impl Mirror {
    /// Whether the mirror's head contains this commit. The existence of the object alone proves nothing: a process that
    /// was killed in the middle of an update leaves commits without their trees, and does not move the head.
    pub fn contains(&self, commit: CommitId) -> bool {
        let Ok(Some(head)) = self.head() else { return false };
        head == commit || self.repo.graph_descendant_of(oid(head), oid(commit)).unwrap_or(false)
    }
}
