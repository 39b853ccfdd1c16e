//! The FUSE handlers: translate the kernel's calls into calls of the [`Disk`].
//!
//! No direct I/O, so mmap works; no writeback cache, so every write arrives at once; nothing is cached by time; locks
//! stay in the kernel. `sync_file_range` never arrives here, as on a real disk it is no barrier. Symlinks, devices and
//! extended attributes do not exist.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, Errno as Reply, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::errno::Errno;

use crate::disk::{Call, Disk};
use crate::image::{Body, Image, Ino};
use crate::pages::PAGE;

const TTL: Duration = Duration::ZERO;
const GENERATION: Generation = Generation(0);

/// A mounted disk.
pub(crate) struct PowerFs {
    disk: Arc<Mutex<Disk>>,
    /// Listings of open directories: a listing must not shift while its reader removes what it has read.
    listings: Mutex<BTreeMap<u64, Vec<(OsString, Ino)>>>,
    next_listing: AtomicU64,
    /// The one time of all files. Recent, for git prunes what looks old.
    mounted: SystemTime,
}

impl PowerFs {
    pub(crate) fn new(disk: Arc<Mutex<Disk>>, mounted: SystemTime) -> Self {
        Self { disk, listings: Mutex::default(), next_listing: AtomicU64::new(1), mounted }
    }

    fn listings(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<(OsString, Ino)>>> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        // A handler that panicked leaves the image as it was; the test fails by its own report.
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a changing call that names an entry, and answers with the attributes of the inode it made.
    fn enter(&self, call: Call, act: impl FnOnce(&mut Image) -> Result<Ino, Errno>) -> Result<FileAttr, Errno> {
        let mut disk = self.disk();
        disk.change(call)?;
        let ino = act(&mut disk.image)?;
        self.attr(&disk.image, ino)
    }

    fn change(&self, call: Call, act: impl FnOnce(&mut Image) -> Result<(), Errno>) -> Result<(), Errno> {
        let mut disk = self.disk();
        disk.change(call)?;
        act(&mut disk.image)
    }

    fn attr(&self, image: &Image, ino: Ino) -> Result<FileAttr, Errno> {
        let node = image.node(ino)?;
        let (kind, size) = match &node.body {
            Body::File(pages) => (FileType::RegularFile, pages.len() as u64),
            Body::Dir { .. } => (FileType::Directory, PAGE as u64),
        };
        let time = self.mounted;
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: node.mode as u16,
            nlink: node.links,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: PAGE as u32,
            flags: 0,
        })
    }
}

fn reply(error: Errno) -> Reply {
    Reply::from_i32(error as i32)
}

macro_rules! answer {
    ($reply:ident, $result:expr) => {
        match $result {
            Ok(()) => $reply.ok(),
            Err(error) => $reply.error(reply(error)),
        }
    };
    ($reply:ident, $result:expr, $value:ident => $send:expr) => {
        match $result {
            Ok($value) => $send,
            Err(error) => $reply.error(reply(error)),
        }
    };
}

