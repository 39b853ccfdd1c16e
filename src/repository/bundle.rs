//! Bundle files: the header that we parse ourselves, because an untrusted host wrote it, and bundles that we write for
//! workspaces, resolutions and mirrors on other machines. Format: `git help gitformat-bundle`, version 2.
//! Deliberately absent: version 3.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
};

use devstack_dag::ids::CommitId;
use git2::{Repository, Revwalk};

use super::{
    Error,
    git::{Run, TRANSFER_DEADLINE},
    hub::Hub,
    oid,
};

/// The ref that a result's bundle names, and no other: `HEAD` of the workspace.
pub const RESULT_REF: &str = devstack_shim::layout::BUNDLE_REF;
/// The first line.
const SIGNATURE: &str = "# v2 git bundle";
/// A header is a few lines; one that is longer is refused unread, in bytes.
const HEADER_MAX: u64 = 64 << 10;

/// The parsed head of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Commits that the reader must have.
    pub(crate) prerequisites: Vec<CommitId>,
    /// Refs that it carries.
    pub(crate) refs: Vec<(CommitId, String)>,
    /// Where the pack starts, in bytes.
    pub(crate) length: u64,
}

/// Read a bundle's header; `Err` says what is wrong with it, for people.
pub(crate) fn read_header(from: impl Read) -> Result<Header, String> {
    let mut lines = BufReader::new(from.take(HEADER_MAX));
    let mut header = Header { prerequisites: Vec::new(), refs: Vec::new(), length: 0 };
    let mut first = true;
    loop {
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line).map_err(|e| format!("the bundle cannot be read: {e}"))?;
        header.length += line.len() as u64;
        if line.pop() != Some(b'\n') {
            return Err("the bundle ends within its header, or the header is too long".into());
        }
        let line = String::from_utf8(line).map_err(|_| "the bundle's header is not text".to_owned())?;
        if std::mem::take(&mut first) {
            if line != SIGNATURE {
                return Err("the file is not a bundle of version 2".into());
            }
        } else if line.is_empty() {
            return Ok(header);
        } else if let Some(rest) = line.strip_prefix('-') {
            header.prerequisites.push(commit_of(rest.split(' ').next().unwrap_or_default())?);
        } else {
            let (commit, name) = line.split_once(' ').ok_or("a line of the bundle's header has no ref")?;
            header.refs.push((commit_of(commit)?, name.to_owned()));
        }
    }
}

fn commit_of(text: &str) -> Result<CommitId, String> {
    text.parse().map_err(|_| "the bundle's header names no commit of SHA-1".to_owned())
}

/// What a bundle carries: refs by commit and full name.
pub(crate) type Refs<'a> = &'a [(CommitId, &'a str)];

/// Everything reachable from `refs` and not from `known`.
fn walk<'r>(repo: &'r Repository, refs: Refs<'_>, known: &[CommitId]) -> Result<Revwalk<'r>, Error> {
    let mut walk = repo.revwalk()?;
    for (tip, _) in refs {
        walk.push(oid(*tip)).map_err(|_| Error::Unknown(*tip))?;
    }
    for commit in known {
        walk.hide(oid(*commit)).map_err(|_| Error::Unknown(*commit))?;
    }
    Ok(walk)
}

/// Write a bundle of everything reachable from `refs` and not from `known` into a new file.
pub(crate) fn write_bundle(repo: &Repository, refs: Refs<'_>, known: &[CommitId], path: &Path) -> Result<(), Error> {
    let mut walk = walk(repo, refs, known)?;
    let mut pack = repo.packbuilder()?;
    pack.insert_walk(&mut walk)?;
    let mut text = format!("{SIGNATURE}\n");
    for commit in known {
        text.push_str(&format!("-{commit} \n"));
    }
    for (tip, name) in refs {
        text.push_str(&format!("{tip} {name}\n"));
    }
    text.push('\n');
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    let mut failed = file.write_all(text.as_bytes()).err();
    if failed.is_none() {
        pack.foreach(|chunk| {
            failed = file.write_all(chunk).err();
            failed.is_none()
        })
        .or_else(|e| if e.code() == git2::ErrorCode::User { Ok(()) } else { Err(e) })?;
    }
    match failed {
        Some(source) => Err(Error::Io { what: "write", path: path.to_owned(), source }),
        None => Ok(()),
    }
}

/// Histories of at most so many commits are packed by the library in this process; longer ones by git, which is many times
/// faster for bulk.
const OWN_PACK_MAX: usize = 200;

/// As [`write_bundle`], of any length: `run` is `git bundle` in the same repository. For a long history git names the refs as it
/// finds them, which may have moved past `refs` meanwhile, and leaves out those that `known` contains.
pub(crate) fn write_history(
    repo: &Repository,
    run: Run,
    refs: Refs<'_>,
    known: &[CommitId],
    path: &Path,
) -> Result<(), Error> {
    if walk(repo, refs, known)?.take(OWN_PACK_MAX + 1).count() <= OWN_PACK_MAX {
        return write_bundle(repo, refs, known, path);
    }
    let run = run.deadline(TRANSFER_DEADLINE).args(["create", "--quiet", "--version=2"]).args([path]);
    let run = run.args(refs.iter().map(|(_, name)| name)).args(known.iter().map(|commit| format!("^{commit}")));
    run.ok().map(drop)
}

impl Hub {
    /// A bundle of the integration branch up to `head`, without what `have` contains, as the one ref of that branch, into a
    /// new file: what a mirror elsewhere takes in.
    pub fn history_bundle(&self, head: CommitId, have: Option<CommitId>, path: &Path) -> Result<(), Error> {
        let (name, known) = (self.integration_ref(), Vec::from_iter(have));
        self.with(|repo| write_history(repo, self.run("bundle"), &[(head, &name)], &known, path))
    }

    /// A bundle with what a workspace needs and its mirror lacks: `tip` (a harvested commit, the blocked side of a
    /// conflict, a prepared merge) without what `known` (a head that the mirror has) contains. Its one ref is [`RESULT_REF`].
    pub fn bundle_for(&self, tip: CommitId, known: CommitId, path: &Path) -> Result<(), Error> {
        self.with(|repo| write_bundle(repo, &[(tip, RESULT_REF)], &[known], path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_header_is_read_to_the_first_byte_of_the_pack() {
        let text = format!("# v2 git bundle\n-{ID} subject of it\n{ID} HEAD\n\nPACK");
        let header = read_header(text.as_bytes()).expect("valid");
        assert_eq!(header.prerequisites.len(), 1);
        assert_eq!(header.refs, vec![(ID.parse().expect("id"), "HEAD".to_owned())]);
        assert_eq!(&text[header.length as usize..], "PACK");
    }

    #[test]
    fn other_headers_are_refused() {
        let cases = [
            "",
            "# v3 git bundle\n\n",
            "# v2 git bundle\nHEAD\n\n",
            "# v2 git bundle\nabc HEAD\n\n",
            "# v2 git bundle\n",
        ];
        for text in cases {
            assert!(read_header(text.as_bytes()).is_err(), "{text:?}");
        }
        let endless = format!("# v2 git bundle\n{}", format!("{ID} HEAD\n").repeat(100_000));
        assert!(read_header(endless.as_bytes()).is_err());
    }
}
