//! A pool of directories from attempts that left nothing behind, reused for new attempts. An attempt's seven
//! directories cost more than its two processes (ext4 searches past recently freed inodes), and most plain commands
//! leave all of them empty. The files that the node wrote stay in them and are overwritten: that costs a third of a new
//! file.
//!
//! Deliberately absent: trust. A directory that an agent owned is reused only if it cannot be distinguished from a
//! fresh one: its type, owner, mode, attributes and emptiness are checked after everything of the attempt has ended.
//! And the shim's files: somebody may still follow the log, and an old exit record must never be taken for a new one.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use devstack_shim::{layout, spec::User};

use super::files;
use crate::identity;

/// The maximum number of pooled directories: as many as can start at once on a usual machine.
const MAX: usize = 8;

/// The directories of every attempt, with their modes; the agent owns them from the third on.
const DIRECTORIES: [(&str, u32); 6] = [
    (layout::IN, 0o755),
    (layout::SHIM, 0o700),
    (layout::OUT, 0o700),
    (layout::WORKSPACE, 0o700),
    (layout::HOME, 0o700),
    (layout::TMP, 0o700),
];

/// How many of [`DIRECTORIES`] the node owns.
const NODES_OWN: usize = 2;

/// Mode bits that no file of the node has: write for others, execute, setuid and setgid.
const OTHERS_MAY_WRITE: u32 = 0o7133;

/// Files that the node wrote, and overwrites. Their readers do not change.
const FILES: [&str; 3] = [layout::PROMPT, layout::TASK, layout::SPEC];

/// Empty directories of attempts.
pub(super) struct Spares {
    dir: PathBuf,
    user: Option<User>,
    free: Mutex<Vec<PathBuf>>,
    next: AtomicU64,
    /// Held while a directory is checked and moved, and during a claim.
    moving: Mutex<()>,
}

impl Spares {
    /// Keeps the pool in `dir`, on the file system of the attempts. Leftovers of an earlier process are deleted.
    pub(super) fn new(dir: PathBuf, user: Option<User>) -> io::Result<Self> {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        files::make_passable(&dir)?;
        Ok(Self { dir, user, free: Mutex::default(), next: AtomicU64::new(0), moving: Mutex::default() })
    }

    /// Overwrites a pooled directory and moves it to `place`; returns `false` if there is none, or if it is unusable.
    pub(super) fn put(&self, place: &Path, write_over: impl FnOnce(&Path) -> io::Result<()>) -> bool {
        let Some(spare) = self.free().pop() else { return false };
        // Moved only when complete: nobody sees another attempt's order in it.
        let put = write_over(&spare).and_then(|()| fs::rename(&spare, place));
        if put.is_err() {
            let _ = fs::remove_dir_all(&spare);
        }
        put.is_ok()
    }

    /// [`identity::claim`] for an attempt whose directory may be about to enter the pool: a claim between the last
    /// check and the move would prevent the next attempt from ever starting.
    pub(super) fn claim(&self, dir: &Path) -> io::Result<bool> {
        let _moving = self.moving();
        identity::claim(dir)
    }

    /// Keeps the directory of an attempt of which nothing runs any more. Returns `false` if it must be removed.
    pub(super) fn keep(&self, dir: &Path) -> bool {
        let _moving = self.moving();
        if self.free().len() >= MAX || !self.is_as_new(dir).unwrap_or(false) {
            return false;
        }
        let spare = self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let kept = fs::rename(dir, &spare).is_ok();
        if kept {
            self.free().push(spare);
        }
        kept
    }

    /// Removes them all.
    pub(super) fn clear(&self) {
        for spare in std::mem::take(&mut *self.free()) {
            if let Err(error) = fs::remove_dir_all(&spare) {
                tracing::warn!(%error, "cannot remove {}", spare.display());
            }
        }
    }

