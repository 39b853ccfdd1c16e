//! The rules of this host's firewall for the private bridges: what comes from one reaches neither the host's own addresses nor
//! the metadata address of a cloud. Docker's own rules keep bridges from each other.
//!
//! Architecture invariants: every rule carries the installation in its comment, and no other is touched; a rule is set
//! again before each use of its bridge. Deliberately absent: filtering by domain.

use std::{collections::BTreeSet, process::Stdio};

/// Link-local addresses: where clouds answer with credentials.
const METADATA: &str = "169.254.0.0/16";

/// Drops what comes from a bridge for the host itself, and for metadata addresses.
///
/// # Errors
/// For people: why the rules cannot be set.
pub(super) async fn guard(installation: &str, interface: &str) -> Result<(), String> {
    for rule in rules(installation, interface) {
        if iptables("-C", &rule).await.is_err() {
            iptables("-I", &rule).await?;
        }
    }
    Ok(())
}

/// Removes the rules of an installation but for those of these interfaces: also what a killed node left.
pub(super) async fn sweep(installation: &str, kept: &[String]) {
    // No iptables: no rule was ever set.
    let Ok(listed) = iptables("-S", &[]).await else { return };
    for interface in interfaces(&listed, installation).iter().filter(|interface| !kept.contains(interface)) {
        for rule in rules(installation, interface) {
            // One of the two was never set.
            let _ = iptables("-D", &rule).await;
        }
    }
}

fn rules(installation: &str, interface: &str) -> [Vec<String>; 2] {
    let comment = comment(installation);
    let rule = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let tail = ["-m", "comment", "--comment", &comment, "-j", "DROP"];
    [
        rule(&[&["INPUT", "-i", interface][..], &tail].concat()),
        // Before Docker's own rules, which would let it pass.
        rule(&[&["FORWARD", "-i", interface, "-d", METADATA][..], &tail].concat()),
    ]
}

fn comment(installation: &str) -> String {
    format!("devstack {installation}")
}

/// The interfaces that rules of an installation name, in what `iptables -S` says.
fn interfaces(listed: &str, installation: &str) -> BTreeSet<String> {
    let mark = format!("\"{}\"", comment(installation));
    let of = |line: &str| line.split(' ').skip_while(|word| *word != "-i").nth(1).map(str::to_owned);
    listed.lines().filter(|line| line.contains(&mark)).filter_map(of).collect()
}

async fn iptables(what: &str, rule: &[String]) -> Result<String, String> {
    let mut command = tokio::process::Command::new("iptables");
    command.arg("-w").arg("5").arg(what).args(rule).stdin(Stdio::null());
    let output = command.output().await.map_err(|error| format!("iptables cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("iptables {what} {}: {}", rule.join(" "), said.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rules_of_the_installation_are_ours() {
        let listed = "-P INPUT ACCEPT\n\
                      -A INPUT -i dvs-a -m comment --comment \"devstack one\" -j DROP\n\
                      -A INPUT -i dvs-b -m comment --comment \"devstack one2\" -j DROP\n\
                      -A FORWARD -d 169.254.0.0/16 -i dvs-c -m comment --comment \"devstack one\" -j DROP\n\
                      -A FORWARD -i docker0 -j ACCEPT\n";
        assert_eq!(interfaces(listed, "one"), BTreeSet::from(["dvs-a".to_owned(), "dvs-c".to_owned()]));
    }
}
