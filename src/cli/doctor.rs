//! `doctor`: can this machine run devstack, and what is to be mended?
//! Deliberately absent: mending.

use std::{fs, path::Path, process::Command};

use nix::unistd::{AccessFlags, access, geteuid};
use serde::Serialize;

use super::{
    CliError, Exit, Workdir,
    commands::image::socket,
    engine_check,
    output::{Output, Paint},
    table::Table,
};
use crate::{
    config::{profile::Catalog, secrets::Secrets, units::format_size},
    gateway::dto::V1,
};

/// Less free space than this is refused, and less than ten times this is warned about: a small repository with its
/// workspaces takes about 100 MiB.
const DISK_NEEDED: u64 = 100 << 20;
/// The oldest git that has `merge-tree --write-tree`.
const GIT_NEEDED: (u32, u32) = (2, 38);
/// A clock before this (2025-01-01) was never set.
const CLOCK_NEEDED: u64 = 1_735_689_600;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub status: Health,
    /// What was found.
    pub message: String,
    /// What to do, if anything.
    pub hint: Option<String>,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Ok,
    /// It works, with less.
    Warning,
    /// devstack cannot work.
    Failed,
}

#[derive(Serialize)]
struct Report {
    #[serde(rename = "apiVersion")]
    api_version: V1,
    checks: Vec<Check>,
    profiles: Vec<Known>,
}

/// A profile that a plan here can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Was the real agent run with it by devstack's own tests?
    pub tested: bool,
    /// Its file, or `shipped`.
    pub origin: String,
}

pub(super) async fn run(output: &Output) -> Result<Exit, CliError> {
    let here = std::env::current_dir()?;
    let mut checks = examine(&here);
    checks.extend(engine_check::examine(&socket()).await);
    let exit = if checks.iter().any(|check| check.status == Health::Failed) { Exit::Failure } else { Exit::Ok };
    if output.for_people() {
        let mut table = Table::new(&["CHECK", "STATE", "FOUND", "MEND"]);
        for check in &checks {
            let (word, paint) = match check.status {
                Health::Ok => ("ok", Paint::Green),
                Health::Warning => ("warning", Paint::Yellow),
                Health::Failed => ("failed", Paint::Red),
            };
            table.row([check.name, word, &check.message, check.hint.as_deref().unwrap_or_default()]);
            table.paint(1, paint);
        }
        output.data(&table.render(output));
    } else {
        let report = Report { api_version: V1, checks, profiles: known_profiles(&here).0 };
        output.data(&serde_json::to_string(&report).map_err(|e| CliError::failure(e.to_string()))?);
    }
    Ok(exit)
}

/// Looks at everything but containers, from a directory.
fn examine(here: &Path) -> Vec<Check> {
    let state = Workdir::find(here).map_or_else(|| here.to_owned(), |dir| dir.path().to_owned());
    let limits = cgroup(Path::new("/sys/fs/cgroup"), geteuid().is_root());
    vec![
        git(),
        sandbox(),
        disk(&state),
        writable(&state),
        secrets(here),
        profiles(here),
        clock(),
        kernel(),
        limits,
        user(),
    ]
}

pub(super) fn check(name: &'static str, status: Health, message: impl Into<String>, hint: Option<&str>) -> Check {
    Check { name, status, message: message.into(), hint: hint.map(str::to_owned) }
}

fn git() -> Check {
    let mend = "install git 2.38 or newer; on Debian and Ubuntu: apt-get install git";
    let Ok(out) = Command::new("git").arg("--version").output() else {
        return check("git", Health::Failed, "git is not installed", Some(mend));
    };
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    match git_version(&text) {
        Some(version) if version >= GIT_NEEDED => check("git", Health::Ok, text, None),
        _ => check(
            "git",
            Health::Failed,
            format!("`{text}` is too old: plans with a repository cannot merge"),
            Some(mend),
        ),
    }
}

