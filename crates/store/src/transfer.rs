//! Export and import as JSON lines: a header, then facts, records and replies, then a count. Used for backups, and for
//! moving to another machine or backend. Deliberately absent: blobs, which are plain files ([`devstack_backup`] has
//! both).

use std::io::{self, BufRead, Write};

use devstack_dag::{fact::Fact, record::Record};
use serde::{Deserialize, Serialize};

use super::{Commit, Meta, RequestKey, Seq, Store, StoreError, StoredReply};

/// The version of the format; an import refuses any other.
const FORMAT: u32 = 1;

/// Number of facts read at once while exporting: some MiB at most.
const PAGE: usize = 256;

/// The longest accepted line, in bytes: the JSON of a record of 16 KiB takes a few times as much.
const MAX_LINE: u64 = 1024 * 1024;

/// Why an export or import failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file is damaged or not an export; nothing was imported.
    #[error("line {line} of the export is invalid: {why}")]
    BadLine {
        /// The line number, counted from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// The file could not be read or written.
    #[error("reading or writing the export failed: {0}")]
    File(#[from] io::Error),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Devstack { format: u32, meta: Meta },
    Fact { seq: Seq, fact: Fact },
    Record(Record),
    Reply { key: RequestKey, reply: StoredReply },
    End { lines: u64 },
}

/// Writes the whole content of the store. Nothing changes meanwhile, because the caller owns the store.
pub fn export(store: &dyn Store, out: &mut dyn Write) -> Result<(), TransferError> {
    let meta = store.meta();
    let mut lines = Lines { out, written: 0 };
    lines.write(&Line::Devstack { format: FORMAT, meta })?;
    let reader = store.reader();
    let mut after = Seq(meta.first.0 - 1);
    while after < meta.seq {
        for (seq, fact) in reader.facts(after, PAGE)?.facts {
            after = seq;
            lines.write(&Line::Fact { seq, fact })?;
        }
    }
    // The store's callback cannot stop the iteration, so the first failure is kept.
    let mut outcome = Ok(());
    let mut keep = |written: io::Result<()>| {
        if outcome.is_ok() {
            outcome = written;
        }
    };
    store.records(&mut |record| keep(lines.write(&Line::Record(record))))?;
    store.replies(&mut |key, reply| keep(lines.write(&Line::Reply { key, reply })))?;
    outcome?;
    lines.write(&Line::End { lines: lines.written })?;
    Ok(lines.out.flush()?)
}

struct Lines<'a> {
    out: &'a mut dyn Write,
    written: u64,
}

impl Lines<'_> {
    fn write(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")?;
        self.written += 1;
        Ok(())
    }
}

/// Fills an empty store from an export, all or nothing.
pub fn import(store: &mut dyn Store, input: &mut dyn BufRead) -> Result<(), TransferError> {
    import_as(store, input, |meta| meta)
}

/// Like [`import`], with a function that adapts the exported store's position: a copy gets its own label.
pub fn import_as(
    store: &mut dyn Store,
    input: &mut dyn BufRead,
    standing: impl FnOnce(Meta) -> Meta,
) -> Result<(), TransferError> {
    let mut content = Commit::default();
    let mut meta = None;
    let mut ended = false;
    let mut number = 0;
    while let Some(text) = next_line(input, number + 1)? {
        let bad = |why: String| TransferError::BadLine { line: number + 1, why };
        let line = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        match (line, &meta) {
            _ if ended => return Err(bad("there is data after the last line".into())),
            (Line::Devstack { format: FORMAT, meta: found }, None) => {
                content.expected_seq = Seq(found.first.0.saturating_sub(1));
                content.term = found.term;
                meta = Some(found);
            }
            (Line::Devstack { format, .. }, None) => {
                return Err(bad(format!("it has format {format}, this version of devstack reads format {FORMAT}")));
            }
            (_, None) => return Err(bad("the export does not begin with a header".into())),
            (Line::Devstack { .. }, Some(_)) => return Err(bad("a second header".into())),
            (Line::Fact { seq, fact }, Some(_)) => {
                let expected = content.seq_after().0 + 1;
                if seq != Seq(expected) {
                    return Err(bad(format!("found fact {seq}, expected fact {expected}")));
                }
                content.facts.push(fact);
            }
            (Line::Record(record), Some(_)) => content.records.push(record),
            (Line::Reply { key, reply }, Some(_)) => content.replies.push((key, reply)),
            (Line::End { lines }, Some(meta)) => {
                if lines != number {
                    return Err(bad(format!("expected {lines} lines before it, found {number}")));
                }
                if content.seq_after() != meta.seq {
                    return Err(bad(format!("the facts end at {}, not at {}", content.seq_after(), meta.seq)));
                }
                ended = true;
            }
        }
        number += 1;
    }
    match meta {
        Some(meta) if ended => Ok(store.restore(&standing(meta), &content)?),
        _ => Err(TransferError::BadLine { line: number + 1, why: "the export is cut short".into() }),
    }
}

fn next_line(input: &mut dyn BufRead, number: u64) -> Result<Option<Vec<u8>>, TransferError> {
    let mut text = Vec::new();
    io::Read::take(input, MAX_LINE).read_until(b'\n', &mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() as u64 == MAX_LINE {
        return Err(TransferError::BadLine { line: number, why: format!("it is longer than {MAX_LINE} bytes") });
    }
    Ok(Some(text))
}
