//! The first frame of a session, both ways, before ractor gets the stream: which run of the process this is, the key for
//! the other's frames, and how much may be on the way. Or a refusal, with its reason. Pure.
//! Deliberately absent: the stream.

use crate::{
    frame::{self, Class, FrameError, HEADER, Header, Key},
    session::Incarnation,
};

/// The most that the body of a hello or a refusal may have, in bytes. A hello has 20; later minor versions append.
pub(crate) const HELLO_MAX: usize = 1024;

/// What a node says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Which run of its process.
    pub(crate) incarnation: Incarnation,
    /// For every frame to it.
    pub(crate) key: Key,
    /// Frames that it lets be unconsumed.
    pub(crate) frames: u64,
    /// Bytes of the same.
    pub(crate) bytes: u64,
}

/// What came first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// The session may go on.
    Hello(Hello),
    /// It may not, and why.
    Refused(String),
}

/// Why the first frame is none.
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
    /// As a frame.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let mut body = Vec::with_capacity(24);
        body.extend_from_slice(&self.incarnation.0.to_be_bytes());
        body.extend_from_slice(&self.frames.to_be_bytes());
        body.extend_from_slice(&self.bytes.to_be_bytes());
        frame::encode(Class::Hello, 0, 0, self.key, &body)
    }

    fn of(key: Key, body: &[u8]) -> Option<Self> {
        let (incarnation, rest) = body.split_first_chunk()?;
        let (frames, rest) = rest.split_first_chunk()?;
        let bytes = rest.first_chunk()?;
        Some(Self {
            incarnation: Incarnation(u64::from_be_bytes(*incarnation)),
            key,
            frames: u64::from_be_bytes(*frames),
            bytes: u64::from_be_bytes(*bytes),
        })
    }
}

/// A refusal as a frame.
pub(crate) fn refusal(why: &str) -> Result<Vec<u8>, FrameError> {
    let why = &why.as_bytes()[..why.floor_char_boundary(HELLO_MAX)];
    frame::encode(Class::Refused, 0, 0, Key([0; 16]), why)
}

/// The header of the first frame: how many bytes of body follow.
///
/// # Errors
/// It is none of a first frame.
pub(crate) fn begin(bytes: &[u8; HEADER]) -> Result<Header, HelloError> {
    let header = frame::header(bytes)?;
    let first = matches!(header.class, Class::Hello | Class::Refused) && header.length <= HELLO_MAX;
    if first { Ok(header) } else { Err(HelloError::Other) }
}

/// The first frame, from its parts.
///
/// # Errors
/// It is incomplete.
pub(crate) fn finish(header: &Header, body: &[u8]) -> Result<First, HelloError> {
    match header.class {
        // What a peer says goes to the log: one line, without control characters.
        Class::Refused => Ok(First::Refused(String::from_utf8_lossy(body).replace(char::is_control, " "))),
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

    #[test]
    fn golden_bytes() {
        let hello = Hello { incarnation: Incarnation(0x0102), key: Key([9; 16]), frames: 3, bytes: 4 };
        let mut golden = b"dvsl\x01\x00\x01\0\0\0\0\0\0\0\0\0\0".to_vec();
        golden.extend([9; 16]);
        golden.extend(b"\0\0\0\x18\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04");
        assert_eq!(hello.encode().unwrap(), golden);
        assert_eq!(read(&golden), Ok(First::Hello(hello)));
        let longer = frame::encode(Class::Hello, 0, 0, Key([9; 16]), &[&golden[HEADER..], b"later"].concat()).unwrap();
        assert_eq!(read(&longer), Ok(First::Hello(hello)), "of a later minor version");
    }

    #[test]
    fn refusals_are_read_and_bounded() {
        assert_eq!(read(&refusal("no\nway").unwrap()), Ok(First::Refused("no way".to_owned())));
        assert_eq!(refusal(&"ä".repeat(5000)).unwrap().len(), HEADER + HELLO_MAX);
    }

    #[test]
    fn nothing_else_comes_first() {
        let key = Key([0; 16]);
        assert_eq!(read(&frame::encode(Class::Ping, 0, 0, key, b"").unwrap()), Err(HelloError::Other));
        assert_eq!(read(&frame::encode(Class::Hello, 0, 0, key, &[0; 2000]).unwrap()), Err(HelloError::Other));
        assert_eq!(read(&frame::encode(Class::Hello, 0, 0, key, b"short").unwrap()), Err(HelloError::Incomplete));
    }
}
