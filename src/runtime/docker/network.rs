//! The private bridge of this host: containers reach the outside through it, and neither each other nor the host's own
//! addresses nor the metadata address of a cloud.
//!
//! Architecture invariants: made when an attempt first needs it; a bridge that is there is checked, not believed;
//! another's network is never changed. Deliberately absent: filtering by domain.

use std::{collections::HashMap, process::Stdio};

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};

use super::{
    container,
    engine::{Engine, EngineError},
};

/// Subnets to choose from where the configuration names none: 64 of 1,022 addresses in a corner of 10.0.0.0/8 that neither
/// Docker's pools nor the usual home and office networks use. An installation starts at its own.
const SUBNETS: u32 = 64;
/// Link-local addresses: where clouds answer with credentials.
const METADATA: &str = "169.254.0.0/16";

/// The bridge of one installation.
pub(super) struct Bridge {
    /// The network, for the engine.
    pub(super) name: String,
    /// The interface, for the firewall: at most 15 bytes.
    interface: String,
    installation: String,
    subnet: Option<String>,
}

impl Bridge {
    /// The bridge of an installation; `subnet` as configured.
    pub(super) fn new(installation: &str, subnet: Option<String>) -> Self {
        let short: String = installation.chars().take(10).collect();
        Self {
            name: format!("devstack-{installation}"),
            interface: format!("dvs-{short}"),
            installation: installation.to_owned(),
            subnet,
        }
    }

    /// Makes it if it is not there, and its rules.
    ///
    /// # Errors
    /// Why there is none, or not one that isolates.
    pub(super) async fn ensure(&self, engine: &Engine) -> Result<(), EngineError> {
        if let Some(network) = engine.network(&self.name).await? {
            return self.check(&network);
        }
        let first = self.installation.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let candidates = match &self.subnet {
            Some(subnet) => vec![subnet.clone()],
            None => (0..SUBNETS).map(|step| subnet(first.wrapping_add(step) % SUBNETS)).collect(),
        };
        let mut last = None;
        for candidate in candidates {
            match engine.create_network(self.request(candidate.clone())).await {
                Ok(()) => return Ok(()),
                // Made meanwhile, by another attempt.
                Err(EngineError::Conflict(_)) => break,
                Err(EngineError::Refused(why)) => last = Some(format!("{candidate}: {why}")),
                Err(error) => return Err(error),
            }
        }
        match engine.network(&self.name).await? {
            Some(network) => self.check(&network),
            None => Err(EngineError::Refused(format!(
                "no subnet for the private bridge is free; the last one tried, {}",
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
            options: Some(text(&[
                ("com.docker.network.bridge.name", &self.interface),
                ("com.docker.network.bridge.enable_icc", "false"),
                ("com.docker.network.bridge.enable_ip_masquerade", "true"),
            ])),
            labels: Some(text(&[(container::INSTALLATION, &self.installation)])),
            ..Default::default()
        }
    }

    fn check(&self, network: &NetworkInspect) -> Result<(), EngineError> {
        if !self.is_ours(network) {
            return Err(EngineError::Refused(format!("the network {} is not ours; rename or remove it", self.name)));
        }
        if !has(&network.options, "com.docker.network.bridge.enable_icc", "false") {
            return Err(EngineError::Refused(format!("the network {} lets containers reach each other", self.name)));
        }
        Ok(())
    }

    fn is_ours(&self, network: &NetworkInspect) -> bool {
        has(&network.labels, container::INSTALLATION, &self.installation)
    }

    /// Drops what comes from the bridge for the host itself, and for metadata addresses.
    ///
    /// # Errors
    /// For people: why the rules cannot be set.
    pub(super) async fn guard(&self) -> Result<(), String> {
        for rule in self.rules() {
            let there = iptables("-C", &rule).await;
            if there.is_err() {
                iptables("-I", &rule).await?;
            }
        }
        Ok(())
    }

    /// Removes the network, if nothing uses it, and its rules.
    pub(super) async fn remove(&self, engine: &Engine) -> Result<(), EngineError> {
        match engine.network(&self.name).await? {
            Some(network) if !self.is_ours(&network) => return Ok(()),
            Some(_) => engine.remove_network(&self.name).await?,
            // The rules may be left of a node that was killed in between.
            None => {}
        }
        for rule in self.rules() {
            // It was never set.
            let _ = iptables("-D", &rule).await;
        }
        Ok(())
    }

    fn rules(&self) -> [Vec<String>; 2] {
        let comment = format!("devstack {}", self.installation);
        let rule = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let tail = ["-m", "comment", "--comment", &comment, "-j", "DROP"];
        [
            rule(&[&["INPUT", "-i", &self.interface][..], &tail].concat()),
            // Before Docker's own rules, which would let it pass.
            rule(&[&["FORWARD", "-i", &self.interface, "-d", METADATA][..], &tail].concat()),
        ]
    }
}

fn has(map: &Option<HashMap<String, String>>, name: &str, value: &str) -> bool {
    map.as_ref().and_then(|map| map.get(name)).is_some_and(|found| found == value)
}

fn subnet(index: u32) -> String {
    format!("10.231.{}.0/22", index * 4)
}

async fn iptables(what: &str, rule: &[String]) -> Result<(), String> {
    let mut command = tokio::process::Command::new("iptables");
    command.arg("-w").arg("5").arg(what).args(rule).stdin(Stdio::null());
    let output = command.output().await.map_err(|error| format!("iptables cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("iptables {what} {}: {}", rule.join(" "), said.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_subnets_their_corner() {
        let bridge = Bridge::new("0123456789abcdef", None);
        assert!(bridge.interface.len() <= 15);
        assert_eq!((subnet(0).as_str(), subnet(63).as_str()), ("10.231.0.0/22", "10.231.252.0/22"));
    }
}
