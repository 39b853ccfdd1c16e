//! Probes an engine before anything runs on it, and reports to the user: `doctor`, `run`, `quickstart`. Changes
//! nothing.

use std::path::{Path, PathBuf};

use super::{config::NFT, engine::Engine, firewall, fitness, image, image::ANSWER, secrets};

/// Checks that an engine answers at this socket.
///
/// # Errors
/// Why it does not, for users.
pub async fn answers(socket: &Path) -> Result<(), String> {
    Engine::new(socket.to_owned(), ANSWER, ANSWER).ping().await.map_err(|error| error.to_string())
}

/// The images of this list that the engine lacks, in order.
///
/// # Errors
/// No engine answers; for users.
pub async fn missing(socket: &Path, names: &[String]) -> Result<Vec<String>, String> {
    let engine = Engine::new(socket.to_owned(), ANSWER, ANSWER);
    let mut missing = Vec::new();
    for name in names {
        if image::find(&engine, name).await.map_err(|error| error.to_string())?.is_none() {
            missing.push(name.clone());
        }
    }
    Ok(missing)
}

/// Checks whether a node started here by this user could isolate agents on private bridges from the host and its
/// networks.
///
/// # Errors
/// Why it could not, for users.
pub async fn guards_bridges() -> Result<(), String> {
    firewall::probe(NFT.into()).await
}

/// Description of an engine, for users.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `docker 20.10.24, cgroup v1`.
    pub version: String,
    /// Whether containers survive a restart of the engine.
    pub live_restore: bool,
    /// Why attempts cannot run on it; empty if they can.
    pub unfit: Vec<String>,
    /// Whether it can limit memory.
    pub memory_limit: bool,
    /// Whether it can limit processes.
    pub pids_limit: bool,
    /// Whether it can limit processor time.
    pub cpu_limit: bool,
    /// Whether the minimal image exists.
    pub minimal: bool,
    /// Where secrets of containers would be stored, or why they cannot be.
    pub secrets: Result<PathBuf, String>,
}

/// Probes the engine behind a socket; changes nothing.
///
/// # Errors
/// No engine answers there; for users.
pub async fn look(socket: &Path) -> Result<Seen, String> {
    let engine = Engine::new(socket.to_owned(), ANSWER, ANSWER);
    let info = engine.info().await.map_err(|error| error.to_string())?;
    let minimal = image::find(&engine, image::MINIMAL).await.map_err(|error| error.to_string())?.is_some();
    let cgroup = info.cgroup_version.map_or_else(String::new, |version| format!(", cgroup v{version}"));
    Ok(Seen {
        unfit: fitness::unfit(&info),
        version: format!("docker {}{cgroup}", info.server_version.unwrap_or_default()),
        live_restore: info.live_restore_enabled.unwrap_or(false),
        memory_limit: info.memory_limit.unwrap_or(false),
        pids_limit: info.pids_limit.unwrap_or(false),
        cpu_limit: info.cpu_cfs_quota.unwrap_or(false),
        minimal,
        secrets: secrets::place(),
    })
}
