//! Checks commits as data, commit by commit: paths, modes, links, sizes, identities, secrets. Nothing that is checked
//! is ever checked out or run. Deliberately absent: fsck (git runs it when the pack enters the quarantine) and the
//! quarantine itself.

use std::{collections::HashSet, ops::ControlFlow};

use devstack_dag::ids::CommitId;
use git2::{Commit, DiffOptions, Oid, Patch, Repository, Tree};
use serde::{Deserialize, Serialize};

use super::{
    Error, id,
    judge::shown,
    message::one_line,
    oid,
    secrets::Scanner,
    trees::{
        Bounds, Stopped,
        changes::{Change, Side, changes, each_change},
    },
};

/// The limits of a result. The defaults are far above honest work and far below harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Size of the bundle file in bytes. Default 256 MiB: a full history of a large project has 72.
    pub bundle_bytes: u64,
    /// Number of objects in it. Default 100,000.
    pub objects: u64,
    /// Unpacked size of all objects in bytes. Default 2 GiB: a pack can expand to a thousand times its size.
    pub unpacked_bytes: u64,
    /// Number of new commits. Default 1,000.
    pub commits: usize,
    /// Number of changed paths, over all new commits. Default 50,000.
    pub paths: usize,
    /// Size of one file in bytes. Default 32 MiB; hosting services refuse 100.
    pub blob_bytes: u64,
    /// How far in the future a commit may be dated, in seconds. Default a day: clocks differ, and merges are never
    /// dated before their parents.
    pub future_secs: i64,
    /// Whether to refuse two names in one directory that differ only in case. Default no.
    pub case_twins: bool,
}

impl Limits {
    /// The bounds for walking its trees.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { paths: self.paths, case_twins: self.case_twins, ..Bounds::default() }
    }
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
            case_twins: false,
        }
    }
}

/// A refusal: what and where, as text for an agent or a user.
pub(crate) type Finding = String;

/// The longest path shown in a finding, in characters.
pub(super) const SHOWN_MAX: usize = 200;
/// The longest symlink target that is read, in bytes (PATH_MAX).
const LINK_MAX: usize = 4096;

/// The checks of one result.
pub(crate) struct Checks<'a> {
    pub(crate) repo: &'a Repository,
    pub(crate) limits: &'a Limits,
    pub(crate) scanner: &'a Scanner,
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
        let first = commit.parents().next().map(|parent| parent.tree_id());
        let bounds = Bounds { paths: self.limits.paths.saturating_sub(*paths), ..self.limits.bounds() };
        let changed = match changes(&self.repo.odb()?, first, Some(commit.tree_id()), &bounds) {
            Ok(changed) => changed,
            Err(Stopped::Bound(_)) if bounds.paths < self.limits.paths => {
                return Ok(Err(format!("more than {} changed paths, over all new commits", self.limits.paths)));
            }
            Err(Stopped::Bound(why)) => return Ok(Err(why)),
            Err(Stopped::Broken(why)) => return Err(git2::Error::from_str(&why).into()),
        };
        *paths += changed.len();
        let others = commit.parents().skip(1).map(|p| p.tree()).collect::<Result<Vec<_>, _>>()?;
        for change in &changed {
            let Some(new) = change.new else { continue };
            let inherited = others.iter().any(|parent| has_entry(parent, &change.path, new));
            if inherited {
                continue; // a merge: another parent, checked or ours, has the same entry
            }
            if let Err(finding) = self.entry(change, new, seen)? {
                return Ok(Err(format!("{finding}: {}", shown(self.scanner, &change.path))));
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
                return Err("it is dated in the future; commit again with the current time".into());
            }
            if self.scanner.bytes(who.name_bytes()).or(self.scanner.bytes(who.email_bytes())).is_some() {
                return Err("its author or committer contains a secret".into());
            }
        }
        // This includes parts that git itself does not show: signatures and headers of any name.
        if let Some(rule) = self.scanner.bytes(commit.raw_header_bytes()) {
            return Err(format!("its header contains {rule}"));
        }
        match self.scanner.text(commit.message_raw_bytes()) {
            Some(rule) => Err(format!("its message contains {rule}; rewrite the commit without it")),
            None => Ok(()),
        }
    }

    /// Check one added or changed entry.
    fn entry(&self, change: &Change, new: Side, seen: &mut HashSet<(Oid, Oid)>) -> Result<Result<(), Finding>, Error> {
        let path = change.path.as_slice();
        if let Some(finding) = forbidden_path(path) {
            return Ok(Err(finding.into()));
        }
        if let Some(rule) = self.scanner.bytes(path) {
            return Ok(Err(format!("a path contains {rule}")));
        }
        match new.mode {
            0o160_000 => return Ok(Err("submodules are not accepted; commit the files instead".into())),
            0o120_000 => {
                let (size, _) = self.repo.odb()?.read_header(new.id)?;
                if size > LINK_MAX {
                    return Ok(Err("a symlink whose target is too long".into()));
                }
                let blob = self.repo.find_blob(new.id)?;
                if leaves_tree(path, blob.content()) {
                    return Ok(Err("a symlink that points out of the tree or into `.git`".into()));
                }
            }
            0o100_644 | 0o100_755 | 0o100_664 => {}
            other => return Ok(Err(format!("an entry of an unsupported kind ({other:o})"))),
        }
        let (size, _) = self.repo.odb()?.read_header(new.id)?;
        if size as u64 > self.limits.blob_bytes {
            return Ok(Err(format!("a file of {} MiB, more than {}", size >> 20, self.limits.blob_bytes >> 20)));
        }
        let old = change.old.map_or(Oid::ZERO_SHA1, |old| old.id);
        if !seen.insert((old, new.id)) {
            return Ok(Ok(()));
        }
        match self.secret_in(change, new.id)? {
            Some(rule) => {
                Ok(Err(format!("{rule} (a later commit that removes it does not remove it from the history)")))
            }
            None => Ok(Ok(())),
        }
    }

    /// Scan the whole file for the attempt's secret values, and the added lines, or a whole binary file, by the rules.
    fn secret_in(&self, change: &Change, blob: Oid) -> Result<Option<&'static str>, Error> {
        let new = self.repo.find_blob(blob)?;
        let file = change.old.filter(|old| old.mode != 0o160_000);
        let old = file.map(|old| self.repo.find_blob(old.id)).transpose()?;
        if let Some(found) = self.scanner.given(new.content(), old.as_ref().map(|old| old.content())) {
            return Ok(Some(found));
        }
        let old = old.as_ref().map_or(&[][..], |old| old.content());
        let mut options = DiffOptions::new();
        options.context_lines(0).max_size(self.limits.blob_bytes as i64);
        let patch = Patch::from_buffers(old, None, new.content(), None, Some(&mut options))?;
        if patch.delta().flags().is_binary() {
            return Ok(self.scanner.bytes(new.content()));
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
}

