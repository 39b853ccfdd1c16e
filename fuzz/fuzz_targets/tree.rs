//! Any bytes are a list of entries that ends, with a reason where they are no tree.
//! Deliberately absent: walks over several trees; those are property tests.
#![no_main]

#[allow(dead_code, reason = "what asks for the kind of an entry is not used")]
#[path = "../../crates/repository/src/trees/entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut read = 0;
    for entry in entries::parse(bytes) {
        let Ok(entry) = entry else { return };
        assert!(!entry.name.is_empty() && !entry.name.contains(&b'/') && !entry.name.contains(&0));
        read += entry.name.len() + 22;
    }
    assert!(read <= bytes.len());
});