    /// Removes the shim's files; returns whether the rest is as the node made it.
    fn is_as_new(&self, dir: &Path) -> io::Result<bool> {
        for file in [layout::PID, layout::LOG, layout::EXIT] {
            match fs::remove_file(dir.join(file)) {
                // A non-empty log was moved away.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let own = |names: &[&str]| names.iter().map(OsString::from).collect::<Vec<_>>();
        let top = DIRECTORIES.map(|(name, _)| name).into_iter().chain([layout::SPEC]).collect::<Vec<_>>();
        if !holds(dir, own(&top))? {
            return Ok(false);
        }
        let node = nix::unistd::geteuid().as_raw();
        for (number, (name, mode)) in DIRECTORIES.into_iter().enumerate() {
            let path = dir.join(name);
            let found = fs::symlink_metadata(&path)?;
            let owner = self.user.filter(|_| number >= NODES_OWN).map_or(node, |user| user.uid);
            let plain = found.is_dir() && found.mode() & 0o7777 == mode && found.uid() == owner;
            let inside: &[&str] = if name == layout::IN { &["prompt.md", "task.json"] } else { &[] };
            if !plain || has_attributes(&path)? || !holds(&path, own(inside))? {
                return Ok(false);
            }
        }
        for file in FILES.map(|file| dir.join(file)) {
            let found = fs::symlink_metadata(&file)?;
            // A second hard link would be another place to read the next prompt.
            let plain = found.is_file() && found.nlink() == 1 && found.uid() == node;
            if !plain || found.mode() & OTHERS_MAY_WRITE != 0 || has_attributes(&file)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn moving(&self) -> MutexGuard<'_, ()> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the directory contains exactly these names.
fn holds(dir: &Path, mut names: Vec<OsString>) -> io::Result<bool> {
    let mut found = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    found.sort_unstable();
    names.sort_unstable();
    Ok(found == names)
}

/// Access lists and other attributes would pass from one attempt to the next.
fn has_attributes(path: &Path) -> io::Result<bool> {
    let mut names = [0u8; 256];
    match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => Ok(length > 0),
        Err(rustix::io::Errno::RANGE) => Ok(true),
        Err(rustix::io::Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{
        os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
        sync::{Barrier, atomic::AtomicBool},
    };

    use super::*;

    struct Place {
        root: tempfile::TempDir,
        spares: Spares,
    }

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let spares = Spares::new(root.path().join("spare"), None).unwrap();
            Self { root, spares }
        }

        /// An attempt that ended and left nothing.
        fn attempt(&self) -> PathBuf {
            let dir = self.root.path().join("p.t.1");
            for (name, mode) in DIRECTORIES {
                fs::create_dir_all(&dir).unwrap();
                fs::DirBuilder::new().mode(mode).create(dir.join(name)).unwrap();
            }
            for file in [layout::PROMPT, layout::TASK, layout::SPEC, layout::LOG, layout::EXIT] {
                fs::write(dir.join(file), "x").unwrap();
            }
            symlink("1 2 3", dir.join(layout::PID)).unwrap();
            dir
        }
    }

    #[test]
    fn what_is_as_new_is_used_again() {
        let place = Place::new();
        assert!(place.spares.keep(&place.attempt()));
        let next = place.root.path().join("p.u.1");
        assert!(place.spares.put(&next, |spare| fs::write(spare.join(layout::PROMPT), "y")));
        assert!(next.join(layout::WORKSPACE).is_dir());
        assert_eq!(fs::read_to_string(next.join(layout::PROMPT)).unwrap(), "y");
        assert_eq!(
            fs::read_dir(next.join(layout::SHIM)).unwrap().count(),
            0,
            "no log, claim or end of another attempt"
        );
        assert!(!place.spares.put(&place.root.path().join("p.v.1"), |_| Ok(())), "there was one");
        assert_eq!(fs::read_dir(place.root.path().join("spare")).unwrap().count(), 0);
    }

    #[test]
    fn none_is_left_where_room_is_short() {
        let place = Place::new();
        assert!(place.spares.keep(&place.attempt()));
        place.spares.clear();
        assert_eq!(fs::read_dir(place.root.path().join("spare")).unwrap().count(), 0);
        assert!(place.spares.keep(&place.attempt()), "the next one is kept again");
    }

    /// A restarted AgentHost checks everything while its predecessor's last removals are still running.
    #[test]
    fn no_claim_of_one_attempt_passes_to_the_next() {
        let place = Place::new();
        let next = place.root.path().join("p.u.1");
        for _ in 0..50 {
            let dir = place.attempt();
            let (together, kept) = (Barrier::new(2), AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    together.wait();
                    while !kept.load(Ordering::SeqCst) {
                        let _ = place.spares.claim(&dir);
                    }
                });
                together.wait();
                assert!(place.spares.keep(&dir) | kept.fetch_or(true, Ordering::SeqCst), "a claim came in between");
            });
            assert!(place.spares.put(&next, |_| Ok(())));
            assert!(!next.join(layout::PID).is_symlink(), "a claim of another attempt");
            fs::remove_dir_all(&next).unwrap();
        }
    }

    #[test]
    fn whatever_an_agent_left_or_changed_is_not() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 11] = [
            ("a file", |dir| fs::write(dir.join("workspace/left"), "x").unwrap()),
            ("a mode", |dir| fs::set_permissions(dir.join("home"), fs::Permissions::from_mode(0o777)).unwrap()),
            ("a sticky bit", |dir| fs::set_permissions(dir.join("tmp"), fs::Permissions::from_mode(0o1700)).unwrap()),
            ("another entry", |dir| fs::write(dir.join("more"), "x").unwrap()),
            ("another prompt", |dir| fs::write(dir.join("in/more"), "x").unwrap()),
            ("another file of the shim", |dir| fs::write(dir.join("shim/harvest.json"), "x").unwrap()),
            ("a second name", |dir| fs::hard_link(dir.join(layout::PROMPT), dir.with_file_name("second")).unwrap()),
            ("an order for all", |dir| {
                fs::set_permissions(dir.join(layout::SPEC), fs::Permissions::from_mode(0o666)).unwrap();
            }),
            ("a missing task", |dir| fs::remove_file(dir.join(layout::TASK)).unwrap()),
            ("a link", |dir| {
                fs::remove_dir(dir.join("out")).unwrap();
                symlink("/etc", dir.join("out")).unwrap();
            }),
            ("a missing directory", |dir| fs::remove_dir(dir.join("tmp")).unwrap()),
        ];
        for (what, change) in changes {
            let place = Place::new();
            let dir = place.attempt();
            change(&dir);
            assert!(!place.spares.keep(&dir), "{what}");
        }
    }

    #[test]
    fn an_attribute_is_noticed() {
        let place = Place::new();
        let dir = place.attempt();
        let set = rustix::fs::setxattr(dir.join("home"), "user.mark", b"x", rustix::fs::XattrFlags::empty());
        if set.is_err() {
            return eprintln!("SKIPPED: attributes of directories: the file system has none");
        }
        assert!(!place.spares.keep(&dir));
    }
}
