//! Any bytes are a row of the store or an error, an accepted row is exactly what would be written, and one flipped bit
//! of a row or of its key is found out. What is in rows, facts and records, is read from any bytes or refused.
//! Deliberately absent: sled below it, and the version before (its decoder is for rows that hold).
#![no_main]

use devstack_dag::{fact::Fact, record::Record};
use serde::{Serialize, de::DeserializeOwned};

#[path = "../../crates/store/src/envelope.rs"]
mod envelope;

/// As rows are read (`src/store/schema.rs`).
const ROW: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<{ 256 << 10 }>,
> = bincode::config::standard().with_limit::<{ 256 << 10 }>();

fn body<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok((value, read)) = bincode::serde::decode_from_slice::<T, _>(bytes, ROW) else { return };
    let again = bincode::serde::encode_to_vec(&value, ROW).unwrap();
    // Numbers may be longer than they need to be.
    assert!(again.len() <= read);
    assert_eq!(bincode::serde::decode_from_slice::<T, _>(&again, ROW).unwrap().0, value);
}

libfuzzer_sys::fuzz_target!(|input: (&[u8], &[u8], usize)| {
    let (key, bytes, at) = input;
    if let Ok(frame) = envelope::open(key, bytes) {
        let (kind, schema, held) = (frame.kind, frame.schema, frame.body.to_vec());
        let mut again = Vec::new();
        let write = |out: &mut Vec<u8>| Ok::<_, std::convert::Infallible>(out.extend_from_slice(&held));
        envelope::seal(&mut again, kind, schema, key, write).unwrap();
        assert_eq!(again, bytes);
    }
    let (mut row, write) = (Vec::new(), |out: &mut Vec<u8>| Ok::<_, ()>(out.extend_from_slice(bytes)));
    envelope::seal(&mut row, envelope::RowKind::Record, 2, key, write).unwrap();
    assert_eq!(envelope::open(key, &row).unwrap().body, bytes);
    let bit = at % (8 * (row.len() + key.len()));
    let mut other = key.to_vec();
    match row.get_mut(bit / 8) {
        Some(byte) => *byte ^= 1 << (bit % 8),
        None => other[bit / 8 - row.len()] ^= 1 << (bit % 8),
    }
    assert!(envelope::open(&other, &row).is_err());
    body::<Fact>(bytes);
    body::<Record>(bytes);
});
