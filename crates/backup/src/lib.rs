//! Backups of a Taskmaster: everything that cannot be recreated, in one tar file. `backup.json` comes first and
//! describes the file; then come `store.jsonl`, `blobs/`, `cluster/` and `projects/<name>/hub.git` (and `inbox.git`);
//! `contents.json` comes last and lists what the file must contain.
//!
//! The store and the refs are from one moment, captured while no merge can land. Objects and blobs are only ever added,
//! so they are copied afterwards. Every commit that the store names is therefore in the hub of the same file.
//! Deliberately absent: configuration, `.env`, logs, workspaces, and encryption. The file holds the keys of the cluster
//! and is written with mode 0600; its owner must protect it accordingly.

mod archive;
mod restore;
mod take;

use std::{collections::BTreeMap, io, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use archive::{Archive, check};
pub use restore::{Restored, beside, restore};
pub use take::{Material, write};

/// The version of the format; any other version is refused.
pub const FORMAT: u32 = 1;
/// The file that a restore leaves in a state directory, for later restores and for the attempt numbers.
pub const MARK: &str = "restored.json";

const HEAD: &str = "backup.json";
const STORE: &str = "store.jsonl";
const BLOBS: &str = "blobs";
const CLUSTER: &str = "cluster";
const PROJECTS: &str = "projects";
const CONTENTS: &str = "contents.json";

/// Description of a backup, known before its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of devstack that wrote the backup.
    pub version: String,
    /// Time of the backup, in milliseconds since 1970.
    pub made_at: u64,
    /// The last fact of the store in it.
    pub seq: u64,
    /// The installation label.
    pub installation: String,
    /// Whether the backup is from a cluster, and so contains the keys of its CA and of the Taskmaster.
    pub has_keys: bool,
    /// New attempts get numbers above this one ([`devstack_dag::Config::attempts_behind`]).
    pub attempts_behind: u32,
}

/// Content of one section of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Number of files.
    pub files: u64,
    /// Total size of the files in bytes.
    pub bytes: u64,
    /// BLAKE3 over name, size and BLAKE3 of each file, in order.
    pub digest: String,
}

/// The required content of a backup: its sections by name, `store`, `blobs`, `cluster`, `projects/shop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The sections.
    pub sections: BTreeMap<String, Section>,
}

impl Contents {
    /// Total size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.sections.values().map(|section| section.bytes).sum()
    }

    /// The names of the projects.
    pub fn projects(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().filter_map(|name| name.strip_prefix("projects/"))
    }
}

/// The record of a restore, stored in [`MARK`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When the state was restored, in milliseconds since 1970.
    pub restored_at: u64,
    /// When the backup was made, in milliseconds since 1970.
    pub made_at: u64,
    /// The last fact in the backup.
    pub seq: u64,
    /// No attempt gets a number up to this one: it may have been used after the backup was made.
    pub attempts_behind: u32,
}

impl Mark {
    /// Reads the mark of a state directory; `None` if it was never restored.
    ///
    /// # Errors
    /// The mark exists and cannot be read.
    pub fn read(state_dir: &std::path::Path) -> io::Result<Option<Self>> {
        match std::fs::read(state_dir.join(MARK)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Why a backup cannot be written or restored. A refused restore leaves nothing behind.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is not a devstack backup.
    #[error("not a devstack backup: {0}")]
    NotABackup(String),
    /// The backup has another format version.
    #[error("the backup has format {found}, this version of devstack reads format {FORMAT}")]
    Format {
        /// The format version of the backup.
        found: u32,
    },
    /// The backup ends early, or differs from what was written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// A repository lacks a commit that the store names.
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
        /// The operation, as a verb.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A git error.
    #[error(transparent)]
    Repository(#[from] devstack_repository::Error),
    /// An error of the backup's store, or of the store that is filled.
    #[error(transparent)]
    Store(#[from] devstack_store::StoreError),
    /// An error in the store section of the backup.
    #[error(transparent)]
    Transfer(#[from] devstack_store::TransferError),
}

impl BackupError {
    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
