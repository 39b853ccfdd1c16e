//! Any bytes are the first frame of a session or an error; a hello is written again as it was read, but for what a
//! later minor version appended, and a refusal is one line.
//! Deliberately absent: TLS, which comes before.
#![no_main]

#[allow(dead_code, reason = "only what hellos need is used")]
#[path = "../../cluster/src/frame.rs"]
mod frame;
#[path = "../../cluster/src/hello.rs"]
mod hello;

/// What the hello needs of sessions.
mod session {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Incarnation(pub(crate) u64);
}

use frame::HEADER;
use hello::First;

fn read(bytes: &[u8]) -> Option<First> {
    let header = hello::begin(bytes.first_chunk()?).ok()?;
    assert!(header.length <= 1024);
    hello::finish(&header, bytes.get(HEADER..HEADER + header.length)?).ok()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match read(bytes) {
        None => {}
        Some(First::Hello(hello)) => {
            assert!(hello.about.len() <= hello::ABOUT_MAX);
            let again = hello.encode().unwrap();
            assert_eq!(read(&again), Some(First::Hello(hello)));
        }
        Some(First::Refused(why)) => {
            assert!(!why.contains(char::is_control));
            assert!(matches!(read(&hello::refusal(&why, false).unwrap()), Some(First::Refused(_))));
        }
        Some(First::NotAdmitted(why)) => {
            assert!(!why.contains(char::is_control));
            assert!(matches!(read(&hello::refusal(&why, true).unwrap()), Some(First::NotAdmitted(_))));
        }
    }
});
