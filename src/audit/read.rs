//! Reading the log back, the newest line first, file by file.
//! Deliberately absent: an index; a log is at most as large as `[retention] audit` says.

use std::{fs, io, path::Path};

use super::{Entry, files};

/// Which lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only older ones than this.
    pub after: Option<u64>,
    /// Only of this name.
    pub who: Option<String>,
    /// Only refusals, or only what was done.
    pub refused: Option<bool>,
    /// At most so many.
    pub limit: usize,
}

/// Lines, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The lines.
    pub entries: Vec<Entry>,
    /// The next page's `after`; `None`: there is no more.
    pub next: Option<u64>,
}

impl AuditQuery {
    fn admits(&self, entry: &Entry) -> bool {
        self.after.is_none_or(|after| entry.number < after)
            && (self.who.is_none() || self.who == entry.who)
            && self.refused.is_none_or(|refused| (entry.status >= 400) == refused)
    }
}

pub(super) fn page(dir: &Path, query: &AuditQuery) -> io::Result<AuditPage> {
    let mut entries: Vec<Entry> = Vec::new();
    for (first, path) in files::list(dir)?.into_iter().rev() {
        if query.after.is_some_and(|after| first >= after) {
            continue;
        }
        let bytes = match fs::read(&path) {
            // It became too old meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            bytes => bytes?,
        };
        for line in bytes.split(|byte| *byte == b'\n').rev() {
            // A line that is being written, or that cannot be read, is not shown.
            let Ok(entry) = serde_json::from_slice::<Entry>(line) else { continue };
            if !query.admits(&entry) {
                continue;
            }
            if entries.len() == query.limit {
                return Ok(AuditPage { next: entries.last().map(|last| last.number), entries });
            }
            entries.push(entry);
        }
    }
    Ok(AuditPage { entries, next: None })
}
