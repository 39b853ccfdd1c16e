//! The container of an attempt, as data: names, labels, mounts, limits, and every privilege that is taken away from the
//! agent. Pure.
//!
//! Deliberately absent: talking to the engine, and trusting it (`hardening` reads back what is in force).

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
use crate::{files::CONTAINER_DIR, seccomp};
use devstack_config::node::ContainerLog;
use devstack_telemetry::trace_id;

/// The attempt's directory inside the container, read-only except `out` and `shim`.
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
/// The objects that the workspace borrows.
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
/// Label: the attempt's deadline, as CLOCK_BOOTTIME in milliseconds, and the boot of that clock.
const DEADLINE: &str = "devstack.deadline";

/// Processor share under contention: half of the share of the engine, the node and users.
const CPU_SHARES: i64 = 512;
/// Memory for `/dev/shm`, in bytes: the engine's own default; tests with browsers need more and set it.
const SHM: i64 = 64 << 20;

/// Limits of a container; all are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Memory in bytes, without additional swap.
    pub(super) memory: u64,
    /// Thousandths of a processor; `None`: all processors, by share.
    pub(super) cpu_millis: Option<u32>,
    /// Processes and threads.
    pub(super) pids: u32,
    /// Open files of a process.
    pub(super) files: u64,
    /// Bytes of one file.
    pub(super) file_size: u64,
    /// Size of `/tmp` and of HOME in bytes, each; counted as memory.
    pub(super) tmpfs: u64,
}

/// The parameters of a container.
#[derive(Clone)]
pub(super) struct Wanted<'a> {
    pub(super) installation: &'a str,
    pub(super) attempt: &'a AttemptId,
    /// The node that runs the container.
    pub(super) host: &'a str,
    /// Where its output goes.
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
    /// The processors that it may use; `None`: any.
    pub(super) cpuset: Option<String>,
    /// Time between the engine's SIGTERM and SIGKILL when it stops the container itself, in seconds.
    pub(super) stop_after_s: i64,
}

/// The name of an attempt's container. Deterministic, so that a container is found again if its creation got no answer.
/// Our names contain no dot.
pub(super) fn name(installation: &str, attempt: &AttemptId) -> String {
    format!("devstack.{installation}.{}.{}.{}", attempt.task.project, attempt.task.id, attempt.number)
}

/// The name of the container that repeats an attempt's harvest.
pub(super) fn harvest_name(installation: &str, attempt: &AttemptId) -> String {
    format!("{}.harvest", name(installation, attempt))
}

/// The label of all containers of an installation, as a filter.
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

/// The attempt of a container with these labels; `None` if the container is not ours.
pub(super) fn attempt_of(labels: &HashMap<String, String>, installation: &str) -> Option<AttemptId> {
    if labels.get(INSTALLATION)? != installation {
        return None;
    }
    let task =
        TaskRef { project: ProjectName::new(labels.get(PROJECT)?).ok()?, id: TaskId::new(labels.get(TASK)?).ok()? };
    Some(AttemptId { task, number: labels.get(ATTEMPT)?.parse().ok()? })
}

/// The request body for the engine.
pub(super) fn body(wanted: &Wanted<'_>) -> ContainerCreateBody {
    let User { uid, gid } = wanted.user;
    let spec = Path::new(DIR).join(layout::SPEC).to_string_lossy().into_owned();
    ContainerCreateBody {
        hostname: Some(wanted.hostname.clone()),
        user: Some(format!("{uid}:{gid}")),
        // Nothing of the image is used: not its entrypoint, health check or volumes.
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
        // The shim is PID 1 and reaps: an init from the engine would be a process that the agent can end.
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
