//! Reports to the service manager that the node is ready, reloads, stops, or is alive. The protocol is that of
//! `sd_notify(3)`: a datagram of lines to the socket in `NOTIFY_SOCKET`; without the variable nothing is sent.
//! Deliberately absent: deciding whether the node is alive (the caller asks its actors), and failing when the manager
//! is gone.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The service manager that started this process, found by the environment.
    ///
    /// # Errors
    /// A manager should exist but cannot be notified: it would end the process for its silence.
    pub fn of_this_process() -> io::Result<Self> {
        let text = |name: &str| std::env::var(name).ok();
        let watchdog = watchdog(text("WATCHDOG_USEC").as_deref(), text("WATCHDOG_PID").as_deref(), std::process::id());
        Self::new(std::env::var_os("NOTIFY_SOCKET"), watchdog)
    }

    /// A service manager at this socket: a path, or `@` and an abstract name.
    ///
    /// # Errors
    /// The address is neither of these, or no socket can be made.
    pub fn new(socket: Option<OsString>, watchdog: Option<Duration>) -> io::Result<Self> {
        let Some(socket) = socket.filter(|socket| !socket.is_empty()) else { return Ok(Self::default()) };
        Ok(Self { socket: Some((UnixDatagram::unbound()?, address(&socket)?)), watchdog })
    }

    /// Reports that the node is ready; `status` is for people.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// Reports that settings are being reloaded; [`ServiceManager::ready`] ends the reload.
    pub fn reloading(&self) {
        // The manager distinguishes this reload from an earlier one by the time.
        let now =
            clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// Reports an orderly shutdown.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// Reports the current activity, for people.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// Reports that the node is alive.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often [`ServiceManager::alive`] is due; `None` if no manager waits for it. A third of the manager's timeout,
    /// so that two reports in a row may be late.
    pub fn alive_every(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / 3).filter(|pause| !pause.is_zero())
    }

    fn send(&self, lines: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(lines.as_bytes(), address) {
            tracing::warn!(%error, "cannot notify the service manager: {lines:?}");
        }
    }
}

fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(socket),
        _ => {
            let message = format!("NOTIFY_SOCKET is `{}`; it must be a path or begin with @", socket.display());
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}

/// The manager's timeout, if it watches this process and not another process of the service.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let for_us = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let usec = usec?.parse().ok().filter(|usec| for_us && *usec > 0)?;
    Some(Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(at: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = at.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn it_is_told_at_a_path_and_at_a_name_without_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("@devstack-notify-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let listeners = [UnixDatagram::bind(&path).unwrap(), UnixDatagram::bind_addr(&abstract_address).unwrap()];
        for (listener, socket) in listeners.iter().zip([path.into_os_string(), name.into()]) {
            let manager = ServiceManager::new(Some(socket), None).unwrap();
            manager.ready("up");
            assert_eq!(heard(listener), "READY=1\nSTATUS=up");
            manager.reloading();
            assert!(heard(listener).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        }
    }

    #[test]
    fn nobody_is_told_where_nobody_asked_and_a_manager_that_is_gone_is_no_failure() {
        for socket in [None, Some(OsString::new()), Some("/nonexistent/notify".into())] {
            let manager = ServiceManager::new(socket, None).unwrap();
            manager.alive();
            manager.stopping("");
        }
        assert!(ServiceManager::new(Some("relative".into()), None).is_err());
    }

    #[test]
    fn the_watchdog_is_this_processs_own() {
        let patience = Some(Duration::from_secs(6));
        assert_eq!(watchdog(Some("6000000"), Some("7"), 7), patience);
        assert_eq!(watchdog(Some("6000000"), None, 7), patience);
        for (usec, pid) in [(None, None), (Some("0"), None), (Some("x"), None), (Some("6000000"), Some("8"))] {
            assert_eq!(watchdog(usec, pid, 7), None);
        }
        let manager = ServiceManager::new(Some("/x".into()), patience).unwrap();
        assert_eq!(manager.alive_every(), Some(Duration::from_secs(2)));
    }
}
