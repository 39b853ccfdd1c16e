//! Prepares a merge and moves no ref: the tree is git's own (`merge-tree`, the same code as `git merge`), the commit is
//! ours. Every object is durable before a candidate is named, so that an intent may be stored. Deliberately absent: the
//! ref ([`super::publish`]) and the decision what to do with a conflict (the engine's).

use devstack_dag::{
    effect::MergeRequest,
    ids::{CommitId, Timestamp},
};
use git2::{Oid, Repository};

use super::{
    Error,
    history::merge_bases,
    hub::Hub,
    id, message, oid,
    scratch::Scratch,
    worker::{self, Answer, Job},
};

/// Maximum number of named conflicting paths (the record's limit).
const PATHS_MAX: usize = 100;
/// Maximum size of git's messages about a conflict, in bytes: they go into a prompt, not into an archive.
const MESSAGES_MAX: usize = 16 << 10;

/// The result of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepared {
    /// The merge commit, durable and unreferenced.
    Candidate {
        /// The integration head on which it was prepared.
        onto: CommitId,
        /// The merge commit.
        commit: CommitId,
    },
    /// The sides conflict; nothing was kept.
    Conflict(ConflictFound),
    /// The integration head already contains the commit.
    AlreadyContained {
        /// That head.
        head: CommitId,
    },
    /// It cannot be merged, whatever the head is. Says why, for users.
    Refused(String),
}

/// A conflict between two sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictFound {
    /// The integration head on which the merge was tried.
    pub ours: CommitId,
    /// The commit to merge.
    pub theirs: CommitId,
    /// Their merge base.
    pub base: CommitId,
    /// Conflicting paths, at most 100, lossy UTF-8.
    pub paths: Vec<String>,
    /// Git's messages, bounded, lossy UTF-8.
    pub messages: String,
}

/// A tree or a conflict.
pub(crate) enum Merged {
    /// Written to the scratch.
    Tree(Oid),
    /// Paths and messages.
    Clash(Vec<String>, String),
}

impl Hub {
    /// Merge a pinned attempt's commit with the integration head, moving no ref. The same request at the same time on
    /// the same head gives the same commit.
    pub fn prepare(&self, request: &MergeRequest, now: Timestamp) -> Result<Prepared, Error> {
        if self.pinned(&request.attempt)? != Some(request.commit) {
            return Err(Error::NotPinned(request.attempt.clone()));
        }
        let onto = self.expect_head()?;
        for needed in &request.must_contain {
            if !self.is_ancestor(*needed, request.commit)? {
                return Ok(Prepared::Refused(format!(
                    "the result does not contain {needed}: merge both sides of the conflict"
                )));
            }
        }
        if !request.must_contain.is_empty() {
            let (repo, sides) = (self.dir().to_owned(), request.must_contain.clone());
            match worker::ask(self.git().workers(), &Job::Markers { repo, tip: request.commit, sides }, None) {
                Ok(Answer::Markers(None)) => {}
                Ok(Answer::Markers(Some(finding))) => return Ok(Prepared::Refused(finding)),
                Err(Error::Unreadable(how)) => return Ok(Prepared::Refused(format!("reading it {how}"))),
                Ok(_) => return Err(worker::other_answer()),
                Err(error) => return Err(error),
            }
        }
        self.merge_commits(onto, request.commit, &message::merge_message(request), now)
    }

    /// Merge `theirs` into `onto` as a durable commit with this message.
    pub(crate) fn merge_commits(
        &self,
        onto: CommitId,
        theirs: CommitId,
        message: &str,
        now: Timestamp,
    ) -> Result<Prepared, Error> {
        let bases = self.with(|repo| merge_bases(repo, onto, theirs))?;
        let Some(base) = bases.first().copied() else {
            return Ok(Prepared::Refused("it has no common history with the integration branch".into()));
        };
        if bases == [theirs] {
            return Ok(Prepared::AlreadyContained { head: onto });
        }
        let scratch = self.take_scratch()?;
        let prepared = match self.merge_tree(&scratch, &bases, onto, theirs)? {
            Merged::Clash(paths, messages) => {
                scratch.empty()?;
                Prepared::Conflict(ConflictFound { ours: onto, theirs, base, paths, messages })
            }
            Merged::Tree(tree) => {
                let commit = commit_merge(scratch.repo()?, tree, onto, theirs, message, now)?;
                let lock = self.lock()?;
                self.land(&lock, &scratch)?;
                Prepared::Candidate { onto, commit }
            }
        };
        self.keep_scratch(scratch);
        Ok(prepared)
    }

    /// The merged tree, as `git merge` would make it in a worktree of `ours`.
    pub(crate) fn merge_tree(
        &self,
        scratch: &Scratch,
        bases: &[CommitId],
        ours: CommitId,
        theirs: CommitId,
    ) -> Result<Merged, Error> {
        let mut run = scratch.redirect(self.run("merge-tree"));
        if self.git().has_attr_source() {
            run = run.global(format!("--attr-source={ours}"));
        }
        run = run.args(["--write-tree", "-z", "--name-only", "--messages"]);
        if let [only] = bases {
            run = run.args([format!("--merge-base={only}")]); // with several bases, git merges the bases first
        }
        let output = run.args([ours.to_string(), theirs.to_string()]).output()?;
        let mut fields = output.stdout.split(|byte| *byte == 0);
        let tree = fields.next().and_then(|f| Oid::from_str(std::str::from_utf8(f).ok()?).ok());
        match (output.code, tree) {
            (0, Some(tree)) => Ok(Merged::Tree(tree)),
            (1, Some(_)) => {
                let paths = fields.by_ref().take_while(|f| !f.is_empty());
                let paths = paths.map(|f| String::from_utf8_lossy(f).into_owned()).collect::<Vec<_>>();
                Ok(Merged::Clash(paths.into_iter().take(PATHS_MAX).collect(), messages(fields)))
            }
            _ => Err(output.failed("merge-tree")),
        }
    }
}

/// Write the merge commit, authored by the agent and committed by DevOps, never dated before its parents.
fn commit_merge(
    repo: &Repository,
    tree: Oid,
    onto: CommitId,
    theirs: CommitId,
    message: &str,
    now: Timestamp,
) -> Result<CommitId, Error> {
    let (ours, theirs) = (repo.find_commit(oid(onto))?, repo.find_commit(oid(theirs))?);
    let wall = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
    let seconds = wall.max(ours.time().seconds()).max(theirs.time().seconds());
    let (author, committer) = (message::author_of(&theirs, seconds)?, message::committer(seconds)?);
    Ok(id(repo.commit(None, &author, &committer, message, &repo.find_tree(tree)?, &[&ours, &theirs])?))
}

/// Parses `<count> <path>… <kind> <text>`, repeated; returns the texts.
fn messages<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> String {
    let mut said = String::new();
    while let Some(count) = fields.next().and_then(|f| std::str::from_utf8(f).ok()?.parse::<usize>().ok()) {
        let Some(text) = fields.nth(count + 1) else { break };
        let text = String::from_utf8_lossy(text);
        if said.len() + text.len() > MESSAGES_MAX {
            said.push_str("…\n");
            break;
        }
        said.push_str(&text);
    }
    said
}
