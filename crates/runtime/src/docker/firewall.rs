//! The firewall of the private bridges: our own nftables table. Packets from our bridges are filtered before routing,
//! so nothing runs before the filter: neither Docker's chains, in whatever order Docker creates them at its next start,
//! nor rules that an administrator or another firewall adds.
//!
//! Containers may reach outside addresses only: no address of this host, no private, shared or link-local address, no
//! metadata service, no IPv6 (the bridges have none). Private networks that are listed in the configuration are
//! allowed. Port 53 of the resolvers is allowed too, because Docker's own resolver asks them from within the
//! container's network namespace.
//!
//! Architecture invariants: the table is replaced as a whole; it is checked before each start, and made again where it
//! differs from ours; where it cannot be made, no attempt starts on a bridge. Deliberately absent: filtering by domain,
//! and protection of running attempts while somebody removes the table.

use std::{collections::BTreeSet, fmt::Write, fs, io, net::Ipv4Addr, path::PathBuf, process::Stdio};

use nix::net::if_::if_nametoindex;
use tokio::io::AsyncWriteExt;

use super::old_rules;

/// Never reachable, whatever is listed. Link-local: credentials of most clouds (169.254.169.254) and of containers
/// (169.254.170.2). Metadata elsewhere: Azure's wire server, Alibaba, Oracle with all of its block.
const NEVER: [&str; 4] = ["169.254.0.0/16", "168.63.129.16", "100.100.100.200", "192.0.0.0/24"];
/// Reachable only if listed: RFC 1918, carriers' networks (RFC 6598), benchmark networks (RFC 2544, which some networks
/// use).
const PRIVATE: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15"];
/// Number of rules in the table that end in a drop.
const DROPS: usize = 4;
/// Files that list this host's resolvers. If the first one names systemd's own resolver, the engine uses the second.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The table of an installation.
pub(super) struct Guard {
    program: PathBuf,
    installation: String,
    /// Its name: `devstack_<installation>`.
    table: String,
    /// The interfaces of all bridges that may be created.
    interfaces: Vec<String>,
    /// Private networks that are allowed.
    reach: Vec<String>,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last requested table, and nftables' listing of it.
    made: Option<(String, String)>,
    /// Whether rules of an earlier version were searched.
    looked_for_old: bool,
}

impl Guard {
    /// `program`: nft, searched in PATH if it is a plain name.
    pub(super) fn new(program: PathBuf, installation: &str, interfaces: Vec<String>, reach: Vec<String>) -> Self {
        Self {
            program,
            installation: installation.to_owned(),
            table: table(installation),
            interfaces,
            reach,
            state: tokio::sync::Mutex::default(),
        }
    }

    /// Returns when the table is in force for this interface, which exists.
    ///
    /// # Errors
    /// Why it is not in force, for users.
    pub(super) async fn hold(&self, interface: &str) -> Result<(), String> {
        if !self.interfaces.iter().any(|known| known == interface) || if_nametoindex(interface).is_err() {
            return Err(format!(
                "the bridge {interface} is not among this node's network interfaces, so the node's rules \
                 would have no effect on it"
            ));
        }
        let mut state = self.state.lock().await;
        let wanted = script(&self.table, &self.interfaces, &self.reach, &resolvers());
        let as_made = match &state.made {
            Some((asked, listed)) if *asked == wanted => self.list().await.ok().as_ref() == Some(listed),
            _ => false,
        };
        if !as_made {
            state.made = None;
            self.nft(&["-f", "-"], &wanted).await?;
            let listed = self.list().await?;
            if !is_whole(&listed) {
                return Err(format!("nftables does not list the table {} as the node made it", self.table));
            }
            state.made = Some((wanted, listed));
        }
        if !state.looked_for_old {
            state.looked_for_old = true;
            old_rules::remove(&self.installation).await;
        }
        Ok(())
    }

    /// Removes the table, and the rules of an earlier version.
    pub(super) async fn remove(&self) {
        let mut state = self.state.lock().await;
        state.made = None;
        // Created first, so that a missing table is not an error. Without nft no table was ever made.
        let _ = self.nft(&["-f", "-"], &format!("table inet {0}\ndelete table inet {0}\n", self.table)).await;
        old_rules::remove(&self.installation).await;
    }

    async fn list(&self) -> Result<String, String> {
        self.nft(&["list", "table", "inet", &self.table], "").await
    }

    async fn nft(&self, args: &[&str], input: &str) -> Result<String, String> {
        run(&self.program, args, input).await
    }
}

/// Checks whether this process could guard a bridge.
///
/// # Errors
/// Why it could not, for users.
pub(super) async fn probe(program: PathBuf) -> Result<(), String> {
    run(&program, &["list", "tables"], "").await.map(drop)
}

