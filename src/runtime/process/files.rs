//! The files of an attempt, as the node makes them, and the order for its shim.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use devstack_dag::{
    attempt::Start,
    ids::{AttemptId, ProjectName, TaskId, TaskRef},
};
use devstack_shim::{
    layout,
    spec::{Git, GitStart, Rlimits, Spec, VERSION},
};

use super::{Inner, clock};
use crate::runtime::{
    Job, RuntimeError, Workspace, author,
    fill::{self, Places},
};

/// Made by the node when an attempt is over and nothing of it is left; only believed where the agent cannot make it.
pub(super) const SETTLED: &str = "settled";

/// Where every program of a Debian or Ubuntu machine is.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A file system in memory on every Linux.
const MEMORY: &str = "/dev/shm";
/// UTF-8 without a language; every C library has it.
const LANG: &str = "C.UTF-8";

/// A directory, with its parents, that others may pass through and not list.
pub(super) fn make_passable(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o711).create(dir)
}

/// The order for the shim.
pub(super) fn spec(inner: &Inner, job: &Job, dir: PathBuf, cgroups: Vec<PathBuf>) -> Result<Spec, RuntimeError> {
    let config = &inner.config;
    let limits = Rlimits {
        data: job.limits.memory.filter(|_| cgroups.is_empty()),
        // The limit counts all processes of a user. A person's own have nothing to do with ours.
        processes: if inner.root { Some(job.limits.pids.map_or(config.processes, u64::from)) } else { None },
        open_files: None,
        file_size: None,
    };
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let (home, tmp, out) = (at(layout::HOME), at(layout::TMP), at(layout::OUT));
    let (workspace, prompt_file) = (at(layout::WORKSPACE), at(layout::PROMPT));
    let places = Places { home: &home, tmp: &tmp, out: &out, workspace: &workspace, prompt_file: &prompt_file };
    let mut env = environment(job, &dir, inner.key(&job.attempt));
    env.extend(fill::env(job, &places));
    let mut spec = Spec {
        version: VERSION,
        key: inner.key(&job.attempt),
        label: format!("{} attempt {}", job.attempt.task, job.attempt.number),
        env,
        boot_id: inner.boot_id.clone(),
        ordered_at_ms: clock::now_ms(),
        wrapper: Vec::new(),
        command: fill::command(job, &places),
        secrets: !job.secrets.is_empty(),
        user: inner.root.then_some(config.user),
        limits,
        cgroups,
        timeout_ms: job.timeout_ms,
        grace_ms: job.grace_ms,
        idle_timeout_ms: job.idle_timeout_ms,
        log_max: config.log_max,
        tool: fill::tool(job, || Some(secret_dir(inner, &job.attempt))),
        git: job.workspace.as_ref().map(|workspace| git(job, workspace, config.bundle_max)).transpose()?,
        dir,
    };
    if let Ok(bwrap) = &inner.sandbox {
        spec.wrapper = bwrap.command(&spec, &inner.shim, job.network);
    }
    Ok(spec)
}

/// Where secrets that are files are kept: in memory. Names of ours have no dot, so no two attempts share one. In a
/// sandbox it is the sandbox's own, and goes with it.
pub(super) fn secret_dir(inner: &Inner, attempt: &AttemptId) -> PathBuf {
    let (label, task) = (&inner.config.installation, &attempt.task);
    Path::new(MEMORY).join(format!("devstack.{label}.{}.{}.{}", task.project, task.id, attempt.number))
}

