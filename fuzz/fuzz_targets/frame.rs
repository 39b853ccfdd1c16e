//! Any bytes are a frame or an error, and an accepted frame is exactly what would be written.
//! Deliberately absent: sessions; the decoder is all that this feeds.
#![no_main]

#[allow(dead_code, reason = "only the decoder and its counterpart are used")]
#[path = "../../cluster/src/frame.rs"]
mod frame;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok((header, body)) = frame::decode(bytes) {
        let mut again = frame::encode(header.class, header.kind, header.request, header.key, body).unwrap();
        // A later minor version is read, and never written.
        again[5] = header.version.minor;
        assert_eq!(again, bytes);
    }
});
