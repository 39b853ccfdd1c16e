//! Reads the hub: ancestry, differences, the graph, single files. All answers are bounded. Deliberately absent:
//! anything that writes.

use devstack_dag::ids::CommitId;
use git2::{DiffFormat, DiffOptions, ObjectType, Repository, Sort};
use serde::{Deserialize, Serialize};

use super::{
    Error,
    hub::Hub,
    id, oid,
    policy::Limits,
    trees::{Stopped, changes::changes},
    worker::{self, Answer, Diff, Job},
};
use crate::helper::Cancel;
use devstack_config::protected::Protected;

/// Renames are searched among at most this many changed files, because each is compared with each.
const RENAMES_MAX: usize = 1_000;

/// A text that may have been cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounded {
    /// The text, lossy UTF-8.
    pub text: String,
    /// Whether something was left out.
    pub truncated: bool,
}

/// A commit of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its id.
    pub id: CommitId,
    /// Its parents, in order.
    pub parents: Vec<CommitId>,
    /// The first line of its message.
    pub subject: String,
    /// The author's name.
    pub author: String,
    /// Committer time, seconds since 1970.
    pub time: i64,
}

impl Hub {
    /// Whether this commit is in the hub.
    pub fn contains(&self, commit: CommitId) -> Result<bool, Error> {
        self.with(|repo| Ok(repo.find_commit(oid(commit)).is_ok()))
    }

    /// Whether `ancestor` equals `of` or is an ancestor of it: the proof of a merge.
    pub fn is_ancestor(&self, ancestor: CommitId, of: CommitId) -> Result<bool, Error> {
        self.with(|repo| is_ancestor(repo, ancestor, of))
    }

    /// The best common ancestor; `None` if the commits are unrelated.
    pub fn merge_base(&self, one: CommitId, two: CommitId) -> Result<Option<CommitId>, Error> {
        self.with(|repo| Ok(merge_bases(repo, one, two)?.first().copied()))
    }

    /// The change from one commit's tree to another's, as a patch of at most `limit` bytes, for these paths only (none:
    /// all paths). Files that match these globs come first. Made in a helper process, which is ended when the request
    /// is cancelled.
    pub fn diff(
        &self,
        from: CommitId,
        to: CommitId,
        (paths, first): (&[String], &[String]),
        limit: usize,
        cancel: Option<&Cancel>,
    ) -> Result<Bounded, Error> {
        let diff = Diff { repo: self.dir().to_owned(), from, to, paths: paths.to_vec(), first: first.to_vec(), limit };
        match worker::ask(self.git().viewers(), &Job::Diff(diff), cancel) {
            Ok(Answer::Diff(patch)) => Ok(patch),
            Err(Error::Unreadable(how)) => Ok(not_shown(&format!("making it {how}"))),
            Ok(_) => Err(worker::other_answer()),
            Err(error) => Err(error),
        }
    }

    /// The newest `limit` commits reachable from `tip`, children before parents.
    pub fn log(&self, tip: CommitId, limit: usize) -> Result<Vec<LogEntry>, Error> {
        self.with(|repo| {
            let mut walk = repo.revwalk()?;
            walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
            walk.push(oid(tip)).map_err(|_| Error::Unknown(tip))?;
            let mut entries = Vec::new();
            for found in walk.take(limit) {
                let commit = repo.find_commit(found?)?;
                entries.push(LogEntry {
                    id: id(commit.id()),
                    parents: commit.parent_ids().map(id).collect(),
                    subject: String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned(),
                    author: String::from_utf8_lossy(commit.author().name_bytes()).into_owned(),
                    time: commit.time().seconds(),
                });
            }
            Ok(entries)
        })
    }

    /// A file of a commit, at most `limit` bytes of it; `None` if there is no such file.
    pub fn show(&self, commit: CommitId, path: &str, limit: usize) -> Result<Option<Bounded>, Error> {
        self.with(|repo| {
            let tree = repo.find_commit(oid(commit)).map_err(|_| Error::Unknown(commit))?.tree()?;
            let Ok(entry) = tree.get_path(path.as_ref()) else { return Ok(None) };
            if entry.kind() != Some(ObjectType::Blob) {
                return Ok(None);
            }
            let blob = repo.find_blob(entry.id())?;
            let shown = &blob.content()[..blob.size().min(limit)];
            Ok(Some(Bounded { text: String::from_utf8_lossy(shown).into_owned(), truncated: blob.size() > limit }))
        })
    }
}

/// Make a diff, in a helper process. The trees are first walked within bounds; a diff that is too large is replaced by
/// a message.
pub(super) fn diff(repo: &Repository, asked: &Diff) -> Result<Bounded, Error> {
    let tree = |c: CommitId| repo.find_commit(oid(c)).and_then(|c| c.tree()).map_err(|_| Error::Unknown(c));
    let (from, to) = (tree(asked.from)?, tree(asked.to)?);
    let changed = match changes(&repo.odb()?, Some(from.id()), Some(to.id()), &Limits::default().bounds()) {
        Ok(changed) => changed.len(),
        Err(Stopped::Bound(why) | Stopped::Broken(why)) => return Ok(not_shown(&why)),
    };
    let mut options = DiffOptions::new();
    // Literal names, whatever characters they contain, and no patterns.
    options.disable_pathspec_match(true);
    for path in &asked.paths {
        options.pathspec(path);
    }
    let mut diff = repo.diff_tree_to_tree(Some(&from), Some(&to), Some(&mut options))?;
    if changed <= RENAMES_MAX {
        diff.find_similar(None)?;
    }
    let (mut bytes, mut truncated) = (Vec::new(), false);
    // Invalid globs put nothing first.
    let first = Protected::new(asked.first.iter().map(String::as_str)).unwrap_or_default();
    let is_first = |delta: &git2::DiffDelta<'_>| {
        [delta.old_file(), delta.new_file()].iter().filter_map(git2::DiffFile::path_bytes).any(|path| first.has(path))
    };
    let mut part = |wanted: bool| {
        diff.print(DiffFormat::Patch, |delta, _, line| {
            if is_first(&delta) != wanted {
                return true;
            }
            if matches!(line.origin(), '+' | '-' | ' ') {
                bytes.push(line.origin() as u8);
            }
            bytes.extend_from_slice(line.content());
            truncated = bytes.len() > asked.limit;
            !truncated
        })
    };
    match part(true).and_then(|()| part(false)) {
        Err(e) if e.code() != git2::ErrorCode::User => return Err(e.into()),
        _ => bytes.truncate(asked.limit),
    }
    Ok(Bounded { text: String::from_utf8_lossy(&bytes).into_owned(), truncated })
}

/// Replaces a diff that is too large.
fn not_shown(why: &str) -> Bounded {
    Bounded { text: format!("(the diff is not shown: {why})\n"), truncated: true }
}

/// Whether `ancestor` equals `of` or is an ancestor of it.
pub(crate) fn is_ancestor(repo: &git2::Repository, ancestor: CommitId, of: CommitId) -> Result<bool, Error> {
    Ok(ancestor == of || repo.graph_descendant_of(oid(of), oid(ancestor))?)
}

/// All best common ancestors; empty if the commits are unrelated.
pub(crate) fn merge_bases(repo: &git2::Repository, one: CommitId, two: CommitId) -> Result<Vec<CommitId>, Error> {
    match repo.merge_bases(oid(one), oid(two)) {
        Ok(found) => Ok(found.iter().map(|o| id(*o)).collect()),
        Err(e) if e.code() == git2::ErrorCode::NotFound => Ok(Vec::new()),
        Err(e) => Err(e.into()),
    }
}
