//! Errors of the store, grouped by what the caller can do about them.

use std::{io, path::PathBuf};

use super::{MAX_RECORD, Seq, Term};

/// Why the store did not do what was requested.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another Taskmaster took over: stop, reload. Nothing was written.
    #[error("the commit has term {found}, but the store is at {expected}: another taskmaster took over")]
    StaleTerm {
        /// The store's.
        expected: Term,
        /// The commit's.
        found: Term,
    },
    /// The caller's count of facts differs from the store's: reload. Nothing was written.
    #[error("the commit expects the store at fact {found}, but it is at {expected}: reload before committing")]
    WrongSequence {
        /// The number of the last fact before this commit.
        expected: Seq,
        /// The number that the commit expected.
        found: Seq,
    },
    /// Split it or move its texts to blobs. Nothing was written.
    #[error(
        "{what} takes {size} bytes, more than the {MAX_RECORD} a row may have: move long texts to blobs or split it"
    )]
    TooLarge {
        /// Which record, fact or reply.
        what: String,
        /// Its encoded size in bytes.
        size: usize,
    },
    /// A name as key is empty or too long. Nothing was written.
    #[error("a request key has 1 to {max} bytes, this one has {found}")]
    BadRequestKey {
        /// The longest allowed, in bytes.
        max: usize,
        /// Its length in bytes.
        found: usize,
    },
    /// Those facts were pruned or never existed: read the records again, then follow from `last`.
    #[error("facts after {after} are no longer stored: the store has {first} to {last}; read the records again")]
    OutOfRange {
        /// The number that the reader requested.
        after: Seq,
        /// The first stored fact.
        first: Seq,
        /// The last fact.
        last: Seq,
    },
    /// Stop the other process, or talk to it instead.
    #[error("another node has the store {} open ({holder}): stop it first", path.display())]
    Held {
        /// The store's directory.
        path: PathBuf,
        /// The holder's own description.
        holder: String,
    },
    /// Restore a backup: the node must not run on it.
    #[error("{what} is damaged: {why}; restore the store from an export")]
    Damaged {
        /// Which record, fact, reply or file.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// Import only into a store that was just created. Nothing was written.
    #[error("the store already holds data: import needs an empty one")]
    NotEmpty,
    /// The disk or the kernel failed. At a commit the outcome is unknown: end the process, never retry.
    #[error("{step} failed: {source}")]
    Io {
        /// The step that failed.
        step: String,
        /// The cause.
        source: io::Error,
    },
}

impl StoreError {
    /// For `map_err`: an I/O failure of this step.
    pub(crate) fn io(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        move |source| Self::Io { step, source }
    }

    /// Whether the commit was refused before anything was written, so that the store is unchanged.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::StaleTerm { .. } | Self::WrongSequence { .. } | Self::TooLarge { .. } | Self::BadRequestKey { .. }
        )
    }
}
