//! What a container of an attempt looks like, as data: names, labels, mounts, limits, and everything that is taken away
//! from the agent. Pure.
//!
//! Deliberately absent: talking to the engine, and believing it (`hardening` reads back what is in force).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use devstack_dag::ids::{AttemptId, ProjectName, TaskId, TaskRef};
use devstack_shim::{layout, spec::User};

use super::logging;
use crate::{
    config::node::ContainerLog,
    runtime::{files::CONTAINER_DIR, seccomp},
    telemetry::trace_id,
};

/// The attempt's directory inside, read-only but for `out` and `shim`.
pub(super) const DIR: &str = CONTAINER_DIR;
/// The working directory inside.
pub(super) const WORKSPACE: &str = "/workspace";
/// HOME inside, a tmpfs.
pub(super) const HOME: &str = "/home/devstack";
/// TMPDIR inside, a tmpfs.
pub(super) const TMP: &str = "/tmp";
/// The supervisor inside; PID 1.
const SHIM: &str = "/run/devstack-shim";
/// Secrets inside.
pub(super) const SECRETS: &str = "/run/devstack-secrets";
/// Objects that the workspace borrows.
pub(super) const MIRROR: &str = "/run/devstack-mirror";

/// Label: the random name of the installation. Nothing without it is ever touched.
pub(super) const INSTALLATION: &str = "devstack.installation";
/// Label: the project of its task.
pub(super) const PROJECT: &str = "devstack.project";
/// Label: its task.
pub(super) const TASK: &str = "devstack.task";
/// Label: the number of the attempt.
pub(super) const ATTEMPT: &str = "devstack.attempt";
/// Label: the host that runs it.
pub(super) const HOST: &str = "devstack.host";
/// Label: the id of its task's trace, as in log lines and spans.
pub(super) const TRACE: &str = "devstack.trace.id";
/// Label: when the attempt's time is over, as CLOCK_BOOTTIME in milliseconds and the boot it counts in.
const DEADLINE: &str = "devstack.deadline";

/// Share of the processor against others when there is not enough: half of what the engine, the node and a person have.
const CPU_SHARES: i64 = 512;
/// Memory for `/dev/shm`, in bytes: the engine's own default; browsers in tests need more and say so.
const SHM: i64 = 64 << 20;

/// What a container may use; everything is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Bytes, with no swap beyond.
    pub(super) memory: u64,
    /// Thousandths of a processor; `None`: all of them, by share.
    pub(super) cpu_millis: Option<u32>,
    /// Processes and threads.
    pub(super) pids: u32,
    /// Open files of a process.
    pub(super) files: u64,
    /// Bytes of one file.
    pub(super) file_size: u64,
    /// Bytes of `/tmp` and of HOME, each; counted as memory.
    pub(super) tmpfs: u64,
}

/// What a container is made for.
#[derive(Clone)]
pub(super) struct Wanted<'a> {
    pub(super) installation: &'a str,
    pub(super) attempt: &'a AttemptId,
    /// The node that runs it.
    pub(super) host: &'a str,
    /// Who takes its output.
    pub(super) log: &'a ContainerLog,
    /// The image's id.
    pub(super) image: &'a str,
    /// Never root.
    pub(super) user: User,
    /// `run` or `harvest`.
    pub(super) mode: &'static str,
    /// The attempt's directory on the host.
    pub(super) dir: &'a Path,
    pub(super) shim: &'a Path,
    pub(super) mirror: Option<&'a Path>,
    /// The directory with its secrets on the host.
    pub(super) secrets: Option<PathBuf>,
    /// `none`, or the name of our bridge.
    pub(super) network: String,
    pub(super) hostname: String,
    pub(super) bounds: Bounds,
    pub(super) deadline: String,
    /// The processors it may use; `None`: any.
    pub(super) cpuset: Option<String>,
    /// Between the engine's SIGTERM and SIGKILL when it stops the container itself, in seconds.
    pub(super) stop_after_s: i64,
}

/// The container of an attempt. Deterministic, so that one that was made and not answered for is found again. No name
/// of ours holds a dot.
pub(super) fn name(installation: &str, attempt: &AttemptId) -> String {
    format!("devstack.{installation}.{}.{}.{}", attempt.task.project, attempt.task.id, attempt.number)
}

/// The container that harvests an attempt again.
pub(super) fn harvest_name(installation: &str, attempt: &AttemptId) -> String {
    format!("{}.harvest", name(installation, attempt))
}

/// The label that all containers of an installation have, as a filter.
pub(super) fn ours(installation: &str) -> Vec<String> {
    vec![format!("{INSTALLATION}={installation}")]
}

