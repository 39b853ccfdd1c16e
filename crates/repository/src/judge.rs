//! Judges a result that was indexed in a scratch, as data. This runs in a helper process ([`super::worker`]), because
//! it reads whatever an agent wrote. Objects are counted and trees walked first; git's library sees only what passed.
//! Deliberately absent: writes to the hub's own objects and refs.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use devstack_dag::ids::{CommitId, Timestamp};
use git2::{ObjectType, Odb, Oid, Repository};
use serde::{Deserialize, Serialize};

use super::{
    Error,
    held::{self, Guard},
    message::one_line,
    oid,
    policy::{self, Checks, Limits, SHOWN_MAX},
    quarantine::{Refusal, Stop, damaged, policy},
    scratch,
    secrets::Scanner,
    trees::{Stopped, changes::changes, reach::reachable, shape::Shapes},
};

/// A pack with at most this many objects is unpacked, so that the hub does not collect thousands of small packs. Each
/// object costs two syncs.
const LOOSE_MAX: usize = 200;
/// A file in the scratch: ids of objects to pack, one per line.
pub(super) const LIST: &str = "accepted";

/// A commit in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Branch {
    /// The branch's name; empty for the result.
    pub(super) name: String,
    pub(super) commit: CommitId,
}

/// What to judge, and by which rules.
#[derive(Serialize, Deserialize)]
pub(super) struct Judgement {
    /// The repository that the result will enter, or a mirror of it.
    pub(super) repo: PathBuf,
    /// The indexed result; see [`super::scratch`].
    pub(super) scratch: PathBuf,
    pub(super) result: CommitId,
    pub(super) branches: Vec<Branch>,
    pub(super) base: CommitId,
    pub(super) must_contain: Vec<CommitId>,
    /// Values that the result must not contain.
    pub(super) secrets: Vec<Vec<u8>>,
    /// When a user must review it.
    pub(super) guard: Guard,
    pub(super) limits: Limits,
    pub(super) now: Timestamp,
    /// Whether to prepare accepted objects for landing.
    pub(super) keep: bool,
}

/// An accepted result.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Passed {
    pub(super) branches: Vec<Branch>,
    /// Refused branches, with reasons.
    pub(super) left_out: Vec<(String, String)>,
    /// Why a user must review it.
    pub(super) held: Option<String>,
    /// How the objects to land are stored in the scratch.
    pub(super) laid_out: LaidOut,
}

/// How accepted objects are stored in a scratch.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LaidOut {
    /// Unchanged: nothing will land.
    #[default]
    AsTheyCame,
    /// As loose objects, separately ([`super::scratch::Scratch::landing`]).
    Loose,
    /// Unchanged, with a list of the objects to pack ([`LIST`]).
    Listed,
}

impl Judgement {
    /// The verdict; the outer error is a failure of this machine.
    pub(super) fn run(&self) -> Result<Result<Passed, Refusal>, Error> {
        match self.judge() {
            Ok(passed) => Ok(Ok(passed)),
            Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn judge(&self) -> Result<Passed, Stop> {
        let came = scratch::came(&self.scratch)?;
        let new: HashSet<Oid> = scratch::ids(&came)?.into_iter().collect();
        bounded_size(&came, &new, self.limits.unpacked_bytes)?;
        let repo = scratch::open(&self.scratch, &self.repo)?;
        let scanner = Scanner::new(&self.secrets);
        let there = Odb::new().map_err(Error::from)?;
        scratch::add(&there, &self.repo.join("objects"))?;
        let bench = Bench { what: self, repo: &repo, came: &came, there: &there, new: &new, scanner: &scanner };
        bench.nothing_else_came()?;
        bench.tip(self.result, true)?;
        let mut passed = Passed { held: bench.held()?, ..Passed::default() };
        for branch in &self.branches {
            match bench.tip(branch.commit, false) {
                Ok(()) => passed.branches.push(branch.clone()),
                Err(Stop::Refused(Refusal::Policy(why) | Refusal::Damaged(why))) => {
                    passed.left_out.push((branch.name.clone(), why));
                }
                Err(failed) => return Err(failed),
            }
        }
        if self.keep {
            passed.laid_out = bench.lay_out(&passed.branches)?;
        }
        Ok(passed)
    }
}

/// The context of one judgement.
struct Bench<'a> {
    what: &'a Judgement,
    /// Sees new and old objects.
    repo: &'a Repository,
    /// Only the new objects.
    came: &'a Odb<'a>,
    /// Only the old objects.
    there: &'a Odb<'a>,
    new: &'a HashSet<Oid>,
    scanner: &'a Scanner,
}

impl Bench<'_> {
    /// Refuse a pack with objects that no commit in it needs: nothing would check them. Objects that the repository
    /// already has are allowed: they complete thin packs.
    fn nothing_else_came(&self) -> Result<(), Stop> {
        let all = self.what.branches.iter().map(|branch| branch.commit).chain([self.what.result]);
        let reached = reachable(self.repo, self.came, self.new, all, &self.what.limits.bounds()).map_err(stop)?;
        match self.new.difference(&reached.objects).find(|id| !has(self.there, **id)) {
            Some(stray) => Err(damaged(format!("its pack contains {stray}, which no commit of the result needs"))),
            None => Ok(()),
        }
    }

