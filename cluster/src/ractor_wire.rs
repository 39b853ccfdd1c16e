//! Strict parser for ractor_cluster's messages (protobuf behind an 8-byte length), run on the bytes before ractor sees
//! them. A repeated or unknown field is refused, so this parser and ractor always read the same. Pure.
//! Deliberately absent: writing, and every message that a link does not need (those are refused by name).

/// Bytes of the length in front of every message.
pub(crate) const LENGTH: usize = 8;

/// A message of ractor_cluster.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inbound<'a> {
    /// A message of the handshake, with the name that the peer claims.
    Claim(&'a [u8]),
    /// A message of the handshake without a name.
    Handshake,
    /// Advertises one actor, without a name.
    Advertise,
    /// Pings, their answers, and "ready".
    Keeping,
    /// A message to an actor here: the bytes of a frame.
    Cast(&'a [u8]),
}

/// A message that no link sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// The message is not protobuf, or not in the one accepted form.
    #[error("an unreadable message")]
    Malformed,
    /// ractor would act on this message, but a link never sends it.
    #[error("a message that no node sends: {0}")]
    Forbidden(&'static str),
}

/// Reads one message, without its length.
///
/// # Errors
/// See [`WireError`].
pub(crate) fn read(message: &[u8]) -> Result<Inbound<'_>, WireError> {
    match only(message)? {
        (1, auth) => handshake(auth),
        (2, node) => match only(node)? {
            (1, cast) => frame_of(cast),
            (2, _) => Err(WireError::Forbidden("a call of an actor")),
            (3, _) => Err(WireError::Forbidden("an answer to a call of an actor")),
            _ => Err(WireError::Malformed),
        },
        (3, control) => match only(control)? {
            (1, spawn) => advertise(spawn),
            (3 | 4 | 9, _) => Ok(Inbound::Keeping),
            (2, _) => Err(WireError::Forbidden("the end of its gateway")),
            (5 | 6, _) => Err(WireError::Forbidden("a change of a process group")),
            (7 | 8, _) => Err(WireError::Forbidden("an exchange of peers")),
            _ => Err(WireError::Malformed),
        },
        _ => Err(WireError::Malformed),
    }
}

fn handshake(auth: &[u8]) -> Result<Inbound<'_>, WireError> {
    match only(auth)? {
        // The name of the dialer, or of the answerer: in both messages it is the first field.
        (1 | 4, claim) => {
            let mut name = [].as_slice();
            each(claim, 4, |number, value| {
                if let (1, Value::Bytes(bytes)) = (number, value) {
                    name = bytes;
                }
                Ok(())
            })?;
            Ok(Inbound::Claim(name))
        }
        (2 | 3 | 5 | 6, _) => Ok(Inbound::Handshake),
        _ => Err(WireError::Malformed),
    }
}

/// Exactly one actor without a name: a peer has one remotable actor, and a million advertised actors would use as much
/// memory here.
fn advertise(spawn: &[u8]) -> Result<Inbound<'_>, WireError> {
    const SECOND: WireError = WireError::Forbidden("an actor beside its gateway");
    let (1, actor) = only(spawn).map_err(|_| SECOND)? else { return Err(WireError::Malformed) };
    each(actor, 2, |number, _| if number == 1 { Ok(()) } else { Err(SECOND) })?;
    Ok(Inbound::Advertise)
}

fn frame_of(cast: &[u8]) -> Result<Inbound<'_>, WireError> {
    let mut frame = None;
    each(cast, 6, |number, value| {
        match (number, value) {
            (1, Value::Number) => {}
            (2, Value::Bytes(bytes)) => frame = Some(bytes),
            _ => return Err(WireError::Malformed),
        }
        Ok(())
    })?;
    frame.map(Inbound::Cast).ok_or(WireError::Malformed)
}

enum Value<'a> {
    Number,
    Bytes(&'a [u8]),
}

/// The only field of a message that has exactly one, which is bytes.
fn only(message: &[u8]) -> Result<(u64, &[u8]), WireError> {
    let mut rest = message;
    match field(&mut rest)? {
        (number, Value::Bytes(bytes)) if rest.is_empty() => Ok((number, bytes)),
        _ => Err(WireError::Malformed),
    }
}