/// Whether this tree has the same entry at the same path. The path was bounded before the library follows it.
fn has_entry(tree: &Tree<'_>, path: &[u8], side: Side) -> bool {
    let Ok(path) = std::str::from_utf8(path) else { return false };
    let mode = i32::try_from(side.mode).unwrap_or_default();
    tree.get_path(path.as_ref()).is_ok_and(|e| e.id() == side.id && e.filemode_raw() == mode)
}

/// Why a path is not accepted. Case, trailing dots and spaces, NTFS streams and short names, and the invisible
/// characters that HFS+ ignores make no difference.
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
    names(path, ".gitmodules", "gitmod~").then_some("`.gitmodules`: submodules are not accepted")
}

/// Whether this part is another spelling of `name`, or its short name with a number.
fn names(part: &[u8], name: &str, short: &str) -> bool {
    let text = String::from_utf8_lossy(part);
    let ignored = |c: &char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let plain: String = text.chars().filter(|c| !ignored(c)).flat_map(char::to_lowercase).collect();
    let plain = plain.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    let is_short = plain.strip_prefix(short).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    plain == name || is_short
}

/// Whether a symlink at `path` points out of the tree, or into `.git`.
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

/// Whether a resolution contains conflict markers that neither side has. Returns the first file that differs from all
/// `sides` and contains a start and an end marker in this order.
pub(crate) fn markers_left(
    repo: &Repository,
    tip: CommitId,
    sides: &[CommitId],
    bounds: &Bounds,
) -> Result<Option<Finding>, Error> {
    let tree = repo.find_commit(oid(tip))?.tree_id();
    let sides = sides.iter().map(|c| repo.find_commit(oid(*c))?.tree()).collect::<Result<Vec<_>, _>>()?;
    let others = sides.get(1..).unwrap_or_default();
    let mut found = None;
    let walked = each_change(&repo.odb()?, sides.first().map(Tree::id), Some(tree), bounds, &mut |change| {
        let Some(new) = change.new.filter(|new| new.mode != 0o160_000) else { return ControlFlow::Continue(()) };
        if others.iter().any(|side| has_entry(side, &change.path, new)) {
            return ControlFlow::Continue(());
        }
        match repo.find_blob(new.id) {
            Ok(blob) if !has_markers(blob.content()) => return ControlFlow::Continue(()),
            Ok(_) => {
                let path = one_line(&String::from_utf8_lossy(&change.path), SHOWN_MAX);
                found = Some(Ok(format!("conflict markers are left in {path}")));
            }
            Err(error) => found = Some(Err(error)),
        }
        ControlFlow::Break(())
    });
    match walked {
        Ok(_) => Ok(found.transpose()?),
        Err(Stopped::Bound(why)) => Ok(Some(format!("cannot search it for conflict markers: {why}"))),
        Err(Stopped::Broken(why)) => Err(git2::Error::from_str(&why).into()),
    }
}

fn has_markers(content: &[u8]) -> bool {
    let mut lines = content.split(|b| *b == b'\n');
    [b"<<<<<<< ".as_slice(), b"=======", b">>>>>>> "].iter().all(|mark| lines.any(|line| line.starts_with(mark)))
}

/// Whether `tip` descends from `from`. Takes the library's id, for callers that walk.
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
