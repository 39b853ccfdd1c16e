//! The files of an attempt that the node makes for every runtime; the contract promises them to an agent.
//! Deliberately absent: the order for the shim, which each runtime makes itself, and reading files of agents
//! (`evidence`).

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown},
    path::Path,
};

use devstack_dag::{
    attempt::Start,
    ids::{AttemptId, ProjectName, TaskId, TaskRef},
};
use devstack_shim::{
    layout,
    spec::{Git, GitStart, Spec, User},
};
use nix::libc;

use super::{Job, RuntimeError, Workspace, author, evidence, fill::Places};

/// Created by the node when an attempt ended and nothing of it runs; trusted only where the agent cannot create it.
pub(super) const SETTLED: &str = "settled";

/// The attempt's directory as seen in a container.
pub(super) const CONTAINER_DIR: &str = "/devstack";

/// The directories of all programs on a Debian or Ubuntu machine.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// UTF-8 without a language; every C library has it.
const LANG: &str = "C.UTF-8";

/// The name of an attempt's directory and of its control groups. There is only one level, because creating and removing
/// a directory for each project and task costs more than any file of an attempt. Names contain no dot, so the name can
/// be parsed.
pub(super) fn name(attempt: &AttemptId) -> String {
    format!("{}.{}.{}", attempt.task.project, attempt.task.id, attempt.number)
}

fn attempt(name: &str) -> Option<AttemptId> {
    let mut parts = name.split('.');
    let (project, id, number) = (parts.next()?, parts.next()?, parts.next()?);
    let task = TaskRef { project: ProjectName::new(project).ok()?, id: TaskId::new(id).ok()? };
    let found = AttemptId { task, number: number.parse().ok()? };
    (self::name(&found) == name).then_some(found)
}

/// Creates a directory, with its parents, that others may traverse but not list.
pub(super) fn make_passable(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o711).create(dir)
}

/// The attempt's name in commits and log lines.
pub(super) fn label(job: &Job) -> String {
    format!("{} attempt {}", job.attempt.task, job.attempt.number)
}

/// The repository that the shim clones and harvests.
pub(super) fn git(job: &Job, workspace: &Workspace, bundle_max: u64) -> Result<Git, RuntimeError> {
    let start = match &workspace.start {
        Start::Commit { base, tip } => GitStart::Commit { base: base.to_string(), tip: tip.to_string() },
        Start::Merging { base, theirs } => GitStart::Merging { base: base.to_string(), theirs: theirs.to_string() },
        Start::Empty => return Err(RuntimeError::Refused("a workspace of a repository must start at a commit".into())),
    };
    let (name, email) = author(&job.agent);
    Ok(Git {
        mirror_objects: workspace.mirror_objects.clone(),
        bundles: (0..workspace.bundles.len()).map(bundle_name).collect(),
        branch: format!("feat/{}", job.agent),
        integration: workspace.integration.clone(),
        start,
        name,
        email,
        harvest: workspace.harvest,
        bundle_max,
    })
}

fn bundle_name(number: usize) -> String {
    format!("{number}.bundle")
}

