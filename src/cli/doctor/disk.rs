//! The state directory: is there room, and may it be written?

use std::{fs, path::Path};

use super::{Check, Health, check};
use crate::config::units::format_size;

/// Less free space than this is refused, and less than ten times this is warned about: a small repository with its
/// workspaces takes about 100 MiB.
const NEEDED: u64 = 100 << 20;
const MEND: &str = "make room: a full disk stops the node";

pub(super) fn examine(dir: &Path) -> Vec<Check> {
    vec![free(dir), writable(dir)]
}

fn free(dir: &Path) -> Check {
    match nix::sys::statvfs::statvfs(dir) {
        Ok(stat) => judge(dir, stat.blocks_available().saturating_mul(stat.fragment_size())),
        Err(e) => {
            check("disk", Health::Failed, format!("{}: {e}", dir.display()), Some("go to a directory that is there"))
        }
    }
}

fn judge(dir: &Path, free: u64) -> Check {
    let message = format!("{} free in {}", format_size(free >> 20 << 20), dir.display());
    let (status, hint) = match free {
        _ if free < NEEDED => (Health::Failed, Some(MEND)),
        _ if free < 10 * NEEDED => (Health::Warning, Some(MEND)),
        _ => (Health::Ok, None),
    };
    check("disk", status, message, hint)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_fails() {
        assert!(examine(Path::new("/nonexistent/x")).iter().all(|check| check.status == Health::Failed));
    }

    #[test]
    fn little_room_warns_and_none_fails() {
        let of = |free| judge(Path::new("/x"), free).status;
        assert_eq!(
            [of(0), of(NEEDED - 1), of(NEEDED), of(10 * NEEDED - 1), of(10 * NEEDED)],
            [Health::Failed, Health::Failed, Health::Warning, Health::Warning, Health::Ok]
        );
    }
}
