//! Makes the agent's workspace: a standalone clone on the agent's branch that borrows objects from the mirror. This
//! runs as the agent's user, before the agent exists, so it reads nothing that an agent wrote.
//!
//! The repository is built next to its final place and renamed to `.git` when everything is checked out. An
//! interruption half-way therefore leaves files without a repository, and nothing to compare them with. The files
//! themselves are not moved (the directory is a mount point in a container, and a move would make git read every file
//! again).

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use devstack_shim::{
    layout,
    spec::{Git, GitStart, Spec},
};
use git2::{Commit, MergeOptions, Oid, Repository, RepositoryInitOptions, build::CheckoutBuilder};

/// Git follows renames among at most so many files on each side; with libgit2's default (1,000) it misses some.
const RENAME_LIMIT: u32 = 20_000;

/// Where the repository is built. git refuses this name in a tree (it means `.git` on DOS file systems), so no
/// checked-out file has it.
const STAGE: &str = "git~1";

/// An error as text.
pub(crate) type Error = Box<dyn std::error::Error>;

/// Makes the workspace that the spec asks for.
pub(crate) fn prepare(spec: &Spec, git: &Git) -> Result<(), Error> {
    let dir = &spec.workspace;
    let stage = dir.join(STAGE);
    fill(spec, git, &create(dir, &stage, git)?)?;
    fs::rename(stage.join(".git"), dir.join(".git"))?;
    fs::remove_dir(stage)?;
    Ok(())
}

fn fill(spec: &Spec, git: &Git, repository: &Repository) -> Result<(), Error> {
    for name in &git.bundles {
        let path = spec.dir.join(layout::IN).join(name);
        import(repository, &path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let base = repository.find_commit(Oid::from_str(git.start.base())?)?;
    repository.reference(&format!("refs/remotes/origin/{}", git.integration), base.id(), true, "devstack")?;
    match &git.start {
        GitStart::Commit { tip, .. } => {
            let tip = repository.find_commit(Oid::from_str(tip)?)?;
            check_out(repository, &git.branch, &tip)
        }
        GitStart::Merging { theirs, .. } => {
            check_out(repository, &git.branch, &base)?;
            merge(repository, Oid::from_str(theirs)?)
        }
    }
}

/// Makes a repository in `stage` whose files are in `dir`.
fn create(dir: &Path, stage: &Path, git: &Git) -> Result<Repository, Error> {
    let mut options = RepositoryInitOptions::new();
    options.no_reinit(true).external_template(false).initial_head(&git.branch);
    let repository = Repository::init_opts(stage, &options)?;
    let objects = git.mirror_objects.to_str().ok_or("the path of the mirror is not UTF-8")?;
    fs::create_dir_all(repository.path().join("objects/info"))?;
    fs::write(repository.path().join("objects/info/alternates"), format!("{objects}\n"))?;
    OpenOptions::new().append(true).open(repository.path().join("config"))?.write_all(config(git).as_bytes())?;
    // Opened again, so that the alternates and the configuration take effect.
    let repository = Repository::open(repository.path())?;
    repository.set_workdir(dir, false)?;
    Ok(repository)
}

/// Additions to its configuration. A workspace lives for one attempt, so packing it would be wasted work.
fn config(git: &Git) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    format!("[user]\n\tname = {}\n\temail = {}\n[gc]\n\tauto = 0\n", quoted(&git.name), quoted(&git.email))
}

/// Imports the objects of a bundle: a header of lines up to an empty one, then a pack.
fn import(repository: &Repository, path: &Path) -> Result<(), Error> {
    let bytes = fs::read(path)?;
    let header = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or("not a bundle: its header has no end")?;
    let pack = bytes.get(header + 2..).ok_or("not a bundle: it has no pack")?;
    let odb = repository.odb()?;
    let mut writer = odb.packwriter()?;
    std::io::Write::write_all(&mut writer, pack)?;
    writer.commit()?;
    Ok(())
}

fn check_out(repository: &Repository, branch: &str, commit: &Commit<'_>) -> Result<(), Error> {
    repository.reference(&format!("refs/heads/{branch}"), commit.id(), true, "devstack")?;
    repository.checkout_tree(commit.as_object(), Some(CheckoutBuilder::new().force()))?;
    repository.set_head(&format!("refs/heads/{branch}"))?;
    Ok(())
}

/// Leaves a merge of `theirs` in progress: MERGE_HEAD, MERGE_MSG, conflicts in the index, markers in the files.
fn merge(repository: &Repository, theirs: Oid) -> Result<(), Error> {
    let theirs = repository.find_annotated_commit(theirs)?;
    let mut options = MergeOptions::new();
    options.find_renames(true).target_limit(RENAME_LIMIT);
    let mut checkout = CheckoutBuilder::new();
    checkout.safe().allow_conflicts(true).conflict_style_merge(true);
    checkout.our_label("HEAD").their_label(&theirs.id().to_string());
    repository.merge(&[&theirs], Some(&mut options), Some(&mut checkout))?;
    Ok(())
}
