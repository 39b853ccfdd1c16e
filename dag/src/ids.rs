//! Names as validated newtypes, so that a wrong id is refused where it enters.
//! Deliberately absent: making ids up. Randomness comes from the shell, numbers from the engine.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: use 1 to {max} letters, digits, `_` or `-`, starting with a letter or digit")]
pub struct InvalidName {
    /// What kind of name was expected, for example `task id`.
    pub what: &'static str,
    /// The refused text, cut to 80 characters.
    pub text: String,
    /// The longest allowed name, in bytes.
    pub max: usize,
}

/// The longest name of anything, in bytes (contract: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`).
pub const MAX_NAME: usize = 64;

fn check_name(text: &str, what: &'static str) -> Result<(), InvalidName> {
    let mut bytes = text.bytes();
    let head = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let tail = bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if head && tail && text.len() <= MAX_NAME {
        return Ok(());
    }
    Err(InvalidName { what, text: text.chars().take(80).collect(), max: MAX_NAME })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The validated name; refuses anything but `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                check_name(text, $what)?;
                Ok(Self(text.into()))
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(&text)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A project: a repository and its integration branch, or a set of plain commands.
    ProjectName,
    "project name"
);
name!(
    /// A task's id, unique in its project.
    TaskId,
    "task id"
);
name!(
    /// A role: a template from the plan. Names are data; no code branches on them.
    RoleName,
    "role name"
);
name!(
    /// An agent: a project's named worker in a slot, `dev1`.
    AgentName,
    "agent name"
);
name!(
    /// A machine that runs an AgentHost.
    HostName,
    "host name"
);

/// A task in its project: `shop/T-001`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskRef {
    /// The project.
    pub project: ProjectName,
    /// The id within it.
    pub id: TaskId,
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.id)
    }
}
impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One try of one stage of a task: `shop/T-001/3`. The number grows over all stages of the task
/// and is the fencing epoch: only the newest attempt of a task is valid.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task.
    pub task: TaskRef,
    /// Counts from 1.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.task, self.number)
    }
}
impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A git commit, SHA-1. Shown as 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommitId(pub [u8; 20]);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 40 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a commit id is 40 hexadecimal digits")]
pub struct InvalidCommitId;

impl FromStr for CommitId {
    type Err = InvalidCommitId;
    fn from_str(text: &str) -> Result<Self, InvalidCommitId> {
        let digits = text.as_bytes();
        if digits.len() != 40 {
            return Err(InvalidCommitId);
        }
        let mut id = [0u8; 20];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |b: u8| (b as char).to_digit(16).ok_or(InvalidCommitId);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(id))
    }
}

/// A payload in the content-addressed blob directory: the BLAKE3 digest of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId(pub [u8; 32]);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text of any size: short ones travel inline, long ones as a blob that is durable before a
/// fact names it. The shell decides; the engine never looks inside.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Text {
    /// At most [`Text::INLINE_MAX`] bytes.
    Inline(Box<str>),
    /// A blob and its size in bytes.
    Blob(BlobId, u64),
}

impl Text {
    /// Longer texts must be blobs, so that a record stays within 16 KiB.
    pub const INLINE_MAX: usize = 2048;

    /// The empty text.
    pub fn empty() -> Self {
        Self::Inline("".into())
    }
}

/// A merge of the integration branch, numbered in its project from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MergeId(pub u64);

/// Milliseconds since 1970-01-01 UTC on a clock that never runs backwards: the shell passes
/// the larger of the last persisted time and the present one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub u64);
