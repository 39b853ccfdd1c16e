//! A private bridge of this host: containers reach the outside through it, and neither each other nor what the
//! firewall forbids.
//!
//! Architecture invariants: made when an attempt first needs it; a bridge that is there is checked, not believed;
//! another's network is never changed. Deliberately absent: which bridge an attempt gets (`shards`).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};

use super::{
    container,
    engine::{Engine, EngineError},
};
use crate::config::node::Shard;

/// Subnets to choose from where the configuration names none: 64 of 1,022 addresses in a corner of 10.0.0.0/8 that neither
/// Docker's pools nor the usual home and office networks use. An installation starts at its own.
const SUBNETS: u32 = 64;
/// The shard whose bridge carries the installation's name alone, as when there was but one: containers of a node that
/// knew no shards are on it.
const DEFAULT: &str = "default";
/// The option with the name of a bridge's interface.
pub(super) const INTERFACE: &str = "com.docker.network.bridge.name";
const BETWEEN_CONTAINERS: &str = "com.docker.network.bridge.enable_icc";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";

/// The bridge of one shard.
pub(super) struct Bridge {
    /// The shard, as configured.
    pub(super) shard: Shard,
    /// The network, for the engine.
    pub(super) name: String,
    /// The interface, for the firewall: at most 15 bytes.
    pub(super) interface: String,
    installation: String,
    /// Tried one after the other.
    candidates: Vec<String>,
    /// The subnet that it has, once that was seen.
    subnet: Mutex<Option<String>>,
}

impl Bridge {
    /// The bridge of a shard; `all` of them, whose subnets it leaves alone.
    pub(super) fn new(installation: &str, shard: &Shard, all: &[Shard]) -> Self {
        let taken = |candidate: &str| all.iter().any(|other| other.overlaps(candidate));
        let first = installation.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let candidates = match &shard.subnet {
            Some(subnet) => vec![subnet.clone()],
            None => (0..SUBNETS)
                .map(|step| subnet(first.wrapping_add(step) % SUBNETS))
                .filter(|candidate| !taken(candidate))
                .collect(),
        };
        let name = match shard.name.as_str() {
            DEFAULT => format!("devstack-{installation}"),
            other => format!("devstack-{installation}-{other}"),
        };
        Self {
            interface: interface(installation, &shard.name),
            name,
            installation: installation.to_owned(),
            candidates,
            subnet: Mutex::new(shard.subnet.clone()),
            shard: shard.clone(),
        }
    }

    /// The subnet as configured, or the one that it got; `None`: it was not needed yet.
    pub(super) fn subnet(&self) -> Option<String> {
        self.subnet.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes it if it is not there.
    ///
    /// # Errors
    /// Why there is none, or not one that isolates.
    pub(super) async fn ensure(&self, engine: &Engine) -> Result<(), EngineError> {
        if let Some(network) = engine.network(&self.name).await? {
            return self.check(&network);
        }
        let mut last = None;
        for candidate in &self.candidates {
            match engine.create_network(self.request(candidate.clone())).await {
                // 409: made meanwhile, by another attempt.
                Ok(()) | Err(EngineError::Conflict(_)) => break,
                Err(EngineError::Refused(why)) => last = Some(format!("{candidate}: {why}")),
                Err(error) => return Err(error),
            }
        }
        match engine.network(&self.name).await? {
            Some(network) => self.check(&network),
            None => Err(EngineError::Refused(format!(
                "no subnet for the private bridge of shard {} is free; the last one tried, {}",
                self.shard.name,
                last.unwrap_or_default()
            ))),
        }
    }

    fn request(&self, subnet: String) -> NetworkCreateRequest {
        let text = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        NetworkCreateRequest {
            name: self.name.clone(),
            driver: Some("bridge".to_owned()),
            enable_ipv6: Some(false),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig { subnet: Some(subnet), ..Default::default() }]),
                ..Default::default()
            }),
            options: Some(text(&[(INTERFACE, &self.interface), (BETWEEN_CONTAINERS, "false"), (MASQUERADE, "true")])),
            labels: Some(text(&[(container::INSTALLATION, &self.installation)])),
            ..Default::default()
        }
    }

    fn check(&self, network: &NetworkInspect) -> Result<(), EngineError> {
        if !has(&network.labels, container::INSTALLATION, &self.installation) {
            return Err(EngineError::Refused(format!("the network {} is not ours; rename or remove it", self.name)));
        }
        if !has(&network.options, BETWEEN_CONTAINERS, "false") {
            return Err(EngineError::Refused(format!("the network {} lets containers reach each other", self.name)));
        }
        // The rules of the firewall name the interface.
        if !has(&network.options, INTERFACE, &self.interface) {
            let name = &self.name;
            return Err(EngineError::Refused(format!("the network {name} is not on {}; remove it", self.interface)));
        }
        let pools = network.ipam.as_ref().and_then(|ipam| ipam.config.as_ref());
        if let Some(subnet) = pools.and_then(|pools| pools.first()?.subnet.clone()) {
            *self.subnet.lock().unwrap_or_else(PoisonError::into_inner) = Some(subnet);
        }
        Ok(())
    }
}

fn has(map: &Option<HashMap<String, String>>, name: &str, value: &str) -> bool {
    map.as_ref().and_then(|map| map.get(name)).is_some_and(|found| found == value)
}

fn subnet(index: u32) -> String {
    format!("10.231.{}.0/22", index * 4)
}

/// The installation's, as far as the kernel's 15 bytes reach; shards beside the default by a hash (FNV-1a) of their names.
fn interface(installation: &str, shard: &str) -> String {
    let head = |bytes: usize| installation.chars().take(bytes).collect::<String>();
    if shard == DEFAULT {
        return format!("dvs-{}", head(10));
    }
    let named = installation.bytes().chain(*b"/").chain(shard.bytes());
    let hash = named.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("dvs-{}{:06x}", head(5), (hash ^ (hash >> 24)) & 0x00ff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(name: &str, subnet: Option<&str>) -> Shard {
        Shard { name: name.to_owned(), subnet: subnet.map(str::to_owned), capacity: 2 }
    }

    #[test]
    fn names_fit_the_kernel_and_subnets_their_corner() {
        let names = ["default", "a", "b", "a-name-of-thirty-two-characters-"];
        let interfaces = names.map(|name| interface("0123456789abcdef", name));
        assert!(interfaces.iter().all(|name| name.len() <= 15 && name.starts_with("dvs-01234")), "{interfaces:?}");
        assert_eq!(interfaces.iter().collect::<std::collections::HashSet<_>>().len(), names.len());
        assert_eq!((subnet(0).as_str(), subnet(63).as_str()), ("10.231.0.0/22", "10.231.252.0/22"));
    }

    /// What a node that knew one bridge called it.
    #[test]
    fn the_default_shard_keeps_the_names_it_always_had() {
        let bridge = Bridge::new("0123456789abcdef", &shard("default", None), &[]);
        assert_eq!((bridge.name.as_str(), bridge.interface.as_str()), ("devstack-0123456789abcdef", "dvs-0123456789"));
    }

    #[test]
    fn a_shard_without_a_subnet_leaves_the_others_theirs() {
        let all = [shard("a", None), shard("b", Some("10.231.0.0/17"))];
        let bridge = Bridge::new("x", &all[0], &all);
        assert_eq!(bridge.candidates.len(), 32);
        assert!(bridge.candidates.iter().all(|candidate| !all[1].overlaps(candidate)));
    }
}
