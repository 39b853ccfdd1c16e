//! The types of the commit contract: the input of a writer and the output of a reader. Deliberately absent: bytes (see
//! [`super::schema`]) and files (see [`super::disk`]).

use std::{fmt, ops::Range};

use devstack_dag::{
    fact::Fact,
    ids::Timestamp,
    record::{Record, RecordKey},
};
use serde::{Deserialize, Serialize};

use super::{Packed, StoreError};

/// The largest encoded record, fact or reply, in bytes: with 20 of them on one of sled's leaf pages (17 before a split,
/// 19 after a merge) the page stays below the 512 KiB from which sled would move it to a file that it never syncs.
pub const MAX_RECORD: usize = 16 * 1024;

/// The longest request key, in bytes: room for a random id with a user's prefix.
pub const MAX_REQUEST_KEY: usize = 256;

/// The number of a fact, counted from 1 over the life of the store; 0: before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The incarnation of the Taskmaster that writes. Only the newest term may commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// 128 random bits made when the store was created. They mark everything that this installation creates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InstallationLabel(pub [u8; 16]);

impl fmt::Display for InstallationLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for InstallationLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The caller's name for one request (`Idempotency-Key`), 1 to [`MAX_REQUEST_KEY`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestKey(Box<str>);

impl RequestKey {
    /// Makes a key; refuses an empty or too long text.
    pub fn new(text: &str) -> Result<Self, StoreError> {
        if text.is_empty() || text.len() > MAX_REQUEST_KEY {
            return Err(StoreError::BadRequestKey { max: MAX_REQUEST_KEY, found: text.len() });
        }
        Ok(Self(text.into()))
    }
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl TryFrom<String> for RequestKey {
    type Error = StoreError;
    fn try_from(text: String) -> Result<Self, StoreError> {
        Self::new(&text)
    }
}
impl From<RequestKey> for String {
    fn from(key: RequestKey) -> String {
        key.0.into()
    }
}

/// The answer to a request, stored so that the same request gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReply {
    /// BLAKE3 of the request's body ([`body_hash`]).
    pub body_hash: [u8; 32],
    /// The answer's bytes.
    pub reply: Vec<u8>,
}

/// BLAKE3 of a request's body.
pub fn body_hash(body: &[u8]) -> [u8; 32] {
    *blake3::hash(body).as_bytes()
}

/// The result of looking up the key of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The key is new: carry the request out.
    New,
    /// The request was already carried out: repeat this answer (after a barrier, because it may not be durable yet).
    Replay(Vec<u8>),
    /// The key was used with another body: 409.
    Conflict,
}

impl Lookup {
    /// Compares a request's body hash with the reply stored under its key.
    pub fn judge(kept: Option<StoredReply>, body_hash: &[u8; 32]) -> Self {
        match kept {
            None => Self::New,
            Some(kept) if kept.body_hash == *body_hash => Self::Replay(kept.reply),
            Some(_) => Self::Conflict,
        }
    }
}

/// Everything that one decision makes durable, all or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// The writer's term.
    pub term: Term,
    /// The number of the last fact before this commit. In a group: [`Commit::seq_after`] of the previous commit.
    pub expected_seq: Seq,
    /// Answers to store.
    pub replies: Vec<(RequestKey, StoredReply)>,
    /// What happened, in order, numbered from `expected_seq + 1`.
    pub facts: Vec<Fact>,
    /// New states of records. The last one of a key counts.
    pub records: Vec<Record>,
    /// More records, for very large commits.
    pub packed: Packed,
    /// Removed records; applied after `records`.
    pub removed: Vec<RecordKey>,
}

impl Commit {
    /// The number of the last fact after this commit: the value that the next commit expects.
    pub fn seq_after(&self) -> Seq {
        Seq(self.expected_seq.0 + self.facts.len() as u64)
    }

    /// The approximate number of rows, for limits on a group.
    pub(crate) fn weight(&self) -> usize {
        self.replies.len() + self.facts.len() + self.records.len() + self.packed.len() + self.removed.len()
    }
}

/// The current position of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The number of the last fact.
    pub seq: Seq,
    /// The first fact that is still stored; `seq + 1` when none is.
    pub first: Seq,
    /// The term that may commit.
    pub term: Term,
    /// The largest time of any fact: the clock never goes back behind it.
    pub last_time: Timestamp,
    /// The installation label.
    pub label: InstallationLabel,
}

/// Checks a group against the current position of the store; returns the position after success.
pub(crate) fn admit(meta: &Meta, group: &[Commit]) -> Result<Meta, StoreError> {
    let mut next = *meta;
    for commit in group {
        if commit.term != next.term {
            return Err(StoreError::StaleTerm { expected: next.term, found: commit.term });
        }
        if commit.expected_seq != next.seq {
            return Err(StoreError::WrongSequence { expected: next.seq, found: commit.expected_seq });
        }
        next.seq = commit.seq_after();
        next.last_time = commit.facts.iter().map(|fact| fact.at).fold(next.last_time, Timestamp::max);
    }
    Ok(next)
}

/// The fact numbers of a page, or why the page is unavailable.
pub(crate) fn page_bounds(after: Seq, limit: usize, first: Seq, last: Seq) -> Result<Range<u64>, StoreError> {
    if after.0.saturating_add(1) < first.0 || after > last {
        return Err(StoreError::OutOfRange { after, first, last });
    }
    let end = (after.0 + 1).saturating_add(limit as u64).min(last.0 + 1);
    Ok(after.0 + 1..end)
}

/// A page of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsPage {
    /// The facts with their numbers, without a gap.
    pub facts: Vec<(Seq, Fact)>,
    /// The last durable fact: a reader that has it is up to date.
    pub last: Seq,
}
