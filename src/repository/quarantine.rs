//! Takes a result from an untrusted host. Only a bundle file is read, never a repository that an agent could write:
//! no alternates, `gitdir:` file, filter or hook of theirs is ever consulted. The pack is indexed in a scratch with fsck
//! on and memory bounded, its commits are checked as data, and only what passed enters the hub and is pinned. Of a refused
//! result nothing stays.
//! Deliberately absent: what a refusal means for the task (the engine decides).

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use devstack_dag::ids::{AttemptId, CommitId, Timestamp};
use git2::Odb;

use super::{
    Error,
    bundle::RESULT_REF,
    bundle_header,
    git::Git,
    hub::Hub,
    lock::ProjectLock,
    mirror::Mirror,
    oid,
    policy::{self, Checks, Limits},
    scratch::Scratch,
    secrets::Scanner,
};

/// A pack with at most so many objects is taken apart, so that the hub does not collect thousands of small packs. Each
/// object costs two syncs.
const LOOSE_MAX: u64 = 200;
/// Address space of the indexer, in KiB: 4 GiB, what the largest allowed pack needs twice over.
const INDEX_MEMORY_KIB: u64 = 4 << 20;
/// A pack within the limits is indexed in seconds.
const INDEX_DEADLINE: Duration = Duration::from_secs(120);

/// What a result must be.
#[derive(Debug)]
pub struct Expectation<'a> {
    /// The attempt it is of; its pin is made.
    pub attempt: &'a AttemptId,
    /// The base recorded at dispatch: an ancestor of the result.
    pub base: CommitId,
    /// For a resolution: both sides, each an ancestor of the result, and no conflict marker left.
    pub must_contain: &'a [CommitId],
    /// Values that the attempt was given, which must not be in it.
    pub secrets: &'a [Vec<u8>],
    /// How large it may be.
    pub limits: Limits,
    /// The present time.
    pub now: Timestamp,
}

/// What became of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// In the hub, durable, pinned.
    Accepted(CommitId),
    /// Nothing of it is in the hub.
    Refused(Refusal),
}

/// Why a result was not taken. The texts are for an agent and a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It holds what must not enter the history: the task's fault ([`devstack_dag::attempt::Outcome::Policy`]).
    Policy(String),
    /// It is not a whole, well-formed bundle of the expected work: the host's fault, or an attack.
    Damaged(String),
}

