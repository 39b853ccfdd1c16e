//! Checks commits as data, commit by commit: paths, modes, links, sizes, identities, secrets. Nothing of what is checked
//! is checked out or run.
//! Deliberately absent: fsck (git does it when the pack enters the quarantine) and the quarantine itself.

use std::collections::HashSet;

use devstack_dag::ids::CommitId;
use git2::{Commit, Delta, Diff, DiffOptions, FileMode, Oid, Patch, Repository, Tree};

use super::{Error, id, message::one_line, oid, secrets::Scanner};

/// What a result may be. The defaults are far above honest work and far below harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the bundle file. Default 256 MiB: a full history of a large project is 72.
    pub bundle_bytes: u64,
    /// Objects in it. Default 100,000.
    pub objects: u64,
    /// Bytes of all its objects, unpacked. Default 2 GiB: a pack can hold a thousand times its size.
    pub unpacked_bytes: u64,
    /// New commits. Default 1,000.
    pub commits: usize,
    /// Changed paths, over all new commits. Default 50,000.
    pub paths: usize,
    /// Bytes of one file. Default 32 MiB; hosting services refuse 100.
    pub blob_bytes: u64,
    /// How far in the future a commit may be dated, in seconds. Default a day: clocks differ, and merges are
    /// never dated before their parents.
    pub future_secs: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bundle_bytes: 256 << 20,
            objects: 100_000,
            unpacked_bytes: 2 << 30,
            commits: 1_000,
            paths: 50_000,
            blob_bytes: 32 << 20,
            future_secs: 86_400,
        }
    }
}

/// A refusal: what, where, in words for an agent and a person.
pub(crate) type Finding = String;

/// The longest path that is shown in a finding, in characters.
const SHOWN_MAX: usize = 200;
/// The longest target of a symlink that is read, in bytes (PATH_MAX).
const LINK_MAX: usize = 4096;

/// The checks of one result.
pub(crate) struct Checks<'a> {
    pub(crate) repo: &'a Repository,
    pub(crate) limits: &'a Limits,
    pub(crate) scanner: &'a Scanner<'a>,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

