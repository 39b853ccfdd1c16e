//! Reads the audit log, newest line first, file by file. Deliberately absent: an index; the size of a log is limited by
//! `[retention] audit`.

use std::{fs, io, path::Path};

use super::{Entry, files};

/// Filter of lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only lines older than this one.
    pub after: Option<u64>,
    /// Only lines of this name.
    pub who: Option<String>,
    /// Only refusals (`true`), or only requests that were carried out (`false`).
    pub refused: Option<bool>,
    /// Maximum number of lines.
    pub limit: usize,
}

/// A page of lines, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The lines.
    pub entries: Vec<Entry>,
    /// The value of `after` for the next page; `None` on the last page.
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
            // The file became too old meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            bytes => bytes?,
        };
        for line in bytes.split(|byte| *byte == b'\n').rev() {
            // Incomplete and unreadable lines are skipped.
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
