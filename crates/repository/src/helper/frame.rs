//! The frames in the pipes: a magic number with a version, a length, a body. Both ends refuse a frame that is longer
//! than their limit. Deliberately absent: waiting (see `process` and `serve`).

use std::io::{self, Read};

use serde::{Serialize, de::DeserializeOwned};

/// The magic number with the version of the bodies. Both ends are the same program, so another version is a bug.
const MARK: [u8; 4] = *b"DSH\x01";
/// The magic number and the length of the body, little endian.
pub(super) const HEAD: usize = 8;
/// The largest body, in bytes: secret values and paths in a request, a patch in an answer.
pub(super) const BODY_MAX: usize = 64 << 20;

const BODY: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<BODY_MAX>,
> = bincode::config::standard().with_limit::<BODY_MAX>();

/// Encodes a whole frame.
pub(super) fn encode(body: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = [MARK, [0; 4]].concat();
    bincode::serde::encode_into_std_write(body, &mut frame, BODY).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - HEAD).ok().filter(|length| *length as usize <= BODY_MAX);
    let length = length.ok_or_else(|| io::Error::other(format!("it exceeds {} MiB", BODY_MAX >> 20)))?;
    frame[4..HEAD].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// The length of the body that follows.
pub(super) fn length(head: &[u8; HEAD]) -> io::Result<usize> {
    let [a, b, c, d, length @ ..] = *head;
    let length = u32::from_le_bytes(length) as usize;
    if [a, b, c, d] != MARK || length > BODY_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a message of this version of the helper"));
    }
    Ok(length)
}

/// Decodes a body; no bytes may follow.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    let (value, read) = bincode::serde::decode_from_slice(body, BODY).map_err(io::Error::other)?;
    if read != body.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "extra bytes after the body"));
    }
    Ok(value)
}

/// Reads the next body; `None` if the other end is gone.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEAD];
    let mut first = [0; 1];
    if from.read(&mut first)? == 0 {
        return Ok(None);
    }
    head[0] = first[0];
    from.read_exact(&mut head[1..])?;
    let mut body = Vec::new();
    let length = length(&head)?;
    from.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Some(body)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = encode(&("text", 7u64)).expect("small");
        let body = read(&mut frame.as_slice()).expect("whole").expect("there");
        assert_eq!(decode::<(String, u64)>(&body).expect("valid"), ("text".into(), 7));
        assert!(read(&mut [].as_slice()).expect("an end").is_none());
    }

    #[test]
    fn other_bytes_are_refused() {
        let frame = encode(&7u64).expect("small");
        assert!(read(&mut &frame[..frame.len() - 1]).is_err(), "cut");
        assert!(read(&mut b"running 0 tests\n".as_slice()).is_err(), "the words of another program");
        let long = [MARK.as_slice(), &u32::MAX.to_le_bytes()].concat();
        assert!(read(&mut long.as_slice()).is_err(), "a length that is too long");
        assert!(decode::<u64>(&[7, 7]).is_err(), "something follows");
    }
}
