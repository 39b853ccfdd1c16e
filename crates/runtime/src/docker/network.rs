//! A private bridge of this host: through it containers reach the outside, but neither each other nor what the firewall
//! forbids.
//!
//! Architecture invariants: a bridge is made when an attempt first needs it; an existing bridge is checked, not
//! trusted; a foreign network is never changed. Deliberately absent: which bridge an attempt gets (`shards`).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};

use super::{
    container,
    engine::{Engine, EngineError},
};
use devstack_config::node::Shard;

/// Number of candidate subnets where the configuration names none: 64 of 1,022 addresses in a part of 10.0.0.0/8 that
/// neither Docker's pools nor the usual home and office networks use. Each installation starts with its own.
const SUBNETS: u32 = 64;
/// The shard whose bridge has only the installation's name, as when there was only one bridge: containers of a node
/// from before shards are on it.
const DEFAULT: &str = "default";
/// The option with the interface name of a bridge.
pub(super) const INTERFACE: &str = "com.docker.network.bridge.name";
const BETWEEN_CONTAINERS: &str = "com.docker.network.bridge.enable_icc";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";

/// The bridge of one shard.
pub(super) struct Bridge {
    /// The shard, as configured.
    pub(super) shard: Shard,
    /// The network's name in the engine.
    pub(super) name: String,
    /// The interface, for the firewall: at most 15 bytes.
    pub(super) interface: String,
    installation: String,
    /// Subnets to try in order.
    candidates: Vec<String>,
    /// Its subnet, once known.
    subnet: Mutex<Option<String>>,
}

impl Bridge {
    /// The bridge of a shard; `all` shards, whose subnets it avoids.
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

    /// The configured or assigned subnet; `None` if it was not needed yet.
    pub(super) fn subnet(&self) -> Option<String> {
        self.subnet.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Creates the network if it does not exist.
    ///
    /// # Errors
    /// Why there is no network, or none that isolates.
    pub(super) async fn ensure(&self, engine: &Engine) -> Result<(), EngineError> {
        if let Some(network) = engine.network(&self.name).await? {
            return self.check(&network);
        }
        let mut last = None;
        for candidate in &self.candidates {
            match engine.create_network(self.request(candidate.clone())).await {
                // 409: created meanwhile, by another attempt.
                Ok(()) | Err(EngineError::Conflict(_)) => break,
                Err(EngineError::Refused(why)) => last = Some(format!("{candidate}: {why}")),
                Err(error) => return Err(error),
            }
        }
        match engine.network(&self.name).await? {
            Some(network) => self.check(&network),
            None => Err(EngineError::Refused(format!(
                "no free subnet for the private bridge of shard {}; the last one tried, {}",
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
        // The firewall's rules contain the interface name.
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

/// The installation's name, as far as the kernel's 15 bytes allow; shards other than the default add a hash (FNV-1a) of
/// their names.
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

    /// The name in a node that knew only one bridge.
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
