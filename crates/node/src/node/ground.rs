//! The storage that a node has open while it runs: the store, blobs and hubs of a Taskmaster, logs, and the label that
//! marks everything of this installation. Deliberately absent: how the actors use it.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use devstack_cluster::files;

use super::{Mode, NodeError};
use crate::agent_host::Shelf;
use devstack_backup as backup;
use devstack_backup::Mark;
use devstack_config::node::NodeConfig;
use devstack_repository::{Hubs, git::Git};
use devstack_store::{Blobs, InstallationLabel, SledOptions, SledStore, Store, StoreError, StoreLock};

/// The longest wait for the store of a node that has just ended: a process that it forked also holds the lock, until it
/// has become another program.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// Where a node without a store keeps its label.
const LABEL_FILE: &str = "installation";

/// The open storage of a node.
pub(super) struct Ground {
    /// `None` if the Taskmaster is on another machine.
    pub(super) store: Option<Box<dyn Store>>,
    /// The lock that keeps other processes out of the directory, where no store does this.
    pub(super) held: Option<StoreLock>,
    /// Long texts.
    pub(super) blobs: Arc<Blobs>,
    /// `None` if there is no usable git here.
    pub(super) git: Option<Git>,
    /// The Taskmaster's hubs; `None` without git.
    pub(super) hubs: Option<Arc<Hubs>>,
    /// The log archive.
    pub(super) shelf: Shelf,
    /// The installation label.
    pub(super) label: String,
    /// Attempt numbers up to this one may have been used in a lost history: see [`backup::Mark`].
    pub(super) attempts_behind: u32,
}

impl Ground {
    /// Opens everything that the node's roles need.
    pub(super) async fn open(config: &NodeConfig, mode: Mode) -> Result<Self, NodeError> {
        let config = config.clone();
        let opened = tokio::task::spawn_blocking(move || Self::open_now(&config, mode)).await;
        opened.map_err(|error| NodeError::Actors(error.to_string()))?
    }

    fn open_now(config: &NodeConfig, mode: Mode) -> Result<Self, NodeError> {
        let dir = &config.state_dir;
        // A command that serves one request is the Taskmaster of its directory.
        let with_store = config.roles.taskmaster || mode == Mode::ServeOnly;
        let store = with_store.then(|| open_store(dir)).transpose()?;
        let (label, held) = match &store {
            Some(store) => (Store::meta(store).label.to_string(), None),
            None => {
                make_private_dirs(dir)?;
                let held = patiently(|| StoreLock::take(&dir.join("store")))?;
                (own_label(dir)?, Some(held))
            }
        };
        let unreadable = |source| NodeError::StateDir { path: dir.join(backup::MARK), source };
        let attempts_behind = Mark::read(dir).map_err(unreadable)?.map_or(0, |mark| mark.attempts_behind);
        // Without git a node still runs plans without a repository; `doctor` and every use of a repository report it.
        let git = Git::probe().ok();
        let hubs = git.clone().map(|git| Arc::new(Hubs::new(dir.join("projects"), git)));
        Ok(Self {
            store: store.map(|store| Box::new(store) as Box<dyn Store>),
            held,
            blobs: Arc::new(Blobs::open(&dir.join("blobs"))?),
            git,
            hubs,
            shelf: Shelf::new(dir.join("logs")),
            label,
            attempts_behind,
        })
    }
}

/// The label of a node without a store: random, made once, durable before anything uses it.
fn own_label(state_dir: &Path) -> Result<String, NodeError> {
    let path = state_dir.join(LABEL_FILE);
    let failed = |source| NodeError::StateDir { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Err(_) => {}
    }
    let mut label = [0; 16];
    getrandom::fill(&mut label).map_err(|error| failed(std::io::Error::other(error)))?;
    let label = InstallationLabel(label).to_string();
    files::replace(&path, label.as_bytes()).map_err(failed)?;
    Ok(label)
}

fn private_dir(state_dir: &Path, name: &str) -> Result<(), NodeError> {
    let path = state_dir.join(name);
    make_private(&path).map_err(|source| NodeError::StateDir { path, source })
}

/// Agents, as another user, traverse the state directory to their own directory; they must not access these.
const PRIVATE: [&str; 5] = ["store", "blobs", "projects", "logs", "uploads"];

fn make_private(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

fn make_private_dirs(state_dir: &Path) -> Result<(), NodeError> {
    PRIVATE.into_iter().try_for_each(|private| private_dir(state_dir, private))
}

fn open_store(state_dir: &Path) -> Result<SledStore, NodeError> {
    make_private_dirs(state_dir)?;
    patiently(|| SledStore::open(&state_dir.join("store"), SledOptions::default()))
}

fn patiently<T>(open: impl Fn() -> Result<T, StoreError>) -> Result<T, NodeError> {
    let started = std::time::Instant::now();
    loop {
        match open() {
            Err(StoreError::Held { .. }) if started.elapsed() < STORE_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return Ok(opened?),
        }
    }
}
