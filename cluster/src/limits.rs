//! Every limit of a link, with its unit and the reason for its default. Deliberately absent: the size of a frame, which
//! both ends must agree on (see `frame`).

use std::time::Duration;

use crate::{frame::FRAME_MAX, redial::Redial};

/// Limits of a link. The defaults suit a network within a data centre, and one over the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The time from an accepted or started connection to the end of both hellos, and again from there until both nodes
    /// know each other's gateway. 5 s: five round trips of the worst network, and the longest that a silent client
    /// holds a descriptor.
    pub handshake: Duration,
    /// Maximum number of handshakes in progress. When one more arrives, the oldest ends: an honest handshake takes
    /// milliseconds, so the oldest one belongs to a silent client. 256 descriptors are a quarter of the common limit of
    /// 1,024.
    pub handshakes: usize,
    /// How long a dialed address may take to accept. 3 s: one lost SYN is sent again after 1 s, a second after 3 s.
    pub dial: Duration,
    /// Waits between dials. 100 ms to 2 s: all of 1,000 hosts find a restarted peer again in about a second, and dial
    /// at most 1,000 times a second together.
    pub redial: Redial,
    /// After a session that lived this long, the back-off starts anew. 10 s is longer than any handshake.
    pub settled: Duration,
    /// The interval of pings from each end. 1 s costs 1,000 small frames a second at 1,000 hosts.
    pub ping: Duration,
    /// A session on which nothing arrives for this long ends. 6 s: five lost pings, while the network repairs a lost
    /// packet within 3 s.
    pub read_idle: Duration,
    /// A session on which nothing can be written for this long ends. The same as `read_idle`: the peer's kernel accepts
    /// no more data.
    pub write_stall: Duration,
    /// Maximum number of frames sent but not yet consumed by the other end, in each direction. 4,096 frames are 40 ms
    /// of the fastest measured sender (100,000 a second): enough not to wait for credit, and a full report of a host
    /// with 1,000 attempts.
    pub frames: u64,
    /// Maximum number of bytes in these frames. 8 MiB: eight of the largest frames. At 1,000 stalled sessions this is 8
    /// GB, so a stalled session ends after `write_stall`.
    pub bytes: u64,
    /// Messages that a peer may send without credit (pings of both kinds, the handshake of ractor): this many at once …
    pub control_burst: u32,
    /// … and this many more per second. An honest peer sends three a second.
    pub control_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            handshakes: 256,
            dial: Duration::from_secs(3),
            redial: Redial { base: Duration::from_millis(100), cap: Duration::from_secs(2) },
            settled: Duration::from_secs(10),
            ping: Duration::from_secs(1),
            read_idle: Duration::from_secs(6),
            write_stall: Duration::from_secs(6),
            frames: 4096,
            bytes: 8 << 20,
            control_burst: 64,
            control_rate: 16,
        }
    }
}

impl Limits {
    /// Why no session can work with these limits, if so.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        // Credit is returned in quarters, so the largest frame must fit into the other three.
        let smallest = 2 * FRAME_MAX as u64;
        let wrong = [
            (self.handshakes == 0, "`handshakes` is 0: nobody could connect"),
            (self.ping.is_zero(), "`ping` is 0: nothing else would be sent"),
            (self.read_idle < 2 * self.ping, "`read_idle` is below two pings: healthy sessions would end"),
            (self.frames < 4, "`frames` is below 4: credit could not come back"),
            (self.bytes < smallest, "`bytes` is below 2 MiB: the largest frame would not fit"),
        ];
        wrong.into_iter().find_map(|(is, what)| is.then_some(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_work_are_named() {
        assert_eq!(Limits::default().problem(), None);
        let idle = Limits { read_idle: Duration::from_secs(1), ..Limits::default() };
        assert!(idle.problem().unwrap().contains("read_idle"));
        assert!(Limits { bytes: 1, ..Limits::default() }.problem().unwrap().contains("bytes"));
    }
}
