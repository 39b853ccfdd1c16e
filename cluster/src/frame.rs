//! The frame format of a session: `magic | version | class | kind | request | session key | length | body`, big-endian,
//! 1 MiB at most. Pure functions over bytes. Deliberately absent: the meaning of a kind, and the sender of a frame (the
//! gateway finds the sender by the key).

use std::fmt;

/// The first bytes of every frame.
pub const MAGIC: [u8; 4] = *b"dvsl";
/// Bytes before the body: 4 magic, 2 version, 1 class, 2 kind, 8 request, 16 key, 4 length.
pub const HEADER: usize = 37;
/// The largest frame in bytes, including the header. Larger data is bulk data and travels over HTTPS: a frame of 64 MiB
/// blocks the small frame behind it for half a second, one of 1 MiB for less than 10 ms.
pub const FRAME_MAX: usize = 1 << 20;
/// The largest body, in bytes.
pub const BODY_MAX: usize = FRAME_MAX - HEADER;

/// The version of the frames. Another major version is refused. Another minor version is accepted: it may append to the
/// bodies of the link's own classes, and sends a new class only to a peer whose minor version knows that class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Incompatible with every other major version.
    pub major: u8,
    /// Increases with every appended field.
    pub minor: u8,
}

/// The version that is written. 1.1 appended the node's introduction to the hello, and gave permanent refusals their
/// own kind.
pub const VERSION: Version = Version { major: 1, minor: 1 };

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Random bits that a receiver issues for one session. They identify the sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 16]);

impl fmt::Debug for Key {
    /// A key is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The purpose of a frame. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// The first frame of a session: issues the key.
    Hello = 1,
    /// Sent instead of a hello: no session, and the reason (UTF-8).
    Refused = 2,
    /// The sender is alive.
    Ping = 3,
    /// The total consumed so far.
    Credit = 4,
    /// A message without an answer.
    Message = 5,
    /// A message with an answer, identified by its request.
    Call = 6,
    /// The answer to a call.
    Reply = 7,
    /// The negative answer to a call, with the reason (UTF-8).
    Refusal = 8,
}

impl Class {
    fn of(number: u8) -> Option<Self> {
        use Class::{Call, Credit, Hello, Message, Ping, Refusal, Refused, Reply};
        [Hello, Refused, Ping, Credit, Message, Call, Reply, Refusal].into_iter().find(|class| *class as u8 == number)
    }

    /// Whether the frame takes credit: all frames that an actor will see do.
    pub fn takes_credit(self) -> bool {
        matches!(self, Self::Message | Self::Call | Self::Reply | Self::Refusal)
    }
}

/// The header in front of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The writer's version.
    pub version: Version,
    /// The purpose.
    pub class: Class,
    /// The kind of the body; the link does not interpret it.
    pub kind: u16,
    /// The id of the call; 0 if there is none.
    pub request: u64,
    /// The key that the receiver issued; in a hello, the issued key.
    pub key: Key,
    /// Length of the body in bytes.
    pub length: usize,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Something else entirely.
    #[error("not a frame: wrong first bytes")]
    Magic,
    /// An incompatible version: update the older node.
    #[error("unknown frame version {0}, this node uses {VERSION}; update the older node")]
    Version(Version),
    /// A class that this version does not know.
    #[error("unknown frame class {0}")]
    Class(u8),
    /// Above the limit.
    #[error("a frame body of {0} bytes, the limit is {BODY_MAX}")]
    TooLarge(usize),
    /// The frame ends too early.
    #[error("a truncated frame")]
    Truncated,
    /// Bytes follow the end of the frame.
    #[error("{0} extra bytes after a frame")]
    Trailing(usize),
}

/// Writes a frame.
///
/// # Errors
/// The body is too large.
pub fn encode(class: Class, kind: u16, request: u64, key: Key, body: &[u8]) -> Result<Vec<u8>, FrameError> {
    if body.len() > BODY_MAX {
        return Err(FrameError::TooLarge(body.len()));
    }
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&[VERSION.major, VERSION.minor, class as u8]);
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(&request.to_be_bytes());
    frame.extend_from_slice(&key.0);
    // At most 1 MiB, checked above.
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(body);
    Ok(frame)
}

/// Reads the header at the start of `bytes`, whatever follows it.
///
/// # Errors
/// There is no header, or it cannot be read.
pub fn header(bytes: &[u8]) -> Result<Header, FrameError> {
    let mut rest = bytes;
    if take(&mut rest)? != MAGIC {
        return Err(FrameError::Magic);
    }
    let [major, minor] = take(&mut rest)?;
    let version = Version { major, minor };
    if version.major != VERSION.major {
        return Err(FrameError::Version(version));
    }
    let [number] = take(&mut rest)?;
    let class = Class::of(number).ok_or(FrameError::Class(number))?;
    let kind = u16::from_be_bytes(take(&mut rest)?);
    let request = u64::from_be_bytes(take(&mut rest)?);
    let key = Key(take(&mut rest)?);
    let length = u32::from_be_bytes(take(&mut rest)?) as usize;
    if length > BODY_MAX {
        return Err(FrameError::TooLarge(length));
    }
    Ok(Header { version, class, kind, request, key, length })
}

