//! Which private bridge an attempt gets: the first that has room, in the order of the configuration, so that the next is made
//! only when those before it are full.
//!
//! Architecture invariants: ports are counted from what the engine lists, before every start, plus the starts under way;
//! what is remembered in between is for people and never for a decision. While a start was refused for want of a port, the
//! host says so and takes none; the next port that comes free ends that.
//! Deliberately absent: moving containers between bridges.

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
use crate::{config::node::Shard as Configured, runtime::Shard};

/// The bridges of a host.
pub(super) struct Shards {
    installation: String,
    health: Arc<Health>,
    bridges: Vec<Bridge>,
    guard: Guard,
    /// A bridge whose guard is not in force is used all the same.
    unguarded: bool,
    ports: Mutex<Ports>,
    /// One chooses at a time: two would take the same last port.
    choosing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Ports {
    /// By the container's name.
    used: HashMap<String, Port>,
    /// Counts what came free: a list that was asked for before is out of date.
    freed: u64,
}

struct Port {
    bridge: usize,
    /// The engine need not know of it yet.
    starting: bool,
}

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPort {
    /// All are in use.
    #[error("{0}")]
    Full(String),
    /// The bridge's guard is not in force.
    #[error("{0}")]
    Unguarded(String),
    /// The engine cannot say, or cannot make the bridge.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A port that is held for a container about to start; without [`Place::keep`] it comes free when this is dropped.
pub(super) struct Place {
    shards: Arc<Shards>,
    container: String,
    bridge: usize,
    kept: bool,
}

impl Place {
    /// The network, for the engine.
    pub(super) fn network(&self) -> &str {
        &self.shards.bridges[self.bridge].name
    }

    /// The container is there: from now on the engine tells.
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
        // Every change is one call on a map.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A port on a bridge that is there and guarded.
    ///
    /// # Errors
    /// Every bridge is full, or the one that has room cannot be made, or is not guarded.
    pub(super) async fn place(self: &Arc<Self>, engine: &Engine, container: &str) -> Result<Place, NoPort> {
        let place = self.choose(engine, container).await?;
        let bridge = &self.bridges[place.bridge];
        bridge.ensure(engine).await?;
        // Every time: the rules may have gone with somebody's flush, and a bridge without them is no private one.
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
                // While the ports are locked: one that comes free now must find it.
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
            "there is no room on a private bridge ({}): wait for an attempt to end, or add to `shards` of [agent_host]",
            each.collect::<Vec<_>>().join(", ")
        )
    }

    /// Takes over what the engine lists.
    pub(super) fn see(&self, listed: &[ContainerSummary]) {
        self.ports().see(&self.bridges, listed);
    }

    /// This container holds no port any more.
    pub(super) fn free(&self, container: &str) {
        let mut ports = self.ports();
        ports.freed += 1;
        if ports.used.remove(container).is_some() {
            self.health.full(None);
        }
    }

    /// For people, from what was seen last.
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

    /// Removes every network of ours that nothing uses, also of shards that are configured no more, and the rules when none is
    /// left.
    pub(super) async fn tidy(&self, engine: &Engine) -> Result<(), EngineError> {
        let mut stays = false;
        for network in engine.networks(&container::ours(&self.installation)).await? {
            let name = network.name.unwrap_or_default();
            if let Err(error) = engine.remove_network(&name).await {
                tracing::debug!(network = name, %error, "a private bridge stays");
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
            // What is over has left its bridge; what was only made is about to be on it.
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
