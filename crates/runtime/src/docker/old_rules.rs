//! iptables rules that versions before nftables set for the private bridges: removed once the table is in force, or
//! when there is nothing left to guard.
//!
//! Architecture invariant: only rules whose comment names the installation are touched. Deliberately absent: setting
//! any rule.

use std::process::Stdio;

/// Removes the rules; a rule that cannot be removed only forbids more, never less.
pub(super) async fn remove(installation: &str) {
    // Without iptables no rule was ever set.
    let Some(listed) = iptables(&["-S"]).await else { return };
    for rule in ours(&listed, installation) {
        let mut words = vec!["-D"];
        words.extend(rule.iter().map(String::as_str));
        if iptables(&words).await.is_none() {
            tracing::warn!(rule = rule.join(" "), "cannot remove an iptables rule of an earlier version");
        }
    }
}

/// The rules of an installation in the output of `iptables -S`, without their `-A`.
fn ours(listed: &str, installation: &str) -> Vec<Vec<String>> {
    let comment = format!("devstack {installation}");
    let quoted = format!("\"{comment}\"");
    let of = |line: &str| {
        let (before, after) = line.strip_prefix("-A ")?.split_once(&quoted)?;
        let words = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
        Some([words(before), vec![comment.clone()], words(after)].concat())
    };
    listed.lines().filter_map(of).collect()
}

async fn iptables(args: &[&str]) -> Option<String> {
    let mut command = tokio::process::Command::new("iptables");
    command.args(["-w", "5"]).args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
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
        let found: Vec<String> = ours(listed, "one").iter().map(|words| words.join("|")).collect();
        assert_eq!(
            found,
            [
                "INPUT|-i|dvs-a|-m|comment|--comment|devstack one|-j|DROP",
                "FORWARD|-d|169.254.0.0/16|-i|dvs-c|-m|comment|--comment|devstack one|-j|DROP"
            ]
        );
    }
}
