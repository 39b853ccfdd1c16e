//! Fetches what attempts need: commits of a project and long texts. This implementation reads the hubs and blobs of the
//! same machine; a host on another machine fetches them over HTTPS behind the same trait. Deliberately absent:
//! workspaces (the shim makes them) and the mirror's files (devstack_repository).

use std::{path::Path, sync::Arc};

use devstack_dag::ids::{CommitId, ProjectName, Text};

use devstack_repository::{Hubs, mirror::Mirror};
use devstack_store::Blobs;

/// The source of material. Every call blocks; errors are for users.
pub trait Supply: Send + Sync + 'static {
    /// The name of a project's integration branch.
    fn integration(&self, project: &ProjectName) -> Result<String, String>;
    /// Updates a project's mirror to its integration head.
    fn update(&self, project: &ProjectName, mirror: &Mirror) -> Result<(), String>;
    /// Writes a bundle of the commits that `tip` has and `known` lacks into a new file.
    fn bundle(&self, project: &ProjectName, tip: CommitId, known: CommitId, path: &Path) -> Result<(), String>;
    /// Reads a prompt, feedback or the material of a conflict; refuses more than `max` bytes.
    fn text(&self, text: &Text, max: u64) -> Result<String, String>;
}

/// A supply from the hubs and blobs of this machine.
pub struct Local {
    /// `None` if there is no usable git.
    pub hubs: Option<Arc<Hubs>>,
    /// Long texts.
    pub blobs: Arc<Blobs>,
}

impl Local {
    fn hubs(&self) -> Result<&Hubs, String> {
        let missing = "no usable git on this host; run `devstack doctor` for the fix";
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
        self.blobs.read_text(text, max).map_err(|error| format!("cannot read its prompt: {error}"))
    }
}
