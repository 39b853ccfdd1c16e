//! The bytes of rows: bincode 2 behind the envelope's schema version. Version 3 is the current types of `devstack_dag`,
//! frozen by `tests/store/golden`. For each older version a module holds the types that differ in the next version.
//!
//! How to add version 4, before the first change of such a type that is not a new last variant of an enum:
//! 1. Copy the type as it was into `schema/v3.rs`, with every type that contains it up to the row, and never touch the
//!    copy again. Of an enum copy only the variants that change; the others read as in the next version.
//! 2. Write `impl From<v3::…>` for each, give [`Row`] a `decode_v3` beside `decode_v2`, and convert the types of `v2`
//!    to `v3` (versions chain: v1 → v2 → v3 → v4).
//! 3. Raise [`SCHEMA`], the version that is written from then on, and add golden files for it. The old files stay and
//!    must decode to the same values forever.
//!
//! The reason for this strictness: bincode has no field names. An added field fails to decode, and an inserted variant
//! decodes as ANOTHER variant.

mod v1;
mod v2;

use devstack_dag::{
    fact::Fact,
    ids::Timestamp,
    record::{Record, RecordKey},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{InstallationLabel, MAX_RECORD, Meta, Seq, StoreError, StoredReply, Term};

/// The schema version that is written.
pub(crate) const SCHEMA: u8 = 3;

/// The maximum number of bytes that decoding one value may claim. Numbers claim their full width however short they are
/// encoded, so a row of [`MAX_RECORD`] may claim eight times its size. Only a damaged length can claim more.
const DECODE_LIMIT: usize = 16 * MAX_RECORD;

/// Encoding of rows: little-endian, with short numbers stored short.
const ROW: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<DECODE_LIMIT>,
> = bincode::config::standard().with_limit::<DECODE_LIMIT>();

/// Encoding of keys: big-endian, so that the bytes sort like the numbers (the length prefix grows with the number).
const KEY: bincode::config::Configuration<
    bincode::config::BigEndian,
    bincode::config::Varint,
    bincode::config::Limit<DECODE_LIMIT>,
> = bincode::config::standard().with_big_endian().with_limit::<DECODE_LIMIT>();

/// The position of the store, as stored in its head row.
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

/// A reply with the number of the last fact at its time, by which it is pruned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplyRow {
    pub(crate) seq: Seq,
    pub(crate) reply: StoredReply,
}

/// A type with a schema. This is the only place that distinguishes versions.
pub(crate) trait Row: Serialize + DeserializeOwned {
    /// Appends the body of the newest version.
    fn encode(&self, out: &mut impl std::io::Write) -> Result<(), String> {
        bincode::serde::encode_into_std_write(self, out, ROW).map(drop).map_err(|error| error.to_string())
    }

    /// Reads a body of version 1. Most rows are the same in version 2.
    fn decode_v1(body: &[u8]) -> Result<Self, String> {
        Self::decode_v2(body)
    }

    /// Reads a body of version 2. Most rows are the same in version 3.
    fn decode_v2(body: &[u8]) -> Result<Self, String> {
        decode_exact(body)
    }

    /// Reads a body of any known version.
    fn decode(schema: u8, body: &[u8]) -> Result<Self, String> {
        match schema {
            1 => Self::decode_v1(body),
            2 => Self::decode_v2(body),
            SCHEMA => decode_exact(body),
            newer => Err(format!("schema version {newer} is from a newer devstack")),
        }
    }
}

impl Row for Head {}
impl Row for ReplyRow {}

impl Row for Fact {
    fn decode_v1(body: &[u8]) -> Result<Self, String> {
        v1::fact(body)
    }

    fn decode_v2(body: &[u8]) -> Result<Self, String> {
        v2::fact(body)
    }
}

impl Row for Record {
    fn decode_v1(body: &[u8]) -> Result<Self, String> {
        v1::record(body)
    }

    fn decode_v2(body: &[u8]) -> Result<Self, String> {
        v2::record(body)
    }
}

/// Decodes the beginning of a body, for example the number of an enum's variant.
fn decode_start<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    bincode::serde::decode_from_slice(body, ROW).map(|(value, _)| value).map_err(|error| error.to_string())
}

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

/// Describes the record of a key, for messages.
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
