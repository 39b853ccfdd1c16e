//! The files of the audit log: `NUMBER.jsonl`, named by the number of their first line, so that their order and gaps
//! are visible. An incomplete last line is removed when the file is opened again. Deliberately absent: the content of a
//! line.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::Entry;

/// Number of files in a full log. The oldest file is removed when the newest one has reached its share.
pub(super) const FILES: u64 = 8;

/// The current file, and how far its content is valid.
#[derive(Debug)]
pub(super) struct Current {
    file: fs::File,
    /// Bytes of complete lines.
    pub(super) length: u64,
}

impl Current {
    /// Appends lines after the valid part. A half-written line of a failed write is cut off again.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(lines, self.length) {
            // If this fails too, a line appears twice, which is better than not at all.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Syncs the file to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The files, oldest first; empty if the directory does not exist.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".jsonl"));
        if let Some(first) = stem.and_then(|stem| stem.parse().ok()) {
            files.push((first, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Opens the newest file and finds the number of the next line. Creates the directory if needed, for its owner only.
pub(super) fn open(dir: &Path) -> io::Result<(Current, u64)> {
    if !dir.is_dir() {
        fs::DirBuilder::new().mode(0o700).create(dir)?;
    }
    let Some((first, path)) = list(dir)?.pop() else { return Ok((create(dir, 1)?, 1)) };
    let bytes = fs::read(&path)?;
    let length = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let file = fs::OpenOptions::new().write(true).open(&path)?;
    file.set_len(length as u64)?;
    let mut lines = bytes[..length].split(|byte| *byte == b'\n').rev();
    // An unreadable line is left as it is, and counted.
    let last = lines.find_map(|line| serde_json::from_slice::<Entry>(line).ok()).map(|entry| entry.number);
    let next = last.map_or(first, |last| last + 1);
    Ok((Current { file, length: length as u64 }, next))
}

/// Creates a new file whose first line has this number; its name is durable.
pub(super) fn create(dir: &Path, first: u64) -> io::Result<Current> {
    let path = dir.join(format!("{first:020}.jsonl"));
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    fs::File::open(dir)?.sync_all()?;
    Ok(Current { length: file.metadata()?.len(), file })
}

/// Removes the oldest files until the rest fits. The newest file is never removed.
pub(super) fn prune(dir: &Path, size: u64) -> io::Result<()> {
    let files = list(dir)?;
    let mut kept = 0;
    for (index, (_, path)) in files.iter().enumerate().rev() {
        kept += fs::metadata(path)?.len();
        if kept > size && index + 1 < files.len() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
