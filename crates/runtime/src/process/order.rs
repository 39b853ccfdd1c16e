//! The order for the shim of a process.

use std::path::{Path, PathBuf};

use devstack_dag::ids::AttemptId;
use devstack_shim::{
    confinement::Demand,
    layout,
    spec::{Rlimits, Secrets, Spec, VERSION},
};

use super::Inner;
use crate::{
    Job, RuntimeError, clock,
    files::{environment, git, label},
    fill::{self, Places},
};

/// A file system in memory on every Linux.
const MEMORY: &str = "/dev/shm";

/// The order for the shim.
pub(super) fn spec(inner: &Inner, job: &Job, dir: PathBuf, cgroups: Vec<PathBuf>) -> Result<Spec, RuntimeError> {
    let config = &inner.config;
    let pids = job.limits.pids.filter(|_| cgroups.is_empty());
    let limits = Rlimits {
        data: job.limits.memory.filter(|_| cgroups.is_empty()),
        // The limit counts all processes of a user. Where agents share a user with people, those processes are
        // unrelated, and where a group counts only the attempt, other attempts are unrelated.
        processes: inner.root.then(|| pids.map_or(config.processes, u64::from)),
        open_files: None,
        file_size: None,
    };
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let places = Places::new(&dir, at(layout::WORKSPACE), at(layout::HOME), at(layout::TMP));
    let mut env = environment(job, &places, inner.key(&job.attempt));
    env.extend(fill::env(job, &places));
    let mut spec = Spec {
        version: VERSION,
        key: inner.key(&job.attempt),
        label: label(job),
        env,
        boot_id: inner.boot_id.clone(),
        ordered_at_ms: clock::now_ms(),
        wrapper: Vec::new(),
        command: fill::command(job, &places),
        secrets: (!job.secrets.is_empty()).then_some(Secrets::Stdin),
        user: inner.root.then_some(config.user),
        limits,
        cgroups,
        timeout_ms: job.timeout_ms,
        grace_ms: job.grace_ms,
        idle_timeout_ms: job.idle_timeout_ms,
        log_max: config.log_max,
        disk_max: None,
        tee: false,
        tool: fill::tool(job, || Some(secret_dir(inner, &job.attempt))),
        git: job.workspace.as_ref().map(|workspace| git(job, workspace, config.bundle_max)).transpose()?,
        workspace: places.workspace.into(),
        dir,
        wrapper_files: Vec::new(),
        demand: Some(Demand { filter: false, bounding: None }),
    };
    if let Ok(bwrap) = &inner.sandbox {
        spec.wrapper = bwrap.command(&spec, &inner.shim, job.network);
        spec.wrapper_files = bwrap.files();
        spec.demand = Some(bwrap.demand());
    }
    Ok(spec)
}

/// Where secret files are stored: in memory. Our names contain no dot, so no two attempts share a directory. In a
/// sandbox it belongs to the sandbox, and disappears with it.
pub(super) fn secret_dir(inner: &Inner, attempt: &AttemptId) -> PathBuf {
    let (label, task) = (&inner.config.installation, &attempt.task);
    Path::new(MEMORY).join(format!("devstack.{label}.{}.{}.{}", task.project, task.id, attempt.number))
}