/// The way out of the checks: a refusal, or a real error.
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
        match ground.examine(path, expected) {
            Ok((scratch, tip, objects)) => {
                self.accept(&scratch, objects)?;
                self.pin(expected.attempt, tip)?;
                Ok(Imported::Accepted(tip))
            }
            Err(Stop::Refused(refusal)) => Ok(Imported::Refused(refusal)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Bring a checked scratch into the hub: a small pack as single objects, a large one as it is.
    fn accept(&self, scratch: &Scratch, objects: u64) -> Result<(), Error> {
        let lock = self.lock()?;
        self.keep_objects(&lock, scratch, objects)
    }

    /// As [`Hub::accept`], by whoever holds the lock.
    pub(super) fn keep_objects(&self, lock: &ProjectLock, scratch: &Scratch, objects: u64) -> Result<(), Error> {
        if objects > LOOSE_MAX {
            self.land(lock, scratch)?;
            return Ok(());
        }
        let packed = open_objects(scratch)?;
        self.with(|repo| {
            let hub = repo.odb()?;
            for object in object_ids(&packed)? {
                let found = packed.read(object)?;
                hub.write(found.kind(), found.data())?; // synced by the library; what is there already is left
            }
            Ok(())
        })
    }
}

impl Mirror {
    /// Judges the bundle at `path` as a hub would, and keeps nothing: on a host that knows the values of secrets, which
    /// never leave it. `None`: nothing is wrong with it.
    pub fn screen(&self, path: &Path, expected: &Expectation<'_>) -> Result<Option<Refusal>, Error> {
        let ground = Ground { dir: self.dir(), git: self.git(), contains: &|commit| Ok(self.contains(commit)) };
        match ground.examine(path, expected) {
            Ok(_) => Ok(None),
            Err(Stop::Refused(refusal)) => Ok(Some(refusal)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

/// A trusted repository on which a result is looked at.
struct Ground<'a> {
    dir: &'a Path,
    git: &'a Git,
    contains: &'a dyn Fn(CommitId) -> Result<bool, Error>,
}

impl Ground<'_> {
    /// Everything up to the decision; writes to the scratch only.
    fn examine(&self, path: &Path, expected: &Expectation<'_>) -> Result<(Scratch, CommitId, u64), Stop> {
        let limits = &expected.limits;
        let mut file = open_plain(path)?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        if size > limits.bundle_bytes {
            return Err(policy(format!("the result is {} MiB, more than {}", size >> 20, limits.bundle_bytes >> 20)));
        }
        let header = bundle_header::read_header(&mut file).map_err(damaged)?;
        let [(tip, name)] = header.refs.as_slice() else {
            return Err(damaged("the bundle must carry exactly one ref"));
        };
        if name != RESULT_REF {
            return Err(damaged("the bundle's ref is not the result's"));
        }
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
        self.judge(&scratch, *tip, expected)?;
        Ok((scratch, *tip, objects))
    }

    /// Check the result as data.
    fn judge(&self, scratch: &Scratch, tip: CommitId, expected: &Expectation<'_>) -> Result<(), Stop> {
        bounded_size(scratch, expected.limits.unpacked_bytes)?;
        let repo = scratch.repo();
        let Ok(commit) = repo.find_commit(oid(tip)) else { return Err(damaged("the bundle's commit is not in it")) };
        for needed in std::iter::once(&expected.base).chain(expected.must_contain) {
            if !policy::descends(repo, commit.id(), *needed)? {
                let resolution = expected.must_contain.contains(needed);
                let why = if resolution { "merge both sides of the conflict" } else { "work on top of the given base" };
                return Err(policy(format!("the result does not contain commit {needed}: {why}")));
            }
        }
        let mut known = vec![expected.base];
        known.extend(expected.must_contain);
        let scanner = Scanner::new(expected.secrets);
        let now = i64::try_from(expected.now.0 / 1000).unwrap_or(i64::MAX);
        let checks = Checks { repo, limits: &expected.limits, scanner: &scanner, now };
        match checks.range(tip, &known) {
            Ok(Ok(())) => {}
            Ok(Err(finding)) => return Err(policy(finding)),
            Err(Error::Library(e)) => return Err(damaged(format!("the result is not whole: {e}"))),
            Err(error) => return Err(error.into()),
        }
        if !expected.must_contain.is_empty()
            && let Some(path) = policy::markers_left(repo, tip, expected.must_contain)?
        {
            return Err(policy(format!("conflict markers are left in {path}")));
        }
        Ok(())
    }
}

/// What a pack may be.
pub(super) struct Bounds<'a> {
    /// Its size.
    pub(super) bytes: u64,
    /// How long reading it may take.
    pub(super) deadline: Duration,
    /// Findings of fsck that are let pass.
    pub(super) tolerated: &'a [&'a str],
}

/// Index a pack in the scratch of the repository at `dir`: checksums, deltas, fsck and links, thin bases from the
/// repository.
pub(super) fn index(git: &Git, dir: &Path, scratch: &Scratch, pack: File, bounds: &Bounds<'_>) -> Result<(), Stop> {
    let run = scratch.redirect(git.run("index-pack").git_dir(dir));
    let run = run.config("core.bigFileThreshold=8m").config("core.packedGitLimit=512m").config("pack.threads=2");
    let tolerated: Vec<String> = bounds.tolerated.iter().map(|flaw| format!("{flaw}=warn")).collect();
    let strict = if tolerated.is_empty() { "--strict".to_owned() } else { format!("--strict={}", tolerated.join(",")) };
    let limit = format!("--max-input-size={}", bounds.bytes);
    let run = run.args(["--stdin", "--fix-thin", strict.as_str(), limit.as_str()]);
    match run.stdin(pack).memory_kib(INDEX_MEMORY_KIB).deadline(bounds.deadline).output() {
        Ok(output) if output.code == 0 => Ok(()),
        Ok(output) => Err(refused_pack(&output.stderr)),
        Err(Error::GitBounded { detail, .. }) => Err(damaged(format!("the pack could not be read: {detail}"))),
        Err(error) => Err(error.into()),
    }
}

/// Open a plain file; a link, pipe or device in its place is refused unopened.
pub(super) fn open_plain(path: &Path) -> Result<File, Stop> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = match File::options().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(damaged("there is no bundle")),
        Err(e) => return Err(damaged(format!("the bundle cannot be opened: {e}"))),
    };
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        _ => Err(damaged("the bundle is not a plain file")),
    }
}

/// How many objects the pack claims. A lie is found by the indexer.
pub(super) fn pack_count(file: &mut File, at: u64) -> Result<u64, Stop> {
    let mut head = [0; 12];
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut head));
    let [b'P', b'A', b'C', b'K', 0, 0, 0, 2, a, b, c, d] = head else { return Err(damaged("the bundle has no pack")) };
    read.map_err(|_| damaged("the bundle has no pack"))?;
    Ok(u64::from(u32::from_be_bytes([a, b, c, d])))
}

/// Fsck's findings are the task's fault, anything else is damage.
fn refused_pack(said: &str) -> Stop {
    let fsck = said
        .lines()
        .find(|line| line.contains("fsck error") || line.contains("fsckObjects") || line.contains(": contains "));
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    match said.lines().find(|line| line.starts_with("error: object ")).or(fsck) {
        Some(finding) => policy(format!("git's checks found: {finding}")),
        None => damaged(format!("the pack was refused: {last}")),
    }
}

/// The objects of a scratch alone.
fn open_objects(scratch: &Scratch) -> Result<Odb<'static>, Error> {
    let odb = Odb::new()?;
    let objects = scratch.objects();
    odb.add_disk_alternate(objects.to_str().ok_or_else(|| Error::NotAHub(objects.clone()))?)?;
    Ok(odb)
}

fn object_ids(odb: &Odb<'_>) -> Result<Vec<git2::Oid>, Error> {
    let mut ids = Vec::new();
    odb.foreach(|object| {
        ids.push(*object);
        true
    })?;
    Ok(ids)
}

/// Refuse a pack that unpacks to too much; only headers are read.
fn bounded_size(scratch: &Scratch, limit: u64) -> Result<(), Stop> {
    let odb = open_objects(scratch)?;
    let mut total = 0;
    for object in object_ids(&odb)? {
        let (size, _) = odb.read_header(object).map_err(|e| damaged(format!("an object cannot be read: {e}")))?;
        total += size as u64;
        if total > limit {
            return Err(policy(format!("the result unpacks to more than {} MiB", limit >> 20)));
        }
    }
    Ok(())
}
