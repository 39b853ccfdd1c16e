//! Writes bundles for workspaces, resolutions and mirrors on other machines. Deliberately absent: reading them
//! (`bundle_header`, and git in a quarantine).

use std::{
    fs::File,
    io::{Seek, Write},
    path::Path,
};

use devstack_dag::ids::CommitId;

use super::{
    Error,
    bundle_header::SIGNATURE,
    git::{Run, TRANSFER_DEADLINE},
    hub::Hub,
};

/// The only ref in a result's bundle: `HEAD` of the workspace.
pub const RESULT_REF: &str = devstack_shim::layout::BUNDLE_REF;
/// The content of a bundle: refs by commit and full name.
pub(crate) type Refs<'a> = &'a [(CommitId, &'a str)];

/// Write a bundle of everything reachable from `refs` and not from `known` into a new file. `run` is `git pack-objects`
/// in the repository: a separate git process with a deadline walks the trees and packs them. The header names exactly
/// these commits, even if the refs move meanwhile.
pub(crate) fn write_bundle(run: Run, refs: Refs<'_>, known: &[CommitId], path: &Path) -> Result<(), Error> {
    let prerequisites: String = known.iter().map(|commit| format!("-{commit} \n")).collect();
    let names: String = refs.iter().map(|(tip, name)| format!("{tip} {name}\n")).collect();
    let header = format!("{SIGNATURE}\n{prerequisites}{names}\n");
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    file.write_all(header.as_bytes()).map_err(Error::io("write", path))?;
    let tips = refs.iter().map(|(tip, _)| format!("{tip}\n"));
    let wanted: String = tips.chain(known.iter().map(|commit| format!("^{commit}\n"))).collect();
    let run = run.args(["--revs", "--stdout", "--quiet"]).stdin(input(wanted.as_bytes())?).stdout(file);
    // Uses two processors, and bounded memory whatever the file sizes.
    let run = run.config("pack.threads=2").config("pack.windowMemory=128m").config("core.bigFileThreshold=32m");
    run.deadline(TRANSFER_DEADLINE).ok().map(drop)
}

/// A file in memory for a child to read.
fn input(bytes: &[u8]) -> Result<File, Error> {
    let fill = || -> std::io::Result<File> {
        let mut file = File::from(rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file)
    };
    fill().map_err(Error::io("make", "a file in memory"))
}

impl Hub {
    /// Write a bundle of the integration branch up to `head`, without what `have` contains, into a new file, with that
    /// branch as its one ref. A mirror elsewhere imports it.
    pub fn history_bundle(&self, head: CommitId, have: Option<CommitId>, path: &Path) -> Result<(), Error> {
        let (name, known) = (self.integration_ref(), Vec::from_iter(have));
        write_bundle(self.run("pack-objects"), &[(head, &name)], &known, path)
    }

    /// Write a bundle of what a workspace needs and its mirror lacks: `tip` (a harvested commit, the blocked side of a
    /// conflict, a prepared merge) without what `known` (a head that the mirror has) contains. Its one ref is
    /// [`RESULT_REF`].
    pub fn bundle_for(&self, tip: CommitId, known: CommitId, path: &Path) -> Result<(), Error> {
        write_bundle(self.run("pack-objects"), &[(tip, RESULT_REF)], &[known], path)
    }
}
