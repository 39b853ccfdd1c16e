//! The little HTTP that tests speak: a request over any stream, and its answer.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
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

/// A request, as a receiver got it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// A receiver on loopback: what is posted to it is taken with the status that it is told to give.
pub(crate) struct Sink {
    pub(crate) address: String,
    received: Arc<Mutex<Vec<Received>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// At an address that is free again after it is dropped.
    pub(crate) fn start(address: &str, status: u16) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (received, end) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (keep, ended) = (received.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let mut stream = stream.unwrap();
                if let Some(request) = receive(&mut stream) {
                    keep.lock().unwrap().push(request);
                    let _ = write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
                }
            }
        });
        Self { address, received, end, thread: Some(thread) }
    }

    /// What came so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        // Wakes the thread up.
        let _ = TcpStream::connect(&self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn receive(stream: &mut TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Received { headers, body })
}
