//! A peer that speaks the protocol by hand, so that it can also speak it wrongly. Deliberately absent: reading what it
//! receives after admission.

use devstack_cluster::frame::{self, Class, HEADER, Key};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::pki::Identity;

/// A connection after TLS and its hello.
pub(crate) struct Raw {
    pub(crate) tls: TlsStream<TcpStream>,
    /// The key that its frames must contain.
    pub(crate) key: Key,
    /// The peer's gateway.
    gateway: Vec<u8>,
}

/// Wraps `inner` in these fields, the outermost first.
pub(crate) fn nested(path: &[u8], inner: &[u8]) -> Vec<u8> {
    path.iter().rev().fold(inner.to_vec(), |inner, field| {
        let mut outer = vec![field << 3 | 2];
        let mut length = inner.len();
        while length > 127 {
            outer.push(length as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend(inner);
        outer
    })
}

fn number(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for at in 0.. {
        let (byte, after) = rest.split_first().unwrap();
        *rest = after;
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// A field of a message: its bytes, or its number.
fn field(mut message: &[u8], wanted: u8) -> Option<(&[u8], u64)> {
    while !message.is_empty() {
        let tag = number(&mut message);
        let value = number(&mut message);
        let mut bytes = [].as_slice();
        if tag & 7 == 2 {
            (bytes, message) = message.split_at(value as usize);
        }
        if tag >> 3 == u64::from(wanted) {
            return Some((bytes, value));
        }
    }
    None
}

fn within<'a>(message: &'a [u8], path: &[u8]) -> Option<&'a [u8]> {
    path.iter().try_fold(message, |message, wanted| field(message, *wanted).map(|(bytes, _)| bytes))
}

impl Raw {
    /// Only TLS.
    pub(crate) async fn tls(address: &str, identity: &Identity) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        let host = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from((identity.client())()).connect(host, tcp).await
    }

    /// TLS and both hellos, as incarnation 1.
    pub(crate) async fn hello(address: &str, identity: &Identity) -> Self {
        let mut tls = Self::tls(address, identity).await.unwrap();
        let body: Vec<u8> = [1_u64, 1 << 40, 1 << 40].iter().flat_map(|n| n.to_be_bytes()).collect();
        tls.write_all(&frame::encode(Class::Hello, 0, 0, Key([7; 16]), &body).unwrap()).await.unwrap();
        let mut header = [0; HEADER];
        tls.read_exact(&mut header).await.unwrap();
        let header = frame::header(&header).unwrap();
        let mut body = vec![0; header.length];
        tls.read_exact(&mut body).await.unwrap();
        assert_eq!(header.class, Class::Hello, "{}", String::from_utf8_lossy(&body));
        Self { tls, key: header.key, gateway: Vec::new() }
    }

    /// The complete handshake: the other end reports a session with this node.
    pub(crate) async fn connect(address: &str, identity: &Identity, name: &str) -> Self {
        let mut raw = Self::hello(address, identity).await;
        raw.claim(&format!("{name}@{:016x}", 1)).await;
        raw.until(&[1, 2]).await;
        let challenge = raw.until(&[1, 4]).await;
        let (_, challenge) = field(&challenge, 3).unwrap_or_default();
        let secret = [&(challenge as u32).to_be_bytes(), b"test".as_slice()].concat();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &secret);
        raw.message(&nested(&[1, 5], &[b"\x08\x07".to_vec(), nested(&[2], digest.as_ref())].concat())).await;
        let actor = raw.until(&[3, 1, 1]).await;
        raw.gateway = actor;
        raw.message(&nested(&[3, 1, 1], b"\x08\x05")).await;
        raw.message(&nested(&[3, 9], b"")).await;
        raw
    }

    /// Begins ractor's handshake under a name.
    pub(crate) async fn claim(&mut self, name: &str) {
        let name = [nested(&[1], name.as_bytes()), nested(&[3], b"x:1"), b"\x20\x05".to_vec()].concat();
        self.message(&nested(&[1, 1], &name)).await;
    }

    async fn until(&mut self, path: &[u8]) -> Vec<u8> {
        loop {
            let length = self.tls.read_u64().await.unwrap();
            let mut message = vec![0; length as usize];
            self.tls.read_exact(&mut message).await.unwrap();
            if let Some(inner) = within(&message, path) {
                return inner.to_vec();
            }
        }
    }

    /// Sends a ractor message. Returns whether the connection still accepted it.
    pub(crate) async fn message(&mut self, message: &[u8]) -> bool {
        let whole = [(message.len() as u64).to_be_bytes().as_slice(), message].concat();
        self.tls.write_all(&whole).await.is_ok() && self.tls.flush().await.is_ok()
    }

    /// Sends any bytes to the peer's gateway, in the way of a frame.
    pub(crate) async fn cast(&mut self, bytes: &[u8]) -> bool {
        // The field `to` of a cast is the field `pid` of the actor.
        let cast = [self.gateway.clone(), nested(&[2], bytes)].concat();
        self.message(&nested(&[2, 1], &cast)).await
    }

    /// Waits until the other end closed the connection.
    pub(crate) async fn closed(mut self) {
        let mut chunk = vec![0; 1 << 16];
        while self.tls.read(&mut chunk).await.is_ok_and(|read| read > 0) {}
    }
}

/// Open descriptors of this process.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
