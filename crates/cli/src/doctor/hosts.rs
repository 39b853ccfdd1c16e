//! The hosts of the node that the command line names or that runs here: whether a host claims more than it may, and
//! whether one never reported the end of an attempt.

use std::time::Duration;

use super::{Check, Health, check};
use crate::client::{Client, parse};
use devstack_api::dto;

/// The longest wait for the node.
const ANSWER: Duration = Duration::from_secs(10);
/// How many items of a host are named; more are counted.
const NAMED: usize = 3;

/// Asks a node for its hosts. The check of the clocks reports a node that does not answer.
pub(super) async fn examine(node: &Client) -> Option<Check> {
    let body = tokio::time::timeout(ANSWER, node.get("/v1/hosts")).await.ok()?.ok()?;
    Some(judge(&parse::<dto::HostList>(&body).ok()?.hosts))
}

fn judge(hosts: &[dto::Host]) -> Check {
    let beyond = |host: &&dto::Host| !host.cut.is_empty() || !host.owes.is_empty();
    let found: Vec<String> = hosts.iter().filter(beyond).map(said).collect();
    if found.is_empty() {
        return check("hosts", Health::Ok, format!("{}; none claims more than it may", hosts.len()), None);
    }
    let hint = "compare with `devstack host show NAME`; `devstack host set NAME` allows more; \
    `devstack host undrain NAME` lets a host with an unreported end run attempts again";
    check("hosts", Health::Warning, found.join("; "), Some(hint))
}

fn said(host: &dto::Host) -> String {
    let list = |all: &[String]| {
        let more = all.len().saturating_sub(NAMED);
        let named = all[..all.len() - more].join(", ");
        if more == 0 { named } else { format!("{named} and {more} more") }
    };
    let cut = (!host.cut.is_empty()).then(|| format!("claims more than it may: {}", list(&host.cut)));
    let owes = (!host.owes.is_empty()).then(|| format!("has not reported the end of {}", list(&host.owes)));
    format!("{} {}", host.name, cut.into_iter().chain(owes).collect::<Vec<_>>().join(", and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_claims_too_much_or_owes_is_named() {
        let host = |cut: usize, owes: usize| {
            let list = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
            let text = serde_json::json!({
                "name": "box", "up": true, "presence": "present", "since": null, "drain": null, "slots": 1, "used": 0,
                "free": 1, "quarantine": null, "secrets": [], "claimed": 1, "pins": null, "cut": list(cut),
                "owes": list(owes),
            });
            serde_json::from_value::<dto::Host>(text).unwrap()
        };
        assert_eq!(judge(&[host(0, 0)]).status, Health::Ok);
        let found = judge(&[host(0, 0), host(5, 1)]);
        assert_eq!(found.status, Health::Warning);
        assert_eq!(found.message, "box claims more than it may: 0, 1, 2 and 2 more, and has not reported the end of 0");
    }
}
