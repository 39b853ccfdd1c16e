//! The first frame of a session in each direction, sent before ractor gets the stream. It holds the incarnation of the
//! process, the key for the peer's frames, the limits on data in flight, and the node's introduction; or a refusal with
//! its reason. Pure. Deliberately absent: the stream, and the content of the introduction (the application knows it).

use std::sync::Arc;

use crate::{
    frame::{self, Class, FrameError, HEADER, Header, Key},
    session::Incarnation,
};

/// The maximum body size of a hello or a refusal, in bytes. Later minor versions append to a hello.
pub(crate) const HELLO_MAX: usize = 1024;
/// The maximum size of a node's introduction, in bytes: half of the body, so that later versions have room.
pub const ABOUT_MAX: usize = 512;
/// The kind of a permanent refusal: the certificate is not a member's. Every other refusal has kind 0, and is
/// temporary.
const NOT_ADMITTED: u16 = 1;

/// The first frame of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The incarnation of its process.
    pub(crate) incarnation: Incarnation,
    /// The key for every frame sent to it.
    pub(crate) key: Key,
    /// Maximum number of unconsumed frames.
    pub(crate) frames: u64,
    /// Maximum number of unconsumed bytes.
    pub(crate) bytes: u64,
    /// The node's introduction, at most [`ABOUT_MAX`] bytes. Since 1.1: empty from a node of 1.0.
    pub(crate) about: Arc<[u8]>,
}

/// The first frame that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// The session may continue.
    Hello(Hello),
    /// A temporary refusal, with the reason.
    Refused(String),
    /// This certificate is not admitted, with the reason.
    NotAdmitted(String),
}

/// Why the first frame is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("it sent {0}")]
    Frame(#[from] FrameError),
    #[error("it sent something else before its hello")]
    Other,
    #[error("its hello is incomplete")]
    Incomplete,
}

impl Hello {
    /// Encodes the hello as a frame.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let about = &self.about[..self.about.len().min(ABOUT_MAX)];
        let mut body = Vec::with_capacity(26 + about.len());
        body.extend_from_slice(&self.incarnation.0.to_be_bytes());
        body.extend_from_slice(&self.frames.to_be_bytes());
        body.extend_from_slice(&self.bytes.to_be_bytes());
        // At most `ABOUT_MAX`, cut above.
        body.extend_from_slice(&(about.len() as u16).to_be_bytes());
        body.extend_from_slice(about);
        frame::encode(Class::Hello, 0, 0, self.key, &body)
    }

    fn of(key: Key, body: &[u8]) -> Option<Self> {
        let (incarnation, rest) = body.split_first_chunk()?;
        let (frames, rest) = rest.split_first_chunk()?;
        let (bytes, rest) = rest.split_first_chunk()?;
        let about = match rest.split_first_chunk() {
            // From version 1.0.
            None => &[],
            Some((length, rest)) => rest.get(..usize::from(u16::from_be_bytes(*length)))?,
        };
        Some(Self {
            incarnation: Incarnation(u64::from_be_bytes(*incarnation)),
            key,
            frames: u64::from_be_bytes(*frames),
            bytes: u64::from_be_bytes(*bytes),
            about: about[..about.len().min(ABOUT_MAX)].into(),
        })
    }
}

/// Encodes a refusal as a frame; `for_good`: this certificate is not admitted.
pub(crate) fn refusal(why: &str, for_good: bool) -> Result<Vec<u8>, FrameError> {
    let why = &why.as_bytes()[..why.floor_char_boundary(HELLO_MAX)];
    frame::encode(Class::Refused, if for_good { NOT_ADMITTED } else { 0 }, 0, Key([0; 16]), why)
}

/// Reads the header of the first frame, which tells how many bytes of body follow.
///
/// # Errors
/// It is not the header of a first frame.
pub(crate) fn begin(bytes: &[u8; HEADER]) -> Result<Header, HelloError> {
    let header = frame::header(bytes)?;
    let first = matches!(header.class, Class::Hello | Class::Refused) && header.length <= HELLO_MAX;
    if first { Ok(header) } else { Err(HelloError::Other) }
}

