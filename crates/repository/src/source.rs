//! A user's repository, by path or URL: checks whether it is usable, finds its branches, and brings its committed state
//! into the hub. Everything that makes it unusable is refused here, at submission, with a fix.
//!
//! A local source is read through libgit2, which runs no hook, filter or fsmonitor. Objects come through `git fetch`,
//! whose serving side is made for untrusted repositories. Deliberately absent: writing to it ([`super::deliver`]).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use devstack_dag::ids::CommitId;
use git2::{ErrorCode, Repository, StatusOptions};

use super::{
    Error,
    git::{Git, Output, Run, TRANSFER_DEADLINE},
    hub::{Hub, read_ref},
    id,
    message::one_line,
    reach::Rules,
    scratch::Scratch,
};

/// Number of changed files that a warning names.
const EXAMPLES: usize = 5;
/// Number of tries: a branch may move while it is fetched, but hardly this often in a row.
const TRIES: u32 = 3;
/// Maximum length of git's message about an unreachable source, in characters: a sentence or two.
pub(super) const SAID_MAX: usize = 300;
/// Harmless flaws that old histories contain; every other finding of fsck is refused.
pub(super) const TOLERATED: [&str; 3] = ["zeroPaddedFilemode", "badTimezone", "missingSpaceBeforeDate"];

/// Why a user's repository cannot be used in its current state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The path does not exist.
    #[error("the repository {0} does not exist; check `repo` in the plan")]
    Missing(String),
    /// The path is not a repository.
    #[error("{0} is not a git repository; run `git init` there and commit, or check `repo` in the plan")]
    NotARepository(String),
    /// Owned by another user: git rightly refuses to serve it.
    #[error("{0} belongs to another user; run devstack as that user, or use your own repository")]
    NotOurs(String),
    /// No commit yet.
    #[error("the repository {0} has no commit; create one first: `git commit --allow-empty -m 'first commit'`")]
    Empty(String),
    /// The history is truncated.
    #[error("the repository {0} is shallow; complete it first: `git fetch --unshallow`")]
    Shallow(String),
    /// Another hash algorithm.
    #[error("the repository {0} uses SHA-256, which is not supported; convert it to SHA-1 or use another")]
    Sha256(String),
    /// The branch does not exist.
    #[error("no branch `{branch}` in {place}; create it, or set `base` in the plan to an existing branch")]
    BranchMissing {
        /// The branch.
        branch: String,
        /// The repository.
        place: String,
    },
    /// HEAD names no branch, and the plan names none.
    #[error("the repository {0} has no current branch to start from; set `base` in the plan")]
    BaseUnknown(String),
    /// A delivery would change the files under a user.
    #[error(
        "the integration branch `{branch}` is checked out in {place}; switch that worktree to another branch \
         (`git -C {place} switch {other}`) or choose another `integration` in the plan"
    )]
    CheckedOut {
        /// The integration branch.
        branch: String,
        /// The worktree.
        place: String,
        /// A branch to switch to.
        other: String,
    },
    /// The name is not a valid branch name.
    #[error("`{branch}` is not a valid branch name; choose another in the plan")]
    BadBranch {
        /// The given name, cut.
        branch: String,
    },
    /// An unsupported kind of URL.
    #[error("devstack does not support the address `{0}`; use a path, https://, ssh:// or git://")]
    BadAddress(String),
    /// The node's configuration forbids it.
    #[error("{what}; {fix}")]
    NotAllowed {
        /// What is forbidden.
        what: String,
        /// The fix.
        fix: String,
    },
}

impl SourceError {
    pub(super) fn not_allowed(what: impl Into<String>, fix: impl Into<String>) -> Error {
        Self::NotAllowed { what: what.into(), fix: fix.into() }.into()
    }
}

/// The place of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The `.git` directory, or a bare repository, on this host.
    Local(PathBuf),
    /// On another machine.
    Url(String),
}

/// A located source.
#[derive(Debug, Clone)]
pub struct Source {
    place: Place,
    shown: String,
    rules: Arc<Rules>,
}

/// The relevant branches of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branches {
    /// The base branch's name: the requested one, or that of HEAD.
    pub base: String,
    /// Its commit.
    pub base_tip: CommitId,
    /// The integration branch's commit, if the source has one.
    pub integration_tip: Option<CommitId>,
}

/// Uncommitted work that a plan will not see: a warning, not a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirty {
    /// Number of files.
    pub files: usize,
    /// Some of them.
    pub examples: Vec<String>,
}

impl Source {
    /// Locate a source in a user's own process: see [`Source::locate_by`].
    pub fn locate(text: &str) -> Result<Self, Error> {
        Self::locate_by(&Arc::new(Rules::person()), text)
    }