fn labels(wanted: &Wanted<'_>) -> HashMap<String, String> {
    let task = &wanted.attempt.task;
    HashMap::from(
        [
            (INSTALLATION, wanted.installation.to_owned()),
            (PROJECT, task.project.to_string()),
            (TASK, task.id.to_string()),
            (ATTEMPT, wanted.attempt.number.to_string()),
            (HOST, wanted.host.to_owned()),
            (TRACE, trace_id(task.project.as_str(), task.id.as_str())),
            (DEADLINE, wanted.deadline.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )
}

/// Which attempt a container with these labels belongs to; `None`: it is not ours.
pub(super) fn attempt_of(labels: &HashMap<String, String>, installation: &str) -> Option<AttemptId> {
    if labels.get(INSTALLATION)? != installation {
        return None;
    }
    let task =
        TaskRef { project: ProjectName::new(labels.get(PROJECT)?).ok()?, id: TaskId::new(labels.get(TASK)?).ok()? };
    Some(AttemptId { task, number: labels.get(ATTEMPT)?.parse().ok()? })
}

/// The order for the engine.
pub(super) fn body(wanted: &Wanted<'_>) -> ContainerCreateBody {
    let User { uid, gid } = wanted.user;
    let spec = Path::new(DIR).join(layout::SPEC).to_string_lossy().into_owned();
    ContainerCreateBody {
        hostname: Some(wanted.hostname.clone()),
        user: Some(format!("{uid}:{gid}")),
        // Nothing of the image's own: its entrypoint, health check and volumes are not asked for.
        entrypoint: Some(vec![SHIM.to_owned()]),
        cmd: Some(vec![wanted.mode.to_owned(), spec]),
        env: Some(Vec::new()),
        healthcheck: Some(bollard::models::HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
        working_dir: Some("/".to_owned()),
        image: Some(wanted.image.to_owned()),
        labels: Some(labels(wanted)),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: Some(wanted.stop_after_s),
        host_config: Some(host_config(wanted)),
        ..Default::default()
    }
}

fn host_config(wanted: &Wanted<'_>) -> HostConfig {
    let Bounds { memory, cpu_millis, pids, files, file_size, tmpfs } = wanted.bounds;
    let User { uid, gid } = wanted.user;
    let limit = |name: &str, value: u64| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(number(value)),
        hard: Some(number(value)),
    };
    let tmpfs = format!("rw,nosuid,nodev,exec,size={tmpfs},mode=0700,uid={uid},gid={gid}");
    HostConfig {
        mounts: Some(mounts(wanted)),
        tmpfs: Some(HashMap::from([TMP, HOME].map(|path| (path.to_owned(), tmpfs.clone())))),
        network_mode: Some(wanted.network.clone()),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges:true".to_owned(), seccomp::for_docker().to_owned()]),
        privileged: Some(false),
        // The shim is PID 1 and reaps: an init of the engine's would be a process that the agent can end.
        init: Some(false),
        ipc_mode: Some("private".to_owned()),
        memory: Some(number(memory)),
        memory_swap: Some(number(memory)),
        cpu_shares: Some(CPU_SHARES),
        cpuset_cpus: wanted.cpuset.clone(),
        nano_cpus: cpu_millis.map(|millis| i64::from(millis) * 1_000_000),
        pids_limit: Some(i64::from(pids)),
        ulimits: Some(vec![limit("nofile", files), limit("fsize", file_size), limit("core", 0)]),
        shm_size: Some(SHM),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        auto_remove: Some(false),
        log_config: Some(logging::config(wanted.log, wanted.attempt, wanted.host)),
        ..Default::default()
    }
}

fn mounts(wanted: &Wanted<'_>) -> Vec<Mount> {
    let inside = |name: &str| format!("{DIR}/{name}");
    let mut mounts = vec![
        bind(wanted.dir, DIR.to_owned(), true),
        bind(&wanted.dir.join(layout::OUT), inside(layout::OUT), false),
        bind(&wanted.dir.join(layout::SHIM), inside(layout::SHIM), false),
        bind(&wanted.dir.join(layout::WORKSPACE), WORKSPACE.to_owned(), false),
        bind(wanted.shim, SHIM.to_owned(), true),
    ];
    mounts.extend(wanted.mirror.map(|mirror| bind(mirror, MIRROR.to_owned(), true)));
    mounts.extend(wanted.secrets.as_deref().map(|secrets| bind(secrets, SECRETS.to_owned(), true)));
    mounts
}

fn bind(source: &Path, target: String, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The engine's numbers are signed.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
