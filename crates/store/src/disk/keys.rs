//! The keys of rows in the one tree: a prefix byte for each kind, numbers in big-endian, so that facts and chunks are
//! in order. Deliberately absent: the bytes of record keys (see [`crate::schema`]).

use std::ops::Range;

use crate::{Seq, schema::name_key};

/// The head row.
pub(super) const HEAD: &[u8] = b"h";
/// Facts: the prefix and the number.
pub(super) const FACT: u8 = b'f';
/// Records: the prefix and the encoded record key.
pub(super) const RECORD: u8 = b'r';
/// Chunks: the prefix, the version of their commit, their index in it.
pub(super) const CHUNK: u8 = b'c';
/// Replies: the prefix and the request key.
pub(super) const REPLY: u8 = b'k';

pub(super) fn fact(seq: u64) -> [u8; 9] {
    let mut key = [FACT; 9];
    key[1..].copy_from_slice(&seq.to_be_bytes());
    key
}

pub(super) fn chunk(version: u64, index: u32) -> [u8; 13] {
    let mut key = [CHUNK; 13];
    key[1..9].copy_from_slice(&version.to_be_bytes());
    key[9..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(super) fn reply(request: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + request.len());
    key.push(REPLY);
    key.extend_from_slice(request.as_bytes());
    key
}

/// All keys with a prefix byte.
pub(super) fn all(prefix: u8) -> Range<[u8; 1]> {
    [prefix]..[prefix + 1]
}

/// The number in a fact's key.
pub(super) fn fact_seq(key: &[u8]) -> Option<Seq> {
    let [FACT, number @ ..] = key else { return None };
    Some(Seq(u64::from_be_bytes(number.try_into().ok()?)))
}

/// The version in a chunk's key.
pub(super) fn chunk_version(key: &[u8]) -> Option<u64> {
    let [CHUNK, rest @ ..] = key else { return None };
    let (version, _index) = rest.split_first_chunk::<8>()?;
    Some(u64::from_be_bytes(*version))
}

/// Describes the row of a key, for messages.
pub(super) fn name(key: &[u8]) -> String {
    match key {
        HEAD => "the head row".to_owned(),
        [FACT, ..] if fact_seq(key).is_some() => format!("fact {}", fact_seq(key).unwrap_or_default()),
        [RECORD, rest @ ..] => name_key(rest),
        [CHUNK, ..] => format!("chunk {:02x?} of records", &key[1..]),
        [REPLY, rest @ ..] => format!("the reply to request {:?}", String::from_utf8_lossy(rest)),
        _ => format!("a row under the unknown key {key:02x?}"),
    }
}