impl Filesystem for PowerFs {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply_to: ReplyEntry) {
        let disk = self.disk();
        let found = disk.image.lookup(parent.0, name).and_then(|ino| self.attr(&disk.image, ino));
        answer!(reply_to, found, attr => reply_to.entry(&TTL, &attr, GENERATION));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply_to: ReplyAttr) {
        answer!(reply_to, self.attr(&self.disk().image, ino.0), attr => reply_to.attr(&TTL, &attr));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply_to: ReplyAttr,
    ) {
        let ino = ino.0;
        let mut disk = self.disk();
        let mut set = || {
            if let Some(size) = size {
                disk.change(Call::new("truncate", ino, "", format!("to {size}")))?;
                disk.image.truncate(ino, size as usize)?;
            }
            if let Some(mode) = mode {
                disk.image.chmod(ino, mode)?;
            }
            self.attr(&disk.image, ino)
        };
        answer!(reply_to, set(), attr => reply_to.attr(&TTL, &attr));
    }

    fn mknod(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: u32, reply_to: ReplyEntry) {
        if mode & libc::S_IFMT != libc::S_IFREG {
            return reply_to.error(Reply::EPERM);
        }
        let call = Call::new("create", parent.0, name, String::new());
        let made = self.enter(call, |image| image.create(parent.0, name, mode & !umask & 0o7777));
        answer!(reply_to, made, attr => reply_to.entry(&TTL, &attr, GENERATION));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply_to: ReplyEntry) {
        let call = Call::new("mkdir", parent.0, name, String::new());
        let made = self.enter(call, |image| image.mkdir(parent.0, name, mode & !umask & 0o7777));
        answer!(reply_to, made, attr => reply_to.entry(&TTL, &attr, GENERATION));
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply_to: ReplyCreate) {
        let call = Call::new("create", parent.0, name, String::new());
        let made = self.enter(call, |image| image.create(parent.0, name, mode & !umask & 0o7777));
        answer!(reply_to, made, attr => reply_to.created(&TTL, &attr, GENERATION, FileHandle(0), FopenFlags::empty()));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply_to: ReplyEntry) {
        let call = Call::new("link", parent.0, name, format!("to inode {ino}"));
        let made = self.enter(call, |image| image.link(ino.0, parent.0, name).map(|()| ino.0));
        answer!(reply_to, made, attr => reply_to.entry(&TTL, &attr, GENERATION));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply_to: ReplyEmpty) {
        let call = Call::new("unlink", parent.0, name, String::new());
        answer!(reply_to, self.change(call, |image| image.unlink(parent.0, name)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply_to: ReplyEmpty) {
        let call = Call::new("rmdir", parent.0, name, String::new());
        answer!(reply_to, self.change(call, |image| image.rmdir(parent.0, name)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply_to: ReplyEmpty,
    ) {
        let replace = match flags {
            RenameFlags::RENAME_NOREPLACE => false,
            flags if flags.is_empty() => true,
            _ => return reply_to.error(Reply::EINVAL),
        };
        let call = Call::new("rename", parent.0, name, format!("to {new_name:?} in inode {new_parent}"));
        let done = self.change(call, |image| image.rename((parent.0, name), (new_parent.0, new_name), replace));
        answer!(reply_to, done);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply_to: ReplyOpen) {
        reply_to.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply_to: ReplyData,
    ) {
        let disk = self.disk();
        answer!(reply_to, disk.image.file(ino.0), pages => reply_to.data(pages.read(offset as usize, size as usize)));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply_to: ReplyWrite,
    ) {
        let call = Call::new("write", ino.0, "", format!("{} bytes at {offset}", data.len()));
        let done = self.change(call, |image| image.write(ino.0, offset as usize, data));
        answer!(reply_to, done, _done => reply_to.written(data.len() as u32));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply_to: ReplyEmpty) {
        reply_to.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply_to: ReplyEmpty) {
        answer!(reply_to, self.disk().fsync(ino.0));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply_to: ReplyEmpty) {
        answer!(reply_to, self.disk().fsync(ino.0));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply_to: ReplyOpen) {
        let disk = self.disk();
        answer!(reply_to, disk.image.entries(ino.0), entries => {
            let dots = [(".".into(), ino.0), ("..".into(), ino.0)];
            let all = dots.into_iter().chain(entries.iter().map(|(name, to)| (name.clone(), *to)));
            let handle = self.next_listing.fetch_add(1, Ordering::Relaxed);
            self.listings().insert(handle, all.collect());
            reply_to.opened(FileHandle(handle), FopenFlags::empty());
        });
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply_to: ReplyDirectory) {
        let disk = self.disk();
        let listings = self.listings();
        let listing = listings.get(&handle.0).map_or(&[][..], Vec::as_slice);
        for (index, (name, ino)) in listing.iter().enumerate().skip(offset as usize) {
            let kind = match disk.image.file(*ino) {
                Ok(_) => FileType::RegularFile,
                Err(_) => FileType::Directory,
            };
            if reply_to.add(INodeNo(*ino), index as u64 + 1, kind, name) {
                break;
            }
        }
        reply_to.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply_to: ReplyEmpty) {
        self.listings().remove(&handle.0);
        reply_to.ok();
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply_to: ReplyEmpty) {
        reply_to.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply_to: ReplyStatfs) {
        // Plenty of room: a terabyte, and as many inodes.
        let blocks = 1 << 28;
        reply_to.statfs(blocks, blocks, blocks, blocks, blocks, PAGE as u32, 255, PAGE as u32);
    }
}

#[cfg(test)]
mod tests;
