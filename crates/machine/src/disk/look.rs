//! Checks the file systems and keeps the last result. Deliberately absent: the decision when to check.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::sys::statvfs::statvfs;

use super::{Level, Reserve, Room};

impl Room {
    /// Reads the state of a directory's file system.
    ///
    /// # Errors
    /// The file system does not answer.
    #[allow(clippy::unnecessary_cast, reason = "the types differ between C libraries")]
    pub fn of(dir: &Path) -> io::Result<Self> {
        let disk = statvfs(dir)?;
        let unit = disk.fragment_size() as u64;
        Ok(Self {
            size: (disk.blocks() as u64).saturating_mul(unit),
            free: (disk.blocks_available() as u64).saturating_mul(unit),
            files: disk.files() as u64,
            free_files: disk.files_available() as u64,
        })
    }
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The level of the worst directory.
    pub level: Level,
    /// A message about the worst directory; empty while there is enough room.
    pub why: Arc<str>,
}

impl Seen {
    /// The result when nothing is short.
    pub fn enough() -> Self {
        Self { level: Level::Enough, why: Arc::from("") }
    }

    /// Why no new attempt may start; `None` if attempts may start.
    pub fn refusal(&self) -> Option<&str> {
        (self.level > Level::Enough).then_some(&*self.why)
    }
}

/// Directories that must not become full, each with its file system.
#[derive(Debug)]
pub struct Disk {
    dirs: Vec<PathBuf>,
    reserve: Reserve,
    /// The last level.
    level: Mutex<Level>,
}

impl Disk {
    /// Watches these directories; the first one is measured for metrics. Does not check yet.
    pub fn new(dirs: Vec<PathBuf>, reserve: Reserve) -> Self {
        Self { dirs, reserve, level: Mutex::new(Level::Enough) }
    }

    /// Checks now. Blocks as long as the file systems do.
    pub fn look(&self) -> Seen {
        self.look_after(|| {})
    }

    /// Checks now; if room is short, calls `make_room` and checks again.
    pub fn look_after(&self, make_room: impl FnOnce()) -> Seen {
        let before = *self.level();
        let mut seen = self.measure(before);
        if seen.level > Level::Enough {
            make_room();
            seen = self.measure(before);
        }
        if std::mem::replace(&mut *self.level(), seen.level) != seen.level {
            match seen.refusal() {
                Some(why) => tracing::warn!(level = ?seen.level, "{why}"),
                None => tracing::info!("the disk has enough free space again"),
            }
        }
        seen
    }

    /// Measures the worst directory. A file system that does not answer is not a reason to stop: a write to it will
    /// report the error.
    fn measure(&self, before: Level) -> Seen {
        let mut worst = Seen::enough();
        for dir in &self.dirs {
            let Ok(room) = Room::of(dir) else { continue };
            let level = self.reserve.level(&room, before);
            if level > worst.level {
                let why = format!("the disk of {} is nearly full: {}", dir.display(), self.reserve.describe(&room));
                worst = Seen { level, why: why.into() };
            }
        }
        worst
    }

    /// Checks whether there is room for `bytes` more bytes, with 1/`part` of the reserve (2: half of it) left free.
    /// Blocks.
    ///
    /// # Errors
    /// There is not enough room; a message for users.
    pub fn room_for(&self, bytes: u64, part: u64) -> Result<(), String> {
        for dir in &self.dirs {
            let Ok(room) = Room::of(dir) else { continue };
            if self.reserve.lacks(&room, bytes, part) {
                return Err(format!("the disk of {} is too full: {}", dir.display(), self.reserve.describe(&room)));
            }
        }
        Ok(())
    }

    /// The free room of the first directory and its level, for metrics. Blocks.
    pub fn standing(&self) -> Option<(Room, Level)> {
        let room = Room::of(self.dirs.first()?).ok()?;
        Some((room, self.reserve.level(&room, Level::Enough)))
    }

    fn level(&self) -> MutexGuard<'_, Level> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use devstack_config::units::parse_reserve;

    #[test]
    fn this_disk_has_room_unless_all_of_it_is_kept_free() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = vec![PathBuf::from("/nonexistent"), dir.path().to_owned()];
        let of = |text: &str| {
            let mut cleared = 0;
            let seen = Disk::new(dirs.clone(), Reserve::new(parse_reserve(text).unwrap())).look_after(|| cleared += 1);
            assert_eq!(cleared == 1, seen.level > Level::Enough, "caches go where room is short, and only there");
            seen
        };
        assert_eq!(of("1B"), Seen::enough());
        let full = of("1000000TiB");
        assert_eq!(full.level, Level::Scarce);
        assert!(full.refusal().unwrap().contains(dir.path().to_str().unwrap()), "{full:?}");
    }
}
