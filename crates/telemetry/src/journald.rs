//! Sends log lines to the systemd journal over its native protocol: one datagram of fields per line.
//! Deliberately absent: lines too large for a datagram. They are cut.

use std::{io, os::unix::net::UnixDatagram, path::Path};

use serde_json::Value;
use tracing::Level;

use super::line::Line;

/// The socket on which the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// The longest value of a field, in bytes: a whole line stays below the maximum size of a datagram.
const VALUE_MAX: usize = 16 << 10;

/// The journal.
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// Connects to the journal at this path.
    ///
    /// # Errors
    /// No journal listens there.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // A slow journal must not block the node.
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Sends a line; returns whether the journal accepted it.
    pub(super) fn take(&self, line: &Line) -> bool {
        let datagram = fields(line);
        self.0.send(&datagram).is_ok_and(|sent| sent == datagram.len())
    }
}

/// The line as fields of the protocol.
fn fields(line: &Line) -> Vec<u8> {
    let priority = match line.level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    };
    let mut datagram = Vec::new();
    put(&mut datagram, "MESSAGE", &line.message);
    put(&mut datagram, "PRIORITY", priority);
    put(&mut datagram, "SYSLOG_IDENTIFIER", "devstack-node");
    put(&mut datagram, "DEVSTACK_LOGGER", line.target);
    let known = line.subject();
    let known = known.iter().map(|(name, value)| (*name, value)).chain(line.rest());
    for (name, value) in known {
        let name = name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        match value {
            Value::String(text) => put(&mut datagram, &format!("DEVSTACK_{name}"), text),
            other => put(&mut datagram, &format!("DEVSTACK_{name}"), &other.to_string()),
        }
    }
    datagram
}

fn put(datagram: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(VALUE_MAX)];
    datagram.extend_from_slice(name.as_bytes());
    // A value with a line break is preceded by its length.
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_arrives_with_its_fields_and_a_journal_that_is_gone_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert!(Journal::at(&path).is_err());
        let listener = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        let fields = [("attempt".to_owned(), "shop/T-1/3".into()), ("why".to_owned(), "a\nb".into())];
        let line = Line {
            level: Level::WARN,
            target: "devstack::x",
            message: "it ended".into(),
            fields: fields.into_iter().collect(),
        };
        assert!(journal.take(&line));
        let mut bytes = [0; 4096];
        let length = listener.recv(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..length]);
        for field in [
            "MESSAGE=it ended\n",
            "PRIORITY=4\n",
            "DEVSTACK_PROJECT=shop\n",
            "DEVSTACK_TASK=T-1\n",
            "DEVSTACK_ATTEMPT=3\n",
        ] {
            assert!(text.contains(field), "{field} in {text}");
        }
        assert!(text.contains("DEVSTACK_WHY\n\u{3}\0\0\0\0\0\0\0a\nb\n"), "{text:?}");
        drop(listener);
        assert!(!journal.take(&line));
    }
}