/// The variables that the contract promises an agent, and the key that identifies its processes.
pub(super) fn environment(job: &Job, places: &Places, key: String) -> Vec<(String, String)> {
    [
        ("PATH", PATH.to_owned()),
        ("LANG", LANG.to_owned()),
        ("HOME", places.home.clone()),
        ("TMPDIR", places.tmp.clone()),
        ("DEVSTACK_WORKSPACE", places.workspace.clone()),
        ("DEVSTACK_PROJECT", job.attempt.task.project.to_string()),
        ("DEVSTACK_TASK_ID", job.attempt.task.id.to_string()),
        ("DEVSTACK_ATTEMPT", job.attempt.number.to_string()),
        ("DEVSTACK_AGENT", job.agent.to_string()),
        ("DEVSTACK_ROLE", job.role.to_string()),
        ("DEVSTACK_PROMPT_FILE", places.prompt_file.clone()),
        ("DEVSTACK_TASK_FILE", places.task_file.clone()),
        ("DEVSTACK_OUT", places.out.clone()),
        (layout::KEY_VARIABLE, key),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Makes the directory and all files in it that the shim needs; `owner` gets the parts that the agent writes. Leftovers
/// of an interrupted start are overwritten.
pub(super) fn write(job: &Job, dir: &Path, spec: &Spec, owner: Option<User>) -> io::Result<()> {
    make(dir, 0o711)?;
    make(&dir.join(layout::IN), 0o755)?;
    make(&dir.join(layout::SHIM), 0o700)?;
    for name in [layout::OUT, layout::WORKSPACE, layout::HOME, layout::TMP] {
        let path = dir.join(name);
        make(&path, 0o700)?;
        if let Some(user) = owner {
            chown(&path, Some(user.uid), Some(user.gid))?;
        }
    }
    fs::write(dir.join(layout::PROMPT), &job.prompt)?;
    fs::write(dir.join(layout::TASK), &job.task_json)?;
    copy_bundles(job, dir)?;
    let order = serde_json::to_vec(spec)?;
    match OpenOptions::new().write(true).create_new(true).open(dir.join(layout::SPEC)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A shim of an earlier start may be reading: it sees either the old order or the new one, complete.
            let partial = dir.join("spec.new");
            fs::write(&partial, order)?;
            fs::rename(&partial, dir.join(layout::SPEC))
        }
        other => other?.write_all(&order),
    }
}

/// Like [`write`], but into the complete directory of an earlier attempt, which no process uses.
pub(super) fn write_over(job: &Job, spec: &Spec, dir: &Path) -> io::Result<()> {
    replace(&dir.join(layout::PROMPT), job.prompt.as_bytes())?;
    replace(&dir.join(layout::TASK), &job.task_json)?;
    copy_bundles(job, dir)?;
    replace(&dir.join(layout::SPEC), &serde_json::to_vec(spec)?)
}

/// Replaces the content of a file. It neither makes a new file, which costs three times as much, nor empties the file
/// first: ext4 writes an emptied file to the disk as soon as it is closed.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(file)?;
    file.write_all(content)?;
    let length = content.len() as u64;
    if file.metadata()?.len() > length { file.set_len(length) } else { Ok(()) }
}

fn copy_bundles(job: &Job, dir: &Path) -> io::Result<()> {
    for (number, bundle) in job.workspace.iter().flat_map(|workspace| &workspace.bundles).enumerate() {
        let copy = dir.join(layout::IN).join(bundle_name(number));
        fs::copy(bundle, &copy)?;
        fs::set_permissions(&copy, Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Makes one directory.
fn make(dir: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Every attempt in `root`. Other names are ignored.
pub(super) fn list(root: &Path) -> io::Result<Vec<AttemptId>> {
    Ok(names(root)?.iter().filter_map(|name| attempt(name)).collect())
}

/// Refuses a directory that contains an attempt of the other kind of runtime: it may still run, and only its own
/// runtime can find it.
pub(super) fn refuse_others(root: &Path, containers: bool) -> Result<(), RuntimeError> {
    let attempts = list(root).map_err(RuntimeError::failed("listing the attempts"))?;
    let in_container = |attempt: &AttemptId| {
        let order = evidence::order(&root.join(name(attempt))).ok()?;
        Some(order.dir == Path::new(CONTAINER_DIR))
    };
    match attempts.into_iter().find(|attempt| in_container(attempt) == Some(!containers)) {
        None => Ok(()),
        Some(attempt) => {
            let other = if containers { "process" } else { "docker" };
            Err(RuntimeError::Refused(format!(
                "attempt {attempt} was started by the {other} runtime and may still run; use `--runtime {other}` \
                 until nothing runs, then change"
            )))
        }
    }
}

/// The names in a directory; empty if it was removed meanwhile.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other?,
    };
    entries.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
}

/// Moves a file that an agent could write to a file that only the node can write; an empty or missing file is ignored.
pub(super) fn keep(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(from) {
        Ok(found) if found.is_file() && found.len() > 0 => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir)?;
    }
    match fs::rename(from, to) {
        // Attempts can be on another file system than the node's state. The original is removed with the attempt.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => fs::copy(from, to).map(drop),
        moved => moved,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_give_are_attempts() {
        let id = attempt("shop.T-001.12").unwrap();
        assert_eq!((id.to_string().as_str(), name(&id).as_str()), ("shop/T-001/12", "shop.T-001.12"));
        for other in ["shop", "shop.T-001", "shop.T-001.x", "shop.T-001.012", "shop.T-001.1.2", "..1", "shop.T-001."] {
            assert!(attempt(other).is_none(), "{other}");
        }
    }
}
