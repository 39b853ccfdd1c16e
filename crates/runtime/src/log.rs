//! Reads an attempt's output from any offset, while it is written or afterwards. A follower waits for the file to
//! change (inotify), not for time to pass.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::fd::OwnedFd,
    path::PathBuf,
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{evidence, ready};

/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// An attempt that ends without output changes no log. Its end is checked at this interval while somebody follows.
const END_LOOK: Duration = Duration::from_millis(500);

/// Tells whether an attempt has ended.
type Over = Box<dyn Fn() -> bool + Send + Sync>;

/// The output of one attempt, chunk by chunk.
pub struct LogReader {
    path: PathBuf,
    offset: u64,
    follow: bool,
    over: Over,
    file: Option<File>,
}

impl LogReader {
    pub(super) fn open(path: PathBuf, from: u64, follow: bool, over: Over) -> Self {
        Self { path, offset: from, follow, over, file: None }
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            // Checked before reading: everything written before the end is then read after the check.
            let over = !self.follow || (self.over)();
            let watch = if over { None } else { self.watch() };
            let bytes = self.read()?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
            if over {
                return Ok(None);
            }
            match watch {
                Some(watch) => {
                    let _ = tokio::time::timeout(END_LOOK, ready::readable(watch)).await;
                }
                None => tokio::time::sleep(END_LOOK).await,
            }
        }
    }

    /// The last bytes available now, at most `max`; earlier bytes are skipped. Blocks.
    pub fn end(&mut self, max: u64) -> io::Result<Vec<u8>> {
        let mut file = match evidence::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let length = file.metadata()?.len();
        self.offset = length;
        file.seek(SeekFrom::Start(length.saturating_sub(max)))?;
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The offset of the next bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn watch(&self) -> Option<OwnedFd> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
        inotify.add_watch(&self.path, AddWatchFlags::IN_MODIFY).ok()?;
        Some(inotify.into())
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        if self.file.is_none() {
            match evidence::open(&self.path) {
                Ok(mut file) => {
                    file.seek(SeekFrom::Start(self.offset))?;
                    self.file = Some(file);
                }
                // The log does not exist yet, or never will.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        let mut bytes = vec![0; CHUNK];
        let count = self.file.as_mut().map_or(Ok(0), |file| file.read(&mut bytes))?;
        bytes.truncate(count);
        self.offset += count as u64;
        Ok(bytes)
    }
}