/// Every field of a message, each at most once, none above `last` (at most 63).
fn each<'a>(
    message: &'a [u8],
    last: u64,
    mut look: impl FnMut(u64, Value<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut rest = message;
    let mut seen = 0_u64;
    while !rest.is_empty() {
        let (number, value) = field(&mut rest)?;
        if number > last || seen & (1 << number) != 0 {
            return Err(WireError::Malformed);
        }
        seen |= 1 << number;
        look(number, value)?;
    }
    Ok(())
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Value<'a>), WireError> {
    let tag = number(rest)?;
    let value = match tag & 7 {
        0 => number(rest).map(|_| Value::Number)?,
        2 => {
            let length = usize::try_from(number(rest)?).map_err(|_| WireError::Malformed)?;
            let (bytes, after) = rest.split_at_checked(length).ok_or(WireError::Malformed)?;
            *rest = after;
            Value::Bytes(bytes)
        }
        // Fixed widths and groups: ractor's messages do not use them.
        _ => return Err(WireError::Malformed),
    };
    match tag >> 3 {
        0 => Err(WireError::Malformed),
        number => Ok((number, value)),
    }
}

/// A variable-length number of at most 10 bytes.
fn number(rest: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0_u64;
    for at in 0..10 {
        let (byte, after) = rest.split_first().ok_or(WireError::Malformed)?;
        *rest = after;
        // The tenth byte holds one bit.
        if at == 9 && *byte > 1 {
            return Err(WireError::Malformed);
        }
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WireError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nested(path: &[u8], inner: &[u8]) -> Vec<u8> {
        path.iter().rev().fold(inner.to_vec(), |inner, number| {
            let mut outer = vec![number << 3 | 2];
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

    #[test]
    fn what_honest_nodes_send_is_read() {
        let cast = [b"\x08\x95\x9a\xef\x3a".to_vec(), nested(&[2], &[7; 300])].concat();
        assert_eq!(read(&nested(&[2, 1], &cast)), Ok(Inbound::Cast(&[7; 300])));
        let name =
            [nested(&[1], b"a@1"), nested(&[2], b"\x08\x01"), nested(&[3], b"1:2"), b"\x20\x05".to_vec()].concat();
        assert_eq!(read(&nested(&[1, 1], &name)), Ok(Inbound::Claim(b"a@1")));
        assert_eq!(read(&nested(&[1, 4], &nested(&[1], b"b"))), Ok(Inbound::Claim(b"b")));
        assert_eq!(read(&nested(&[1, 4], b"")), Ok(Inbound::Claim(b"")));
        assert_eq!(read(&nested(&[1, 2], b"")), Ok(Inbound::Handshake));
        assert_eq!(read(&nested(&[3, 1, 1], b"\x08\x05")), Ok(Inbound::Advertise));
        for keeping in [3, 4, 9] {
            assert_eq!(read(&nested(&[3, keeping], b"")), Ok(Inbound::Keeping));
        }
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let name = nested(&[1, 1, 1], b"a");
        assert_eq!(read(&[name.clone(), name].concat()), Err(WireError::Malformed), "merged by ractor");
        let twice = [nested(&[1], b"good"), nested(&[1], b"evil")].concat();
        assert_eq!(read(&nested(&[1, 1], &twice)), Err(WireError::Malformed), "the last wins in ractor");
        for path in [[2, 2], [2, 3], [3, 2], [3, 5], [3, 6], [3, 7], [3, 8]] {
            assert!(matches!(read(&nested(&path, b"")), Err(WireError::Forbidden(_))), "{path:?}");
        }
        let two = [nested(&[1], b"\x08\x05"), nested(&[1], b"\x08\x06")].concat();
        assert!(matches!(read(&nested(&[3, 1], &two)), Err(WireError::Forbidden(_))));
        assert!(matches!(read(&nested(&[3, 1, 1, 2], b"named")), Err(WireError::Forbidden(_))));
        assert_eq!(read(b""), Err(WireError::Malformed));
        assert_eq!(read(&nested(&[2, 1], b"")), Err(WireError::Malformed), "a cast of nothing");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(path in prop::collection::vec(0_u8..10, 0..4), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&nested(&path, &bytes));
        }
    }
}
