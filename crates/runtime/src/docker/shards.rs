//! Chooses the private bridge of an attempt: the first one with room, in the order of the configuration, so that a
//! bridge is made only when all bridges before it are full.
//!
//! Architecture invariants: before every start, ports are counted from the engine's list, plus the starts in progress;
//! the remembered counts are for display and never for a decision. After a start fails because no port is free, the
//! host reports itself full and accepts no starts until a port is released. Deliberately absent: moving containers
//! between bridges.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};

use super::{
    config::DockerConfig,
    container,
    engine::{Engine, EngineError},
    firewall::Guard,
    health::Health,
    network::Bridge,
};
use crate::Shard;
use devstack_config::node::Shard as Configured;

/// The bridges of a host.
pub(super) struct Shards {
    installation: String,
    health: Arc<Health>,
    bridges: Vec<Bridge>,
    guard: Guard,
    /// Whether a bridge is used although its guard is not in force.
    unguarded: bool,
    ports: Mutex<Ports>,
    /// One caller chooses at a time: two would take the same last port.
    choosing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Ports {
    /// By the container's name.
    used: HashMap<String, Port>,
    /// Counts released ports: a list that was requested before is out of date.
    freed: u64,
}

struct Port {
    bridge: usize,
    /// The engine may not know the container yet.
    starting: bool,
}

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPort {
    /// All ports are in use.
    #[error("{0}")]
    Full(String),
    /// The bridge's guard is not in force.
    #[error("{0}")]
    Unguarded(String),
    /// The engine cannot list ports, or cannot create the bridge.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A reserved port for a container about to start; unless [`Place::keep`] is called, dropping this releases it.
pub(super) struct Place {
    shards: Arc<Shards>,
    container: String,
    bridge: usize,
    kept: bool,
}

impl Place {
    /// The network's name in the engine.
    pub(super) fn network(&self) -> &str {
        &self.shards.bridges[self.bridge].name
    }

    /// The container exists: from now on the engine's list counts it.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            return self.shards.free(&self.container);
        }
        if let Some(port) = self.shards.ports().used.get_mut(&self.container) {
            port.starting = false;
        }
    }
}

impl Shards {
    pub(super) fn new(config: &DockerConfig, health: Arc<Health>) -> Arc<Self> {
        let (installation, configured) = (&config.installation, &config.shards);
        let bridges: Vec<Bridge> =
            configured.iter().map(|shard| Bridge::new(installation, shard, configured)).collect();
        let interfaces = bridges.iter().map(|bridge| bridge.interface.clone()).collect();
        Arc::new(Self {
            installation: installation.clone(),
            health,
            guard: Guard::new(config.nft.clone(), installation, interfaces, config.bridge_reach.clone()),
            unguarded: config.unguarded_bridge,
            bridges,
            ports: Mutex::default(),
            choosing: tokio::sync::Mutex::default(),
        })
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        // Every change is a single call on a map.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a port on a bridge that exists and is guarded.
    ///
    /// # Errors
    /// Every bridge is full, or the one with room cannot be created, or is not guarded.
    pub(super) async fn place(self: &Arc<Self>, engine: &Engine, container: &str) -> Result<Place, NoPort> {
        let place = self.choose(engine, container).await?;
        let bridge = &self.bridges[place.bridge];
        bridge.ensure(engine).await?;
        // Checked every time: a flush may have removed the rules, and a bridge without them is not private.
        match self.guard.hold(&bridge.interface).await {
            Ok(()) => {}
            Err(why) if self.unguarded => {
                tracing::warn!(%why, "containers on the private bridge can reach this host's own addresses and private networks");
            }
            Err(why) => return Err(NoPort::Unguarded(why)),
        }
        Ok(place)
    }

    async fn choose(self: &Arc<Self>, engine: &Engine, container: &str) -> Result<Place, NoPort> {
        let _alone = self.choosing.lock().await;
        loop {
            let freed = self.ports().freed;
            let listed = engine.list(&container::ours(&self.installation)).await?;
            let mut ports = self.ports();
            if ports.freed != freed {
                continue;
            }
            ports.see(&self.bridges, &listed);
            let counts = ports.counts(self.bridges.len());
            let room = self.bridges.iter().zip(&counts).position(|(bridge, used)| *used < bridge.shard.capacity);
            let Some(bridge) = room else {
                let why = self.full(&counts);
                // While the ports are locked: a port that is released now must be seen.
                self.health.full(Some(why.clone()));
                return Err(NoPort::Full(why));
            };
            ports.used.insert(container.to_owned(), Port { bridge, starting: true });
            return Ok(Place { shards: self.clone(), container: container.to_owned(), bridge, kept: false });
        }
    }

    fn full(&self, counts: &[u32]) -> String {
        let each = self.bridges.iter().zip(counts).map(|(bridge, used)| {
            let Configured { name, capacity, .. } = &bridge.shard;
            format!("{name} {used} of {capacity}")
        });
        format!(
            "all private bridges are full ({}): wait for an attempt to end, or add to `shards` of [agent_host]",
            each.collect::<Vec<_>>().join(", ")
        )
    }

    /// Updates the ports from the engine's list.
    pub(super) fn see(&self, listed: &[ContainerSummary]) {
        self.ports().see(&self.bridges, listed);
    }

    /// Releases the port of this container.
    pub(super) fn free(&self, container: &str) {
        let mut ports = self.ports();
        ports.freed += 1;
        if ports.used.remove(container).is_some() {
            self.health.full(None);
        }
    }

    /// The bridges for display, from the last known counts.
    pub(super) fn report(&self) -> Vec<Shard> {
        let counts = self.ports().counts(self.bridges.len());
        let report = |(bridge, ports): (&Bridge, u32)| Shard {
            name: bridge.shard.name.clone(),
            subnet: bridge.subnet(),
            ports,
            capacity: bridge.shard.capacity,
        };
        self.bridges.iter().zip(counts).map(report).collect()
    }

    /// Removes every unused network of ours, also of shards that are no longer configured, and the rules when none is
    /// left.
    pub(super) async fn tidy(&self, engine: &Engine) -> Result<(), EngineError> {
        let mut stays = false;
        for network in engine.networks(&container::ours(&self.installation)).await? {
            let name = network.name.unwrap_or_default();
            if let Err(error) = engine.remove_network(&name).await {
                tracing::debug!(network = name, %error, "a private bridge is not removed now");
                stays = true;
            }
        }
        if !stays {
            self.guard.remove().await;
        }
        Ok(())
    }
}

impl Ports {
    fn see(&mut self, bridges: &[Bridge], listed: &[ContainerSummary]) {
        self.used.retain(|_, port| port.starting);
        for one in listed {
            // A container that ended has left its bridge; a container that was only created is about to join it.
            if let Some(ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD) = one.state {
                continue;
            }
            let network = one.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
            let bridge = bridges.iter().position(|bridge| Some(bridge.name.as_str()) == network);
            let name = one.names.as_ref().and_then(|names| names.first());
            if let (Some(bridge), Some(name)) = (bridge, name) {
                let name = name.trim_start_matches('/').to_owned();
                self.used.entry(name).or_insert(Port { bridge, starting: false });
            }
        }
    }

    fn counts(&self, bridges: usize) -> Vec<u32> {
        let mut counts = vec![0; bridges];
        self.used.values().for_each(|port| counts[port.bridge] += 1);
        counts
    }
}
