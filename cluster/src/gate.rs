//! The filter in front of ractor, whose mailboxes are unbounded: every message of a peer is checked completely before
//! ractor gets it. A peer may use only the name in its certificate, may advertise one actor, and may send only frames
//! with its key and within its credit. Pings and credits are handled here and go no further. Pure; time is an argument.
//! Deliberately absent: the meaning of the application's frames.

use std::time::Duration;

use crate::{
    credit::{Amount, FalseCredit, Ledger},
    frame::{self, Class, FRAME_MAX, FrameError, Key},
    limits::Limits,
    ractor_wire::{self, Inbound, LENGTH, WireError},
};

/// The largest message of ractor: a frame, and up to 64 bytes around it.
pub(crate) const MESSAGE_MAX: usize = FRAME_MAX + 64;

/// Why a session ends: its peer sent something that no honest node sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GateError {
    #[error("it sent {0}")]
    Wire(#[from] WireError),
    #[error("it sent {0}")]
    Frame(#[from] FrameError),
    #[error("it sent {0}")]
    Credit(#[from] FalseCredit),
    #[error("it sent a message of {0} bytes, the limit is {MESSAGE_MAX}")]
    TooLarge(u64),
    #[error("it claims to be `{0}`, but its certificate and its hello say another name")]
    Name(String),
    #[error("it advertises a second actor")]
    Actors,
    #[error("it sent a frame under a key that was not issued to it")]
    Key,
    #[error("it sent a second hello")]
    Hello,
    #[error("it floods: frames beyond its credit of {frames}, or of {bytes} bytes")]
    Flood { frames: u64, bytes: u64 },
    #[error("it floods: more than {0} pings a second")]
    Pings(u32),
}

/// What to do with the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The message is not complete yet.
    Wait,
    /// This many bytes go to ractor.
    Pass(usize),
    /// This many bytes were for the link, and are handled.
    Keep(usize),
}

/// The filter's state for one session.
#[derive(Debug)]
pub(crate) struct Gate {
    name: String,
    key: Key,
    limits: Limits,
    advertised: bool,
    control: u64,
}

impl Gate {
    /// A filter for the peer with this name in ractor and this issued key.
    pub(crate) fn new(name: String, key: Key, limits: Limits) -> Self {
        Self { name, key, limits, advertised: false, control: 0 }
    }

    /// Checks the message at the start of `bytes`, `elapsed` after the session began.
    ///
    /// # Errors
    /// The session must end.
    pub(crate) fn next(&mut self, bytes: &[u8], elapsed: Duration, ledger: &mut Ledger) -> Result<Verdict, GateError> {
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else { return Ok(Verdict::Wait) };
        let length = u64::from_be_bytes(*length);
        if length > MESSAGE_MAX as u64 {
            return Err(GateError::TooLarge(length));
        }
        // At most 1 MiB and a little, checked above.
        let Some(message) = rest.get(..length as usize) else { return Ok(Verdict::Wait) };
        let whole = LENGTH + message.len();
        match ractor_wire::read(message)? {
            Inbound::Cast(frame) => {
                return Ok(if self.frame(frame, elapsed, ledger)? {
                    Verdict::Pass(whole)
                } else {
                    Verdict::Keep(whole)
                });
            }
            Inbound::Claim(name) if name != self.name.as_bytes() => {
                return Err(GateError::Name(String::from_utf8_lossy(name).chars().take(100).collect()));
            }
            Inbound::Claim(_) | Inbound::Handshake | Inbound::Keeping => self.control(elapsed)?,
            Inbound::Advertise if self.advertised => return Err(GateError::Actors),
            Inbound::Advertise => self.advertised = true,
        }
        Ok(Verdict::Pass(whole))
    }

    /// Whether the frame is for the application.
    fn frame(&mut self, bytes: &[u8], elapsed: Duration, ledger: &mut Ledger) -> Result<bool, GateError> {
        let (header, body) = frame::decode(bytes)?;
        if header.key != self.key {
            return Err(GateError::Key);
        }
        match header.class {
            Class::Hello | Class::Refused => Err(GateError::Hello),
            Class::Ping => self.control(elapsed).map(|()| false),
            Class::Credit => {
                let consumed = Amount::of(body).ok_or(FalseCredit)?;
                ledger.outgoing.credit(consumed)?;
                Ok(false)
            }
            Class::Message | Class::Call | Class::Reply | Class::Refusal => {
                let Limits { frames, bytes: most, .. } = self.limits;
                let credited = ledger.incoming.receive(bytes.len());
                if credited { Ok(true) } else { Err(GateError::Flood { frames, bytes: most }) }
            }
        }
    }

    fn control(&mut self, elapsed: Duration) -> Result<(), GateError> {
        let Limits { control_burst, control_rate, .. } = self.limits;
        self.control += 1;
        let allowed = u64::from(control_burst) + elapsed.as_secs() * u64::from(control_rate);
        if self.control > allowed { Err(GateError::Pings(control_rate)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credit::{Incoming, Outgoing};

    const KEY: Key = Key([1; 16]);
    const WINDOW: Amount = Amount { frames: 4, bytes: 1 << 21 };

    fn gate() -> (Gate, Ledger) {
        let limits = Limits { frames: WINDOW.frames, bytes: WINDOW.bytes, ..Limits::default() };
        let ledger = Ledger { outgoing: Outgoing::new(WINDOW), incoming: Incoming::new(WINDOW) };
        (Gate::new("a@1".to_owned(), KEY, limits), ledger)
    }

    fn message(path: &[u8], inner: &[u8]) -> Vec<u8> {
        let body = path.iter().rev().fold(inner.to_vec(), |inner, number| {
            assert!(inner.len() < 128, "one byte of length");
            [vec![number << 3 | 2, inner.len() as u8], inner].concat()
        });
        [(body.len() as u64).to_be_bytes().to_vec(), body].concat()
    }

    fn framed(class: Class, key: Key, body: &[u8]) -> Vec<u8> {
        message(&[2, 1, 2], &frame::encode(class, 0, 0, key, body).unwrap())
    }

    #[test]
    fn whole_messages_pass() {
        let (mut gate, mut ledger) = gate();
        let bytes = framed(Class::Message, KEY, b"x");
        for cut in 0..bytes.len() {
            assert_eq!(gate.next(&bytes[..cut], Duration::ZERO, &mut ledger), Ok(Verdict::Wait));
        }
        let more = [bytes.clone(), bytes.clone()].concat();
        assert_eq!(gate.next(&more, Duration::ZERO, &mut ledger), Ok(Verdict::Pass(bytes.len())));
        let ping = framed(Class::Ping, KEY, b"");
        assert_eq!(gate.next(&ping, Duration::ZERO, &mut ledger), Ok(Verdict::Keep(ping.len())));
    }

    #[test]
    fn a_peer_speaks_under_its_own_name_only() {
        let (mut gate, mut ledger) = gate();
        let mut next = |bytes: &[u8]| gate.next(bytes, Duration::ZERO, &mut ledger);
        assert!(matches!(next(&message(&[1, 1, 1], b"a@1")), Ok(Verdict::Pass(_))));
        assert_eq!(next(&message(&[1, 1, 1], b"b@1")), Err(GateError::Name("b@1".to_owned())));
        assert_eq!(next(&message(&[1, 4, 1], b"a@2")), Err(GateError::Name("a@2".to_owned())));
        assert_eq!(next(&framed(Class::Message, Key([2; 16]), b"")), Err(GateError::Key));
        assert_eq!(next(&framed(Class::Hello, KEY, b"")), Err(GateError::Hello));
        assert!(matches!(next(&message(&[3, 1, 1], b"\x08\x05")), Ok(Verdict::Pass(_))));
        assert_eq!(next(&message(&[3, 1, 1], b"\x08\x05")), Err(GateError::Actors));
    }

    #[test]
    fn a_flood_ends_at_its_credit() {
        let (mut gate, mut ledger) = gate();
        let bytes = framed(Class::Message, KEY, b"");
        for _ in 0..4 {
            assert!(gate.next(&bytes, Duration::ZERO, &mut ledger).is_ok());
        }
        let flood = GateError::Flood { frames: 4, bytes: WINDOW.bytes };
        assert_eq!(gate.next(&bytes, Duration::ZERO, &mut ledger), Err(flood));
        let credit = framed(Class::Credit, KEY, &Amount { frames: 1, bytes: 1 }.to_bytes());
        assert_eq!(gate.next(&credit, Duration::ZERO, &mut ledger), Err(GateError::Credit(FalseCredit)));
    }

    #[test]
    fn pings_are_bounded_in_time() {
        let (mut gate, mut ledger) = gate();
        let ping = message(&[3, 3], b"");
        let mut pings = |seconds| {
            let mut passed = 0;
            while gate.next(&ping, Duration::from_secs(seconds), &mut ledger).is_ok() {
                passed += 1;
            }
            passed
        };
        let Limits { control_burst, control_rate, .. } = Limits::default();
        assert_eq!(pings(0), control_burst);
        // The refused ping also counted.
        assert_eq!(pings(10), 10 * control_rate - 1);
    }

    #[test]
    fn nothing_large_is_waited_for() {
        let (mut gate, mut ledger) = gate();
        let length = MESSAGE_MAX as u64 + 1;
        assert_eq!(gate.next(&length.to_be_bytes(), Duration::ZERO, &mut ledger), Err(GateError::TooLarge(length)));
    }
}