impl Checks<'_> {
    /// Check every commit reachable from `tip` and not from `known`.
    pub(crate) fn range(&self, tip: CommitId, known: &[CommitId]) -> Result<Result<(), Finding>, Error> {
        let mut walk = self.repo.revwalk()?;
        walk.push(oid(tip))?;
        for commit in known {
            walk.hide(oid(*commit))?;
        }
        let (mut commits, mut paths, mut seen) = (0, 0, HashSet::new());
        for found in walk {
            commits += 1;
            if commits > self.limits.commits {
                return Ok(Err(format!("more than {} new commits", self.limits.commits)));
            }
            let commit = self.repo.find_commit(found?)?;
            if let Err(finding) = self.commit(&commit, &mut paths, &mut seen)? {
                return Ok(Err(format!("commit {:.12}: {finding}", commit.id().to_string())));
            }
        }
        Ok(Ok(()))
    }

    fn commit(
        &self,
        commit: &Commit<'_>,
        paths: &mut usize,
        seen: &mut HashSet<(Oid, Oid)>,
    ) -> Result<Result<(), Finding>, Error> {
        if let Err(finding) = self.identity(commit) {
            return Ok(Err(finding));
        }
        let tree = commit.tree()?;
        let parents = commit.parents().map(|p| p.tree()).collect::<Result<Vec<_>, _>>()?;
        let diff = self.changes(parents.first(), &tree)?;
        for (index, delta) in diff.deltas().enumerate() {
            *paths += 1;
            if *paths > self.limits.paths {
                return Ok(Err(format!("more than {} changed paths", self.limits.paths)));
            }
            if delta.status() == Delta::Deleted {
                continue;
            }
            let Some(path) = delta.new_file().path_bytes() else { continue };
            let inherited = parents.iter().skip(1).any(|p| same_entry(p, path, &delta));
            if inherited {
                continue; // a merge: it is as in another parent, which was checked or is ours
            }
            if let Err(finding) = self.entry(&diff, index, &delta, path, seen)? {
                // A name that is a secret is not repeated in the answer.
                let name = match self.scanner.bytes(path) {
                    Some(_) => "a name that is not shown".to_owned(),
                    None => one_line(&String::from_utf8_lossy(path), SHOWN_MAX),
                };
                return Ok(Err(format!("{finding}: {name}")));
            }
        }
        Ok(Ok(()))
    }

    fn identity(&self, commit: &Commit<'_>) -> Result<(), Finding> {
        for who in [commit.author(), commit.committer()] {
            if who.when().seconds() < 0 {
                return Err("it is dated before 1970".into());
            }
            if who.when().seconds() > self.now.saturating_add(self.limits.future_secs) {
                return Err("it is dated in the future; commit again with the present time".into());
            }
            if self.scanner.bytes(who.name_bytes()).or(self.scanner.bytes(who.email_bytes())).is_some() {
                return Err("its author or committer holds a secret".into());
            }
        }
        let message = commit.message_raw_bytes();
        match message.split(|b| *b == b'\n').find_map(|line| self.scanner.line(line)) {
            Some(rule) => Err(format!("its message holds {rule}; write the commit again without it")),
            None => Ok(()),
        }
    }

    /// One added or changed entry.
    fn entry(
        &self,
        diff: &Diff<'_>,
        index: usize,
        delta: &git2::DiffDelta<'_>,
        path: &[u8],
        seen: &mut HashSet<(Oid, Oid)>,
    ) -> Result<Result<(), Finding>, Error> {
        if let Some(finding) = forbidden_path(path) {
            return Ok(Err(finding.into()));
        }
        if let Some(rule) = self.scanner.bytes(path) {
            return Ok(Err(format!("a path holds {rule}")));
        }
        let new = delta.new_file();
        match new.mode() {
            FileMode::Commit => return Ok(Err("submodules are not taken; commit the files instead".into())),
            FileMode::Link => {
                let (size, _) = self.repo.odb()?.read_header(new.id())?;
                if size > LINK_MAX {
                    return Ok(Err("a symlink with a target that is too long".into()));
                }
                let blob = self.repo.find_blob(new.id())?;
                if leaves_tree(path, blob.content()) {
                    return Ok(Err("a symlink that leads out of the tree or into `.git`".into()));
                }
            }
            FileMode::Blob | FileMode::BlobExecutable | FileMode::BlobGroupWritable => {}
            other => return Ok(Err(format!("an entry of a kind that is not taken ({other:?})"))),
        }
        let (size, _) = self.repo.odb()?.read_header(new.id())?;
        if size as u64 > self.limits.blob_bytes {
            return Ok(Err(format!("a file of {} MiB, more than {}", size >> 20, self.limits.blob_bytes >> 20)));
        }
        if !seen.insert((delta.old_file().id(), new.id())) {
            return Ok(Ok(()));
        }
        match self.secret_in(diff, index, new.id())? {
            Some(rule) => Ok(Err(format!("{rule} (also a later commit that removes it leaves it in the history)"))),
            None => Ok(Ok(())),
        }
    }

    /// Scan the added lines, or a binary file as a whole.
    fn secret_in(&self, diff: &Diff<'_>, index: usize, blob: Oid) -> Result<Option<&'static str>, Error> {
        let binary = |repo: &Repository| Ok(self.scanner.bytes(repo.find_blob(blob)?.content()));
        let Some(patch) = Patch::from_diff(diff, index)? else { return binary(self.repo) };
        if patch.delta().flags().is_binary() {
            return binary(self.repo);
        }
        for hunk in 0..patch.num_hunks() {
            for line in 0..patch.num_lines_in_hunk(hunk)? {
                let line = patch.line_in_hunk(hunk, line)?;
                if line.origin() == '+'
                    && let Some(rule) = self.scanner.line(line.content())
                {
                    return Ok(Some(rule));
                }
            }
        }
        Ok(None)
    }

    fn changes(&self, old: Option<&Tree<'_>>, new: &Tree<'_>) -> Result<Diff<'_>, Error> {
        let mut options = DiffOptions::new();
        options
            .context_lines(0)
            .include_typechange(true)
            .ignore_submodules(false)
            .max_size(self.limits.blob_bytes as i64);
        Ok(self.repo.diff_tree_to_tree(old, Some(new), Some(&mut options))?)
    }
}

/// Does this tree have the same thing at the same path?
fn same_entry(tree: &Tree<'_>, path: &[u8], delta: &git2::DiffDelta<'_>) -> bool {
    let Ok(path) = std::str::from_utf8(path) else { return false };
    let new = delta.new_file();
    tree.get_path(path.as_ref()).is_ok_and(|e| e.id() == new.id() && e.filemode() == i32::from(new.mode()))
}

/// Why a path is not taken. Case, trailing dots and spaces, NTFS streams and short names, and the invisible characters that
/// HFS+ ignores make no difference.
fn forbidden_path(path: &[u8]) -> Option<&'static str> {
    if path.is_empty() || path[0] == b'/' {
        return Some("an absolute or empty path");
    }
    let parts = path.split(|b| *b == b'/' || *b == b'\\');
    for part in parts {
        match part {
            b"" | b"." | b".." => return Some("a path with `.`, `..` or an empty part"),
            part if names(part, ".git", "git~") => return Some("a path within `.git`"),
            _ => {}
        }
    }
    names(path, ".gitmodules", "gitmod~").then_some("`.gitmodules`: submodules are not taken")
}

