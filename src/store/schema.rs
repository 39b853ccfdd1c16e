//! The bytes of rows: bincode 2 behind the envelope's schema version. Version 3 is the types of `devstack_dag` as they
//! are, frozen by `tests/store/golden`; of an older version its module has what is different in the next one.
//!
//! How version 4 is added, before the first change of such a type that is not a new last variant of an enum:
//! 1. copy the type as it was into `schema/v3.rs` with all that contains it up to the row, and never touch it again. Of an
//!    enum only the variants that change are copied; the others read as in the next version;
//! 2. write `impl From<v3::…>` for each, give [`Row`] a `decode_v3` beside `decode_v2`, and let what `v2` has end in `v3`
//!    (versions chain: v1 → v2 → v3 → v4);
//! 3. raise [`SCHEMA`], which is what is written from then on, and add golden files for it; the old ones stay, and
//!    must decode to the same values for ever.
//!
//! Why so strict: bincode has no field names. An added field fails to decode, an inserted variant decodes as ANOTHER one.

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
            newer => Err(format!("schema version {newer} is of a newer devstack")),
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

/// What a body begins with, for example the number of an enum's variant.
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