    /// Locate a source: an absolute path (or `file://`), or a URL. Refuses a source that is visibly unusable, and a
    /// repository at a place that the rules forbid.
    pub fn locate_by(rules: &Arc<Rules>, text: &str) -> Result<Self, Error> {
        let (shown, rules) = (without_password(text), rules.clone());
        let path = text.strip_prefix("file://").unwrap_or(text);
        if text.starts_with('-') || is_helper(text) || text.contains(['\n', '\0']) {
            return Err(SourceError::BadAddress(shown).into());
        }
        if is_url(text) {
            let known = ["https://", "http://", "ssh://", "git://"].iter().any(|kind| path.starts_with(kind));
            let place = Place::Url(path.to_owned());
            let followed = known || !path.contains("://");
            return if followed {
                Ok(Self { place, shown, rules })
            } else {
                Err(SourceError::BadAddress(shown).into())
            };
        }
        let repo = open_local(path)?;
        rules.check_open(path, &repo)?;
        if repo.is_shallow() {
            return Err(SourceError::Shallow(shown).into());
        }
        Ok(Self { place: Place::Local(repo.commondir().to_owned()), shown, rules })
    }

    /// The address for display: as given, without a password.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The place of the source.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its base and integration branches. Refuses an empty repository, a missing base, and an integration branch that
    /// is checked out.
    pub fn branches(&self, git: &Git, base: Option<&str>, integration: &str) -> Result<Branches, Error> {
        let branches = self.tips(git, base, integration)?;
        if let Some(place) = self.checked_out(integration)? {
            let other = if branches.base == integration { "<another branch>".to_owned() } else { branches.base };
            return Err(SourceError::CheckedOut { branch: integration.to_owned(), place, other }.into());
        }
        Ok(branches)
    }

    /// Like [`Source::branches`], whatever is checked out: nothing is delivered here.
    pub(super) fn tips(&self, git: &Git, base: Option<&str>, integration: &str) -> Result<Branches, Error> {
        let listed = match &self.place {
            Place::Local(dir) => self.read(dir)?,
            Place::Url(url) => self.list(git, url)?,
        };
        let head = listed.head.as_deref().and_then(|h| h.strip_prefix("refs/heads/"));
        let base = match base {
            Some(base) => base.to_owned(),
            None => head.ok_or_else(|| SourceError::BaseUnknown(self.shown.clone()))?.to_owned(),
        };
        let missing = || SourceError::BranchMissing { branch: base.clone(), place: self.shown.clone() };
        let base_tip = listed.tip(&base).ok_or_else(missing)?;
        Ok(Branches { integration_tip: listed.tip(integration), base, base_tip })
    }

    /// The commit of one branch, if it exists.
    pub(crate) fn tip(&self, git: &Git, branch: &str) -> Result<Option<CommitId>, Error> {
        match &self.place {
            Place::Local(dir) => read_ref(&open_local(&dir.to_string_lossy())?, &format!("refs/heads/{branch}")),
            Place::Url(url) => Ok(self.list(git, url)?.tip(branch)),
        }
    }

    /// The worktree of a local source that is on this branch.
    pub fn checked_out(&self, branch: &str) -> Result<Option<String>, Error> {
        let Place::Local(dir) = &self.place else { return Ok(None) };
        let repo = open_local(&dir.to_string_lossy())?;
        let on = |head: PathBuf| {
            let text = std::fs::read_to_string(head).unwrap_or_default();
            text.trim().strip_prefix("ref: refs/heads/") == Some(branch)
        };
        if !repo.is_bare() && on(dir.join("HEAD")) {
            return Ok(Some(repo.workdir().unwrap_or(dir).display().to_string().trim_end_matches('/').to_owned()));
        }
        for name in repo.worktrees()?.iter().flatten().flatten() {
            if on(dir.join("worktrees").join(name).join("HEAD")) {
                let path = repo.find_worktree(name).map(|w| w.path().display().to_string());
                return Ok(Some(path.unwrap_or_else(|_| name.to_owned())));
            }
        }
        Ok(None)
    }

    /// Uncommitted changes of a local source with a worktree.
    pub fn dirty(&self) -> Result<Option<Dirty>, Error> {
        let Place::Local(dir) = &self.place else { return Ok(None) };
        let repo = open_local(&dir.to_string_lossy())?;
        if repo.is_bare() {
            return Ok(None);
        }
        let statuses = repo.statuses(Some(StatusOptions::new().include_untracked(true).exclude_submodules(true)))?;
        let name = |entry: git2::StatusEntry<'_>| String::from_utf8_lossy(entry.path_bytes()).into_owned();
        let examples = statuses.iter().take(EXAMPLES).map(name).collect();
        Ok((!statuses.is_empty()).then_some(Dirty { files: statuses.len(), examples }))
    }

