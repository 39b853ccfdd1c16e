//! Builds the runtime that a node's configuration names, and decides where its agents may read. Deliberately absent:
//! running anything.

use std::{path::PathBuf, sync::Arc};

use super::{NodeError, agents_dir};
use devstack_config as config;
use devstack_config::node::NodeConfig;
use devstack_runtime::{DockerConfig, DockerRuntime, ProcessConfig, ProcessRuntime, Runtime, Sandbox};

/// The runtime, and the directory that its agents may read. `given` replaces the configured runtime.
pub(super) async fn open(
    config: &NodeConfig,
    label: &str,
    given: Option<Arc<dyn Runtime>>,
) -> Result<(Arc<dyn Runtime>, PathBuf), NodeError> {
    match (given, config.agent_host.runtime) {
        (Some(runtime), _) => Ok((runtime, config.state_dir.clone())),
        (None, config::node::Runtime::Docker) => docker(config, label.to_owned()).await,
        (None, config::node::Runtime::Process) => process(config, label.to_owned()).await,
    }
}

/// Thousandths of a processor for each slot.
fn cpu_share(slots: u32) -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    (processors.saturating_mul(1000) / slots.max(1)).max(10)
}

async fn docker(config: &NodeConfig, label: String) -> Result<(Arc<dyn Runtime>, PathBuf), NodeError> {
    let host = &config.agent_host;
    let mut docker = DockerConfig::new(config.state_dir.clone(), label, host.docker.clone());
    docker.bundle_max = config.limits.bundle_size;
    docker.shards = host.shards.clone();
    docker.bridge_reach = host.bridge_reach.clone();
    docker.unguarded_bridge = host.unguarded_bridge;
    docker.host = config.name.to_string();
    docker.log = host.log.clone();
    // Slots share the processors, so a busy loop takes nothing from the others.
    docker.cpu_millis = Some(cpu_share(host.slots));
    docker.pin = docker.cpu_millis >= Some(1000);
    agents_dir::unmask();
    // The engine opens paths for agents: containers see mounts, not the directories above them.
    Ok((Arc::new(DockerRuntime::open(docker).await?), config.state_dir.clone()))
}

async fn process(config: &NodeConfig, label: String) -> Result<(Arc<dyn Runtime>, PathBuf), NodeError> {
    let mut process = ProcessConfig::new(config.state_dir.clone(), label);
    process.bundle_max = config.limits.bundle_size;
    process.sandbox = match config.agent_host.sandbox {
        config::node::Sandbox::Auto => Sandbox::Auto,
        config::node::Sandbox::Off => Sandbox::Off,
    };
    let open = move || {
        let agents_dir = agents_dir::find(&process)?;
        process.attempts = agents_dir.join("attempts");
        Ok((Arc::new(ProcessRuntime::new(process)?) as Arc<dyn Runtime>, agents_dir))
    };
    tokio::task::spawn_blocking(open).await.map_err(|error| NodeError::Actors(error.to_string()))?
}
