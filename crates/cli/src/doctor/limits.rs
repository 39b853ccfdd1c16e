//! What enforces the limits of a role on attempts of the `process` runtime.

use std::{fs, path::Path};

use nix::unistd::{AccessFlags, access};

use super::{Check, Health, check};

/// Checks cgroups in the same way as the process runtime, but creates nothing.
pub(super) fn cgroup(mount: &Path, root: bool) -> Check {
    const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
    const WITHOUT: &str = "memory is limited only per process (rlimit), processor time is not limited";
    let warn = |message, fix| check("cgroup", Health::Warning, message, Some(fix));
    if !root {
        let fix = "run the node as root if the limits of roles matter";
        return warn(format!("not root, so no cgroups: {WITHOUT}, nor is the number of processes"), fix);
    }
    let writable = |dir: &Path| access(dir, AccessFlags::W_OK).is_ok();
    let two = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    if CONTROLLERS.iter().all(|name| two.split_whitespace().any(|word| word == *name)) && writable(mount) {
        return check("cgroup", Health::Ok, "version 2 limits memory, cpu and pids", None);
    }
    let one = |name: &&str| mount.join(name).join("cgroup.procs").exists() && writable(&mount.join(name));
    let (held, missing): (Vec<&str>, Vec<&str>) = CONTROLLERS.into_iter().partition(one);
    let fix = "give the node a writable cgroup tree of version 2 with the controllers memory, cpu and pids";
    match (held.as_slice(), missing.as_slice()) {
        (_, []) => check("cgroup", Health::Ok, "version 1 limits memory, cpu and pids", None),
        ([], _) => warn(format!("no writable cgroup tree: {WITHOUT}"), fix),
        _ => warn(format!("version 1 limits {}, not {}", held.join(" and "), missing.join(" and ")), fix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_limits_an_attempt_is_said_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let said = |root| cgroup(dir.path(), root);
        let found = said(true);
        assert!(found.status == Health::Warning && found.message.contains("only per process"), "{found:?}");
        make("memory/cgroup.procs", "");
        make("cpu/cgroup.procs", "");
        assert_eq!(said(true).message, "version 1 limits memory and cpu, not pids");
        make("pids/cgroup.procs", "");
        assert_eq!(
            (said(true).status, said(true).message),
            (Health::Ok, "version 1 limits memory, cpu and pids".into())
        );
        make("cgroup.controllers", "cpuset cpu io\n");
        assert_eq!(said(true).message, "version 1 limits memory, cpu and pids");
        make("cgroup.controllers", "cpuset cpu io memory pids\n");
        assert_eq!(said(true).message, "version 2 limits memory, cpu and pids");
        // Only root uses cgroups.
        assert!(said(false).status == Health::Warning && said(false).message.starts_with("not root"));
    }
}
