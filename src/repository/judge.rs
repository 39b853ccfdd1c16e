//! Judges a result that was indexed in a scratch, as data. Runs in a helper process ([`super::worker`]), for whatever an
//! agent wrote is read here. Objects are counted and trees walked first; only what passed is seen by git's library.
//! Deliberately absent: the hub's own objects and refs, which nothing here writes.

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

/// A pack with at most so many objects is taken apart, so that the hub does not collect thousands of small packs. Each
/// object costs two syncs.
const LOOSE_MAX: usize = 200;
/// In the scratch: ids of objects to be packed, a line each.
pub(super) const LIST: &str = "accepted";

/// A commit that a bundle carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Branch {
    /// The branch's name; the result's is empty.
    pub(super) name: String,
    pub(super) commit: CommitId,
}

/// What is to be judged, by which measure.
#[derive(Serialize, Deserialize)]
pub(super) struct Judgement {
    /// The repository that it is to enter, or a mirror of it.
    pub(super) repo: PathBuf,
    /// What came, indexed; see [`super::scratch`].
    pub(super) scratch: PathBuf,
    pub(super) result: CommitId,
    pub(super) branches: Vec<Branch>,
    pub(super) base: CommitId,
    pub(super) must_contain: Vec<CommitId>,
    /// Values that must not be in it.
    pub(super) secrets: Vec<Vec<u8>>,
    /// When a person must look at it.
    pub(super) guard: Guard,
    pub(super) limits: Limits,
    pub(super) now: Timestamp,
    /// Lay out what is accepted for landing?
    pub(super) keep: bool,
}

/// What a result that is accepted consists of.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Passed {
    pub(super) branches: Vec<Branch>,
    /// Branches that failed, and why.
    pub(super) left_out: Vec<(String, String)>,
    /// Why a person must look at it.
    pub(super) held: Option<String>,
    /// How what is to land lies in the scratch.
    pub(super) laid_out: LaidOut,
}

/// How accepted objects lie in a scratch.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LaidOut {
    /// They stay as they came: nothing is to land.
    #[default]
    AsTheyCame,
    /// As single objects, apart ([`super::scratch::Scratch::landing`]).
    Loose,
    /// As they came, with a list of what is to be packed ([`LIST`]).
    Listed,
}

impl Judgement {
    /// The verdict; the outer error is this machine's.
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

/// What one judgement works with.
struct Bench<'a> {
    what: &'a Judgement,
    /// Sees what came and what was there.
    repo: &'a Repository,
    /// What came, alone.
    came: &'a Odb<'a>,
    /// What was there, alone.
    there: &'a Odb<'a>,
    new: &'a HashSet<Oid>,
    scanner: &'a Scanner,
}

impl Bench<'_> {
    /// Refuse a pack with objects that no commit of it needs: nobody would have looked at them. What the repository has
    /// already is let pass: thin packs are completed with it.
    fn nothing_else_came(&self) -> Result<(), Stop> {
        let all = self.what.branches.iter().map(|branch| branch.commit).chain([self.what.result]);
        let reached = reachable(self.repo, self.came, self.new, all, &self.what.limits.bounds()).map_err(stop)?;
        match self.new.difference(&reached.objects).find(|id| !has(self.there, **id)) {
            Some(stray) => Err(damaged(format!("its pack holds {stray}, which no commit of the result needs"))),
            None => Ok(()),
        }
    }

    /// Judge one commit with all that it brings.
    fn tip(&self, tip: CommitId, is_result: bool) -> Result<(), Stop> {
        let what = self.what;
        let Ok(commit) = self.repo.find_commit(oid(tip)) else {
            return Err(damaged("the bundle's commit is not in it"));
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
            Err(Error::Library(e)) => return Err(damaged(format!("the result is not whole: {e}"))),
            Err(error) => return Err(error.into()),
        }
        if !must_contain.is_empty()
            && let Some(finding) = policy::markers_left(self.repo, tip, must_contain, &what.limits.bounds())?
        {
            return Err(policy(finding));
        }
        Ok(())
    }

    /// Why a person must look at the result, by all that it changes against its base.
    fn held(&self) -> Result<Option<String>, Stop> {
        let what = self.what;
        let tree = |commit: CommitId| Ok::<_, Error>(self.repo.find_commit(oid(commit))?.tree_id());
        let (base, tip) = (tree(what.base)?, tree(what.result)?);
        let odb = self.repo.odb().map_err(Error::from)?;
        let changes = match changes(&odb, Some(base), Some(tip), &what.limits.bounds()) {
            Err(Stopped::Bound(why)) => {
                return Ok(Some(format!("its changes are too many to be looked through: {why}")));
            }
            changes => changes.map_err(stop)?,
        };
        held::why(&what.guard, &odb, (base, tip), &changes, |path| shown(self.scanner, path)).map_err(stop)
    }

    /// Every new tree within the bounds, before anything else looks at them.
    fn trees(&self, tip: CommitId) -> Result<(), Stop> {
        let (bounds, shown) = (self.what.limits.bounds(), |name: &[u8]| shown(self.scanner, name));
        let reached = reachable(self.repo, self.came, self.new, [tip], &bounds).map_err(stop)?;
        let mut shapes = Shapes::new(self.came, self.new, &bounds, &shown);
        reached.roots.into_iter().try_for_each(|root| shapes.visit(root)).map_err(stop)
    }

    /// Lay out what the accepted commits need for landing. Without syncs: landing does them.
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

/// Write these objects as single ones for landing, without those that are there.
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

/// Does a database have it? Without looking again for packs that appeared meanwhile: what is landed twice is there once.
fn has(odb: &Odb<'_>, id: Oid) -> bool {
    odb.exists_ext(id, git2::OdbLookupFlags::NO_REFRESH)
}

/// Refuse what unpacks to too much; only headers are read.
fn bounded_size(came: &Odb<'_>, new: &HashSet<Oid>, limit: u64) -> Result<(), Stop> {
    let mut total = 0;
    for object in new {
        let header = came.read_header(*object);
        let (size, kind) = header.map_err(|e| damaged(format!("an object cannot be read: {e}")))?;
        total += size as u64;
        if total > limit {
            return Err(policy(format!("the result unpacks to more than {} MiB", limit >> 20)));
        }
        if !matches!(kind, ObjectType::Blob | ObjectType::Tree | ObjectType::Commit) {
            return Err(damaged(format!("{object} is neither a commit nor a tree nor a file")));
        }
    }
    Ok(())
}

/// A name as it may be said: one that is a secret is not repeated.
pub(super) fn shown(scanner: &Scanner, name: &[u8]) -> String {
    match scanner.bytes(name) {
        Some(_) => "a name that is not shown".to_owned(),
        None => one_line(&String::from_utf8_lossy(name), SHOWN_MAX),
    }
}

/// A bound is the task's fault; what cannot be read is not whole.
fn stop(stopped: Stopped) -> Stop {
    match stopped {
        Stopped::Bound(why) => policy(why),
        Stopped::Broken(why) => damaged(format!("the result is not whole: {why}")),
    }
}
