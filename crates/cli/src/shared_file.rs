//! A file with several concurrent writers. We replace it atomically by exchanging names, and then inspect the displaced
//! file: a writer that wrote in between loses nothing.
//!
//! Writers that read, change and write should hold a lock (`flock`) on `FILE.lock` meanwhile; we do. A writer without
//! the lock can lose changes of others, but not because of us.
//! Deliberately absent: the meaning of the content, and how two versions are merged.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tokio::sync::mpsc;

use super::files;

/// Part of the names of displaced files.
const DISPLACED: &str = "displaced";

/// A file with several writers.
#[derive(Debug, Clone)]
pub(super) struct SharedFile {
    path: PathBuf,
}

/// The content that a replacement displaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Replaced {
    /// The expected content.
    Expected,
    /// Content that another writer wrote meanwhile. It is kept at this path until [`SharedFile::forget`].
    Other(PathBuf),
}

impl SharedFile {
    /// The file at a path, which may be a symbolic link. Its directory must exist.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
        let path = match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => files::directory(path).canonicalize()?.join(name),
            found => found?,
        };
        Ok(Self { path })
    }

    /// The content, at most `max` bytes; `None`: the file does not exist.
    pub(super) fn read(&self, max: u64) -> io::Result<Option<Vec<u8>>> {
        read(&self.path, max)
    }

    /// Waits for the lock of the writers, and takes it.
    pub(super) fn lock(&self) -> io::Result<Flock<fs::File>> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let path = self.path.with_file_name(format!("{name}.lock"));
        let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
    }

    /// Replaces the file by `new`. `expected` is the presumed present content; `None`: no file.
    pub(super) fn replace(&self, expected: Option<&[u8]>, new: &[u8]) -> io::Result<Replaced> {
        let ours = files::beside(&self.path, "next");
        files::durable(&ours, new)?;
        let Some(expected) = expected else {
            // A hard link fails if somebody created the file meanwhile; the next read sees that file.
            let linked = fs::hard_link(&ours, &self.path);
            fs::remove_file(&ours)?;
            linked?;
            files::sync_directory(&self.path)?;
            return Ok(Replaced::Expected);
        };
        // If the file was removed meanwhile, the next read creates it again.
        let swapped = fs::metadata(&self.path).and_then(|there| {
            fs::set_permissions(&ours, there.permissions())?;
            Ok(renameat_with(CWD, &ours, CWD, &self.path, RenameFlags::EXCHANGE)?)
        });
        if let Err(error) = swapped {
            fs::remove_file(&ours)?;
            return Err(error);
        }
        files::sync_directory(&self.path)?;
        if fs::read(&ours)? == expected {
            fs::remove_file(&ours)?;
            return Ok(Replaced::Expected);
        }
        let kept = self.unused();
        fs::rename(&ours, &kept)?;
        Ok(Replaced::Other(kept))
    }

    /// Files of a killed `plan watch`: what it displaced, or had not put in place yet.
    pub(super) fn left(&self) -> io::Result<Vec<PathBuf>> {
        let prefix = format!(".{}.devstack-", self.path.file_name().unwrap_or_default().to_string_lossy());
        let mut left = Vec::new();
        for entry in fs::read_dir(files::directory(&self.path))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let owner = name.strip_prefix(&prefix).and_then(|rest| rest.split('-').nth(1));
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                left.push(entry.path());
            }
        }
        left.sort();
        Ok(left)
    }

    /// An unused file name.
    fn unused(&self) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut name = files::beside(&self.path, DISPLACED).into_os_string();
        name.push(format!("-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        name.into()
    }

    /// Removes displaced content after it was merged.
    pub(super) fn forget(&self, kept: &Path) -> io::Result<()> {
        fs::remove_file(kept)
    }

    /// Reports every change; several changes may arrive as one. The channel closes when the directory is removed.
    pub(super) fn changes(&self) -> io::Result<mpsc::Receiver<()>> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
        let wanted = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(files::directory(&self.path), wanted)?;
        let name = self.path.file_name().unwrap_or_default().to_owned();
        let displaced =
            files::beside(&self.path, DISPLACED).file_name().unwrap_or_default().to_string_lossy().into_owned();
        // One pending message stands for all later changes.
        let (tell, told) = mpsc::channel(1);
        thread::Builder::new().name("file-changes".to_owned()).spawn(move || {
            let gone = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_IGNORED;
            while let Ok(events) = inotify.read_events() {
                if events.iter().any(|event| event.mask.intersects(gone)) {
                    return;
                }
                let ours = |event: &nix::sys::inotify::InotifyEvent| {
                    // The kernel's queue overflowed: anything may have changed.
                    let lost = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                    lost || event
                        .name
                        .as_ref()
                        .is_some_and(|it| *it == name || it.to_string_lossy().starts_with(&displaced))
                };
                if events.iter().any(ours) && matches!(tell.try_send(()), Err(mpsc::error::TrySendError::Closed(()))) {
                    return;
                }
            }
        })?;
        Ok(told)
    }
}

/// Reads a file of at most `max` bytes; `None`: it does not exist.
pub(super) fn read(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(found) if found.len() > max => Err(io::Error::other(format!("the file has more than {max} bytes"))),
        Ok(_) => match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, SharedFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = SharedFile::at(&dir.path().join("tasks.json")).unwrap();
        (dir, file)
    }

    #[test]
    fn what_came_between_is_kept() {
        let (dir, file) = file();
        assert_eq!(file.replace(None, b"1").unwrap(), Replaced::Expected);
        assert!(file.replace(None, b"2").is_err(), "a file is there");
        assert_eq!(file.replace(Some(b"1"), b"2").unwrap(), Replaced::Expected);
        fs::write(dir.path().join("tasks.json"), b"another's").unwrap();
        let Replaced::Other(kept) = file.replace(Some(b"2"), b"3").unwrap() else { panic!("it was not seen") };
        assert_eq!(fs::read(&kept).unwrap(), b"another's");
        assert_eq!(file.read(9).unwrap().as_deref(), Some(&b"3"[..]));
        assert_eq!(file.left().unwrap(), [] as [PathBuf; 0], "its owner lives");
        fs::write(dir.path().join(".tasks.json.devstack-displaced-4194305-0"), "left").unwrap();
        assert_eq!(file.left().unwrap().len(), 1);
        file.forget(&file.left().unwrap()[0]).unwrap();
        file.forget(&kept).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn every_way_to_write_is_told() {
        let (dir, file) = file();
        let mut changes = file.changes().unwrap();
        let path = dir.path().join("tasks.json");
        fs::write(&path, b"in place").unwrap();
        changes.recv().await.unwrap();
        fs::write(dir.path().join("other"), b"renamed").unwrap();
        fs::rename(dir.path().join("other"), &path).unwrap();
        changes.recv().await.unwrap();
        file.replace(Some(b"renamed"), b"ours").unwrap();
        changes.recv().await.unwrap();
        drop(dir);
        while changes.recv().await.is_some() {}
    }
}