    /// Judge one commit with everything that it brings.
    fn tip(&self, tip: CommitId, is_result: bool) -> Result<(), Stop> {
        let what = self.what;
        let Ok(commit) = self.repo.find_commit(oid(tip)) else {
            return Err(damaged("the bundle does not contain its commit"));
        };
        let must_contain = if is_result { what.must_contain.as_slice() } else { &[] };
        for needed in std::iter::once(&what.base).chain(must_contain) {
            if !policy::descends(self.repo, commit.id(), *needed)? {
                let why = if must_contain.contains(needed) {
                    "merge both sides of the conflict"
                } else {
                    "work on top of the given base"
                };
                return Err(policy(format!("the result does not contain commit {needed}: {why}")));
            }
        }
        self.trees(tip)?;
        let known: Vec<CommitId> = std::iter::once(what.base).chain(what.must_contain.iter().copied()).collect();
        let now = i64::try_from(what.now.0 / 1000).unwrap_or(i64::MAX);
        let checks = Checks { repo: self.repo, limits: &what.limits, scanner: self.scanner, now };
        match checks.range(tip, &known) {
            Ok(Ok(())) => {}
            Ok(Err(finding)) => return Err(policy(finding)),
            Err(Error::Library(e)) => return Err(damaged(format!("the result is incomplete: {e}"))),
            Err(error) => return Err(error.into()),
        }
        if !must_contain.is_empty()
            && let Some(finding) = policy::markers_left(self.repo, tip, must_contain, &what.limits.bounds())?
        {
            return Err(policy(finding));
        }
        Ok(())
    }

    /// Why a user must review the result, judged by all its changes against its base.
    fn held(&self) -> Result<Option<String>, Stop> {
        let what = self.what;
        let tree = |commit: CommitId| Ok::<_, Error>(self.repo.find_commit(oid(commit))?.tree_id());
        let (base, tip) = (tree(what.base)?, tree(what.result)?);
        let odb = self.repo.odb().map_err(Error::from)?;
        let changes = match changes(&odb, Some(base), Some(tip), &what.limits.bounds()) {
            Err(Stopped::Bound(why)) => {
                return Ok(Some(format!("it has too many changes to check: {why}")));
            }
            changes => changes.map_err(stop)?,
        };
        held::why(&what.guard, &odb, (base, tip), &changes, |path| shown(self.scanner, path)).map_err(stop)
    }

    /// Check the bounds of every new tree, before any other code reads them.
    fn trees(&self, tip: CommitId) -> Result<(), Stop> {
        let (bounds, shown) = (self.what.limits.bounds(), |name: &[u8]| shown(self.scanner, name));
        let reached = reachable(self.repo, self.came, self.new, [tip], &bounds).map_err(stop)?;
        let mut shapes = Shapes::new(self.came, self.new, &bounds, &shown);
        reached.roots.into_iter().try_for_each(|root| shapes.visit(root)).map_err(stop)
    }

    /// Prepare the objects of the accepted commits for landing. Without syncs: landing does them.
    fn lay_out(&self, branches: &[Branch]) -> Result<LaidOut, Stop> {
        let tips = branches.iter().map(|branch| branch.commit).chain([self.what.result]);
        let bounds = self.what.limits.bounds();
        let wanted = reachable(self.repo, self.came, self.new, tips, &bounds).map_err(stop)?.objects;
        let scratch = &self.what.scratch;
        if wanted.len() > LOOSE_MAX {
            let list: String = wanted.iter().map(|id| format!("{id}\n")).collect();
            let path = scratch.join(LIST);
            fs::write(&path, list).map_err(Error::io("write", &path))?;
            return Ok(LaidOut::Listed);
        }
        loosen(self.came, self.there, wanted, scratch)?;
        Ok(LaidOut::Loose)
    }
}

/// Write these objects as loose objects for landing, except existing ones.
pub(super) fn loosen(
    came: &Odb<'_>,
    there: &Odb<'_>,
    wanted: impl IntoIterator<Item = Oid>,
    scratch: &Path,
) -> Result<(), Error> {
    let landing = scratch::make_landing(scratch)?;
    let landing = landing.odb()?;
    for id in wanted {
        if !has(there, id) {
            let found = came.read(id)?;
            landing.write(found.kind(), found.data())?;
        }
    }
    Ok(())
}

/// Whether a database has the object. It is not refreshed for packs that appeared meanwhile: landing an object twice is
/// harmless.
fn has(odb: &Odb<'_>, id: Oid) -> bool {
    odb.exists_ext(id, git2::OdbLookupFlags::NO_REFRESH)
}

/// Refuse a result that unpacks to too much; reads only headers.
fn bounded_size(came: &Odb<'_>, new: &HashSet<Oid>, limit: u64) -> Result<(), Stop> {
    let mut total = 0;
    for object in new {
        let header = came.read_header(*object);
        let (size, kind) = header.map_err(|e| damaged(format!("cannot read an object: {e}")))?;
        total += size as u64;
        if total > limit {
            return Err(policy(format!("the result unpacks to more than {} MiB", limit >> 20)));
        }
        if !matches!(kind, ObjectType::Blob | ObjectType::Tree | ObjectType::Commit) {
            return Err(damaged(format!("{object} is not a commit, a tree or a file")));
        }
    }
    Ok(())
}

/// A name for display: a name that contains a secret is not repeated.
pub(super) fn shown(scanner: &Scanner, name: &[u8]) -> String {
    match scanner.bytes(name) {
        Some(_) => "a name that is not shown".to_owned(),
        None => one_line(&String::from_utf8_lossy(name), SHOWN_MAX),
    }
}

/// An exceeded bound is the task's fault; an unreadable object means that the result is incomplete.
fn stop(stopped: Stopped) -> Stop {
    match stopped {
        Stopped::Bound(why) => policy(why),
        Stopped::Broken(why) => damaged(format!("the result is incomplete: {why}")),
    }
}
