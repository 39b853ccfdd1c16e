//! Delivers the integration head to the source: fast-forward only, never forced, never onto a branch that is checked
//! out.
//!
//! For a local source none of its hooks run: objects are transferred by a `git fetch` inside it, and the ref is moved
//! by `git update-ref` with hooks switched off. A server behind a URL runs its own hooks, as for every push.
//! Deliberately absent: retries and waiting (the engine's).

use std::path::Path;

use devstack_dag::ids::CommitId;

use super::{
    Error,
    durable::{Durability, fsync_dir, fsync_file},
    git::{Git, Output, TRANSFER_DEADLINE},
    hub::Hub,
    message::one_line,
    source::{Place, SAID_MAX, Source, open_local},
};

/// The result of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The source's integration branch contains everything up to this head.
    Delivered {
        /// That head.
        head: CommitId,
    },
    /// The delivery waits for a user; says what is in the way and what to do.
    Blocked {
        /// The reason, for users.
        reason: String,
    },
    /// The source has commits that the hub lacks: [`Hub::sync`] first.
    Diverged,
}

impl Hub {
    /// Bring the source's integration branch up to the hub's, creating it if it is missing. May be repeated.
    pub fn deliver(&self, source: &Source) -> Result<Delivery, Error> {
        let head = self.expect_head()?;
        let theirs = source.tip(self.git(), self.integration())?;
        match theirs {
            Some(tip) if tip == head => return Ok(Delivery::Delivered { head }),
            Some(tip) if !self.contains(tip)? || !self.is_ancestor(tip, head)? => return Ok(Delivery::Diverged),
            _ => {}
        }
        match source.place() {
            Place::Local(_) => self.deliver_here(source, theirs, head),
            Place::Url(url) => self.push(source, url, head),
        }
    }

    fn deliver_here(&self, source: &Source, old: Option<CommitId>, head: CommitId) -> Result<Delivery, Error> {
        let dir = source.address();
        let branch = self.integration();
        if let Some(place) = source.checked_out(branch)? {
            let reason = format!(
                "the integration branch `{branch}` is checked out in {place}; switch it to another branch, \
                 for example `git -C {place} switch --detach`, and the delivery continues"
            );
            return Ok(Delivery::Blocked { reason });
        }
        let name = self.integration_ref();
        bring(self.git(), dir.as_ref(), self.dir(), &name)?;
        let moved = swap(self.git(), dir.as_ref(), &name, old, head)?;
        if moved.code != 0 {
            return not_moved(&moved, branch, &dir);
        }
        let repo = open_local(&dir)?;
        let file = repo.commondir().join(&name);
        fsync_file(Durability::Full, &file)?;
        fsync_dir(Durability::Full, file.parent().unwrap_or(repo.commondir()))?;
        Ok(Delivery::Delivered { head })
    }

    fn push(&self, source: &Source, url: &str, head: CommitId) -> Result<Delivery, Error> {
        let spec = format!("{head}:{}", self.integration_ref());
        let run = source.reach(self.run("push"))?.args([
            "--porcelain",
            "--no-verify",
            "--recurse-submodules=no",
            "--",
            url,
            &spec,
        ]);
        let output = run.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.code == 0 {
            return Ok(Delivery::Delivered { head });
        }
        let flagged = said.lines().find(|line| line.starts_with('!')).unwrap_or_default();
        if flagged.contains("[rejected]") {
            return Ok(Delivery::Diverged);
        }
        if flagged.contains("[remote rejected]") {
            let why = one_line(flagged.rsplit('\t').next().unwrap_or(flagged), SAID_MAX);
            let reason = format!(
                "{} refuses the push: {why}; allow devstack to push `{}` there",
                source.shown(),
                self.integration()
            );
            return Ok(Delivery::Blocked { reason });
        }
        Err(source.failed(&output, "push"))
    }
}

/// Copy the objects of a ref from another repository, or from a bundle, into a user's repository; no ref moves.
pub(super) fn bring(git: &Git, dir: &Path, from: &Path, name: &str) -> Result<(), Error> {
    let fetch = git.run("fetch").git_dir(dir).deadline(TRANSFER_DEADLINE);
    let fetch = fetch.args(["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"]);
    let fetch = fetch.args(["--no-recurse-submodules", "--refmap=", "--"]).args([from]);
    fetch.args([name]).ok().map(drop)
}

/// Move a ref of a user's repository from `old` (`None`: it does not exist). A separate process does it, which survives
/// if ours is killed: it never leaves its lock file there.
pub(super) fn swap(git: &Git, dir: &Path, name: &str, old: Option<CommitId>, new: CommitId) -> Result<Output, Error> {
    let expected = old.unwrap_or(CommitId([0; 20])).to_string();
    let swap = git.run("update-ref").git_dir(dir);
    swap.args(["-m", "devstack: deliver", name, &new.to_string(), &expected]).output()
}

/// Why git did not move the branch: only its message tells.
fn not_moved(said: &Output, branch: &str, dir: &str) -> Result<Delivery, Error> {
    let words = &said.stderr;
    if words.contains("exists; cannot create") {
        let reason = format!("a branch with a name like `{branch}/…` is in the way in {dir}; rename it");
        return Ok(Delivery::Blocked { reason });
    }
    if words.contains(".lock': File exists") {
        let reason = format!(
            "git has locked the branch `{branch}` in {dir}; if no git runs there, delete refs/heads/{branch}.lock, and \
             the next run delivers"
        );
        return Ok(Delivery::Blocked { reason });
    }
    if words.contains("but expected") || words.contains("reference already exists") {
        return Ok(Delivery::Diverged);
    }
    Err(said.failed("update-ref"))
}