/// Reads one complete frame: header and body.
///
/// # Errors
/// The bytes are not a frame, end too early, or continue after the frame.
pub fn decode(bytes: &[u8]) -> Result<(Header, &[u8]), FrameError> {
    let header = header(bytes)?;
    let body = bytes.get(HEADER..).unwrap_or_default();
    match body.len().checked_sub(header.length) {
        None => Err(FrameError::Truncated),
        Some(0) => Ok((header, body)),
        Some(more) => Err(FrameError::Trailing(more)),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], FrameError> {
    let (first, after) = rest.split_first_chunk().ok_or(FrameError::Truncated)?;
    *rest = after;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = Key([0xA5; 16]);

    /// The wire format of version 1. Except for the minor version, these bytes never change.
    #[test]
    fn golden_bytes() {
        let frame = encode(Class::Call, 0x0102, 0x0304_0506_0708_090A, KEY, b"body").unwrap();
        let mut golden = b"dvsl\x01\x01\x06\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A".to_vec();
        golden.extend([0xA5; 16]);
        golden.extend(b"\x00\x00\x00\x04body");
        assert_eq!(frame, golden);
        let (header, body) = decode(&golden).unwrap();
        assert_eq!((header.class, header.kind, header.request), (Class::Call, 0x0102, 0x0304_0506_0708_090A));
        assert_eq!((header.key, header.length, body), (KEY, 4, b"body".as_slice()));
        golden[5] = 0;
        let (header, body) = decode(&golden).unwrap();
        assert_eq!((header.version.minor, body), (0, b"body".as_slice()), "the version before is understood");
    }

    #[test]
    fn classes_keep_their_numbers() {
        let numbers: Vec<Option<Class>> = (0..=9).map(Class::of).collect();
        use Class::{Call, Credit, Hello, Message, Ping, Refusal, Refused, Reply};
        let all = [Hello, Refused, Ping, Credit, Message, Call, Reply, Refusal].map(Some);
        assert_eq!(numbers[0], None);
        assert_eq!(&numbers[1..9], &all);
        assert_eq!(numbers[9], None);
    }

    #[test]
    fn what_is_no_frame_is_refused_by_what_is_wrong() {
        let frame = encode(Class::Message, 1, 0, KEY, b"abc").unwrap();
        let with = |at: usize, byte: u8| {
            let mut other = frame.clone();
            other[at] = byte;
            other
        };
        assert_eq!(decode(&with(0, b'x')), Err(FrameError::Magic));
        assert_eq!(decode(&with(4, 2)), Err(FrameError::Version(Version { major: 2, minor: 1 })));
        assert_eq!(
            decode(&with(5, 7)).unwrap().0.version,
            Version { major: 1, minor: 7 },
            "another minor is understood"
        );
        assert_eq!(decode(&with(6, 99)), Err(FrameError::Class(99)));
        assert_eq!(decode(&with(33, 1)), Err(FrameError::TooLarge((1 << 24) + 3)));
        assert_eq!(decode(&frame[..frame.len() - 1]), Err(FrameError::Truncated));
        assert_eq!(decode(&[frame.clone(), vec![0]].concat()), Err(FrameError::Trailing(1)));
        assert_eq!(decode(&[]), Err(FrameError::Truncated));
    }

    #[test]
    fn a_frame_is_bounded() {
        assert_eq!(encode(Class::Message, 1, 0, KEY, &vec![0; BODY_MAX]).unwrap().len(), FRAME_MAX);
        let over = BODY_MAX + 1;
        assert_eq!(encode(Class::Message, 1, 0, KEY, &vec![0; over]), Err(FrameError::TooLarge(over)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(kind: u16, request: u64, key: [u8; 16], body in prop::collection::vec(any::<u8>(), 0..300)) {
            let frame = encode(Class::Reply, kind, request, Key(key), &body).unwrap();
            let (header, read) = decode(&frame).unwrap();
            prop_assert_eq!((header.kind, header.request, header.key, read), (kind, request, Key(key), body.as_slice()));
        }

        /// Any bytes: no panic, and an accepted frame encodes to exactly the same bytes.
        #[test]
        fn any_bytes_are_a_frame_or_an_error(start in prop::sample::select(vec![0_usize, 4, 6, 7]), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut input = encode(Class::Hello, 0, 0, KEY, b"").unwrap()[..start].to_vec();
            input.extend(bytes);
            if let Ok((header, body)) = decode(&input) {
                let mut again = encode(header.class, header.kind, header.request, header.key, body).unwrap();
                again[5] = header.version.minor;
                prop_assert_eq!(again, input);
            }
        }
    }
}
