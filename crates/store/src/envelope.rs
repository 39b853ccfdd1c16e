//! The frame around every row: `magic | kind | schema version | length | crc32 | body`. The checksum also covers the
//! row's key, so a body under a wrong key is detected. Deliberately absent: the meaning of a body (see
//! [`super::schema`]).

/// The first two bytes of every row.
const MAGIC: [u8; 2] = *b"ds";
/// Bytes before the body: magic 2, kind 1, schema version 1, length 4, crc32 4.
const HEADER: usize = 12;

/// What a row holds. Append-only: numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RowKind {
    /// The head row: the position of the store.
    Head = 1,
    /// A fact.
    Fact = 2,
    /// A record.
    Record = 3,
    /// The mark of a removed record whose older copy is in a chunk.
    Removed = 4,
    /// Many records written by one large commit.
    Chunk = 5,
    /// A reply.
    Reply = 6,
}

impl RowKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Head, Self::Fact, Self::Record, Self::Removed, Self::Chunk, Self::Reply]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A row whose frame is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: RowKind,
    pub(crate) schema: u8,
    pub(crate) body: &'a [u8],
}

/// Frames the body that `write` appends to `out`, which is cleared first.
pub(crate) fn seal<E>(
    out: &mut Vec<u8>,
    kind: RowKind,
    schema: u8,
    key: &[u8],
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    out.clear();
    out.extend_from_slice(&[MAGIC[0], MAGIC[1], kind as u8, schema, 0, 0, 0, 0, 0, 0, 0, 0]);
    write(out)?;
    // A body is some KiB; a length over 4 GiB would fail the length check on reading.
    let length = (out.len() - HEADER) as u32;
    out[4..8].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(&out[..8], key, &out[HEADER..]);
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// The frame of a row, or what is wrong with it.
pub(crate) fn open<'a>(key: &[u8], row: &'a [u8]) -> Result<Frame<'a>, String> {
    let Some((header, body)) = row.split_at_checked(HEADER) else {
        return Err(format!("a row of {} bytes is shorter than its header", row.len()));
    };
    if header[..2] != MAGIC {
        return Err(format!("it starts with {:02x}{:02x}", header[0], header[1]));
    }
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    if length as usize != body.len() {
        return Err(format!("the header says {length} bytes, but there are {}", body.len()));
    }
    let written = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    let found = checksum(&header[..8], key, body);
    if written != found {
        return Err(format!("the checksum is {found:08x}, expected {written:08x}"));
    }
    let kind =
        RowKind::from_byte(header[2]).ok_or_else(|| format!("rows of kind {} are from a newer devstack", header[2]))?;
    Ok(Frame { kind, schema: header[3], body })
}

fn checksum(head: &[u8], key: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(key);
    crc.update(body);
    crc.finalize()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    fn sealed() -> Vec<u8> {
        let mut row = Vec::new();
        seal(&mut row, RowKind::Fact, 1, b"key", |out| {
            out.extend_from_slice(b"body");
            Ok::<(), ()>(())
        })
        .unwrap();
        row
    }

    #[test]
    fn a_sealed_row_opens() {
        let row = sealed();
        assert_eq!(open(b"key", &row).unwrap(), Frame { kind: RowKind::Fact, schema: 1, body: b"body" });
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let row = sealed();
        for bit in 0..row.len() * 8 {
            let mut torn = row.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            assert!(open(b"key", &torn).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_key_or_length_is_found() {
        let row = sealed();
        assert!(open(b"kez", &row).is_err());
        for length in 0..row.len() {
            assert!(open(b"key", &row[..length]).is_err(), "{length} bytes");
        }
    }
}