/// Assembles the first frame from its parts.
///
/// # Errors
/// It is incomplete.
pub(crate) fn finish(header: &Header, body: &[u8]) -> Result<First, HelloError> {
    match header.class {
        Class::Refused => {
            // A peer's text goes to the log: one line, without control characters.
            let why = String::from_utf8_lossy(body).replace(char::is_control, " ");
            Ok(if header.kind == NOT_ADMITTED { First::NotAdmitted(why) } else { First::Refused(why) })
        }
        _ => Hello::of(header.key, body).map(First::Hello).ok_or(HelloError::Incomplete),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(frame: &[u8]) -> Result<First, HelloError> {
        let header = begin(frame.first_chunk().unwrap())?;
        finish(&header, &frame[HEADER..])
    }

    const OF_1_0: &[u8] =
        b"dvsl\x01\x00\x01\0\0\0\0\0\0\0\0\0\0\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\
        \0\0\0\x18\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04";

    fn hello(about: &[u8]) -> Hello {
        Hello { incarnation: Incarnation(0x0102), key: Key([9; 16]), frames: 3, bytes: 4, about: about.into() }
    }

    #[test]
    fn golden_bytes() {
        let mut golden = OF_1_0.to_vec();
        golden[5] = 1;
        golden[36] = 0x1E;
        golden.extend(b"\0\x04self");
        assert_eq!(hello(b"self").encode().unwrap(), golden);
        assert_eq!(read(&golden), Ok(First::Hello(hello(b"self"))));
    }

    /// Both directions of a rolling upgrade: this version reads hellos of 1.0, and the fields that 1.0 reads are in
    /// their old places.
    #[test]
    fn other_minor_versions_are_understood() {
        assert_eq!(read(OF_1_0), Ok(First::Hello(hello(b""))), "the version before");
        let ours = hello(b"self").encode().unwrap();
        assert_eq!(ours[HEADER..][..24], OF_1_0[HEADER..], "the version before takes the first 24 bytes of a body");
        let longer = [&ours[HEADER..], b"later"].concat();
        let longer = frame::encode(Class::Hello, 0, 0, Key([9; 16]), &longer).unwrap();
        assert_eq!(read(&longer), Ok(First::Hello(hello(b"self"))), "a later one");
    }

    #[test]
    fn what_a_node_says_of_itself_is_bounded() {
        let Ok(First::Hello(read_again)) = read(&hello(&[1; 5000]).encode().unwrap()) else { panic!("no hello") };
        assert_eq!(read_again.about.len(), ABOUT_MAX);
        let cut_off = [&hello(b"self").encode().unwrap()[HEADER..][..24], b"\0\x05self"].concat();
        let cut_off = frame::encode(Class::Hello, 0, 0, Key([9; 16]), &cut_off).unwrap();
        assert_eq!(read(&cut_off), Err(HelloError::Incomplete));
    }

    #[test]
    fn refusals_are_read_and_bounded() {
        assert_eq!(read(&refusal("no\nway", false).unwrap()), Ok(First::Refused("no way".to_owned())));
        assert_eq!(read(&refusal("never", true).unwrap()), Ok(First::NotAdmitted("never".to_owned())));
        assert_eq!(refusal(&"ä".repeat(5000), false).unwrap().len(), HEADER + HELLO_MAX);
    }

    #[test]
    fn nothing_else_comes_first() {
        let key = Key([0; 16]);
        assert_eq!(read(&frame::encode(Class::Ping, 0, 0, key, b"").unwrap()), Err(HelloError::Other));
        assert_eq!(read(&frame::encode(Class::Hello, 0, 0, key, &[0; 2000]).unwrap()), Err(HelloError::Other));
        assert_eq!(read(&frame::encode(Class::Hello, 0, 0, key, b"short").unwrap()), Err(HelloError::Incomplete));
    }
}
