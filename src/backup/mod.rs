//! Backups of a Taskmaster: everything that cannot be made again, in one tar file. `backup.json` says first what it is;
//! then come `store.jsonl`, `blobs/`, `cluster/` and `projects/<name>/hub.git` (and `inbox.git`); `contents.json` says
//! last what there must have been.
//!
//! Store and refs are of one moment, taken while no merge can land; objects and blobs are only ever added, and follow.
//! So every commit that the store names is in the hub of the same file.
//! Deliberately absent: configuration, `.env`, logs, workspaces, and encryption: it holds the keys of the cluster, is
//! written with mode 0600, and whoever keeps it keeps it as such.

mod archive;
mod restore;
mod take;

use std::{collections::BTreeMap, io, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use archive::{Archive, check};
pub use restore::{Restored, beside, restore};
pub use take::{Material, write};

/// The version of the format; another is refused.
pub const FORMAT: u32 = 1;
/// What a restore leaves in a state directory, for those that follow and for the numbers of attempts.
pub const MARK: &str = "restored.json";

const HEAD: &str = "backup.json";
const STORE: &str = "store.jsonl";
const BLOBS: &str = "blobs";
const CLUSTER: &str = "cluster";
const PROJECTS: &str = "projects";
const CONTENTS: &str = "contents.json";

/// What a backup is, known before its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: u32,
    /// The devstack that wrote it.
    pub version: String,
    /// When, in milliseconds since 1970.
    pub made_at: u64,
    /// The last fact of the store in it.
    pub seq: u64,
    /// The installation.
    pub installation: String,
    /// Is it of a cluster, so that the keys of its CA and of the Taskmaster are in it?
    pub has_keys: bool,
    /// The number behind which attempts begin ([`devstack_dag::Config::attempts_behind`]).
    pub attempts_behind: u32,
}

/// What was written into one part of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// BLAKE3 over name, size and BLAKE3 of each, in their order.
    pub digest: String,
}

/// What a backup must hold: its parts by name, `store`, `blobs`, `cluster`, `projects/shop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The parts.
    pub sections: BTreeMap<String, Section>,
}

impl Contents {
    /// All bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.sections.values().map(|section| section.bytes).sum()
    }

    /// The names of the projects.
    pub fn projects(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().filter_map(|name| name.strip_prefix("projects/"))
    }
}

/// What a restore says of itself, in [`MARK`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When the state was restored, in milliseconds since 1970.
    pub restored_at: u64,
    /// When the backup was made.
    pub made_at: u64,
    /// The last fact that the backup had.
    pub seq: u64,
    /// No attempt gets a number up to this one: it may have been given after the backup was made.
    pub attempts_behind: u32,
}

impl Mark {
    /// The mark of a state directory; `None`: it was never restored.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(state_dir: &std::path::Path) -> io::Result<Option<Self>> {
        match std::fs::read(state_dir.join(MARK)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Why a backup is not written, or not restored. A refused restore leaves nothing.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is none of ours.
    #[error("it is no backup of devstack: {0}")]
    NotABackup(String),
    /// Another version.
    #[error("it is of format {found}, this devstack reads format {FORMAT}")]
    Format {
        /// What it says.
        found: u32,
    },
    /// It ends early, or is not what was written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// A repository lacks what the store names.
    #[error("the backup's repository of project {project} lacks commit {commit}, which its store names")]
    Incomplete {
        /// The project.
        project: String,
        /// The commit.
        commit: String,
    },
    /// The file system refused.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// The verb.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Git.
    #[error(transparent)]
    Repository(#[from] crate::repository::Error),
    /// The store of the backup, or the one that is filled.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The store's part of the backup.
    #[error(transparent)]
    Transfer(#[from] crate::store::TransferError),
}

impl BackupError {
    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