    /// A warning about this source before a plan uses it, as a sentence.
    pub fn warning(&self) -> Result<Option<String>, Error> {
        let warning = |dirty: Dirty| {
            format!(
                "agents work from commits and will not see {} uncommitted {} in {} ({}); commit what they need",
                dirty.files,
                if dirty.files == 1 { "file" } else { "files" },
                self.shown,
                dirty.examples.join(", ")
            )
        };
        Ok(self.dirty()?.map(warning))
    }

    /// Prepares a run that accesses this source; the address must be its next argument. Refused if the rules forbid it.
    pub(crate) fn reach(&self, run: Run) -> Result<Run, Error> {
        let run = run.deadline(TRANSFER_DEADLINE);
        match &self.place {
            Place::Local(_) => Ok(run),
            Place::Url(url) => self.rules.equip(run, url),
        }
    }

    /// The error for a failed run that accessed this source.
    pub(crate) fn failed(&self, output: &Output, command: &str) -> Error {
        match &self.place {
            Place::Local(_) => {
                let detail = one_line(first_line(&output.stderr), SAID_MAX);
                Error::Git { command: command.to_owned(), detail }
            }
            Place::Url(url) => {
                let said = hide_user(url, first_line(&output.stderr));
                Error::Unreachable { place: self.shown.clone(), detail: one_line(&said, SAID_MAX) }
            }
        }
    }

    /// The address as a git argument.
    pub(crate) fn address(&self) -> String {
        match &self.place {
            Place::Local(dir) => dir.display().to_string(),
            Place::Url(url) => url.clone(),
        }
    }

    fn read(&self, dir: &Path) -> Result<Listed, Error> {
        let repo = open_local(&dir.to_string_lossy())?;
        let head = repo.find_reference("HEAD").ok();
        let head = head.and_then(|h| h.symbolic_target().ok().flatten().map(str::to_owned));
        let mut tips = Vec::new();
        for reference in repo.references_glob("refs/heads/*")? {
            let reference = reference?;
            tips.extend(reference.name().ok().map(str::to_owned).zip(reference.target().map(id)));
        }
        if tips.is_empty() { Err(SourceError::Empty(self.shown.clone()).into()) } else { Ok(Listed { head, tips }) }
    }

    fn list(&self, git: &Git, url: &str) -> Result<Listed, Error> {
        let run = self.reach(git.run("ls-remote"))?.args(["--symref", "--", url, "HEAD", "refs/heads/*"]);
        let output = run.output()?;
        if output.code != 0 {
            return Err(self.failed(&output, "ls-remote"));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut listed = Listed { head: None, tips: Vec::new() };
        for (value, name) in text.lines().filter_map(|line| line.split_once('\t')) {
            if let Some(target) = value.strip_prefix("ref: ") {
                listed.head = Some(target.to_owned());
            } else if name.starts_with("refs/heads/") {
                let tip = value.parse().map_err(|_| SourceError::Sha256(self.shown.clone()))?;
                listed.tips.push((name.to_owned(), tip));
            }
        }
        if listed.tips.is_empty() { Err(SourceError::Empty(self.shown.clone()).into()) } else { Ok(listed) }
    }
}

/// The target of HEAD, and every branch.
struct Listed {
    head: Option<String>,
    tips: Vec<(String, CommitId)>,
}

impl Listed {
    fn tip(&self, branch: &str) -> Option<CommitId> {
        let name = format!("refs/heads/{branch}");
        self.tips.iter().find(|(n, _)| *n == name).map(|(_, tip)| *tip)
    }
}

/// Open a user's repository, or say why this fails.
pub(crate) fn open_local(path: &str) -> Result<Repository, Error> {
    if !Path::new(path).exists() {
        return Err(SourceError::Missing(path.to_owned()).into());
    }
    Repository::discover(path).map_err(|e| match e.code() {
        ErrorCode::NotFound => SourceError::NotARepository(path.to_owned()).into(),
        ErrorCode::Owner => SourceError::NotOurs(path.to_owned()).into(),
        _ if e.message().contains("objectformat") || e.message().contains("object format") => {
            SourceError::Sha256(path.to_owned()).into()
        }
        _ => Error::Library(e),
    })
}

/// Whether this is an absolute path on any machine.
pub fn is_path(text: &str) -> bool {
    text.starts_with('/') && !is_url(text)
}

/// Whether this is a URL, or `host:path`. If a file of this name exists on this machine, it is a path.
pub(crate) fn is_url(text: &str) -> bool {
    let path = text.strip_prefix("file://").unwrap_or(text);
    let scp = !path.contains("://") && path.split('/').next().is_some_and(|head| head.contains(':'));
    !path.starts_with('/') && (path.contains("://") || scp) && !Path::new(path).exists()
}

/// `transport::address` would run a helper program of git; an IPv6 address in brackets contains `::`, too.
fn is_helper(text: &str) -> bool {
    text.find("::")
        .is_some_and(|at| text[..at].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)))
}

