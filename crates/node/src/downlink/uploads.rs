//! Uploads in progress: results of hosts and histories that users push. A file arrives in parts, in order, and is named
//! by the digest of the whole. Received parts are kept, so a broken connection costs only the rest and not the
//! beginning. Deliberately absent: who may upload what (the engine is asked) and the content (quarantine).

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use devstack_dag::ids::AttemptId;
use futures::StreamExt;
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
};

use devstack_api::ByteStream;

/// A host that sends nothing for this long has lost its connection, as on a link, and will try again: its turn must
/// then be free.
const STALL: Duration = Duration::from_secs(6);
/// Bytes read at once when a file is checked.
const CHUNK: usize = 1 << 20;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// BLAKE3 of the whole file.
    pub digest: [u8; 32],
    /// Size of the whole file in bytes.
    pub size: u64,
    /// Offset of the part.
    pub offset: u64,
}

/// The current state of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Received bytes, from the beginning.
    pub bytes: u64,
    /// Whether the file is complete and matches its digest.
    pub complete: bool,
}

/// Why a part was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The part begins at the wrong offset: send from there.
    #[error("the next part begins at byte {0}")]
    Elsewhere(u64),
    /// The file is larger than announced, or than allowed.
    #[error("the file is larger than the {0} bytes that are allowed")]
    TooLarge(u64),
    /// The file is already being sent: try again later.
    #[error("this file is already being uploaded")]
    Busy,
    /// Another file of the same attempt was reported, and is being imported.
    #[error("another result of this attempt was already reported")]
    Other,
    /// The host's quota is used up: try again later, when some files were imported.
    #[error("results of this host already occupy {0} bytes")]
    Full(u64),
    /// The content does not match the digest and was deleted: start again.
    #[error("the file is damaged: its digest does not match")]
    Damaged,
    /// The connection broke, or the disk failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// One part at a time per directory.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// A directory of files, each in a subdirectory of its purpose.
pub struct Uploads {
    dir: PathBuf,
    max: u64,
    turns: Mutex<HashMap<PathBuf, Turn>>,
    tokio: tokio::runtime::Handle,
}

impl Uploads {
    /// Opens an empty directory: files that an earlier process received and did not use are uploaded again. Blocks.
    /// `max` bytes per file.
    ///
    /// # Errors
    /// The disk fails.
    pub fn open(dir: PathBuf, max: u64) -> io::Result<Self> {
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&dir)?,
        }
        Ok(Self { dir, max, turns: Mutex::default(), tokio: tokio::runtime::Handle::current() })
    }

    /// The path of a complete file.
    pub fn path(&self, of: &Path, digest: &[u8; 32]) -> PathBuf {
        self.dir.join(of).join(format!("{}.bundle", blake3::Hash::from_bytes(*digest)))
    }

    /// Takes a part of a file of `of`, a relative path. An empty part only asks for the current state.
    ///
    /// # Errors
    /// See [`UploadError`]; parts received earlier stay, unless the file is damaged.
    pub async fn take(&self, of: &Path, part: Part, body: ByteStream) -> Result<Received, UploadError> {
        if part.size > self.max {
            return Err(UploadError::TooLarge(self.max));
        }
        let turn = self.turn(of);
        let _turn = turn.lock().await;
        let whole = self.path(of, &part.digest);
        if fs::metadata(&whole).await.is_ok_and(|file| file.len() == part.size) {
            return Ok(Received { bytes: part.size, complete: true });
        }
        fs::create_dir_all(self.dir.join(of)).await?;
        let partial = whole.with_extension("part");
        let mut file = File::options().create(true).append(true).read(true).open(&partial).await?;
        let there = file.metadata().await?.len();
        if part.offset != there {
            return Err(UploadError::Elsewhere(there));
        }
        let taken = append(&mut file, body, part.size - there.min(part.size)).await;
        file.flush().await?;
        // Bytes that arrived before the connection broke are kept.
        let bytes = there + taken?;
        if bytes < part.size {
            return Ok(Received { bytes, complete: false });
        }
        if digest(&mut file).await? != part.digest {
            fs::remove_file(&partial).await?;
            return Err(UploadError::Damaged);
        }
        fs::rename(&partial, &whole).await?;
        Ok(Received { bytes, complete: true })
    }

    /// Removes one file of `of`, complete or not.
    ///
    /// # Errors
    /// The disk fails.
    pub(super) async fn discard(&self, of: &Path, digest: &[u8; 32]) -> io::Result<()> {
        let turn = self.turn(of);
        let _turn = turn.lock().await;
        let whole = self.path(of, digest);
        for path in [whole.with_extension("part"), whole] {
            match fs::remove_file(path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps in `of` only the file that becomes `whole`, if any part of it exists. Waits for a part in progress.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn keep_only(&self, of: &Path, whole: &Path) -> io::Result<()> {
        let turn = self.turn(of);
        let _turn = turn.lock().await;
        let mut entries = match fs::read_dir(self.dir.join(of)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        while let Some(entry) = entries.next_entry().await? {
            if entry.path().file_stem() != whole.file_stem() {
                fs::remove_file(entry.path()).await?;
            }
        }
        Ok(())
    }

    /// Removes the uploads of `of`. Does not wait for it.
    pub fn forget(&self, of: &Path) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(of);
        let dir = self.dir.join(of);
        self.tokio.spawn(async move {
            if let Err(error) = fs::remove_dir_all(&dir).await
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "cannot remove {}", dir.display());
            }
            // The task's directory, if this was its last entry: it stays while another attempt has files in it.
            if let Some(task) = dir.parent() {
                let _ = fs::remove_dir(task).await;
            }
        });
    }

    fn turn(&self, of: &Path) -> Turn {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(of.to_owned()).or_default().clone()
    }

    /// The largest file, in bytes.
    pub fn max(&self) -> u64 {
        self.max
    }
}

