//! What agents would have harvested: a source repository, and a bundle for each of many attempts, each with a change of
//! its own on top of the source's one commit.

use std::fs;
use std::path::{Path, PathBuf};

use devstack::repository::bundle::RESULT_REF;
use devstack_dag::ids::{AttemptId, CommitId, TaskRef};
use git2::{FileMode, Oid, Repository, Signature, Time};

/// Attempts made: more than a chain gets to.
const ATTEMPTS: u32 = 250;
/// Every so many attempts one changes `MANY` files, so that its pack is kept as a pack.
const LARGE_EVERY: u32 = 8;
const MANY: u32 = 210;

/// The source and the attempts' results.
pub(crate) struct Results {
    dir: PathBuf,
    /// The source's only commit.
    pub(crate) base: CommitId,
    commits: Vec<CommitId>,
}

impl Results {
    /// Makes them in a new directory.
    pub(crate) fn make(dir: &Path) -> Result<(), git2::Error> {
        fs::create_dir_all(dir).map_err(|error| git2::Error::from_str(&error.to_string()))?;
        let repo = Repository::init_bare(dir.join("source.git"))?;
        let files = (0..20).map(|n| (format!("file-{n}"), format!("line of {n}\n").repeat(50)));
        let base = commit(&repo, None, files.collect())?;
        repo.reference("refs/heads/dev", base, true, "")?;
        repo.set_head("refs/heads/main")?;
        repo.reference("refs/heads/main", base, true, "")?;
        let mut list = format!("{base}\n");
        for n in 1..=ATTEMPTS {
            let files = if n % LARGE_EVERY == 0 { MANY } else { 1 + n % 3 };
            let files = (0..files).map(|i| (format!("by-{n}-{i}"), format!("{n} {i}\n").repeat(10)));
            let tip = commit(&repo, Some(base), files.collect())?;
            let mut pack = repo.packbuilder()?;
            let mut walk = repo.revwalk()?;
            walk.push(tip)?;
            walk.hide(base)?;
            pack.insert_walk(&mut walk)?;
            let mut bytes = git2::Buf::new();
            pack.write_buf(&mut bytes)?;
            let head = format!("# v2 git bundle\n-{base} \n{tip} {RESULT_REF}\n\n");
            fs::write(dir.join(format!("{n}.bundle")), [head.as_bytes(), &*bytes].concat()).unwrap();
            list += &format!("{tip}\n");
        }
        fs::write(dir.join("commits"), list).unwrap();
        Ok(())
    }

    /// Those made before in `dir`.
    pub(crate) fn open(dir: &Path) -> Self {
        let list = fs::read_to_string(dir.join("commits")).unwrap();
        let mut commits = list.lines().map(|line| line.parse().unwrap());
        Self { dir: dir.to_owned(), base: commits.next().unwrap(), commits: commits.collect() }
    }

    /// The source repository.
    pub(crate) fn source(&self) -> String {
        self.dir.join("source.git").display().to_string()
    }

    /// Every attempt with its commit and bundle.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = (AttemptId, CommitId, PathBuf)> {
        (1..).zip(&self.commits).map(|(n, commit)| (attempt(n), *commit, self.dir.join(format!("{n}.bundle"))))
    }
}

/// The first attempt of task `T-<n>`.
pub(crate) fn attempt(n: u32) -> AttemptId {
    let task = TaskRef { project: "shop".parse().unwrap(), id: format!("T-{n}").parse().unwrap() };
    AttemptId { task, number: 1 }
}

fn commit(repo: &Repository, parent: Option<Oid>, files: Vec<(String, String)>) -> Result<Oid, git2::Error> {
    let parents = parent.map(|parent| repo.find_commit(parent)).transpose()?;
    let tree = parents.as_ref().map(|parent| parent.tree()).transpose()?;
    let mut builder = repo.treebuilder(tree.as_ref())?;
    for (name, text) in files {
        builder.insert(name, repo.blob(text.as_bytes())?, FileMode::Blob.into())?;
    }
    let tree = repo.find_tree(builder.write()?)?;
    let who = Signature::new("agent", "agent@example.invalid", &Time::new(1_700_000_000, 0))?;
    repo.commit(None, &who, &who, "A change", &tree, &parents.iter().collect::<Vec<_>>())
}