/// The first line that comes from git itself: the text that a server sends may be anything.
fn first_line(said: &str) -> &str {
    let foreign = |line: &&str| {
        let line = line.trim_start().to_ascii_lowercase();
        !line.is_empty() && !line.starts_with("remote:") && !line.starts_with("warning:")
    };
    let line = said.lines().find(foreign).unwrap_or("git printed no reason");
    line.trim_start_matches("fatal: ").trim_start_matches("error: ")
}

/// An address without the part between `://` and `@`.
fn without_password(text: &str) -> String {
    match user_of(text) {
        Some(user) => text.replacen(&format!("://{user}@"), "://", 1),
        None => text.to_owned(),
    }
}

/// The part between `://` and `@`: a user, and perhaps a password.
fn user_of(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let (user, _) = rest.rsplit_once('@')?;
    (!user.contains('/')).then_some(user)
}

/// Git's message, without the user and the password of the address: git prints them when a name lookup fails.
fn hide_user(address: &str, said: &str) -> String {
    let Some(user) = user_of(address) else { return said.to_owned() };
    let said = said.replace(&format!("{user}@"), "");
    match user.split_once(':') {
        Some((_, password)) if !password.is_empty() => said.replace(password, "…"),
        _ => said,
    }
}

impl Hub {
    /// Bring in the source's committed state. A hub without an integration branch gets the source's, or one that starts
    /// at `base`. Returns the integration head and the source's branches. Repeating it changes nothing more
    /// ([`Hub::sync`] follows a source that moved).
    pub fn mirror_source(&self, source: &Source, base: Option<&str>) -> Result<(CommitId, Branches), Error> {
        let branches = source.branches(self.git(), base, self.integration())?;
        if let Some(head) = self.head()? {
            return Ok((head, branches));
        }
        let (branch, tip) = match branches.integration_tip {
            Some(tip) => (self.integration(), tip),
            None => (branches.base.as_str(), branches.base_tip),
        };
        let tip = self.fetch_branch(source, branch, tip)?;
        let lock = self.lock()?;
        self.swap_ref(&lock, &self.integration_ref(), None, tip)?; // `false`: somebody else was first, which is as good
        Ok((self.expect_head()?, branches))
    }

    /// Fetch the source's branch, last seen at `tip`, into the hub; no ref is made. Returns its commit, which may be
    /// newer.
    pub(crate) fn fetch_branch(&self, source: &Source, branch: &str, tip: CommitId) -> Result<CommitId, Error> {
        let mut tip = tip;
        for _ in 0..TRIES {
            if self.contains(tip)? {
                return Ok(tip);
            }
            let scratch = Scratch::new(self.dir())?;
            let run = source.reach(scratch.redirect(self.run("fetch")))?.config("fetch.unpackLimit=1");
            let run = TOLERATED.iter().fold(run, |run, flaw| run.config(&format!("fetch.fsck.{flaw}=warn")));
            let options =
                ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules"];
            let run = run.args(options).args(["--refmap=", "--", &source.address(), &format!("refs/heads/{branch}")]);
            let output = run.output()?;
            if output.stderr.contains("shallow") {
                return Err(SourceError::Shallow(source.shown.clone()).into());
            }
            if output.code != 0 {
                return Err(source.failed(&output, "fetch"));
            }
            let lock = self.lock()?;
            self.land(&lock, &scratch)?;
            drop(lock);
            let missing = || SourceError::BranchMissing { branch: branch.to_owned(), place: source.shown.clone() };
            if !self.contains(tip)? {
                tip = source.tip(self.git(), branch)?.ok_or_else(missing)?;
            }
        }
        if self.contains(tip)? { Ok(tip) } else { Err(Error::Unknown(tip)) }
    }
}

/// The commit of a repository's HEAD.
pub(crate) fn head_commit(repo: &Repository) -> Option<CommitId> {
    repo.head().ok()?.peel_to_commit().ok().map(|c| id(c.id()))
}
