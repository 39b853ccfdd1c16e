//! Finds the owner of the process at the other end of a loopback connection, in the kernel's table of connections. A
//! port on loopback is open to every user of the machine, including agents without a sandbox, and browsers send cookies
//! of 127.0.0.1 to every server there. So only the same user may connect, as with the mode of the socket.
//! Deliberately absent: tables other than IPv4's, since the proxy listens on IPv4 only.

use std::net::SocketAddrV4;

/// The TCP connections of this network namespace.
const TABLE: &str = "/proc/self/net/tcp";
/// The state of an established connection. In other states the kernel may no longer know the user, and shows root.
const ESTABLISHED: &str = "01";

/// Whether a process of our user, or of root, holds the other end. `false` if this is unknown.
pub(super) async fn is_ours(peer: SocketAddrV4, own: SocketAddrV4) -> bool {
    let us = nix::unistd::geteuid().as_raw();
    match tokio::fs::read_to_string(TABLE).await {
        Ok(table) => owner(&table, peer, own).is_some_and(|uid| uid == us || uid == 0),
        Err(error) => {
            tracing::warn!(%error, "cannot read {TABLE}");
            false
        }
    }
}

/// The user whose process holds `peer`'s end of its connection to `own`.
fn owner(table: &str, peer: SocketAddrV4, own: SocketAddrV4) -> Option<u32> {
    let (peer, own) = (written(peer), written(own));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(8).collect();
        match fields[..] {
            [_, local, remote, ESTABLISHED, _, _, _, uid] if local == peer && remote == own => uid.parse().ok(),
            _ => None,
        }
    })
}

/// An address in the form of the table: the IP address as a number in the machine's byte order, and the port.
fn written(address: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn the_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:10E1 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
            \x20  1: 0100007F:10E1 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     7        0 2 1\n\
            \x20  2: 0100007F:9C40 0100007F:10E1 01 00000000:00000000 00:00000000 00000000  1000        0 3 1\n\
            \x20  3: 0100007F:9C41 0100007F:10E1 06 00000000:00000000 03:00000000 00000000     0        0 0 3\n\
            \x20  4: 0100007F:9C42 0100007F:10E1\n";
        let own = "127.0.0.1:4321".parse().unwrap();
        let of = |port: u16| owner(table, SocketAddrV4::new([127, 0, 0, 1].into(), port), own);
        assert_eq!(of(40_000), Some(1000));
        // Half closed, truncated, and missing.
        assert_eq!((of(40_001), of(40_002), of(40_003)), (None, None, None));
    }

    #[tokio::test]
    async fn we_are_ours() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(own) = listener.local_addr().unwrap() else { unreachable!() };
        let client = tokio::net::TcpStream::connect(own).await.unwrap();
        let (_server, std::net::SocketAddr::V4(from)) = listener.accept().await.unwrap() else { unreachable!() };
        assert!(is_ours(from, own).await);
        let nobody = SocketAddrV4::new([127, 0, 0, 2].into(), from.port());
        assert!(!is_ours(nobody, own).await);
        drop(client);
    }
}