/// `git version 2.47.3` → (2, 47).
fn git_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("git version ")?.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn sandbox() -> Check {
    let mend = "install bubblewrap (apt-get install bubblewrap) and allow unprivileged user namespaces";
    let tried =
        Command::new("bwrap").args(["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "true"]).output();
    match tried {
        Ok(out) if out.status.success() => check("sandbox", Health::Ok, "bwrap holds", None),
        Ok(out) => {
            let why = String::from_utf8_lossy(&out.stderr).lines().next().unwrap_or_default().to_owned();
            check(
                "sandbox",
                Health::Warning,
                format!("bwrap does not hold ({why}): attempts are unsandboxed"),
                Some(mend),
            )
        }
        Err(_) => check("sandbox", Health::Warning, "bwrap is not installed: attempts are unsandboxed", Some(mend)),
    }
}

fn disk(dir: &Path) -> Check {
    match nix::sys::statvfs::statvfs(dir) {
        Ok(stat) => {
            let free = stat.blocks_available().saturating_mul(stat.fragment_size());
            let message = format!("{} free in {}", format_size(free >> 20 << 20), dir.display());
            let (status, hint) = match free {
                _ if free < DISK_NEEDED => (Health::Failed, Some("make room: a full disk stops the node")),
                _ if free < 10 * DISK_NEEDED => (Health::Warning, Some("make room: a full disk stops the node")),
                _ => (Health::Ok, None),
            };
            check("disk", status, message, hint)
        }
        Err(e) => {
            check("disk", Health::Failed, format!("{}: {e}", dir.display()), Some("go to a directory that is there"))
        }
    }
}

fn writable(dir: &Path) -> Check {
    let probe = dir.join(format!(".devstack-doctor-{}", std::process::id()));
    let written = fs::write(&probe, b"x").and_then(|()| fs::remove_file(&probe));
    match written {
        Ok(()) => check("state", Health::Ok, format!("{} is writable", dir.display()), None),
        Err(e) => {
            let hint = "own the directory, or go to one that you own";
            check("state", Health::Failed, format!("{} is not writable: {e}", dir.display()), Some(hint))
        }
    }
}

fn secrets(dir: &Path) -> Check {
    match Secrets::load(&dir.join(".env")) {
        Ok(secrets) if secrets.names().is_empty() => check("secrets", Health::Ok, "no secrets here", None),
        Ok(secrets) => check("secrets", Health::Ok, secrets.names().join(", "), None),
        // The message says what to do.
        Err(e) => check("secrets", Health::Failed, e.to_string(), None),
    }
}

/// The profiles that a plan in this directory finds, and what is wrong with those that it cannot use.
pub fn known_profiles(dir: &Path) -> (Vec<Known>, Vec<String>) {
    let catalog = Catalog::beside(dir);
    let (mut known, mut wrong) = (Vec::new(), Vec::new());
    for name in catalog.names() {
        match catalog.find(&name) {
            Ok(Some(found)) => known.push(Known { name, tested: found.tested, origin: found.origin }),
            Ok(None) => {}
            Err(problems) => wrong.extend(problems.as_slice().first().map(ToString::to_string)),
        }
    }
    (known, wrong)
}

fn profiles(dir: &Path) -> Check {
    let (known, wrong) = known_profiles(dir);
    if let Some(wrong) = wrong.into_iter().next() {
        return check("profiles", Health::Warning, wrong, Some("mend the file, or take it away"));
    }
    let shown = |known: &Known| {
        let from = if known.origin == "shipped" { String::new() } else { format!(", {}", known.origin) };
        format!("{} ({}{from})", known.name, if known.tested { "tested" } else { "untested" })
    };
    check("profiles", Health::Ok, known.iter().map(shown).collect::<Vec<_>>().join(", "), None)
}

fn clock() -> Check {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if now >= CLOCK_NEEDED {
        return check("clock", Health::Ok, crate::gateway::dto::Time(now * 1000).to_string(), None);
    }
    check("clock", Health::Warning, "the clock is not set: times will be wrong", Some("start a time service"))
}

fn kernel() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= (5, 4) {
        return check("kernel", Health::Ok, format!("Linux {release} (pidfd)"), None);
    }
    check("kernel", Health::Failed, format!("Linux `{release}` has no pidfd_open"), Some("use Linux 5.4 or newer"))
}

/// What holds an attempt to the limits of its role: as the process runtime finds it, but making nothing.
fn cgroup(mount: &Path, root: bool) -> Check {
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

fn user() -> Check {
    let uid = geteuid();
    let message =
        if uid.is_root() { "root; attempts get a user of their own".to_owned() } else { format!("user {uid}") };
    check("user", Health::Ok, message, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_git_are_read() {
        assert_eq!(git_version("git version 2.47.3"), Some((2, 47)));
        assert_eq!(git_version("git version 2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(git_version("git version 3.0.rc1"), Some((3, 0)));
        assert_eq!(git_version("nonsense"), None);
    }

    #[test]
    fn an_exposed_env_file_fails_with_the_mend() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".env"), "A=1\n").unwrap();
        fs::set_permissions(dir.path().join(".env"), fs::Permissions::from_mode(0o644)).unwrap();
        let found = secrets(dir.path());
        assert_eq!(found.status, Health::Failed);
        assert!(found.message.contains("chmod 600"), "{}", found.message);
    }

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

    #[test]
    fn profiles_are_listed_with_what_was_proven() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join(".devstack/profiles");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("mine.toml"), "extends = \"claude-code\"\n").unwrap();
        let found = profiles(dir.path());
        assert_eq!(found.status, Health::Ok);
        for wanted in ["claude-code (tested)", "gemini (tested)", "aider (untested)", "mine (untested, "] {
            assert!(found.message.contains(wanted), "{}", found.message);
        }
        fs::write(own.join("mine.toml"), "comand = []\n").unwrap();
        let found = profiles(dir.path());
        assert!(found.status == Health::Warning && found.message.contains("mine.toml:1"), "{}", found.message);
    }

    #[test]
    fn a_directory_that_is_not_there_fails() {
        let gone = Path::new("/nonexistent/x");
        assert_eq!((disk(gone).status, writable(gone).status), (Health::Failed, Health::Failed));
    }
}
