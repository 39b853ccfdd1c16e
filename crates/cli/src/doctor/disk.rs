//! The state directory: whether there is free space, and whether it is writable.

use std::{fs, path::Path};

use super::{Check, Health, check};
use devstack_machine::disk::{Level, Reserve, Room};

/// `reserve` is the setting `disk_reserve`.
pub(super) fn examine(dir: &Path, reserve: u64) -> Vec<Check> {
    vec![free(dir, Reserve::new(reserve)), writable(dir)]
}

fn free(dir: &Path, reserve: Reserve) -> Check {
    match Room::of(dir) {
        Ok(room) => judge(dir, reserve, &room),
        Err(e) => check(
            "disk",
            Health::Failed,
            format!("{}: {e}", dir.display()),
            Some("run the command in an existing directory"),
        ),
    }
}

fn judge(dir: &Path, reserve: Reserve, room: &Room) -> Check {
    let (status, hint) = match reserve.level(room, Level::Enough) {
        Level::Enough => (Health::Ok, None),
        Level::Low => (Health::Warning, Some("free some space: until then this machine starts no new attempt")),
        Level::Scarce => {
            (Health::Failed, Some("free some space: until then no attempt starts, and plans and uploads are refused"))
        }
    };
    check("disk", status, format!("in {}, {}", dir.display(), reserve.describe(room)), hint)
}

fn writable(dir: &Path) -> Check {
    let probe = dir.join(format!(".devstack-doctor-{}", std::process::id()));
    let written = fs::write(&probe, b"x").and_then(|()| fs::remove_file(&probe));
    match written {
        Ok(()) => check("state", Health::Ok, format!("{} is writable", dir.display()), None),
        Err(e) => {
            let hint = "make the directory yours, or run the command in a directory that you own";
            check("state", Health::Failed, format!("{} is not writable: {e}", dir.display()), Some(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_fails() {
        assert!(examine(Path::new("/nonexistent/x"), 0).iter().all(|check| check.status == Health::Failed));
    }

    #[test]
    fn below_the_reserve_warns_and_below_half_of_it_fails() {
        let of = |free, free_files| {
            let room = Room { size: 1 << 40, free, files: 1000, free_files };
            judge(Path::new("/x"), Reserve::new(1000), &room).status
        };
        assert_eq!([of(1000, 900), of(999, 900), of(499, 900)], [Health::Ok, Health::Warning, Health::Failed]);
        assert_eq!([of(1000, 49), of(1000, 24)], [Health::Warning, Health::Failed], "inodes, too");
    }
}
