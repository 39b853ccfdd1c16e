//! Any bytes have the header of a bundle or not, and one that has ends where the pack begins.
//! Deliberately absent: the pack, which only git reads, in a quarantine.
#![no_main]

#[allow(dead_code, reason = "what writes bundles is not used")]
#[path = "../../crates/repository/src/bundle_header.rs"]
mod bundle_header;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = bundle_header::read_header(bytes) {
        let length = header.length as usize;
        assert!(length <= bytes.len() && bytes[..length].ends_with(b"\n\n"));
    }
});