/// The path for the result of an attempt.
pub(super) fn of_attempt(attempt: &AttemptId) -> PathBuf {
    let task = &attempt.task;
    Path::new(task.project.as_str()).join(task.id.as_str()).join(attempt.number.to_string())
}

/// Appends at most `left` bytes; returns the number of appended bytes.
async fn append(file: &mut File, mut body: ByteStream, left: u64) -> Result<u64, UploadError> {
    let mut taken = 0;
    let stalled = |_| io::Error::from(io::ErrorKind::TimedOut);
    while let Some(chunk) = tokio::time::timeout(STALL, body.next()).await.map_err(stalled)? {
        let chunk = chunk?;
        taken += chunk.len() as u64;
        if taken > left {
            return Err(UploadError::TooLarge(left));
        }
        file.write_all(&chunk).await?;
    }
    Ok(taken)
}

async fn digest(file: &mut File) -> io::Result<[u8; 32]> {
    file.rewind().await?;
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(*hasher.finalize().as_bytes()),
            read => hasher.update(&buffer[..read]),
        };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use axum::body::Bytes;

    use super::*;

    fn of() -> &'static Path {
        Path::new("p/t/1")
    }

    fn body(text: &'static str) -> ByteStream {
        futures::stream::once(async move { Ok(Bytes::from_static(text.as_bytes())) }).boxed()
    }

    fn part(text: &str, offset: u64) -> Part {
        Part { digest: *blake3::hash(text.as_bytes()).as_bytes(), size: text.len() as u64, offset }
    }

    #[tokio::test]
    async fn parts_make_a_whole_and_a_whole_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(dir.path().join("u"), 100).unwrap();
        let whole = part("hello world", 0);
        let received = uploads.take(of(), whole, body("hello ")).await.unwrap();
        assert_eq!(received, Received { bytes: 6, complete: false });
        let again = uploads.take(of(), whole, body("hello ")).await;
        assert!(matches!(again, Err(UploadError::Elsewhere(6))));
        let received = uploads.take(of(), part("hello world", 6), body("world")).await.unwrap();
        assert_eq!(received, Received { bytes: 11, complete: true });
        assert_eq!(std::fs::read(uploads.path(of(), &whole.digest)).unwrap(), b"hello world");
        assert!(uploads.take(of(), whole, body("anything")).await.unwrap().complete);
    }

    #[tokio::test]
    async fn another_file_takes_the_place_of_one_that_was_not_finished() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(dir.path().join("u"), 100).unwrap();
        let (first, second) = (part("hello world", 0), part("another one", 0));
        uploads.take(of(), first, body("hello ")).await.unwrap();
        let second_path = uploads.path(of(), &second.digest);
        uploads.keep_only(of(), &uploads.path(of(), &first.digest)).await.unwrap();
        assert!(matches!(uploads.take(of(), first, body("")).await, Err(UploadError::Elsewhere(6))));
        uploads.keep_only(of(), &second_path).await.unwrap();
        assert_eq!(uploads.take(of(), first, body("")).await.unwrap(), Received { bytes: 0, complete: false });
    }

    #[tokio::test]
    async fn what_is_damaged_or_too_large_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(dir.path().join("u"), 11).unwrap();
        let whole = part("hello world", 0);
        assert!(matches!(uploads.take(of(), whole, body("hello_world")).await, Err(UploadError::Damaged)));
        let longer = uploads.take(of(), whole, body("hello world!")).await;
        assert!(matches!(longer, Err(UploadError::TooLarge(11))));
        assert!(matches!(uploads.take(of(), part("hello world!", 0), body("")).await, Err(UploadError::TooLarge(11))));
        assert!(!uploads.path(of(), &whole.digest).exists());
    }
}
