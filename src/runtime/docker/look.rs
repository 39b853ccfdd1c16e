//! What people are told of an engine before anything runs on it: `doctor`, `run`, `quickstart`. Changes nothing.

use std::path::{Path, PathBuf};

use super::{config::NFT, engine::Engine, firewall, fitness, image, image::ANSWER, secrets};

/// Does an engine answer at this socket?
///
/// # Errors
/// For people: why not.
pub async fn answers(socket: &Path) -> Result<(), String> {
    Engine::new(socket.to_owned(), ANSWER, ANSWER).ping().await.map_err(|error| error.to_string())
}

/// Those of these images that the engine has not, in their order.
///
/// # Errors
/// For people: nobody answers.
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

/// Could a node that this user starts here keep agents on private bridges from the host and its networks?
///
/// # Errors
/// For people: why not.
pub async fn guards_bridges() -> Result<(), String> {
    firewall::probe(NFT.into()).await
}

/// What an engine is, for people.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `docker 20.10.24, cgroup v1`.
    pub version: String,
    /// Do containers outlive it?
    pub live_restore: bool,
    /// Why no attempt may run on it; empty: it may.
    pub unfit: Vec<String>,
    /// Can it limit memory?
    pub memory_limit: bool,
    /// Can it limit processes?
    pub pids_limit: bool,
    /// Can it limit processor time?
    pub cpu_limit: bool,
    /// Is the minimal image there?
    pub minimal: bool,
    /// Where secrets of containers would be, or why nowhere.
    pub secrets: Result<PathBuf, String>,
}

/// Looks at the engine behind a socket; changes nothing.
///
/// # Errors
/// For people: nobody answers there.
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
