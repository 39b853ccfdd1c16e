//! What a host fetches for its attempts: commits of a project and long texts. Here from hubs and blobs of the same
//! machine; a host elsewhere fetches them over HTTPS behind the same trait.
//! Deliberately absent: workspaces (the shim makes them) and the mirror's files (crate::repository).

use std::{path::Path, sync::Arc};

use devstack_dag::ids::{CommitId, ProjectName, Text};

use crate::{
    repository::{Hubs, mirror::Mirror},
    store::Blobs,
};

/// Where material comes from. Every call blocks; errors are for people.
pub trait Supply: Send + Sync + 'static {
    /// The name of a project's integration branch.
    fn integration(&self, project: &ProjectName) -> Result<String, String>;
    /// Brings a project's mirror up to its integration head.
    fn update(&self, project: &ProjectName, mirror: &Mirror) -> Result<(), String>;
    /// Writes a bundle of what `tip` has and `known` has not into a new file.
    fn bundle(&self, project: &ProjectName, tip: CommitId, known: CommitId, path: &Path) -> Result<(), String>;
    /// A prompt, feedback or the material of a conflict; refuses more than `max` bytes.
    fn text(&self, text: &Text, max: u64) -> Result<String, String>;
}

/// Hubs and blobs of this machine.
pub struct Local {
    /// `None`: there is no usable git.
    pub hubs: Option<Arc<Hubs>>,
    /// Long texts.
    pub blobs: Arc<Blobs>,
}

impl Local {
    fn hubs(&self) -> Result<&Hubs, String> {
        let missing = "there is no usable git on this host; `devstack doctor` says how to get it";
        self.hubs.as_deref().ok_or_else(|| missing.to_owned())
    }
}

fn of_repository(error: impl std::fmt::Display) -> String {
    format!("its repository: {error}")
}

impl Supply for Local {
    fn integration(&self, project: &ProjectName) -> Result<String, String> {
        let hub = self.hubs()?.get(project).map_err(of_repository)?;
        Ok(hub.integration().to_owned())
    }

    fn update(&self, project: &ProjectName, mirror: &Mirror) -> Result<(), String> {
        let hub = self.hubs()?.get(project).map_err(of_repository)?;
        mirror.update(&hub).map(drop).map_err(of_repository)
    }

    fn bundle(&self, project: &ProjectName, tip: CommitId, known: CommitId, path: &Path) -> Result<(), String> {
        let hub = self.hubs()?.get(project).map_err(of_repository)?;
        hub.bundle_for(tip, known, path).map_err(of_repository)
    }

    fn text(&self, text: &Text, max: u64) -> Result<String, String> {
        self.blobs.read_text(text, max).map_err(|error| format!("its prompt cannot be read: {error}"))
    }
}
