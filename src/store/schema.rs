//! The bytes of rows: bincode 2 behind the envelope's schema version. Version 1 is the types of `devstack_dag` as they
//! are, frozen by `tests/store/golden`.
//!
//! How version 2 is added, before the first change of such a type that is not a new last variant of an enum:
//! 1. copy the type as it was into `schema/v1.rs` with all that it contains, and never touch it again;
//! 2. write `impl From<v1::TaskRecord> for TaskRecord`, and give the match in [`Row::decode`] an arm `1` that decodes
//!    the old type and converts it (later versions chain: v1 → v2 → v3);
//! 3. raise [`SCHEMA`], which is what is written from then on, and add golden files for it; the old ones stay, and
//!    must decode to the same values for ever.
//!
//! Why so strict: bincode has no field names. An added field fails to decode, an inserted variant decodes as ANOTHER one.

use devstack_dag::{
    fact::Fact,
    ids::Timestamp,
    record::{Record, RecordKey},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{InstallationLabel, MAX_RECORD, Meta, Seq, StoreError, StoredReply, Term};

/// The schema version that is written.
pub(crate) const SCHEMA: u8 = 1;

/// Bytes that decoding one value may claim: numbers claim their full width however short they are written, so a
/// row of [`MAX_RECORD`] may claim eight times as much. Only a damaged length can ask for more.
const DECODE_LIMIT: usize = 16 * MAX_RECORD;

/// Rows: little-endian, short numbers short.
const ROW: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<DECODE_LIMIT>,
> = bincode::config::standard().with_limit::<DECODE_LIMIT>();

/// Keys: big-endian, so that the bytes sort as the numbers do (the length prefix grows with the number).
const KEY: bincode::config::Configuration<
    bincode::config::BigEndian,
    bincode::config::Varint,
    bincode::config::Limit<DECODE_LIMIT>,
> = bincode::config::standard().with_big_endian().with_limit::<DECODE_LIMIT>();

/// Where the store stands, as kept in its head row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) seq: Seq,
    pub(crate) first: Seq,
    pub(crate) term: Term,
    pub(crate) last_time: Timestamp,
    pub(crate) label: InstallationLabel,
    /// Counts commits: of two copies of a record the one with the higher version is the truth.
    pub(crate) version: u64,
}

impl Head {
    pub(crate) fn meta(&self) -> Meta {
        Meta { seq: self.seq, first: self.first, term: self.term, last_time: self.last_time, label: self.label }
    }
}

/// A reply with the number of the last fact when it was given, by which it is pruned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplyRow {
    pub(crate) seq: Seq,
    pub(crate) reply: StoredReply,
}

/// A type with a schema: the one place where versions are told apart.
pub(crate) trait Row: Serialize + DeserializeOwned {
    /// Appends the body of the newest version.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        bincode::serde::encode_into_std_write(self, out, ROW).map(drop).map_err(|error| error.to_string())
    }

    /// Reads a body of any known version.
    fn decode(schema: u8, body: &[u8]) -> Result<Self, String> {
        match schema {
            1 => decode_exact(body),
            newer => Err(format!("schema version {newer} is of a newer devstack")),
        }
    }
}

impl Row for Head {}
impl Row for Fact {}
impl Row for Record {}
impl Row for ReplyRow {}

fn decode_exact<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let (value, read) = bincode::serde::decode_from_slice(body, ROW).map_err(|error| error.to_string())?;
    if read != body.len() {
        return Err(format!("{} bytes are left over", body.len() - read));
    }
    Ok(value)
}

/// Appends the key of a record.
pub(crate) fn encode_key(key: &RecordKey, out: &mut Vec<u8>) -> Result<(), String> {
    bincode::serde::encode_into_std_write(key, out, KEY).map(drop).map_err(|error| error.to_string())
}

/// The record that a key names, for messages.
pub(crate) fn name_key(bytes: &[u8]) -> String {
    match bincode::serde::decode_from_slice::<RecordKey, _>(bytes, KEY) {
        Ok((key, _)) => format!("record {key:?}"),
        Err(_) => format!("a record under the key {bytes:02x?}"),
    }
}

/// Refuses what is larger than a row may be.
pub(crate) fn check_size(size: usize, what: impl FnOnce() -> String) -> Result<(), StoreError> {
    if size > MAX_RECORD {
        return Err(StoreError::TooLarge { what: what(), size });
    }
    Ok(())
}
