//! Accepts a result from an untrusted host. Only a bundle file is read, never a repository that an agent could write:
//! no alternates, `gitdir:` file, filter or hook of the agent is ever consulted. The pack is indexed in a scratch with
//! fsck on and memory bounded, by a separate git process. A helper process judges its objects as data. Only objects
//! that passed enter the hub and are pinned; until then this process reads none of them. Nothing of a refused result
//! stays. Deliberately absent: the judgement (`judge`), and what a refusal means for the task (the engine decides).

use std::{
    fs::File,
    io::{Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use devstack_dag::ids::{AttemptId, CommitId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Error,
    bundle::{RESULT_REF, write_bundle},
    bundle_header::{self, Header},
    durable::land_objects,
    git::{Git, TRANSFER_DEADLINE},
    held::Guard,
    hub::Hub,
    judge::{Branch, Judgement, LIST, LaidOut, Passed},
    lock::ProjectLock,
    mirror::Mirror,
    pack::{Bounds, index, open_plain, pack_count},
    policy::Limits,
    scratch::Scratch,
    worker::{self, Answer, Job},
};

/// Maximum number of branches in a bundle besides the result.
const BRANCHES_MAX: usize = 16;
/// The prefix of these branches in a result's bundle.
const BRANCH_ROOT: &str = "refs/devstack/branches/";
/// The longest branch name, in bytes: it becomes part of a file's path.
const BRANCH_NAME_MAX: usize = 200;
/// A pushed pack with at most this many objects, and this many bytes, is unpacked.
const LOOSE_MAX: (u64, u64) = (200, 64 << 20);
/// A pack within the limits is indexed in seconds.
const INDEX_DEADLINE: Duration = Duration::from_secs(120);

/// The requirements for a result.
#[derive(Debug)]
pub struct Expectation<'a> {
    /// The attempt of the result; its pin is created.
    pub attempt: &'a AttemptId,
    /// The base recorded at dispatch: an ancestor of the result.
    pub base: CommitId,
    /// For a resolution: both sides. Each must be an ancestor of the result, and no conflict marker may be left.
    pub must_contain: &'a [CommitId],
    /// The attempt's secret values, which the result must not contain.
    pub secrets: &'a [Vec<u8>],
    /// When a user must review it.
    pub guard: &'a Guard,
    /// The size limits.
    pub limits: Limits,
    /// The current time.
    pub now: Timestamp,
}

/// The outcome of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// In the hub, durable, pinned.
    Accepted(Accepted),
    /// Nothing of it is in the hub.
    Refused(Refusal),
}

/// An accepted result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The result itself.
    pub tip: CommitId,
    /// Other branches that the attempt left, by name, each pinned ([`super::pins::branch_ref`]).
    pub branches: Vec<(String, CommitId)>,
    /// Refused branches with reasons, for an agent or a user.
    pub left_out: Vec<(String, String)>,
    /// Why a user must review the result before it is merged; `None` if no review is needed.
    pub held: Option<String>,
}

/// Why a result was refused. The texts are for an agent or a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It contains something that must not enter the history: the task's fault
    /// ([`devstack_dag::attempt::Outcome::Policy`]).
    Policy(String),
    /// It is not a complete, well-formed bundle of the expected work: the host's fault, or an attack.
    Damaged(String),
}