fn git(job: &Job, workspace: &Workspace, bundle_max: u64) -> Result<Git, RuntimeError> {
    let start = match &workspace.start {
        Start::Commit { base, tip } => GitStart::Commit { base: base.to_string(), tip: tip.to_string() },
        Start::Merging { base, theirs } => GitStart::Merging { base: base.to_string(), theirs: theirs.to_string() },
        Start::Empty => return Err(RuntimeError::Refused("a workspace of a repository starts at a commit".into())),
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

/// What the contract promises an agent, and the mark by which its processes are known.
fn environment(job: &Job, dir: &Path, key: String) -> Vec<(String, String)> {
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    [
        ("PATH", PATH.to_owned()),
        ("LANG", LANG.to_owned()),
        ("HOME", at(layout::HOME)),
        ("TMPDIR", at(layout::TMP)),
        ("DEVSTACK_WORKSPACE", at(layout::WORKSPACE)),
        ("DEVSTACK_PROJECT", job.attempt.task.project.to_string()),
        ("DEVSTACK_TASK_ID", job.attempt.task.id.to_string()),
        ("DEVSTACK_ATTEMPT", job.attempt.number.to_string()),
        ("DEVSTACK_AGENT", job.agent.to_string()),
        ("DEVSTACK_ROLE", job.role.to_string()),
        ("DEVSTACK_PROMPT_FILE", at(layout::PROMPT)),
        ("DEVSTACK_TASK_FILE", at(layout::TASK)),
        ("DEVSTACK_OUT", at(layout::OUT)),
        (layout::KEY_VARIABLE, key),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Makes the directory and everything in it that the shim needs. What an interrupted start left is written over.
pub(super) fn write(job: &Job, spec: &Spec) -> io::Result<()> {
    let dir = &spec.dir;
    make(dir, 0o711)?;
    make(&dir.join(layout::IN), 0o755)?;
    make(&dir.join(layout::SHIM), 0o700)?;
    for name in [layout::OUT, layout::WORKSPACE, layout::HOME, layout::TMP] {
        let path = dir.join(name);
        make(&path, 0o700)?;
        if let Some(user) = spec.user {
            chown(&path, Some(user.uid), Some(user.gid))?;
        }
    }
    fs::write(dir.join(layout::PROMPT), &job.prompt)?;
    fs::write(dir.join(layout::TASK), &job.task_json)?;
    for (number, bundle) in job.workspace.iter().flat_map(|workspace| &workspace.bundles).enumerate() {
        let copy = dir.join(layout::IN).join(bundle_name(number));
        fs::copy(bundle, &copy)?;
        fs::set_permissions(&copy, Permissions::from_mode(0o644))?;
    }
    let order = serde_json::to_vec(spec)?;
    match OpenOptions::new().write(true).create_new(true).open(dir.join(layout::SPEC)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A shim of an earlier start may be reading: it sees the old order or the new one, whole.
            let partial = dir.join("spec.new");
            fs::write(&partial, order)?;
            fs::rename(&partial, dir.join(layout::SPEC))
        }
        other => other?.write_all(&order),
    }
}

/// One directory; its parents, if need be. Removing another attempt may take an empty parent away in between.
fn make(dir: &Path, mode: u32) -> io::Result<()> {
    const TRIES: u32 = 8;
    for _ in 0..TRIES {
        match DirBuilder::new().mode(mode).create(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                dir.parent().map_or(Ok(()), make_passable).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
            other => return other,
        }
    }
    Err(io::Error::other(format!("{} vanishes as soon as it is made", dir.display())))
}

/// Every attempt below `root`. Names that are none of ours are left alone.
pub(super) fn list(root: &Path) -> io::Result<Vec<AttemptId>> {
    let mut found = Vec::new();
    for project in names(root)? {
        let Ok(project_name) = ProjectName::new(&project) else { continue };
        for task in names(&root.join(&project))? {
            let Ok(id) = TaskId::new(&task) else { continue };
            for number in names(&root.join(&project).join(&task))? {
                let Ok(number) = number.parse() else { continue };
                let task = TaskRef { project: project_name.clone(), id: id.clone() };
                found.push(AttemptId { task, number });
            }
        }
    }
    Ok(found)
}

/// Names in a directory; one that was removed meanwhile has none.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other?,
    };
    entries.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
}

/// Moves a file that an agent could write to one that only the node can; an empty or missing one is left.
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
    fs::rename(from, to)
}
