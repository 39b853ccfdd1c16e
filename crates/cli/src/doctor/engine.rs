//! Checks for containers: the engine, the image, the bridge's firewall, and memory for secrets.
//! Deliberately absent: checks that have nothing to do with containers (`doctor`).

use std::path::Path;

use super::{Check, Health, check};
use devstack_runtime::docker;

const START: &str = "start Docker (apt-get install docker.io), or set its socket: DOCKER_HOST=unix:///…; without \
Docker, use --runtime process";
const MINIMAL: &str = "devstack image build --minimal";
const FIREWALL: &str = "run the node as root with nftables (apt-get install nftables), or use network = \"none\"";

/// Runs all checks for containers.
pub(super) async fn examine(socket: &Path, unguarded: bool) -> Vec<Check> {
    let seen = match docker::look(socket).await {
        Ok(seen) => seen,
        Err(why) => return vec![check("engine", Health::Warning, why, Some(START))],
    };
    let keeps = if seen.live_restore { "live-restore on" } else { "live-restore off: attempts stop with the engine" };
    vec![
        check("engine", Health::Ok, format!("{}, {keeps}", seen.version), None),
        hardening(&seen),
        match seen.minimal {
            true => check("image", Health::Ok, format!("{} exists", docker::image::MINIMAL), None),
            false => {
                let message = format!("{} is missing: roles without an image cannot run", docker::image::MINIMAL);
                check("image", Health::Warning, message, Some(MINIMAL))
            }
        },
        firewall(docker::guards_bridges().await, unguarded),
        match seen.secrets {
            Ok(place) => check("secret memory", Health::Ok, place.display().to_string(), None),
            Err(why) => check("secret memory", Health::Warning, why, None),
        },
    ]
}

fn hardening(seen: &docker::Seen) -> Check {
    if !seen.unfit.is_empty() {
        let hint = "fix this, or use --runtime process; until then attempts are refused";
        return check("hardening", Health::Warning, seen.unfit.join("; "), Some(hint));
    }
    let lacks: Vec<&str> = [
        (seen.memory_limit, "memory limits"),
        (seen.pids_limit, "process limits"),
        (seen.cpu_limit, "processor limits"),
    ]
    .into_iter()
    .filter_map(|(has, what)| (!has).then_some(what))
    .collect();
    if lacks.is_empty() {
        return check(
            "hardening",
            Health::Ok,
            "system calls are filtered; memory, processes and processors are limited",
            None,
        );
    }
    let hint = "use a kernel and an engine with these limits; plans that request a missing limit are refused";
    check("hardening", Health::Warning, format!("the engine lacks {}", lacks.join(", ")), Some(hint))
}

/// `unguarded`: the configuration allows bridges without a firewall.
fn firewall(guards: Result<(), String>, unguarded: bool) -> Check {
    match guards {
        Ok(()) => {
            let message = "nftables isolates agents on the private bridge from this host and its networks";
            check("firewall", Health::Ok, message, None)
        }
        Err(why) if unguarded => {
            let message = format!("agents on the private bridge can reach this host and its networks: {why}");
            check("firewall", Health::Warning, message, Some(FIREWALL))
        }
        Err(why) => {
            let message = format!("attempts with network = \"bridge\" are refused: {why}");
            check("firewall", Health::Warning, message, Some(FIREWALL))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_that_nothing_guards_is_said() {
        assert_eq!(firewall(Ok(()), false).status, Health::Ok);
        let refused = firewall(Err("nft is not installed".to_owned()), false);
        assert!(refused.status == Health::Warning && refused.message.contains("refused: nft is not"), "{refused:?}");
        let open = firewall(Err("nft is not installed".to_owned()), true);
        assert!(open.status == Health::Warning && open.message.contains("can reach this host"), "{open:?}");
    }
}
