//! Reads back the container that the engine made and lists what is not in force: an old engine silently ignores a field
//! that it does not know. Pure.
//!
//! Deliberately absent: the consequence. The caller refuses the attempt.

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig, Mount, ResourcesUlimits};

/// What was requested and is not in force; empty if everything is.
pub(super) fn missing(asked: &ContainerCreateBody, made: &ContainerInspectResponse) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let config = made.config.clone().unwrap_or_default();
    must(config.user == asked.user, "the user");
    must(config.entrypoint == asked.entrypoint && config.cmd == asked.cmd, "the command");
    let (Some(want), Some(have)) = (&asked.host_config, &made.host_config) else {
        wrong.push("everything: the engine reports no host configuration".to_owned());
        return wrong;
    };
    must(have.readonly_rootfs == Some(true), "the read-only root");
    must(have.privileged != Some(true), "the unprivileged mode");
    must(drops_all(have), "the dropped capabilities");
    must(have.cap_add.as_ref().is_none_or(Vec::is_empty), "no added capability");
    must(no_new_privileges(have), "no-new-privileges");
    must(seccomp(have) == seccomp(want), "the system call filter (seccomp)");
    must(have.network_mode == want.network_mode, "the network");
    must(own(&have.pid_mode) && own(&have.uts_mode) && own(&have.userns_mode), "separate namespaces");
    must(have.ipc_mode == want.ipc_mode, "a private IPC namespace");
    must(have.devices.as_ref().is_none_or(Vec::is_empty), "no device");
    must(
        have.memory == want.memory && have.memory_swap.is_none_or(|swap| Some(swap) == want.memory),
        "the memory limit",
    );
    must(have.pids_limit == want.pids_limit, "the process limit");
    must(want.nano_cpus.is_none() || have.nano_cpus == want.nano_cpus, "the processor limit");
    must(covers(have.ulimits.as_deref(), want.ulimits.as_deref()), "the file limits");
    must(have.tmpfs == want.tmpfs, "the tmpfs of /tmp and home");
    must(same_mounts(have.mounts.as_deref(), want.mounts.as_deref()), "the mounts");
    must(have.binds.as_ref().is_none_or(Vec::is_empty), "no other mount");
    wrong
}

fn drops_all(have: &HostConfig) -> bool {
    have.cap_drop.iter().flatten().any(|cap| cap.eq_ignore_ascii_case("ALL") || cap.eq_ignore_ascii_case("CAP_ALL"))
}

fn no_new_privileges(have: &HostConfig) -> bool {
    have.security_opt.iter().flatten().any(|opt| matches!(opt.as_str(), "no-new-privileges" | "no-new-privileges:true"))
}

/// All seccomp options: exactly one profile, ours, and nothing that replaces it.
fn seccomp(config: &HostConfig) -> Vec<&str> {
    config.security_opt.iter().flatten().map(String::as_str).filter(|opt| opt.starts_with("seccomp")).collect()
}

fn own(mode: &Option<String>) -> bool {
    mode.as_deref().is_none_or(|mode| mode.is_empty() || mode == "private")
}

fn covers(have: Option<&[ResourcesUlimits]>, want: Option<&[ResourcesUlimits]>) -> bool {
    want.unwrap_or_default().iter().all(|limit| have.unwrap_or_default().contains(limit))
}

fn same_mounts(have: Option<&[Mount]>, want: Option<&[Mount]>) -> bool {
    let key = |mount: &Mount| (mount.source.clone(), mount.target.clone(), mount.read_only.unwrap_or(false));
    let list = |mounts: Option<&[Mount]>| {
        let mut keys: Vec<_> = mounts.unwrap_or_default().iter().map(key).collect();
        keys.sort();
        keys
    };
    list(have) == list(want)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::path::Path;

    use bollard::models::ContainerConfig;
    use devstack_dag::ids::{AttemptId, ProjectName, TaskId, TaskRef};
    use devstack_shim::spec::User;

    use super::*;
    use crate::docker::container::{self, Bounds, Wanted};
    use devstack_config::node::ContainerLog;

    fn asked() -> ContainerCreateBody {
        let task = TaskRef { project: ProjectName::new("p").unwrap(), id: TaskId::new("t").unwrap() };
        container::body(&Wanted {
            installation: "i",
            attempt: &AttemptId { task, number: 1 },
            host: "h",
            log: &ContainerLog::default(),
            image: "sha256:0",
            user: User { uid: 10_001, gid: 10_001 },
            mode: "run",
            dir: Path::new("/d"),
            shim: Path::new("/s"),
            mirror: None,
            secrets: None,
            network: "none".into(),
            hostname: "dev1".into(),
            bounds: Bounds { memory: 1, cpu_millis: Some(500), pids: 2, files: 3, file_size: 4, tmpfs: 5 },
            deadline: String::new(),
            cpuset: None,
            stop_after_s: 1,
        })
    }

    fn made(asked: &ContainerCreateBody) -> ContainerInspectResponse {
        let config = ContainerConfig {
            user: asked.user.clone(),
            entrypoint: asked.entrypoint.clone(),
            cmd: asked.cmd.clone(),
            ..Default::default()
        };
        ContainerInspectResponse { config: Some(config), host_config: asked.host_config.clone(), ..Default::default() }
    }

    #[test]
    fn an_engine_that_does_as_asked_passes() {
        assert_eq!(missing(&asked(), &made(&asked())), Vec::<String>::new());
    }

    /// One lost protection.
    type Loss = fn(&mut HostConfig);

    #[test]
    fn every_protection_that_is_lost_is_named() {
        let losses: [(&str, Loss); 14] = [
            ("read-only root", |c| c.readonly_rootfs = None),
            ("unprivileged", |c| c.privileged = Some(true)),
            ("dropped capabilities", |c| c.cap_drop = None),
            ("no added capability", |c| c.cap_add = Some(vec!["SYS_ADMIN".into()])),
            ("no-new-privileges", |c| drop(c.security_opt.as_mut().unwrap().remove(0))),
            ("seccomp", |c| drop(c.security_opt.as_mut().unwrap().pop())),
            ("seccomp", |c| c.security_opt.as_mut().unwrap()[1] = "seccomp={}".into()),
            ("seccomp", |c| c.security_opt.as_mut().unwrap().push("seccomp=unconfined".into())),
            ("network", |c| c.network_mode = Some("host".into())),
            ("namespaces", |c| c.pid_mode = Some("host".into())),
            ("memory limit", |c| c.memory = None),
            ("process limit", |c| c.pids_limit = None),
            ("file limits", |c| c.ulimits = None),
            ("the mounts", |c| c.mounts.as_mut().unwrap()[0].read_only = Some(false)),
        ];
        for (what, lose) in losses {
            let mut container = made(&asked());
            lose(container.host_config.as_mut().unwrap());
            let wrong = missing(&asked(), &container);
            assert!(wrong.len() == 1 && wrong[0].contains(what), "{what}: {wrong:?}");
        }
    }
}