/// Why the checks stop: a refusal, or a real error.
pub(super) enum Stop {
    Refused(Refusal),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub(super) fn damaged(why: impl Into<String>) -> Stop {
    Stop::Refused(Refusal::Damaged(why.into()))
}

pub(super) fn policy(why: impl Into<String>) -> Stop {
    Stop::Refused(Refusal::Policy(why.into()))
}

impl Hub {
    /// Take the bundle at `path` as the result of an attempt.
    pub fn import_result(&self, path: &Path, expected: &Expectation<'_>) -> Result<Imported, Error> {
        let ground = Ground { dir: self.dir(), git: self.git(), contains: &|commit| self.contains(commit) };
        match ground.examine(path, expected, true) {
            Ok((scratch, tip, passed)) => {
                self.accept(&scratch, &passed.laid_out)?;
                match self.pin(expected.attempt, tip) {
                    // The first result counts, and a retry would not change that.
                    Err(Error::NotPinned(_)) => {
                        let why = "another result of this attempt was already accepted";
                        return Ok(Imported::Refused(Refusal::Damaged(why.into())));
                    }
                    pinned => pinned?,
                }
                let named = |branch: Branch| (branch.name, branch.commit);
                let branches: Vec<_> = passed.branches.into_iter().map(named).collect();
                self.pin_branches(expected.attempt, &branches)?;
                let (left_out, held) = (passed.left_out, passed.held);
                Ok(Imported::Accepted(Accepted { tip, branches, left_out, held }))
            }
            Err(Stop::Refused(refusal)) => Ok(Imported::Refused(refusal)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Bring the objects prepared in a scratch into the hub: a small result as loose objects, a large one as a pack of
    /// our own, whose delta chains are no longer than git's own.
    fn accept(&self, scratch: &Scratch, laid_out: &LaidOut) -> Result<(), Error> {
        if *laid_out == LaidOut::Listed {
            self.repack(scratch)?;
        }
        let lock = self.lock()?;
        self.land_apart(&lock, scratch)
    }

    /// Pack the objects that a scratch lists.
    fn repack(&self, scratch: &Scratch) -> Result<(), Error> {
        let (list, packs) = (scratch.dir().join(LIST), scratch.landing().join("pack"));
        std::fs::create_dir_all(&packs).map_err(Error::io("create", &packs))?;
        let list = File::open(&list).map_err(Error::io("open", list))?;
        let run = scratch.redirect(self.run("pack-objects")).deadline(TRANSFER_DEADLINE).stdin(list);
        let run = run.config("pack.threads=2").config("pack.windowMemory=128m").config("core.bigFileThreshold=8m");
        run.args(["--quiet", "--no-reuse-delta", "--depth=50"]).args([packs.join("pack")]).ok().map(drop)
    }

    fn land_apart(&self, _lock: &ProjectLock, scratch: &Scratch) -> Result<(), Error> {
        land_objects(self.durability(), &scratch.landing(), &self.dir().join("objects")).map(drop)
    }

    /// Bring everything that a user pushed into the hub, under the caller's lock: a small pack as loose objects, a
    /// large one unchanged.
    pub(super) fn keep_objects(&self, lock: &ProjectLock, scratch: &Scratch, pushed: Pushed) -> Result<(), Error> {
        if pushed.objects > LOOSE_MAX.0 || pushed.bytes > LOOSE_MAX.1 {
            return self.land(lock, scratch).map(drop);
        }
        let job = Job::Loosen { repo: self.dir().to_owned(), scratch: scratch.dir().to_owned() };
        match worker::ask(self.git().workers(), &job, None)? {
            Answer::Done => self.land_apart(lock, scratch),
            _ => Err(worker::other_answer()),
        }
    }
}

/// The size of a user's bundle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pushed {
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

impl Mirror {
    /// Judges the bundle at `path` like a hub, and keeps nothing. This runs on a host that knows the secret values,
    /// which never leave it. Returns `None` if nothing is wrong. Refused branches are removed from the bundle.
    pub fn screen(&self, path: &Path, expected: &Expectation<'_>) -> Result<Option<Refusal>, Error> {
        let ground = Ground { dir: self.dir(), git: self.git(), contains: &|commit| Ok(self.contains(commit)) };
        match ground.examine(path, expected, false) {
            Ok((_, _, passed)) if passed.left_out.is_empty() => Ok(None),
            Ok((scratch, tip, passed)) => self.write_again(&scratch, tip, &passed, path).map(|()| None),
            Err(Stop::Refused(refusal)) => Ok(Some(refusal)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Rewrites the bundle at `path` with only the accepted refs.
    fn write_again(&self, scratch: &Scratch, tip: CommitId, passed: &Passed, path: &Path) -> Result<(), Error> {
        for (branch, why) in &passed.left_out {
            tracing::warn!(branch, why, "a branch is left out of its result");
        }
        let known = bundle_header::read_header(File::open(path).map_err(Error::io("open", path))?);
        let known = known.map_err(|detail| Error::Git { command: "bundle".into(), detail })?.prerequisites;
        let names: Vec<String> = passed.branches.iter().map(|branch| format!("{BRANCH_ROOT}{}", branch.name)).collect();
        let mut refs = vec![(tip, RESULT_REF)];
        refs.extend(passed.branches.iter().zip(&names).map(|(branch, name)| (branch.commit, name.as_str())));
        let fresh = path.with_extension("passed");
        let run = scratch.redirect(self.git().run("pack-objects").git_dir(self.dir()));
        write_bundle(run, &refs, &known, &fresh)?;
        std::fs::rename(&fresh, path).map_err(Error::io("replace", path))
    }
}

/// A trusted repository against which a result is checked.
struct Ground<'a> {
    dir: &'a Path,
    git: &'a Git,
    contains: &'a dyn Fn(CommitId) -> Result<bool, Error>,
}

impl Ground<'_> {
    /// Everything up to the decision; writes only to the scratch. With `keep`, accepted objects are prepared for
    /// landing.
    fn examine(
        &self,
        path: &Path,
        expected: &Expectation<'_>,
        keep: bool,
    ) -> Result<(Scratch, CommitId, Passed), Stop> {
        let limits = &expected.limits;
        let mut file = open_plain(path)?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        if size > limits.bundle_bytes {
            return Err(policy(format!("the result is {} MiB, more than {}", size >> 20, limits.bundle_bytes >> 20)));
        }
        let header = bundle_header::read_header(&mut file).map_err(damaged)?;
        let (tip, branches) = refs_of(&header)?;
        for commit in &header.prerequisites {
            if !(self.contains)(*commit)? {
                return Err(damaged(format!("the bundle needs commit {commit}, which the hub does not have")));
            }
        }
        let objects = pack_count(&mut file, header.length)?;
        if objects > limits.objects {
            return Err(policy(format!("the result has {objects} objects, more than {}", limits.objects)));
        }
        let scratch = Scratch::new(self.dir)?;
        if objects > 0 {
            file.seek(SeekFrom::Start(header.length)).map_err(Error::io("read", path))?;
            let bounds = Bounds { bytes: limits.bundle_bytes, deadline: INDEX_DEADLINE, tolerated: &[] };
            index(self.git, self.dir, &scratch, file, &bounds)?;
        }
        let judgement = Judgement {
            repo: self.dir.to_owned(),
            scratch: scratch.dir().to_owned(),
            result: tip,
            branches,
            base: expected.base,
            must_contain: expected.must_contain.to_vec(),
            secrets: expected.secrets.to_vec(),
            guard: expected.guard.clone(),
            limits: *limits,
            now: expected.now,
            keep,
        };
        match worker::ask(self.git.workers(), &Job::Judge(judgement), None) {
            Ok(Answer::Judged(Ok(passed))) => Ok((scratch, tip, passed)),
            Ok(Answer::Judged(Err(refusal))) => Err(Stop::Refused(refusal)),
            Err(Error::Unreadable(how)) => Err(policy(format!("reading the result {how}"))),
            Ok(_) => Err(worker::other_answer().into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The result, which comes first, and the branches besides it.
fn refs_of(header: &Header) -> Result<(CommitId, Vec<Branch>), Stop> {
    let Some(((tip, name), others)) = header.refs.split_first() else {
        return Err(damaged("the bundle contains no ref"));
    };
    if name != RESULT_REF {
        return Err(damaged("the bundle's ref is not the result ref"));
    }
    if others.len() > BRANCHES_MAX {
        return Err(damaged(format!("the bundle contains more than {BRANCHES_MAX} branches besides the result")));
    }
    let mut branches: Vec<Branch> = Vec::with_capacity(others.len());
    for (commit, name) in others {
        let branch = name
            .strip_prefix(BRANCH_ROOT)
            .filter(|branch| branch.len() <= BRANCH_NAME_MAX && git2::Branch::name_is_valid(branch).unwrap_or(false));
        let Some(branch) = branch else {
            return Err(damaged("the bundle contains a ref that is neither the result nor a branch"));
        };
        // Refs are files: a name cannot be both a file and a directory.
        let clash =
            |one: &str, two: &str| one == two || one.strip_prefix(two).is_some_and(|rest| rest.starts_with('/'));
        if branches.iter().any(|other| clash(&other.name, branch) || clash(branch, &other.name)) {
            return Err(damaged("the bundle contains two branches whose names conflict"));
        }
        branches.push(Branch { name: branch.to_owned(), commit: *commit });
    }
    Ok((*tip, branches))
}
