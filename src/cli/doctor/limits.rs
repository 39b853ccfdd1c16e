//! What holds an attempt of the `process` runtime to the limits of its role.

use std::{fs, path::Path};

use nix::unistd::{AccessFlags, access};

use super::{Check, Health, check};

/// What holds an attempt to the limits of its role: as the process runtime finds it, but making nothing.
pub(super) fn cgroup(mount: &Path, root: bool) -> Check {
    const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
    const WITHOUT: &str = "memory is limited for each process alone (rlimit), processor time is not limited";
    let warn = |message, mend| check("cgroup", Health::Warning, message, Some(mend));
    if !root {
        let mend = "run the node as root where the limits of a role matter";
        return warn(format!("not root, so no cgroups: {WITHOUT}, nor is the number of processes"), mend);
    }
    let writable = |dir: &Path| access(dir, AccessFlags::W_OK).is_ok();
    let two = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    if CONTROLLERS.iter().all(|name| two.split_whitespace().any(|word| word == *name)) && writable(mount) {
        return check("cgroup", Health::Ok, "version 2 holds memory, cpu and pids", None);
    }
    let one = |name: &&str| mount.join(name).join("cgroup.procs").exists() && writable(&mount.join(name));
    let (held, missing): (Vec<&str>, Vec<&str>) = CONTROLLERS.into_iter().partition(one);
    let mend = "give the node a cgroup tree of version 2 that it may write, with memory, cpu and pids";
    match (held.as_slice(), missing.as_slice()) {
        (_, []) => check("cgroup", Health::Ok, "version 1 holds memory, cpu and pids", None),
        ([], _) => warn(format!("no cgroup tree that can be written: {WITHOUT}"), mend),
        _ => warn(format!("version 1 holds {}, not {}", held.join(" and "), missing.join(" and ")), mend),
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
        assert!(found.status == Health::Warning && found.message.contains("for each process alone"), "{found:?}");
        make("memory/cgroup.procs", "");
        make("cpu/cgroup.procs", "");
        assert_eq!(said(true).message, "version 1 holds memory and cpu, not pids");
        make("pids/cgroup.procs", "");
        assert_eq!(
            (said(true).status, said(true).message),
            (Health::Ok, "version 1 holds memory, cpu and pids".into())
        );
        make("cgroup.controllers", "cpuset cpu io\n");
        assert_eq!(said(true).message, "version 1 holds memory, cpu and pids");
        make("cgroup.controllers", "cpuset cpu io memory pids\n");
        assert_eq!(said(true).message, "version 2 holds memory, cpu and pids");
        // Cgroups are only used where the node is root.
        assert!(said(false).status == Health::Warning && said(false).message.starts_with("not root"));
    }
}
