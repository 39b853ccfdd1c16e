//! Bundles that we write for workspaces, resolutions and mirrors on other machines.
//! Deliberately absent: reading them (`bundle_header`, and git in a quarantine).

use std::{fs::File, io::Write, path::Path};

use devstack_dag::ids::CommitId;
use git2::{Repository, Revwalk};

use super::{
    Error,
    bundle_header::SIGNATURE,
    git::{Run, TRANSFER_DEADLINE},
    hub::Hub,
    oid,
};

/// The ref that a result's bundle names, and no other: `HEAD` of the workspace.
pub const RESULT_REF: &str = devstack_shim::layout::BUNDLE_REF;
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

/// Steps of at most so many commits are packed by the library in this process; longer ones and whole histories by git, which is many times
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
    // What nobody knows anything of is bulk, however few its commits are.
    if !known.is_empty() && walk(repo, refs, known)?.take(OWN_PACK_MAX + 1).count() <= OWN_PACK_MAX {
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
