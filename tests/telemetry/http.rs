//! The little HTTP that tests speak: a request over any stream, and its answer.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// A wait that is longer than this is a failure, on however busy a machine.
pub(crate) const GENEROUS: Duration = Duration::from_secs(120);
pub(crate) const PAUSE: Duration = Duration::from_millis(30);

/// The body of the answer to a GET over a unix socket.
pub(crate) fn get_unix(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(GENEROUS)).unwrap();
    get(&mut stream, path).unwrap_or_else(|head| panic!("{path}: {head}"))
}

/// The same over TCP; `None`: nobody answers there yet, or not with 200.
pub(crate) fn get_tcp(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(GENEROUS)).unwrap();
    get(&mut stream, path).ok()
}

fn get(stream: &mut (impl Read + Write), path: &str) -> Result<String, String> {
    // Of 1.0, so that the body is not in chunks and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if head.lines().next().unwrap().contains(" 200 ") { Ok(body.to_owned()) } else { Err(head.to_owned()) }
}
