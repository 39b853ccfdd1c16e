//! What `doctor` says of containers: the engine, the image, the bridge's firewall, memory for secrets.
//! Deliberately absent: everything that has nothing to do with containers (`doctor`).

use std::{
    path::Path,
    process::{Command, Stdio},
};

use super::{Check, Health, check};
use crate::runtime::docker;

const START: &str = "start Docker (apt-get install docker.io), or name its socket: DOCKER_HOST=unix:///…; without it use \
                     --runtime process";
const MINIMAL: &str = "devstack image build --minimal";
const FIREWALL: &str = "run the node as root with iptables, or use network = \"none\"";

/// Every finding.
pub(super) async fn examine(socket: &Path) -> Vec<Check> {
    let seen = match docker::look(socket).await {
        Ok(seen) => seen,
        Err(why) => return vec![check("engine", Health::Warning, why, Some(START))],
    };
    let keeps = if seen.live_restore { "live-restore on" } else { "live-restore off: attempts end with the engine" };
    vec![
        check("engine", Health::Ok, format!("{}, {keeps}", seen.version), None),
        hardening(&seen),
        match seen.minimal {
            true => check("image", Health::Ok, format!("{} is there", docker::image::MINIMAL), None),
            false => {
                let message = format!("{} is missing: roles without an image cannot run", docker::image::MINIMAL);
                check("image", Health::Warning, message, Some(MINIMAL))
            }
        },
        firewall(),
        match seen.secrets {
            Ok(place) => check("secret memory", Health::Ok, place.display().to_string(), None),
            Err(why) => check("secret memory", Health::Warning, why, None),
        },
    ]
}

fn hardening(seen: &docker::Seen) -> Check {
    let lacks: Vec<&str> = [
        (seen.seccomp, "seccomp"),
        (seen.memory_limit, "memory limits"),
        (seen.pids_limit, "limits of processes"),
        (seen.cpu_limit, "processor limits"),
    ]
    .into_iter()
    .filter_map(|(has, what)| (!has).then_some(what))
    .collect();
    if lacks.is_empty() {
        return check("hardening", Health::Ok, "seccomp, limits of memory, processes and processors", None);
    }
    let hint = "use a kernel and an engine that have them; what a plan asks for and is not kept is refused";
    check("hardening", Health::Warning, format!("the engine lacks {}", lacks.join(", ")), Some(hint))
}

fn firewall() -> Check {
    let listed = Command::new("iptables").args(["-w", "2", "-S", "INPUT"]).stdin(Stdio::null()).output();
    let why = match listed {
        Ok(output) if output.status.success() => {
            return check("firewall", Health::Ok, "the private bridge is kept from this host's addresses", None);
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned(),
        Err(error) => format!("iptables: {error}"),
    };
    let message = format!("containers on the private bridge can reach this host's own addresses ({why})");
    check("firewall", Health::Warning, message, Some(FIREWALL))
}
