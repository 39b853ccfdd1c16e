//! The subnets of private bridges, compared with the routes of this machine: if a subnet is already routed elsewhere,
//! either that network or the bridge would be unreachable.
//! Deliberately absent: IPv6, which bridges do not use.

use std::{fs, net::Ipv4Addr};

use super::{Check, Health, check};
use devstack_config::node::{NodeConfig, Runtime, Shard};

/// The prefix of the interfaces of our own bridges.
const OURS: &str = "dvs-";

/// A route of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    interface: String,
    to: Ipv4Addr,
    bits: u32,
}

pub(super) fn examine(config: &NodeConfig) -> Check {
    if config.agent_host.runtime != Runtime::Docker {
        return check("subnets", Health::Ok, "attempts are processes, without bridges", None);
    }
    match fs::read_to_string("/proc/net/route") {
        Ok(text) => judge(&config.agent_host.shards, &routes(&text)),
        Err(error) => {
            let message = format!("cannot read the routes of this machine: {error}");
            check("subnets", Health::Warning, message, Some("mount /proc"))
        }
    }
}

/// Parses `/proc/net/route`, whose addresses are hexadecimal with reversed bytes. Skips default routes.
fn routes(text: &str) -> Vec<Route> {
    let address = |hex: &str| u32::from_str_radix(hex, 16).ok().map(u32::swap_bytes);
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (interface, to, mask) = (*fields.first()?, address(fields.get(1)?)?, address(fields.get(7)?)?);
        (mask != 0).then(|| Route { interface: interface.to_owned(), to: Ipv4Addr::from(to), bits: mask.count_ones() })
    };
    text.lines().skip(1).filter_map(route).collect()
}

fn judge(shards: &[Shard], routes: &[Route]) -> Check {
    for shard in shards {
        let others = routes.iter().filter(|route| !route.interface.starts_with(OURS));
        let clash = others.into_iter().find(|route| shard.overlaps(&format!("{}/{}", route.to, route.bits)));
        if let (Some(subnet), Some(Route { interface, to, bits })) = (&shard.subnet, clash) {
            let message = format!("{subnet} of shard {} is routed to {interface} ({to}/{bits})", shard.name);
            let hint = "set another `subnet` in [agent_host] shards; `ip route` lists the networks in use";
            return check("subnets", Health::Failed, message, Some(hint));
        }
    }
    let named: Vec<&str> = shards.iter().filter_map(|shard| shard.subnet.as_deref()).collect();
    let message = match named.as_slice() {
        [] => "no subnet is configured; bridges use free ones".to_owned(),
        named => format!("{} are free", named.join(", ")),
    };
    check("subnets", Health::Ok, message, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t0000000A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
        dvs-0123\t0000C80A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\nnonsense\n";

    fn shard(subnet: Option<&str>) -> Vec<Shard> {
        vec![Shard { name: "a".into(), subnet: subnet.map(str::to_owned), capacity: 200 }]
    }

    #[test]
    fn routes_are_read_from_the_kernels_table() {
        let found = routes(TABLE);
        let text: Vec<String> = found.iter().map(|r| format!("{} {}/{}", r.interface, r.to, r.bits)).collect();
        assert_eq!(text, ["eth0 10.0.0.0/16", "dvs-0123 10.200.0.0/24"]);
    }

    #[test]
    fn a_subnet_that_is_routed_elsewhere_fails_and_our_own_bridge_does_not_count() {
        let of = |subnet| judge(&shard(subnet), &routes(TABLE));
        let found = of(Some("10.0.7.0/24"));
        assert!(found.status == Health::Failed && found.message.contains("routed to eth0 (10.0.0.0/16)"), "{found:?}");
        for fine in [Some("10.200.0.0/24"), Some("192.168.7.0/24"), None] {
            assert_eq!(of(fine).status, Health::Ok);
        }
    }
}
