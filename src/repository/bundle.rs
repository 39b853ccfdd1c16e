//! Bundles that we write for workspaces, resolutions and mirrors on other machines.
//! Deliberately absent: reading them (`bundle_header`, and git in a quarantine).

use std::{fs::File, io::Write, path::Path};

use devstack_dag::ids::CommitId;
use git2::Repository;

use super::{Error, bundle_header::SIGNATURE, git::TRANSFER_DEADLINE, hub::Hub, oid};

/// The ref that a result's bundle names, and no other: `HEAD` of the workspace.
pub const RESULT_REF: &str = devstack_shim::layout::BUNDLE_REF;
/// Write a bundle of everything reachable from `tip` and not from `known`, as the one ref `name`, into a new file.
pub(crate) fn write_bundle(
    repo: &Repository,
    tip: CommitId,
    known: &[CommitId],
    name: &str,
    path: &Path,
) -> Result<(), Error> {
    let mut walk = repo.revwalk()?;
    walk.push(oid(tip)).map_err(|_| Error::Unknown(tip))?;
    for commit in known {
        walk.hide(oid(*commit)).map_err(|_| Error::Unknown(*commit))?;
    }
    let mut pack = repo.packbuilder()?;
    pack.insert_walk(&mut walk)?;
    let mut text = format!("{SIGNATURE}\n");
    for commit in known {
        text.push_str(&format!("-{commit} \n"));
    }
    text.push_str(&format!("{tip} {name}\n\n"));
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

impl Hub {
    /// A bundle of the integration branch up to `head`, without what `have` contains, as the one ref of that branch, into a
    /// new file: what a mirror elsewhere takes in.
    pub fn history_bundle(&self, head: CommitId, have: Option<CommitId>, path: &Path) -> Result<(), Error> {
        let short = |repo: &Repository| -> Result<bool, Error> {
            let Some(have) = have else { return Ok(false) };
            let mut walk = repo.revwalk()?;
            walk.push(oid(head)).map_err(|_| Error::Unknown(head))?;
            walk.hide(oid(have)).map_err(|_| Error::Unknown(have))?;
            Ok(walk.take(OWN_PACK_MAX + 1).count() <= OWN_PACK_MAX)
        };
        let name = self.integration_ref();
        if self.with(short)? {
            return self.with(|repo| write_bundle(repo, head, &have.into_iter().collect::<Vec<_>>(), &name, path));
        }
        // The branch may have moved past `head` meanwhile: git names what it finds, and the reader moves to `head`.
        let run = self.run("bundle").deadline(TRANSFER_DEADLINE).args(["create", "--quiet", "--version=2"]);
        let run = run.args([path]).args([name]);
        let run = match have {
            Some(have) => run.args([format!("^{have}")]),
            None => run,
        };
        run.ok().map(drop)
    }

    /// A bundle with what a workspace needs and its mirror lacks: `tip` (a harvested commit, the blocked side of a
    /// conflict, a prepared merge) without what `known` (a head that the mirror has) contains. Its one ref is [`RESULT_REF`].
    pub fn bundle_for(&self, tip: CommitId, known: CommitId, path: &Path) -> Result<(), Error> {
        self.with(|repo| write_bundle(repo, tip, &[known], RESULT_REF, path))
    }
}
