//! The addresses that a node listens on: free, or in use by the node itself.
//! Deliberately absent: whether others can reach them (a firewall is invisible from here).

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use super::{Check, Health, check};
use devstack_config::node::NodeConfig;

/// The state of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Free,
    Taken,
    NotOurs,
    Forbidden,
    Other(io::ErrorKind),
}

pub(super) fn examine(config: &NodeConfig, runs: bool) -> Check {
    let wanted = [("[api]", config.api_listen), ("[link]", config.link.listen)];
    let found: Vec<_> =
        wanted.into_iter().filter_map(|(section, at)| Some((section, at?))).map(|(s, at)| (s, at, look(at))).collect();
    judge(&found, runs)
}

fn look(at: SocketAddr) -> Found {
    match TcpListener::bind(at) {
        Ok(_) => Found::Free,
        Err(error) => match error.kind() {
            io::ErrorKind::AddrInUse => Found::Taken,
            io::ErrorKind::AddrNotAvailable => Found::NotOurs,
            io::ErrorKind::PermissionDenied => Found::Forbidden,
            other => Found::Other(other),
        },
    }
}

fn judge(found: &[(&str, SocketAddr, Found)], runs: bool) -> Check {
    if found.is_empty() {
        return check("ports", Health::Ok, "the node listens only on its socket", None);
    }
    for (section, at, found) in found {
        let failed = |why: String, hint: String| check("ports", Health::Failed, why, Some(&hint));
        let another = format!("set another `listen` in {section}");
        match found {
            Found::Free => {}
            Found::Taken if runs => {}
            Found::Taken => {
                let hint = format!("find the program with: ss -ltnp 'sport = :{}'; or {another}", at.port());
                return failed(format!("another program uses {at} of {section}"), hint);
            }
            Found::NotOurs => {
                return failed(
                    format!("{at} of {section} is not an address of this machine"),
                    format!("{another}; `ip addr` lists this machine's addresses"),
                );
            }
            Found::Forbidden => {
                return failed(
                    format!("only root may listen on {at} of {section}"),
                    format!("{another} with a port of at least 1024"),
                );
            }
            Found::Other(kind) => return failed(format!("cannot listen on {at} of {section}: {kind}"), another),
        }
    }
    let how = |found: &Found| if *found == Found::Free { "free" } else { "in use by the node" };
    let said: Vec<String> = found.iter().map(|(_, at, found)| format!("{at} {}", how(found))).collect();
    check("ports", Health::Ok, said.join(", "), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_the_running_nodes_or_in_the_way() {
        let at: SocketAddr = "127.0.0.1:7421".parse().unwrap();
        let of = |found, runs| judge(&[("[api]", at, found)], runs);
        assert_eq!(of(Found::Free, false).message, "127.0.0.1:7421 free");
        assert_eq!(of(Found::Taken, true).message, "127.0.0.1:7421 in use by the node");
        for found in [Found::Taken, Found::NotOurs, Found::Forbidden, Found::Other(io::ErrorKind::Other)] {
            let found = of(found, false);
            assert!(found.status == Health::Failed && found.hint.is_some(), "{found:?}");
        }
        assert_eq!(judge(&[], false).status, Health::Ok);
    }

    #[test]
    fn a_port_is_looked_at_by_trying_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        assert_eq!(look(at), Found::Taken);
        drop(taken);
        assert_eq!(look(at), Found::Free);
        assert_eq!(look("203.0.113.7:7421".parse().unwrap()), Found::NotOurs);
    }
}
