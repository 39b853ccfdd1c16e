//! What every node needs from a machine: git, a kernel, and a sandbox for agents.

use std::{fs, process::Command};

use nix::unistd::geteuid;

use super::{Check, Health, check};

/// The oldest git that has `merge-tree --write-tree`.
const GIT_NEEDED: (u32, u32) = (2, 38);
/// The oldest Linux with full support for pidfds.
const LINUX_NEEDED: (u32, u32) = (5, 4);

pub(super) fn examine() -> Vec<Check> {
    vec![git(), sandbox(), kernel(), user()]
}

fn git() -> Check {
    let fix = "install git 2.38 or newer; on Debian and Ubuntu: apt-get install git";
    let Ok(out) = Command::new("git").arg("--version").output() else {
        return check("git", Health::Failed, "git is not installed", Some(fix));
    };
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    match git_version(&text) {
        Some(version) if version >= GIT_NEEDED => check("git", Health::Ok, text, None),
        _ => check(
            "git",
            Health::Failed,
            format!("`{text}` is too old: plans with a repository cannot merge"),
            Some(fix),
        ),
    }
}

/// `git version 2.47.3` → (2, 47).
fn git_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("git version ")?.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn sandbox() -> Check {
    let fix = "install bubblewrap (apt-get install bubblewrap) and allow unprivileged user namespaces";
    let tried =
        Command::new("bwrap").args(["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "true"]).output();
    match tried {
        Ok(out) if out.status.success() => check("sandbox", Health::Ok, "bubblewrap sandbox works", None),
        Ok(out) => {
            let why = String::from_utf8_lossy(&out.stderr).lines().next().unwrap_or_default().to_owned();
            check(
                "sandbox",
                Health::Warning,
                format!("bubblewrap sandbox does not work ({why}): attempts are unsandboxed"),
                Some(fix),
            )
        }
        Err(_) => check("sandbox", Health::Warning, "bubblewrap is not installed: attempts are unsandboxed", Some(fix)),
    }
}

fn kernel() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    if linux_version(&release) >= LINUX_NEEDED {
        return check("kernel", Health::Ok, format!("Linux {release} (pidfd)"), None);
    }
    check("kernel", Health::Failed, format!("Linux `{release}` has no pidfd_open"), Some("use Linux 5.4 or newer"))
}

fn user() -> Check {
    let uid = geteuid();
    let message =
        if uid.is_root() { "root; attempts run as a separate user".to_owned() } else { format!("user {uid}") };
    check("user", Health::Ok, message, None)
}

/// `5.4.0-42-generic` → (5, 4).
fn linux_version(release: &str) -> (u32, u32) {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
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
    fn versions_of_linux_are_read() {
        assert_eq!(linux_version("6.18.0-42-generic"), (6, 18));
        assert_eq!(linux_version("5.4"), (5, 4));
        assert_eq!(linux_version("nonsense"), (0, 0));
    }
}
