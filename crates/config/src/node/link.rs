//! `[link]`: the addresses for links between nodes.
//! Deliberately absent: keys and certificates (they are in the state directory) and the behaviour of links (crate
//! cluster).

use std::net::SocketAddr;

use super::super::section::{Reader, Table, code};

/// Links to other nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkConfig {
    /// Where agent hosts connect; `None`: no other machine takes part.
    pub listen: Option<SocketAddr>,
    /// The name or address, without a port, under which other machines reach this one; for join tokens and
    /// certificates.
    pub advertise: Option<String>,
    /// Taskmasters to keep a link to, `host:port`.
    pub join: Vec<String>,
}

impl LinkConfig {
    /// Reads the table.
    pub(super) fn read<'i>(&mut self, reader: &mut Reader<'i>, mut table: Table<'i>) {
        self.listen = socket_addr(reader, &mut table, "listen");
        if let Some(text) = table.text(reader, "advertise") {
            let bad = text.value.is_empty() || text.value.contains([':', '/', ' ']);
            if bad && text.value.parse::<std::net::Ipv6Addr>().is_err() {
                let message =
                    format!("`advertise`{} is `{}`, which is not a host name or an address", table.of(), text.value);
                let hint =
                    "write a host name or an address without a port, for example \"taskmaster.example\"".to_owned();
                reader.add(text.at, code::BAD_VALUE, message, Some(hint));
            } else {
                self.advertise = Some(text.value.into_owned());
            }
        }
        for peer in table.texts(reader, "join").into_iter().flat_map(|join| join.value) {
            let port = peer.value.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
            match port {
                Some((host, 1..)) if !host.is_empty() => self.join.push(peer.value.into_owned()),
                _ => {
                    let message = format!("`join`{} names `{}`, which is not HOST:PORT", table.of(), peer.value);
                    let hint = "for example join = [\"taskmaster.example:7420\"]".to_owned();
                    reader.add(peer.at, code::BAD_VALUE, message, Some(hint));
                }
            }
        }
        table.finish(reader, &["listen", "advertise", "join"]);
    }
}

/// Reads `address:port` to listen on.
pub(super) fn socket_addr<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, key: &str) -> Option<SocketAddr> {
    let text = table.text(reader, key)?;
    match text.value.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let message = format!("`{key}`{} is `{}`, which is not an address with a port", table.of(), text.value);
            let hint = "for example \"0.0.0.0:7420\" for every interface, \"127.0.0.1:7420\" for this machine only";
            reader.add(text.at, code::BAD_VALUE, message, Some(hint.to_owned()));
            None
        }
    }
}