/// Is this part another spelling of `name`, or its short name with a number?
fn names(part: &[u8], name: &str, short: &str) -> bool {
    let text = String::from_utf8_lossy(part);
    let ignored = |c: &char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let plain: String = text.chars().filter(|c| !ignored(c)).flat_map(char::to_lowercase).collect();
    let plain = plain.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    let is_short = plain.strip_prefix(short).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    plain == name || is_short
}

/// Does a symlink at `path` lead out of the tree, or into `.git`?
fn leaves_tree(path: &[u8], target: &[u8]) -> bool {
    if target.is_empty() || target[0] == b'/' || target.contains(&0) || target.contains(&b'\\') {
        return true;
    }
    let mut depth = path.split(|b| *b == b'/').count() - 1;
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            part if names(part, ".git", "git~") => return true,
            _ => depth += 1,
        }
    }
    false
}

/// The first path of a resolution with conflict markers that neither side has: a file that differs from all `sides`
/// and holds a start and an end marker in this order.
pub(crate) fn markers_left(repo: &Repository, tip: CommitId, sides: &[CommitId]) -> Result<Option<String>, Error> {
    let tree = repo.find_commit(oid(tip))?.tree()?;
    let sides = sides.iter().map(|c| repo.find_commit(oid(*c))?.tree()).collect::<Result<Vec<_>, _>>()?;
    let diff = repo.diff_tree_to_tree(sides.first(), Some(&tree), None)?;
    for delta in diff.deltas().filter(|d| d.status() != Delta::Deleted) {
        let Some(path) = delta.new_file().path_bytes() else { continue };
        let known = sides.iter().skip(1).any(|side| same_entry(side, path, &delta));
        if known || delta.new_file().mode() == FileMode::Commit {
            continue;
        }
        if has_markers(repo.find_blob(delta.new_file().id())?.content()) {
            return Ok(Some(one_line(&String::from_utf8_lossy(path), SHOWN_MAX)));
        }
    }
    Ok(None)
}

fn has_markers(content: &[u8]) -> bool {
    let mut lines = content.split(|b| *b == b'\n');
    [b"<<<<<<< ".as_slice(), b"=======", b">>>>>>> "].iter().all(|mark| lines.any(|line| line.starts_with(mark)))
}

/// The library's ids as ours, for callers that walk.
pub(crate) fn descends(repo: &Repository, tip: Oid, from: CommitId) -> Result<bool, Error> {
    super::history::is_ancestor(repo, from, id(tip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_dot_git_is_refused() {
        for path in [
            ".git/config",
            "a/.GIT/x",
            "a/.git",
            "git~1/x",
            ".git./x",
            ".git /x",
            ".g\u{200c}it/x",
            ".git::$INDEX_ALLOCATION/x",
            "a\\.git\\x",
            "../x",
            "a/../b",
            "/etc/passwd",
            "a//b",
            "./a",
            ".gitmodules",
            ".GitModules",
            "gitmod~1",
        ] {
            assert!(forbidden_path(path.as_bytes()).is_some(), "{path}");
        }
        for path in [
            ".gitignore",
            ".gitattributes",
            "git/x",
            "a/.github/x",
            "..a",
            "a..",
            "git~x",
            "x.git/y",
            "sub/.gitmodules",
        ] {
            assert!(forbidden_path(path.as_bytes()).is_none(), "{path}");
        }
    }

    #[test]
    fn links_stay_within_the_tree() {
        for (path, target) in
            [("a", "/etc/passwd"), ("a", ".."), ("d/a", "../../x"), ("a", ".git/config"), ("a", "b/../../c")]
        {
            assert!(leaves_tree(path.as_bytes(), target.as_bytes()), "{path} -> {target}");
        }
        for (path, target) in [("a", "b"), ("d/a", "../b"), ("d/e/a", "../../b/./c"), ("a", "b/..")] {
            assert!(!leaves_tree(path.as_bytes(), target.as_bytes()), "{path} -> {target}");
        }
    }

    #[test]
    fn markers_count_in_their_order_only() {
        assert!(has_markers(b"a\n<<<<<<< ours\nx\n=======\ny\n>>>>>>> theirs\n"));
        assert!(!has_markers(b"Title\n=======\ntext\n"));
        assert!(!has_markers(b">>>>>>> a\n=======\n<<<<<<< b\n"));
    }
}
