//! Any bytes are a message between a Taskmaster and a host or an error, and an accepted one is written as it was read
//! or shorter: numbers may be longer than they need to be, and a message of version 1 is written as one of this
//! version.
//! Deliberately absent: what a message means.
#![no_main]

#[allow(dead_code, reason = "the kinds of frames are not used")]
#[path = "../../crates/node/src/wire.rs"]
mod wire;

use wire::{ToHost, ToTaskmaster};

/// Bytes of the fields that version 2 added, empty.
const NEWER: usize = 8;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = wire::decode::<ToHost>(bytes) {
        let again = wire::encode(&message).unwrap();
        assert!(again.len() <= bytes.len() + NEWER);
        assert_eq!(wire::decode::<ToHost>(&again), Ok(message));
    }
    if let Ok(message) = wire::decode::<ToTaskmaster>(bytes) {
        let again = wire::encode(&message).unwrap();
        assert!(again.len() <= bytes.len() + NEWER);
        assert_eq!(wire::decode::<ToTaskmaster>(&again), Ok(message));
    }
});