async fn run(program: &PathBuf, args: &[&str], input: &str) -> Result<String, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("{} is not installed (apt install nftables)", program.display()),
        _ => format!("cannot run {}: {error}", program.display()),
    };
    let mut command = tokio::process::Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading its input reports why.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("nft {}: {}", args.join(" "), said.lines().next().unwrap_or("it failed without a message")))
}

/// Only letters, digits and underscores, as nftables requires for names.
fn table(installation: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("devstack_{}", installation.chars().map(plain).collect::<String>())
}

/// The script that replaces the whole table.
fn script(table: &str, interfaces: &[String], reach: &[String], resolvers: &BTreeSet<Ipv4Addr>) -> String {
    let mut text = format!("table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n");
    let mut set = |name: &str, kind: &str, elements: Vec<String>| {
        let elements = match elements.is_empty() {
            true => String::new(),
            false => format!("\t\telements = {{ {} }}\n", elements.join(", ")),
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "\tset {name} {{\n\t\ttype {kind}\n{elements}\t}}\n");
    };
    let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
    let networks = "ipv4_addr\n\t\tflags interval\n\t\tauto-merge";
    set("bridges", "ifname", interfaces.iter().map(|name| format!("\"{name}\"")).collect());
    set("resolvers", "ipv4_addr", resolvers.iter().map(Ipv4Addr::to_string).collect());
    set("never", networks, owned(&NEVER));
    set("reach", networks, reach.to_vec());
    set("private", networks, owned(&PRIVATE));
    text.push_str(
        "\tchain prerouting {\n\
         \t\ttype filter hook prerouting priority -300; policy accept;\n\
         \t\tiifname != @bridges accept\n\
         \t\tip daddr @resolvers meta l4proto { tcp, udp } th dport 53 accept\n\
         \t\tmeta nfproto != ipv4 drop\n\
         \t\tfib daddr type != unicast drop\n\
         \t\tip daddr @never drop\n\
         \t\tip daddr @reach accept\n\
         \t\tip daddr @private drop\n\
         \t}\n}\n",
    );
    text
}

/// Whether this is a listing of the table with its hook and all its drops.
fn is_whole(listed: &str) -> bool {
    let drops = listed.lines().filter(|line| line.trim_end().ends_with(" drop")).count();
    listed.contains("hook prerouting") && drops == DROPS
}

/// The resolvers of this host that containers ask directly. A resolver on this host's loopback is asked by the engine
/// itself.
fn resolvers() -> BTreeSet<Ipv4Addr> {
    RESOLVERS.iter().filter_map(|path| fs::read_to_string(path).ok()).flat_map(|text| nameservers(&text)).collect()
}

fn nameservers(text: &str) -> Vec<Ipv4Addr> {
    let of = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok())?
    };
    text.lines().filter_map(of).filter(|address: &Ipv4Addr| !address.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_replaces_the_table_and_names_all_that_is_forbidden() {
        let interfaces = ["dvs-a".to_owned(), "dvs-b".to_owned()];
        let script =
            script(&table("a-1"), &interfaces, &["10.9.0.0/16".to_owned()], &BTreeSet::from([[10, 0, 0, 2].into()]));
        assert!(
            script.starts_with("table inet devstack_a_1\ndelete table inet devstack_a_1\ntable inet devstack_a_1 {\n")
        );
        assert!(is_whole(&script) && script.contains("\"dvs-a\", \"dvs-b\""));
        for part in NEVER.iter().chain(&PRIVATE).chain(&["10.9.0.0/16", "elements = { 10.0.0.2 }"]) {
            assert!(script.contains(part), "{part}");
        }
        // Whatever is listed, metadata services and this host come first.
        let at = |rule: &str| script.find(rule).unwrap_or(usize::MAX);
        assert!(at("fib daddr") < at("@reach accept") && at("@never drop") < at("@reach accept"));
        assert!(at("@reach accept") < at("@private drop") && at("@private drop") < usize::MAX);
        let none = super::script("t", &interfaces, &[], &BTreeSet::new());
        assert!(!none.contains("elements = {  }"), "{none}");
    }

    #[test]
    fn a_table_that_lost_a_rule_is_not_whole() {
        let whole = script("t", &["a".to_owned()], &[], &BTreeSet::new());
        for rule in whole.lines().filter(|line| line.ends_with(" drop")) {
            assert!(!is_whole(&whole.replace(rule, "")), "{rule}");
        }
        assert!(!is_whole(&whole.replace("hook prerouting", "hook forward")));
        assert!(!is_whole(""));
    }

    #[test]
    fn resolvers_are_those_that_containers_ask() {
        let text = "# made by hand\nsearch example\nnameserver 127.0.0.53\nnameserver 10.0.0.2\n nameserver 169.254.169.254\n\
                    nameserver fe80::1\nnameservers 1.1.1.1\noptions ndots:2\n";
        assert_eq!(nameservers(text), [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(169, 254, 169, 254)]);
    }
}
