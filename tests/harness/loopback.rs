//! Addresses on loopback for servers of other processes: the test must know them before they listen, and they must be
//! the same after a restart. A port that was free a moment ago is no such address: until it is bound again the kernel
//! gives it to whoever dials next.
//! Deliberately absent: listeners of the test itself, which bind port 0 and are asked where they are.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::atomic::{AtomicU16, Ordering},
};

/// Below 32768, where the ports begin that the kernel gives away by itself (`net.ipv4.ip_local_port_range`).
const FIRST_PORT: u16 = 17_000;

/// An address that no other process has: its IP is of 127.0.0.0/8 and made from the id of this process (22 bits at
/// most), its port counts up.
pub(crate) fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(FIRST_PORT);
    // The last byte is never 0 or 255, and the whole never 127.0.0.1: no process has the id 0.
    let [_, high, middle, low] = ((std::process::id() << 2) | 1).to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(127, high, middle, low), NEXT.fetch_add(1, Ordering::Relaxed)).into()
}
